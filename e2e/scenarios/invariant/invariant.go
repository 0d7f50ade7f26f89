// Package invariant knows what has to hold over every version that the
// VirtualServices of a Service ever had, whatever happened to them. It shares
// no code with the controller, whose work it checks.
package invariant

import (
	"fmt"
	"math"
	"time"
)

// Version is one version of a VirtualService.
type Version struct {
	Name   string         // of the VirtualService
	Doc    map[string]any // nil: it was deleted
	ByHand bool           // somebody else wrote it, a person or a GitOps tool; else Serin did
	Seen   time.Time      // when the watch showed it
}

// Rules say about what to check.
type Rules struct {
	Service string
	Subsets Subsets
	// Jumps allows to pass over steps, as commands do.
	Jumps bool
	// Adopts tells that the user has a header route of their own.
	Adopts bool
	// InPlace tells that the two subsets are Serin's own: while a release is under
	// way every destination that is the Service is one of them, whatever the user
	// wrote, and after it none is.
	InPlace bool
}

// Check looks through all versions, in the order in which they were written,
// and returns what does not hold. The first version of each VirtualService has
// to be the user's.
func Check(versions []Version, r Rules) []error {
	c := checker{rules: r, last: map[string]Version{}, users: map[string]string{}, step: map[string]int{}, retreat: map[string]bool{}}
	for i, v := range versions {
		where := fmt.Sprintf("version %d (VirtualService %s)", i+1, v.Name)
		for _, err := range c.next(v) {
			c.errs = append(c.errs, fmt.Errorf("%s: %w", where, err))
		}
	}
	return c.errs
}

// checker is what is known of the versions so far.
type checker struct {
	rules   Rules
	last    map[string]Version // by VirtualService
	users   map[string]string  // by VirtualService: what is not Serin's, as the user wrote it last
	step    map[string]int     // by rollout: the highest step so far
	retreat map[string]bool    // rollouts that went back to stable
	errs    []error
}

func (c *checker) next(v Version) []error {
	before, known := c.last[v.Name]
	if v.Doc == nil { // what comes under the name again is another object
		delete(c.last, v.Name)
		return nil
	}
	c.last[v.Name] = v
	if v.ByHand || !known {
		c.users[v.Name] = foreign(v.Doc, c.rules)
		return nil
	}
	var errs []error
	if now := foreign(v.Doc, c.rules); now != c.users[v.Name] {
		errs = append(errs, fmt.Errorf("what is not Serin's was changed from\n%s\nto\n%s", c.users[v.Name], now))
	}
	s, ok := StateOf(v.Doc, c.rules.Service)
	if !ok {
		return append(errs, c.cleaned(before, v)...)
	}
	errs = append(errs, c.pins(v, s)...)
	errs = append(errs, c.weights(v, s)...)
	errs = append(errs, c.headers(v, s)...)
	errs = append(errs, c.copies(v, s)...)
	errs = append(errs, c.cookies(v, s)...)
	errs = append(errs, c.steps(s)...)
	return append(errs, c.retreats(before, v, s)...)
}

// cleaned checks a version that has lost its state: nothing of Serin's is
// left, and the canary of a release under way has no users any more.
func (c *checker) cleaned(before, v Version) (errs []error) {
	if n := HeaderRoutes(v.Doc); n > 0 {
		errs = append(errs, fmt.Errorf("no state, but %d header routes", n))
	}
	errs = append(errs, bareOf(v.Doc, c.rules)...)
	if c.rules.InPlace && leadsTo(v.Doc, c.rules.Service, c.rules.Subsets[:]...) > 0 {
		errs = append(errs, fmt.Errorf("no state, but routes lead to subsets of Serin's"))
	}
	s, ok := StateOf(before.Doc, c.rules.Service)
	if !ok {
		return append(errs, fmt.Errorf("written without a state"))
	}
	if !s.Active() {
		return errs
	}
	for _, share := range c.shares(v, s) {
		if share.Percent > 0 {
			errs = append(errs, fmt.Errorf("no state, but %g%% for the canary in %s", share.Percent, share.Route))
		}
	}
	return errs
}

// pins checks that no route leads past the two subsets, where the canary's pods
// are pods of whatever else the user wrote.
func (c *checker) pins(v Version, s State) []error {
	if !c.rules.InPlace || !s.Active() {
		return nil
	}
	all := leadsTo(v.Doc, c.rules.Service)
	if pinned := leadsTo(v.Doc, c.rules.Service, c.rules.Subsets[:]...); pinned != all {
		return []error{fmt.Errorf("%d of %d destinations are not pinned to a subset of Serin's", all-pinned, all)}
	}
	return nil
}

func (c *checker) shares(v Version, s State) []Share {
	return Shares(v.Doc, c.rules.Service, c.rules.Subsets, s.Canary.Subset)
}

