package cli

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/judge"
	"serin.dev/serin/pkg/words"
)

type statusOptions struct {
	*tool
	watch  bool
	output string
}

func newStatus(t *tool) *cobra.Command {
	o := &statusOptions{tool: t}
	c := &cobra.Command{
		Use:   "status NAME",
		Short: "Show a release: steps, traffic, evidence, and what comes next",
		Long: `Shows where a release stands and why: its steps and weights as ordered and as
found on the routes, the requests, failures and latency of both versions, the
evidence towards a rollback and towards a promotion, what comes next and when,
and how the releases before it ended. NAME is a Service or one of its
Deployments; service/NAME and deployment/NAME say which.

With -w it is drawn anew each second, on a terminal in place, until the release
is over; elsewhere a line tells each change.`,
		Example: `  kubectl canary status web -n shop
  kubectl canary status web -w
  kubectl canary status web -o json`,
		Args:              oneName,
		ValidArgsFunction: t.completeNames,
		RunE:              o.run,
	}
	f := c.Flags()
	f.BoolVarP(&o.watch, "watch", "w", false, "go on until the release is over")
	f.StringVarP(&o.output, "output", "o", "", "json or yaml")
	completeOutput(c, asJSON, asYAML)
	return c
}

func (o *statusOptions) run(cmd *cobra.Command, args []string) error {
	if err := checkOutput(cmd, o.output, asJSON, asYAML); err != nil {
		return err
	}
	ctx := cmd.Context()
	s, r, found, err := o.about(ctx, args[0])
	if err != nil {
		return err
	}
	defer s.done()
	from, note, err := s.source(ctx, r)
	if err != nil {
		return err
	}
	if note != "" {
		o.note(note)
	}
	read := o.reading(from, found)
	if o.watch && o.output == "" {
		return o.follow(ctx, read)
	}
	d, err := read(ctx)
	if err != nil {
		return err
	}
	if o.output != "" {
		return writeAs(o.streams.Out, o.output, d)
	}
	frame := &screen{style: styleOf(o.streams.Out, false, os.Getenv)}
	frame.status(d, o.program.Now())
	_, err = io.WriteString(o.streams.Out, frame.b.String())
	return err
}

// reading reads the detail of what was found, and tells once what is not known.
func (o *statusOptions) reading(from source, found sight) func(context.Context) (canary.Detail, error) {
	told := false
	return func(ctx context.Context) (canary.Detail, error) {
		d, err := from.Detail(ctx, found.key.Namespace, found.key.Name)
		if own, is := from.(*local); is && own.judged.failed != nil && !told {
			told = true
			o.note("what the judge sees is not shown: " + own.judged.failed.Error())
		}
		return d, err
	}
}

// follow shows a release until it is over.
func (o *statusOptions) follow(ctx context.Context, read func(context.Context) (canary.Detail, error)) error {
	var d canary.Detail
	before, began := "", false
	return o.live(ctx, func(frame *screen) (bool, error) {
		var err error
		if d, err = read(ctx); err != nil {
			return false, err
		}
		frame.status(d, o.program.Now())
		over := began && !d.View.Phase.Active() && d.View.Phase != canary.Blocked && d.View.Phase != canary.Waiting && d.View.Phase != canary.Watched
		began = began || d.View.Phase.Active()
		return over, nil
	}, func(frame *screen) error {
		what := changeOf(d.View)
		if what == before {
			return nil
		}
		before = what
		_, err := fmt.Fprintln(o.streams.Out, o.program.Now().Format("15:04:05"), frame.text(what))
		return err
	})
}

// changeOf is what of a release is news.
func changeOf(v canary.View) string {
	return fmt.Sprintf("%s %d%% %s: %s", v.Phase, v.Weight, v.Reason, v.Sentence)
}

