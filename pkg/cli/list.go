package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/safetext"
)

// The forms of output.
const (
	asTable = ""
	asWide  = "wide"
	asJSON  = "json"
	asYAML  = "yaml"
	asName  = "name"
)

type listOptions struct {
	*tool
	all    bool
	watch  bool
	output string
}

func newList(t *tool) *cobra.Command {
	o := &listOptions{tool: t}
	c := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List canary releases: phase, step, weight and verdict",
		Long: `Lists the Services that have canary releases: what is moving, how far, and why.
Live figures come from the controller; where it can't be reached, all but the
verdicts are read from the API server with your own rights.`,
		Example: `  # all releases of all namespaces, drawn anew as they move
  kubectl canary list -A -w

  # for programs
  kubectl canary list -A -o json`,
		Args:              wrong(cobra.NoArgs),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              o.run,
	}
	f := c.Flags()
	f.BoolVarP(&o.all, "all-namespaces", "A", false, "of all namespaces")
	f.BoolVarP(&o.watch, "watch", "w", false, "go on, and show what changes")
	f.StringVarP(&o.output, "output", "o", "", "json, yaml, wide or name")
	completeOutput(c, asJSON, asYAML, asWide, asName)
	return c
}

// completeOutput completes the flag -o.
func completeOutput(c *cobra.Command, forms ...string) {
	// The flag was defined just before.
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(forms, cobra.ShellCompDirectiveNoFileComp))
}

// checkOutput refuses a form that a verb doesn't have.
func checkOutput(c *cobra.Command, output string, forms ...string) error {
	if output == "" || slices.Contains(forms, output) {
		return nil
	}
	return usageError{fmt.Errorf("-o %s is none of %s", output, strings.Join(forms, ", ")), c.CommandPath()}
}

func (o *listOptions) run(cmd *cobra.Command, _ []string) error {
	if err := checkOutput(cmd, o.output, asJSON, asYAML, asWide, asName); err != nil {
		return err
	}
	ctx := cmd.Context()
	s, err := o.open(ctx)
	if err != nil {
		return err
	}
	defer s.done()
	namespace := s.scope(o.all)
	from, err := o.from(ctx, s, namespace)
	if err != nil {
		return err
	}
	if o.watch && (o.output == asTable || o.output == asWide) {
		return o.follow(ctx, from, namespace)
	}
	views, err := from.List(ctx, namespace)
	if err != nil {
		return err
	}
	return o.write(views, namespace)
}

// from is the source for a list. What it does not show is told.
func (t *tool) from(ctx context.Context, s *session, namespace string) (source, error) {
	lazy := &local{session: s}
	from, note, err := s.source(ctx, nil)
	if err != nil {
		return nil, err
	}
	if note == "" {
		return from, nil
	}
	if lazy.reader, err = s.reader(ctx, namespace, ""); err != nil {
		return nil, err
	}
	s.note(note)
	return lazy, nil
}

// note tells on stderr what is not known.
func (t *tool) note(text string) {
	fmt.Fprintln(t.streams.ErrOut, "note:", safetext.Line(text))
}

func (o *listOptions) write(views []canary.View, namespace string) error {
	out := o.streams.Out
	switch o.output {
	case asJSON, asYAML:
		return writeAs(out, o.output, map[string]any{"rollouts": views})
	case asName:
		for _, v := range views {
			if _, err := fmt.Fprintln(out, "service/"+safetext.Line(v.Service)); err != nil {
				return err
			}
		}
		return nil
	}
	if len(views) == 0 {
		fmt.Fprintf(o.streams.ErrOut, "No canary releases in %s.\n", place(namespace))
		return nil
	}
	frame := &screen{style: styleOf(out, false, os.Getenv)}
	o.draw(frame, views)
	_, err := io.WriteString(out, frame.b.String())
	return err
}

// writeAs writes JSON or YAML, safe to look at.
func writeAs(out io.Writer, form string, value any) error {
	if form == asYAML {
		text, err := yaml.Marshal(value)
		if err != nil {
			return fmt.Errorf("write YAML: %w", err)
		}
		_, err = io.WriteString(out, safetext.Text(string(text)))
		return err
	}
	e := json.NewEncoder(safetext.JSON(out))
	e.SetIndent("", "  ")
	return e.Encode(value)
}

// follow shows what changes: on a terminal the table anew, elsewhere the rows that
// are others.
func (o *listOptions) follow(ctx context.Context, from source, namespace string) error {
	var views []canary.View
	before := map[string]string{}
	return o.live(ctx, func(frame *screen) (bool, error) {
		var err error
		if views, err = from.List(ctx, namespace); err != nil {
			return false, err
		}
		o.draw(frame, views)
		return false, nil
	}, func(*screen) error {
		var changed []canary.View
		for _, v := range views {
			what := fmt.Sprint(v.Phase, v.Step, v.Weight, v.Verdict.Kind, v.Reason, hintOf(v))
			if before[v.Key()] != what {
				changed = append(changed, v)
			}
			before[v.Key()] = what
		}
		if len(changed) == 0 {
			return nil
		}
		frame := &screen{style: styleOf(o.streams.Out, false, os.Getenv)}
		o.draw(frame, changed)
		_, err := io.WriteString(o.streams.Out, frame.b.String())
		return err
	})
}

// weightBar is how wide the bars of weights are.
const weightBar = 10

func (o *listOptions) draw(frame *screen, views []canary.View) {
	now := o.program.Now()
	head := []string{"SERVICE", "CANARY", "PHASE", "STEP", "WEIGHT", "VERDICT", "AGE"}
	if o.all {
		head = append([]string{"NAMESPACE"}, head...)
	}
	if o.output == asWide {
		head = append(head, "STABLE", "IMAGES", "REASON", "WHY")
	}
	for i := range head {
		head[i] = frame.paint(dim, head[i])
	}
	rows := [][]string{head}
	for _, v := range views {
		row := []string{
			frame.text(v.Service), frame.text(orDash(v.Canary.Deployment)), frame.paint(phaseColour(v.Phase), frame.text(string(v.Phase))) + frame.paint(yellow, hintOf(v)),
			stepOf(v), frame.bar(float64(v.Weight)/100, weightBar, phaseColour(v.Phase)) + fmt.Sprintf(" %3d%%", v.Weight),
			frame.text(orDash(v.Verdict.Kind)), ago(now, sinceOf(v)),
		}
		if o.all {
			row = append([]string{frame.text(v.Namespace)}, row...)
		}
		if o.output == asWide {
			row = append(row, frame.text(orDash(v.Stable.Deployment)), frame.text(imagesText(v.Canary.Images)), frame.text(string(v.Reason)), frame.text(v.Sentence))
		}
		rows = append(rows, row)
	}
	frame.table(rows)
}

// hintOf says beside the phase what somebody should know of it; mostly nothing.
func hintOf(v canary.View) string {
	switch {
	case v.AwaitsApproval():
		return ", waits for approval"
	case v.Unverified != "" && v.Phase == canary.RolledBack:
		return ", not verified"
	case v.Mirror > 0 && v.Phase == canary.Progressing:
		return fmt.Sprintf(", copies of %d%%", v.Mirror)
	}
	return ""
}

// sinceOf is since when a release is where it is.
func sinceOf(v canary.View) time.Time {
	if v.Since.IsZero() {
		return v.Started
	}
	return v.Since
}

// stepOf is how far a release is: 2/3.
func stepOf(v canary.View) string {
	if v.Steps == 0 || len(v.Path) == 0 {
		return "-"
	}
	return fmt.Sprintf("%d/%d", v.Step, v.Steps)
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
