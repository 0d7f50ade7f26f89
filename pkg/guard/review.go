package guard

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
)

// MaxBytes bounds a review: it holds a Deployment twice, of which the API server
// takes none above 3 MiB.
const MaxBytes = 8 << 20

// The one version of reviews that there is.
const (
	reviewVersion = "admission.k8s.io/v1"
	reviewKind    = "AdmissionReview"
)

// review is an AdmissionReview, as far as it is read or answered.
type review struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Request    *request  `json:"request,omitempty"`
	Response   *response `json:"response,omitempty"`
}

type request struct {
	UID      string `json:"uid"`
	Resource struct {
		Group    string `json:"group"`
		Resource string `json:"resource"`
	} `json:"resource"`
	SubResource string `json:"subResource"`
	Operation   string `json:"operation"`
	UserInfo    struct {
		Username string `json:"username"`
	} `json:"userInfo"`
	Object    *Deployment `json:"object"`
	OldObject *Deployment `json:"oldObject"`
}

type response struct {
	UID       string `json:"uid"`
	Allowed   bool   `json:"allowed"`
	PatchType string `json:"patchType,omitempty"`
	Patch     []byte `json:"patch,omitempty"` // in base64, as encoding/json writes bytes
}

// Handler answers the API server's reviews. It refuses nothing that anybody asks
// for; what it doesn't understand is an error of the request, which the API server
// passes over. serin is the user name of the controller.
func Handler(serin string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			http.Error(w, "reviews are posted", http.StatusMethodNotAllowed)
			return
		}
		if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
			http.Error(w, "a review is application/json", http.StatusUnsupportedMediaType)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBytes))
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			http.Error(w, fmt.Sprintf("a review has at most %d bytes", MaxBytes), http.StatusRequestEntityTooLarge)
			return
		}
		if err != nil {
			return // whoever asked is gone
		}
		answer, err := Answer(body, serin)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(answer) // likewise
	})
}

// Answer answers an AdmissionReview by another. It fails for what is no review of
// the version v1 with a request in it.
func Answer(text []byte, serin string) ([]byte, error) {
	var r review
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("read the review: %w", err)
	}
	if r.APIVersion != reviewVersion || r.Kind != reviewKind || r.Request == nil || r.Request.UID == "" {
		return nil, fmt.Errorf("read the review: it is no %s of %s with a request", reviewKind, reviewVersion)
	}
	answer := response{UID: r.Request.UID, Allowed: true}
	if c, ours := r.Request.change(); ours {
		patch, err := Hold(c, serin)
		if err != nil {
			return nil, err
		}
		if answer, err = answer.with(patch); err != nil {
			return nil, err
		}
	}
	text, err := json.Marshal(review{APIVersion: reviewVersion, Kind: reviewKind, Response: &answer})
	if err != nil {
		return nil, fmt.Errorf("write the answer: %w", err)
	}
	return text, nil
}

// change is what is asked for, if it is the update of a Deployment.
func (r request) change() (Change, bool) {
	if r.Resource.Group != "apps" || r.Resource.Resource != "deployments" || r.SubResource != "" ||
		r.Operation != "UPDATE" || r.Object == nil || r.OldObject == nil {
		return Change{}, false
	}
	return Change{By: r.UserInfo.Username, Old: *r.OldObject, New: *r.Object}, true
}

func (r response) with(patch []Operation) (response, error) {
	if patch == nil {
		return r, nil
	}
	text, err := json.Marshal(patch)
	if err != nil {
		return r, fmt.Errorf("write the patch: %w", err)
	}
	r.PatchType, r.Patch = "JSONPatch", text
	return r, nil
}
