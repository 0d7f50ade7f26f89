package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/topology"
)

// Orders are annotations: Serin reads them, and so does everybody else.
const (
	commandKey   = "serin.dev/command"
	fieldManager = "kubectl-canary"
)

// How long an order is watched by default, and how often is looked.
const (
	orderTime = 30 * time.Second
	lookEvery = 200 * time.Millisecond
)

// order is a verb that writes an order and waits until it is carried out.
type order struct {
	*tool
	verb    string
	timeout time.Duration
}

func newOrder(t *tool, verb, short, long string) *cobra.Command {
	o := &order{tool: t, verb: verb}
	c := &cobra.Command{
		Use:   verb + " NAME",
		Short: short,
		Long: long + `

The order is the annotation serin.dev/command of the Deployment, written with your
own rights. Returns when Serin has carried it out, and says what came of it.`,
		Example:           "  kubectl canary " + verb + " web -n shop",
		Args:              oneName,
		ValidArgsFunction: t.completeNames,
		RunE:              func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args[0]) },
	}
	c.Flags().DurationVar(&o.timeout, "timeout", orderTime, "how long to wait until it is carried out")
	return c
}

func newOrders(t *tool) []*cobra.Command {
	return []*cobra.Command{
		newOrder(t, canary.CommandPromote, "Give the canary all traffic now; the last step still bakes", `Goes to 100% now, over the steps between. The last step still bakes, and a canary
that breaks a limit is rolled back all the same.`),
		newOrder(t, canary.CommandPause, "Hold a release at its weight", `Holds the release at its weight until kubectl canary resume. A canary that breaks
a limit is rolled back all the same.`),
		newOrder(t, canary.CommandResume, "Go on after a pause, or after a deadline without a verdict", `Goes on: takes the order pause away, or decides for a release that a person or a
deadline without a verdict holds. Where no release is under way it takes a
standing order away (abort), so that the next change is released again.`),
		newOrder(t, canary.CommandRetry, "Release a version again that was tried before", `Releases the present pod template although it was tried before: after a rollback
or an abort whose cause is gone.`),
		newOrder(t, canary.CommandSkip, "End this step now and go to the next", `Ends the present step without waiting for its bake or its verdict.`),
		newRollback(t),
	}
}

func (o *order) run(ctx context.Context, name string) error {
	s, r, found, err := o.about(ctx, name)
	if err != nil {
		return err
	}
	defer s.done()
	write, already, err := found.prepare(o.verb)
	if err != nil {
		return err
	}
	if already != "" {
		_, err := fmt.Fprintln(o.streams.Out, already)
		return err
	}
	return o.give(ctx, s, r, found, write)
}

// give writes an order, and waits until it is carried out.
func (o *order) give(ctx context.Context, s *session, r *reader, found sight, w written) error {
	records := len(found.observation.History)
	if err := s.cluster.command(ctx, w); err != nil {
		return err
	}
	s.warnUnled(ctx)
	return o.confirm(ctx, r, found, w, records)
}

// written is an order as it is written.
type written struct {
	deployment string
	value      string // empty: the annotation is taken off
	id         string // of an order that acts once
}

// unique is an id that no order had before.
func unique() string { return strings.ToLower(rand.Text()[:10]) }

// prepare says what has to be written for an order; already that nothing has to be.
// The error says why the order does not fit, and the mend.
func (s sight) prepare(verb string) (w written, already string, err error) {
	active := s.state.Phase.Active()
	standing := ""
	if c := s.observation.Command; c != nil && c.ID == "" {
		standing = c.Verb
	}
	w = written{deployment: s.deployment(), id: unique()}
	w.value = verb + " #" + w.id
	refuse := func(format string, args ...any) (written, string, error) {
		return written{}, "", fmt.Errorf("%s %s: "+format, append([]any{verb, s.key}, args...)...)
	}
	switch verb {
	case canary.CommandPause:
		return s.preparePause(w, standing)
	case canary.CommandResume:
		held := s.state.Phase == canary.Paused || s.state.Phase == canary.Inconclusive
		switch {
		case !active && standing != "", active && !held && standing == canary.CommandPause:
			return written{deployment: w.deployment}, "", nil
		case !active:
			return refuse("no release is under way: %s", s.view().Sentence)
		case !held:
			return written{}, fmt.Sprintf("%s is not held: it is %s at %d%%.", s.key, s.state.Phase, s.state.Weight), nil
		}
	case canary.CommandRetry:
		if active {
			return refuse("its release is under way (%s at %d%%); kubectl canary status %s shows it", s.state.Phase, s.state.Weight, s.key.Name)
		}
		// In place the way for a release is made ready before it begins.
		if p := s.ordered(&canary.Command{Verb: verb, ID: w.id}).plan(); !p.Next.Phase.Active() && p.View.Phase != canary.Waiting {
			return refuse("%s", p.View.Sentence)
		}
		return w, "", nil
	case canary.CommandRollback:
		if !active {
			return s.prepareReturn(w)
		}
	case canary.CommandApprove:
		// Gates answer the controller alone: only its view tells what waits for a yes, also
		// before a release began.
		return w, "", nil
	}
	if !active {
		return refuse("no release is under way: %s", s.view().Sentence)
	}
	return w, "", s.fits(verb, w.id)
}

// fits fails with what Serin would say, if it would not carry an order out.
func (s sight) fits(verb, id string) error {
	for _, e := range s.ordered(&canary.Command{Verb: verb, ID: id}).plan().Tell {
		if e.Reason == canary.CommandIgnored {
			return fmt.Errorf("%s %s: %s", verb, s.key, strings.ReplaceAll(e.Sentence, "#"+id, ""))
		}
	}
	return nil
}

