package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"serin.dev/serin/internal/operator"
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/config"
	"serin.dev/serin/pkg/explain"
	"serin.dev/serin/pkg/judge"
	"serin.dev/serin/pkg/prom"
	"serin.dev/serin/pkg/safetext"
	"serin.dev/serin/pkg/topology"
)

// explainOptions are what the verb explain takes.
type explainOptions struct {
	*tool
	step    int
	rollout string
	json    bool
	plain   bool
}

func newExplain(t *tool) *cobra.Command {
	o := &explainOptions{tool: t}
	c := &cobra.Command{
		Use:   "explain NAME",
		Short: "Tell why a release went as it went",
		Long: `Replays a release from Prometheus through the same judge that decided it, and
shows the evidence over time, each change of the verdict, and what is not known
any more. NAME is a Service or one of its Deployments; service/NAME and
deployment/NAME say which. A release that Serin only observes is replayed since
its weights, or a version, changed last.

Ends with 0 when explained, 1 when the cluster or Prometheus can't be asked or
know nothing, 2 for a wrong command line, 10 when data is missing.`,
		Example: `  # the newest release of the Service web
  kubectl canary explain web -n shop

  # what happened at its second step, block by block, for programs
  kubectl canary explain web --step 2 --json

  # an earlier release, from a Prometheus whose port was forwarded
  kubectl canary explain web --rollout 4f2a9c --prometheus http://localhost:9090`,
		Args:              oneName,
		ValidArgsFunction: t.completeNames,
		RunE:              o.run,
	}
	f := c.Flags()
	f.IntVar(&o.step, "step", 0, "show this step alone, 1 is the first")
	f.StringVar(&o.rollout, "rollout", "", "`id` of the release, or its beginning (default: the newest)")
	f.BoolVar(&o.json, "json", false, "everything, block by block, for programs")
	f.BoolVar(&o.plain, "plain", false, "ASCII alone, and no colours")
	return c
}

func (o *explainOptions) run(cmd *cobra.Command, args []string) error {
	if o.step < 0 {
		return usageError{fmt.Errorf("--step is %d; 1 is the first", o.step), cmd.CommandPath()}
	}
	ctx, now := cmd.Context(), o.program.Now()
	c, err := o.connect()
	if err != nil {
		return err
	}
	settings, unread := o.settings(ctx, c)
	release, notes, err := o.find(ctx, c, args[0], settings, now)
	if err != nil {
		return err
	}
	if unread != nil && (o.config != "" || o.prometheus == "") {
		return fmt.Errorf("find Prometheus: %w; name it with --prometheus URL", unread)
	}
	if unread != nil {
		notes = append(notes, fmt.Sprintf("%v: the defaults are assumed", unread))
	}
	query, err := o.query(ctx, c, release, settings, now)
	if err != nil {
		return err
	}
	story, err := explain.Tell(ctx, query, release, o.step, now)
	if err != nil {
		return err
	}
	story.Unknown = append(story.Unknown, notes...)
	if o.json {
		err = story.JSON(safetext.JSON(o.streams.Out))
	} else {
		err = story.Text(o.streams.Out, styleOf(o.streams.Out, o.plain, os.Getenv))
	}
	if err == nil && story.Partial {
		err = ending{code: exitPartial}
	}
	return err
}

