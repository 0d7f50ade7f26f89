// Package alertmanager asks Alertmanager (API v2) which alerts are active, once for
// all releases, and tells each release those that are about it. Silenced and inhibited
// alerts don't count: that is what people silence them for.
package alertmanager

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/gate/alertmanager/matcher"
	"serin.dev/serin/pkg/gate/outside"
)

// DefaultInterval is how old an answer of Alertmanager may be, where nobody says
// another.
const DefaultInterval = 10 * time.Second

// Options say where Alertmanager is and which alerts count.
type Options struct {
	// URLs are of all replicas, which needn't know the same: an alert counts that any of
	// them has. It is enough that one answers.
	URLs        []string
	Credentials string        // file with user:password or a token; empty: none
	CA          string        // file with certificates in PEM; empty: the system's
	Plaintext   bool          // credentials may be sent by http
	Interval    time.Duration // between two requests; 0 is DefaultInterval
	Timeout     time.Duration // of one request; 0 is outside.DefaultTimeout
	// Matchers say what the word default means in rules; empty: about the release by
	// namespace and Service, Deployment or pod.
	Matchers string
	// Rollback and Hold are values of the label severity: of alerts that end a release
	// which began before them, and of those that hold it. Nil: critical; warning and
	// critical. Alerts of other severities don't count, unless a rule names the label.
	Rollback, Hold []string
	// Wake is called when, after Poke, other alerts are about a release than when it
	// asked last. It must not block. Nil: nobody is told.
	Wake      func(namespace, service string)
	Transport http.RoundTripper // nil makes one
}

// Poller knows which alerts are active. All its methods may be called at once.
type Poller struct {
	urls     []string
	client   *outside.Client
	interval time.Duration
	usual    matcher.Rule // what default means
	rollback []string
	hold     []string
	wake     func(namespace, service string)
	hints    chan struct{}

	mu     sync.Mutex
	last   sight
	flight *flight
	asked  map[place]*asker
}

// sight is what Alertmanager said at a time.
type sight struct {
	at     time.Time
	alerts []alert
	err    error  // nobody answered
	silent string // of several replicas those that did not answer, for people
}

// flight is a request under way, for all who wait for it.
type flight struct {
	done  chan struct{}
	sight sight
}

// New makes a poller. It asks nobody before somebody asks it. The error joins all
// mistakes in the options.
func New(o Options) (*Poller, error) {
	p := &Poller{
		interval: o.Interval, rollback: o.Rollback, hold: o.Hold, wake: o.Wake,
		hints: make(chan struct{}, 1), asked: map[place]*asker{},
	}
	if p.interval <= 0 {
		p.interval = DefaultInterval
	}
	if p.rollback == nil {
		p.rollback = []string{"critical"}
	}
	if p.hold == nil {
		p.hold = []string{"warning", "critical"}
	}
	var mistakes []error
	for _, address := range o.URLs {
		base, err := outside.Base("the URL of Alertmanager", address)
		mistakes = append(mistakes, err)
		p.urls = append(p.urls, base+"/api/v2/alerts?active=true&silenced=false&inhibited=false")
	}
	if len(o.URLs) == 0 {
		mistakes = append(mistakes, errors.New("no URL of Alertmanager is given; write one like http://alertmanager.monitoring:9093"))
	}
	p.usual = matcher.Rule{Default: true}
	if o.Matchers != "" {
		rule, err := parse(o.Matchers)
		mistakes = append(mistakes, err)
		p.usual = rule
	}
	var err error
	p.client, err = outside.New(outside.Options{Credentials: o.Credentials, CA: o.CA, Plaintext: o.Plaintext, Timeout: o.Timeout, Transport: o.Transport})
	mistakes = append(mistakes, err)
	if err := errors.Join(mistakes...); err != nil {
		return nil, fmt.Errorf("use Alertmanager: %w", err)
	}
	return p, nil
}

func parse(text string) (matcher.Rule, error) {
	rule, mistakes := matcher.Parse(text)
	var errs []error
	for _, m := range mistakes {
		errs = append(errs, fmt.Errorf("the matchers %q: %w", text, m))
	}
	return rule, errors.Join(errs...)
}

