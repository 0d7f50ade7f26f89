package torture

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"serin.dev/serin/e2e/load"
	"serin.dev/serin/e2e/scenarios/invariant"
)

const (
	service = "web"
	steps   = "25%/1s, 50%/1s, 100%/1s"
	// stuck is how long a release may take at most, kills and all. It judges that
	// something is for ever, not how fast it is.
	stuck = 8 * time.Minute
	// settling is how long it may take until all is at rest after a release.
	settling = 2 * time.Minute
)

// kind is what a shop has.
type kind struct {
	inPlace bool
	gateway bool // users come in by the gateway, whose routes are the VirtualService web
	inside  bool // users are in the mesh; in place, without a VirtualService of the user's
	routes  string
}

// shop is an application in a namespace of its own, of which version after
// version is released, while users come.
type shop struct {
	kind
	*stage
	name  string
	rules invariant.Rules
	dice  *rand.Rand
	users []*load.Generator

	written map[string]string // what the user wrote of each VirtualService
	checked int64             // versions up to this revision were

	serving string       // the version that users are on
	subset  string       // of a pair: where it is
	number  atomic.Int64 // of the last version

	mu       sync.Mutex
	began    time.Time       // users were served from then on
	bad      map[string]bool // versions that answer errors
	answers  map[blame]int
	first    map[string]time.Time // when a version first answered a user, at the end of the answer
	spoiled  int                  // releases of good versions that went back, for users did not reach their pods
	early    int                  // releases whose version answered before it had weight, for proxies were behind
	wrong    []error              // answers that nothing explains but the routes
	releases []release
}

// release is one that has ended.
type release struct {
	version, outcome string
	took             time.Duration
}

// open makes the shop and waits until its users are served.
func (s *shop) open(ctx context.Context) error {
	s.bad, s.answers, s.serving, s.subset = map[string]bool{}, map[blame]int{}, "r0", "v1"
	s.first = map[string]time.Time{}
	s.rules = invariant.Rules{Service: service, Subsets: invariant.Subsets{"v1", "v2"}}
	manifest := platform
	if s.inPlace {
		s.rules.InPlace, s.rules.Subsets = true, invariant.Subsets{"serin-stable", "serin-canary"}
	} else {
		manifest += "---" + rule
	}
	if err := s.Apply(ctx, strings.ReplaceAll(manifest+"---"+s.routes, "NAMESPACE", s.name)); err != nil {
		return err
	}
	if err := s.deploy(ctx, "r0", ""); err != nil {
		return err
	}
	if s.gateway {
		if err := s.welcome(ctx, s.GatewayURL(), s.name+".example.com"); err != nil {
			return err
		}
	}
	if s.inside {
		if err := s.welcome(ctx, s.MeshURL(), service+"."+s.name); err != nil {
			return err
		}
	}
	if err := s.until(ctx, settling, "users are served", s.answeredBy("r0")); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.began = time.Now()
	return nil
}

// Users' requests at each entry: how many a second, and how long they wait. A
// busy machine is no lost request; who has no route is told so at once.
const (
	rate     = 50
	patience = time.Minute
)

func (s *shop) welcome(ctx context.Context, url, host string) error {
	g, err := load.Start(context.WithoutCancel(ctx), load.Options{URL: url, Host: host, Rate: rate, Timeout: patience, Duration: load.MaxDuration, OnRecord: s.see})
	if err == nil {
		s.users = append(s.users, g)
	}
	return err
}

// remember keeps what the user wrote.
func (s *shop) remember() {
	all, _ := s.chronicle.of(s.name)
	s.written = map[string]string{}
	for _, v := range all {
		s.checked = max(s.checked, v.Revision)
		if v.Resource == virtualServices.Resource {
			s.written[v.Name] = invariant.AsWritten(v.Doc)
		}
	}
}

