package torture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"serin.dev/serin/e2e/load"
	"serin.dev/serin/e2e/scenarios/invariant"
)

// object is a version of an object of a kind that is only told apart by its name.
func object(name string, revision int64) version {
	return version{Resource: virtualServices.Resource, Namespace: "n", Name: name, Revision: revision, Doc: map[string]any{}}
}

func snapshotOf(all ...version) snapshot {
	s := snapshot{}
	for _, v := range all {
		s[v.Namespace+"/"+v.Name] = v
	}
	return s
}

func TestVersionsThatNoWatchShowedAreFoundInTheHistory(t *testing.T) {
	// What there was from a revision on.
	history := map[int64]snapshot{
		10: snapshotOf(object("web", 4), object("mesh", 9)),
		12: snapshotOf(object("web", 12), object("mesh", 9)),
		13: snapshotOf(object("web", 13), object("mesh", 9)),
		90: snapshotOf(object("web", 13)),
		95: snapshotOf(object("web", 13), object("mesh", 95)),
		99: snapshotOf(object("web", 99), object("mesh", 95)),
	}
	asked := 0
	at := func(revision int64) (snapshot, error) {
		asked++
		for ; ; revision-- {
			if s, is := history[revision]; is {
				return s, nil
			}
		}
	}
	found, err := between(at, history[10], history[99], 10, 4000)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range found {
		got = append(got, fmt.Sprintf("%s %d %t", v.Name, v.Revision, v.Doc == nil))
	}
	want := []string{"web 12 false", "web 13 false", "mesh 90 true", "mesh 95 false", "web 99 false"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if asked > 100 {
		t.Errorf("the server was asked %d times", asked)
	}
	gone := errors.New("compacted")
	if _, err := between(func(int64) (snapshot, error) { return nil, gone }, history[10], history[99], 10, 100); !errors.Is(err, gone) {
		t.Errorf("got %v, want that the history does not reach back", err)
	}
}

// routes are a VirtualService that leads to subsets of web.
func routes(revision int64, subsets ...string) version {
	var to []any
	for _, s := range subsets {
		to = append(to, map[string]any{"destination": map[string]any{"host": "web.shop.svc.cluster.local", "subset": s}})
	}
	v := object("web", revision)
	v.Doc = map[string]any{"spec": map[string]any{"http": []any{map[string]any{"route": to}}}}
	return v
}

func defines(name string, revision int64, subsets ...string) version {
	var all []any
	for _, s := range subsets {
		all = append(all, map[string]any{"name": s})
	}
	return version{destinationRules.Resource, "n", name, revision, map[string]any{"spec": map[string]any{"host": "web", "subsets": all}}, time.Time{}}
}

func TestARouteToASubsetThatNoRuleDefinesIsSeen(t *testing.T) {
	gone := defines("more", 4)
	gone.Doc = nil
	for _, c := range []struct {
		name string
		all  []version
		want int
	}{
		{"the rule comes first and goes last", []version{defines("web", 1, "v1"), defines("more", 2, "own"), routes(3, "v1", "own"), routes(4, "v1"), {Resource: gone.Resource, Name: "more", Revision: 5}}, 0},
		{"the routes come first", []version{routes(1, "own"), defines("web", 2, "own")}, 1},
		{"the rule goes first", []version{defines("web", 1, "v1"), defines("more", 2, "own"), routes(3, "v1", "own"), gone}, 1},
		{"a subset is taken out of its rule", []version{defines("web", 1, "v1", "own"), routes(2, "own"), defines("web", 3, "v1")}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			if errs := undefined(c.all, "web"); len(errs) != c.want {
				t.Errorf("got %v, want %d", errs, c.want)
			}
		})
	}
}

