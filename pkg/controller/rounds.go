package controller

import (
	"cmp"
	"context"
	"hash/fnv"
	"math"
	"slices"
	"sync"
	"time"

	"serin.dev/serin/pkg/cluster"
	"serin.dev/serin/pkg/judge"
	"serin.dev/serin/pkg/prom"
	"serin.dev/serin/pkg/replay"
)

const (
	// atOnceBehind is how many rollouts are caught up with at once, those with
	// the most weight first; more would ask a server for more samples than it
	// gives, and the first be waiting for the last.
	atOnceBehind = 100
	// few is up to how many are asked for the whole of what they lack. Of more
	// the same windows of time are asked for together.
	few = 8
	// portion is how many rollouts are asked about together, the next ones after their
	// answer, or after slowPortion, but never more than portionsAtOnce portions at once.
	portion        = 100
	slowPortion    = 500 * time.Millisecond
	portionsAtOnce = 4
	// shortestPatience and longestPatience bound how long an answer is waited for.
	shortestPatience = 3 * time.Second
	longestPatience  = 30 * time.Second
)

// question is what is asked about one trial, and where it was read to then.
type question struct {
	trial *trial
	held  *judge.Case
	had   time.Time
	ask   prom.Ask
}

// fits tells that the answer is of where the trial still is.
func (q question) fits(b *bench) bool {
	return b.trials[q.trial.key] == q.trial && q.trial.reading.Case() == q.held && q.trial.reading.Had().Equal(q.had)
}

// pick makes the questions about all trials that are wanted, those with the
// most weight first, and of them those about the longest ago: then the times
// that are asked about together are the same for many.
func (b *bench) pick(wanted func(*trial) bool) []question {
	var out []question
	for _, t := range b.trials {
		if !wanted(t) {
			continue
		}
		if ask, some := t.ask(b.options); some {
			out = append(out, question{trial: t, held: t.reading.Case(), had: t.reading.Had(), ask: ask})
		}
	}
	slices.SortFunc(out, func(a, b question) int {
		return cmp.Or(-cmp.Compare(a.trial.state.Weight, b.trial.state.Weight), a.had.Compare(b.had), cmp.Compare(a.ask.Key, b.ask.Key))
	})
	return out
}

func asksOf(questions []question) []prom.Ask {
	asks := make([]prom.Ask, 0, len(questions))
	for _, q := range questions {
		asks = append(asks, q.ask)
	}
	return asks
}

// earliest is the earliest time that is told of a trial; zero if none is.
func (b *bench) earliest(of func(*trial) (time.Time, bool)) (at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range b.trials {
		if one, some := of(t); some && (at.IsZero() || one.Before(at)) {
			at = one
		}
	}
	return at
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// nextClosed is when the next block of some trial is closed: asking just then
// costs no delay.
func (b *bench) nextClosed(time.Time) time.Time {
	return b.earliest(func(t *trial) (time.Time, bool) {
		at := t.reading.Due()
		return later(at, t.pause), !at.IsZero() && !t.behind
	})
}

// keepUp asks for what was just closed, of all trials where something was: first of
// those that may break a limit, so that they don't wait for the many others; of the
// others first of those with the most failures of late.
func (b *bench) keepUp(ctx context.Context) {
	now := time.Now()
	b.mu.Lock()
	questions := b.pick(func(t *trial) bool {
		return !t.behind && t.reading.Left(now) > 0 && !now.Before(t.pause)
	})
	var suspects, others []question
	for _, q := range questions {
		if q.trial.suspect {
			suspects = append(suspects, q)
		} else {
			others = append(others, q)
		}
	}
	slices.SortStableFunc(others, func(a, b question) int { return -cmp.Compare(a.trial.failures, b.trial.failures) })
	b.mu.Unlock()
	b.round(ctx, suspects, now)
	b.inPortions(ctx, others, now)
}

// inPortions asks about many, a portion after the other, so that looks at open blocks
// and passes come in between: all blocks of a thousand rollouts are closed at once,
// and to read them at once takes all there is of a small machine for seconds. Where
// Prometheus is slow several portions are asked for at once.
func (b *bench) inPortions(ctx context.Context, questions []question, now time.Time) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, portionsAtOnce)
	patience := slowPortion
	for some := range slices.Chunk(questions, portion) {
		slots <- struct{}{}
		patience -= b.giveWay(ctx, patience)
		done := make(chan struct{})
		wg.Go(func() {
			b.round(ctx, some, now)
			close(done)
			<-slots
		})
		select {
		case <-done:
		case <-time.After(slowPortion):
		case <-ctx.Done():
		}
	}
	wg.Wait()
}

