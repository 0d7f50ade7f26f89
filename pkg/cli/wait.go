package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"serin.dev/serin/pkg/canary"
)

type waitOptions struct {
	*tool
	timeout      time.Duration
	blocked      time.Duration
	inconclusive time.Duration
	settle       time.Duration
}

func newWait(t *tool) *cobra.Command {
	o := &waitOptions{tool: t}
	c := &cobra.Command{
		Use:   "wait NAME",
		Short: "Wait until the version just applied is promoted or rolled back",
		Long: `For pipelines: waits for the end of the release of the pod template that the
Deployment has now, and says by its exit code how it ended. The release before
never satisfies it, and another template that is applied meanwhile ends it. Each
transition is one line. NAME is a Service or one of its Deployments; where two
take turns, name the Deployment you deployed to.

Exit codes:
` + exitLines("wait"),
		Example: `  kubectl set image deployment/web web=registry.example.com/web:v2
  kubectl canary wait web --timeout 1h`,
		Args:              oneName,
		ValidArgsFunction: t.completeNames,
		RunE:              func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args[0]) },
	}
	f := c.Flags()
	f.DurationVar(&o.timeout, "timeout", time.Hour, "how long to wait for the end")
	f.DurationVar(&o.blocked, "blocked-after", time.Minute, "how long something may be in the way before that is an end")
	f.DurationVar(&o.inconclusive, "inconclusive-after", 0, "how long a release may wait for a decision before that is an end")
	f.DurationVar(&o.settle, "nothing-after", 10*time.Second, "how long there must be nothing to release before that is believed")
	return c
}

// exitLines are the exit codes of a verb, for its help.
func exitLines(verb string) string {
	out := ""
	for _, e := range Exits() {
		if e.Verbs == "" || containsWord(e.Verbs, verb) {
			out += fmt.Sprintf("  %-3d %s\n", e.Code, e.Name)
		}
	}
	return out
}

func (o *waitOptions) run(ctx context.Context, name string) error {
	s, r, found, err := o.about(ctx, name)
	var none notFound
	if errors.As(err, &none) {
		return ending{exitNotCanary, "wait: " + none.why}
	}
	if err != nil {
		return err
	}
	defer s.done()
	w, err := newWatch(o, found, name)
	if err != nil {
		return err
	}
	return w.run(ctx, r)
}

// wait is one wait: for the end of the release of one pod template.
type wait struct {
	*waitOptions
	deployment string          // that was deployed to
	template   string          // its hash
	first      sight           // as it was at the beginning
	past       map[string]bool // rollouts that were over then

	told  string    // the last line
	why   string    // what is in the way, or why there is nothing to release
	since time.Time // when that was found first
}

// newWatch binds a wait to the pod template that the Deployment has now.
func newWatch(o *waitOptions, found sight, name string) (*wait, error) {
	w := &wait{waitOptions: o, first: found, past: map[string]bool{}}
	if found.observation.Observe {
		return nil, ending{exitNotCanary, fmt.Sprintf("wait %s: Serin only observes it (serin.dev/canary: observe); nothing is released for it", found.key)}
	}
	d, there := found.subjectOf()
	_, short, _ := splitName(name)
	if named, is := byName(found, short); is && named.CloneOf == "" {
		d, there = named, true
	}
	if !there {
		return nil, ending{exitNotCanary, fmt.Sprintf("wait %s: no Deployment of it asks for canary releases; kubectl annotate deployment NAME serin.dev/canary=true", found.key)}
	}
	if !asks(found, d.Name) && !found.state.Phase.Active() {
		return nil, ending{exitNotCanary, fmt.Sprintf("wait %s: Deployment %s does not ask for canary releases; kubectl annotate deployment %s serin.dev/canary=true", found.key, d.Name, d.Name)}
	}
	w.deployment, w.template = d.Name, d.TemplateHash
	for _, p := range found.observation.History {
		w.past[p.Rollout] = true
	}
	if found.state.Rollout != "" && !found.state.Phase.Active() {
		w.past[found.state.Rollout] = true
	}
	return w, nil
}

// run looks until the wait is over.
func (w *wait) run(ctx context.Context, r *reader) error {
	waiting, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	var last sight
	for {
		seen, err := r.look(waiting, w.first.key)
		if err == nil {
			last = seen
			w.tell(seen)
			if end := w.over(seen); end != nil {
				return w.end(*end)
			}
		}
		select {
		case <-waiting.Done():
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return ending{exitTimeout, fmt.Sprintf("wait %s: not over within %s: %s. The release goes on", w.first.key, w.timeout, last.view().Sentence)}
		case <-time.After(lookEvery):
		}
	}
}

