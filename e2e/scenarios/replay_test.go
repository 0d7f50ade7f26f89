package scenarios

import (
	"context"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"serin.dev/serin/e2e/scenarios/invariant"
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/judge"
	"serin.dev/serin/pkg/prom"
	"serin.dev/serin/pkg/replay"
)

// moment is a block and the verdict once it was known.
type moment struct {
	block   judge.Block
	before  bool // it is of the hour before the release
	verdict judge.Verdict
}

// replayed judges a release twice: block by block while it is under way, and in
// one run when it is over. Statistics come late, pods come and go, and the
// controller is killed in mid-step: block by block it is the same, and it is
// what the controller says.
func replayed(t *testing.T, name string) {
	late := settings{"STATS_LATENCY": "400ms"}
	st := open(t, name, script{sidecars: true, home: late, lease: lease})
	follower := st.follow()
	st.kubectl("scale", "deployment", "web-v1", "--replicas=2")
	st.deploy(deployment{subset: "v2", replicas: 2, env: late, annotations: settings{"canary": "true", "steps": "25%/5s, 50%/15s, 100%/5s"}})
	st.reachesWeight(50)
	st.arrives("v2")
	st.crash()
	st.kubectl("delete", "pod", "--wait=false", st.onePod("v2"))
	st.kubectl("scale", "deployment", "web-v1", "--replicas=1")
	st.reachesPhase("Succeeded")
	live := follower.finish()
	sameAgain(t, live, follower.again())
	st.sayTheSame(live)
	st.close("v2", "v2")
}

// onePod is the name of a pod of a version.
func (st *stage) onePod(version string) string {
	st.Helper()
	pods, err := st.kube.CoreV1().Pods(st.name).List(st.Context(), metav1.ListOptions{LabelSelector: "version=" + version})
	if err != nil || len(pods.Items) == 0 {
		st.Fatalf("a pod of %s: %v, %d found", version, err, len(pods.Items))
	}
	return pods.Items[0].Name
}

// follower reads a release as the controller does, from outside.
type follower struct {
	st      *stage
	source  replay.Source
	stop    chan struct{}
	stopped chan struct{}

	// Of its own goroutine until that has stopped.
	reading replay.Reading
	held    *judge.Case
	live    []moment
	failed  error
}

// follow begins to read.
func (st *stage) follow() *follower {
	st.Helper()
	query, err := prom.HTTP(http.DefaultClient, st.box.PrometheusURL())
	if err != nil {
		st.Fatal(err)
	}
	f := &follower{st: st, stop: make(chan struct{}), stopped: make(chan struct{})}
	f.source = func(ctx context.Context, asks []prom.Ask, now time.Time) map[string]prom.Answer {
		return prom.Blocks(ctx, query, asks, now)
	}
	go f.run()
	return f
}

// run looks often, so that each block is asked for about when it is closed.
func (f *follower) run() {
	defer close(f.stopped)
	for {
		over := f.look()
		select {
		case <-f.stop:
			if over {
				return
			}
		default:
		}
		select {
		case <-f.st.Context().Done():
			return
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// look reads what is closed now, and tells whether nothing is left to be read.
func (f *follower) look() (over bool) {
	s, ok := f.state()
	if !ok {
		return false
	}
	f.reading.Follow(s, s.At)
	if f.held != f.reading.Case() { // another case, from the beginning
		f.held, f.live = f.reading.Case(), nil
	}
	stretch, some := f.reading.Stretch()
	if !some {
		return true
	}
	now := time.Now()
	ask := stretch.Ask(f.st.name, "web", s, f.reading.Had())
	ask.Key = s.Rollout
	answer := f.source(f.st.Context(), []prom.Ask{ask}, now)[ask.Key]
	if answer.Err != nil {
		f.failed = answer.Err
		return true
	}
	if stretch.Before && len(answer.Blocks) == 0 {
		f.reading.Add(nil)
		return false
	}
	for _, b := range answer.Blocks {
		if f.reading.Add([]judge.Block{b}) {
			f.live = append(f.live, moment{block: b, before: stretch.Before, verdict: f.held.Verdict(b.End())})
		}
	}
	return false
}

// state is what the VirtualService carries now.
func (f *follower) state() (canary.State, bool) {
	text, ok, _ := unstructured.NestedString(f.st.versions.last("web").Doc, "metadata", "annotations", canary.StatePrefix+"web")
	if !ok {
		return canary.State{}, false
	}
	s, err := canary.DecodeState(text)
	if err != nil {
		f.failed = err
		return s, false
	}
	return s, true
}

// finish reads to the end of the release, and returns all of it.
func (f *follower) finish() []moment {
	f.st.Helper()
	close(f.stop)
	select {
	case <-f.stopped:
	case <-time.After(patience):
		f.st.Fatal("the follower does not come to the release's end")
	}
	if f.failed != nil {
		f.st.Fatal(f.failed)
	}
	return f.live
}

// again reads the release once more, in one run.
func (f *follower) again() (all []moment) {
	f.st.Helper()
	s, _ := f.state()
	of := replay.Subject{Namespace: f.st.name, Service: "web", State: s}
	_, err := replay.Run(f.st.Context(), f.source, of, time.Now(), func(stretch replay.Stretch, b judge.Block, c *judge.Case) {
		all = append(all, moment{block: b, before: stretch.Before, verdict: c.Verdict(b.End())})
	})
	if err != nil {
		f.st.Fatal(err)
	}
	return all
}

// sameAgain compares block by block, and verdict by verdict.
func sameAgain(t *testing.T, live, again []moment) {
	t.Helper()
	requests, steps := int64(0), map[int]bool{}
	for i := range min(len(live), len(again)) {
		if !reflect.DeepEqual(live[i], again[i]) {
			t.Fatalf("moment %d was\n%+v\nand is\n%+v", i, live[i], again[i])
		}
		if !live[i].before {
			requests += live[i].block.Canary.Requests
			steps[live[i].block.Step] = true
		}
	}
	if len(live) != len(again) {
		t.Fatalf("%d blocks were read live, and %d again", len(live), len(again))
	}
	t.Logf("%d blocks of %d steps with %d requests of the canary are the same again", len(live), len(steps), requests)
	if requests < 200 || len(steps) != 3 {
		t.Error("that is too little for a release")
	}
}

// sayTheSame looks for the controller's verdicts among those that were read: a
// controller that was killed in between came to the same.
func (st *stage) sayTheSame(live []moment) {
	st.Helper()
	read := func(sentence string) bool {
		sentence = strings.TrimSuffix(sentence, "…") // a long one is cut
		return slices.ContainsFunc(live, func(m moment) bool {
			return m.verdict.Kind == judge.Promote && strings.HasPrefix(m.verdict.Sentence, sentence)
		})
	}
	found := 0
	versions, _ := st.versions.all()
	for _, v := range versions {
		s, _ := invariant.StateOf(v.Doc, "web")
		if s.Reason != "StepPassed" && s.Reason != "Promoted" || v.ByHand {
			continue
		}
		_, sentence, _ := strings.Cut(s.Message, ". ")
		if !read(sentence) {
			st.Errorf("the controller said %q, which was never read", sentence)
		}
		found++
	}
	if found < 3 {
		st.Errorf("the controller passed %d steps, want 3", found)
	}
}
