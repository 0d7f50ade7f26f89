// Package probe runs smoke checks on the pods of a release. Whatever a check or an
// answer says, it reaches the addresses it is given and nothing else: it connects to
// the address of the pod, or to the operator's proxy, and follows no redirect.
package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/safetext"
	"serin.dev/serin/pkg/smoke"
)

// Options say how pods are reached.
type Options struct {
	// Proxy is an HTTP proxy by which all pods are asked; nil: they are asked directly.
	Proxy *url.URL
	// Timeout is how long one check may take, with all tries to connect; > 0.
	Timeout time.Duration
	// Total is how long all checks of one question may take; > 0.
	Total time.Duration
	// Domain is the cluster's, with which the Service's host name ends that pods are
	// asked by; empty: they are asked by their address. By a proxy they always are.
	Domain string
}

const (
	// MaxPods is how many pods of a track are asked, the first by name.
	MaxPods = 10
	// maxBody is how much of an answer is read, in bytes.
	maxBody = 1 << 20
	// maxHeaders bounds an answer's headers, in bytes.
	maxHeaders = 64 << 10
	// atOnce is how many sequences of one question run at a time. Questions don't wait for
	// each other: their time is for their own checks.
	atOnce = 16

	// The pauses between tries to connect.
	firstPause = 200 * time.Millisecond
	longPause  = 2 * time.Second
)

// Prober runs checks. It is safe for concurrent use.
type Prober struct {
	options Options
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
}

// New makes a prober; it connects to nobody yet.
func New(o Options) *Prober {
	return &Prober{options: o, dial: new(net.Dialer).DialContext}
}

// Target is a pod that is asked.
type Target struct {
	Pod     string // its name
	Address string // IP and port
}

// Batch is checks, and on whom they run.
type Batch struct {
	Checks  smoke.Checks
	Targets []Target
	Host    string // header of the same name; empty: the target's address
	Rollout string // what the application's logs can be searched for
}

// errHalf tells that an answer began and did not end.
var errHalf = errors.New("read the answer")

// errAway tells that a pod, or the proxy, could not be asked, so that nothing is known.
var errAway = errors.New("can't be asked")

// errLate tells that the time of all checks was over.
var errLate = errors.New("out of time")

// errUnconnected tells that there was no connection.
var errUnconnected = errors.New("no connection")

// Run runs all checks on all targets, sequences beside each other. The results are in
// the order of targets and of checks; failed is the first that surely failed, -1 where
// none did. It fails when ctx ends, and where none surely failed but some could not be
// asked.
func (p *Prober) Run(ctx context.Context, b Batch) (results []canary.Check, failed int, err error) {
	within, cancel := context.WithTimeout(ctx, p.options.Total)
	defer cancel()
	per := b.Checks.Count()
	results = make([]canary.Check, per*len(b.Targets))
	away := make([]error, len(results)) // of the sequence that begins there
	turns := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	at := 0
	for _, t := range b.Targets {
		c := p.client(t)
		for _, sequence := range b.Checks {
			r := run{prober: p, client: c, target: t, batch: b, first: at}
			into, fails := results[at:at+len(sequence)], &away[at]
			wg.Go(func() {
				turns <- struct{}{}
				*fails = r.sequence(within, sequence, into)
				<-turns
			})
			at += len(sequence)
		}
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return results, -1, fmt.Errorf("run the smoke checks: %w", err)
	}
	failed, err = b.outcome(results, away)
	return results, failed, err
}

// outcome finds the first check that surely failed, or else why some could not be asked.
// Where all could, but not in the time that they have, the first of these failed: with
// what can't be asked before them, that time says nothing.
func (b Batch) outcome(results []canary.Check, away []error) (failed int, err error) {
	at, late := 0, -1
	for range b.Targets {
		for _, sequence := range b.Checks {
			bad := slices.IndexFunc(results[at:at+len(sequence)], func(c canary.Check) bool { return !c.Passed })
			switch {
			case bad >= 0 && away[at] == nil:
				return at + bad, nil
			case errors.Is(away[at], errLate) && late < 0:
				late = at + bad
			case errors.Is(away[at], errAway) && err == nil:
				err = away[at]
			}
			at += len(sequence)
		}
	}
	if err != nil {
		return -1, err
	}
	return late, nil
}

