package judge

import "time"

// Case is all that is known of one release: what stable did before it, and the
// blocks of all its steps. The same settings and the same blocks always give
// the same verdicts, live or replayed. A Case is not safe for concurrent use.
type Case struct {
	settings Settings
	evidence Evidence
}

// Open opens a case about which nothing is known yet.
func Open(s Settings) *Case { return &Case{settings: s} }

// Settings are those the case was opened with.
func (c *Case) Settings() Settings { return c.settings }

// Before adds what stable did in a block before the release. All of them come
// before the first block of the release, in the order of time.
func (c *Case) Before(Block) {}

// Baseline is what is known of stable from before the release.
func (c *Case) Baseline() Baseline { return Baseline{} }

// Fold adds a closed block to the evidence. Blocks come in the order of time;
// one that begins before the end of a block already folded changes nothing, so
// that folding twice is harmless. Another step or weight begins a new bake.
// A block that is missing, or in which the canary's proxies didn't report, is
// no data: nothing is added, and nothing that was proven is taken away.
func (c *Case) Fold(b Block) { c.evidence = fold(c.evidence, b, c.settings) }

// Peek looks at what happened since the last closed block: it may prove a
// breach, and nothing else. The same happenings come once more, in closed blocks.
func (c *Case) Peek(Block) {}

// Verdict is the verdict on the evidence as of now. It may be asked at any
// time; only now decides whether the evidence is stale.
func (c *Case) Verdict(now time.Time) Verdict { return evaluate(c.evidence, c.settings, now) }

// Baseline is what stable did before the release, over about an hour.
type Baseline struct {
	Known  bool // it was asked for, and answered, if only with no request
	Stable Measure
	// Over lists the limits that stable itself breaks, surely and not by chance.
	Over []Excess
}

// Excess is a limit that stable itself breaks.
type Excess struct {
	Metric  string // as in Metric.Name
	Limit   string // as people write it: 1%, 500ms
	Seen    string // what stable did: "2.3% of 12000 requests failed"
	Suggest string // a limit that stable keeps, as people write it
	Written bool   // somebody wrote the limit; else it was the default, and only the comparison with stable counts
}
