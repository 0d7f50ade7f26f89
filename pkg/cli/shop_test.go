package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/zap"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"serin.dev/serin/internal/apiserver"
	_ "serin.dev/serin/internal/bubble"
	"serin.dev/serin/internal/golden"
	"serin.dev/serin/internal/telemetry"
	"serin.dev/serin/pkg/annotation"
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/controller"
	"serin.dev/serin/pkg/mode"
	"serin.dev/serin/pkg/prom"
	"serin.dev/serin/pkg/topology"
	"serin.dev/serin/pkg/web"
)

// shop is a cluster in memory with an application, its users, its Prometheus and
// the unmodified controller, in virtual time. It is the network of who asks it:
// connections take none of that.
type shop struct {
	t    testing.TB
	ctx  context.Context
	api  *apiserver.Server
	kube *apiserver.Deployments
	town *telemetry.Town
	view http.Handler // the controller's

	mu      sync.Mutex
	serin   *controller.Controller
	stop    func()
	guarded bool
	denied  map[string]bool // verb and resource that the user may not

	applying applying    // what was applied
	aside    *aside      // the program that runs while the script goes on
	mute     atomic.Bool // whether nobody sends requests
}

const (
	shopScrape = time.Second
	shopRate   = 2000.0
)

func newShop(ctx context.Context, t testing.TB) *shop {
	s := &shop{t: t, ctx: ctx, api: apiserver.New(), town: telemetry.New(shopScrape), denied: map[string]bool{}}
	s.kube = s.api.Manage(ctx)
	s.view = web.Handler(web.Options{Source: s, Now: time.Now, Leading: s.leading})
	for _, name := range []string{"shop", "serin-system"} {
		s.put("v1", "Namespace", "", name, map[string]any{})
	}
	s.put("v1", "Service", "shop", "web", map[string]any{"spec": map[string]any{
		"selector": map[string]any{"app": "web"}, "ports": []any{map[string]any{"name": "http", "port": 80.0}}}})
	go s.traffic()
	return s
}

func (s *shop) put(version, kind, namespace, name string, o map[string]any) {
	o["apiVersion"], o["kind"] = version, kind
	metadata, _ := o["metadata"].(map[string]any)
	if metadata == nil {
		metadata = map[string]any{}
	}
	metadata["name"] = name
	if namespace != "" {
		metadata["namespace"] = namespace
	}
	o["metadata"] = metadata
	s.api.Put(o)
}

// Where the shop's servers are. The API server's address is one at which nobody
// listens: what speaks to it by other ways than requests is refused at once.
const (
	shopAPI        = "127.0.0.1:1"
	shopPrometheus = "localhost:9090"
	shopView       = "localhost:9092"
)

// RoundTrip takes a request to the server that it is for.
func (s *shop) RoundTrip(r *http.Request) (*http.Response, error) {
	answered := func(handler http.Handler) (*http.Response, error) {
		out := httptest.NewRecorder()
		if r.Body == nil {
			r.Body = http.NoBody
		}
		handler.ServeHTTP(out, r)
		return out.Result(), nil
	}
	switch path := r.URL.Path; {
	case r.URL.Host == shopPrometheus:
		return answered(http.HandlerFunc(s.prometheus))
	case r.URL.Host == shopView:
		return answered(s.view)
	case r.URL.Host != shopAPI:
		return nil, fmt.Errorf("dial %s: connection refused", r.URL.Host)
	case strings.HasSuffix(path, "subjectaccessreviews"):
		return answered(http.HandlerFunc(s.review))
	case r.Header.Get("Content-Type") == "application/apply-patch+yaml":
		return s.applying.apply(r)
	case path == "/api", path == "/apis", discovered.MatchString(path):
		return discover(path)
	case path == "/version":
		return apiserver.Answer(http.StatusOK, map[string]any{"major": "1", "minor": "36", "gitVersion": "v1.36.3"})
	}
	return s.api.People().RoundTrip(r)
}

