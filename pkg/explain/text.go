package explain

import (
	"fmt"
	"io"
	"strings"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/judge"
	"serin.dev/serin/pkg/safetext"
	"serin.dev/serin/pkg/words"
)

// Style is how a text looks: how wide it is and what the terminal can show.
type Style struct {
	Width   int  // in columns; at least 60 are used
	Colours bool // by ANSI escape sequences
	Plain   bool // ASCII and no colours, whatever Colours says
	Zone    *time.Location
}

const (
	leastWidth = 60
	mostWidth  = 140
)

// colour is an ANSI escape sequence's number.
type colour string

const (
	none   colour = ""
	bold   colour = "1"
	dim    colour = "2"
	red    colour = "31"
	green  colour = "32"
	yellow colour = "33"
)

// writer writes lines in a style. The first error stays.
type writer struct {
	out     io.Writer
	glyphs  glyphs
	colours bool
	ascii   bool
	width   int
	zone    *time.Location
	dated   bool // a clock's time alone would not say which day
	err     error
}

// Text writes the story for people.
func (s Story) Text(out io.Writer, style Style) error {
	w := &writer{
		out: out, glyphs: pretty, colours: style.Colours && !style.Plain, ascii: style.Plain,
		width: min(max(style.Width, leastWidth), mostWidth), zone: style.Zone,
	}
	if style.Plain {
		w.glyphs = plain
	}
	if w.zone == nil {
		w.zone = time.UTC
	}
	if n := len(s.Looks); n > 0 && s.Looks[n-1].Block.End().Sub(s.Looks[0].Block.Start) > 20*time.Hour {
		w.dated = true
	}
	s.header(w)
	if looks := judged(s.Shown()); accepted(looks) > 0 {
		s.plot(w, looks)
		s.moments(w, looks)
		s.fell(w, looks)
		s.atTheEnd(w, looks[len(looks)-1])
	}
	s.unknown(w)
	if w.err != nil {
		return fmt.Errorf("write the explanation: %w", w.err)
	}
	return nil
}

func (s Story) header(w *writer) {
	st := s.State
	w.line(w.paint(bold, safetext.Line(s.Namespace+"/"+s.Service)) +
		safetext.Line("  "+st.Stable.Deployment+w.glyphs.arrow+st.Canary.Deployment) + w.paint(dim, safetext.Line("  rollout "+st.Rollout)))
	w.flow(w.paint(phaseColour(st.Phase), safetext.Line(string(st.Phase)))+" ", len(st.Phase)+1, 2, s.where()+s.when(w))
	if st.Message != "" {
		w.hanging("  ", 2, st.Message)
	}
	if s.Observed() {
		w.hanging("  ", 2, "People set the weights and Serin only judges: this is the time since the weights, or a version, changed last")
	}
	w.wrapped("Limits: ", words.Limits(s.Settings.Limits, s.Settings.Custom))
	for _, e := range s.Baseline.Over {
		said := fmt.Sprintf("%s within %s, but %s", e.Metric, e.Limit, e.Seen)
		if e.Suggest != "" {
			said += "; it would keep " + e.Suggest
		}
		w.flow(w.paint(yellow, "Stable itself breaks a limit: "), wide("Stable itself breaks a limit: "), 2, said)
	}
}

// where is how far the release is, or came.
func (s Story) where() string {
	st, steps := s.State, len(s.State.Spec.Steps)
	switch {
	case s.Observed():
		return fmt.Sprintf(" %d%%, %s", st.Weight, s.present())
	case st.Phase == canary.Succeeded:
		return fmt.Sprintf(" over %d steps", steps)
	case st.Step == 0:
		return " before step 1"
	case !s.Ended.IsZero():
		return fmt.Sprintf(" at step %d of %d, %d%% reached", st.Step, steps, st.Peak)
	}
	return fmt.Sprintf(" at step %d of %d, %s", st.Step, steps, exposure(judge.Block{Weight: st.Weight, Mirror: canary.TrafficOf(st).Mirror}))
}

func (s Story) when(w *writer) string {
	began := s.State.Started.In(w.zone)
	if s.Ended.IsZero() {
		return fmt.Sprintf(", since %s, for %s", began.Format("2006-01-02 15:04:05 MST"), span(s.Asked.Sub(s.State.Started)))
	}
	return fmt.Sprintf(", %s, after %s", s.Ended.In(w.zone).Format("2006-01-02 15:04:05 MST"), span(s.Ended.Sub(s.State.Started)))
}

func (s Story) plot(w *writer, looks []Look) {
	over := lay(looks, w.width-labelWidth-2)
	all := lanes(looks)
	if all == nil {
		all = []lane{failedLane(s.Settings.Limits.ErrorRate)}
	}
	for _, l := range all {
		w.line("")
		l.draw(w, looks, over)
	}
	axis(w, looks, over)
	bars(w, "req/s", none, looks, over, func(b judge.Block) int64 { return b.Canary.Requests })
	bars(w, "bad/s", red, looks, over, func(b judge.Block) int64 { return b.Canary.Errors })
}

// mostMoments is how many rows the table of moments has at most; of more the
// first and the last are shown.
const mostMoments = 24

