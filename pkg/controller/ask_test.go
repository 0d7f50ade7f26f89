package controller

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"serin.dev/serin/pkg/ask"
	"serin.dev/serin/pkg/canary"
)

// outside answers what is asked, and keeps who asked about what.
type outside struct {
	mu    sync.Mutex
	says  map[canary.QuestionKind]canary.Answer
	asked []string
	about canary.Subject // of the last question
}

func (o *outside) askers(kinds ...canary.QuestionKind) map[canary.QuestionKind]ask.Asker {
	all := map[canary.QuestionKind]ask.Asker{}
	for _, kind := range kinds {
		all[kind] = func(_ context.Context, q canary.Question, s canary.Subject) canary.Answer {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.asked, o.about = append(o.asked, fmt.Sprint(q.Kind, " ", q.Name, "@", q.Stage, " ", q.Step)), s
			a, known := o.says[q.Kind]
			if !known {
				return canary.Answer{Unreached: true, Sentence: "nobody is there"}
			}
			return a
		}
	}
	return all
}

func (o *outside) say(kind canary.QuestionKind, a canary.Answer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.says == nil {
		o.says = map[canary.QuestionKind]canary.Answer{}
	}
	o.says[kind] = a
}

func (o *outside) were() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Compact(slices.Clone(o.asked))
}

func with(notes map[string]any, more map[string]any) map[string]any {
	out := maps.Clone(notes)
	maps.Copy(out, more)
	return out
}

func TestAReleaseWaitsForWhatIsAskedOutsideAndGoesOnAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, others := newWorld(t), &outside{}
		w.askers = others.askers(canary.AskGate)
		c, stop := w.run()
		w.deploy("web-v2", "v2", "two", with(opted, map[string]any{"serin.dev/gates": "scan@before-start+before-promotion"}))
		w.until(time.Minute, "it waits for the gate", func() bool { return slices.Equal(w.seen(c), []canary.Reason{canary.GateUnreached}) })
		if w.weight("web") != 0 || len(w.reasons()) != 1 {
			t.Errorf("it has %d%%, told was %v", w.weight("web"), w.reasons())
		}
		others.say(canary.AskGate, canary.Answer{Said: canary.Allow})
		w.until(10*time.Minute, "promoted", func() bool { return phase(c) == "Succeeded" })
		stop()
		if got := others.were(); !slices.Equal(got, []string{"gate scan@before-start 0", "gate scan@before-promotion 3"}) {
			t.Errorf("asked were %q", got)
		}
		if s := others.about; s.Service != "web" || s.Canary.Deployment != "web-v2" || s.Step != 2 || s.Next != 100 || s.Rollout == "" {
			t.Errorf("it was told of %+v", s)
		}
	})
}

func TestARollbackWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, others := newWorld(t), &outside{}
		w.askers = others.askers(canary.AskGate, canary.AskEndpoints)
		others.say(canary.AskEndpoints, canary.Answer{Said: canary.Allow})
		c, stop := w.run()
		w.deploy("web-v2", "v2", "two", with(opted, map[string]any{"serin.dev/gates": "data@before-promotion+before-rollback+after-rollback"}))
		w.until(10*time.Minute, "it waits at 25%", func() bool {
			return w.weight("web") == 25 && slices.Equal(w.seen(c), []canary.Reason{canary.GateUnreached})
		})
		w.mesh.setErrors(1)
		w.until(time.Minute, "at stable", func() bool { return w.weight("web") == 0 })
		others.say(canary.AskGate, canary.Answer{Said: canary.Allow})
		w.until(10*time.Minute, "rolled back", func() bool { return phase(c) == "RolledBack" })
		stop()
		if told := w.reasons(); !slices.Contains(told, string(canary.RollbackVerified)) {
			t.Errorf("told were %v", told)
		}
	})
}

func TestAtRestNobodyIsAskedAnythingOnceNoTrafficIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, others := newWorld(t), &outside{}
		w.askers = others.askers(canary.AskResidual)
		others.say(canary.AskResidual, canary.Answer{Said: canary.Wait, Rate: 2})
		c, stop := w.run()
		w.deploy("web-v2", "v2", "two", opted)
		w.until(10*time.Minute, "what is left is told", func() bool { return slices.Contains(w.reasons(), string(canary.ResidualTraffic)) })
		others.say(canary.AskResidual, canary.Answer{Said: canary.Allow})
		w.until(time.Minute, "it is gone", func() bool { return slices.Contains(w.reasons(), string(canary.TrafficGone)) })
		before := len(others.asked)
		pass(6 * time.Hour)
		if v := c.Views()[0]; v.Removable != "web-v1" || len(others.asked) != before {
			t.Errorf("removable is %q, and it was asked %d times more", v.Removable, len(others.asked)-before)
		}
		stop()
	})
}

func TestWhoDeniedABeginningIsAskedAgainAboutItAndNotAboutTheReleaseBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, others := newWorld(t), &outside{}
		w.askers = others.askers(canary.AskGate)
		others.say(canary.AskGate, canary.Answer{Said: canary.Allow})
		c, stop := w.run()
		gates := with(opted, map[string]any{"serin.dev/gates": "scan@before-start"})
		w.deploy("web-v2", "v2", "two", gates)
		w.until(10*time.Minute, "it has users", func() bool { return w.weight("web") > 0 })
		w.mesh.setErrors(1)
		w.until(10*time.Minute, "rolled back", func() bool { return phase(c) == "RolledBack" })
		w.mesh.setErrors(0)
		others.say(canary.AskGate, canary.Answer{Said: canary.Deny, Sentence: "no"})
		w.deploy("web-v2", "v2", "three", gates)
		w.until(time.Minute, "denied", func() bool { return phase(c) == "Blocked" })
		before := len(others.were())
		pass(3 * time.Minute)
		stop()
		others.mu.Lock()
		defer others.mu.Unlock()
		if s := others.about; len(others.asked) <= before || s.Rollout != "" || !s.Started.IsZero() || s.Step != 0 || s.Next != 5 {
			t.Errorf("asked %d times, at last about %+v", len(others.asked), s)
		}
	})
}

// seen are the reasons that people are shown.
func (w *world) seen(c *Controller) (all []canary.Reason) {
	for _, v := range c.Views() {
		all = append(all, v.Reason)
	}
	return all
}
