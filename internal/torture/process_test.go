package torture

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"serin.dev/serin/pkg/annotation"
	"serin.dev/serin/pkg/ask"
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/cluster"
	"serin.dev/serin/pkg/controller"
	"serin.dev/serin/pkg/prom"
)

// process is one controller from its start to its end.
type process struct {
	wire *wire
	c    *controller.Controller
	stop context.CancelFunc
	done chan error
}

// serve keeps a replica of the controller running until ctx ends: who crashes, or
// loses the lease, is started again with an empty memory.
func (w *world) serve(ctx context.Context, replica string, elect bool) {
	for n := 1; ctx.Err() == nil; n++ {
		p := w.start(replica+"-"+strconv.Itoa(n), elect) //nolint:contextcheck // a process ends when it is told to, or crashes
		select {
		case <-ctx.Done():
			p.stop()
			w.ended(ctx, <-p.done)
			return
		case <-p.wire.crashed:
			p.stop()
			<-p.done
		case err := <-p.done:
			w.ended(ctx, err)
		}
		p.wire.close()
		w.forget(p)
		w.mu.Lock()
		after := w.restart.after
		w.down++
		w.mu.Unlock()
		select {
		case <-time.After(after):
		case <-ctx.Done():
		}
		w.mu.Lock()
		w.down--
		w.mu.Unlock()
	}
}

// ended looks at what Run returned.
func (w *world) ended(ctx context.Context, err error) {
	switch {
	case err == nil && ctx.Err() == nil:
		w.wrong("a controller ended though nobody asked it to")
	case err != nil && !errors.Is(err, controller.ErrLeaseLost):
		w.wrong("a controller ended with %v", err)
	}
}

// start has a new process run.
func (w *world) start(name string, elect bool) *process {
	p := &process{wire: newWire(w, name), done: make(chan error, 1)}
	config := &rest.Config{Host: "http://api.test", Transport: p.wire, QPS: -1,
		ContentConfig: rest.ContentConfig{ContentType: "application/json", AcceptContentTypes: "application/json"}}
	query, err := prom.HTTP(&http.Client{Transport: asking{p.wire}, Timeout: 10 * time.Second}, "http://prometheus.test")
	if err != nil {
		panic(err)
	}
	kube := kubernetes.NewForConfigOrDie(cluster.Compact(config))
	defaults := annotation.Defaults()
	defaults.Tags = "" // images are words here
	o := controller.Options{
		Kube: kube, Dynamic: dynamic.NewForConfigOrDie(config),
		Query: query, Logger: zap.New(&ears{w: w, LevelEnabler: zapcore.ErrorLevel}),
		ClusterDomain: "cluster.local", RootNamespace: "istio-system",
		Defaults: defaults, Interval: 15 * time.Second, InPlace: w.s.inPlace,
	}
	if w.s.asks {
		o.Askers = hesitant()
	}
	if *verbose {
		o.Logger = zap.New(&ears{w: w, LevelEnabler: zapcore.DebugLevel})
	}
	if elect {
		o.Elect = &controller.Lease{Client: kube.CoordinationV1(), Namespace: "serin-system", Name: "serin", Identity: name,
			Duration: leaseFor, RenewDeadline: 8 * time.Second, RetryPeriod: 2 * time.Second}
	}
	if p.c, err = controller.New(o); err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(w.ctx)
	p.stop = stop
	w.mu.Lock()
	w.running = append(w.running, p)
	w.mu.Unlock()
	go func() { p.done <- p.c.Run(ctx) }()
	return p
}

// hesitant answers all questions of a process: the first time it is asked with wait,
// from then on with yes.
func hesitant() map[canary.QuestionKind]ask.Asker {
	var mu sync.Mutex
	asked := map[canary.Question]bool{}
	answer := func(_ context.Context, q canary.Question, _ canary.Subject) canary.Answer {
		mu.Lock()
		defer mu.Unlock()
		if !asked[q] {
			asked[q] = true
			return canary.Answer{Said: canary.Wait, Sentence: "not yet"}
		}
		return canary.Answer{Said: canary.Allow}
	}
	askers := map[canary.QuestionKind]ask.Asker{}
	for _, kind := range []canary.QuestionKind{canary.AskGate, canary.AskSmoke, canary.AskAlerts, canary.AskEndpoints, canary.AskSeries, canary.AskResidual, canary.AskScaling} {
		askers[kind] = answer
	}
	return askers
}

// leaseFor is how long a silent leader is believed.
const leaseFor = 11 * time.Second

func (w *world) forget(gone *process) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var left []*process
	for _, p := range w.running {
		if p != gone {
			left = append(left, p)
		}
	}
	w.running = left
}

// wires are those of the processes that run.
func (w *world) wires() (all []*wire) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.running {
		all = append(all, p.wire)
	}
	return all
}

// asking is a process's way to Prometheus.
type asking struct{ x *wire }

func (a asking) RoundTrip(r *http.Request) (*http.Response, error) {
	if a.x.isDead() {
		return nil, errGone
	}
	if !*verbose {
		return a.x.w.town.RoundTrip(r)
	}
	question, _ := url.ParseQuery(string(body(r)))
	response, err := a.x.w.town.RoundTrip(r)
	a.x.w.t.Logf("%s asked %v from %v to %v: %v", time.Now().Format("15:04:05.000"), question["query"], question["start"], question["end"], err)
	return response, err
}

// ears hear what the controller itself calls its own fault.
type ears struct {
	zapcore.LevelEnabler
	w *world
}

func (e *ears) With([]zapcore.Field) zapcore.Core { return e }
func (e *ears) Sync() error                       { return nil }

func (e *ears) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if e.Enabled(entry.Level) || strings.HasPrefix(entry.Message, "A pass failed") {
		return checked.AddCore(entry, e)
	}
	return checked
}

func (e *ears) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	said := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(said)
	}
	if told := str(said.Fields["error"]); strings.Contains(told, "a fault of Serin") {
		e.w.wrong("%s", told)
	}
	if *verbose {
		e.w.t.Logf("%s %s %s %v", time.Now().Format("15:04:05.000"), entry.Level, entry.Message, said.Fields)
	}
	return nil
}
