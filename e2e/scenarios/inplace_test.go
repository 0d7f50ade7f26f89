package scenarios

import (
	"testing"

	"serin.dev/serin/e2e/load"
)

// inPlaceBare has neither VirtualService nor DestinationRule: its users are in
// the mesh, and Serin brings the route and takes it away again.
func inPlaceBare(t *testing.T, name string) {
	st := openShop(t, name, shop{bare: true})
	st.promotes(1, "v2")
	st.closeShop("v2", false)
}

// inPlaceGateway releases a good version and then a bad one. Clients in the
// mesh have no route of their own there, and are led by Serin's.
func inPlaceGateway(t *testing.T, name string) {
	st := openShop(t, name, shop{tolerates: by("v3")})
	inside := st.inside()
	st.promotes(1, "v2")
	st.settles(inside, "v2")
	st.applyFile(st.manifest("v3", settings{"ERROR_RATE": "1"}))
	st.ends(2, "RolledBack")
	st.settles(inside, "v2")
	// The template stays as it was written, and nobody is on it: written back,
	// there is nothing to release.
	if d := st.deployed("web"); d.Spec.Template.Spec.Containers[0].Image != "shop/web:v3" {
		t.Errorf("the template is %+v", d.Spec.Template.Spec)
	}
	st.until("the Deployment is held", func() error { return st.plain(true) })
	st.applyFile(st.manifest("v2"))
	st.told("LetGo")
	st.closeShop("v2", false)
	st.onlyGood(inside, "v3")
}

// promotes releases a version that is good.
func (st *stage) promotes(release int, version string) {
	st.Helper()
	st.setImage(version)
	st.ends(release, "Succeeded")
	st.settles(st.users, version)
}

// inside are clients in the mesh.
func (st *stage) inside() *load.Generator {
	st.Helper()
	g := st.load(load.Options{URL: st.box.MeshURL(), Host: "web." + st.name})
	st.settles(g, "v1")
	return g
}

// onlyGood fails if a client got a bad answer but by the version.
func (st *stage) onlyGood(g *load.Generator, but string) {
	st.Helper()
	g.Stop()
	for _, r := range g.Records() {
		if r.Bad() && r.Version != but {
			st.Fatalf("a client got status %d by %q at %s: %s", r.Status, r.Version, r.Start.Format("15:04:05.000"), r.Error)
		}
	}
}

func inPlaceBoth(t *testing.T, name string) {
	st := openShop(t, name, shop{routes: atGateway + "---" + inMesh})
	inside := st.inside()
	st.promotes(1, "v2")
	st.settles(inside, "v2")
	st.closeShop("v2", false)
	st.onlyGood(inside, "")
}

func inPlaceRule(t *testing.T, name string) {
	st := openShop(t, name, shop{routes: ownRule})
	inside := st.inside()
	st.promotes(1, "v2")
	st.settles(inside, "v2")
	st.closeShop("v2", false)
	st.onlyGood(inside, "")
}

func optOutInPlace(t *testing.T, name string) {
	st := openShop(t, name, shop{steps: long})
	st.setImage("v2")
	st.reachesWeight(25)
	st.arrives("v2")
	st.kubectl("annotate", "deployment", "web", "serin.dev/canary-")
	st.told("OptedOut")
	st.ends(1, "RolledBack")
	// What was held is updated now, as Kubernetes does it.
	st.kubectl("rollout", "status", "deployment/web", "--timeout=2m")
	st.closeShop("v2", false)
}
