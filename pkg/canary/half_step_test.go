package canary

import (
	"strings"
	"testing"
)

// Half a step stands: web gives the canary 25%, web-mesh still 5%, and nobody can judge
// it by now. Nothing that happens to web gives it more in web-mesh, but data or an order.
func TestHalfAStepIsCompletedByDataOrAnOrderAlone(t *testing.T) {
	const dark = "verdict NoData NoData \"no data\""
	half := []string{"also web-mesh", "deaf web-mesh", "verdict Promote WithinLimits covered=1m good", dark, "wait 1m", "hears web-mesh"}
	for name, c := range map[string]struct {
		then []string
		want int
	}{
		"by nothing":                            {nil, 5},
		"by time":                               {[]string{"wait 5m"}, 5},
		"by the deadline":                       {[]string{"on-inconclusive hold", "wait 11m"}, 5},
		"by who raises the other":               {[]string{"routes web writer=kubectl weight=60"}, 5},
		"by who lowers the other":               {[]string{"routes web writer=kubectl weight=20"}, 5},
		"by a GitOps tool":                      {[]string{"routes web writer=argocd-controller gitops weight=60"}, 5},
		"by another spec":                       {[]string{"steps 5 10 100"}, 5},
		"by a pause that is over":               {[]string{"command pause", "command none"}, 5},
		"by a pause":                            {[]string{"command pause"}, 5},
		"by an abort, while stable has no pods": {[]string{"stable ready=0", "command abort"}, 5},
		"by data":                               {[]string{"verdict Hold NotEnoughRequests \"12 requests\""}, 25},
		"by data of long ago":                   {[]string{"verdict Hold NotEnoughRequests age=1m \"12 requests\""}, 5},
		"by an order":                           {[]string{"command resume#1"}, 25},
		"by an order to go further":             {[]string{"command skip#1"}, 100},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			for _, line := range append(half, c.then...) {
				if err := w.do(words(line)); err != nil {
					t.Fatalf("%q: %v", line, err)
				}
				if out := w.pass(); strings.Contains(out, "never comes to rest") {
					t.Fatalf("%q: %s", line, out)
				}
			}
			if got := w.o.Traffic[virtualService("web-mesh")].Max; got != c.want {
				t.Errorf("web-mesh gives the canary %d%%, want %d%%", got, c.want)
			}
		})
	}
}
