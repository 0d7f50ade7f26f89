// Package torture kills and stops what releases depend on, on the real stack,
// while version after version is released in several namespaces and users come:
// the controllers, the API server, etcd, istiod and Prometheus, at any time and
// around the controllers' writes. All that was ever written is checked, and what
// every user was answered.
package torture

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"serin.dev/serin/e2e/sandbox"
)

var (
	killsWanted = flag.Int("kills", 12, "`how many` kills and stops")
	seedWanted  = flag.Uint64("seed", 1, "`seed` of what is struck when, and of which versions are bad")
	logsWanted  = flag.String("logs", "", "`folder` for the logs of all processes (default: a folder that goes with the sandbox)")
)

// idle is how long nothing may be written at the end.
const idle = 15 * time.Second

func TestNothingIsLostWhateverIsKilled(t *testing.T) {
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir := t.TempDir()
	serin, err := program(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	box, err := sandbox.Start(ctx, sandbox.Options{ScrapeInterval: time.Second, LogDir: *logsWanted, Progress: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := box.Close(); err != nil {
			t.Error(err)
		}
	}()
	st, err := openStage(ctx, box, serin, dir, *seedWanted)
	if err != nil {
		t.Fatal(err)
	}
	before, err := st.ledWrongly(ctx)
	if err != nil {
		t.Fatal(err)
	}
	d := &driver{stage: st, most: *killsWanted, counts: map[string]int{}, late: map[string]int{}}
	began := time.Now()
	if err := d.play(ctx, *seedWanted); err != nil {
		t.Errorf("seed %d, after %d kills, at %s: %v", *seedWanted, d.struck, time.Now().Format(clock), err)
	} else {
		if err := st.staysQuiet(ctx); err != nil {
			t.Errorf("seed %d: %v", *seedWanted, err)
		}
		after, err := st.ledWrongly(ctx)
		for flags, n := range after {
			if n > before[flags] {
				t.Errorf("seed %d: the proxies answered %d requests with %s, %d of them before the first kill", *seedWanted, n, flags, before[flags])
			}
		}
		if err != nil {
			t.Error(err)
		}
	}
	if err := st.close(); err != nil {
		t.Errorf("seed %d: %v", *seedWanted, err)
	}
	for _, s := range st.shops {
		for _, err := range s.wrong {
			t.Errorf("seed %d: %v", *seedWanted, err)
		}
	}
	t.Log(d.summary(time.Since(began)))
}

// play strikes while the shops release, and lets them come to an end.
func (d *driver) play(ctx context.Context, seed uint64) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	released := make(chan error, 1)
	go func() {
		released <- together(d.shops, func(s *shop) error {
			err := s.run(ctx)
			if err != nil && ctx.Err() == nil {
				d.say("FAILED: %v", err)
				cancel(err)
			}
			return err
		})
	}()
	err := d.run(ctx, seed)
	d.say("no more kills; the releases under way go on to their ends: %s", d.doing(nil))
	d.closing.Store(true)
	if err != nil {
		cancel(err)
	}
	failed := <-released
	if cause := context.Cause(ctx); cause != nil {
		return cause // what the others say follows from it
	}
	return errors.Join(err, failed)
}

// staysQuiet checks that nothing is written when there is nothing to release.
func (st *stage) staysQuiet(ctx context.Context) error {
	before := st.writes()
	wait(ctx, idle)
	after := st.writes()
	var errs []error
	for what, n := range after {
		if n > before[what] && !strings.Contains(what.what, "events") {
			errs = append(errs, fmt.Errorf("%d times %s was written (status %d) in %s without a release", n-before[what], what.what, what.status, idle))
		}
	}
	return errors.Join(errs...)
}

// writes are those of all controllers, but of leases.
func (st *stage) writes() map[outcome]int {
	sum := map[outcome]int{}
	for _, t := range st.teams {
		for _, r := range t.replicas {
			_, all := r.gate.wrote()
			for what, n := range all {
				sum[what] += n
			}
		}
	}
	return sum
}

// summary tells all that was counted.
func (d *driver) summary(took time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %d kills and stops in %s:%s", *seedWanted, d.struck, took.Round(time.Second), table(d.counts))
	lost := 0
	for _, t := range d.teams {
		for _, r := range t.replicas {
			lost += r.lost
		}
	}
	fmt.Fprintf(&b, "\ncontrollers that ended because their lease was lost: %d", lost)
	fmt.Fprintf(&b, "\nwrites that came after their leader's time:%s", table(d.late))
	ends, answers, early, spoiled := map[string]int{}, map[string]int{}, 0, 0
	for _, s := range d.shops {
		early += s.early
		spoiled += s.spoiled
		for _, r := range s.releases {
			ends[s.name+" "+r.outcome]++
		}
		for b, n := range s.answers {
			answers[b.String()] += n
		}
	}
	fmt.Fprintf(&b, "\nreleases:%s\nanswers to users:%s", table(ends), table(answers))
	fmt.Fprintf(&b, "\nreleases of good versions that went back, for users did not reach their pods: %d", spoiled)
	fmt.Fprintf(&b, "\nreleases of which a user was answered before the version had weight, for proxies were behind: %d", early)
	writes := map[string]int{}
	for w, n := range d.writes() {
		writes[fmt.Sprintf("%s %d", w.what, w.status)] += n
	}
	seen, filled, gaps := d.chronicle.counts()
	fmt.Fprintf(&b, "\nwrites of the controllers, by status:%s", table(writes))
	fmt.Fprintf(&b, "\nversions of routes and rules: %d, of them %d that no watch showed, read from the history", seen, filled)
	for _, gap := range gaps {
		fmt.Fprintf(&b, "\nthe history was compacted: %s", gap)
	}
	return b.String()
}
