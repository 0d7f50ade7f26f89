package controller

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/mode"
)

// tape keeps what was counted.
type tape struct {
	unmetered
	mu       sync.Mutex
	moves    []string
	snaps    []time.Duration
	requests int64
	bad      int64
	renewed  int
	writes   map[string]int
	told     int
}

func (t *tape) Moved(from, to canary.Phase, reason canary.Reason) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.moves = append(t.moves, string(from)+" "+string(to)+" "+string(reason))
}

func (t *tape) Snapped(took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.snaps = append(t.snaps, took)
}

func (t *tape) Served(requests, bad int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests, t.bad = t.requests+requests, t.bad+bad
}

func (t *tape) Renewed(error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.renewed++
}

func (t *tape) Told(error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.told++
}

func (t *tape) Wrote(verb mode.Verb, kind string, _ time.Duration, _ error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.writes == nil {
		t.writes = map[string]int{}
	}
	t.writes[string(verb)+" "+kind]++
}

func TestEachTransitionIsCountedOnceAndNotAgainByTheNextLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		seen := &tape{}
		w.meter = seen
		_, stop := w.run()
		w.deploy("web-v2", "v2", "two", opted)
		w.until(10*time.Minute, "at 25%", func() bool { return w.weight("web") == 25 })
		stop()
		c, stop := w.run()
		defer stop()
		w.until(30*time.Minute, "promoted", func() bool { return phase(c) == "Succeeded" })
		synctest.Wait()
		want := []string{
			"Testing Progressing StepStarted",
			"Progressing Progressing StepPassed", // to 25%
			"Progressing Progressing StepPassed", // to 100%
			"Progressing Succeeded Promoted",
		}
		if !slices.Equal(seen.moves, want) {
			t.Errorf("counted were %q, want %q", seen.moves, want)
		}
		if seen.writes["update VirtualService"] == 0 || seen.told == 0 {
			t.Errorf("counted were the writes %v and %d Events", seen.writes, seen.told)
		}
		if len(seen.snaps) != 0 {
			t.Errorf("a good release lost its users %d times", len(seen.snaps))
		}
	})
}

func TestHowLongItTakesToTakeAllUsersAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		seen := &tape{}
		w.meter = seen
		c, stop := w.run()
		defer stop()
		w.deploy("web-v2", "v2", "two", opted)
		w.until(10*time.Minute, "at 25%", func() bool { return w.weight("web") == 25 })
		w.mesh.setErrors(0.05)
		w.until(5*time.Minute, "rolled back", func() bool { return phase(c) == "RolledBack" })
		if len(seen.snaps) != 1 || seen.snaps[0] > time.Second {
			t.Errorf("measured were %v, want one within a second", seen.snaps)
		}
		if seen.bad == 0 || seen.bad > seen.requests {
			t.Errorf("of %d answers %d were bad", seen.requests, seen.bad)
		}
	})
}

func TestASnapThatIsRefusedForAWhileIsMeasuredToItsEnd(t *testing.T) {
	m := &tape{}
	synctest.Test(t, func(t *testing.T) {
		p := newProgress(m)
		k := shopWeb
		p.retreating(k, time.Now())
		pass(3 * time.Second) // the first pass wrote one route of two
		p.retreating(k, time.Now())
		pass(time.Second)
		p.settled(k)
		p.settled(k) // nothing is left to be measured
		if want := []time.Duration{4 * time.Second}; !slices.Equal(m.snaps, want) {
			t.Errorf("measured were %v, want %v", m.snaps, want)
		}
	})
}

func TestWhatIsReadAgainAfterAStartIsNotCountedAgain(t *testing.T) {
	m := &tape{}
	o := benchOptions{meter: m}
	b := newBench(o)
	start := time.Unix(1000, 0)
	b.began = start
	points := []canary.Point{
		{At: start.Add(-time.Minute), Canary: canary.SampleView{Requests: 100, Errors: 50}},
		{At: start.Add(time.Minute), Canary: canary.SampleView{Requests: 10, Errors: 1}},
		{At: start.Add(2 * time.Minute), Canary: canary.SampleView{Requests: 20, Errors: 2}},
	}
	b.count(points[:2], time.Time{})
	b.count(points, points[1].At)
	if m.requests != 30 || m.bad != 3 {
		t.Errorf("counted were %d answers, %d bad, want 30 and 3", m.requests, m.bad)
	}
}

func TestRenewalsOfTheLeaseAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		seen := &tape{}
		w.meter = seen
		c, end := w.runOver(w.api, testLease("first"))
		w.until(time.Minute, "it leads", c.Leading)
		pass(time.Minute)
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if seen.renewed < 20 {
			t.Errorf("%d renewals in a minute, of one each 2 s", seen.renewed)
		}
	})
}
