package prom

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"serin.dev/serin/pkg/judge"
)

// Reporter says whose telemetry counts.
type Reporter string

// The reporters. Those of different reporters are never summed: the server's
// side counts each attempt of a retried request, the client's side its outcome.
const (
	Auto        Reporter = "auto"        // Destination where there is any, else Source; also the zero value
	Destination Reporter = "destination" // the proxies of the two versions
	Source      Reporter = "source"      // the clients' proxies and the gateways
)

// Ask is a question about one rollout.
type Ask struct {
	Key       string // names the answer
	Namespace string // of the workloads and the Service
	Service   string
	// StableWorkload and CanaryWorkload are Deployments' names; two different ones.
	StableWorkload, CanaryWorkload string

	// From is when the step's weight was written, or the end of the last block
	// had: blocks that begin earlier are not wanted. For Open it is that end.
	From         time.Time
	To           time.Time     // blocks that end later are not wanted; zero: there is no end
	Width        time.Duration // of the blocks, >= 1 s, whole milliseconds, about one scrape interval
	Step, Weight int           // written into the blocks
	// Mirror is the share of requests of which the canary is sent a copy, in percent;
	// 0: none. It is written into the blocks. Nobody but the servers' proxies counts
	// copies, so that Destination is asked then, whatever Reporter says.
	Mirror   int
	Reporter Reporter
	Custom   []Custom // the operator's metrics, in the order of Block.Custom
}

// Custom is a metric of the operator's, for one release: what the template says
// and the limit that says which values are bad.
type Custom struct {
	Template Template
	Limit    judge.Custom
}

// Template is a metric that an operator defined: PromQL with placeholders. A
// ratio has Good or Bad, and Total: raw cumulative counters. A gauge has Gauge.
type Template struct {
	Name                    string
	Good, Bad, Total, Gauge string
}

// Answer is what Prometheus knows about an Ask.
type Answer struct {
	// Blocks are the closed blocks since From, in order and without holes. Of a
	// long time these are the first; asking again from their end gives the rest.
	// Of Open it is the open block, if anything is clear about it.
	Blocks   []judge.Block
	Warnings []string // what Prometheus wants people to know, such as a partial answer
	Err      error    // no answer: then there are no blocks, and nobody knows anything
}

const (
	// maxBlocks bounds the blocks of one answer, below Prometheus's 11,000 points.
	maxBlocks = 1000
	// maxNames bounds the bytes of names in one query, maxCells its asks times borders.
	maxNames = 16 << 10
	maxCells = 4000
	// parallel is how many groups of asks are asked for at once, and then how many
	// of the operator's metrics.
	parallel = 4
)

// Closed is the end of the newest block that is closed at now: no sample of a
// closed block arrives any more. A scrape's samples carry the time of its
// start, and a target's end is marked up to 1.1 scrape intervals back; hence
// 1.2 widths, and the time a scrape takes.
func Closed(now time.Time, width time.Duration) time.Time {
	return floor(now.Add(-untilClosed(width)), width)
}

// NextClosed is when the block after the newest closed one will be closed: the
// best time to ask again.
func NextClosed(now time.Time, width time.Duration) time.Time {
	return Closed(now, width).Add(width).Add(untilClosed(width))
}

// untilClosed is how long after its end a block is closed.
func untilClosed(width time.Duration) time.Duration { return width*12/10 + scrapeTime(width) }

// scrapeTime is what is allowed for a scrape to take: half a second, or a tenth
// of the width where that is longer.
func scrapeTime(width time.Duration) time.Duration { return max(500*time.Millisecond, width/10) }

// floor and ceil lay a time on the grid since the Unix epoch.
func floor(t time.Time, width time.Duration) time.Time {
	ms, w := t.UnixMilli(), width.Milliseconds()
	rest := ((ms % w) + w) % w
	return time.UnixMilli(ms - rest).UTC()
}

func ceil(t time.Time, width time.Duration) time.Time {
	f := floor(t, width)
	if f.Before(t) {
		f = f.Add(width)
	}
	return f
}

// Blocks answers all asks, by key, with few queries: asks of the same stretch of
// time are asked for together. A block is a function of what Prometheus stored
// around its two borders and of nothing else, so that asking block by block and
// asking once for all gives the same. An ask that is wrong, or whose query
// failed, is answered with an error; the others don't suffer. The operator's
// metrics are asked for by queries of their own; where they fail, the blocks say
// so, and are good for the rest.
func Blocks(ctx context.Context, q Query, asks []Ask, now time.Time) map[string]Answer {
	answers := inGroups(asks,
		func(a Ask) (grid, bool, error) {
			g := gridOf(a, now)
			return g, g.borders > 1, nil
		},
		func(g grid, some []Ask) map[string]Answer { return closed(ctx, q, g, some) },
		func(err error) Answer { return Answer{Err: err} })
	measure(ctx, q, asks, answers)
	return answers
}

