package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/mode"
	"serin.dev/serin/pkg/topology"
)

func newPlan(t *tool) *cobra.Command {
	return &cobra.Command{
		Use:   "plan NAME",
		Short: "Show what the routes will be at each step, as diffs",
		Long: `Renders the VirtualServices at each step of a release, by the code that Serin
writes them with, and shows what changes from one step to the next. Nothing is
written. The Deployment need not be opted in yet.`,
		Example:           "  kubectl canary plan web -n shop",
		Args:              oneName,
		ValidArgsFunction: t.completeDeployments,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := t.open(cmd.Context())
			if err != nil {
				return err
			}
			defer s.done()
			seen, _, err := s.asIfAsking(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			frame := &screen{style: styleOf(t.streams.Out, false, os.Getenv)}
			if err := frame.plan(seen); err != nil {
				return err
			}
			_, err = io.WriteString(t.streams.Out, frame.b.String())
			return err
		},
	}
}

// plan shows the routes step by step.
func (s *screen) plan(seen sight) error {
	if len(seen.observation.Invalid) > 0 {
		return fmt.Errorf("plan %s: the annotations are not valid: %s", seen.key, strings.Join(seen.observation.Invalid, "; "))
	}
	tracks := seen.observation.Tracks
	if tracks.Canary.Subset == "" || tracks.Stable.Subset == "" {
		return fmt.Errorf("plan %s: which subsets are stable and canary can't be told; kubectl canary lint %s says what is in the way", seen.key, seen.key.Name)
	}
	arrow := s.glyph(" → ", " -> ")
	s.line(s.paint(bold, s.text(seen.key.String())) + s.text("  "+tracks.Stable.Deployment) + arrow + s.text(tracks.Canary.Deployment))
	if seen.observation.InPlace {
		s.line(s.text("A canary Deployment " + tracks.Canary.Deployment + " and a DestinationRule with the subsets " + tracks.Stable.Subset + " and " + tracks.Canary.Subset + " come before, and go after it."))
	}
	docs := seen.taking()
	if len(docs) == 0 {
		return errors.New("plan " + seen.key.String() + ": no VirtualService of this namespace leads to the Service; kubectl canary lint says more")
	}
	for _, stage := range seen.stages() {
		after, err := seen.rendered(stage.state, docs)
		if err != nil {
			return fmt.Errorf("plan %s: %s: %w", seen.key, stage.title, err)
		}
		s.line("")
		s.line(s.paint(bold, stage.title))
		if err := s.diffs(docs, after); err != nil {
			return err
		}
		docs = after
	}
	return nil
}

// stage is a moment of a release.
type stage struct {
	title string
	state canary.State
}

// stages are all moments of a release at which the routes are others.
func (s sight) stages() []stage {
	t := s.observation.Tracks
	base := canary.State{
		Version: canary.StateVersion, Rollout: "plan", Started: s.at, Since: s.at, InPlace: s.observation.InPlace, Spec: s.spec,
		Canary: canary.Side{Deployment: t.Canary.Deployment, Subset: t.Canary.Subset, Template: t.Canary.Template},
		Stable: canary.Side{Deployment: t.Stable.Deployment, Subset: t.Stable.Subset, Template: t.Stable.Template},
	}
	testing := base
	testing.Phase, testing.Sequence = canary.Testing, 1
	title := "Testing: users stay on stable"
	if s.spec.Header.Name != "" {
		title += "; testers reach the canary by " + s.spec.Header.String()
	}
	all := []stage{{title, testing}}
	for i, step := range s.spec.Steps {
		at := base
		at.Phase, at.Step, at.Weight, at.Sequence = canary.Progressing, i+1, step.Weight, int64(i)+2
		share := canary.StepView{Weight: step.Weight, Mirror: step.Mirror}.Share()
		all = append(all, stage{fmt.Sprintf("Step %d of %d: %s, at least %s", i+1, len(s.spec.Steps), share, canary.Span(step.Bake)), at})
	}
	return all
}

// taking are the VirtualServices that take part.
func (s sight) taking() (docs []topology.VirtualService) {
	for _, vs := range s.objects.VirtualServices {
		if _, takes := s.observation.Traffic[vs.Key]; takes {
			docs = append(docs, vs)
		}
	}
	return docs
}

// rendered are the VirtualServices as Serin would write them for a state.
func (s sight) rendered(state canary.State, docs []topology.VirtualService) ([]topology.VirtualService, error) {
	traffic := canary.TrafficOf(state)
	all, err := mode.RenderRoutes(canary.Plan{Next: state, Traffic: &traffic}, topology.RouteService(s.objects), docs, s.at)
	if err != nil {
		return nil, err
	}
	out := slices.Clone(docs)
	for _, w := range all {
		i := slices.IndexFunc(out, func(vs topology.VirtualService) bool { return vs.Key == w.Key })
		if i < 0 {
			continue
		}
		var doc map[string]any
		if err := utiljson.Unmarshal(w.Body, &doc); err != nil {
			return nil, fmt.Errorf("read what was rendered: %w", err)
		}
		out[i].Doc = doc
	}
	return out, nil
}

// diffs shows what changes of each VirtualService's routes.
func (s *screen) diffs(before, after []topology.VirtualService) error {
	for i, vs := range before {
		old, err := specOf(vs)
		if err != nil {
			return err
		}
		now, err := specOf(after[i])
		if err != nil {
			return err
		}
		name := vs.Key.Namespace + "/" + vs.Key.Name
		text := string(diff.Diff("VirtualService "+name, old, "VirtualService "+name, now))
		if text == "" {
			s.line(s.paint(dim, "  VirtualService "+s.text(name)+" stays as it is"))
			continue
		}
		for line := range strings.Lines(text) {
			s.diffLine(strings.TrimRight(line, "\n"))
		}
	}
	return nil
}

func (s *screen) diffLine(line string) {
	colour := plainly
	switch {
	case strings.HasPrefix(line, "diff "):
		return
	case strings.HasPrefix(line, "---"), strings.HasPrefix(line, "+++"):
		colour = bold
	case strings.HasPrefix(line, "@@"):
		colour = cyan
	case strings.HasPrefix(line, "+"):
		colour = green
	case strings.HasPrefix(line, "-"):
		colour = red
	}
	s.line(s.paint(colour, s.text(line)))
}

// specOf is a VirtualService's spec as YAML: what Serin notes beside it is for
// machines.
func specOf(vs topology.VirtualService) ([]byte, error) {
	text, err := json.Marshal(map[string]any{"spec": vs.Doc["spec"]})
	if err != nil {
		return nil, fmt.Errorf("show %s: %w", vs.Key, err)
	}
	return yaml.JSONToYAML(text)
}
