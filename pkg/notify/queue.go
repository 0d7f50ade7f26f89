package notify

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"go.uber.org/zap"

	"serin.dev/serin/pkg/canary"
)

const (
	// waiting is how many messages of one channel may wait to be sent.
	waiting = 100
	// giveUp is how long after it was told a message is tried again.
	giveUp = 10 * time.Minute
	// firstRetry and lastRetry bound the waits between tries of a message.
	firstRetry = time.Second
	lastRetry  = time.Minute
	// oneTry bounds one try.
	oneTry = 20 * time.Second
)

// service is a way to tell people. Its send gets what it returned for the rollout's
// last message, empty for the first, and returns what to keep for the next; also with
// an error, for what was done already is not to be done again. With told false nobody
// is to be told anything: what stands there may be brought up to date.
type service interface {
	send(ctx context.Context, m Message, kept string, told bool) (keep string, err error)
}

// follower is a service that keeps what it said of a rollout up to date, and so has to
// know what nobody is told of.
type follower interface{ follows() }

// sender sends the messages of one channel, in their order.
type sender struct {
	channel Channel
	service service
	log     *zap.Logger
	meter   Meter
	queue   chan Message
	kept    map[string]string // by rollout; only the sending goroutine uses it
}

func newSender(ch Channel, s service, log *zap.Logger, meter Meter) *sender {
	return &sender{channel: ch, service: s, log: log, meter: meter, queue: make(chan Message, waiting), kept: map[string]string{}}
}

// people and programs are told of these kinds, where the operator names none.
var (
	forPeople   = []canary.Kind{canary.KindStarted, canary.KindHeld, canary.KindRolledBack, canary.KindPromoted, canary.KindAttention}
	forPrograms = canary.Kinds()
	forAlerts   = []canary.Kind{canary.KindHeld, canary.KindRollingBack, canary.KindRolledBack, canary.KindAttention}
)

// tells says whether people are told of a message on this channel.
func (s *sender) tells(m Message) bool {
	kinds := s.channel.Kinds
	if len(kinds) == 0 {
		switch s.channel.Type {
		case typeWebhook, typeGrafana:
			kinds = forPrograms
		case typeAlertmanager:
			kinds = forAlerts
		default:
			kinds = forPeople
		}
	}
	return slices.Contains(kinds, m.Kind) && (m.Warning || s.channel.Severity != "warning")
}

func (s *sender) concerns(m Message) bool {
	_, follows := s.service.(follower)
	return follows || s.tells(m)
}

// add queues a message. When too many wait, the oldest goes: the newest says where the
// rollout is.
func (s *sender) add(m Message) {
	for {
		select {
		case s.queue <- m:
			return
		default:
		}
		select {
		case oldest := <-s.queue:
			s.drop(oldest, errors.New("too many messages wait"))
		default:
		}
	}
}

// run sends until end is closed, and then what waits.
func (s *sender) run(ctx context.Context, end <-chan struct{}) {
	for {
		select {
		case m := <-s.queue:
			s.deliver(ctx, m)
		case <-end:
			for {
				select {
				case m := <-s.queue:
					s.deliver(ctx, m)
				default:
					return
				}
			}
		}
	}
}

// deliver tries until the message is sent, is refused, or has become too old. Those
// behind it wait: what a service doesn't take now, it doesn't take of them either.
func (s *sender) deliver(ctx context.Context, m Message) {
	told := s.tells(m)
	for pause := firstRetry; ; pause = min(2*pause, lastRetry) {
		err := s.try(ctx, m, told)
		if err == nil {
			if told {
				s.meter.Notified(s.channel.Name, ResultSent)
			}
			return
		}
		// Half of the wait is by chance, so that many senders don't come at once.
		wait := pause/2 + rand.N(pause)/2
		var f failure
		if errors.As(err, &f) {
			wait = max(wait, f.after)
		}
		if f.final || time.Since(m.At)+wait > giveUp || ctx.Err() != nil {
			s.drop(m, err)
			return
		}
		s.meter.Notified(s.channel.Name, ResultRetried)
		s.log.Debug("A message is tried again", zap.Duration("in", wait), zap.Error(err))
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			s.drop(m, err)
			return
		}
	}
}

func (s *sender) try(ctx context.Context, m Message, told bool) error {
	ctx, cancel := context.WithTimeout(ctx, oneTry)
	defer cancel()
	key := m.thread()
	keep, err := s.service.send(ctx, m, s.kept[key], told)
	if keep == "" {
		delete(s.kept, key)
		return err
	}
	if _, known := s.kept[key]; !known && len(s.kept) >= manyRollouts {
		clear(s.kept)
	}
	s.kept[key] = keep
	return err
}

func (s *sender) drop(m Message, err error) {
	s.meter.Notified(s.channel.Name, ResultDropped)
	s.log.Warn("A message is not sent", zap.String("kind", string(m.Kind)), zap.String("namespace", m.View.Namespace),
		zap.String("service", m.View.Service), zap.String("rollout", m.View.Rollout), zap.Error(err))
}

// failure is why a message was not sent, where the service said more than that.
type failure struct {
	error
	final  bool          // trying again is of no use
	after  time.Duration // the service wants no other try before
	status int           // of the answer; 0: there was none
}

// Unwrap is for errors.Is.
func (f failure) Unwrap() error { return f.error }
