package notify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	_ "serin.dev/serin/internal/bubble"
	"serin.dev/serin/pkg/canary"
)

// pass lets virtual time pass, until all that is due by then is done; it takes none.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // in a bubble of testing/synctest nobody waits
	synctest.Wait()
}

// scripted is a service that does what it is told to.
type scripted struct {
	mu   sync.Mutex
	got  []string      // what was sent, with when since the bubble began
	took time.Duration // each try
	fail func(n int) error
	n    int
	last time.Time
}

var began = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func (s *scripted) send(ctx context.Context, m Message, _ string, _ bool) (string, error) {
	s.mu.Lock()
	s.n++
	n := s.n
	s.last = time.Now()
	s.mu.Unlock()
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case <-time.After(s.took):
	}
	if s.fail != nil {
		if err := s.fail(n); err != nil {
			return "", err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, m.Event.Sentence)
	return "", nil
}

func (s *scripted) sent() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

func (s *scripted) tried() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

type tally struct {
	mu sync.Mutex
	of map[string]int
}

func (c *tally) Notified(channel, result string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.of[channel+" "+result]++
}

// play makes a notifier over services by the names of their channels, which are told
// of everything, in a bubble of time.
func play(t *testing.T, services map[string]service, f func(n *Notifier, stop func(), count *tally, logs *observer.ObservedLogs)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		seen, logs := observer.New(zap.InfoLevel)
		count := &tally{of: map[string]int{}}
		n, err := New(Options{Log: zap.New(seen), Meter: count})
		if err != nil {
			t.Fatal(err)
		}
		for name, s := range services {
			n.senders[name] = newSender(Channel{Name: name, Kinds: canary.Kinds()}, s, zap.New(seen), count)
		}
		stop := sync.OnceFunc(n.Start(t.Context()))
		defer stop()
		f(n, stop, count, logs)
	})
}

// step tells of a step of a rollout.
func step(n *Notifier, rollout, sentence string, channels ...string) {
	v := view()
	v.Rollout, v.Notify, v.Sentence = rollout, channels, sentence
	n.Told(v, canary.Event{Reason: canary.StepPassed, Sentence: sentence})
}

func TestMessagesComeInTheirOrderAlsoWhenSomeFail(t *testing.T) {
	s := &scripted{fail: func(n int) error {
		if n < 5 {
			return errors.New("away")
		}
		return nil
	}}
	play(t, map[string]service{"a": s}, func(n *Notifier, _ func(), count *tally, _ *observer.ObservedLogs) {
		for i := range 5 {
			step(n, "one", fmt.Sprint(i), "a")
		}
		pass(time.Minute)
		if got := s.sent(); !slices.Equal(got, []string{"0", "1", "2", "3", "4"}) {
			t.Errorf("sent were %v", got)
		}
		if count.of["a sent"] != 5 || count.of["a retried"] != 4 {
			t.Errorf("counted was %v", count.of)
		}
	})
}

func TestAMessageIsDroppedAfterTenMinutesAndSaysSo(t *testing.T) {
	s := &scripted{fail: func(int) error { return errors.New("away") }}
	play(t, map[string]service{"a": s}, func(n *Notifier, _ func(), count *tally, logs *observer.ObservedLogs) {
		step(n, "one", "0", "a")
		pass(giveUp + time.Minute)
		if s.n < 10 || s.n > 25 || s.last.Sub(began) > giveUp || s.last.Sub(began) < giveUp-lastRetry {
			t.Errorf("it was tried %d times, at last after %s", s.n, s.last.Sub(began))
		}
		if count.of["a dropped"] != 1 || count.of["a sent"] != 0 || logs.FilterMessage("A message is not sent").Len() != 1 {
			t.Errorf("counted was %v, logged %v", count.of, logs.All())
		}
	})
}

func TestWhatIsRefusedForGoodIsNotTriedAgain(t *testing.T) {
	s := &scripted{fail: func(n int) error {
		if n == 1 {
			return failure{error: errors.New("no such chat"), final: true}
		}
		return nil
	}}
	play(t, map[string]service{"a": s}, func(n *Notifier, _ func(), count *tally, _ *observer.ObservedLogs) {
		step(n, "one", "0", "a")
		step(n, "one", "1", "a")
		synctest.Wait()
		if got := s.sent(); !slices.Equal(got, []string{"1"}) || count.of["a dropped"] != 1 {
			t.Errorf("sent were %v, counted %v", got, count.of)
		}
	})
}

func TestAServiceIsLeftAloneForAsLongAsItSays(t *testing.T) {
	s := &scripted{fail: func(n int) error {
		if n == 1 {
			return failure{error: errors.New("busy"), after: 5 * time.Minute}
		}
		return nil
	}}
	play(t, map[string]service{"a": s}, func(n *Notifier, _ func(), _ *tally, _ *observer.ObservedLogs) {
		step(n, "one", "0", "a")
		pass(5*time.Minute - time.Second)
		if n := s.tried(); n != 1 {
			t.Errorf("it was tried %d times before", n)
		}
		pass(2 * time.Second)
		if got := s.sent(); len(got) != 1 {
			t.Errorf("sent were %v", got)
		}
	})
}

func TestAChannelThatHangsDelaysNoOtherAndNobodyWhoTells(t *testing.T) {
	hangs, works := &scripted{took: time.Hour}, &scripted{}
	play(t, map[string]service{"hangs": hangs, "works": works}, func(n *Notifier, _ func(), count *tally, _ *observer.ObservedLogs) {
		for i := range 500 {
			step(n, fmt.Sprint(i), "", "hangs", "works")
			synctest.Wait()
		}
		if time.Since(began) != 0 {
			t.Errorf("telling took %s", time.Since(began))
		}
		if got := works.sent(); len(got) != 500 {
			t.Errorf("by the other channel came %d", len(got))
		}
		if got := count.of["hangs dropped"]; got != 500-waiting-1 {
			t.Errorf("%d were dropped of 500, while %d may wait and one is on its way", got, waiting)
		}
	})
}

