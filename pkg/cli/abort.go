package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/mode"
	"serin.dev/serin/pkg/topology"
)

type abortOptions struct {
	*tool
	timeout time.Duration
	direct  bool
	force   bool
}

func newAbort(t *tool) *cobra.Command {
	o := &abortOptions{tool: t}
	c := &cobra.Command{
		Use:   "abort NAME",
		Short: "Take all traffic back to stable, and wait until it is there",
		Long: `Orders Serin to take all traffic back to stable, and returns when all routes are
there, with the time it took. The order stands: nothing of this Service is
released until kubectl canary retry, which tries the same version again, or
resume, which waits for the next one.

--direct is for when Serin is down: it writes the routes and the release's state
itself, by Serin's own code and with your rights, and Serin goes on from there
when it is back. It is refused while somebody leads, unless --force is given.`,
		Example: `  kubectl canary abort web -n shop

  # nobody leads releases, and users are on a bad version
  kubectl canary abort web -n shop --direct`,
		Args:              oneName,
		ValidArgsFunction: t.completeNames,
		RunE:              func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args[0]) },
	}
	f := c.Flags()
	f.DurationVar(&o.timeout, "timeout", orderTime, "how long to wait until all routes are at stable")
	f.BoolVar(&o.direct, "direct", false, "write the routes without Serin, where nobody leads releases")
	f.BoolVar(&o.force, "force", false, "with --direct: even while somebody leads, or where that can't be told")
	return c
}

