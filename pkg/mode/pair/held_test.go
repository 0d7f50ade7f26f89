package pair

import (
	"strings"
	"testing"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/topology"
)

// A guard that knows no better holds one of a pair as well; it is let go. A pause
// without the guard's mark is a person's where the Deployment says that it is one
// of a pair.
func TestHeldOnesOfAPair(t *testing.T) {
	const mark = topology.HeldKey
	for name, c := range map[string]struct {
		annotations map[string]string
		letGo       bool
	}{
		"marked":                          {map[string]string{"serin.dev/canary": "true", mark: topology.HeldValue}, true},
		"marked, and then made of a pair": {map[string]string{"serin.dev/canary": "true", "serin.dev/mode": "pair", mark: topology.HeldValue}, true},
		"of a pair, and paused by a hand": {map[string]string{"serin.dev/canary": "true", "serin.dev/mode": "pair"}, false},
		"about another Service":           {map[string]string{"serin.dev/canary": "true", "serin.dev/service": "cart", mark: topology.HeldValue}, false},
	} {
		t.Run(name, func(t *testing.T) {
			service := topology.Service{Name: "web", UID: "1", Selector: map[string]string{"app": "web"}}
			o := topology.Objects{
				Namespace: "shop", Service: "web", ClusterDomain: "cluster.local", ServiceFound: &service, Services: []topology.Service{service, {Name: "cart"}},
				Deployments: []topology.Deployment{{
					Name: "web", ResourceVersion: "7", TemplateLabels: map[string]string{"app": "web"}, Paused: true, Held: true, Annotations: c.annotations,
				}},
			}
			if got := Observe(o, canary.State{}).Place.Held; got != c.letGo {
				t.Errorf("held %v", got)
			}
			writes, err := Render(canary.Plan{Place: &canary.Place{Deployment: canary.Resume}}, o, time.Time{})
			if err != nil || (len(writes) == 1) != c.letGo || c.letGo && !strings.Contains(string(writes[0].Body), `{"op":"remove","path":"/spec/paused"}`) {
				t.Errorf("%+v %v", writes, err)
			}
		})
	}
}