func TestWhoseDoingAnAnswerIs(t *testing.T) {
	began := time.Now()
	var away outages
	back := away.begin(istiod)
	const reset = "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure"
	for _, c := range []struct {
		name string
		r    load.Record
		want blame
	}{
		{"a good version", load.Record{Status: 200, Version: "r1"}, good},
		{"an error of a bad version", load.Record{Status: 500, Version: "r2"}, version5xx},
		{"an error of a good version", load.Record{Status: 500, Version: "r1"}, ourDoing},
		{"no route", load.Record{Status: 404}, ourDoing},
		{"no cluster for the subset, whatever is away", load.Record{Status: 503}, ourDoing},
		{"no pod in the subset, whatever is away", load.Record{Status: 503, Said: "no healthy upstream"}, ourDoing},
		{"a pod that went while istiod was away", load.Record{Status: 503, Said: reset}, cutOff},
		{"no answer at all", load.Record{Error: "timeout"}, ourDoing},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.r.Start, c.r.Latency = began.Add(time.Second), time.Millisecond
			if got := judge(c.r, map[string]bool{"r2": true}, away.during); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
	back()
	late := load.Record{Status: 503, Said: reset, Start: time.Now().Add(time.Minute)}
	if got := judge(late, nil, away.during); got != ourDoing {
		t.Errorf("a pod that went when all was there: got %v, want %v", got, ourDoing)
	}
}

func TestWhatTheProxiesCountedIsRead(t *testing.T) {
	got, err := readCounts([]byte(`{"status":"success","data":{"resultType":"vector","result":[{"metric":{"response_flags":"NR"},"value":[1.5,"17"]}]}}`))
	if err != nil || got["NR"] != 17 {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := readCounts([]byte(`{"status":"error"}`)); err == nil {
		t.Error("an error was taken for an answer")
	}
}

// gated is a client behind a gate, to an API server that counts what comes.
func gated(t *testing.T) (*kubernetes.Clientset, *team, *atomic.Int64) {
	t.Helper()
	var came atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		came.Add(1)
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/taken") {
			w.WriteHeader(http.StatusConflict)
		}
		_, _ = w.Write([]byte(`{}`))
	}))
	t.Cleanup(server.Close)
	team := &team{name: "a"}
	g, err := openGate(team, &rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.close)
	file := t.TempDir() + "/kubeconfig"
	if err := g.kubeconfig(file); err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	team.replicas = []*replica{{name: "a1", gate: g}}
	return client, team, &came
}

// put writes an object in the background and says what came of it.
func put(client *kubernetes.Clientset, name string) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := client.CoreV1().ConfigMaps("n").Update(context.Background(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.UpdateOptions{})
		done <- err
	}()
	return done
}

func TestAWriteIsHeldAndLostOrSentOn(t *testing.T) {
	client, team, came := gated(t)
	caught := make(chan *held, 1)
	hold := func(name string) (*held, <-chan error) {
		go func() { caught <- team.catch(t.Context(), time.Minute) }()
		waitFor(t.Context(), time.Minute, func() bool {
			team.mu.Lock()
			defer team.mu.Unlock()
			return team.trap != nil
		})
		done := put(client, name)
		return <-caught, done
	}

	h, done := hold("lost")
	if h.String() != "PUT configmaps n/lost" || came.Load() != 0 {
		t.Errorf("held is %s, and %d came", h, came.Load())
	}
	h.drop()
	if err := <-done; err == nil || came.Load() != 0 {
		t.Errorf("the client heard %v of a lost write, and %d came", err, came.Load())
	}

	h, done = hold("taken")
	if a := h.send(); a.status != http.StatusConflict || came.Load() != 1 {
		t.Errorf("the API server said %d, and %d came", a.status, came.Load())
	}
	select {
	case err := <-done:
		t.Errorf("the client heard %v before it should", err)
	default:
	}
	h.tell()
	if err := <-done; err == nil {
		t.Error("the client did not hear of the conflict")
	}
	if _, all := team.replicas[0].gate.wrote(); all[outcome{"PUT configmaps", http.StatusConflict}] != 1 {
		t.Errorf("counted were %v", all)
	}
}

func TestLeasesAreNotHeldAndTellWhoLeads(t *testing.T) {
	client, team, _ := gated(t)
	other := &replica{name: "a2", gate: &gate{}}
	team.replicas = append([]*replica{other}, team.replicas...)
	team.trap = &trap{caught: make(chan *held, 1)}
	_, err := client.CoordinationV1().Leases("n").Update(t.Context(), &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "serin"}}, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if l := team.leader(); l.name != "a1" {
		t.Errorf("the leader is %s", l.name)
	}
}

