package torture

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"serin.dev/serin/internal/apiserver"
)

// The namespace and the Service that all scenarios are about.
const (
	namespace = "shop"
	service   = "web"
)

const (
	processHeader = "X-Process" // names the controller that a request is of
	statePrefix   = "serin.dev/state."
	headerPrefix  = "serin-canary."
)

// ref names an object of the shop.
type ref struct{ kind, name string }

// observer sees every version of every object, in order, and knows what has to
// hold about them. It shares no code with the controller.
type observer struct {
	mu    sync.Mutex
	rules rules
	wrong func(format string, args ...any)
	flow  func(ways []way)

	docs map[ref]map[string]any

	writes   int // of the controllers, but for Events and leases
	kinds    map[string]int
	releases map[string]*release // by rollout
	latest   *release            // the one whose state was written last
	opened   bool                // users come
	excused  bool                // the fault itself takes pods or rules away
	stopped  time.Time           // until when nobody may give the canary more; zero: always allowed
	delayed  time.Duration       // how long ago the write that is done now was sent
	ways     []way
	badSince time.Time // since when users are on a version that fails; zero: none are
	badLong  time.Duration
}

// release is what was seen of one rollout.
type release struct {
	id        string
	step      int
	stepAt    time.Time
	retreated bool
	lowest    map[string]float64 // by VirtualService: the canary's share since the release went back
	phase     string
}

// state is what is read of the state that a VirtualService carries.
type state struct {
	Rollout string `json:"rollout"`
	Phase   string `json:"phase"`
	Step    int    `json:"step"`
	Weight  int    `json:"weight"`
	Seq     int64  `json:"seq"`
	Canary  struct {
		Subset string `json:"s"`
	} `json:"canary"`
	Spec struct {
		Steps []struct {
			Weight int `json:"w"`
		} `json:"steps"`
	} `json:"spec"`
}

func (s state) retreats() bool { return s.Phase == "RollingBack" || s.Phase == "RolledBack" }

func (s state) active() bool {
	return s.Phase != "" && s.Phase != "Succeeded" && s.Phase != "RolledBack"
}

// limit is the weight of the step in force, in percent.
func (s state) limit() int {
	if s.Step < 1 || s.Step > len(s.Spec.Steps) {
		return 0
	}
	return s.Spec.Steps[s.Step-1].Weight
}

func newObserver(r rules, wrong func(string, ...any), flow func([]way)) *observer {
	return &observer{
		rules: r, wrong: wrong, flow: flow, docs: map[ref]map[string]any{}, kinds: map[string]int{},
		releases: map[string]*release{},
	}
}

// see takes note of one version of an object; the API server waits meanwhile.
func (o *observer) see(c apiserver.Change) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c.Namespace != namespace || c.Kind == "Event" || c.Kind == "Lease" {
		return
	}
	by := ""
	if c.By != nil {
		by = c.By.Header.Get(processHeader)
	}
	at := ref{c.Kind, c.Name}
	before := o.docs[at]
	if c.Object == nil {
		delete(o.docs, at)
	} else {
		o.docs[at] = c.Object
	}
	if by != "" {
		o.count(c)
	}
	switch c.Kind {
	case "VirtualService":
		o.routes(c.Name, before, c.Object, by != "")
	case "Deployment":
		o.deployment(c.Name, before, c.Object, by != "")
	case "DestinationRule", "Pod", "Service":
	default:
		return
	}
	o.route()
}

// storm is by how much more a run may write than the undisturbed one until it is
// stopped at once.
const storm = 20

func (o *observer) count(c apiserver.Change) {
	o.writes++
	o.kinds[c.Kind]++
	if most := o.rules.Writes; most > 0 && o.writes > storm*most {
		o.wrong("a storm: %d writes, %d without a fault", o.writes, most)
	}
}

// deployment checks that Serin changes nothing of a user's Deployment but its
// pause and the template it was told to put back.
func (o *observer) deployment(name string, before, now map[string]any, ours bool) {
	if !ours || before == nil || isOurs(before) {
		return
	}
	if now == nil {
		o.wrong("Deployment %s of the user was deleted", name)
		return
	}
	a, b := foreignDeployment(before, o.rules.Restores), foreignDeployment(now, o.rules.Restores)
	if a != b {
		o.wrong("of Deployment %s was changed what is not Serin's, from\n%s\nto\n%s", name, a, b)
	}
}

func isOurs(doc map[string]any) bool {
	return in(doc, "metadata", "labels", "app.kubernetes.io/managed-by") == "serin"
}

func foreignDeployment(doc map[string]any, restores bool) string {
	spec := with(tree(doc["spec"]), "paused", nil)
	if restores {
		spec = with(spec, "template", nil)
	}
	notes := with(tree(in(doc, "metadata", "annotations")), "serin.dev/held", nil)
	return text([]any{spec, notes, in(doc, "metadata", "labels")})
}

// route finds out where the users go now, and whether somebody is there.
func (o *observer) route() {
	ways := o.where()
	for _, w := range ways {
		if w.lost != "" && o.opened && !o.excused {
			o.wrong("%g%% of the users of %s are sent to %s", w.percent, w.by, w.lost)
		}
	}
	ways = append(ways, o.idlers(ways)...)
	if slices.EqualFunc(ways, o.ways, way.equal) {
		return
	}
	o.ways = ways
	o.flow(ways)
	o.suffer(ways)
}

