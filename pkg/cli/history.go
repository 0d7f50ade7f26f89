package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/history"
)

type historyOptions struct {
	*tool
	output string
}

func newHistory(t *tool) *cobra.Command {
	o := &historyOptions{tool: t}
	c := &cobra.Command{
		Use:   "history [NAME] [N]",
		Short: "List the releases that are over, newest first",
		Long: `Lists how releases ended, newest first: of one Service, or of all of the namespace.
N is how many at most; Serin keeps the last ten of each Service. NAME is a Service
or one of its Deployments. kubectl canary explain NAME --rollout ID tells why one
of them went as it went.`,
		Example: `  kubectl canary history web -n shop
  kubectl canary history web 3
  kubectl canary history -o json`,
		Args:              wrong(cobra.MaximumNArgs(2)),
		ValidArgsFunction: t.completeNames,
		RunE:              o.run,
	}
	c.Flags().StringVarP(&o.output, "output", "o", "", "json or yaml")
	completeOutput(c, asJSON, asYAML)
	return c
}

// recorded is a release that is over, and whose it was.
type recorded struct {
	Service string `json:"service"`
	canary.Past
}

func (o *historyOptions) run(cmd *cobra.Command, args []string) error {
	if err := checkOutput(cmd, o.output, asJSON, asYAML); err != nil {
		return err
	}
	name, most, err := historyArgs(cmd, args)
	if err != nil {
		return err
	}
	c, err := o.connect()
	if err != nil {
		return err
	}
	all, err := c.recorded(cmd.Context(), name)
	if err != nil {
		return err
	}
	if most > 0 && len(all) > most {
		all = all[:most]
	}
	if o.output != "" {
		return writeAs(o.streams.Out, o.output, map[string]any{"releases": all})
	}
	if len(all) == 0 {
		fmt.Fprintf(o.streams.ErrOut, "No release is over in namespace %s.\n", c.namespace)
		return nil
	}
	frame := &screen{style: styleOf(o.streams.Out, false, os.Getenv)}
	frame.recorded(all, o)
	_, err = io.WriteString(o.streams.Out, frame.b.String())
	return err
}

// historyArgs are a name and a number, either of which may be left out.
func historyArgs(cmd *cobra.Command, args []string) (name string, most int, err error) {
	for i, arg := range args {
		n, failed := strconv.Atoi(arg)
		switch {
		case failed == nil && n > 0:
			most = n
		case i == 0:
			name = arg
		default:
			return "", 0, usageError{fmt.Errorf("%q is no number of releases; write 1 or more", arg), cmd.CommandPath()}
		}
	}
	return name, most, nil
}

// recorded are the releases that are over, newest first: of all Services, or of the
// one that is meant.
func (c cluster) recorded(ctx context.Context, name string) ([]recorded, error) {
	kind, short, err := splitName(name)
	if err != nil {
		return nil, err
	}
	revisions, err := c.revisions(ctx)
	if err != nil {
		return nil, err
	}
	all := []recorded{}
	for service, records := range revisions {
		// A record that can't be read stands in nobody's way.
		releases, _ := history.Releases(records)
		for _, r := range releases {
			isService := kind != kindDeployment && service == short
			isDeployment := kind != kindService && (r.Canary.Deployment == short || r.Stable.Deployment == short)
			if name == "" || isService || isDeployment {
				all = append(all, recorded{service, canary.PastOf(r)})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b recorded) int { return b.Ended.Compare(a.Ended) })
	if name != "" && len(all) == 0 {
		return nil, fmt.Errorf("no release of %s in namespace %s is over", name, c.namespace)
	}
	return all, nil
}

func (s *screen) recorded(all []recorded, o *historyOptions) {
	now := o.program.Now()
	head := []string{"SERVICE", "ROLLOUT", "OUTCOME", "REACHED", "ENDED", "TOOK", "WHY"}
	for i := range head {
		head[i] = s.paint(dim, head[i])
	}
	rows := [][]string{head}
	for _, r := range all {
		rows = append(rows, []string{
			s.text(r.Service), s.text(r.Rollout), s.paint(phaseColour(r.Outcome), s.text(string(r.Outcome))), fmt.Sprintf("%d%%", r.Weight),
			ago(now, r.Ended) + " ago", age(r.Ended.Sub(r.Started)), s.text(r.Sentence),
		})
	}
	s.table(rows)
}
