package torture

import (
	"math"
	"time"
)

// rules say about what to check.
type rules struct {
	InPlace  bool
	Jumps    bool            // commands may pass over steps, and end bakes
	Restores bool            // Serin may put the template back that runs
	Bad      map[string]bool // images that fail
	Bake     time.Duration   // of each step
	Writes   int             // of the undisturbed run; 0: not known
}

// subsets are the names of the two versions', stable's first.
func (r rules) subsets() []string {
	if r.InPlace {
		return []string{"serin-stable", "serin-canary"}
	}
	return []string{"v1", "v2"}
}

// routes checks one version of a VirtualService against the one before it.
func (o *observer) routes(name string, before, now map[string]any, ours bool) {
	if now == nil {
		if ours && !isOurs(before) {
			o.wrong("VirtualService %s of the user was deleted", name)
		}
		return
	}
	s, found := stateOf(now)
	if found {
		o.follows(s)
	}
	if !ours {
		o.lowered(name, now)
		return
	}
	if before != nil {
		if a, b := o.foreign(before), o.foreign(now); a != b {
			o.wrong("in VirtualService %s was changed what is not Serin's, from\n%s\nto\n%s", name, a, b)
		}
	}
	if !found {
		o.cleaned(name, before, now)
		return
	}
	o.weights(name, now, s)
	o.steps(s)
	o.retreats(name, now, s)
	o.raises(name, before, now)
}

// follows keeps whose state was written last.
func (o *observer) follows(s state) {
	r := o.releases[s.Rollout]
	if r == nil {
		r = &release{id: s.Rollout, lowest: map[string]float64{}}
		o.releases[s.Rollout] = r
	}
	r.phase = s.Phase
	o.latest = r
}

// cleaned checks a version of Serin's without a state: nothing of Serin's is left.
func (o *observer) cleaned(name string, before, now map[string]any) {
	if n := headerRoutes(now); n > 0 {
		o.wrong("VirtualService %s has no state, but %d header routes", name, n)
	}
	was, had := stateOf(before)
	if before != nil && !had {
		o.wrong("VirtualService %s was written without a state", name)
	}
	for _, s := range o.shares(now) {
		if o.rules.InPlace {
			o.wrong("VirtualService %s has no state, but leads to a subset of Serin's", name)
		}
		if was.active() && s.percent > 0 {
			o.wrong("VirtualService %s has no state, but %g%% for the canary", name, s.percent)
		}
	}
	if o.latest != nil && o.latest.id == was.Rollout && (had || before == nil) {
		o.latest.phase = ""
	}
}

// weights checks that the weights are what the state in the same write orders, and
// that this is no more than the step allows.
func (o *observer) weights(name string, now map[string]any, s state) {
	for _, share := range o.shares(now) {
		if math.Abs(share.percent-float64(s.Weight)) >= 100/share.total {
			o.wrong("VirtualService %s: the state says %d%%, route %d gives the canary %g%%", name, s.Weight, share.route, share.percent)
		}
	}
	if s.Weight > s.limit() {
		o.wrong("VirtualService %s: %d%% at step %d, whose weight is %d%%", name, s.Weight, s.Step, s.limit())
	}
}

// steps checks that no step is passed over, and none before its bake.
func (o *observer) steps(s state) {
	r := o.releases[s.Rollout]
	if s.Step <= r.step || o.rules.Jumps {
		return
	}
	if s.Step > r.step+1 {
		o.wrong("step %d comes after step %d", s.Step, r.step)
	}
	if baked := time.Since(r.stepAt); r.step > 0 && baked < o.rules.Bake {
		o.wrong("step %d comes %s after step %d, whose bake is %s", s.Step, baked, r.step, o.rules.Bake)
	}
	r.step, r.stepAt = s.Step, time.Now()
}

// retreats checks that a release that went back never goes on, and never gives the
// canary more.
func (o *observer) retreats(name string, now map[string]any, s state) {
	r := o.releases[s.Rollout]
	r.retreated = r.retreated || s.retreats()
	if !r.retreated {
		return
	}
	if !s.retreats() {
		o.wrong("VirtualService %s: the release went back, and is %s now", name, s.Phase)
	}
	for _, share := range o.shares(now) {
		lowest, known := r.lowest[name]
		if known && share.percent > lowest {
			o.wrong("VirtualService %s: the release went back, and the canary rises from %g%% to %g%%", name, lowest, share.percent)
		}
		r.lowest[name] = min(share.percent, 100)
	}
}

// lowered keeps what a hand made of the share: what a person gives, the person
// answers for.
func (o *observer) lowered(name string, now map[string]any) {
	if o.latest == nil || !o.latest.retreated {
		return
	}
	for _, share := range o.shares(now) {
		o.latest.lowest[name] = share.percent
	}
}

// grace is how long after data stopped what came before is still of now: four
// scrapes and three seconds, and before the first step, when Prometheus is looked
// at every ten seconds, that much longer. A write that hung on the way is as old as
// the data that it was decided on.
const grace = 4*scrape + 3*time.Second + 10*time.Second

// raises checks that nobody gives the canary more while nobody can judge it.
func (o *observer) raises(name string, before, now map[string]any) {
	if o.rules.Jumps || o.stopped.IsZero() || time.Since(o.stopped) < grace+o.delayed || before == nil {
		return
	}
	old := o.shares(before)
	for i, share := range o.shares(now) {
		if i < len(old) && share.percent > old[i].percent || i >= len(old) && share.percent > 0 {
			o.wrong("VirtualService %s: the canary rises to %g%% while nobody can judge it", name, share.percent)
		}
	}
}
