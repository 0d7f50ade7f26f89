package servers

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"serin.dev/serin/pkg/judge"
)

// pod is a proxy that counts requests as Istio's do, and shows the counters
// over HTTP on loopback.
type pod struct {
	name, reporter string
	server         *http.Server
	address        string

	mu       sync.Mutex
	counters map[string]float64 // by their line in the exposition
	scrapes  int
	takes    time.Duration // how long a scrape takes
	quiet    bool          // counts nothing
}

var bounds = []float64{100, 1000, 2500}

func newPod(t *testing.T, name, reporter string) *pod {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &pod{name: name, reporter: reporter, address: listener.Addr().String(), counters: map[string]float64{}}
	p.server = &http.Server{Handler: http.HandlerFunc(p.show), ReadHeaderTimeout: time.Second}
	go func() { _ = p.server.Serve(listener) }()
	t.Cleanup(func() { _ = p.server.Close() })
	return p
}

// show answers a scrape, with the counters as they were when it began.
func (p *pod) show(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	var body strings.Builder
	for _, family := range []struct{ name, kind, prefix string }{
		{"istio_requests_total", "counter", "istio_requests_total{"},
		{"istio_request_duration_milliseconds", "histogram", "istio_request_duration_milliseconds_bucket{"},
	} {
		fmt.Fprintf(&body, "# TYPE %s %s\n", family.name, family.kind)
		for _, line := range slices.Sorted(maps.Keys(p.counters)) {
			if strings.HasPrefix(line, family.prefix) {
				fmt.Fprintf(&body, "%s %v\n", line, p.counters[line])
			}
		}
	}
	takes := p.takes
	p.scrapes++
	p.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-r.Context().Done():
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write([]byte(body.String()))
}

// answer is what one request came to.
type answer struct {
	workload, code, grpc, flags string
	ms                          float64
}

// counts says that a request was answered.
func (p *pod) counts(a answer) {
	namespace := "shop"
	if a.workload == "unknown" {
		namespace = "unknown"
	}
	labels := fmt.Sprintf(`reporter=%q,destination_workload=%q,destination_workload_namespace=%q,destination_service="web.shop.svc.cluster.local",response_code=%q,grpc_response_status=%q,response_flags=%q`,
		p.reporter, a.workload, namespace, a.code, a.grpc, a.flags)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counters["istio_requests_total{"+labels+"}"]++
	for _, bound := range bounds {
		line := fmt.Sprintf(`istio_request_duration_milliseconds_bucket{%s,le="%s"}`, labels, strconv.FormatFloat(bound, 'f', -1, 64))
		if p.counters[line] += 0; a.ms <= bound {
			p.counters[line]++
		}
	}
	p.counters[`istio_request_duration_milliseconds_bucket{`+labels+`,le="+Inf"}`]++
}

func (p *pod) set(f func(*pod)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p)
}

func (p *pod) scraped() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.scrapes
}

// world is a namespace with two versions of a service behind a gateway.
type world struct {
	t       *testing.T
	targets string // the file in which the server finds its targets
	pods    map[string]*pod
	listed  []*pod
	ticks   int
	width   time.Duration // between scrapes: the script is that many times as slow

	stable, canary judge.Counts // what truly happened, since the script began
	unknown        int64        // failures for which no version was chosen
}

func newWorld(t *testing.T, dir string, width time.Duration) *world {
	t.Helper()
	w := &world{t: t, targets: filepath.Join(dir, "targets.json"), pods: map[string]*pod{}, width: width}
	for name, reporter := range map[string]string{"a": "destination", "b": "destination", "gateway": "source"} {
		w.joins(name, reporter)
		for range 50 {
			w.pods[name].counts(answer{"web-v1", "200", "", "-", 50})
		}
	}
	return w
}

func (w *world) joins(name, reporter string) {
	p := newPod(w.t, name, reporter)
	w.pods[name] = p
	w.listed = append(w.listed, p)
	w.tell()
}

// leaves takes the pod off the list of targets.
func (w *world) leaves(name string) {
	w.listed = slices.DeleteFunc(w.listed, func(p *pod) bool { return p.name == name })
	w.tell()
}