func (s sight) preparePause(w written, standing string) (written, string, error) {
	w.value, w.id = canary.CommandPause, ""
	switch {
	case s.state.Phase == canary.Paused && standing == canary.CommandPause:
		return written{}, fmt.Sprintf("%s is paused already, at %d%%.", s.key, s.state.Weight), nil
	case s.state.Phase == canary.Testing, s.state.Phase == canary.Progressing, s.state.Phase == canary.Paused, s.state.Phase == canary.Inconclusive:
		return w, "", nil
	}
	return written{}, "", fmt.Errorf("pause %s: there is nothing to hold: %s", s.key, s.view().Sentence)
}

// prepareReturn goes back after a promotion of one of two Deployments. The order
// stands on the one that was promoted.
func (s sight) prepareReturn(w written) (written, string, error) {
	if s.state.InPlace || s.observation.InPlace {
		return written{}, "", fmt.Errorf("rollback %s: no release is under way; to go back release the version before again, like kubectl rollout undo deployment/%s -n %s", s.key, s.deployment(), s.key.Namespace)
	}
	p := s.ordered(&canary.Command{Verb: canary.CommandRollback, ID: w.id}).plan()
	if p.Next.Phase == canary.RollingBack || p.View.Reason == canary.AwaitingGate { // a gate is asked once it is ordered
		w.deployment = s.state.Canary.Deployment
		return w, "", nil
	}
	for _, e := range p.Tell {
		if e.Reason == canary.CommandIgnored {
			return written{}, "", fmt.Errorf("rollback %s: %s", s.key, e.Sentence)
		}
	}
	return written{}, "", fmt.Errorf("rollback %s: there is nothing to go back from: %s", s.key, s.view().Sentence)
}

// writes is how often a write that somebody else's came before is repeated.
const writes = 20

// command writes an order on its Deployment, over what stands there.
func (c cluster) command(ctx context.Context, w written) error {
	return c.annotate(ctx, w.deployment, func(d metav1.ObjectMeta) ([]step, error) { return commandStep(d, w.value), nil })
}

// commandStep writes an order, or with none takes the one that stands off.
func commandStep(d metav1.ObjectMeta, value string) []step {
	_, there := d.Annotations[commandKey]
	path := "/metadata/annotations/" + strings.ReplaceAll(commandKey, "/", "~1")
	switch {
	case value == "" && !there:
		return nil
	case value == "":
		return []step{{Op: "remove", Path: path}}
	case len(d.Annotations) == 0:
		return []step{{Op: "add", Path: "/metadata/annotations", Value: map[string]string{commandKey: value}}}
	}
	return []step{{Op: "add", Path: path, Value: value}}
}

// step is one of a JSON patch (RFC 6902).
type step struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// annotate patches a Deployment's metadata, as patchDeployment.
func (c cluster) annotate(ctx context.Context, name string, change func(metav1.ObjectMeta) ([]step, error)) error {
	_, err := c.patchDeployment(ctx, name, func(d *appsv1.Deployment) ([]step, error) { return change(d.ObjectMeta) })
	return err
}

// warnUnled tells that nobody will carry an order out for now.
func (s *session) warnUnled(ctx context.Context) {
	l, err := s.leader(ctx, s.cluster, s.settings)
	if err == nil && l.stale {
		s.note(l.String() + "; the order is carried out as soon as Serin is back")
	}
}

// confirm waits until an order is carried out and says what came of it.
func (o *order) confirm(ctx context.Context, r *reader, found sight, w written, records int) error {
	began := o.program.Now()
	last, err := o.until(ctx, r, found, o.timeout, func(s sight) bool { return o.obeyed(s, found, w, records) })
	took := o.program.Now().Sub(began).Round(100 * time.Millisecond)
	if errors.Is(err, errTooLate) {
		return ending{exitTimeout, fmt.Sprintf("%s %s: ordered, and not carried out within %s: %s", o.verb, found.key, o.timeout, last.view().Sentence)}
	}
	if err != nil {
		return err
	}
	sentence := last.state.Message
	if sentence == "" || !last.state.Phase.Active() && w.value == "" {
		sentence = last.view().Sentence
	}
	shown := fmt.Sprintf("%s is %s at %d%% after %s: %s.", found.key, last.state.Phase, last.state.Weight, took, strings.TrimSuffix(sentence, "."))
	if !last.state.Phase.Active() {
		shown = fmt.Sprintf("%s: %s.", found.key, strings.TrimSuffix(sentence, "."))
	}
	frame := screen{}
	_, err = fmt.Fprintln(o.streams.Out, frame.text(shown))
	return err
}

// obeyed tells that the order has come to its end.
func (o *order) obeyed(s, before sight, w written, records int) bool {
	switch {
	case w.id != "":
		return s.state.Handled == w.id || len(s.observation.History) > records && s.state.Rollout == before.state.Rollout && !s.state.Phase.Active()
	case w.value == canary.CommandPause:
		return s.state.Phase == canary.Paused || !s.state.Phase.Active()
	}
	d, _ := topology.ByName(s.objects, w.deployment)
	_, stands := d.Annotations[commandKey]
	return !stands && (s.state.Phase != canary.Paused || s.state.Reason != canary.PausedByCommand)
}

// errTooLate tells that something did not come within its time.
var errTooLate = errors.New("it takes too long")

// until looks again and again until is holds; errTooLate when it does not in time.
func (t *tool) until(ctx context.Context, r *reader, found sight, limit time.Duration, is func(sight) bool) (last sight, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	last = found
	for {
		seen, err := r.look(ctx, found.key)
		if err == nil {
			if last = seen; is(last) {
				return last, nil
			}
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return last, errTooLate
			}
			return last, ctx.Err()
		case <-time.After(lookEvery):
		}
	}
}
