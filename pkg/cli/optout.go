package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"serin.dev/serin/pkg/topology"
)

type optOutOptions struct {
	*tool
	everything bool
	namespaces bool
	timeout    time.Duration
}

func newOptOut(t *tool) *cobra.Command {
	o := &optOutOptions{tool: t}
	c := &cobra.Command{
		Use:   "opt-out NAME | --all",
		Short: "End canary releases, and wait until nothing of Serin's is left",
		Long: `Takes the annotation serin.dev/canary off, and returns when Serin has taken all
that it added off the routes. A release under way goes back to stable. With --all
it does so for all Deployments of the namespace, with -A for those of all: before
Serin is removed. Doing it again does no harm.`,
		Example: `  kubectl canary opt-out web -n shop

  # before Serin is uninstalled
  kubectl canary opt-out --all -A`,
		Args:              wrong(cobra.MaximumNArgs(1)),
		ValidArgsFunction: t.completeNames,
		RunE:              o.run,
	}
	f := c.Flags()
	f.BoolVar(&o.everything, "all", false, "every Deployment that asks for canary releases")
	f.BoolVarP(&o.namespaces, "all-namespaces", "A", false, "with --all: of all namespaces")
	f.DurationVar(&o.timeout, "timeout", 5*time.Minute, "how long to wait until nothing is left")
	return c
}

func (o *optOutOptions) run(cmd *cobra.Command, args []string) error {
	switch {
	case o.everything == (len(args) > 0):
		return usageError{errors.New("name one Service or Deployment, or give --all"), cmd.CommandPath()}
	case o.namespaces && !o.everything:
		return usageError{errors.New("-A goes with --all"), cmd.CommandPath()}
	}
	ctx := cmd.Context()
	s, err := o.open(ctx)
	if err != nil {
		return err
	}
	defer s.done()
	r, err := s.reader(ctx, s.scope(o.namespaces), "")
	if err != nil {
		return err
	}
	var all []sight
	if o.everything {
		keys, err := r.concerned(ctx, s.cluster, s.scope(o.namespaces))
		if err != nil {
			return err
		}
		if all, err = r.looks(ctx, keys); err != nil {
			return err
		}
	} else {
		seen, err := r.find(ctx, s.cluster, args[0])
		var none notFound
		switch {
		case errors.As(err, &none):
			fmt.Fprintln(o.streams.Out, "Nothing to do:", strings.TrimSuffix((&screen{}).text(none.why), ".")+".")
			return nil
		case err != nil:
			return err
		}
		all = []sight{seen}
	}
	for _, seen := range all {
		if err := s.optOut(ctx, seen); err != nil {
			return err
		}
	}
	if len(all) > 0 {
		s.warnUnled(ctx)
	}
	return o.wait(ctx, r, all)
}

// optOut takes the annotation off all Deployments of a Service that ask.
func (s *session) optOut(ctx context.Context, seen sight) error {
	c := s.cluster
	c.namespace = seen.key.Namespace
	for _, d := range topology.Candidates(seen.objects) {
		err := c.annotate(ctx, d.Name, func(m metav1.ObjectMeta) ([]step, error) {
			if _, asks := m.Annotations[topology.OptInKey]; !asks {
				return nil, nil
			}
			return []step{{Op: "remove", Path: "/metadata/annotations/" + strings.ReplaceAll(topology.OptInKey, "/", "~1")}}, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// wait waits until nothing is left of any.
func (o *optOutOptions) wait(ctx context.Context, r *reader, all []sight) error {
	began := o.program.Now()
	waiting, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	for {
		var left []string
		rest := slices.DeleteFunc(slices.Clone(all), func(s sight) bool {
			now, err := r.look(waiting, s.key)
			if err == nil && now.left() == "" {
				fmt.Fprintf(o.streams.Out, "%s is opted out: nothing of Serin's is left.\n", s.key)
				return true
			}
			left = append(left, fmt.Sprintf("%s: %s", s.key, now.left()))
			return false
		})
		if all = rest; len(all) == 0 {
			return nil
		}
		select {
		case <-waiting.Done():
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return ending{exitTimeout, fmt.Sprintf("opt-out: after %s something is left: %s. Serin has to run to take it away; kubectl canary abort NAME --direct takes users off a canary without it", age(o.program.Now().Sub(began)), strings.Join(left, "; "))}
		case <-time.After(lookEvery):
		}
	}
}

// left is what of Serin's is still there; empty: nothing.
func (s sight) left() string {
	for _, vs := range s.objects.VirtualServices {
		if vs.Key.Namespace == s.key.Namespace && topology.CarriesState(vs, s.key.Name) {
			return vs.Key.String() + " carries the state of a release"
		}
	}
	switch place := s.observation.Place; {
	case len(topology.Candidates(s.objects)) > 0:
		return "a Deployment still asks for releases"
	case topology.HasOurs(s.objects):
		return "objects that Serin added are still there"
	case place.Held:
		return "the Deployment is held"
	case s.key.Name == "":
		return "it can't be read"
	}
	return ""
}
