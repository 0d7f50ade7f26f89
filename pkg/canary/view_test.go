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