// nextBehind is when to read on what is far behind: at once, unless the last
// question wasn't answered.
func (b *bench) nextBehind(now time.Time) time.Time {
	return b.earliest(func(t *trial) (time.Time, bool) {
		if t.behind {
			return later(now, t.pause), true
		}
		return t.widthDue(now)
	})
}

// catchUp reads on of some trials that are far behind, and finds out the width
// of blocks where it is not known.
func (b *bench) catchUp(ctx context.Context) {
	now := time.Now()
	b.mu.Lock()
	widthless := b.widthless(now)
	questions := b.pick(func(t *trial) bool { return t.behind && !now.Before(t.pause) })
	together := len(questions) > few
	questions = questions[:min(len(questions), atOnceBehind)]
	for i, q := range questions {
		if together {
			questions[i].ask = q.trial.reading.Window(q.ask)
		}
	}
	b.mu.Unlock()
	b.round(ctx, questions, now)
	b.findWidths(ctx, widthless, now)
}

// round asks for blocks, adds them, and wakes the Services: also where there
// was no answer, for no data has consequences too. Those with blocks of other
// widths are asked for apart: the quickest must not end the others' patience.
func (b *bench) round(ctx context.Context, questions []question, now time.Time) {
	if len(questions) == 0 {
		return
	}
	patient := map[time.Duration][]question{}
	for _, q := range questions {
		p := patience(q.ask.Width)
		patient[p] = append(patient[p], q)
	}
	var wg sync.WaitGroup
	for p, some := range patient {
		wg.Go(func() { b.roundWithin(ctx, p, some, now) })
	}
	wg.Wait()
	b.tellLoops()
}

func (b *bench) roundWithin(ctx context.Context, limit time.Duration, questions []question, now time.Time) {
	asking, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	answers := b.options.blocks(asking, asksOf(questions), now)
	if ctx.Err() != nil {
		return
	}
	among := b.size()
	for _, q := range questions {
		answer := answers[q.ask.Key]
		b.options.meter.Asked(answer.Err)
		switch b.take(q, answer, now) {
		case decisive:
			b.options.wake(q.trial.key, 0)
		case routine:
			b.options.wake(q.trial.key, spread(q.trial.key, among, q.ask.Width))
		}
	}
}

// patience is how long an answer is waited for: three blocks.
func patience(width time.Duration) time.Duration {
	return min(max(3*width, shortestPatience), longestPatience)
}

// news is what an answer has for a Service.
type news int

const (
	nothing  news = iota
	routine       // numbers to show
	decisive      // something may have to be done now
)

// showingTakes is what is reckoned for a pass that only shows numbers: a hundred a
// second leave most of a small machine to those that decide something.
const showingTakes = 10 * time.Millisecond

// spread is how long a Service waits with what decides nothing, each of its own
// time: the blocks of all rollouts are closed at once, and a thousand passes in a
// row would have the one that takes traffic away compete with them. The fewer there
// are the sooner all are shown, and before the next block is closed in any case.
func spread(k cluster.Key, among int, width time.Duration) time.Duration {
	h := fnv.New32a()
	_, _ = h.Write([]byte(k.String()))
	longest := min(time.Duration(among)*showingTakes, 2*width/3)
	return time.Duration(float64(h.Sum32()) / math.MaxUint32 * float64(longest))
}

// size is how many rollouts are judged.
func (b *bench) size() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.trials)
}