// find picks the release that is meant. Whether it is one that Serin only
// observes is asked for where no state is of a release under way: of that it
// stands on no object. notes are what could not be known.
func (o *explainOptions) find(ctx context.Context, c cluster, name string, settings config.Config, now time.Time) (explain.Release, []string, error) {
	routes, err := c.routes(ctx)
	if err != nil {
		return explain.Release{}, nil, err
	}
	known, err := c.known(ctx, routes)
	if err != nil {
		return explain.Release{}, nil, err
	}
	release, err := explain.Find(name, o.rollout, known)
	if o.rollout != "" || err == nil && release.State.Phase.Active() || err != nil && !errors.Is(err, explain.ErrNothing) {
		return release, nil, err
	}
	observed, unread := c.observed(ctx, routes, settings.ClusterDomain)
	switch {
	case unread != nil && err != nil:
		return release, nil, fmt.Errorf("%w; whether it is one that is only observed can't be told: %w", err, unread)
	case unread != nil:
		return release, []string{fmt.Sprintf("whether a newer release is observed: %v", unread)}, nil
	}
	release, err = explain.Find(name, "", c.withObserved(known, observed))
	if err != nil || !release.Observed() {
		return release, nil, err
	}
	watched, err := c.watched(ctx, release.Service, settings)
	if err != nil {
		return release, nil, fmt.Errorf("explain %s/%s, which is only observed: %w", release.Namespace, release.Service, err)
	}
	release, err = watched.Release(release.Namespace, release.Service, now)
	return release, nil, err
}

// query finds Prometheus, and how it is asked by the operator's configuration.
func (t *tool) query(ctx context.Context, c cluster, r explain.Release, settings config.Config, now time.Time) (explain.Query, error) {
	address := settings.Prometheus.URL
	if t.prometheus != "" {
		address = t.prometheus
	}
	ways, err := t.waysTo(c, address, t.prometheus != "")
	if err != nil {
		return explain.Query{}, err
	}
	query, err := reach(ctx, ways, now)
	if err != nil {
		return explain.Query{}, err
	}
	return explain.Query{
		Blocks: func(ctx context.Context, asks []prom.Ask, now time.Time) map[string]prom.Answer {
			return prom.Blocks(ctx, query, asks, now)
		},
		Open: func(ctx context.Context, asks []prom.Ask, now time.Time) map[string]prom.Answer {
			return prom.Open(ctx, query, asks, now)
		},
		Intervals: func(ctx context.Context, asks []prom.Ask, now time.Time) map[string]prom.Interval {
			return prom.Intervals(ctx, query, asks, now)
		},
		Assumed:  settings.Prometheus.Interval,
		Reporter: prom.Reporter(settings.Prometheus.Reporter),
		Custom:   templates(r.State, settings.Metrics),
	}, nil
}

// fileSettings is the configuration file that was named; the defaults without one.
func (t *tool) fileSettings() (config.Config, error) {
	if t.config == "" {
		return config.Default(), nil
	}
	return operator.ReadFile(t.config)
}

// settings is the controller's configuration: of a file, or the one in use. With
// an error it is the defaults.
func (t *tool) settings(ctx context.Context, c cluster) (config.Config, error) {
	var found config.Config
	var err error
	if t.config != "" {
		found, err = operator.ReadFile(t.config)
	} else {
		found, err = c.configInUse(ctx, t.serin)
	}
	if err != nil {
		return config.Default(), err
	}
	return found, nil
}

// templates are the operator's metrics that the release is judged by, in its
// order. One that is no longer defined keeps its place and has no data.
func templates(s canary.State, defined []config.Metric) []prom.Custom {
	var out []prom.Custom
	for _, limit := range s.Spec.Custom {
		out = append(out, prom.Custom{Template: template(limit, defined), Limit: limit})
	}
	return out
}

func template(limit judge.Custom, defined []config.Metric) prom.Template {
	for _, m := range defined {
		if m.Name == limit.Name {
			return operator.Template(m)
		}
	}
	return prom.Template{Name: limit.Name}
}

// completeNames completes the names of Services with releases, led or observed, and
// of Deployments that ask for some.
func (t *tool) completeNames(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, err := t.connect()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := completing(cmd)
	defer cancel()
	routes, err := c.routes(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	// Half of the names are better than none.
	known, _ := c.known(ctx, routes)
	observed, _ := c.observed(ctx, routes, config.Default().ClusterDomain)
	names := explain.Names(c.withObserved(known, observed))
	if deployments, err := c.deployments(ctx); err == nil {
		for _, d := range deployments {
			if topology.OptedIn(d) {
				names = append(names, d.Name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), cobra.ShellCompDirectiveNoFileComp
}
