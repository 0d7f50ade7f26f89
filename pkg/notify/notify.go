// Package notify tells people of releases where they are: in chats, by mail, as
// alerts, as annotations of graphs, and to programs by a signed webhook. It is told
// what Events tell, and tells it on in the same words.
//
// Nothing here ever holds up a release: each channel has a short queue and a sender of
// its own. What is needed to go on with a message that was sent is kept in memory
// only.
package notify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"serin.dev/serin/pkg/canary"
)

// Channel is one place where messages go, as the operator configured it and the
// configuration checked it. Each type takes some of the fields only.
type Channel struct {
	Name string
	Type string
	// Kinds are those that are told; empty: the type's own choice.
	Kinds    []canary.Kind
	Severity string // "info" or "warning": the least that is told
	Mention  string // who is called by name when somebody may have to act

	URL         string // of the service, without a secret in it
	Credentials string // file; absolute, as all files
	Signing     string // file of the key by which a robot's messages are signed
	CA          string // file of the authorities that sign the service's certificate, PEM
	Plaintext   bool   // http, and mail without encryption, are allowed

	Channel   string   // Slack's: an id or a name
	Chat      string   // Telegram's: a number or @name
	Server    string   // host:port of the mail server
	From      string   // mail address
	To        []string // mail addresses
	Dashboard string   // Grafana's uid; empty: annotations of the whole organization
}

// Options say whom to tell.
type Options struct {
	Channels []Channel
	Links    Links
	Log      *zap.Logger
	// Meter counts what becomes of messages; nil: nobody counts.
	Meter Meter
	// Transport is by what HTTP goes; nil: by the network, with TLS as each channel
	// says.
	Transport http.RoundTripper
}

// Meter counts what becomes of messages: ResultSent, ResultRetried or ResultDropped.
type Meter interface{ Notified(channel, result string) }

// What may become of a message. One that is retried is sent or dropped later.
const (
	ResultSent    = "sent"
	ResultRetried = "retried"
	ResultDropped = "dropped"
)

// Notifier is made by New. Told is safe for concurrent use.
type Notifier struct {
	links   Links
	log     *zap.Logger
	senders map[string]*sender

	mu       sync.Mutex
	repeated map[string]map[string]time.Time // by rollout: what was told of it, and when
	heard    map[string][]string             // by rollout: the channels of its last message
}

// lastWords is how long messages that wait are still sent on a clean stop.
const lastWords = 3 * time.Second

// New makes a notifier. It sends nothing, and fails when an authority's file can't be
// read, for all channels at once.
func New(o Options) (*Notifier, error) {
	n := &Notifier{links: o.Links, log: o.Log, senders: map[string]*sender{}, repeated: map[string]map[string]time.Time{}, heard: map[string][]string{}}
	if o.Meter == nil {
		o.Meter = unmetered{}
	}
	var errs []error
	for _, ch := range o.Channels {
		s, err := newService(ch, o.Transport)
		if err != nil {
			errs = append(errs, fmt.Errorf("make the channel %s: %w", ch.Name, err))
			continue
		}
		n.senders[ch.Name] = newSender(ch, s, o.Log.With(zap.String("channel", ch.Name)), o.Meter)
	}
	return n, errors.Join(errs...)
}

// Check says which secrets can't be read now, so that it is known before the first
// message. They are read anew for each.
func (n *Notifier) Check() error {
	var errs []error
	for _, s := range n.senders {
		for _, file := range []string{s.channel.Credentials, s.channel.Signing} {
			if _, err := secret(file); err != nil {
				errs = append(errs, fmt.Errorf("channel %s: %w", s.channel.Name, err))
			}
		}
	}
	return errors.Join(errs...)
}

// Start sends messages until the function it returns is called, which still sends
// those that wait, for a moment.
func (n *Notifier) Start(ctx context.Context) (stop func()) {
	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	end := make(chan struct{})
	var wg sync.WaitGroup
	for _, s := range n.senders {
		wg.Go(func() { s.run(sending, end) })
	}
	return func() {
		timer := time.AfterFunc(lastWords, cancel)
		close(end)
		wg.Wait()
		timer.Stop()
		cancel()
	}
}

// Told takes an Event, told when the rollout was as shown. It never blocks.
func (n *Notifier) Told(v canary.View, e canary.Event) {
	kind := canary.KindOf(v, e)
	if kind == "" {
		return
	}
	now := time.Now()
	m := newMessage(kind, v, e, n.links, now)
	if n.again(m, now) {
		return
	}
	for _, name := range n.channels(m) {
		// A name that is not known is told as a mistake in the annotations.
		if s, known := n.senders[name]; known && s.concerns(m) {
			s.add(m)
		}
	}
}

// ends are the kinds by which a rollout is over, or about to be.
var ends = []canary.Kind{canary.KindRollingBack, canary.KindRolledBack, canary.KindPromoted, canary.KindOptedOut}

// channels are those on which a message goes, each once. How a rollout ends is told
// also to those who were told of it last, for a Deployment that was deleted names no
// channels.
func (n *Notifier) channels(m Message) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	key, names := m.thread(), slices.Clone(m.View.Notify)
	if slices.Contains(ends, m.Kind) {
		names = append(names, n.heard[key]...)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(n.heard) >= manyRollouts {
		clear(n.heard)
	}
	if m.View.Rollout != "" && len(names) > 0 {
		n.heard[key] = names
	}
	return names
}

// quietFor is how long the same sentence about what holds a release is not repeated,
// while nothing else happens to it.
const quietFor = time.Hour

// manyRollouts is of how many rollouts things are remembered at once; with more, all is
// forgotten, and the worst that comes of it is a message told twice, or a new thread.
const manyRollouts = 1000

// again tells that a message says what was said a while ago, and nothing else was
// since: what holds a release may come and go.
func (n *Notifier) again(m Message, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	key := m.thread()
	if m.Kind != canary.KindHeld && m.Kind != canary.KindAttention {
		delete(n.repeated, key)
		return false
	}
	if n.repeated[key] == nil {
		if len(n.repeated) >= manyRollouts {
			clear(n.repeated)
		}
		n.repeated[key] = map[string]time.Time{}
	}
	what := string(m.Event.Reason) + m.Event.Sentence
	at, said := n.repeated[key][what]
	if said && now.Sub(at) < quietFor {
		return true
	}
	if len(n.repeated[key]) >= canary.MaxTold {
		clear(n.repeated[key])
	}
	n.repeated[key][what] = now
	return false
}

type unmetered struct{}

func (unmetered) Notified(string, string) {}
