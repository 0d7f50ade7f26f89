package canary

import (
	"encoding/json"
	"math"
	"testing"
	"time"
)

func TestWhatJSONHasNoWordFor(t *testing.T) {
	for name, c := range map[string]struct {
		value any
		text  string
	}{
		"a 99th percentile that has no upper bound": {Bounds{250, math.Inf(1)}, "[250,null]"},
		"one that is known":                         {Bounds{250, 500}, "[250,500]"},
		"evidence beyond all bounds":                {Odds(math.Inf(1)), "1000000"},
		"evidence against beyond all bounds":        {Odds(math.Inf(-1)), "-1000000"},
		"evidence of nothing":                       {Odds(math.NaN()), "0"},
		"a duration is in seconds":                  {Span(1500 * time.Millisecond), "1.5"},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := json.Marshal(c.value)
			if err != nil || string(text) != c.text {
				t.Errorf("got %s (%v), want %s", text, err, c.text)
			}
		})
	}
	var b Bounds
	if err := json.Unmarshal([]byte("[250,null]"), &b); err != nil || b[0] != 250 || !math.IsInf(b[1], 1) {
		t.Errorf("[250,null] is read as %v (%v)", b, err)
	}
	var s Span
	if err := json.Unmarshal([]byte("0.25"), &s); err != nil || time.Duration(s) != 250*time.Millisecond {
		t.Errorf("0.25 is read as %v (%v)", s, err)
	}
}

func TestHowFarARolloutIs(t *testing.T) {
	path := []StepView{{Weight: 5}, {Weight: 25}, {Weight: 50}, {Weight: 100}}
	baked := func(covered Span) VerdictView { return VerdictView{Bake: 100, Covered: covered} }
	for name, c := range map[string]struct {
		view  View
		done  float64
		known bool
	}{
		"testers alone are on the canary":          {View{Phase: Testing, Steps: 4, Path: path}, 0, true},
		"a step that begins":                       {View{Phase: Progressing, Step: 2, Steps: 4, Path: path}, 0.25, true},
		"a step that is half baked":                {View{Phase: Progressing, Step: 2, Steps: 4, Path: path, Verdict: baked(50)}, 0.375, true},
		"a step that waits longer than it baked":   {View{Phase: Inconclusive, Step: 2, Steps: 4, Path: path, Verdict: baked(900)}, 0.5, true},
		"blocked in the middle":                    {View{Phase: Blocked, Step: 3, Steps: 4, Path: path}, 0.5, true},
		"blocked before it began":                  {View{Phase: Blocked, Steps: 4}, 0, false},
		"the last step":                            {View{Phase: Progressing, Step: 4, Steps: 4, Path: path, Verdict: baked(100)}, 1, true},
		"the Deployment is updated":                {View{Phase: Promoting, Step: 4, Steps: 4, Path: path}, 1, true},
		"it goes back, which is no way to the end": {View{Phase: RollingBack, Step: 2, Steps: 4, Path: path}, 0, false},
		"people move the weights":                  {View{Phase: Watched, Steps: 4, Path: path}, 0, false},
		"nothing is under way":                     {View{Phase: Idle, Steps: 4}, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			if done, known := c.view.Progress(); done != c.done || known != c.known {
				t.Errorf("got %v (%v), want %v (%v)", done, known, c.done, c.known)
			}
		})
	}
}