// suffer keeps for how long users are on a version that fails.
func (o *observer) suffer(ways []way) {
	bad := slices.ContainsFunc(ways, func(w way) bool { return w.percent > 0 && o.rules.Bad[w.image] })
	switch {
	case bad && o.badSince.IsZero():
		o.badSince = time.Now()
	case !bad && !o.badSince.IsZero():
		o.badLong = max(o.badLong, time.Since(o.badSince))
		o.badSince = time.Time{}
	}
}

// turn has an image fail from now on, or be well.
func (o *observer) turn(image string, bad bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.rules.Bad = maps.Clone(o.rules.Bad)
	if o.rules.Bad == nil {
		o.rules.Bad = map[string]bool{}
	}
	o.rules.Bad[image] = bad
	o.suffer(o.ways)
	o.flow(o.ways)
}

// open has users come from now on.
func (o *observer) open() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.opened = true
	o.route()
}

// excuse has users without a pod be nobody's fault but the disturbance's.
func (o *observer) excuse() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.excused = true
}

// forbid lets nobody raise a canary until allowed again.
func (o *observer) forbid(from time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stopped = from
}

// delay has what is written from now on have been sent a while ago; 0: just now.
func (o *observer) delay(by time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.delayed = by
}

// tell is what is known, for those that ask.
func (o *observer) tell(f func(*observer)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f(o)
}

// share is the canary's share of the users, in percent: the most of any
// VirtualService.
func (o *observer) share() (most float64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for at, doc := range o.docs {
		if at.kind == "VirtualService" {
			for _, s := range o.shares(doc) {
				most = max(most, s.percent)
			}
		}
	}
	return most
}

// least is the least share of the canary in any VirtualService, in percent.
func (o *observer) least() float64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	least := 100.0
	for at, doc := range o.docs {
		if at.kind == "VirtualService" {
			for _, s := range o.shares(doc) {
				least = min(least, s.percent)
			}
		}
	}
	return least
}

// phase is that of the state written last, of those that are there.
func (o *observer) phase() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.latest == nil {
		return ""
	}
	return o.latest.phase
}

// outcomes are how releases ended, as they are kept, oldest first.
func (o *observer) outcomes() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	type kept struct {
		revision float64
		outcome  string
	}
	var all []kept
	for at, doc := range o.docs {
		if at.kind == "ControllerRevision" {
			all = append(all, kept{num(doc["revision"]), str(in(doc, "metadata", "annotations", "serin.dev/outcome"))})
		}
	}
	slices.SortFunc(all, func(a, b kept) int { return int(a.revision - b.revision) })
	out := []string{}
	for _, k := range all {
		out = append(out, k.outcome)
	}
	return out
}

// names are the objects of a kind.
func (o *observer) names(kind string) (all []string) {
	for at := range o.docs {
		if at.kind == kind {
			all = append(all, at.name)
		}
	}
	slices.Sort(all)
	return all
}

// leftovers is what a release added and has not taken away; empty at rest. A state
// at rest stays in pair mode.
func (o *observer) leftovers() (left []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for at, doc := range o.docs {
		switch {
		case at.kind == "ControllerRevision" || at.kind == "ReplicaSet":
		case isOurs(doc):
			left = append(left, at.kind+" "+at.name)
		case at.kind == "Pod" && in(doc, "metadata", "labels", "serin.dev/track") == "canary":
			left = append(left, "Pod "+at.name)
		case at.kind == "VirtualService":
			if s, found := stateOf(doc); found && (s.active() || o.rules.InPlace) {
				left = append(left, "the state on "+at.name+" ("+s.Phase+")")
			}
			if n := headerRoutes(doc); n > 0 {
				left = append(left, fmt.Sprintf("%d header routes in %s", n, at.name))
			}
		}
	}
	slices.Sort(left)
	return left
}

// snapshot is what users find, without what differs from run to run: times, names
// of rollouts and versions.
func (o *observer) snapshot() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var b strings.Builder
	images := map[string]int{}
	for _, kind := range []string{"Deployment", "VirtualService", "DestinationRule", "Pod"} {
		for _, name := range o.names(kind) {
			doc := o.docs[ref{kind, name}]
			if kind == "Pod" {
				images[o.workloadOf(doc)+" "+imageOf(doc)]++
				continue
			}
			fmt.Fprintf(&b, "%s %s %s\n", kind, name, lasting(doc))
		}
	}
	for _, image := range slices.Sorted(maps.Keys(images)) {
		fmt.Fprintf(&b, "%d pods of %s\n", images[image], image)
	}
	return b.String()
}

// touched is what a hand leaves on an object that it only touches.
const touched = "team/touched"

// lasting is an object without what differs from run to run.
func lasting(doc map[string]any) string {
	notes := map[string]any{}
	for key, value := range tree(in(doc, "metadata", "annotations")) {
		switch {
		case strings.HasPrefix(key, statePrefix):
			s, _ := stateOf(doc)
			notes[key] = fmt.Sprintf("%s at %d%%", s.Phase, s.Weight) // which step it was hangs on when people act
		case key != apiserver.RevisionKey && key != touched:
			notes[key] = value
		}
	}
	spec := tree(doc["spec"])
	if spec["paused"] == false {
		spec = with(spec, "paused", nil)
	}
	return text(map[string]any{"spec": spec, "annotations": notes, "labels": in(doc, "metadata", "labels")})
}