// status is a release with its past.
func (s *screen) status(d canary.Detail, now time.Time) {
	v := d.View
	arrow := " " + s.glyph("→", "->") + " "
	s.line(s.paint(bold, s.text(v.Key())) + "  " + s.text(v.Stable.Deployment) + arrow + s.text(v.Canary.Deployment) + s.paint(dim, s.text(rolloutOf(v))))
	s.line(s.paint(phaseColour(v.Phase), s.text(string(v.Phase))) + s.text(s.standing(v, now)))
	s.wrapped("  ", v.Sentence)
	s.awaited(v, now)
	if len(v.Path) > 0 {
		s.line("")
		s.steps(v)
		s.weights(v)
	}
	s.runs(v)
	s.traffic(v)
	s.evidence(v)
	s.checks(v)
	s.approved(v, now)
	s.next(v, now)
	s.aftermath(v)
	s.findings(v)
	s.history(d.History, now)
}

func rolloutOf(v canary.View) string {
	if v.Rollout == "" {
		return ""
	}
	how := "  two Deployments"
	if v.InPlace {
		how = "  in place"
	}
	return "  rollout " + v.Rollout + how
}

func (s *screen) standing(v canary.View, now time.Time) string {
	var parts []string
	if len(v.Path) > 0 && v.Step > 0 {
		parts = append(parts, fmt.Sprintf("step %d of %d", v.Step, v.Steps))
	}
	if len(v.Path) > 0 {
		parts = append(parts, fmt.Sprintf("%d%%", v.Weight))
	}
	if !v.Since.IsZero() {
		parts = append(parts, "for "+age(now.Sub(v.Since)))
	}
	if len(parts) == 0 {
		return ""
	}
	return "  " + strings.Join(parts, ", ")
}

// steps are the shares of a release in a row, with those that are done.
func (s *screen) steps(v canary.View) {
	var parts []string
	for i, step := range v.Path {
		sign, colour := s.glyph("○", "."), dim
		switch {
		case i+1 < v.Step:
			sign, colour = s.glyph("✓", "+"), green
		case i+1 == v.Step:
			sign, colour = s.glyph("●", "*"), cyan
		}
		parts = append(parts, s.paint(colour, sign+" "+step.Share()))
	}
	s.line("Steps     " + strings.Join(parts, s.paint(dim, s.glyph(" ─ ", " - "))))
}

// weights are the share as ordered and as found.
func (s *screen) weights(v canary.View) {
	const width = 20
	line := "Weight    " + s.bar(float64(v.Weight)/100, width, phaseColour(v.Phase)) + fmt.Sprintf(" %d%% ordered", v.Weight)
	if v.Header != "" {
		line += s.paint(dim, s.text("; testers: "+v.Header))
	}
	s.line(line)
	if v.Mirror > 0 {
		s.line(fmt.Sprintf("          copies of %d%% of the requests", v.Mirror))
	}
	for _, share := range v.Shares {
		found := fmt.Sprintf("%d%%", share.Most)
		if share.Least != share.Most {
			found = fmt.Sprintf("%d%% to %d%%", share.Least, share.Most)
		}
		colour := dim
		if share.Most != v.Weight || share.Least != v.Weight {
			colour = yellow
		}
		s.line("          " + s.paint(colour, s.text("VirtualService "+share.VirtualService+": "+found)))
	}
}

// traffic is what both versions answered at this step, beside the limits.
func (s *screen) traffic(v canary.View) {
	j := v.Verdict
	if j.StableRequests+j.CanaryRequests == 0 {
		return
	}
	s.line("")
	side := func(name string, requests, errors int64, rate float64, p99 canary.Bounds) []string {
		return []string{"  " + name, words.Number(rate), words.Tally(judge.Tally{N: requests, Hits: errors}), strings.TrimPrefix(words.Quantile(p99), "P99 ")}
	}
	rows := [][]string{
		{"Traffic", s.paint(dim, "requests/s"), s.paint(dim, "failed"), s.paint(dim, "P99")},
		side("stable", j.StableRequests, j.StableErrors, j.StableRate, j.StableP99),
		side("canary", j.CanaryRequests, j.CanaryErrors, j.CanaryRate, j.CanaryP99),
	}
	if v.Limits.ErrorRate > 0 {
		rows = append(rows, []string{"  limit", "", words.Percent(v.Limits.ErrorRate) + ratioOf(v.Limits.ErrorRatio), v.Limits.P99.String() + ratioOf(v.Limits.P99Ratio)})
	}
	s.table(rows)
}

