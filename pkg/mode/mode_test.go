package mode

import (
	"fmt"
	"testing"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/topology/topologytest"
)

func aDeployment(name, annotations string) string {
	return fmt.Sprintf("\n---\nkind: Deployment\nmetadata: {name: %s, namespace: shop, annotations: {%s}}\nspec: {replicas: 1, template: {metadata: {labels: {app: web}}}}", name, annotations)
}

func aService(name, spec string) string {
	return fmt.Sprintf("\n---\nkind: Service\nmetadata: {name: %s, namespace: shop}\nspec: {selector: {app: web}, %s}", name, spec)
}

// made is an object that a release in place of a Service made.
func made(kind, name, service, spec string) string {
	return fmt.Sprintf(`
---
kind: %s
metadata:
  name: %s
  namespace: shop
  labels: {app.kubernetes.io/managed-by: serin, serin.dev/service: %s, serin.dev/track: canary}
  ownerReferences: [{kind: Deployment, name: web, controller: true}]
spec: %s`, kind, name, service, spec)
}

func theCanary(service string) string {
	return made("Deployment", "web-canary", service, "{replicas: 1, template: {metadata: {labels: {app: web, serin.dev/track: canary}}}}")
}

const opted = `serin.dev/canary: "true"`

func TestWhichModeIsARelease(t *testing.T) {
	var (
		atRest  canary.State
		inPlace = canary.State{Phase: canary.Progressing, InPlace: true}
		pair    = canary.State{Phase: canary.Progressing}
		before  = canary.State{Phase: canary.Succeeded, InPlace: true}
		web     = aService("web", "type: ClusterIP")
		one     = aDeployment("web", opted)
	)
	for _, c := range []struct {
		name      string
		state     canary.State
		manifests string
		want      bool
	}{
		{"one Deployment is updated in place", atRest, web + one, true},
		{"two are a pair", atRest, web + one + aDeployment("web-v1", ""), false},
		{"two that are both opted in are a pair", atRest, web + one + aDeployment("web-v1", opted), false},
		{"one Deployment and the canary we made of it are one", atRest, web + one + theCanary("web"), true},
		{"a pair is what says so, even when one is gone", atRest, web + aDeployment("web", opted+", serin.dev/mode: pair"), false},
		{"in place is what says so, even beside another", atRest, web + aDeployment("web", opted+", serin.dev/mode: in-place") + aDeployment("web-v1", ""), true},
		{"a mode that nobody knows says nothing", atRest, web + aDeployment("web", opted+", serin.dev/mode: blue") + aDeployment("web-v1", ""), false},
		{"one that is only observed is not updated in place", atRest, web + aDeployment("web", "serin.dev/canary: observe"), false},
		{"nor when it says in-place", atRest, web + aDeployment("web", "serin.dev/canary: observe, serin.dev/mode: in-place"), false},

		{"a release in place stays one, though a second Deployment comes", inPlace, web + one + aDeployment("web-v1", ""), true},
		{"and though another mode is written", inPlace, web + aDeployment("web", opted+", serin.dev/mode: pair"), true},
		{"and though it is opted out", inPlace, web + aDeployment("web", ""), true},
		{"a release of a pair stays one, though one Deployment is deleted", pair, web + one, false},

		{"nobody asks", atRest, web + aDeployment("web", ""), false},
		{"nobody asks any more, after a release in place", before, web + aDeployment("web", ""), true},
		{"nobody asks, and a canary of ours is left", atRest, web + aDeployment("web", "") + theCanary("web"), true},
		{"nobody asks, and a DestinationRule of ours is left", atRest, web + aDeployment("web", "") + made("DestinationRule", "web-serin", "web", "{host: web}"), true},
		{"nobody asks, and a VirtualService of ours is left", atRest, web + aDeployment("web", "") + made("VirtualService", "web-serin", "web", "{hosts: [web], http: [{route: [{destination: {host: web}}]}]}"), true},
		{"nobody asks, and a canary that was made for another Service is left to that one", atRest, web + aDeployment("web", "") + theCanary("internal"), false},
		{"a Deployment that names another Service does not ask here", atRest, web + aDeployment("web", opted+", serin.dev/service: internal"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := topologytest.Load(t, "shop", "web", c.manifests[len("\n---\n"):])
			if got := InPlace(o, c.state); got != c.want {
				t.Errorf("in place: %t", got)
			}
		})
	}
	t.Run("the headless twin of a Service has no release of its own", func(t *testing.T) {
		all := (web + aService("web-pods", "clusterIP: None") + one + theCanary("web"))[len("\n---\n"):]
		if InPlace(topologytest.Load(t, "shop", "web-pods", all), atRest) {
			t.Error("the twin takes the canary for its own")
		}
		if !InPlace(topologytest.Load(t, "shop", "web", all), atRest) {
			t.Error("the Service has lost its release to the twin")
		}
	})
}
