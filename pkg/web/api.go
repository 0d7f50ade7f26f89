package web

import (
	"encoding/json"
	"net/http"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/safetext"
)

// Listing is the answer of /api/v1/rollouts.
type Listing struct {
	At       time.Time     `json:"at"`
	Leading  *bool         `json:"leading,omitempty"` // absent: no controller is asked
	Rollouts []canary.View `json:"rollouts"`
}

// apiList answers with all rollouts, or those of one namespace.
func (s *site) apiList(w http.ResponseWriter, r *http.Request) {
	views, err := s.Source.Views(r.Context())
	if err != nil {
		apiFail(w, err)
		return
	}
	out := Listing{At: s.Now().UTC(), Rollouts: []canary.View{}}
	if s.Leading != nil {
		leading := s.Leading()
		out.Leading = &leading
	}
	namespace := r.URL.Query().Get("namespace")
	for _, v := range views {
		if namespace == "" || v.Namespace == namespace {
			out.Rollouts = append(out.Rollouts, v)
		}
	}
	answer(w, http.StatusOK, out)
}

func (s *site) apiRollout(w http.ResponseWriter, r *http.Request) {
	d, err := s.Source.Detail(r.Context(), r.PathValue("namespace"), r.PathValue("service"))
	if err != nil {
		apiFail(w, err)
		return
	}
	answer(w, http.StatusOK, d)
}

func apiFail(w http.ResponseWriter, err error) {
	code, sentence := answerFor(err)
	answer(w, code, map[string]string{"error": sentence})
}

func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(safetext.JSON(w)).Encode(v) // a reader that is gone needs no answer
}
