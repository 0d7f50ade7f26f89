package judge

import "time"

// Case is all that is known of one release: what stable did before it, and the
// blocks of all its steps. The same settings and the same blocks always give
// the same verdicts, live or replayed. A Case is not safe for concurrent use.
//
// It keeps two things: the ledger, which says what was accepted and for how
// long, and the method, which says what the accepted blocks mean. Nothing of a
// block is referred to after Before, Fold or Peek return.
type Case struct {
	settings Settings
	before   baseline
	ledger   ledger
	method   method // nil until the first block of the release
}

// method is a way to reach verdicts from accepted blocks: Mode.
type method interface {
	// begin is called before the first block of another step or weight.
	begin(b Block)
	// accept adds a usable block; the ledger has it already.
	accept(b Block, l *ledger)
	// peek may prove a breach from what happened since the last closed block,
	// and must change nothing else. It tells whether it did.
	peek(b Block, l *ledger) bool
	// would tells whether peek would prove a breach, and changes nothing.
	would(b Block, l *ledger) bool
	// ruling is what the accepted blocks say, whatever the time.
	ruling(l *ledger) (Kind, Reason)
	// odds are the evidence towards rollback and promotion, as natural logarithms.
	odds() (against, forth float64)
	// describe adds evidence, sentence and outlook to a verdict that has the
	// kind, the reason and the measures.
	describe(v *Verdict, l *ledger)
}

// Open opens a case about which nothing is known yet. Levels that nobody set
// are those of DefaultRules.
func Open(s Settings) *Case {
	if s.Levels.Alpha <= 0 {
		s.Levels = DefaultRules().Levels
	}
	s.Steps = max(s.Steps, 1)
	if s.Deadline <= 0 {
		s.Deadline = 30 * time.Minute
	}
	return &Case{settings: s, before: newBaseline(s), ledger: ledger{sticky: s.Sticky}}
}

// Settings are those the case was opened with; Levels, Steps and Deadline are
// the usual ones where they had none.
func (c *Case) Settings() Settings { return c.settings }

// Before adds what stable did in a block before the release. All of them come
// before the first block of the release, in the order of time; later ones
// change nothing. A missing block counts as an answer and says nothing.
func (c *Case) Before(b Block) {
	if c.method == nil {
		c.before.add(b)
	}
}

// Baseline is what is known of stable from before the release.
func (c *Case) Baseline() Baseline { return c.before.tell() }

// Fold adds a closed block to the evidence. Blocks come in the order of time;
// one that begins before the end of a block already folded changes nothing, so
// that folding twice is harmless. Another step or weight begins a new bake.
// A block that is missing, or in which the canary's proxies didn't report, is
// no data: nothing is added, and nothing that was proven is taken away.
func (c *Case) Fold(b Block) {
	if b.Start.Before(c.ledger.end) {
		return
	}
	c.start()
	if c.ledger.another(b) {
		c.ledger.begin(b)
		c.method.begin(b)
	}
	if c.ledger.fold(b) {
		c.method.accept(b, &c.ledger)
		c.ledger.note(c.method.ruling(&c.ledger))
	}
}

// Peek looks at what happened since the last closed block: it may prove a
// breach, and nothing else. The same happenings come once more, in closed
// blocks. Only the errors of b count. The classic mode has no open look.
func (c *Case) Peek(b Block) {
	if b.Start.Before(c.ledger.end) || unusable(b) != "" {
		return
	}
	c.start()
	if c.method.peek(b, &c.ledger) {
		c.ledger.peeked(b)
	}
}

// Would tells whether Peek would prove a breach by b. It changes nothing, so
// that b may be a guess.
func (c *Case) Would(b Block) bool {
	if b.Start.Before(c.ledger.end) || unusable(b) != "" {
		return false
	}
	c.start()
	return c.method.would(b, &c.ledger)
}

// start ends what is "before", and chooses the method.
func (c *Case) start() {
	switch {
	case c.method != nil:
	case c.settings.Mode == ModeThreshold:
		c.method = &checks{settings: c.settings}
	default:
		c.method = newEvidence(c.settings, &c.before)
	}
}

// Ruling is the kind and the reason of the verdict as of now, without its
// numbers and words. It allocates nothing where there is data.
func (c *Case) Ruling(now time.Time) (Kind, Reason) {
	kind, reason := Hold, ReasonFewRequests
	if c.method != nil {
		kind, reason = c.method.ruling(&c.ledger)
	}
	if kind != Rollback && !c.ledger.current(now) {
		return NoData, ReasonNoData
	}
	return kind, reason
}

// Odds are the evidence towards rollback and towards promotion so far, as in
// Verdict.Against and Verdict.For.
func (c *Case) Odds() (against, forth float64) {
	if c.method == nil {
		return 0, 0
	}
	return c.method.odds()
}

// Verdict is the verdict on the evidence as of now. It may be asked at any
// time; only now decides whether the evidence is stale.
//
// A breach that was proven stays proven for the step, so that a replay over
// many blocks at once decides as the live judge did. After that, no data comes
// before everything else.
func (c *Case) Verdict(now time.Time) Verdict {
	l := &c.ledger
	v := Verdict{
		Covered: l.covered, Quiet: l.quiet, StableQuiet: l.still, Since: l.since, At: l.at,
		Step: l.step, Weight: l.weight,
		NoWorse: l.noWorse(c.settings.Limits, c.before.total.Requests > 0),
		Stable:  l.measure(&l.total.stable, func(r recent) int64 { return r.stable }),
		Canary:  l.measure(&l.total.canary, func(r recent) int64 { return r.canary }),
	}
	v.Kind, v.Reason = c.Ruling(now)
	if c.method != nil {
		c.method.describe(&v, l)
	}
	if v.Kind == NoData {
		v.Sentence, v.Since, v.More, v.MoreTime = l.noData(now), l.at, 0, 0
	}
	return v
}
