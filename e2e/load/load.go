// Package load sends requests at a constant rate, remembers every answer, and
// says what users saw. fortio paces the requests; they do not wait for each
// other, so that a server that hangs does not lower the rate.
package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"fortio.org/fortio/periodic"
	fortiolog "fortio.org/log"
)

// Limits of one generator: it is for the machine it runs on.
const (
	MaxRate        = 2000 // requests per second
	MaxDuration    = 2 * time.Hour
	MaxConcurrency = 1024
)

// Options say what to send. Zero values have the defaults named.
type Options struct {
	URL         string            // where to: a loopback address, or one of the sandbox's network 10.244.0.0/16
	Host        string            // the Host header; default: of the URL
	Rate        float64           // requests per second, above 0 up to MaxRate
	Headers     map[string]string // sent with every request
	Cookies     map[string]string // likewise
	Timeout     time.Duration     // of one request; default 10s
	Duration    time.Duration     // of all; default 30min, at most MaxDuration
	Concurrency int               // requests under way at most, beyond which the next ones wait; default 256, at most MaxConcurrency
	OnRecord    func(Record)      // called for every request that has ended, possibly several at once
}

// Record is one request.
type Record struct {
	Start   time.Time
	Latency time.Duration // until the whole answer was read, or the request failed
	Status  int           // 0 if there was no answer
	Version string        // who answered, by the header X-Served-By; empty if nobody says
	Error   string        // why there was no answer
	Said    string        // the beginning of a bad answer that no version gave: a proxy's reason
}

// mostSaid is how many bytes of a bad answer are kept.
const mostSaid = 200

// Bad tells whether the user would call the answer an error: status 500 or
// above, or none at all.
func (r Record) Bad() bool { return r.Status == 0 || r.Status >= http.StatusInternalServerError }

// Generator sends requests until it is stopped or its duration is over.
type Generator struct {
	options Options
	client  *http.Client
	slots   chan struct{} // one taken by every request under way
	ctx     context.Context
	cancel  context.CancelFunc
	aborter *periodic.Aborter
	ended   chan struct{}
	flying  sync.WaitGroup

	mu      sync.Mutex
	records []Record // in the order they ended
}

// Start checks the options and begins to send. The generator ends with ctx,
// after its duration, or by Stop.
func Start(ctx context.Context, o Options) (*Generator, error) {
	if err := o.complete(); err != nil {
		return nil, fmt.Errorf("generate load: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	transport := &http.Transport{MaxIdleConnsPerHost: o.Concurrency, MaxIdleConns: o.Concurrency, DisableCompression: true}
	g := &Generator{
		options: o, ctx: ctx, cancel: cancel,
		client: &http.Client{
			Transport: transport, Timeout: o.Timeout,
			// A redirect is an answer, and may lead away from here.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		slots:   make(chan struct{}, o.Concurrency),
		aborter: periodic.NewAborter(),
		ended:   make(chan struct{}),
	}
	fortiolog.SetLogLevelQuiet(fortiolog.Critical)
	go g.run()
	return g, nil
}

// complete fills in the defaults and tells all that is wrong.
func (o *Options) complete() error {
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Duration == 0 {
		o.Duration = 30 * time.Minute
	}
	if o.Concurrency == 0 {
		o.Concurrency = 256
	}
	errs := []error{checkURL(o.URL)}
	if !(o.Rate > 0 && o.Rate <= MaxRate) {
		errs = append(errs, fmt.Errorf("rate is %v: want above 0, up to %d requests per second", o.Rate, MaxRate))
	}
	if o.Duration < 0 || o.Duration > MaxDuration {
		errs = append(errs, fmt.Errorf("duration is %s: want up to %s", o.Duration, MaxDuration))
	}
	if o.Concurrency < 1 || o.Concurrency > MaxConcurrency {
		errs = append(errs, fmt.Errorf("concurrency is %d: want 1 to %d", o.Concurrency, MaxConcurrency))
	}
	return errors.Join(errs...)
}

// sandboxNetwork holds all pods and proxies of a sandbox.
var sandboxNetwork = netip.MustParsePrefix("10.244.0.0/16")

// checkURL refuses to send load anywhere but to this machine.
func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" {
		return fmt.Errorf("URL is %q: want an http:// URL", s)
	}
	ip, err := netip.ParseAddr(u.Hostname())
	if err != nil || !ip.IsLoopback() && !sandboxNetwork.Contains(ip) {
		return fmt.Errorf("URL is %q: want a loopback address or one of %s: load is for the sandbox", s, sandboxNetwork)
	}
	return nil
}

func (g *Generator) run() {
	defer close(g.ended)
	stop := context.AfterFunc(g.ctx, func() { g.aborter.Abort(false) })
	defer stop()
	runner := periodic.NewPeriodicRunner(&periodic.RunnerOptions{
		QPS: g.options.Rate, Duration: g.options.Duration, NumThreads: 1, Out: io.Discard,
		Stop: g.aborter, // else fortio takes Ctrl-C for itself
	})
	runner.Options().MakeRunners(pacer{g})
	runner.Run()
	g.flying.Wait()
}

// pacer is called by fortio when the next request is due.
type pacer struct{ g *Generator }

func (p pacer) Run(context.Context, periodic.ThreadID) (bool, string) {
	select {
	case p.g.slots <- struct{}{}:
	case <-p.g.ctx.Done():
		return false, ""
	}
	p.g.flying.Go(func() {
		defer func() { <-p.g.slots }()
		p.g.send()
	})
	return true, ""
}

// send sends one request and remembers how it went. Requests cut off by Stop
// are not remembered: they say nothing about the server.
func (g *Generator) send() {
	r := Record{Start: time.Now()}
	err := g.ask(&r)
	r.Latency = time.Since(r.Start)
	if err != nil {
		if g.ctx.Err() != nil {
			return
		}
		r.Status, r.Error = 0, err.Error()
	}
	g.mu.Lock()
	g.records = append(g.records, r)
	g.mu.Unlock()
	if g.options.OnRecord != nil {
		g.options.OnRecord(r)
	}
}

func (g *Generator) ask(r *Record) error {
	req, err := http.NewRequestWithContext(g.ctx, http.MethodGet, g.options.URL, nil)
	if err != nil {
		return err
	}
	if g.options.Host != "" {
		req.Host = g.options.Host
	}
	for k, v := range g.options.Headers {
		req.Header.Set(k, v)
	}
	for k, v := range g.options.Cookies {
		req.AddCookie(&http.Cookie{Name: k, Value: v})
	}
	resp, err := g.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	r.Status, r.Version = resp.StatusCode, resp.Header.Get("X-Served-By")
	if r.Bad() && r.Version == "" {
		said, err := io.ReadAll(io.LimitReader(resp.Body, mostSaid))
		if err != nil {
			return err
		}
		r.Said = string(said)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// Stop ends the sending and waits until no request is under way.
func (g *Generator) Stop() {
	g.cancel()
	<-g.ended
	g.client.CloseIdleConnections()
}

// Records returns all requests that have ended, in the order they did.
func (g *Generator) Records() []Record {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]Record(nil), g.records...)
}

// Summary sums up the requests that were sent from since to before until; a
// zero time is no bound.
func (g *Generator) Summary(since, until time.Time) Summary {
	return Summarize(g.Records(), since, until)
}