// client speaks HTTP with one pod. Whatever address it is told, it connects to the
// pod's, or to the proxy.
func (p *Prober) client(t Target) *http.Client {
	reach, through := t.Address, http.ProxyURL(nil)
	if proxy := p.options.Proxy; proxy != nil {
		reach, through = addressOf(proxy), http.ProxyURL(proxy)
	}
	return &http.Client{
		Transport: &http.Transport{
			Proxy: through,
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				// A request that is given up doesn't end its dialing.
				ctx, cancel := context.WithTimeout(ctx, p.options.Timeout)
				defer cancel()
				return p.dial(ctx, network, reach)
			},
			DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxHeaders,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// addressOf is a proxy's host and port.
func addressOf(proxy *url.URL) string {
	if proxy.Port() != "" {
		return proxy.Host
	}
	if proxy.Scheme == "https" {
		return net.JoinHostPort(proxy.Hostname(), "443")
	}
	return net.JoinHostPort(proxy.Hostname(), "80")
}

// run is a sequence on one target.
type run struct {
	prober *Prober
	client *http.Client
	target Target
	batch  Batch
	first  int // number of its first check in the batch
}

const (
	afterFailure = "not asked, for the check before it failed"
	afterTime    = "not asked, for the checks took all the time they have"
	outOfTime    = "no whole answer in what was left of the time that all checks have"
)

// sequence runs checks until one fails. It fails itself only where nothing is known of
// the pod.
func (r run) sequence(ctx context.Context, checks smoke.Sequence, into []canary.Check) error {
	for i, c := range checks {
		into[i] = canary.Check{Name: r.name(c), Sentence: afterFailure}
	}
	values := map[string]string{}
	for i, c := range checks {
		if ctx.Err() != nil {
			into[i].Sentence = afterTime
			return errLate
		}
		var away error
		into[i], away = r.check(ctx, c, values, i)
		if away != nil || !into[i].Passed {
			return away
		}
	}
	return nil
}

// check runs one check and takes its values. It fails where nothing is known of the
// pod.
func (r run) check(ctx context.Context, c smoke.Check, values map[string]string, number int) (result canary.Check, away error) {
	result.Name = r.name(c)
	request, err := c.Fill(values)
	if err != nil {
		result.Sentence = "not asked: " + err.Error()
		return result, nil //nolint:nilerr // what is wrong is the result
	}
	answer, err := r.send(ctx, request, number)
	result.Took = answer.Took
	switch {
	case err != nil && ctx.Err() != nil:
		result.Sentence = outOfTime
		return result, errLate
	case err != nil:
		return r.unanswered(result, err)
	}
	result.Sentence, result.Passed = c.Judge(answer, values)
	for _, take := range c.Take {
		value, err := take.From(answer, request.Target)
		if err != nil && result.Passed {
			result.Sentence, result.Passed = result.Sentence+", but with "+err.Error(), false
		}
		values[take.Name] = value
	}
	return result, nil
}

// name is a check as people see it.
func (r run) name(c smoke.Check) string { return c.Name() + " on " + r.target.Pod }

// unanswered tells why a check has no answer. A port that refuses is the pod's own
// word; packets that are lost are nobody's.
func (r run) unanswered(result canary.Check, err error) (canary.Check, error) {
	result.Sentence = r.prober.failure(err)
	if errors.Is(err, errUnconnected) && (r.prober.options.Proxy != nil || !errors.Is(err, syscall.ECONNREFUSED)) {
		err = fmt.Errorf("%s %w: %s", r.whom(), errAway, result.Sentence)
	}
	if errors.Is(err, errAway) {
		result.Sentence = "not asked: " + err.Error()
		return result, err
	}
	return result, nil
}

// send sends a request and reads the answer. As long as there is no connection, it
// tries again: a pod may be ready a moment before its port is, and nothing was sent.
func (r run) send(ctx context.Context, request smoke.Request, number int) (smoke.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, r.prober.options.Timeout)
	defer cancel()
	for pause := firstPause; ; pause = min(2*pause, longPause) {
		answer, err := r.once(ctx, request, number)
		if !errors.Is(err, errUnconnected) || ctx.Err() != nil {
			return answer, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return answer, err
		}
	}
}

// whom is who is connected to.
func (r run) whom() string {
	if r.prober.options.Proxy != nil {
		return "the proxy"
	}
	return r.target.Pod
}

func (r run) once(ctx context.Context, request smoke.Request, number int) (smoke.Answer, error) {
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	sent, err := r.request(ctx, request, number)
	if err != nil {
		return smoke.Answer{}, err
	}
	began := time.Now()
	response, err := r.client.Do(sent)
	if err != nil && !connected.Load() {
		return smoke.Answer{}, fmt.Errorf("%w: %w", errUnconnected, err)
	}
	if err != nil {
		return smoke.Answer{}, err
	}
	defer response.Body.Close()
	if r.prober.options.Proxy != nil && response.StatusCode == http.StatusProxyAuthRequired {
		return smoke.Answer{}, fmt.Errorf("%s %w: it wants to know who asks", r.whom(), errAway)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	if err != nil {
		return smoke.Answer{}, fmt.Errorf("%w: %w", errHalf, err)
	}
	return smoke.Answer{
		Status: response.StatusCode, Header: response.Header.Get, Took: time.Since(began),
		Body: body[:min(len(body), maxBody)], Cut: len(body) > maxBody,
	}, nil
}

func (r run) request(ctx context.Context, request smoke.Request, number int) (*http.Request, error) {
	target, err := url.ParseRequestURI(request.Target)
	if err != nil || target.Host != "" {
		return nil, fmt.Errorf("%q is no path", request.Target)
	}
	target.Scheme, target.Host = "http", r.target.Address
	sent, err := http.NewRequestWithContext(ctx, request.Method, target.String(), strings.NewReader(request.Body))
	if err != nil {
		return nil, err
	}
	// A proxy would be led elsewhere by another host than the pod's.
	if r.prober.options.Proxy == nil {
		sent.Host = r.batch.Host
	}
	rollout := safetext.ASCII(r.batch.Rollout)
	sent.Header.Set("User-Agent", "serin-smoke")
	sent.Header.Set("X-Serin-Rollout", rollout)
	sent.Header.Set("X-Request-Id", "serin-"+rollout+"-"+strconv.Itoa(r.first+number+1))
	if request.Type != "" {
		sent.Header.Set("Content-Type", request.Type)
	}
	return sent, nil
}

// maxError is how much of an error is shown, in bytes.
const maxError = 80

// failure says what became of a request that had no answer.
func (p *Prober) failure(err error) string {
	var u *url.Error
	switch {
	case errors.Is(err, errUnconnected) && errors.Is(err, context.DeadlineExceeded):
		return "no connection within " + p.options.Timeout.String() + ", as where a NetworkPolicy is in the way"
	case errors.Is(err, errUnconnected):
		return "no connection within " + p.options.Timeout.String() + ": " + cause(err)
	case errors.Is(err, context.DeadlineExceeded):
		return "no whole answer within " + p.options.Timeout.String()
	case errors.Is(err, errHalf):
		return "the connection ended within the answer"
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return "the connection was closed without an answer, as a mesh with strict mTLS does to those outside of it"
	case errors.As(err, &u):
		err = u.Err
	}
	words := safetext.Line(strings.TrimPrefix(err.Error(), "net/http: HTTP/1.x transport connection broken: "))
	return "no answer: " + words[:min(len(words), maxError)]
}

// cause is what the system said, without the addresses around it.
func cause(err error) string {
	var op *net.OpError
	var number syscall.Errno
	switch {
	case errors.As(err, &number):
		err = number
	case errors.As(err, &op):
		err = op.Err
	}
	return safetext.Line(err.Error())
}
