package cli

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/history"
	"serin.dev/serin/pkg/judge"
)

// The release of the tests: 5% for four minutes, then 25%, at which one of five
// requests fails, for three, then all back.
var (
	began  = time.Date(2026, 3, 14, 9, 0, 0, 0, time.UTC)
	first  = began.Add(time.Minute)
	second = first.Add(4 * time.Minute)
	ended  = second.Add(3 * time.Minute)
)

// town is an API server and a Prometheus that know one release of Service web
// in namespace shop: under way in namespace shop, over in namespace past. In
// namespace watched people lead it, and nothing is kept of it.
type town struct {
	prometheus, api *httptest.Server
	from            atomic.Pointer[time.Time] // what Prometheus still knows
	forbidden       atomic.Bool               // to reach Services through the API server
	hidden          sync.Map                  // resources that may not be listed
}

func newTown(t *testing.T) *town {
	w := &town{}
	w.knowFrom(began.Add(-3 * time.Hour))
	w.prometheus = httptest.NewServer(http.HandlerFunc(w.answer))
	w.api = httptest.NewServer(w.apiServer())
	t.Cleanup(w.prometheus.Close)
	t.Cleanup(w.api.Close)
	return w
}

func (w *town) knowFrom(t time.Time) { w.from.Store(&t) }

// state is the release under way at its second step.
func state() canary.State {
	spec := canary.Spec{
		Steps:        []canary.Step{{Weight: 5, Bake: time.Minute}, {Weight: 25, Bake: time.Minute}, {Weight: 100, Bake: time.Minute}},
		StepDeadline: 30 * time.Minute, OnInconclusive: canary.Proceed,
		Limits: judge.Limits{ErrorRate: 0.01, ErrorRatio: 2, P99: time.Second}, Rules: judge.DefaultRules(),
	}
	return canary.State{
		Rollout: "4f2a9c", Sequence: 3, Phase: canary.Progressing, Step: 2, Weight: 25, Peak: 25,
		Stable: canary.Side{Deployment: "web-v1", Subset: "v1", Template: "a1"}, Canary: canary.Side{Deployment: "web-v2", Subset: "v2", Template: "b2"},
		Started: began, Since: second, At: second, Width: 5 * time.Second, Spec: spec,
		Reason: canary.StepPassed, Message: "Step 2 of 3",
		Legs: []canary.Leg{{Step: 1, Weight: 5, From: first, To: second}},
	}
}

func (w *town) apiServer() http.Handler {
	text, err := canary.EncodeState(state())
	if err != nil {
		panic(err)
	}
	vs := func(namespace, service, state string) map[string]any {
		return map[string]any{
			"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
			"metadata": map[string]any{"namespace": namespace, "name": service, "annotations": map[string]any{canary.StatePrefix + service: state}},
			"spec":     map[string]any{"hosts": []any{service}},
		}
	}
	s := state()
	past := canary.Release{
		Rollout: s.Rollout, Canary: s.Canary, Stable: s.Stable, Spec: s.Spec, Started: began, Ended: ended, Outcome: canary.RolledBack,
		Reason: canary.ErrorRateTooHigh, Message: "20% of the canary's requests failed", Weight: 25, Width: s.Width,
		Legs: append(s.Legs, canary.Leg{Step: 2, Weight: 25, From: second, To: ended}),
	}
	record, err := history.Revision(past, history.Owner{Namespace: "past", Name: "web", UID: "u1"}, 1)
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	list := func(path, kind, version string, items ...any) {
		mux.HandleFunc("GET "+path, func(out http.ResponseWriter, r *http.Request) {
			w.list(out, r, kind, version, items)
		})
	}
	for _, namespace := range []string{"shop", "past", "empty", "watched"} {
		var routes, records []any
		var led ledByHand
		switch namespace {
		case "shop":
			routes = []any{vs(namespace, "web", text)}
		case "watched":
			led = byHand(namespace)
			routes = led.routes
		case "past":
			records = []any{record}
		}
		list("/apis/networking.istio.io/v1/namespaces/"+namespace+"/virtualservices", "VirtualService", "networking.istio.io/v1", routes...)
		list("/apis/apps/v1/namespaces/"+namespace+"/controllerrevisions", "ControllerRevision", "apps/v1", records...)
		list("/apis/networking.istio.io/v1/namespaces/"+namespace+"/destinationrules", "DestinationRule", "networking.istio.io/v1", led.rules...)
		list("/apis/apps/v1/namespaces/"+namespace+"/deployments", "Deployment", "apps/v1", led.deployments...)
		list("/apis/apps/v1/namespaces/"+namespace+"/replicasets", "ReplicaSet", "apps/v1", led.sets...)
		list("/api/v1/namespaces/"+namespace+"/services", "Service", "v1", led.services...)
		list("/api/v1/namespaces/"+namespace+"/pods", "Pod", "v1")
	}
	list("/api/v1/namespaces", "Namespace", "v1", map[string]any{"metadata": map[string]any{"name": "watched"}})
	list("/apis/apps/v1/namespaces/serin-system/deployments", "Deployment", "apps/v1", installed())
	mux.HandleFunc("GET /api/v1/namespaces/serin-system/configmaps/serin-abc", func(out http.ResponseWriter, _ *http.Request) {
		out.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(out).Encode(map[string]any{
			"kind": "ConfigMap", "apiVersion": "v1", "metadata": map[string]any{"name": "serin-abc"},
			"data": map[string]any{"serin.yaml": "prometheus: {url: \"http://prometheus.istio-system:9090\"}\n"},
		})
	})
	mux.HandleFunc("POST /api/v1/namespaces/istio-system/services/http:prometheus:9090/proxy/api/v1/query_range", func(out http.ResponseWriter, r *http.Request) {
		if w.forbidden.Load() {
			http.Error(out, "no", http.StatusForbidden)
			return
		}
		w.answer(out, r)
	})
	return mux
}

