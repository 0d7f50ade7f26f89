package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/config"
	"serin.dev/serin/pkg/explain"
	"serin.dev/serin/pkg/judge"
	"serin.dev/serin/pkg/prom"
)

// explainOptions are what the verb explain takes.
type explainOptions struct {
	*tool
	step       int
	rollout    string
	json       bool
	plain      bool
	prometheus string
	config     string
	controller string // its namespace
}

func newExplain(t *tool) *cobra.Command {
	o := &explainOptions{tool: t}
	c := &cobra.Command{
		Use:   "explain NAME",
		Short: "Tell why a release went as it went",
		Long: `Replays a release from Prometheus through the same judge that decided it, and
shows the evidence over time, each change of the verdict, and what is not known
any more. NAME is a Service or one of its Deployments; service/NAME and
deployment/NAME say which.

Ends with 0 when explained, 1 when the cluster or Prometheus can't be asked or
know nothing, 2 for a wrong command line, 3 when data is missing.`,
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
	f.StringVar(&o.prometheus, "prometheus", "", "`URL` of Prometheus (default: the one the controller asks)")
	f.StringVar(&o.config, "config", "", "the controller's configuration `file` (default: the one in the cluster)")
	f.StringVar(&o.controller, "controller-namespace", "serin-system", "`namespace` of the controller")
	return c
}

func (o *explainOptions) run(cmd *cobra.Command, args []string) error {
	if o.step < 0 {
		return usageError{fmt.Errorf("--step is %d; 1 is the first", o.step), cmd.CommandPath()}
	}
	ctx, now := cmd.Context(), o.now()
	c, err := o.connect()
	if err != nil {
		return err
	}
	known, err := c.known(ctx)
	if err != nil {
		return err
	}
	release, err := explain.Find(args[0], o.rollout, known)
	if err != nil {
		return err
	}
	query, notes, err := o.query(ctx, c, release, now)
	if err != nil {
		return err
	}
	story, err := explain.Tell(ctx, query, release, o.step, now)
	if err != nil {
		return err
	}
	story.Unknown = append(story.Unknown, notes...)
	if o.json {
		err = story.JSON(o.streams.Out)
	} else {
		err = story.Text(o.streams.Out, styleOf(o.streams.Out, o.plain, os.Getenv))
	}
	if err == nil && story.Partial {
		err = errPartial
	}
	return err
}

// query finds Prometheus, and what the operator's configuration says of how it
// is asked; notes are what had to be assumed.
func (o *explainOptions) query(ctx context.Context, c cluster, r explain.Release, now time.Time) (explain.Query, []string, error) {
	settings, err := o.settings(ctx, c)
	var notes []string
	if err != nil && (o.config != "" || o.prometheus == "") {
		return explain.Query{}, nil, fmt.Errorf("find Prometheus: %w; name it with --prometheus URL", err)
	}
	if err != nil {
		notes = append(notes, fmt.Sprintf("%v: the defaults are assumed", err))
		settings = config.Default()
	}
	address := settings.Prometheus.URL
	if o.prometheus != "" {
		address = o.prometheus
	}
	ways, err := c.waysTo(address, o.prometheus != "")
	if err != nil {
		return explain.Query{}, nil, err
	}
	query, err := reach(ctx, ways, now)
	if err != nil {
		return explain.Query{}, nil, err
	}
	return explain.Query{
		Blocks: func(ctx context.Context, asks []prom.Ask, now time.Time) map[string]prom.Answer {
			return prom.Blocks(ctx, query, asks, now)
		},
		Open: func(ctx context.Context, asks []prom.Ask, now time.Time) map[string]prom.Answer {
			return prom.Open(ctx, query, asks, now)
		},
		Reporter: prom.Reporter(settings.Prometheus.Reporter),
		Custom:   templates(r.State, settings.Metrics),
	}, notes, nil
}

// settings is the controller's configuration: of a file, or the one in use.
func (o *explainOptions) settings(ctx context.Context, c cluster) (config.Config, error) {
	if o.config != "" {
		return configFile(o.config)
	}
	return c.configInUse(ctx, o.controller)
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
			return prom.Template{Name: m.Name, Good: m.Good, Bad: m.Bad, Total: m.Total, Gauge: m.Gauge}
		}
	}
	return prom.Template{Name: limit.Name}
}

// completeNames completes the names of Services with releases.
func (t *tool) completeNames(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, err := t.connect()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	known, err := c.known(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return explain.Names(known), cobra.ShellCompDirectiveNoFileComp
}
