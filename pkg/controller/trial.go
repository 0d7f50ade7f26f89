package controller

import (
	"strings"
	"time"

	"go.uber.org/zap"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/cluster"
	"serin.dev/serin/pkg/judge"
	"serin.dev/serin/pkg/prom"
	"serin.dev/serin/pkg/replay"
)

const (
	// farBehind is how many closed blocks are more than the usual delay.
	farBehind = 16
	// quickestPeek is the shortest time between two looks at the open block.
	quickestPeek = 500 * time.Millisecond
	// beatsPerBlock is how often a block is looked at at most while it is open.
	beatsPerBlock = 30
	// firstRepeat and lastRepeat bound how soon a question that wasn't answered
	// is asked again.
	firstRepeat = time.Second
	lastRepeat  = 10 * time.Second
)

// trial is what the judge knows of one rollout, over its whole release.
type trial struct {
	key     cluster.Key
	state   canary.State
	reading replay.Reading
	width   time.Duration // of its blocks, as found out or assumed; zero while unknown
	// assumed is when to find out again what was only assumed, for there was
	// nothing to tell it from; zero when it was found out.
	assumed time.Time

	// newest is when a proxy that reports on it was scraped last, as found out at
	// measured: before the first step nothing else tells that Prometheus sees them.
	newest, measured time.Time

	// behind tells that there is more to read than what was just closed, so that
	// no verdict is of now.
	behind     bool
	pause      time.Time      // nothing is asked before
	peeked     time.Time      // the beat at which the open block was looked at last
	suspect    bool           // the last rough look at the open block would prove a breach
	failures   int64          // of the canary, that it showed
	awaits     time.Time      // when the next closer look at it may tell more than the last
	reviewed   time.Time      // when it was looked at as a suspect last
	unanswered string         // why the last question was not answered
	warnings   string         // that came with the last answer
	points     []canary.Point // what was measured, for people to see
	ruled      time.Time      // when the judge came to roll back; zero while it has not
	kind       judge.Kind
	reason     judge.Reason // of the verdict that was logged last
}

// see tells how far behind the trial is, whenever something was asked or changed:
// it must not come to be so by the mere passing of time, which wakes nobody.
func (t *trial) see(now time.Time) {
	s, some := t.reading.Stretch()
	t.behind = some && (s.Before || t.reading.Left(now) > farBehind)
}

// blockWidth is the width of its blocks: as the state has it once the canary has
// had users, as found out before; zero while unknown.
func (t *trial) blockWidth() time.Duration {
	if t.state.Width > 0 {
		return t.state.Width
	}
	return t.width
}

// widthDue is when to find out the width of its blocks; false when it is known,
// or can't change any more. While testers alone are on the canary it is found out
// again and again: the first user is sent to it only while somebody could judge it.
func (t *trial) widthDue(now time.Time) (at time.Time, some bool) {
	switch {
	case t.blockWidth() == 0:
		return later(now, t.pause), true
	case t.state.Width == 0 && !t.assumed.IsZero():
		return later(t.assumed, t.pause), true
	case t.state.Phase == canary.Testing:
		return later(t.measured.Add(lastRepeat), t.pause), true
	}
	return time.Time{}, false
}

// unseen tells that Prometheus shows no fresh sample of the proxies, or was not asked
// for long. A Service without any requests is as unseen as one that nobody scrapes:
// there is no telling them apart, and neither could be judged.
func (t *trial) unseen(now time.Time) bool {
	if t.state.Phase != canary.Testing || t.measured.IsZero() {
		return false
	}
	age := canary.Freshness(t.blockWidth())
	return now.Sub(t.newest) > lastRepeat+age || t.measured.Sub(t.newest) > age
}

// verdict is the judge's answer where the rollout stands in state s.
func (t *trial) verdict(s canary.State, now time.Time) judge.Verdict {
	v := t.reading.Case().Verdict(now)
	// A block of a step was read, if only one without data, where the case knows the step.
	here := v.Step == s.Step && v.Weight == s.Weight && (s.Step > 0 || !v.At.IsZero())
	switch {
	case v.Open && exposed(s): // only the present step is looked at before its blocks are closed
		v.Step, v.Weight = s.Step, s.Weight
		return v
	case here && v.Kind == judge.Rollback:
		return v
	case t.unanswered == "" && (!here || t.behind):
		return judge.Verdict{} // nothing of now is known, and soon will be
	case here:
		return v
	case !exposed(s) && !s.Phase.Drains():
		return judge.Verdict{} // there is nothing to judge
	}
	// Evidence without a block does not know of which step it is, and the
	// missing answer would pass for a step that has just begun.
	v.Kind, v.Reason = judge.NoData, judge.ReasonNoData
	v.Step, v.Weight, v.Sentence = s.Step, s.Weight, "no data: Prometheus does not answer"
	return v
}

