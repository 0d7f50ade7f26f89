package scenarios

import (
	"testing"

	"serin.dev/serin/e2e/load"
)

// testersHeader is what testers send unless the annotations say otherwise.
var testersHeader = map[string]string{"X-App-Version": "canary"}

func testersAtZero(t *testing.T, name string) {
	st := open(t, name, script{})
	st.release("0%/20m, 5%/20m, 100%", nil)
	st.reachesPhase("Testing")
	testers := st.load(load.Options{Headers: testersHeader})
	st.settles(testers, "v2")
	st.onlyBy("v2", st.answered(testers, 100))
	st.onlyBy("v1", st.users.Records())
	st.command("abort")
	st.reachesPhase("RolledBack")
	st.settles(testers, "v1")
	st.close("v1", "v1")
	st.onlyBy("v1", st.users.Records())
}

func testersAtTwentyFive(t *testing.T, name string) {
	st := open(t, name, script{})
	st.release(long, nil)
	st.reachesWeight(25)
	testers := st.load(load.Options{Headers: testersHeader})
	st.settles(testers, "v2")
	users := st.answered(st.users, 400)
	st.onlyBy("v2", st.answered(testers, 100))
	st.between(users, "v2", 0.1, 0.4)
	st.command("abort")
	st.reachesPhase("RolledBack")
	st.close("v1", "v1")
}

// between fails unless the version answered a share of the requests in the range.
func (st *stage) between(records []load.Record, version string, low, high float64) {
	st.Helper()
	n := 0
	for _, r := range records {
		if r.Version == version {
			n++
		}
	}
	if share := float64(n) / float64(len(records)); share < low || share > high {
		st.Errorf("%s answered %.0f%% of %d requests, want %.0f%% to %.0f%%", version, 100*share, len(records), 100*low, 100*high)
	}
}

func cookie(t *testing.T, name string) {
	st := open(t, name, script{})
	st.release("0%/20m, 100%", nil, settings{"header": "cookie: track=canary, beta"})
	st.reachesPhase("Testing")
	grey := st.load(load.Options{Cookies: map[string]string{"session": "1", "track": "beta", "theme": "dark"}})
	st.settles(grey, "v2")
	near := st.load(load.Options{Cookies: map[string]string{"track": "beta2", "xtrack": "beta"}})
	header := st.load(load.Options{Headers: testersHeader})
	st.onlyBy("v2", st.answered(grey, 100))
	st.onlyBy("v1", st.answered(near, 50))
	st.onlyBy("v1", st.answered(header, 50))
	st.command("abort")
	st.reachesPhase("RolledBack")
	st.close("v1", "v1")
}

// adopted is the VirtualService that Istio's documentation teaches: one user
// goes to v2, all others to v1.
func adopted(t *testing.T, name string) {
	st := open(t, name, script{adopts: true, routes: `
  - match: [{headers: {end-user: {exact: jason}}}]
    route: [{destination: {host: web, subset: v2}}]
  - route: [{destination: {host: web, subset: v1}}]
`})
	st.release(quick, nil)
	st.reachesWeight(10)
	jason := st.load(load.Options{Headers: map[string]string{"End-User": "jason"}})
	st.settles(jason, "v2")
	st.told("HeaderRouteAdopted")
	st.reachesPhase("Succeeded")
	st.close("v2", "v2")
	st.onlyBy("v2", st.answeredSoFar(jason, 21))
}

// answeredSoFar are all requests of a generator but the first ones, which may
// have come before the routes arrived.
func (st *stage) answeredSoFar(g *load.Generator, but int) []load.Record {
	records := g.Records()
	return records[min(but, len(records)):]
}