// Ask answers canary.AskAlerts: Allow where no alert holds the release, else Wait,
// with the alerts. Where Alertmanager can't be read it is Wait, and unreached.
func (p *Poller) Ask(ctx context.Context, _ canary.Question, s canary.Subject) canary.Answer {
	rule := p.usual
	if s.Alerts != "" && s.Alerts != canary.NoAlerts {
		var err error
		if rule, err = parse(s.Alerts); err != nil {
			return canary.Answer{Said: canary.Wait, Unreached: true, At: time.Now(), Sentence: "Which alerts count can't be read: " + err.Error()}
		}
	}
	seen := p.look(ctx)
	if seen.err != nil {
		return unread(seen)
	}
	var found []canary.Alert
	if s.Alerts != canary.NoAlerts {
		found = p.about(rule, s, seen.alerts, false)
	}
	p.remember(s, rule, found)
	if len(found) == 0 {
		return canary.Answer{Said: canary.Allow, At: seen.at, Sentence: "Alertmanager has no active alert about " + s.Service + seen.silent}
	}
	return canary.Answer{Said: canary.Wait, At: seen.at, Sentence: capital(sentence(found)), Alerts: most(found)}
}

// Gate makes the asker of a gate: it says Wait while an alert is active that the
// matchers mean, of whatever severity and whenever it began, and Allow else.
func (p *Poller) Gate(matchers string) (func(context.Context, canary.Question, canary.Subject) canary.Answer, error) {
	rule, err := parse(matchers)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, q canary.Question, s canary.Subject) canary.Answer {
		seen := p.look(ctx)
		if seen.err != nil {
			return unread(seen)
		}
		found := p.about(rule, s, seen.alerts, true)
		if len(found) == 0 {
			return canary.Answer{Said: canary.Allow, At: seen.at, Sentence: "No alert is active that the gate " + q.Name + " looks at" + seen.silent}
		}
		for i := range found {
			found[i].RollsBack = false // a gate waits
		}
		return canary.Answer{Said: canary.Wait, At: seen.at, Sentence: "The gate " + q.Name + " waits: " + sentence(found), Alerts: most(found)}
	}, nil
}

func unread(seen sight) canary.Answer {
	return canary.Answer{Said: canary.Wait, Unreached: true, At: seen.at, Sentence: "Alertmanager can't be read: " + seen.err.Error()}
}

// look is what Alertmanager says, at most an interval ago. However many ask, one
// request to each replica is under way at most.
func (p *Poller) look(ctx context.Context) sight {
	p.mu.Lock()
	if !p.last.at.IsZero() && time.Since(p.last.at) < p.interval {
		defer p.mu.Unlock()
		return p.last
	}
	f := p.flight
	if f == nil {
		f = &flight{done: make(chan struct{})}
		p.flight = f
		// Others wait for it too, so that it does not end with who asked first.
		go p.fly(context.WithoutCancel(ctx), f)
	}
	p.mu.Unlock()
	select {
	case <-f.done:
		return f.sight
	case <-ctx.Done():
		return sight{at: time.Now(), err: fmt.Errorf("no answer yet: %w", ctx.Err())}
	}
}

func (p *Poller) fly(ctx context.Context, f *flight) {
	f.sight = p.read(ctx)
	p.mu.Lock()
	p.last, p.flight = f.sight, nil
	p.mu.Unlock()
	close(f.done)
}

// maxAnswer bounds what one Alertmanager says, in bytes: about fifty thousand alerts.
const maxAnswer = 64 << 20

// read asks every replica, and brings together what they know.
func (p *Poller) read(ctx context.Context) sight {
	began := time.Now()
	answers := make([][]gettable, len(p.urls))
	errs := make([]error, len(p.urls))
	var wait sync.WaitGroup
	for i, address := range p.urls {
		wait.Go(func() {
			if errs[i] = p.client.Get(ctx, address, nil, maxAnswer, &answers[i]); errs[i] == nil && answers[i] == nil {
				errs[i] = errors.New("read the answer: it is no list of alerts") // null is none, and not an empty one
			}
		})
	}
	wait.Wait()
	if !slices.Contains(errs, nil) {
		return sight{at: began, err: together(errs)}
	}
	seen := sight{at: began, alerts: union(answers)}
	if failed := slices.DeleteFunc(errs, func(err error) bool { return err == nil }); len(failed) > 0 {
		seen.silent = fmt.Sprintf(" (%d of %d replicas can't be read: %s)", len(failed), len(p.urls), together(failed))
	}
	return seen
}

// together is the errors as one sentence, each once.
func together(errs []error) error {
	var said []string
	for _, err := range errs {
		if !slices.Contains(said, err.Error()) {
			said = append(said, err.Error())
		}
	}
	return errors.New(strings.Join(said, "; "))
}