func TestWhatWaitsIsSentOnACleanStopForAMoment(t *testing.T) {
	slow, dead := &scripted{took: time.Second}, &scripted{took: time.Hour}
	play(t, map[string]service{"slow": slow, "dead": dead}, func(n *Notifier, stop func(), count *tally, _ *observer.ObservedLogs) {
		for i := range 10 {
			step(n, "one", fmt.Sprint(i), "slow", "dead")
		}
		stop()
		if took := time.Since(began); took != lastWords {
			t.Errorf("the stop took %s", took)
		}
		if got := len(slow.sent()); got < 2 || got > 3 || count.of["dead dropped"] != 10 {
			t.Errorf("sent were %d, counted %v", got, count.of)
		}
	})
}

func TestWhatHoldsARolloutIsToldOnceAnHourUnlessItMoves(t *testing.T) {
	s := &scripted{}
	play(t, map[string]service{"a": s}, func(n *Notifier, _ func(), _ *tally, _ *observer.ObservedLogs) {
		v := view()
		v.Notify, v.Reason = []string{"a", "a", "unknown"}, canary.NoData
		held := canary.Event{Reason: canary.NoData, Sentence: "no data", Warning: true}
		count := func(want int, when string) {
			t.Helper()
			synctest.Wait()
			if got := len(s.sent()); got != want {
				t.Errorf("%s: %d messages, want %d", when, got, want)
			}
		}
		n.Told(v, held)
		n.Told(v, held)
		count(1, "at first")
		pass(59 * time.Minute)
		n.Told(v, held)
		count(1, "within an hour")
		pass(time.Minute)
		n.Told(v, held)
		count(2, "after an hour")
		step(n, v.Rollout, "on", "a")
		n.Told(v, held)
		count(4, "after a step")
	})
}

func TestWhoWasToldOfARolloutIsToldHowItEnds(t *testing.T) {
	team, ops := &scripted{}, &scripted{}
	play(t, map[string]service{"team": team, "ops": ops}, func(n *Notifier, _ func(), _ *tally, _ *observer.ObservedLogs) {
		tell := func(kind canary.Kind, channels ...string) {
			v, e := happening(kind)
			v.Notify, e.Sentence = channels, string(kind)
			n.Told(v, e)
			synctest.Wait()
		}
		tell(canary.KindStep, "team")
		tell(canary.KindPaused, "ops") // the annotation was changed
		tell(canary.KindStep, "team")
		tell(canary.KindRollingBack, "ops") // the Deployment is gone, and its annotations
		tell(canary.KindRolledBack)
		if got := team.sent(); !slices.Equal(got, []string{"step", "step", "rolling-back", "rolled-back"}) {
			t.Errorf("the team is told %v", got)
		}
		if got := ops.sent(); !slices.Equal(got, []string{"paused", "rolling-back", "rolled-back"}) {
			t.Errorf("the operators are told %v", got)
		}
	})
}

func TestWhoIsToldOfWhat(t *testing.T) {
	for name, c := range map[string]struct {
		ch   Channel
		kind canary.Kind
		want bool
	}{
		"people are told of a rollback":           {Channel{Type: typeSlack}, canary.KindRolledBack, true},
		"people aren't told of each step":         {Channel{Type: typeSlack}, canary.KindStep, false},
		"programs are told of everything":         {Channel{Type: typeWebhook}, canary.KindStep, true},
		"a promotion is no alert":                 {Channel{Type: typeAlertmanager}, canary.KindPromoted, false},
		"who asked for steps alone is told those": {Channel{Type: typeSlack, Kinds: []canary.Kind{canary.KindStep}}, canary.KindStep, true},
		"and of nothing else":                     {Channel{Type: typeSlack, Kinds: []canary.Kind{canary.KindStep}}, canary.KindRolledBack, false},
		"warnings alone: of no promotion":         {Channel{Type: typeSlack, Severity: "warning"}, canary.KindPromoted, false},
		"warnings alone: of a rollback":           {Channel{Type: typeSlack, Severity: "warning"}, canary.KindRolledBack, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := newSender(c.ch, nil, nil, nil).tells(messageOf(c.kind)); got != c.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

func TestWhatAnAnswerMeans(t *testing.T) {
	now := time.Date(2026, 3, 1, 14, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		code  int
		after string
		final bool
		wait  time.Duration
	}{
		"too many, for a minute":      {429, "60", false, time.Minute},
		"too many, for a day":         {429, "86400", false, giveUp},
		"too many, until a time":      {429, now.Add(90 * time.Second).Format(http.TimeFormat), false, 90 * time.Second},
		"too many, until a time past": {429, now.Add(-time.Hour).Format(http.TimeFormat), false, 0},
		"too many, nobody knows":      {429, "soon", false, 0},
		"broken":                      {502, "", false, 0},
		"a redirect":                  {307, "", true, 0},
		"not found":                   {404, "", true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			h := http.Header{"Retry-After": {c.after}}
			var f failure
			if !errors.As(judged(&http.Response{StatusCode: c.code, Header: h}, nil), &f) || f.final != c.final {
				t.Errorf("got %+v", f)
			}
			if got := retryAfter(h, now); got != c.wait {
				t.Errorf("it waits %s, want %s", got, c.wait)
			}
		})
	}
}
