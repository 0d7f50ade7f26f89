package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"serin.dev/serin/pkg/canary"
)

type approve struct {
	rollback // for its question
}

func newApprove(t *tool) *cobra.Command {
	o := &approve{rollback{order: order{tool: t, verb: canary.CommandApprove}}}
	c := &cobra.Command{
		Use:   "approve NAME",
		Short: "Say yes to what a release waits for",
		Long: `Shows what a release waits for, with the evidence so far, and asks whether it may go
on. The yes is the annotation serin.dev/command of the Deployment, written with your
own rights; where the cluster notes who gave a command, the history says whose yes
it was. It is about this step alone.`,
		Example: `  kubectl canary approve web -n shop
  kubectl canary approve web --yes`,
		Args:              oneName,
		ValidArgsFunction: t.completeNames,
		RunE:              func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args[0]) },
	}
	f := c.Flags()
	f.BoolVar(&o.dry, "dry-run", false, "show what it waits for, and approve of nothing")
	f.BoolVarP(&o.yes, "yes", "y", false, "don't ask")
	f.DurationVar(&o.timeout, "timeout", orderTime, "how long to wait until Serin goes on")
	return c
}

func (o *approve) run(ctx context.Context, name string) error {
	s, r, found, err := o.about(ctx, name)
	if err != nil {
		return err
	}
	defer s.done()
	from, _, err := s.source(ctx, r)
	if err != nil {
		return err
	}
	d, err := from.Detail(ctx, found.key.Namespace, found.key.Name)
	if err != nil {
		return err
	}
	if !d.View.AwaitsApproval() {
		return fmt.Errorf("approve %s: it waits for nobody's approval: %s", found.key, d.View.Sentence)
	}
	if err := o.show(func(frame *screen) error { frame.approval(d.View, o.program.Now()); return nil }); err != nil || o.dry {
		return err
	}
	if err := o.ask(true, "Approve?"); err != nil {
		return err
	}
	// Whoever was asked may have thought about it for long.
	now, err := from.Detail(ctx, found.key.Namespace, found.key.Name)
	if err != nil {
		return err
	}
	if !sameYes(d.View, now.View) {
		return fmt.Errorf("approve %s: nothing was approved: it no longer waits for what was shown: %s", found.key, now.View.Sentence)
	}
	w, _, err := found.prepare(o.verb)
	if err != nil {
		return err
	}
	return o.give(ctx, s, r, found, w)
}

// sameYes tells that a release still waits for the yes that was asked for.
func sameYes(asked, now canary.View) bool {
	step := func(v canary.View) int {
		i := slices.IndexFunc(v.Awaits, func(a canary.Awaited) bool { return a.Kind == canary.AwaitApproval })
		if i < 0 {
			return -1
		}
		return v.Awaits[i].Step
	}
	return step(now) >= 0 && step(asked) == step(now) && asked.Rollout == now.Rollout && asked.Canary.Template == now.Canary.Template
}

// approval is what a release waits for, and what is known of it.
func (s *screen) approval(v canary.View, now time.Time) {
	long := ""
	if since := sinceOf(v); !since.IsZero() {
		long = ", for " + ago(now, since)
	}
	s.line(s.paint(bold, s.text(v.Key())) + s.text(fmt.Sprintf("  %s at %d%%%s", v.Phase, v.Weight, long)))
	s.awaits(v)
	s.change(v.Stable.Images, v.Canary.Images)
	s.traffic(v)
	s.evidence(v)
}

// awaits is what a release waits for, from people or from outside, and what was
// looked at.
func (s *screen) awaits(v canary.View) {
	head := "Waits     "
	for _, a := range v.Awaits {
		s.wrapped(s.paint(yellow, head), a.Sentence)
		head = "          "
	}
	for _, c := range v.Checks {
		sign := s.paint(green, s.glyph("✓", "ok"))
		if !c.Passed {
			sign = s.paint(red, s.glyph("✗", "failed"))
		}
		text := c.Name
		if c.Sentence != "" {
			text += ": " + c.Sentence
		}
		s.wrapped("  "+sign+" ", text)
	}
}

// approvals are who said yes to which step.
func (s *screen) approvals(all []canary.Approval) {
	for _, a := range all {
		s.line("Approved  " + s.text(fmt.Sprintf("step %d by %s at %s", a.Step, orDash(a.By), clock(a.At))))
	}
}