// review answers what somebody may do.
func (s *shop) review(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	review, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, nil)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	may := func(a *authorizationv1.ResourceAttributes) authorizationv1.SubjectAccessReviewStatus {
		s.mu.Lock()
		defer s.mu.Unlock()
		return authorizationv1.SubjectAccessReviewStatus{Allowed: !s.denied[a.Verb+" "+a.Resource]}
	}
	switch review := review.(type) {
	case *authorizationv1.SelfSubjectAccessReview:
		review.Status = may(review.Spec.ResourceAttributes)
	case *authorizationv1.SubjectAccessReview:
		review.Status = may(review.Spec.ResourceAttributes)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(review)
}

// prometheus answers what the judge asks, and what only tells whether anybody does.
func (s *shop) prometheus(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	form, _ := url.ParseQuery(string(body))
	query := form.Get("query") + r.URL.Query().Get("query")
	labels := ""
	switch {
	case query == "vector(1)":
	case strings.HasPrefix(query, "count by") && strings.Contains(query, "bucket"):
		labels = `"reporter":"source","destination_workload":"web-v1","destination_workload_namespace":"shop"` // and no bound
	case strings.HasPrefix(query, "count by"):
		labels = `"reporter":"source","destination_workload":"web-v1","destination_workload_namespace":"shop","response_code":"200"`
	default:
		s.town.ServeHTTP(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{%s},"values":[[%s,"1"]]}]}}`, labels, form.Get("start"))
}

// pair is an application of two Deployments, of which web-v1 runs.
func (s *shop) pair() {
	s.put("networking.istio.io/v1", "DestinationRule", "shop", "web", map[string]any{"spec": map[string]any{"host": "web", "subsets": []any{
		map[string]any{"name": "v1", "labels": map[string]any{"version": "v1"}},
		map[string]any{"name": "v2", "labels": map[string]any{"version": "v2"}},
	}}})
	s.routes(map[string]any{"host": "web", "subset": "v1"})
	s.deployment("web-v1", "v1", "shop:1", nil)
}

// single is an application of one Deployment, which asks for releases in place.
func (s *shop) single(notes map[string]any) {
	s.mu.Lock()
	s.guarded = true
	s.mu.Unlock()
	for _, kind := range []string{"MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"} {
		s.put(apiserver.APIVersions[kind], kind, "", "serin-in-place", map[string]any{"spec": map[string]any{"policyName": "serin-in-place"}})
	}
	s.routes(map[string]any{"host": "web"})
	s.deployment("web", "", "shop:1", notes)
}

func (s *shop) routes(destination map[string]any) {
	s.put("networking.istio.io/v1", "VirtualService", "shop", "web", map[string]any{"spec": map[string]any{
		"hosts": []any{"web", "shop.example.com"}, "gateways": []any{"mesh", "istio-system/gateway"},
		"http": []any{map[string]any{"timeout": "10s", "route": []any{map[string]any{"destination": destination}}}},
	}})
}

func (s *shop) deployment(name, version, image string, notes map[string]any) {
	labels := map[string]any{"app": "web"}
	if version != "" {
		labels["version"] = version
	}
	metadata := map[string]any{}
	if notes != nil {
		metadata["annotations"] = notes
	}
	s.put("apps/v1", "Deployment", "shop", name, map[string]any{"metadata": metadata, "spec": map[string]any{
		"replicas": 1.0, "selector": map[string]any{"matchLabels": labels},
		"template": map[string]any{"metadata": map[string]any{"labels": labels}, "spec": map[string]any{"containers": []any{map[string]any{"name": "web", "image": image}}}},
	}})
}

// traffic has users follow the routes, until the shop ends. Images that are called
// bad fail half of their requests.
func (s *shop) traffic() {
	before := ""
	for s.ctx.Err() == nil {
		flows := s.flows()
		if now := fmt.Sprint(flows); now != before {
			before = now
			s.town.Flow("shop", "web", flows...)
		}
		select {
		case <-s.ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (s *shop) flows() []telemetry.Flow {
	shares := map[string]float64{}
	vs := s.api.Read("VirtualService", "shop", "web")
	spec, _ := vs["spec"].(map[string]any)
	http, _ := spec["http"].([]any)
	if len(http) == 0 {
		return nil
	}
	last, _ := http[len(http)-1].(map[string]any)
	places, _ := last["route"].([]any)
	for _, p := range places {
		to, _ := p.(map[string]any)
		destination, _ := to["destination"].(map[string]any)
		weight, has := to["weight"].(float64)
		if n, is := to["weight"].(int64); is {
			weight, has = float64(n), true
		}
		if !has {
			weight = 100
		}
		subset, _ := destination["subset"].(string)
		shares[s.behind(subset)] += weight / 100
	}
	rate := shopRate
	if s.mute.Load() {
		rate = 0
	}
	byName := map[string]*telemetry.Flow{}
	var names []string
	for _, pod := range s.api.All("Pod") {
		meta := apiserver.Meta(pod)
		labels, _ := meta["labels"].(map[string]any)
		workload := "web"
		if version, is := labels["version"].(string); is {
			workload = "web-" + version
		} else if labels[topology.TrackKey] == topology.TrackCanary {
			workload = "web-canary"
		}
		if byName[workload] == nil {
			byName[workload] = &telemetry.Flow{Workload: workload, Rate: rate * shares[workload]}
			names = append(names, workload)
		}
		f := byName[workload]
		f.Pods = append(f.Pods, meta["name"].(string))
		if text, _ := json.Marshal(pod["spec"]); strings.Contains(string(text), "bad") {
			f.Errors = 0.5
		}
	}
	slices.Sort(names)
	var flows []telemetry.Flow
	for _, name := range names {
		slices.Sort(byName[name].Pods)
		flows = append(flows, *byName[name])
	}
	return flows
}

// behind is the Deployment of a subset.
func (s *shop) behind(subset string) string {
	switch {
	case subset == "v1" || subset == "v2":
		return "web-" + subset
	case strings.Contains(subset, "canary"):
		return "web-canary"
	}
	return "web"
}

// startSerin starts the controller, which then leads.
func (s *shop) startSerin() {
	config := &rest.Config{Host: "http://api.test", Transport: s.api, QPS: -1,
		ContentConfig: rest.ContentConfig{ContentType: "application/json", AcceptContentTypes: "application/json"}}
	query, err := prom.HTTP(&http.Client{Transport: s, Timeout: 10 * time.Second}, "http://"+shopPrometheus)
	if err != nil {
		s.t.Fatal(err)
	}
	kube := kubernetes.NewForConfigOrDie(config)
	s.mu.Lock()
	guarded := s.guarded
	s.mu.Unlock()
	defaults := annotation.Defaults()
	defaults.Settle = 100 * time.Millisecond
	defaults.Tags = "" // images are words here
	c, err := controller.New(controller.Options{
		Kube: kube, Dynamic: dynamic.NewForConfigOrDie(config), Query: query, Logger: zap.NewNop(),
		ClusterDomain: "cluster.local", RootNamespace: "istio-system", Defaults: defaults, Interval: shopScrape, InPlace: guarded,
		Elect: &controller.Lease{Client: kube.CoordinationV1(), Namespace: "serin-system", Name: "serin", Identity: "serin-0_x",
			Duration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.Run(ctx)
	}()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serin, s.stop = c, func() { cancel(); <-done }
}

func (s *shop) stopSerin() {
	s.mu.Lock()
	stop := s.stop
	s.serin, s.stop = nil, nil
	s.mu.Unlock()
	if stop != nil {
		stop()
	}
}

func (s *shop) controller() *controller.Controller {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.serin
}

func (s *shop) leading() bool {
	c := s.controller()
	return c != nil && c.Leading()
}

// Views are the controller's.
func (s *shop) Views(context.Context) ([]canary.View, error) {
	if c := s.controller(); c != nil {
		return c.Views(), nil
	}
	return nil, nil
}

// Detail is the controller's.
func (s *shop) Detail(_ context.Context, namespace, service string) (canary.Detail, error) {
	if c := s.controller(); c != nil {
		if d, known := c.Detail(namespace, service); known {
			return d, nil
		}
	}
	return canary.Detail{}, web.ErrUnknown
}

// state is where the release of Service web stands on its routes.
func (s *shop) state() canary.State {
	vs := topology.VirtualService{Doc: s.api.Read("VirtualService", "shop", "web")}
	state, _, _ := mode.CopyOn(vs, "web")
	return state
}

// kubeconfigOfShop leads to the shop, whoever is the network.
func kubeconfigOfShop(t *testing.T) string {
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, fmt.Appendf(nil, kubeconfig, "http://"+shopAPI), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// bubble runs a script where it is, in a bubble of virtual time: scripts that run
// beside each other are bubbles of their own.
type bubble struct{ *testing.T }

func (b bubble) Run(_ string, f func(testscript.T)) { f(b) }
func (bubble) Parallel()                            {}
func (bubble) Verbose() bool                        { return testing.Verbose() }

// TestVerbs plays scripts in virtual time: what they wait for takes none of ours,
// and however slow the machine is, nothing comes too late.
func TestVerbs(t *testing.T) {
	t.Setenv("KUBECONFIG", kubeconfigOfShop(t))
	t.Setenv("HOME", t.TempDir())
	scripts, err := filepath.Glob("testdata/verbs/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatal("there are no scripts", err)
	}
	for _, script := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(script), ".txtar"), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { verbs(t, script) })
		})
	}
}

func verbs(t *testing.T, script string) {
	testscript.RunT(bubble{t}, testscript.Params{
		Files: []string{script}, UpdateScripts: golden.Updating(),
		Setup: func(e *testscript.Env) error {
			ctx, cancel := context.WithCancel(context.Background())
			s := newShop(ctx, t)
			e.Defer(func() { cancel(); s.stopSerin() })
			e.Values["shop"] = s
			e.Setenv("PROMETHEUS", "http://"+shopPrometheus)
			e.Setenv("VIEW", "http://"+shopView)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"canary": shopCanary, "ends": shopEnds, "meanwhile": shopMeanwhile, "over": shopOver,
			"shop": shopIs, "deploy": shopDeploy, "annotate": shopAnnotate, "serin": shopSerin, "reaches": shopReaches,
			"deny": shopDeny, "config": shopConfig, "refer": shopRefer, "scale": shopScale, "images": shopImages, "waits": shopWaits, "none": shopNone, "moved": shopMoved, "owned": shopOwned, "weight": shopWeight, "gone": shopGone,
			"mute": shopTraffic(true), "unmute": shopTraffic(false), "applied": shopApplied, "taken": shopTaken,
		},
	})
}

// program is the whole of kubectl canary, without its process.
func (s *shop) program(ctx context.Context, out, errs io.Writer, args []string) int {
	streams := genericiooptions.IOStreams{In: strings.NewReader(""), Out: out, ErrOut: errs}
	return Run(ctx, streams, args, Program{Version: "v1.2.3", Now: time.Now, Network: s})
}

// shopCanary runs the program, which has to end well: canary status web.
func shopCanary(ts *testscript.TestScript, _ bool, args []string) {
	shopEnds(ts, false, append([]string{"0"}, args...))
}

// shopEnds runs the program, which has to end with a code: ends 3 wait web.
func shopEnds(ts *testscript.TestScript, _ bool, args []string) {
	s := ts.Value("shop").(*shop)
	if code := s.program(s.ctx, ts.Stdout(), ts.Stderr(), args[1:]); fmt.Sprint(code) != args[0] {
		ts.Fatalf("the exit code is %d, want %s", code, args[0])
	}
}

// aside is a program that runs while the script goes on.
type aside struct {
	out, errs bytes.Buffer
	code      chan int
}

// shopMeanwhile begins to run the program, and goes on when it has nothing to do
// but to wait: meanwhile wait web.
func shopMeanwhile(ts *testscript.TestScript, _ bool, args []string) {
	s := ts.Value("shop").(*shop)
	a := &aside{code: make(chan int, 1)}
	s.aside = a
	go func() { a.code <- s.program(s.ctx, &a.out, &a.errs, args) }()
	<-time.After(2 * time.Second)
}

// shopOver waits for the end of the program that was begun: over 9.
func shopOver(ts *testscript.TestScript, _ bool, args []string) {
	a := ts.Value("shop").(*shop).aside
	code := <-a.code
	_, _ = a.out.WriteTo(ts.Stdout())
	_, _ = a.errs.WriteTo(ts.Stderr())
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("the exit code is %d, want %s", code, args[0])
	}
}

// shopGone takes a Deployment away.
func shopGone(ts *testscript.TestScript, _ bool, args []string) {
	ts.Value("shop").(*shop).api.Delete("Deployment", "shop", args[0])
}

// shopTraffic has users send no requests any more, or again.
func shopTraffic(mute bool) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, _ []string) { ts.Value("shop").(*shop).mute.Store(mute) }
}

// shopIs makes the application: shop pair, or shop single KEY=VALUE...
func shopIs(ts *testscript.TestScript, _ bool, args []string) {
	s := ts.Value("shop").(*shop)
	switch args[0] {
	case "pair":
		s.pair()
	case "single":
		s.single(notesOf(args[1:]))
	}
	shopUntil(ts, "the application runs", func() bool {
		return len(s.api.All("Pod")) > 0 && s.ready("web", "web-v1")
	})
}

// ready tells that one of the Deployments has all its pods.
func (s *shop) ready(names ...string) bool {
	for _, name := range names {
		d := s.api.Read("Deployment", "shop", name)
		status, _ := d["status"].(map[string]any)
		if fmt.Sprint(status["readyReplicas"]) == "1" {
			return true
		}
	}
	return false
}

func notesOf(args []string) map[string]any {
	notes := map[string]any{}
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		notes["serin.dev/"+key] = value
	}
	return notes
}

// shopDeploy deploys an image to a Deployment: deploy web-v2 IMAGE KEY=VALUE...
func shopDeploy(ts *testscript.TestScript, _ bool, args []string) {
	s := ts.Value("shop").(*shop)
	name, image := args[0], args[1]
	changed := s.api.Edit("Deployment", "shop", name, func(o map[string]any) {
		template := o["spec"].(map[string]any)["template"].(map[string]any)
		template["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)["image"] = image
	})
	if !changed {
		_, version, _ := strings.Cut(name, "-")
		s.deployment(name, version, image, notesOf(args[2:]))
	}
}

// shopAnnotate writes annotations of a Deployment; KEY- takes one off.
func shopAnnotate(ts *testscript.TestScript, _ bool, args []string) {
	ts.Value("shop").(*shop).api.Edit("Deployment", "shop", args[0], func(o map[string]any) {
		meta := apiserver.Meta(o)
		notes, _ := meta["annotations"].(map[string]any)
		if notes == nil {
			notes = map[string]any{}
		}
		for _, arg := range args[1:] {
			if key, off := strings.CutSuffix(arg, "-"); off {
				delete(notes, "serin.dev/"+key)
				continue
			}
			key, value, _ := strings.Cut(arg, "=")
			notes["serin.dev/"+key] = value
		}
		meta["annotations"] = notes
	})
}

// shopSerin starts and stops the controller; lost is one that died with its lease.
func shopSerin(ts *testscript.TestScript, _ bool, args []string) {
	s := ts.Value("shop").(*shop)
	switch args[0] {
	case "start":
		s.startSerin()
		shopUntil(ts, "Serin leads", s.leading)
	case "stop":
		s.stopSerin()
	}
}

// shopReaches waits for a phase and, if one is given, a weight.
func shopReaches(ts *testscript.TestScript, _ bool, args []string) {
	s := ts.Value("shop").(*shop)
	shopUntil(ts, "the release is "+strings.Join(args, " at "), func() bool {
		state := s.state()
		return string(state.Phase) == args[0] && (len(args) < 2 || fmt.Sprint(state.Weight) == args[1])
	})
}

// shopWeight fails unless the canary has this share in the route of users.
func shopWeight(ts *testscript.TestScript, _ bool, args []string) {
	for _, f := range ts.Value("shop").(*shop).flows() {
		if f.Workload != "web-v1" && f.Workload != "web" && fmt.Sprint(100*f.Rate/shopRate) != args[0] {
			ts.Fatalf("%s has %v%%", f.Workload, 100*f.Rate/shopRate)
		}
	}
}

// shopDeny takes rights away: deny patch deployments.
func shopDeny(ts *testscript.TestScript, _ bool, args []string) {
	s := ts.Value("shop").(*shop)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.denied[strings.Join(args, " ")] = true
}

// shopUntil waits for what has to happen; it judges no time.
func shopUntil(ts *testscript.TestScript, what string, is func() bool) {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if is() {
			return
		}
		<-time.After(50 * time.Millisecond)
	}
	ts.Fatalf("%s: it never does; the state is %+v", what, ts.Value("shop").(*shop).state())
}
