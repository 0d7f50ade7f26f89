package main

import (
	"cmp"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"serin.dev/serin/pkg/judge"
)

// lab plays scenes, each only once, on all cores. What it finds depends on the
// seed alone, not on how many cores there are.
type lab struct {
	seed     uint64
	fraction int // each scene is played so many times less often
	progress io.Writer
	begun    time.Time
	cells    map[string]cell
}

func newLab(seed uint64, fraction int, progress io.Writer) *lab {
	return &lab{seed: seed, fraction: fraction, progress: progress, begun: time.Now(), cells: map[string]cell{}}
}

// cell is how all runs of a scene in one mode ended.
type cell []fate

// runs is how many are played where the full number is n.
func (l *lab) runs(n int) int { return max(n/l.fraction, 20) }

// play plays a scene in a mode; n is the full number of runs.
func (l *lab) play(s scene, mode judge.Mode, n int) cell {
	key := fmt.Sprintf("%s, %s", s.name, mode)
	if c, ok := l.cells[key]; ok {
		return c
	}
	c := make(cell, l.runs(n))
	began := time.Now()
	spread(len(c), func(draw *source, run int) { c[run] = s.play(draw, l.seed, run, mode) })
	l.cells[key] = c
	fmt.Fprintf(l.progress, "%6.0fs  %s: %d runs in %.1fs\n", time.Since(l.begun).Seconds(), key, len(c), time.Since(began).Seconds())
	return c
}

// spread does something for every run, on all cores.
func spread(runs int, do func(draw *source, run int)) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			draw := newSource()
			for run := int(next.Add(1)) - 1; run < runs; run = int(next.Add(1)) - 1 {
				do(draw, run)
			}
		})
	}
	all.Wait()
}

// share is the share of runs of which something is true.
func (c cell) share(is func(fate) bool) float64 {
	n := 0
	for _, f := range c {
		if is(f) {
			n++
		}
	}
	return float64(n) / float64(len(c))
}

// rolledBack is the share of runs that were rolled back.
func (c cell) rolledBack() float64 {
	return c.share(func(f fate) bool { return f.rolledBack < never })
}

// quantile is the time by which a share q of all runs came to something.
func (c cell) quantile(q float64, when func(fate) time.Duration) time.Duration {
	times := make([]time.Duration, len(c))
	for i, f := range c {
		times[i] = when(f)
	}
	slices.SortFunc(times, cmp.Compare[time.Duration])
	return times[min(int(q*float64(len(times))), len(times)-1)]
}

// only are the runs of which something is true.
func (c cell) only(is func(fate) bool) cell {
	return slices.DeleteFunc(slices.Clone(c), func(f fate) bool { return !is(f) })
}

// failed is the mean number of failed answers.
func (c cell) failed() float64 {
	var n int64
	for _, f := range c {
		n += f.failed
	}
	return float64(n) / float64(len(c))
}

func whenRolledBack(onset time.Duration) func(fate) time.Duration {
	return func(f fate) time.Duration {
		if f.rolledBack == never {
			return never
		}
		return f.rolledBack - onset
	}
}

func whenPromoted(f fate) time.Duration { return f.promoted }

// how says by which command and seed the figures came about.
func (l *lab) how() string {
	runs := 0
	for _, c := range l.cells {
		runs += len(c)
	}
	return fmt.Sprintf("`make simulate`, seed %d: %d simulated releases in %s, on %d cores.\n",
		l.seed, runs, time.Since(l.begun).Round(time.Second), runtime.NumCPU())
}
