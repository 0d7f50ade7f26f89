package scenarios

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"serin.dev/serin/e2e/scenarios/invariant"
)

// shadowFails sends the copies of half of the requests to a version that fails all of
// them: nobody who asked gets one of its answers, and the routes are as they were.
func shadowFails(t *testing.T, name string) {
	st := open(t, name, script{sidecars: true})
	before := st.spec()
	st.release("mirror 50%/5m, 25%/10m, 100%", settings{"ERROR_RATE": "1"})
	state := st.rolledBack("ErrorRateTooHigh", "ErrorRateWorseThanStable")
	if state.Step != 1 {
		st.Errorf("it went back at step %d, not while it was sent copies", state.Step)
	}
	st.close("v1", "v1")
	st.onlyBy("v1", st.users.Records())
	if after := st.spec(); after != before {
		st.Errorf("the routes were\n%s\nand are\n%s", before, after)
	}
}

// shadowPasses counts what a good version answers before any user is served by it, and
// who counts it: copies are seen by the pods' own proxies alone.
func shadowPasses(t *testing.T, name string) {
	st := open(t, name, script{sidecars: true})
	st.release("mirror 20%/10s, 50%/2s, 100%/2s", nil)
	st.reaches("copies are sent", func(s invariant.State) bool { return s.Phase == "Progressing" && s.Step == 1 && s.Weight == 0 })
	st.until("the canary answers copies", func() error {
		if n := st.counted("destination", "web-v2"); n < 100 {
			return fmt.Errorf("%g are counted", n)
		}
		return nil
	})
	if n := st.counted("source", "web-v2"); n > 0 {
		st.Errorf("the gateway counts %g requests to the canary, which only has copies", n)
	}
	st.onlyBy("v1", st.users.Records())
	st.Logf("the canary's proxies count %g copies, stable's %g requests", st.counted("destination", "web-v2"), st.counted("destination", "web-v1"))
	st.reachesPhase("Succeeded")
	st.close("v2", "v2")
}

// shadowTaken has a route that sends copies elsewhere: nothing begins, and people are
// told which field it is.
func shadowTaken(t *testing.T, name string) {
	st := open(t, name, script{routes: `
  - mirror: {host: audit}
    route: [{destination: {host: web, subset: v1}}]
`})
	before := st.spec()
	st.release("mirror 20%/10s, 100%/2s", nil)
	if note := st.told("RouteMirrorsAlready"); !containsAll(note, []string{"spec.http[0].mirror", "ake the mirror steps out of serin.dev/steps"}) {
		st.Errorf("people are told %q", note)
	}
	st.close("v1", "v1")
	if after := st.spec(); after != before {
		st.Errorf("the routes were\n%s\nand are\n%s", before, after)
	}
}

// counted is what proxies of the scenario counted for a version, by who reports it.
func (st *stage) counted(reporter, workload string) float64 {
	st.Helper()
	query := fmt.Sprintf(`sum(istio_requests_total{reporter=%q, destination_workload=%q, destination_workload_namespace=%q})`, reporter, workload, st.name)
	text, err := get(st.Context(), st.box.PrometheusURL()+"/api/v1/query?query="+url.QueryEscape(query))
	if err != nil {
		st.Fatal(err)
	}
	var answer struct {
		Data struct {
			Result []struct {
				Value [2]any `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		st.Fatal(errors.Join(err, errors.New(text)))
	}
	if len(answer.Data.Result) == 0 {
		return 0
	}
	value, _ := answer.Data.Result[0].Value[1].(string)
	n, err := strconv.ParseFloat(value, 64)
	if err != nil {
		st.Fatal(err)
	}
	return n
}

// spec is the spec of the VirtualService web as it stands, as text.
func (st *stage) spec() string {
	st.Helper()
	o, err := st.trees.Resource(virtualServices).Namespace(st.name).Get(st.Context(), "web", metav1.GetOptions{})
	if err != nil {
		st.Fatal(err)
	}
	text, err := json.MarshalIndent(o.Object["spec"], "", " ")
	if err != nil {
		st.Fatal(err)
	}
	return string(text)
}