// installed is the controller's Deployment, as far as it is asked for.
func installed() appsv1.Deployment {
	d := appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "serin-system", Name: "serin"}}
	pod := map[string]any{
		"containers": []any{map[string]any{
			"name": "serin", "args": []any{"--config=/etc/serin/serin.yaml"},
			"volumeMounts": []any{map[string]any{"name": "config", "mountPath": "/etc/serin"}},
		}},
		"volumes": []any{map[string]any{"name": "config", "configMap": map[string]any{"name": "serin-abc"}}},
	}
	b, err := json.Marshal(pod)
	if err != nil {
		panic(err)
	}
	if err := json.Unmarshal(b, &d.Spec.Template.Spec); err != nil {
		panic(err)
	}
	return d
}

// answer is a Prometheus that scraped every second.
func (w *town) answer(out http.ResponseWriter, r *http.Request) {
	number := func(name string) float64 {
		x, err := strconv.ParseFloat(r.PostFormValue(name), 64)
		if err != nil {
			panic(fmt.Sprintf("%s: %v", name, err))
		}
		return x
	}
	query, start, end, step := r.PostFormValue("query"), number("start"), number("end"), number("step")
	series := []any{}
	for _, s := range meant(query) {
		var values []any
		for at := start; at <= end+1e-6; at += step {
			if at >= float64(w.from.Load().Unix()) {
				values = append(values, []any{at, strconv.FormatFloat(s.value(math.Floor(at)), 'f', -1, 64)})
			}
		}
		if len(values) > 0 {
			series = append(series, map[string]any{"metric": s.labels, "values": values})
		}
	}
	out.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(out).Encode(map[string]any{"status": "success", "data": map[string]any{"resultType": "matrix", "result": series}})
}

// counter is a series whose value is a function of the time.
type counter struct {
	labels map[string]string
	value  func(at float64) float64
}

// meant are the series that a query of the judge's means.
func meant(query string) []counter {
	if strings.HasPrefix(query, "vector(") {
		return []counter{{map[string]string{}, func(float64) float64 { return 1 }}}
	}
	if strings.Contains(query, `reporter="source"`) {
		return nil
	}
	namespace := "shop"
	for _, other := range []string{"past", "watched"} {
		if strings.Contains(query, `"`+other+`"`) {
			namespace = other
		}
	}
	var out []counter
	for _, workload := range []string{"web-v1", "web-v2"} {
		labels := func(more ...string) map[string]string {
			l := map[string]string{
				"destination_workload_namespace": namespace, "destination_workload": workload,
				"job": "pods", "instance": workload + ":15020", "pod": workload + "-1",
			}
			for i := 0; i < len(more); i += 2 {
				l[more[i]] = more[i+1]
			}
			return l
		}
		switch {
		case strings.Contains(query, "timestamp("):
			out = append(out, counter{labels(), func(at float64) float64 { return at }})
		case strings.Contains(query, "count_over_time("):
			out = append(out, counter{labels(), func(float64) float64 { return 5 }})
		case strings.Contains(query, "duration_milliseconds_bucket"):
			for _, le := range []string{"500", "1000", "+Inf"} {
				out = append(out, counter{labels("le", le), func(at float64) float64 { return answered(workload, at) }})
			}
		default:
			out = append(out,
				counter{labels("response_code", "200", "grpc_response_status", ""), func(at float64) float64 { return answered(workload, at) - failed(workload, at) }},
				counter{labels("response_code", "500", "grpc_response_status", ""), func(at float64) float64 { return failed(workload, at) }})
		}
	}
	return out
}

// answered is how many requests a version answered, 200 a second in all.
func answered(workload string, at float64) float64 {
	since := func(t time.Time) float64 { return max(0, at-float64(t.Unix())) }
	both := 1000 + 200*since(began.Add(-3*time.Hour))
	canaries := 10*since(first) + 40*since(second)
	if workload == "web-v2" {
		return canaries
	}
	return both - canaries
}

// failed is how many of them failed: one of five at the second step.
func failed(workload string, at float64) float64 {
	if workload != "web-v2" {
		return 0
	}
	return 10 * max(0, at-float64(second.Unix()))
}