// tell writes the list of targets, which appears whole.
func (w *world) tell() {
	var groups []any
	for _, p := range w.listed {
		groups = append(groups, map[string]any{"targets": []string{p.address}, "labels": map[string]string{"pod": p.name}})
	}
	b, err := json.Marshal(groups)
	if err == nil {
		err = os.WriteFile(w.targets+".new", b, 0o600)
	}
	if err == nil {
		err = os.Rename(w.targets+".new", w.targets)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// event is something that happens at a time of the script, in scrape intervals.
type event struct {
	time float64
	what func(*world)
}

const (
	scriptEnds = 28  // scrape intervals; then nothing is counted any more
	tick       = 0.1 // of a scrape interval
)

// script is what happens. A pod is quiet for two scrapes before it restarts or
// goes: what it counted after its last scrape nobody could know.
var script = []event{
	{1, func(w *world) { w.joins("c", "destination") }},
	{6, func(w *world) { w.joins("d", "destination") }},
	{7.5, func(w *world) { w.pods["c"].set(func(p *pod) { p.quiet = true }) }},
	{8, func(w *world) { w.pods["a"].set(func(p *pod) { p.takes = 400 * time.Millisecond }) }},
	{10, func(w *world) {
		w.pods["c"].set(func(p *pod) { p.counters, p.quiet = map[string]float64{}, false })
	}},
	{14, func(w *world) { w.pods["a"].set(func(p *pod) { p.takes = 0 }) }},
	{15, func(w *world) { w.pods["d"].set(func(p *pod) { p.takes = 1200 * time.Millisecond }) }},
	{15.5, func(w *world) { w.pods["b"].set(func(p *pod) { p.quiet = true }) }},
	{16.1, func(w *world) { w.pods["d"].set(func(p *pod) { p.takes = 0 }) }},
	{18, func(w *world) { _ = w.pods["b"].server.Close() }},
	{19, func(w *world) { w.joins("e", "destination") }},
	{20, func(w *world) { w.leaves("b") }},
	{22.5, func(w *world) { w.pods["c"].set(func(p *pod) { p.quiet = true }) }},
	{25, func(w *world) { w.leaves("c") }},
	{27, func(w *world) { _ = w.pods["c"].server.Close() }},
}

// happens lets the world run up to a time since the script began.
func (w *world) happens(elapsed time.Duration) {
	until := min(elapsed.Seconds()/w.width.Seconds(), scriptEnds)
	for ; float64(w.ticks)*tick < until; w.ticks++ {
		for _, e := range script {
			if int(math.Round(e.time/tick)) == w.ticks {
				e.what(w)
			}
		}
		w.requests()
	}
}

// requests lets each pod that serves answer a few.
func (w *world) requests() {
	for name, workload := range map[string]string{"a": "web-v1", "b": "web-v1", "e": "web-v1", "c": "web-v2", "d": "web-v2"} {
		p := w.pods[name]
		if p == nil {
			continue
		}
		p.mu.Lock()
		quiet := p.quiet
		p.mu.Unlock()
		if quiet {
			continue
		}
		w.serves(p, workload)
	}
	if w.ticks%10 == 3 {
		a := answer{"web-v2", "503", "", "UF,URX", 5}
		w.pods["gateway"].counts(a)
		w.canary.Requests++
		w.canary.Errors++
	}
	w.pods["gateway"].counts(answer{"web-v1", "200", "", "-", 50})
	if w.ticks%8 == 5 {
		w.pods["gateway"].counts(answer{"unknown", "503", "", "UH", 1})
		w.unknown++
	}
}

// serves counts a few answers of the version at its pod.
func (w *world) serves(p *pod, workload string) {
	truth := map[string]*judge.Counts{"web-v1": &w.stable, "web-v2": &w.canary}[workload]
	ok := map[string]int{"web-v1": 5, "web-v2": 2}[workload]
	for range ok {
		p.counts(answer{workload, "200", "", "-", 50})
	}
	truth.Requests += int64(ok)
	if w.ticks%5 == 0 {
		p.counts(answer{workload, "500", "", "-", 3000})
		truth.Requests++
		truth.Errors++
	}
	if w.ticks%7 == 0 {
		p.counts(answer{workload, "404", "", "-", 5})
		truth.Requests++
		truth.ClientErrors++
	}
	if w.ticks%9 == 0 {
		p.counts(answer{workload, "0", "", "DC", 500})
		truth.Disconnects++
	}
	if w.ticks%11 == 0 {
		p.counts(answer{workload, "200", "14", "-", 500})
		truth.Requests++
		truth.Errors++
	}
}