// A controller that ends for no good reason is a fault, and is started again.
func TestAControllerThatEndsByItselfIsAFault(t *testing.T) {
	for _, c := range []struct {
		name, says string
		faults     int
		lost       int
	}{
		{"its lease was lost", "serin: the leader's lease was lost", 0, 1},
		{"anything else", "serin: out of luck", 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			once := dir + "/once"
			r := &replica{
				name: "a1", path: "/bin/sh", log: dir + "/log", fork: newForker(),
				args: []string{"-c", fmt.Sprintf("if test -e %[1]s; then exec sleep 600; fi; touch %[1]s; echo %[2]q; exit 1", once, c.says)},
			}
			if err := r.start(); err != nil {
				t.Fatal(err)
			}
			ended := waitFor(t.Context(), time.Minute, func() bool {
				r.mu.Lock()
				defer r.mu.Unlock()
				return len(r.faults) == c.faults && r.lost == c.lost && r.faults != nil || r.lost > 0
			})
			if !ended || len(r.complaints()) != c.faults {
				t.Errorf("lost %d times, faults: %v", r.lost, r.complaints())
			}
			if err := r.kill(); err != nil {
				t.Error(err)
			}
			_ = r.end()
		})
	}
}

func TestAPanicInTheLogIsAFault(t *testing.T) {
	log := t.TempDir() + "/log"
	if err := os.WriteFile(log, []byte(`{"error":"a fault of Serin, please report it"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if found := (&replica{name: "a1", log: log}).complaints(); len(found) != 1 {
		t.Errorf("got %v", found)
	}
}

func TestAnAnswerBeforeTheVersionHasWeightIsSeen(t *testing.T) {
	ordered := time.Date(2026, 1, 1, 12, 0, 30, 0, time.UTC)
	raise := routes(5, "v1", "v2")
	raise.Doc["metadata"] = map[string]any{"annotations": map[string]any{
		"serin.dev/state.web": `{"rollout":"x","phase":"Progressing","step":1,"weight":25,"at":"2026-01-01T12:00:30Z"}`,
	}}
	for _, c := range []struct {
		name string
		at   time.Duration // of the first answer, after the order
		all  []version
		away bool
		want string
	}{
		{"after the order", time.Second, []version{raise}, false, ""},
		{"before the order", -5 * time.Second, []version{raise}, false, "before it had weight"},
		{"before the order, with istiod away", -5 * time.Second, []version{raise}, true, ""},
		{"without any order", time.Second, nil, false, "before it had weight"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &shop{name: "n", stage: &stage{away: &outages{}, out: io.Discard}, first: map[string]time.Time{"r1": ordered.Add(c.at)}}
			if c.away {
				s.away.all = []outage{{process: istiod, from: ordered.Add(-time.Minute), to: ordered.Add(-50 * time.Second)}}
			}
			err := s.beforeItsTime("r1", c.all)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if c.away && s.early != 1 {
				t.Errorf("it is not counted")
			}
		})
	}
}

// A write of a leader whose time is over, let through, is what the invariants
// are for.
func TestARaiseAfterTheWayBackIsSeen(t *testing.T) {
	doc := func(revision int64, phase string, weight int) version {
		v := routes(revision, "v1", "v2")
		state := fmt.Sprintf(`{"rollout":"x","seq":%d,"phase":%q,"step":1,"weight":%d,"canary":{"s":"v2"},"spec":{"steps":[{"w":50}]}}`, revision, phase, weight)
		v.Doc["metadata"] = map[string]any{"resourceVersion": strconv.FormatInt(revision, 10), "annotations": map[string]any{"serin.dev/state.web": state}}
		to := v.Doc["spec"].(map[string]any)["http"].([]any)[0].(map[string]any)["route"].([]any)
		to[0].(map[string]any)["weight"], to[1].(map[string]any)["weight"] = int64(100-weight), int64(weight)
		return v
	}
	all := []version{defines("web", 1, "v1", "v2"), doc(2, "RolledBack", 0), doc(3, "RollingBack", 0), doc(4, "Progressing", 50)}
	s := &shop{name: "n", stage: &stage{chronicle: &chronicle{versions: map[string][]version{"n": all}}}, checked: 2}
	s.rules = invariant.Rules{Service: "web", Subsets: invariant.Subsets{"v1", "v2"}, Adopts: true}
	if err := s.check("r1"); err == nil || !strings.Contains(err.Error(), "the rollout went back") {
		t.Errorf("got %v", err)
	}
}