// until waits until check succeeds.
func (s *shop) until(ctx context.Context, limit time.Duration, what string, check func(context.Context) error) error {
	outer := ctx
	ctx, cancel := context.WithTimeout(outer, limit)
	defer cancel()
	var err error
	for {
		look, done := context.WithTimeout(ctx, 10*time.Second)
		now := check(look)
		done()
		if now == nil {
			return nil
		}
		if !errors.Is(now, context.DeadlineExceeded) || err == nil {
			err = now
		}
		if over := context.Cause(outer); over != nil {
			return over
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not after %s, %s: %w", s.name, limit, what, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// deploy has a version run. Of a pair it is the one that has no users; failing
// is the share of its answers that are errors.
func (s *shop) deploy(ctx context.Context, version, failing string) error {
	manifest := pairOf
	if s.inPlace {
		manifest = single
	}
	idle := "v1"
	if version != "r0" && s.subset == "v1" {
		idle = "v2"
	}
	tag := version
	if failing != "" {
		tag += "_error-rate-" + failing
	}
	return s.Apply(ctx, strings.NewReplacer("NAMESPACE", s.name, "SUBSET", idle, "TAG", tag, "STEPS", steps).Replace(manifest))
}

// run releases version after version until the stage closes.
func (s *shop) run(ctx context.Context) error {
	for !s.closing.Load() {
		if err := s.release(ctx); err != nil {
			return err
		}
	}
	return nil
}

// release releases a version and checks all that has to hold at its end.
func (s *shop) release(ctx context.Context) error {
	version, want := fmt.Sprintf("r%d", s.number.Add(1)), "Succeeded"
	failing := ""
	if s.dice.IntN(5) < 2 {
		want, failing = "RolledBack", []string{"1", "0.5"}[s.dice.IntN(2)]
		s.mu.Lock()
		s.bad[version] = true
		s.mu.Unlock()
	}
	began, cut := time.Now(), s.cutOff()
	known, err := s.recorded(ctx)
	if err != nil {
		return err
	}
	if err := s.until(ctx, settling, "the version "+version+" is accepted", func(ctx context.Context) error { return s.deploy(ctx, version, failing) }); err != nil {
		return err
	}
	outcome, err := s.ends(ctx, known)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.releases = append(s.releases, release{version, outcome, time.Since(began)})
	s.mu.Unlock()
	if outcome != want {
		reason, err := s.reason(ctx, known)
		behind := s.away.during(began, time.Now())
		if err != nil || outcome != "RolledBack" || behind == "" || reason != "CanaryStarved" && s.cutOff() == cut {
			return errors.Join(fmt.Errorf("%s: the release of %s ended %s (%s), want %s", s.name, version, outcome, reason, want), err)
		}
		s.spoiled++
		s.say("%s: %s went back (%s), for its users did not reach its pods: %s was away", s.name, version, reason, behind)
	}
	if outcome == "Succeeded" {
		s.serving = version
		if s.subset == "v1" {
			s.subset = "v2"
		} else {
			s.subset = "v1"
		}
	}
	if err := s.rests(ctx, outcome); err != nil {
		return err
	}
	if err := errors.Join(s.check(version), s.lost()); err != nil {
		return err
	}
	if s.inPlace && outcome == "RolledBack" && s.dice.IntN(2) == 0 {
		return s.takeBack(ctx)
	}
	return nil
}

// cutOff is how many answers users missed because pods went while something was
// away.
func (s *shop) cutOff() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.answers[cutOff]
}

// reason is why the release ended that is not among those known.
func (s *shop) reason(ctx context.Context, known map[string]string) (reason string, err error) {
	err = s.until(ctx, settling, "the history is read", func(ctx context.Context) error {
		list, err := s.kube.AppsV1().ControllerRevisions(s.name).List(ctx, metav1.ListOptions{LabelSelector: "serin.dev/service=" + service})
		if err != nil {
			return err
		}
		for _, r := range list.Items {
			if _, is := known[r.Name]; !is && r.Annotations["serin.dev/reason"] != "" {
				reason = r.Annotations["serin.dev/reason"]
			}
		}
		return nil
	})
	return reason, err
}

// recorded are the names of the releases in the history, and their outcomes.
func (s *shop) recorded(ctx context.Context) (map[string]string, error) {
	out := map[string]string{}
	err := s.until(ctx, settling, "the history is read", func(ctx context.Context) error {
		list, err := s.kube.AppsV1().ControllerRevisions(s.name).List(ctx, metav1.ListOptions{LabelSelector: "serin.dev/service=" + service})
		if err != nil {
			return err
		}
		clear(out)
		for _, r := range list.Items {
			if outcome := r.Annotations["serin.dev/outcome"]; outcome != "UnderWay" {
				out[r.Name] = outcome
			}
		}
		return nil
	})
	return out, err
}

// ends waits until there is one more release in the history than those known,
// and returns its outcome.
func (s *shop) ends(ctx context.Context, known map[string]string) (outcome string, err error) {
	err = s.until(ctx, stuck, "the release ends", func(ctx context.Context) error {
		all, err := s.recorded(ctx)
		if err != nil {
			return err
		}
		var fresh []string
		for name, result := range all {
			if _, is := known[name]; !is {
				fresh = append(fresh, name)
				outcome = result
			}
		}
		switch len(fresh) {
		case 0:
			return fmt.Errorf("it is %s", s.now())
		case 1:
			return nil
		default:
			return fmt.Errorf("one release left %d records: %v", len(fresh), fresh)
		}
	})
	return outcome, err
}

// rests waits until users are all on the version that serves, and nothing is
// left of the release.
func (s *shop) rests(ctx context.Context, outcome string) error {
	err := s.until(ctx, settling, "users are on "+s.serving, s.answeredBy(s.serving))
	if err != nil {
		return err
	}
	return s.until(ctx, settling, "all is at rest", func(ctx context.Context) error {
		if err := s.caughtUp(ctx); err != nil {
			return err
		}
		if s.inPlace {
			return errors.Join(append(s.routesAtRest(), s.leftOver(ctx), s.plain(ctx, outcome == "RolledBack"))...)
		}
		return errors.Join(s.routesAtRest()...)
	})
}

// routesAtRest is what is wrong with the routes after a release.
func (s *shop) routesAtRest() (errs []error) {
	all, _ := s.chronicle.of(s.name)
	for name, want := range s.written {
		doc := latest(all, virtualServices, name)
		if !s.inPlace {
			errs = append(errs, invariant.AtRest(doc, s.rules, s.subset, 100)...)
			if state, _ := invariant.StateOf(doc, service); state.Active() {
				errs = append(errs, fmt.Errorf("the VirtualService %s says %s", name, state.Phase))
			}
			continue
		}
		errs = append(errs, invariant.AtRest(doc, s.rules, s.rules.Subsets[1], 0)...)
		if got := invariant.AsWritten(doc); got != want {
			errs = append(errs, fmt.Errorf("the VirtualService %s is\n%s\nthe user wrote\n%s", name, got, want))
		}
	}
	return errs
}

// leftOver names the objects of a release in place that are still there.
func (s *shop) leftOver(ctx context.Context) error {
	var errs []error
	for resource, selector := range map[schema.GroupVersionResource]string{
		virtualServices: ours, destinationRules: ours, deployments: ours, pods: "serin.dev/track",
	} {
		list, err := s.trees.Resource(resource).Namespace(s.name).List(ctx, metav1.ListOptions{LabelSelector: selector})
		if err != nil {
			return err
		}
		for _, o := range list.Items {
			errs = append(errs, fmt.Errorf("%s %s is left", o.GetKind(), o.GetName()))
		}
	}
	return errors.Join(errs...)
}

const ours = "app.kubernetes.io/managed-by=serin"

var pods = schema.GroupVersionResource{Version: "v1", Resource: "pods"}

// plain is an error unless the user's Deployment is held or not, and complete if
// it is not.
func (s *shop) plain(ctx context.Context, held bool) error {
	d, err := s.kube.AppsV1().Deployments(s.name).Get(ctx, service, metav1.GetOptions{})
	if err != nil {
		return err
	}
	_, marked := d.Annotations["serin.dev/held"]
	if d.Spec.Paused != held || marked != held {
		return fmt.Errorf("the Deployment's paused is %v and its mark is %v, want both %v", d.Spec.Paused, marked, held)
	}
	if !held {
		return complete(d)
	}
	return nil
}

// complete is an error unless all of the Deployment's pods are new and ready.
func complete(d *appsv1.Deployment) error {
	status, want := d.Status, *d.Spec.Replicas
	if status.ObservedGeneration != d.Generation || status.UpdatedReplicas != want || status.ReadyReplicas != want || status.Replicas != want {
		return fmt.Errorf("the Deployment is not complete: %+v", status)
	}
	return nil
}

// takeBack writes the version that serves, as people do who have seen that
// another one was rolled back. Nothing is released for that.
func (s *shop) takeBack(ctx context.Context) error {
	err := s.until(ctx, settling, "the version that serves is written back", func(ctx context.Context) error { return s.deploy(ctx, s.serving, "") })
	if err != nil {
		return err
	}
	return s.until(ctx, stuck, "the Deployment is let go", func(ctx context.Context) error { return s.plain(ctx, false) })
}

// caughtUp is an error unless the chronicle has the newest versions.
func (s *shop) caughtUp(ctx context.Context) error {
	for _, resource := range []schema.GroupVersionResource{virtualServices, destinationRules} {
		list, err := s.trees.Resource(resource).Namespace(s.name).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		all, _ := s.chronicle.of(s.name)
		there := map[string]bool{}
		for i := range list.Items {
			want, err := versionOf(resource, &list.Items[i])
			if err != nil {
				return err
			}
			there[want.Name] = true
			if !slices.ContainsFunc(all, func(v version) bool {
				return v.Resource == resource.Resource && v.Name == want.Name && v.Revision == want.Revision
			}) {
				return fmt.Errorf("the newest version of %s is not seen yet", want.Name)
			}
		}
		for _, v := range all {
			if v.Resource == resource.Resource && !there[v.Name] && latest(all, resource, v.Name) != nil {
				return fmt.Errorf("the end of %s is not seen yet", v.Name)
			}
		}
	}
	return nil
}

// storm is more versions than a release makes, however often it is begun anew.
const storm = 150

// lost is what became of versions that were never seen.
func (s *shop) lost() error {
	_, _, gaps := s.chronicle.counts()
	if len(gaps) > 0 {
		return fmt.Errorf("not all versions can be checked, the history is compacted: %v", gaps)
	}
	return nil
}

// beforeItsTime checks that no user was answered by a version before it had
// weight, unless proxies could not hear of the routes that say so.
func (s *shop) beforeItsTime(released string, all []version) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	first, answered := s.first[released]
	if !answered {
		return nil
	}
	for _, v := range routesOf(all) {
		if state, is := invariant.StateOf(v.Doc, service); is && state.Active() && state.Weight > 0 {
			// It may be written in whole seconds, and the answer comes after it.
			if !first.Before(state.At.Truncate(time.Second)) {
				return nil
			}
			break
		}
	}
	if behind := s.away.during(first.Add(-time.Minute), first); behind != "" {
		s.early++
		s.say("%s: a user was answered by %s at %s, before it had weight; %s was away", s.name, released, first.Format(clock), behind)
		return nil
	}
	return fmt.Errorf("a user was answered by %s at %s, before it had weight", released, first.Format(clock))
}

// check checks all versions of the routes since the last release, which was of
// the version.
func (s *shop) check(released string) error {
	all, _ := s.chronicle.of(s.name)
	if len(all) == 0 {
		return nil
	}
	routes := routesOf(all)
	for i := range routes {
		// What was checked before is what all else is compared with.
		routes[i].ByHand = routes[i].Doc != nil && revision(routes[i].Doc) <= s.checked
	}
	errs := invariant.Check(routes, s.rules)
	errs = append(errs, undefined(all, service)...)
	if err := s.beforeItsTime(released, all); err != nil {
		errs = append(errs, err)
	}
	if len(all) > storm {
		errs = append(errs, fmt.Errorf("one release wrote %d versions", len(all)))
	}
	if len(errs) > 0 {
		return fmt.Errorf("%s: %w\nall versions:\n%s", s.name, errors.Join(errs...), s.trace(all))
	}
	s.checked = all[len(all)-1].Revision
	s.chronicle.forget(s.name, s.checked+1)
	return nil
}

// at says which version is released, and where that stands.
func (s *shop) at() string { return fmt.Sprintf("r%d %s", s.number.Load(), s.now()) }

// now says where the shop's release stands.
func (s *shop) now() string {
	all, _ := s.chronicle.of(s.name)
	var newest invariant.State
	for _, v := range routesOf(all) {
		if state, is := invariant.StateOf(v.Doc, service); is {
			newest = state
		}
	}
	carriers := 0
	for _, name := range []string{"web", "web-mesh", "web-serin"} {
		if _, is := invariant.StateOf(latest(all, virtualServices, name), service); is {
			carriers++
		}
	}
	switch {
	case carriers == 0:
		return "at rest"
	case newest.Active():
		return fmt.Sprintf("%s %d%%", newest.Phase, newest.Weight)
	default:
		return newest.Phase
	}
}

// trace tells all versions in a line each.
func (s *shop) trace(all []version) string {
	var b strings.Builder
	for _, v := range all {
		fmt.Fprintf(&b, "%d %s %s %s", v.Revision, v.Seen.Format(clock), v.Resource, v.Name)
		if v.Doc == nil {
			b.WriteString(" is deleted")
		}
		for _, share := range invariant.Shares(v.Doc, service, s.rules.Subsets, s.rules.Subsets[1]) {
			fmt.Fprintf(&b, " %g%%", share.Percent)
		}
		if state, is := invariant.StateOf(v.Doc, service); is {
			fmt.Fprintf(&b, " %d header routes; %s#%d %s step %d %d%% %s: %s", invariant.HeaderRoutes(v.Doc), state.Rollout, state.Sequence, state.Phase, state.Step, state.Weight, state.Reason, state.Message)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