// ask is the question for what comes next; false if there is none.
func (t *trial) ask(o benchOptions) (prom.Ask, bool) {
	s, some := t.reading.Stretch()
	if !some {
		return prom.Ask{}, false
	}
	a := s.Ask(t.key.Namespace, t.key.Name, t.state, t.reading.Had())
	a.Key, a.Reporter = t.name(), o.reporter
	for _, limit := range t.state.Spec.Custom {
		// One that the operator has no more is a metric without data.
		template, known := o.templates[limit.Name]
		if !known {
			template.Name = limit.Name
		}
		a.Custom = append(a.Custom, prom.Custom{Template: template, Limit: limit})
	}
	return a, true
}

// name is the trial's, for the answers to its questions.
func (t *trial) name() string { return t.key.String() + " " + t.state.Rollout }

// wait lets the next question wait for as long as fits the pace of its blocks.
func (t *trial) wait(now time.Time) {
	t.pause = now.Add(min(max(t.blockWidth(), firstRepeat), lastRepeat))
}

// beat is how often the open block is looked at.
func (t *trial) beat() time.Duration { return max(quickestPeek, t.state.Width/beatsPerBlock) }

// exposed tells that the canary is sent requests by which it is judged: of users, or
// copies of theirs.
func exposed(s canary.State) bool { return s.Weight > 0 || canary.TrafficOf(s).Mirror > 0 }

// watched tells whether open blocks are looked at: the canary is judged, and the
// present step is being read.
func (t *trial) watched() bool {
	return exposed(t.state) && !t.state.Phase.Drains() && t.reading.Present() &&
		t.reading.Case().Settings().Mode == judge.ModeEvidence
}

// peekable tells whether the open block is worth a look now: all that was before
// is known, and there is one.
func (t *trial) peekable(now time.Time) bool {
	return t.watched() && t.reading.Left(now) <= 1 && t.reading.Next().Before(now) && beatOf(now, t.beat()).After(t.peeked)
}

// reviewBeat is how often a suspect's open block is looked at at most.
const reviewBeat = 250 * time.Millisecond

// reviewable tells that it is a suspect, with an open block to look at.
func (t *trial) reviewable(now time.Time) bool {
	return t.suspect && t.watched() && t.reading.Left(now) <= 1 && t.reading.Next().Before(now)
}

// longestAwait bounds how long a closer look at an open block waits for a scrape: the
// proxy that it is awaited of may be gone.
const longestAwait = 2 * time.Second

// await notes when more can be known of an open block than was seen of it just now:
// the canary is judged up to the last scrape of that proxy of stable which was
// scraped the longest ago, so not before that one is scraped again. Of many canaries
// that fail at once each is then asked about when it is due, and not all at each
// look, which would have to be a coarser one.
func (t *trial) await(seen judge.Block, now time.Time) {
	t.awaits = time.Time{}
	if t.state.Weight == 100 || seen.Stable.Seen.IsZero() {
		return
	}
	if t.awaits = seen.Stable.Seen.Add(t.state.Width); t.awaits.After(now.Add(longestAwait)) {
		t.awaits = now.Add(longestAwait)
	}
}

// answered logs what changed about Prometheus's answers, and not each of them.
func (t *trial) answered(err error, warnings []string, log *zap.Logger) {
	log = log.With(zap.Stringer("service", t.key))
	switch {
	case err != nil && t.unanswered == "":
		log.Warn("Prometheus does not answer", zap.Error(err))
	case err == nil && t.unanswered != "":
		log.Info("Prometheus answers again")
	}
	t.unanswered = ""
	if err != nil {
		t.unanswered = err.Error()
	}
	if told := strings.Join(warnings, "; "); told != t.warnings {
		t.warnings = told
		if told != "" {
			log.Warn("Prometheus warns", zap.String("warnings", told))
		}
	}
}

// logVerdict tells once what the judge came to, so that whoever asks later why
// finds it in the log.
func (t *trial) logVerdict(now time.Time, log *zap.Logger) (another bool) {
	v := t.verdict(t.state, now)
	if v.Kind == "" || v.Kind == t.kind && v.Reason == t.reason {
		return false
	}
	switch {
	case v.Kind != judge.Rollback:
		t.ruled = time.Time{}
	case t.kind != judge.Rollback:
		t.ruled = time.Now()
	}
	t.kind, t.reason = v.Kind, v.Reason
	log.Info("Verdict: "+v.Sentence, zap.Stringer("service", t.key), zap.String("rollout", t.state.Rollout),
		zap.String("kind", string(v.Kind)), zap.String("reason", string(v.Reason)),
		zap.Int("step", v.Step), zap.Int("weight", v.Weight), zap.Bool("open", v.Open))
	return true
}

// mayMove tells that the rollout may have to move on what is known now, though the
// verdict is no other than before: its step may have baked, its patience be over.
func (t *trial) mayMove(now time.Time) bool {
	s := t.state
	if s.Phase != canary.Progressing || s.Step < 1 || s.Step > len(s.Spec.Steps) {
		return true
	}
	v := t.verdict(s, now)
	return v.Kind == judge.Rollback || v.Kind == judge.Promote && v.Covered >= s.Spec.Steps[s.Step-1].Bake
}