// take adds an answer, unless what it was asked for is over, and tells what it has
// for the Service.
func (b *bench) take(q question, answer prom.Answer, now time.Time) news {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := q.trial
	if b.trials[t.key] != t {
		return nothing
	}
	t.answered(answer.Err, answer.Warnings, b.options.log)
	fits := answer.Err == nil && q.fits(b)
	if stretch, some := t.reading.Stretch(); fits && some {
		var last time.Time
		if n := len(t.points); n > 0 {
			last = t.points[n-1].At
		}
		t.record(stretch, answer.Blocks)
		b.count(t.points, last)
	}
	switch {
	case answer.Err != nil || fits && !t.reading.Add(answer.Blocks):
		t.wait(now)
	case fits:
		t.awaits, t.reviewed = time.Time{}, time.Time{} // with one block more the open one tells something else
	}
	t.see(time.Now())
	switch {
	case t.behind && answer.Err == nil:
		return nothing // what is known is not of now
	case t.behind:
		return decisive
	case t.logVerdict(now, b.options.log) || answer.Err != nil || t.mayMove(now):
		return decisive
	}
	return routine
}

// widthless makes the questions about trials of which the width of blocks is
// still to be found out.
func (b *bench) widthless(now time.Time) (out []question) {
	for _, t := range b.trials {
		if at, some := t.widthDue(now); !some || now.Before(at) {
			continue
		}
		ask := replay.Stretch{Width: b.options.assumed}.Ask(t.key.Namespace, t.key.Name, t.state, now)
		ask.Key, ask.Reporter = t.name(), b.options.reporter
		out = append(out, question{trial: t, ask: ask})
	}
	return out
}

// findWidths finds out how often the proxies of rollouts that begin are scraped.
func (b *bench) findWidths(ctx context.Context, questions []question, now time.Time) {
	if len(questions) == 0 {
		return
	}
	asking, cancel := context.WithTimeout(ctx, shortestPatience)
	defer cancel()
	found := b.options.intervals(asking, asksOf(questions), now)
	if ctx.Err() != nil {
		return
	}
	for _, q := range questions {
		interval := found[q.ask.Key]
		b.options.meter.Asked(interval.Err)
		b.adopt(q.trial, interval, now)
		b.options.wake(q.trial.key, 0)
	}
	b.tellLoops()
}

// adopt takes an interval as the width of the trial's blocks. Where there never were
// series to tell it from, one is assumed; what was found out before outlives them, for
// what is fresh is measured by it.
func (b *bench) adopt(t *trial, interval prom.Interval, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if interval.Err != nil {
		t.answered(interval.Err, nil, b.options.log)
		t.wait(now)
		return
	}
	if _, some := t.reading.Stretch(); !some {
		t.answered(nil, nil, b.options.log) // nothing else is asked that would tell so
	}
	t.newest, t.measured = interval.Newest, now
	switch guessed := t.width == 0 || !t.assumed.IsZero(); {
	case interval.Width > 0:
		t.width, t.assumed = replay.WidthOf(interval.Width, b.options.assumed), time.Time{}
	case guessed:
		t.width, t.assumed = replay.WidthOf(0, b.options.assumed), now.Add(lastRepeat)
	}
}

// nextPeek is when to look at open blocks: on beats that all trials with blocks
// of one width share, so that they are asked about together.
func (b *bench) nextPeek(now time.Time) time.Time {
	return b.earliest(func(t *trial) (time.Time, bool) {
		return beatOf(now, t.beat()).Add(t.beat()), t.watched()
	})
}

// beatOf is the last beat before or at now.
func beatOf(now time.Time, beat time.Duration) time.Time {
	ms, each := now.UnixMilli(), beat.Milliseconds()
	return time.UnixMilli(ms - ms%each)
}

// peek looks at what happened since the last closed block, which may prove a
// breach and nothing else. Without an answer nothing is lost: the same comes in
// closed blocks.
func (b *bench) peek(ctx context.Context) {
	now := time.Now()
	questions := b.open(func(t *trial) bool { return t.peekable(now) }, func(t *trial) { t.peeked = beatOf(now, t.beat()) })
	if len(questions) == 0 {
		return
	}
	asking, cancel := context.WithTimeout(ctx, shortestPatience)
	defer cancel()
	answers := b.options.rough(asking, asksOf(questions), now)
	if ctx.Err() != nil {
		return
	}
	for _, q := range questions {
		b.options.meter.Asked(answers[q.ask.Key].Err)
	}
	b.lookCloser(ctx, slices.DeleteFunc(questions, func(q question) bool { return !b.newSuspect(q, answers[q.ask.Key]) }))
	b.tellLoops()
}