func (s Story) moments(w *writer, looks []Look) {
	w.title("Verdicts")
	turns := Turns(looks)
	left := len(turns) - mostMoments
	kinds := 0
	for _, t := range turns {
		kinds = max(kinds, len(t.Verdict.Kind)+2)
	}
	widest := len("100%") + 1
	for _, t := range turns {
		widest = max(widest, len(exposure(t.Block)))
	}
	for i, t := range turns {
		if left > 0 && i >= mostMoments/2 && i < len(turns)-mostMoments/2 {
			if i == mostMoments/2 {
				w.line(w.paint(dim, fmt.Sprintf("  %d more, see --json or --step", left)))
			}
			continue
		}
		v := t.Verdict
		head := fmt.Sprintf("  %s %*s  ", w.clock(t.Block.End()), widest, exposure(t.Block))
		kind := fmt.Sprintf("%-*s", kinds, v.Kind)
		w.hanging(w.paint(dim, head)+w.paint(kindColour(v.Kind), kind), wide(head)+kinds, v.Sentence)
	}
}

func (s Story) fell(w *writer, looks []Look) {
	l, ok := Fell(looks)
	if !ok {
		last := looks[len(looks)-1].Verdict
		if last.More > 0 && s.Ended.IsZero() {
			w.line("")
			w.flow(w.paint(bold, "No verdict yet: "), wide("No verdict yet: "), 2, "about "+words.Count(last.More)+" more canary requests are needed"+inTime(last.MoreTime))
		}
		return
	}
	v := l.Verdict
	after := ""
	if from := looks[0].Block.Start; s.Step != 0 {
		after = fmt.Sprintf(", %s into the step", span(l.Block.End().Sub(from)))
	} else if from := stepBegan(looks, l); !from.IsZero() {
		after = fmt.Sprintf(", %s into step %d", span(l.Block.End().Sub(from)), v.Step)
	}
	if v.Open {
		after += ", on what came after the last closed block"
	}
	w.line("")
	head := "The verdict fell at " + w.clock(l.Block.End()) + ": "
	w.flow(w.paint(bold, head), wide(head), 2, string(v.Kind)+" ("+string(v.Reason)+")"+after+
		fmt.Sprintf(", after %s canary requests at this weight, %s of them failed", words.Count(v.Canary.Requests), words.Count(v.Canary.Errors)))
}

func inTime(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return ", " + span(d) + " at the present rate"
}

// stepBegan is when the step of a look began.
func stepBegan(looks []Look, of Look) time.Time {
	for _, l := range looks {
		if sameStep(l.Block, of.Block) {
			return l.Block.Start
		}
	}
	return time.Time{}
}

// atTheEnd is the evidence of each metric as it stood last.
func (s Story) atTheEnd(w *writer, l Look) {
	v := l.Verdict
	w.title("Evidence at " + w.clock(l.Block.End()))
	for _, side := range []struct {
		name string
		m    judge.Measure
	}{{"canary", v.Canary}, {"stable", v.Stable}} {
		w.line(fmt.Sprintf("  %-7s %s requests at this step, %s/s, %s", side.name, words.Count(side.m.Requests), words.Number(side.m.Rate), words.Quantile(side.m.P99)))
	}
	if len(v.Metrics) == 0 {
		return
	}
	w.line("")
	rows := [][]string{{"metric", "limit", "canary", "surely", "stable", "roll back", "promote"}}
	for _, m := range v.Metrics {
		rows = append(rows, s.metric(m))
	}
	w.table(rows, intervals)
}

// intervals is the column of the table that narrow terminals go without.
const intervals = 3

// metric is a row of the table: what was bad of the canary's and of stable's
// requests at the step, and the evidence.
func (s Story) metric(m judge.Metric) []string {
	against := words.Ratio(m.Against)
	if !m.Judged {
		against = "no part"
	}
	row := []string{m.Name, s.limitOf(m), "no data", "", "", against, words.Ratio(m.For)}
	if m.Missing == "" {
		row[2], row[3], row[4] = words.Tally(m.Canary), words.Between(m.Low, m.High), words.ShareOf(m.Stable)
	}
	return row
}

// limitOf is a metric's limit as people write it.
func (s Story) limitOf(m judge.Metric) string {
	for _, c := range s.Settings.Custom {
		if c.Name == m.Name {
			sign := "<= "
			if c.AtLeast {
				sign = ">= "
			}
			return sign + words.CustomBound(c)
		}
	}
	if strings.HasSuffix(m.Name, "-vs-stable") {
		return words.Number(m.Limit) + "x"
	}
	if m.Name == "latency" {
		return judge.Duration(s.Settings.Limits.P99)
	}
	return words.Percent(m.Limit)
}

func (s Story) unknown(w *writer) {
	if len(s.Gaps)+len(s.Unknown)+len(s.Warnings) == 0 {
		return
	}
	w.title("Not known")
	for _, g := range s.Gaps {
		w.hanging("  ", 2, fmt.Sprintf("%s to %s, step %d: %s", w.clock(g.From), w.clock(g.To), g.Step, g.Why))
	}
	for _, u := range s.Unknown {
		w.hanging("  ", 2, u)
	}
	for _, u := range s.Warnings {
		w.hanging("  ", 2, "Prometheus warns: "+u)
	}
}

func kindColour(k judge.Kind) colour {
	switch k {
	case judge.Rollback:
		return red
	case judge.Promote:
		return green
	case judge.NoData, judge.Starved, judge.SharedIncident:
		return yellow
	}
	return none
}

func phaseColour(p canary.Phase) colour {
	switch p {
	case canary.Succeeded:
		return green
	case canary.RollingBack, canary.RolledBack:
		return red
	case canary.Paused, canary.Inconclusive:
		return yellow
	}
	return bold
}
