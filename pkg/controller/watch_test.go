package controller

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"serin.dev/serin/internal/apiserver"
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/judge"
)

// byHand gives the canary weight as a person with kubectl does.
func (w *world) byHand(weight float64) {
	w.api.Edit("VirtualService", "shop", "web", func(o map[string]any) {
		o["spec"].(map[string]any)["http"] = []any{map[string]any{"route": []any{
			map[string]any{"destination": map[string]any{"host": "web", "subset": "v1"}, "weight": 100 - weight},
			map[string]any{"destination": map[string]any{"host": "web", "subset": "v2"}, "weight": weight},
		}}}
		apiserver.Meta(o)["managedFields"] = []any{map[string]any{
			"manager": "kubectl-edit", "time": time.Now().UTC().Format(time.RFC3339),
			"fieldsV1": map[string]any{"f:spec": map[string]any{"f:http": map[string]any{}}},
		}}
	})
}

func (w *world) virtualServiceVersion() string {
	version, _ := apiserver.Meta(w.api.Read("VirtualService", "shop", "web"))["resourceVersion"].(string)
	return version
}

var watchOnly = map[string]any{"serin.dev/canary": "observe", "serin.dev/steps": "5%, 25%, 100%", "serin.dev/bake": "30s"}

func TestObserveModeJudgesWhatPeopleDoAndWritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c, stop := w.run()
		defer stop()
		w.deploy("web-v2", "v2", "two", watchOnly)
		w.until(time.Minute, "watched", func() bool { return phase(c) == string(canary.Watched) })

		pass(time.Minute)
		w.byHand(5)
		mine := w.virtualServiceVersion()
		w.until(5*time.Minute, "told that it would go on", func() bool { return slices.Contains(w.reasons(), string(canary.StepPassed)) })
		w.mesh.setErrors(1)
		w.until(time.Minute, "told that it would go back", func() bool { return slices.Contains(w.reasons(), string(canary.ErrorRateTooHigh)) })
		pass(10 * time.Minute)

		if now := w.virtualServiceVersion(); now != mine || w.weight("web") != 5 {
			t.Errorf("the VirtualService is at version %s with %d%%, want the user's %s with 5%%", now, w.weight("web"), mine)
		}
		if n := len(w.api.All("ControllerRevision")); n != 0 {
			t.Errorf("%d releases are kept in the history, want none", n)
		}
		for _, e := range w.api.All("Event") {
			if note, _ := e["note"].(string); !strings.HasPrefix(note, "If Serin led this release: ") {
				t.Errorf("it tells %q", note)
			}
		}
		if n := len(w.reasons()); n != 2 {
			t.Errorf("it tells %v, want two Events", w.reasons())
		}
		v := c.Views()[0]
		if v.Weight != 5 || v.Step != 1 || v.Verdict.Kind != string(judge.Rollback) {
			t.Errorf("shown are step %d, %d%%, verdict %s", v.Step, v.Weight, v.Verdict.Kind)
		}
	})
}

func TestObserveModeFindsItsWayAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c, stop := w.run()
		w.deploy("web-v2", "v2", "two", watchOnly)
		pass(time.Minute)
		w.byHand(25)
		judged := func() (v canary.View) {
			for _, v := range c.Views() {
				return v
			}
			return v
		}
		w.until(10*time.Minute, "promotable", func() bool { return judged().Verdict.Kind == string(judge.Promote) })
		covered := judged().Verdict.Covered
		stop()
		c, stop = w.run()
		defer stop()
		w.until(time.Minute, "judged again", func() bool { return judged().Verdict.Kind == string(judge.Promote) })
		if again := judged().Verdict.Covered; again < covered {
			t.Errorf("after the restart %s are covered, before %s", again, covered)
		}
	})
}