func (o *abortOptions) run(ctx context.Context, name string) error {
	s, r, found, err := o.about(ctx, name)
	if err != nil {
		return err
	}
	defer s.done()
	if done, why := found.abortable(); why != nil || done != "" {
		if done != "" {
			fmt.Fprintln(o.streams.Out, done)
		}
		return why
	}
	began := o.program.Now()
	if o.direct {
		err = o.write(ctx, s, r, found)
	} else {
		err = o.order(ctx, s, r, found)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(o.streams.Out, "%s is aborted: all routes (%s) are at stable after %s.\n", found.key, found.routesNamed(), o.program.Now().Sub(began).Round(100*time.Millisecond))
	if err == nil && !o.direct {
		_, err = fmt.Fprintf(o.streams.Out, "The order stands. kubectl canary retry %[1]s -n %[2]s tries this version again; kubectl canary resume %[1]s -n %[2]s lets the next one be released.\n", found.key.Name, found.key.Namespace)
	}
	return err
}

// abortable says why there is nothing to abort: done that it is over already, or an
// error with the mend.
func (s sight) abortable() (done string, err error) {
	phase := s.state.Phase
	stands := s.observation.Command != nil && s.observation.Command.Verb == canary.CommandAbort
	switch {
	case phase == canary.Promoting || phase == canary.Finishing:
		return "", fmt.Errorf("abort %s: it is %s, and the pods of the version before are going; when it is over go back with kubectl rollout undo deployment/%s -n %s, which is released like any change", s.key, phase, s.deployment(), s.key.Namespace)
	case stands && s.back():
		return fmt.Sprintf("%s is aborted already: all routes (%s) are at stable.", s.key, s.routesNamed()), nil
	case phase.Active():
		return "", nil
	case s.observation.Observe:
		return "", fmt.Errorf("abort %s: Serin only observes it; the weights are yours to set, in %s", s.key, s.routesNamed())
	}
	return "", fmt.Errorf("abort %s: no release is under way: %s", s.key, s.view().Sentence)
}

// routesNamed are the VirtualServices by which users come.
func (s sight) routesNamed() string {
	var names []string
	for key := range s.observation.Traffic {
		names = append(names, "VirtualService "+key.Name)
	}
	slices.Sort(names)
	if len(names) == 0 {
		return "no VirtualService"
	}
	return strings.Join(names, ", ")
}

// atStable tells that no route of users leads to the canary.
func (s sight) atStable() bool { return len(s.elsewhere()) == 0 }

// elsewhere are the VirtualServices that still lead users to the canary.
func (s sight) elsewhere() []string {
	var found []string
	for key, seen := range s.observation.Traffic {
		if !seen.Idle && seen.Max > 0 {
			found = append(found, fmt.Sprintf("%s has %d%%", key, seen.Max))
		}
	}
	slices.Sort(found)
	return found
}

// back tells that a release went back, and that all users are at stable.
func (s sight) back() bool {
	phase := s.state.Phase
	return (phase == canary.RollingBack || !phase.Active()) && s.atStable()
}

// order has Serin do it. Where nobody leads, it says so at once and offers the
// other way.
func (o *abortOptions) order(ctx context.Context, s *session, r *reader, found sight) error {
	if err := s.cluster.command(ctx, written{deployment: found.deployment(), value: canary.CommandAbort}); err != nil {
		return err
	}
	if l, err := s.leader(ctx, s.cluster, s.settings); err == nil && l.stale {
		return fmt.Errorf("abort %s: the order is written, but %s. kubectl canary abort %s -n %s --direct takes the traffic back without Serin, with your own rights", found.key, l, found.key.Name, found.key.Namespace)
	}
	last, err := o.until(ctx, r, found, o.timeout, sight.back)
	if errors.Is(err, errTooLate) {
		return ending{exitTimeout, fmt.Sprintf("abort %s: ordered, and not all routes are at stable after %s: %s. %s", found.key, o.timeout, strings.Join(last.elsewhere(), ", "), last.view().Sentence)}
	}
	return err
}

// write does what Serin would do, with the user's rights: Serin's own core decides,
// and renders, and what takes traffic away goes out at once.
func (o *abortOptions) write(ctx context.Context, s *session, r *reader, found sight) error {
	l, err := s.leader(ctx, s.cluster, s.settings)
	if !o.force {
		switch {
		case err != nil:
			return fmt.Errorf("abort %s: whether anybody leads can't be told: %w; --force writes all the same", found.key, err)
		case !l.stale:
			return fmt.Errorf("abort %s: %s: leave --direct out, so that it does it; --force writes all the same", found.key, l)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	var failed error
	for {
		seen, err := r.look(ctx, found.key)
		if err == nil {
			if seen.back() && seen.retreats() {
				return nil
			}
			failed = s.retreat(ctx, seen)
		}
		select {
		case <-ctx.Done():
			return ending{exitTimeout, errors.Join(fmt.Errorf("abort %s: not all routes are at stable after %s: %s", found.key, o.timeout, strings.Join(seen.elsewhere(), ", ")), failed).Error()}
		case <-time.After(lookEvery):
		}
	}
}

// retreats tells that every VirtualService that carries the state says that the
// release goes back.
func (s sight) retreats() bool {
	for _, vs := range s.objects.VirtualServices {
		if vs.Key.Namespace != s.key.Namespace {
			continue
		}
		if own, found, err := mode.CopyOn(vs, s.key.Name); found && err == nil && own.Phase.Active() && own.Phase != canary.RollingBack {
			return false
		}
	}
	return true
}

// retreat sends the writes of one pass: all that take traffic away at once, or the
// first of the others.
func (s *session) retreat(ctx context.Context, seen sight) error {
	seen = seen.ordered(&canary.Command{Verb: canary.CommandAbort})
	plan := seen.plan()
	all, rendered := seen.room.Render(plan, seen.objects, seen.at)
	all = slices.DeleteFunc(all, func(w mode.Write) bool { return w.Key.Kind != "VirtualService" })
	if n := slices.IndexFunc(all, func(w mode.Write) bool { return !w.Urgent }); n > 0 {
		all = all[:n]
	} else if n == 0 {
		all = all[:1]
	}
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, w := range all {
		wg.Go(func() {
			if err := s.cluster.send(ctx, w); err != nil {
				errs[i] = fmt.Errorf("%s %s: %w", w.Verb, w.Key, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(rendered, errors.Join(errs...))
}

// send writes a VirtualService as Serin does, so that Serin knows it for its own.
func (c cluster) send(ctx context.Context, w mode.Write) error {
	client := c.kube.CoreV1().RESTClient()
	collection := "/apis/" + routes.Group + "/" + routes.Version + "/namespaces/" + w.Key.Namespace + "/" + routes.Resource
	request := client.Put().AbsPath(collection + "/" + w.Key.Name)
	switch w.Verb {
	case mode.Update:
	case mode.Create:
		request = client.Post().AbsPath(collection)
	default:
		return nil // it takes nobody off the canary: Serin does it when it is back
	}
	return request.Param("fieldManager", mode.FieldManager).SetHeader("Content-Type", "application/json").SetHeader("Accept", "application/json").Body(w.Body).Do(ctx).Error()
}

// subjectOf is the Deployment that people annotate.
func (s sight) subjectOf() (topology.Deployment, bool) {
	return topology.ByName(s.objects, s.deployment())
}
