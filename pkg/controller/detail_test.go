package controller

import (
	"encoding/json"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"serin.dev/serin/pkg/canary"
)

func TestWhatIsShownOfARollout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c, stop := w.run()
		defer stop()
		if _, known := c.Detail("shop", "nothing"); known {
			t.Error("there is a detail of a Service nobody opted in")
		}
		w.deploy("web-v2", "v2", "two", opted)
		w.until(10*time.Minute, "at 25%", func() bool { return w.weight("web") == 25 })
		pass(20 * time.Second)
		d, known := c.Detail("shop", "web")
		if !known {
			t.Fatal("nothing is shown")
		}
		v := d.View
		if len(v.Path) != v.Steps || v.Path[v.Step-1].Weight != 25 || v.Limits.ErrorRate == 0 || v.Header != "x-app-version: canary" {
			t.Errorf("the step %d of %v, the limits %+v or the header %q are not those of the release", v.Step, v.Path, v.Limits, v.Header)
		}
		if want := []canary.ShareView{{VirtualService: "web", Least: 25, Most: 25}}; !slices.Equal(v.Shares, want) {
			t.Errorf("the shares found are %v, want %v", v.Shares, want)
		}
		if v.Next.At.Before(time.Now()) || !v.Next.Deadline.After(v.Next.At) || v.Next.Sentence == "" {
			t.Errorf("next comes %+v", v.Next)
		}
		weights := map[int]int{}
		for i, p := range d.Points {
			if i > 0 && !p.At.After(d.Points[i-1].At) {
				t.Errorf("the point of %s comes after that of %s", p.At, d.Points[i-1].At)
			}
			if p.Stable.Requests == 0 || p.Canary.Requests == 0 || !p.Canary.P99.Known() {
				t.Errorf("the point %+v has no measure", p)
			}
			weights[p.Weight]++
		}
		if weights[5] == 0 || weights[25] == 0 {
			t.Errorf("there are points of the weights %v, want of 5 and 25", weights)
		}
		var told []canary.Reason
		for _, e := range d.Timeline {
			told = append(told, e.Reason)
		}
		if want := []canary.Reason{canary.ReleaseStarted, canary.StepStarted, canary.StepPassed}; !slices.Equal(told, want) {
			t.Errorf("told were %v, want %v", told, want)
		}
		readable(t, d)

		w.until(30*time.Minute, "promoted", func() bool { return phase(c) == "Succeeded" })
		d, _ = c.Detail("shop", "web")
		if len(d.History) != 1 || d.History[0].Outcome != canary.Succeeded || d.History[0].Rollout != v.Rollout {
			t.Errorf("the history is %+v, want the release that was promoted", d.History)
		}
		if last := d.Timeline[len(d.Timeline)-1]; last.Reason != canary.Promoted {
			t.Errorf("the timeline ends with %v", last)
		}
	})
}

// readable checks that programs read from JSON what was written.
func readable(t *testing.T, d canary.Detail) {
	t.Helper()
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var read canary.Detail
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(read)
	if err != nil || string(again) != string(text) {
		t.Errorf("JSON is read as something else (%v):\n%s\n%s", err, text, again)
	}
}