// weights checks that the weights are what the state in the same write orders.
func (c *checker) weights(v Version, s State) (errs []error) {
	shares := c.shares(v, s)
	if len(shares) == 0 && (!c.rules.InPlace || s.Active()) {
		errs = append(errs, fmt.Errorf("no route leads to the Service"))
	}
	for _, share := range shares {
		if math.Abs(share.Percent-float64(s.Weight)) >= 100/float64(share.Total) {
			errs = append(errs, fmt.Errorf("the state says %d%%, %s says %g%%", s.Weight, share.Route, share.Percent))
		}
	}
	if s.Weight > s.limit() {
		errs = append(errs, fmt.Errorf("%d%% at step %d, whose weight is %d%%", s.Weight, s.Step, s.limit()))
	}
	return errs
}

// headers checks that each route has its header route while testers are served,
// and none otherwise.
func (c *checker) headers(v Version, s State) []error {
	want := 0
	if s.Active() && !s.drains() && !c.rules.Adopts {
		want = len(c.shares(v, s))
	}
	n := HeaderRoutes(v.Doc)
	if c.rules.InPlace && n == 0 {
		return nil // testers are led to a canary that has ready pods, and it may have none
	}
	if n != want {
		return []error{fmt.Errorf("%d header routes in phase %s, want %d", n, s.Phase, want)}
	}
	return nil
}

// copies checks that each route sends the canary the copies that the state in the same
// write orders, and stable none.
func (c *checker) copies(v Version, s State) (errs []error) {
	shares, to := Copies(v.Doc, c.rules.Service, c.rules.Subsets)
	want := 0
	if s.mirror() > 0 {
		want = len(c.shares(v, s))
	}
	if len(shares) != want {
		errs = append(errs, fmt.Errorf("%d routes send copies in phase %s at step %d, want %d", len(shares), s.Phase, s.Step, want))
	}
	for i := range shares {
		if shares[i] != float64(s.mirror()) || to[i] != s.Canary.Subset {
			errs = append(errs, fmt.Errorf("the state says copies of %d%%, a route sends %g%% to %s", s.mirror(), shares[i], to[i]))
		}
	}
	return errs
}

// cookies checks that each route has two routes for cookies while users are kept on a
// version, and that both versions set theirs; and none otherwise.
func (c *checker) cookies(v Version, s State) (errs []error) {
	want := 0
	if s.keeps() {
		want = 2 * len(c.shares(v, s))
	}
	if n := CookieRoutes(v.Doc); n != want {
		errs = append(errs, fmt.Errorf("%d routes for cookies in phase %s at %d%%, want %d", n, s.Phase, s.Weight, want))
	}
	if n := Cookies(v.Doc, c.rules.Service); n != want {
		errs = append(errs, fmt.Errorf("%d destinations set cookies in phase %s at %d%%, want %d", n, s.Phase, s.Weight, want))
	}
	return errs
}

// bareOf checks that nothing is left that stands on routes for a while.
func bareOf(doc map[string]any, r Rules) (errs []error) {
	shares, _ := Copies(doc, r.Service, r.Subsets)
	if left := len(shares) + CookieRoutes(doc) + Cookies(doc, r.Service); left > 0 {
		errs = append(errs, fmt.Errorf("%d copies, cookies and routes for them are left", left))
	}
	return errs
}

// steps checks that no step was passed over.
func (c *checker) steps(s State) []error {
	before := c.step[s.Rollout]
	c.step[s.Rollout] = max(before, s.Step)
	if s.Step > before+1 && !c.rules.Jumps {
		return []error{fmt.Errorf("step %d comes after step %d", s.Step, before)}
	}
	return nil
}

// retreats checks that a rollout that went back never gives the canary more.
func (c *checker) retreats(before, v Version, s State) (errs []error) {
	c.retreat[s.Rollout] = c.retreat[s.Rollout] || s.retreats()
	if !c.retreat[s.Rollout] {
		return nil
	}
	if !s.retreats() {
		errs = append(errs, fmt.Errorf("the rollout went back, and is %s now", s.Phase))
	}
	// Header routes come and go, so that places differ: the order does not.
	old := c.shares(before, s)
	for i, share := range c.shares(v, s) {
		if i < len(old) && share.Percent > old[i].Percent {
			errs = append(errs, fmt.Errorf("the rollout went back, and %s rises from %g%% to %g%%", share.Route, old[i].Percent, share.Percent))
		}
	}
	return errs
}

// AtRest checks the last version of a VirtualService after a release: the
// subset has this share in percent, no header route of Serin's is left, and
// Serin owns no field of the spec, so that the user can apply theirs.
func AtRest(doc map[string]any, r Rules, subset string, percent float64) (errs []error) {
	if n := HeaderRoutes(doc); n > 0 {
		errs = append(errs, fmt.Errorf("%d header routes are left", n))
	}
	errs = append(errs, bareOf(doc, r)...)
	for _, share := range Shares(doc, r.Service, r.Subsets, subset) {
		if share.Percent != percent {
			errs = append(errs, fmt.Errorf("subset %s has %g%% in %s, want %g%%", subset, share.Percent, share.Route, percent))
		}
	}
	for _, entry := range list(tree(doc["metadata"])["managedFields"]) {
		e := tree(entry)
		if _, owns := tree(e["fieldsV1"])["f:spec"]; owns && e["manager"] == "serin" {
			errs = append(errs, fmt.Errorf("serin owns fields of the spec: the user's server-side apply would conflict"))
		}
	}
	return errs
}
