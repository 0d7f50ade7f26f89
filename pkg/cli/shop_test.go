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
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/zap"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"serin.dev/serin/internal/apiserver"
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
// the unmodified controller, by the wall clock. It is asked over connections.
type shop struct {
	t      testing.TB
	ctx    context.Context
	api    *apiserver.Server
	kube   *apiserver.Deployments
	town   *telemetry.Town
	front  *httptest.Server // the API server's
	metric *httptest.Server // Prometheus's
	view   *httptest.Server // the controller's

	mu      sync.Mutex
	serin   *controller.Controller
	stop    func()
	guarded bool
	denied  map[string]bool // verb and resource that the user may not
}

const (
	shopScrape = time.Second
	shopRate   = 2000.0
)

func newShop(ctx context.Context, t testing.TB) *shop {
	s := &shop{t: t, ctx: ctx, api: apiserver.New(), town: telemetry.New(shopScrape), denied: map[string]bool{}}
	s.kube = s.api.Manage(ctx)
	s.front = httptest.NewServer(http.HandlerFunc(s.serve))
	s.metric = httptest.NewServer(http.HandlerFunc(s.prometheus))
	s.view = httptest.NewServer(web.Handler(web.Options{Source: s, Now: time.Now, Leading: s.leading}))
	for _, name := range []string{"shop", "serin-system"} {
		s.put("v1", "Namespace", "", name, map[string]any{})
	}
	s.put("v1", "Service", "shop", "web", map[string]any{"spec": map[string]any{
		"selector": map[string]any{"app": "web"}, "ports": []any{map[string]any{"name": "http", "port": 80.0}}}})
	go s.traffic()
	return s
}

// close ends everything; connections are cut.
func (s *shop) close() {
	s.stopSerin()
	for _, server := range []*httptest.Server{s.front, s.metric, s.view} {
		server.CloseClientConnections()
		server.Close()
	}
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

// serve is the API server over a connection, with what is asked of rights.
func (s *shop) serve(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/selfsubjectaccessreviews") || strings.HasSuffix(r.URL.Path, "/subjectaccessreviews") {
		s.review(w, r)
		return
	}
	if r.URL.Path == "/version" {
		fmt.Fprint(w, `{"major":"1","minor":"36","gitVersion":"v1.36.3"}`)
		return
	}
	answer, err := s.api.People().RoundTrip(r)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer answer.Body.Close()
	w.Header().Set("Content-Type", answer.Header.Get("Content-Type"))
	w.WriteHeader(answer.StatusCode)
	out := http.NewResponseController(w)
	_ = out.Flush()
	buffer := make([]byte, 32<<10)
	for {
		n, err := answer.Body.Read(buffer)
		if _, failed := w.Write(buffer[:n]); failed != nil || err != nil {
			return
		}
		_ = out.Flush()
	}
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
			byName[workload] = &telemetry.Flow{Workload: workload, Rate: shopRate * shares[workload]}
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
	query, err := prom.HTTP(&http.Client{Timeout: 10 * time.Second}, s.metric.URL)
	if err != nil {
		s.t.Fatal(err)
	}
	kube := kubernetes.NewForConfigOrDie(config)
	s.mu.Lock()
	guarded := s.guarded
	s.mu.Unlock()
	defaults := annotation.Defaults()
	defaults.Settle = 100 * time.Millisecond
	c, err := controller.New(controller.Options{
		Kube: kube, Dynamic: dynamic.NewForConfigOrDie(config), Query: query, Logger: zap.NewNop(),
		ClusterDomain: "cluster.local", RootNamespace: "istio-system", Defaults: defaults, Interval: shopScrape, InPlace: guarded,
		Elect: &controller.Lease{Client: kube.CoordinationV1(), Namespace: "serin-system", Name: "serin", Identity: "serin-0_x",
			Duration: 3 * time.Second, RenewDeadline: 2 * time.Second, RetryPeriod: 500 * time.Millisecond},
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

func TestVerbs(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/verbs", UpdateScripts: golden.Updating(),
		Setup: func(e *testscript.Env) error {
			ctx, cancel := context.WithCancel(context.Background())
			s := newShop(ctx, t)
			e.Defer(func() { cancel(); s.close() })
			e.Values["shop"] = s
			file := filepath.Join(e.WorkDir, "kubeconfig")
			e.Setenv("KUBECONFIG", file)
			e.Setenv("PROMETHEUS", s.metric.URL)
			e.Setenv("VIEW", s.view.URL)
			e.Setenv("TZ", "UTC")
			e.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
			return os.WriteFile(file, fmt.Appendf(nil, kubeconfig, s.front.URL), 0o600)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "shop": shopIs, "deploy": shopDeploy, "annotate": shopAnnotate, "serin": shopSerin, "reaches": shopReaches,
			"deny": shopDeny, "weight": shopWeight,
		},
	})
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
		template["spec"].(map[string]any)["containers"] = []any{map[string]any{"name": "web", "image": image}}
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
