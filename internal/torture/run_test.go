package torture

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Case is one run: a scenario, the faults in it, and a seed for what is left to
// chance.
type Case struct {
	Scenario string
	Faults   []injection
	Seed     uint64
}

// String is the case as -replay takes it.
func (c Case) String() string {
	var b strings.Builder
	b.WriteString(c.Scenario)
	for i, f := range c.Faults {
		b.WriteString([]string{"/", "+"}[min(i, 1)])
		fmt.Fprintf(&b, "%d/%s", f.at, f.fault.name)
	}
	if c.Seed != 0 {
		fmt.Fprintf(&b, "#%d", c.Seed)
	}
	return b.String()
}

// parseCase reads what String wrote.
func parseCase(text string) (Case, error) {
	rest, seed, seeded := strings.Cut(text, "#")
	c := Case{}
	var err error
	if seeded {
		if c.Seed, err = strconv.ParseUint(seed, 10, 64); err != nil {
			return c, fmt.Errorf("read case %q: the seed: %w", text, err)
		}
	}
	var injections string
	c.Scenario, injections, _ = strings.Cut(rest, "/")
	if scenarioOf(c.Scenario) == nil {
		return c, fmt.Errorf("read case %q: there is no scenario %q", text, c.Scenario)
	}
	if injections == "" {
		return c, nil
	}
	for one := range strings.SplitSeq(injections, "+") {
		at, name, _ := strings.Cut(one, "/")
		n, err := strconv.Atoi(at)
		f := faultOf(name)
		if err != nil || f == nil {
			return c, fmt.Errorf("read case %q: %q is no write and fault, as in 7/crash-after", text, one)
		}
		c.Faults = append(c.Faults, injection{n, f})
	}
	return c, nil
}

// record is what a run came to.
type record struct {
	Tried  int // writes, with those that were refused
	Writes int // that were done
	Took   time.Duration
	End    string // what users find
	Rested time.Duration
	Wrong  []string
	Loose  bool
}

// run plays a case in a bubble. clean is the same scenario's undisturbed run; the
// zero one is not compared with.
func run(t *testing.T, c Case, clean record) (r record) {
	defer func() {
		if fault := recover(); fault != nil {
			r.Wrong = append(r.Wrong, fmt.Sprintf("the bubble broke: %v", fault))
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, scenarioOf(c.Scenario), c, clean)
		r = w.run(clean)
	})
	return r
}

// run plays the world's scenario to its end, and an idle hour after it.
func (w *world) run(clean record) record {
	began := time.Now()
	ctx, stop := context.WithCancel(w.ctx)
	var replicas sync.WaitGroup
	w.script(func() {
		w.build()
		replicas.Go(func() { w.serve(ctx, "a", w.s.replicas > 1) })
		if w.s.replicas > 1 {
			pass(5 * time.Second)
			replicas.Go(func() { w.serve(ctx, "b", true) })
		}
		pass(20 * time.Second)
		w.script(func() { w.s.play(w) })
		if w.failed() {
			panic(gaveUp{})
		}
		w.settle()
	})
	took := time.Since(began)
	w.script(w.idle)
	w.judge(clean, took)
	stop()
	replicas.Wait()
	r := record{Tried: w.tried, Took: took, End: w.watch.snapshot(), Wrong: w.wrongs, Loose: w.loose}
	w.watch.tell(func(o *observer) { r.Writes = o.writes })
	return r
}

// script does something that ends where a check fails.
func (w *world) script(f func()) {
	if w.failed() {
		return
	}
	defer func() {
		if fault := recover(); fault != nil {
			if _, ours := fault.(gaveUp); !ours {
				panic(fault)
			}
		}
	}()
	f()
}

// settle waits until all faults are over, and nobody has written for a minute.
func (w *world) settle() {
	quiet := 0
	last := -1
	w.until(15*time.Minute, "a minute without a write", func() bool {
		now := 0
		w.watch.tell(func(o *observer) { now = o.writes })
		w.mu.Lock()
		disturbed := w.down+w.away+w.under > 0
		w.mu.Unlock()
		if quiet++; now != last || disturbed {
			quiet, last = 0, now
		}
		return quiet >= 60
	})
}

// idle is an hour in which nothing may be written.
func (w *world) idle() {
	before, after := 0, 0
	w.watch.tell(func(o *observer) { before = o.writes })
	hour := time.Hour
	if w.s.replicas > 1 {
		hour = 5 * time.Minute // the lease alone is written every two seconds
	}
	pass(hour)
	synctest.Wait()
	w.watch.tell(func(o *observer) { after = o.writes })
	if after != before {
		w.wrong("%d writes in an idle hour", after-before)
	}
	if w.failed() {
		panic(gaveUp{})
	}
}

// spare is how many more writes a run has by chance: a resting state that is
// written again because two passes ended it.
const spare = 2

// backWithin is how long users may be on a version that fails, undisturbed.
const backWithin = 30 * time.Second

// judge compares the run with the undisturbed one.
func (w *world) judge(clean record, took time.Duration) {
	if w.failed() || clean.End == "" {
		return
	}
	if end := w.watch.snapshot(); end != clean.End && !w.loose {
		w.wrong("the end is\n%s\nand without a fault\n%s", end, clean.End)
	}
	writes := 0
	w.watch.tell(func(o *observer) { writes = o.writes })
	if writes > clean.Writes+w.allowed+spare {
		w.wrong("%d writes, without a fault %d, and it allows %d more", writes, clean.Writes, w.allowed)
	}
	bad := time.Duration(0)
	w.watch.tell(func(o *observer) { bad = o.badLong })
	if bad > backWithin+w.extra {
		w.wrong("users were on a version that fails for %s", bad)
	}
	if took > clean.Took+w.extra+2*scrape && !w.loose {
		w.wrong("it took %s, without a fault %s", took, clean.Took)
	}
}
