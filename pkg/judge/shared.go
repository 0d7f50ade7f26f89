package judge

const (
	// witnessRequests and witnessBad are the least of stable's requests, and of
	// bad ones among them, that make it a witness of an incident of both.
	witnessRequests, witnessBad = 20, 2
	// witnessBlocks is the same for a gauge, which has one trial for each block.
	witnessBlocks = 3
	// calmOdds say that stable no longer breaks the limit, calmBlocks for how
	// long: one block more than a scrape may lag.
	calmOdds, calmBlocks = 20, 2
)

// window is what both tracks did since the evidence against a limit last was 1
// at most: the time of a breach, if there is one.
type window struct {
	now, last seen  // through the newest block, and through the one before it
	before    int64 // stable's bad requests in the block before the window
	// Whether stable keeps the limit now: evidence as in goodTest with one
	// alternative, never below zero (CUSUM, Page 1954), and for how many blocks
	// it has been enough.
	calm     float64
	calmFor  int
	goodThen goodness // promotion as it stood when the window began
	nextThen goodness
	allThen  Tally
}

func (w *window) fold(m *metric, t seen) {
	w.last = w.now
	w.now.add(t.canary, t.stable)
	w.soothe(m, t.stable)
	if !m.against.release.speaks() {
		w.restart(m, t.stable)
	}
}

func (w *window) restart(m *metric, stable Tally) {
	w.now, w.last, w.before = seen{}, seen{}, stable.Hits
	w.goodThen, w.nextThen, w.allThen = m.passing, m.besides, m.all
}

// soothe follows whether stable keeps the limit.
func (w *window) soothe(m *metric, stable Tally) {
	if stable.N <= 0 {
		return
	}
	const alternative = 2 // a quarter of what is clearly bad
	w.calm += m.good.count(alternative, float64(stable.Hits), float64(max(stable.N-stable.Hits, 0)))
	enough := logOf(calmOdds)
	w.calm = min(max(w.calm, 0), enough)
	if w.calm < enough {
		w.calmFor = 0
		return
	}
	w.calmFor++
}

// shared tells that stable broke the limit, too, and that the canary isn't
// clearly worse, by odds of enough. If stable's numbers may lag, the canary's
// newest block isn't compared. Stable's bad requests of the blocks beside the
// window count, but not its requests, so that a scrape at another moment never
// makes the canary the worse one (see comparison).
func (w *window) shared(m *metric, k known, enough float64) bool {
	stable := w.now.stable
	if stable.N < m.least || stable.Hits < witnessBad || !stable.above(m.limit, 0) {
		return false
	}
	c := comparison{canary: w.now.canary, stable: w.now.stable, after: Tally{Hits: w.before}}
	if k == later {
		c.canary, c.stable = w.last.canary, Tally{Hits: w.now.stable.Hits, N: w.last.stable.N}
	}
	var ratio, start factors
	m.same.ratios(c, &ratio, &start)
	e := 0.0
	for j, r := range ratio {
		e += m.same.start[j] * r
	}
	return e < enough
}

// over tells that stable keeps the limit again, and did so for long enough that
// the canary's numbers of the time before have come in.
func (w *window) over() bool { return w.calmFor >= calmBlocks }

// void forgets what the canary did in the window: it was not its own doing.
// With a fresh mass the evidence begins anew, so that a healthy canary isn't
// rolled back afterwards, and one that still fails is caught.
func (m *metric) void() {
	m.against, m.fresh, m.heat = wealth{}, true, heat{}
	m.passing, m.besides, m.all = m.window.goodThen, m.window.nextThen, m.window.allThen
	m.window.restart(m, Tally{})
}