// end says how it ended; done is no error.
func (w *wait) end(e ending) error {
	frame := screen{}
	fmt.Fprintln(w.streams.Out, w.program.Now().Format("15:04:05"), frame.text(e.message))
	if e.code == exitDone {
		return nil
	}
	return ending{code: e.code}
}

// tell writes a transition, once.
func (w *wait) tell(s sight) {
	if !w.mine(s) {
		return
	}
	line := fmt.Sprintf("%s %d%% %s: %s", s.state.Phase, s.state.Weight, s.state.Reason, s.state.Message)
	if line != w.told {
		w.told = line
		frame := screen{}
		fmt.Fprintln(w.streams.Out, w.program.Now().Format("15:04:05"), frame.text(line))
	}
}

// mine tells that the release under way is the one that is waited for.
func (w *wait) mine(s sight) bool {
	return s.state.Phase.Active() && !w.past[s.state.Rollout] && s.state.Canary.Template == w.template && s.from() == w.deployment
}

// from is the Deployment whose template is being released.
func (s sight) from() string {
	if s.state.InPlace {
		return s.state.Stable.Deployment
	}
	return s.state.Canary.Deployment
}

// over tells how the wait ended; nil: it has not.
func (w *wait) over(s sight) *ending {
	if e := w.ended(s); e != nil {
		return e
	}
	d, there := byName(s, w.deployment)
	switch {
	case !there:
		return &ending{exitSuperseded, fmt.Sprintf("Deployment %s is gone", w.deployment)}
	case w.mine(s):
		return w.held(s)
	case d.TemplateHash != w.template:
		return &ending{exitSuperseded, fmt.Sprintf("superseded: another pod template of %s was applied before this one was promoted", w.deployment)}
	case s.state.Phase.Active():
		w.why = ""
		return nil // of another template, which goes back or is being finished
	}
	return w.resting(s, d.Name)
}

// ended is how the release of this template ended since the wait began.
func (w *wait) ended(s sight) *ending {
	for _, p := range s.observation.History {
		if w.past[p.Rollout] || p.Canary.Template != w.template {
			continue
		}
		if p.Outcome == canary.Succeeded {
			head := w.deployment + " is promoted: "
			return &ending{exitDone, head + strings.TrimPrefix(p.Message, head)}
		}
		if p.Reason == canary.TemplateChanged {
			return &ending{exitSuperseded, "superseded: " + p.Message}
		}
		return &ending{exitRolledBack, fmt.Sprintf("%s is rolled back (%s): %s", w.deployment, p.Reason, p.Message)}
	}
	return nil
}

// held ends a wait for a release that waits for people.
func (w *wait) held(s sight) *ending {
	v := s.view()
	switch {
	case s.state.Phase == canary.Inconclusive && w.lasts("inconclusive", w.inconclusive):
		return &ending{exitInconclusive, fmt.Sprintf("a decision is needed: %s. kubectl canary resume, promote or abort %s decides", s.state.Message, s.key.Name)}
	case s.state.Phase == canary.Inconclusive:
		return nil
	case v.Phase == canary.Blocked && w.lasts(v.Sentence, w.blocked):
		return &ending{exitBlocked, "blocked: " + v.Sentence}
	case v.Phase == canary.Blocked:
		return nil
	}
	w.why = ""
	return nil
}

// resting ends a wait for which no release begins.
func (w *wait) resting(s sight, deployment string) *ending {
	p := s.plan()
	v := p.View
	if !s.observation.OptedIn || !asks(s, deployment) {
		return &ending{exitNotCanary, fmt.Sprintf("Deployment %s does not ask for canary releases any more", deployment)}
	}
	stopped := v.Phase == canary.Waiting && v.Reason == canary.AbortedByCommand
	switch {
	case p.Next.Phase.Active(), v.Phase == canary.Waiting && !stopped:
		w.why = "" // it begins as soon as Serin, or the pods, are there
		return nil
	case v.Phase == canary.Blocked, stopped:
		if w.lasts(v.Sentence, w.blocked) {
			return &ending{exitBlocked, "blocked: " + v.Sentence}
		}
		return nil
	case !w.lasts("nothing", w.settle):
		return nil
	}
	for _, p := range s.observation.History {
		if p.Canary.Template != w.template {
			continue
		}
		if p.Outcome == canary.RolledBack {
			return &ending{exitRolledBack, fmt.Sprintf("this pod template of %s was rolled back before (rollout %s, %s): %s. Change it, or try it again with kubectl canary retry %s", deployment, p.Rollout, p.Reason, p.Message, s.key.Name)}
		}
		break
	}
	return &ending{exitNothing, "nothing to release: " + v.Sentence}
}

// lasts tells that the same was so for a while.
func (w *wait) lasts(what string, least time.Duration) bool {
	now := w.program.Now()
	if w.why != what {
		w.why, w.since = what, now
	}
	return now.Sub(w.since) >= least
}