func ratioOf(ratio float64) string {
	if ratio == 0 {
		return ""
	}
	return ", " + words.Number(ratio) + "x stable"
}

// evidence is how near the judge is to a verdict.
func (s *screen) evidence(v canary.View) {
	j := v.Verdict
	if j.Kind == "" {
		return
	}
	s.line("")
	s.wrapped("Verdict   "+s.paint(kindColour(j.Kind), s.text(j.Kind))+" ", "("+j.Reason+") "+j.Sentence)
	if j.Bake > 0 {
		s.line("  baked     " + s.bar(j.Covered.Seconds()/j.Bake.Seconds(), gauge, blue) + fmt.Sprintf(" %s of %s", j.Covered, j.Bake))
	}
	if j.RollbackAt <= 0 || j.PromoteAt <= 0 {
		return
	}
	s.odds("roll back", j.Against, j.RollbackAt, red)
	s.odds("promote", j.For, j.PromoteAt, green)
	if j.More > 0 {
		more := "about " + words.Count(j.More) + " more canary requests are needed"
		if j.MoreTime > 0 {
			more += ", " + j.MoreTime.String() + " at the present rate"
		}
		s.line("  " + more)
	}
}

// gauge is how wide the gauges of the evidence are.
const gauge = 20

func (s *screen) odds(name string, now, suffices canary.Odds, colour string) {
	share := math.Max(0, math.Min(1, float64(now)/float64(suffices)))
	s.line(fmt.Sprintf("  %-9s ", name) + s.bar(share, gauge, colour) + " " + words.Odds(float64(now)) + ", " + words.Odds(float64(suffices)) + " suffices")
}

func kindColour(kind string) string {
	switch judge.Kind(kind) {
	case judge.Promote:
		return green
	case judge.Rollback:
		return red
	case judge.Hold:
		return cyan
	}
	return yellow
}

// next is what comes next of itself, and when.
func (s *screen) next(v canary.View, now time.Time) {
	n := v.Next
	if n.Sentence == "" {
		return
	}
	s.line("")
	text := n.Sentence
	if n.At.After(now) {
		text += ", in " + age(n.At.Sub(now)) + " at the earliest"
	}
	s.wrapped("Next      ", text)
	if !n.Deadline.IsZero() {
		s.line(fmt.Sprintf("          deadline of the step %s, in %s", n.Deadline.Local().Format("15:04:05"), age(n.Deadline.Sub(now))))
	}
}

// findings are what preflight found, with the mend.
func (s *screen) findings(v canary.View) {
	for i, f := range v.Findings {
		if i == 0 {
			s.line("")
		}
		colour, word := yellow, "Warning   "
		if f.Blocking {
			colour, word = red, "Blocking  "
		}
		s.wrapped(s.paint(colour, word), f.Sentence())
	}
}

// history is how the releases before ended.
func (s *screen) history(past []canary.Past, now time.Time) {
	if len(past) == 0 {
		return
	}
	s.line("")
	rows := [][]string{{"History", s.paint(dim, "ended"), s.paint(dim, "took"), s.paint(dim, "reached"), s.paint(dim, "why")}}
	for _, p := range past {
		rows = append(rows, []string{
			"  " + s.paint(phaseColour(p.Outcome), s.text(string(p.Outcome))), ago(now, p.Ended) + " ago", age(p.Ended.Sub(p.Started)),
			fmt.Sprintf("%d%%", p.Weight), s.text(string(p.Reason)) + s.paint(dim, "  "+s.text(p.Rollout)),
		})
	}
	s.table(rows)
}
