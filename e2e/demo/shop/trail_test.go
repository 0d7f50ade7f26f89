package shop

import (
	"strings"
	"testing"
)

// inPlace is a release in place as it should be, write by write.
func inPlace() []State {
	whole, pins := map[string]int{"": 100}, func(canary int) map[string]int {
		return map[string]int{"serin-stable": 100 - canary, "serin-canary": canary}
	}
	web := func(at Version, paused bool) Deployment {
		held := ""
		if paused {
			held = "by the guard"
		}
		return Deployment{Version: at, Image: "shop/web:v2", Paused: paused, Held: held}
	}
	made := Deployment{Version: 14}
	return []State{
		{Routes: 10, Shares: whole, Beside: Beside{Web: Deployment{Version: 9, Image: "shop/web:v1"}}},
		{Routes: 10, Shares: whole, Beside: Beside{Web: web(11, true)}},
		{Routes: 10, Shares: whole, Beside: Beside{Web: web(11, true), Rule: 12}},
		{Routes: 13, Shares: pins(0), Beside: Beside{Web: web(11, true), Rule: 12}},
		{Routes: 13, Shares: pins(0), Beside: Beside{Web: web(11, true), Rule: 12, Canary: made, CanaryPods: 1, Pods: []string{"a", "b", "c"}}},
		{Routes: 15, Shares: pins(5), Beside: Beside{Web: web(11, true), Rule: 12, Canary: made, CanaryPods: 1, Pods: []string{"a", "b", "c"}}},
		{Routes: 16, Shares: pins(100), Beside: Beside{Web: web(11, true), Rule: 12, Canary: made, CanaryPods: 1, Pods: []string{"a", "b", "c"}}},
		{Routes: 16, Shares: pins(100), Beside: Beside{Web: web(17, false), Rule: 12, Canary: made, CanaryPods: 1, Pods: []string{"a", "b", "c"}}},
		{Routes: 18, Shares: pins(0), Beside: Beside{Web: web(17, false), Rule: 12, Canary: made, CanaryPods: 1, Pods: []string{"a", "b", "c"}}},
		{Routes: 18, Shares: pins(0), Beside: Beside{Web: web(17, false), Rule: 12, PodsGone: 20}},
		{Routes: 21, Shares: whole, Beside: Beside{Web: web(17, false), Rule: 12, PodsGone: 20}},
		{Routes: 21, Shares: whole, Beside: Beside{Web: web(17, false), PodsGone: 20, RuleGone: 22}},
	}
}

func TestTheTrailOfAReleaseInPlace(t *testing.T) {
	unguarded := func(all []State) { all[1].Beside.Web.Paused = false }
	for name, c := range map[string]struct {
		change func([]State)
		course []Mark
		want   string // part of the error; empty: none
	}{
		"as it should be": {func([]State) {}, Promotion, ""},
		"a canary before the routes are pinned": {func(all []State) {
			for i := range all {
				if all[i].Beside.Canary.Version != 0 {
					all[i].Beside.Canary.Version = 12
				}
			}
		}, Promotion, "the canary came before the pinned routes"},
		"routes that lead to pods which are gone": {func(all []State) {
			for i := range all[9:] {
				all[9+i].Beside.PodsGone = 30
			}
		}, Promotion, "the user's routes came before the end of the canary's pods"},
		"an update while users are on web": {func(all []State) { all[7].Beside.Web.Version = 11 }, Promotion, "the update of the Deployment came before all users on the canary"},
		"a rollback that updates":          {func([]State) {}, Rollback, "is no part of this release"},
		"a rule that stays":                {func(all []State) { all[11].Beside.RuleGone = 0 }, Promotion, "the end of the subsets was not seen"},
		"a guard that was late":            {unguarded, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			states := inPlace()
			c.change(states)
			var trail Trail
			trail.See(states[0])
			trail.Begin("shop/web:v2")
			for _, s := range states {
				trail.See(s)
			}
			if c.course == nil {
				if trail.Guarded() {
					t.Error("the guard was late, and it goes unseen")
				}
				return
			}
			if !trail.Guarded() {
				t.Error("the guard goes unseen")
			}
			err := trail.Order(c.course)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestARollbackLeavesAnotherTrailThanThePromotionBeforeIt(t *testing.T) {
	all := inPlace()
	before, asked, pinned, served, back, gone := all[len(all)-1], all[1], all[4], all[5], all[10], all[11]
	returned := all[5]
	returned.Routes, returned.Shares = 38, all[3].Shares
	var trail Trail
	trail.See(before)
	trail.Begin("shop/web:v2")
	for _, s := range []State{asked, all[2], all[3], pinned, served, returned} {
		s.Beside.PodsGone, s.Beside.RuleGone = before.Beside.PodsGone, before.Beside.RuleGone
		trail.See(s)
	}
	if trail.Passed(PodsGone) || trail.Passed(RuleGone) {
		t.Error("what went after the last release is taken for this one's")
	}
	back.Routes, back.Beside.Web, back.Beside.PodsGone = 41, asked.Beside.Web, 40
	gone.Routes, gone.Beside.Web, gone.Beside.PodsGone, gone.Beside.RuleGone = 41, asked.Beside.Web, 40, 42
	trail.See(back)
	trail.See(gone)
	if err := trail.Order(Rollback); err != nil {
		t.Error(err)
	}
	if trail.Order(Promotion) == nil {
		t.Error("it is taken for a promotion")
	}
	if trail.At(Asked).After(trail.At(RuleGone)) || trail.At(RuleGone).IsZero() || !trail.At(Updating).IsZero() {
		t.Errorf("asked at %s, gone at %s, updated at %s", trail.At(Asked), trail.At(RuleGone), trail.At(Updating))
	}
	if trail.Peak() != 3 {
		t.Errorf("%d pods at the peak, want 3", trail.Peak())
	}
}
