package ask

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	_ "serin.dev/serin/internal/bubble"
	"serin.dev/serin/pkg/canary"
)

// desk is a desk that runs, and what happened at it.
type desk struct {
	*Desk[string]
	mu    sync.Mutex
	asked []string // who asked what, and when since the start
	woken []string
	begun time.Time
}

// run makes a desk whose questions of each kind are answered by say, until the test ends.
func run(t *testing.T, say func(q canary.Question, n int) canary.Answer) *desk {
	t.Helper()
	d := &desk{begun: time.Now()}
	count := map[canary.Question]int{}
	asker := func(_ context.Context, q canary.Question, s canary.Subject) canary.Answer {
		d.mu.Lock()
		count[q]++
		n := count[q]
		d.asked = append(d.asked, fmt.Sprintf("%s %s/%s at %s", q.Kind, s.Service, q.Name, time.Since(d.begun)))
		d.mu.Unlock()
		return say(q, n)
	}
	d.Desk = New(Options[string]{
		Askers: map[canary.QuestionKind]Asker{canary.AskGate: asker, canary.AskSmoke: asker, canary.AskResidual: asker},
		Wake: func(k string) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.woken = append(d.woken, fmt.Sprintf("%s at %s", k, time.Since(d.begun)))
		},
	})
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { d.Run(ctx) })
	t.Cleanup(func() { stop(); wg.Wait() })
	return d
}

// pass lets time go by.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // in a bubble of testing/synctest nobody waits
}

func (d *desk) put(service string, questions ...canary.Question) {
	d.Put(service, questions, canary.Subject{Service: service}, time.Now())
}

func (d *desk) happened(t *testing.T, what string, got *[]string, want ...string) {
	t.Helper()
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Equal(*got, want) {
		t.Errorf("%s: %q, want %q", what, *got, want)
	}
	*got = nil
}

func gate(name string) canary.Question {
	return canary.Question{Kind: canary.AskGate, Name: name, Stage: canary.BeforeStep, Rollout: "r", Step: 1}
}

func TestAnAnswerWakesItsServiceAndOnlyNewsDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := run(t, func(_ canary.Question, n int) canary.Answer {
			if n < 3 {
				return canary.Answer{Said: canary.Wait, Sentence: "Not now"}
			}
			return canary.Answer{Said: canary.Allow}
		})
		d.put("web", gate("hours"))
		d.happened(t, "asked", &d.asked, "gate web/hours at 0s")
		d.happened(t, "woken", &d.woken, "web at 0s")
		pass(often)
		d.happened(t, "asked again", &d.asked, "gate web/hours at 10s")
		d.happened(t, "the same answer wakes nobody", &d.woken)
		pass(often)
		d.happened(t, "asked a third time", &d.asked, "gate web/hours at 20s")
		d.happened(t, "another answer wakes", &d.woken, "web at 20s")
		if got := d.Answers("web")[gate("hours")]; got.Said != canary.Allow || !got.At.Equal(time.Now()) {
			t.Errorf("the answer is %+v", got)
		}
	})
}

func TestWhatIsNotWantedAnyLongerIsNotAskedAndComesBackWithItsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := run(t, func(canary.Question, int) canary.Answer { return canary.Answer{Said: canary.Allow} })
		d.put("web", gate("hours"))
		d.happened(t, "asked", &d.asked, "gate web/hours at 0s")
		d.put("web")
		pass(seldom)
		d.happened(t, "nobody wants it", &d.asked)
		d.put("web", gate("hours"))
		if len(d.Answers("web")) != 1 {
			t.Error("the answer is gone within a minute")
		}
		d.put("web")
		pass(kept + time.Second)
		d.put("web")
		if got := d.Answers("web"); got != nil {
			t.Errorf("kept for ever: %v", got)
		}
	})
}

func TestWhoDoesNotAnswerIsAskedLessAndLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := run(t, func(canary.Question, int) canary.Answer {
			return canary.Answer{Said: canary.Allow, Unreached: true, Sentence: "refused"}
		})
		d.put("web", gate("scan"))
		pass(2 * time.Minute)
		d.happened(t, "asked", &d.asked, "gate web/scan at 0s", "gate web/scan at 2s", "gate web/scan at 6s", "gate web/scan at 14s", "gate web/scan at 30s", "gate web/scan at 1m2s")
		if got := d.Answers("web")[gate("scan")]; got.Said != canary.Wait {
			t.Errorf("who did not answer said %q", got.Said)
		}
	})
}

func TestWhoSaysWhenIsAskedThen(t *testing.T) {
	for wants, want := range map[time.Duration]string{
		0: "10s", 20 * time.Second: "20s", time.Millisecond: "3s", time.Hour: "1m0s",
	} {
		synctest.Test(t, func(t *testing.T) {
			d := run(t, func(_ canary.Question, n int) canary.Answer {
				if n > 1 {
					return canary.Answer{Said: canary.Allow}
				}
				return canary.Answer{Said: canary.Wait, RetryAfter: wants}
			})
			d.put("web", gate("board"))
			pass(time.Minute + time.Second)
			d.mu.Lock()
			defer d.mu.Unlock()
			if len(d.asked) < 2 || d.asked[1] != "gate web/board at "+want {
				t.Errorf("who wants %s is asked as %q", wants, d.asked)
			}
		})
	}
}

func TestWhatIsFinalIsNotAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := run(t, func(_ canary.Question, n int) canary.Answer {
			if n == 1 {
				return canary.Answer{Said: canary.Wait, Rate: 3}
			}
			return canary.Answer{Said: canary.Allow}
		})
		q := canary.Question{Kind: canary.AskResidual, Name: "web-v2", Stage: canary.AfterRelease, Rollout: "r"}
		d.put("web", q)
		pass(time.Hour)
		d.happened(t, "asked", &d.asked, "residual web/web-v2 at 0s", "residual web/web-v2 at 10s")
		d.Hurry(canary.AskResidual)
		d.happened(t, "asked by who hurries", &d.asked)
	})
}

func TestAHintAsksAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := run(t, func(canary.Question, int) canary.Answer { return canary.Answer{Said: canary.Wait} })
		d.put("web", gate("hours"))
		pass(time.Second)
		d.Hurry(canary.AskGate)
		d.happened(t, "asked", &d.asked, "gate web/hours at 0s", "gate web/hours at 1s")
	})
}

func TestWhoHangsHoldsUpNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		d := run(t, func(q canary.Question, _ int) canary.Answer {
			if q.Name == "hangs" {
				<-release
			}
			return canary.Answer{Said: canary.Allow}
		})
		for i := range 3 * atOnceOfOne {
			d.put(fmt.Sprint("web", i), gate("hangs"))
		}
		synctest.Wait()
		d.mu.Lock()
		if len(d.asked) != atOnceOfOne {
			t.Errorf("%d are out to one gate, at most %d may be", len(d.asked), atOnceOfOne)
		}
		d.asked = nil
		d.mu.Unlock()
		d.put("api", gate("hours"))
		d.happened(t, "the others are asked", &d.asked, "gate api/hours at 0s")
		close(release)
		synctest.Wait()
		d.mu.Lock()
		defer d.mu.Unlock()
		if len(d.asked) != 2*atOnceOfOne {
			t.Errorf("%d of %d that waited were asked", len(d.asked), 2*atOnceOfOne)
		}
	})
}

func TestWhatMustNotBeIsNobodysAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		question canary.Question
		say      func() canary.Answer
	}{
		"an answer that is none":  {gate("odd"), func() canary.Answer { return canary.Answer{Said: "perhaps"} }},
		"a fault of the asker":    {gate("odd"), func() canary.Answer { panic("broken") }},
		"a kind nobody answers":   {canary.Question{Kind: canary.AskImages}, func() canary.Answer { return canary.Answer{Said: canary.Allow} }},
		"not reached, but denied": {gate("odd"), func() canary.Answer { return canary.Answer{Said: canary.Deny, Unreached: true} }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := run(t, func(canary.Question, int) canary.Answer { return c.say() })
				d.put("web", c.question)
				synctest.Wait()
				if got := d.Answers("web")[c.question]; got.Said != canary.Wait || !got.Unreached {
					t.Errorf("it is %+v", got)
				}
			})
		})
	}
}

func TestWhatIsWantedAgainIsAskedAtOnceWhereItIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := run(t, func(canary.Question, int) canary.Answer { return canary.Answer{Said: canary.Allow} })
		d.put("web", gate("hours"))
		pass(seldom - time.Second)
		d.put("web")
		pass(10 * time.Second)
		d.happened(t, "asked", &d.asked, "gate web/hours at 0s")
		d.put("web", gate("hours"))
		d.happened(t, "asked again", &d.asked, "gate web/hours at 1m9s")
	})
}

func TestAnAnswerOfWhatIsAskedForAllTheTimeIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := run(t, func(canary.Question, int) canary.Answer { return canary.Answer{Said: canary.Allow} })
		q := canary.Question{Kind: canary.AskResidual, Name: "web-v2", Stage: canary.AfterRelease, Rollout: "r"}
		d.put("web", q)
		pass(kept + time.Second)
		d.put("web", q)
		d.happened(t, "asked", &d.asked, "residual web/web-v2 at 0s")
		if len(d.Answers("web")) != 1 {
			t.Error("the answer is gone though it is wanted")
		}
	})
}

func TestWhatWasAskedBeforeAServiceWasForgottenIsNoAnswerAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		d := run(t, func(_ canary.Question, n int) canary.Answer {
			if n == 1 {
				<-release
				return canary.Answer{Said: canary.Allow, Sentence: "of the Service before"}
			}
			pass(time.Second)
			return canary.Answer{Said: canary.Deny, Sentence: "of this one"}
		})
		d.put("web", gate("scan"))
		synctest.Wait()
		d.Forget("web")
		d.put("web", gate("scan"))
		synctest.Wait()
		close(release)
		synctest.Wait()
		if got := d.Answers("web"); got != nil {
			t.Errorf("answered by what was asked before: %v", got)
		}
		pass(2 * time.Second)
		if got := d.Answers("web")[gate("scan")]; got.Said != canary.Deny {
			t.Errorf("it is %+v", got)
		}
	})
}