// inGroups sorts asks by the stretch of time they are about and has groups of them
// answered, some at once. An ask without a stretch gets the empty answer.
func inGroups[A any](asks []Ask, stretch func(Ask) (grid, bool, error), ask func(grid, []Ask) map[string]A, failed func(error) A) map[string]A {
	answers := make(map[string]A, len(asks))
	stretches := map[grid][]Ask{}
	for _, a := range asks {
		err := a.check()
		var g grid
		var any bool
		if err == nil {
			g, any, err = stretch(a)
		}
		if err != nil {
			answers[a.Key] = failed(err)
			continue
		}
		var empty A
		answers[a.Key] = empty
		if any {
			stretches[g] = append(stretches[g], a)
		}
	}
	var (
		mu    sync.Mutex
		wg    sync.WaitGroup
		slots = make(chan struct{}, parallel)
	)
	for g, all := range stretches {
		for _, some := range split(all, g) {
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				got := ask(g, some)
				mu.Lock()
				defer mu.Unlock()
				maps.Copy(answers, got)
			})
		}
	}
	wg.Wait()
	return answers
}

// closed answers asks of one stretch of time with its closed blocks.
func closed(ctx context.Context, q Query, g grid, asks []Ask) map[string]Answer {
	v := newView(ctx, q, g)
	return v.answers(asks, v.read(asks), func(a Ask) []judge.Block {
		blocks := make([]judge.Block, 0, g.borders-1)
		for i := 1; i < g.borders; i++ {
			blocks = append(blocks, v.block(a, i))
		}
		return blocks
	})
}

// answers makes the answers, by key, of what was read for all asks together. An
// error of the reading is everybody's, odd values are those of one ask.
func (v *view) answers(asks []Ask, err error, blocks func(Ask) []judge.Block) map[string]Answer {
	answers := make(map[string]Answer, len(asks))
	for _, a := range asks {
		if err != nil {
			answers[a.Key] = Answer{Err: a.unread(err)}
			continue
		}
		if odd := v.unreadable(a); odd != nil {
			answers[a.Key] = Answer{Err: odd}
			continue
		}
		answers[a.Key] = Answer{Blocks: blocks(a), Warnings: v.warnings}
	}
	return answers
}

func (a Ask) unread(err error) error {
	return fmt.Errorf("read the metrics of %s/%s: %w", a.Namespace, a.Service, err)
}

// split makes groups that one query each can bear, those with weight first.
func split(asks []Ask, g grid) [][]Ask {
	slices.SortFunc(asks, func(a, b Ask) int {
		return cmp.Or(-cmp.Compare(a.Weight, b.Weight), cmp.Compare(a.Key, b.Key))
	})
	most := max(maxCells/g.borders, 1)
	var groups [][]Ask
	size := 0
	for _, a := range asks {
		names := len(a.Namespace) + len(a.StableWorkload) + len(a.CanaryWorkload)
		if last := len(groups) - 1; last < 0 || len(groups[last]) >= most || size+names > maxNames {
			groups, size = append(groups, nil), 0
		}
		last := len(groups) - 1
		groups[last] = append(groups[last], a)
		size += names
	}
	return groups
}

func (a Ask) check() error {
	var errs []error
	for _, f := range []struct{ name, value string }{
		{"Namespace", a.Namespace}, {"Service", a.Service}, {"StableWorkload", a.StableWorkload}, {"CanaryWorkload", a.CanaryWorkload},
	} {
		if f.value == "" || !utf8.ValidString(f.value) {
			errs = append(errs, fmt.Errorf("the %s is %q: a Kubernetes name is needed", f.name, f.value))
		}
	}
	if a.StableWorkload == a.CanaryWorkload {
		errs = append(errs, fmt.Errorf("the StableWorkload and the CanaryWorkload are both %q: metrics tell versions apart by Deployment", a.StableWorkload))
	}
	if a.Width < time.Second || a.Width%time.Millisecond != 0 {
		errs = append(errs, fmt.Errorf("the Width is %s: at least 1s in whole milliseconds is needed", a.Width))
	}
	switch a.Reporter {
	case "", Auto, Destination, Source:
	default:
		errs = append(errs, fmt.Errorf("the Reporter is %q: auto, destination and source are known", a.Reporter))
	}
	if len(errs) > 0 {
		return fmt.Errorf("ask for blocks of %q: %w", a.Key, errors.Join(errs...))
	}
	return nil
}

// asked is whose telemetry is asked for.
func (a Ask) asked() Reporter {
	if a.Mirror > 0 {
		return Destination
	}
	return a.Reporter
}

func (a Ask) stable() track { return track{a.Namespace, a.StableWorkload} }
func (a Ask) canary() track { return track{a.Namespace, a.CanaryWorkload} }

// grid is a stretch of the absolute time grid: borders, and a block between
// each two of them.
type grid struct {
	start   int64 // the first border, in ms since the Unix epoch
	width   time.Duration
	borders int
}

func gridOf(a Ask, now time.Time) grid {
	start := ceil(a.From, a.Width)
	end := Closed(now, a.Width)
	if to := floor(a.To, a.Width); !a.To.IsZero() && to.Before(end) {
		end = to
	}
	blocks := int(end.Sub(start) / a.Width)
	return grid{start: start.UnixMilli(), width: a.Width, borders: min(blocks, maxBlocks) + 1}
}

func (g grid) border(i int) time.Time {
	return time.UnixMilli(g.start + int64(i)*g.width.Milliseconds()).UTC()
}

// index is the border at which a point lies.
func (g grid) index(at int64) (int, error) {
	w := g.width.Milliseconds()
	i := (at - g.start) / w
	if at < g.start || (at-g.start)%w != 0 || i >= int64(g.borders) {
		return 0, fmt.Errorf("a point at %s, which was not asked for", time.UnixMilli(at).UTC().Format(time.RFC3339Nano))
	}
	return int(i), nil
}