// open makes the questions about the open blocks of some trials.
func (b *bench) open(wanted func(*trial) bool, note func(*trial)) []question {
	b.mu.Lock()
	defer b.mu.Unlock()
	questions := b.pick(wanted)
	for i, q := range questions {
		note(q.trial)
		questions[i].ask.From = q.trial.reading.Next()
	}
	return questions
}

// nextReview is when some suspect of a rough look may be seen better than it was.
func (b *bench) nextReview(now time.Time) time.Time {
	return b.earliest(func(t *trial) (time.Time, bool) {
		return later(t.awaits, beatOf(t.reviewed, reviewBeat).Add(reviewBeat)), t.reviewable(now)
	})
}

// review looks again at the suspects of which more may be known, without waiting for
// the rough look at all the others, which takes long where they are many.
func (b *bench) review(ctx context.Context) {
	now := time.Now()
	questions := b.open(func(t *trial) bool {
		return t.reviewable(now) && !now.Before(t.awaits) && beatOf(now, reviewBeat).After(t.reviewed)
	}, func(t *trial) { t.reviewed = now })
	b.lookCloser(ctx, questions)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, q := range questions {
		if q.fits(b) && !q.trial.awaits.After(now) { // nothing tells when more will be known
			q.trial.awaits = now.Add(q.trial.beat())
		}
	}
}

// lookCloser shows the open blocks of some to the judge, as much of them as is known.
func (b *bench) lookCloser(ctx context.Context, suspects []question) {
	if len(suspects) == 0 || ctx.Err() != nil {
		return
	}
	defer b.hurry()()
	asking, cancel := context.WithTimeout(ctx, shortestPatience)
	defer cancel()
	answers := b.options.open(asking, asksOf(suspects), time.Now())
	if ctx.Err() != nil {
		return
	}
	for _, q := range suspects {
		b.options.meter.Asked(answers[q.ask.Key].Err)
		if b.glance(q, answers[q.ask.Key]) {
			b.options.wake(q.trial.key, 0)
		}
	}
}

// hurry says that something is being looked at which may be a breach, until what it
// returns is called.
func (b *bench) hurry() (over func()) {
	done := make(chan struct{})
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hurried = slices.DeleteFunc(b.hurried, ended)
	b.hurried = append(b.hurried, done)
	return func() { close(done) }
}

func ended(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// giveWay waits for what is in a hurry now, for no longer than limit, and tells how long
// it has waited: of a small machine a portion takes all there is.
func (b *bench) giveWay(ctx context.Context, limit time.Duration) time.Duration {
	b.mu.Lock()
	hurried := slices.Clone(b.hurried)
	b.mu.Unlock()
	began, enough := time.Now(), time.After(limit)
	for _, done := range hurried {
		select {
		case <-done:
		case <-enough:
			return limit
		case <-ctx.Done():
			return limit
		}
	}
	return time.Since(began)
}

// newSuspect tells that a rough look at an open block would prove a breach, if all
// of it were known well enough, or is not clear, and the look before would not. Most of
// what fails is far from it, and need not be asked about more closely.
func (b *bench) newSuspect(q question, rough prom.Answer) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !q.fits(b) || rough.Err != nil {
		return false
	}
	was := q.trial.suspect
	q.trial.suspect, q.trial.failures = false, 0
	for _, block := range rough.Blocks {
		q.trial.suspect = q.trial.suspect || block.Missing != "" || q.held.Would(block)
		q.trial.failures += block.Canary.Errors
	}
	if q.trial.suspect && !was {
		q.trial.reviewed = time.Now()
	}
	return q.trial.suspect && !was
}

// glance shows an open block to the judge, and tells whether it proved a breach.
func (b *bench) glance(q question, answer prom.Answer) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !q.fits(b) {
		return false
	}
	for _, block := range answer.Blocks {
		q.held.Peek(block)
	}
	if len(answer.Blocks) == 0 {
		return false
	}
	now := time.Now()
	q.trial.logVerdict(now, b.options.log)
	q.trial.await(answer.Blocks[len(answer.Blocks)-1], now)
	return q.trial.verdict(q.trial.state, now).Kind == judge.Rollback
}
