package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"serin.dev/serin/pkg/canary"
	objects "serin.dev/serin/pkg/cluster"
	"serin.dev/serin/pkg/history"
	"serin.dev/serin/pkg/topology"
)

func newDiff(t *tool) *cobra.Command {
	return &cobra.Command{
		Use:   "diff NAME N [M]",
		Short: "Show what differs between two releases, or between one and what runs",
		Long: `Shows what differs between release N and release M, or what runs now: images by
digest, the pod template, the routes and rules as they were before each release,
and which ConfigMaps have other content. N and M are numbers or ids, as kubectl
canary history lists them.`,
		Example: `  kubectl canary diff web 3      # and what runs now
  kubectl canary diff web 3 5`,
		Args:              wrong(cobra.RangeArgs(2, 3)),
		ValidArgsFunction: t.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.compare(cmd.Context(), args[0], args[1:])
		},
	}
}

// compared is one side of a comparison.
type compared struct {
	name     string
	images   []canary.Image
	template any
	routes   []history.Document
	rules    []history.Document
	config   []history.Config
}

func (t *tool) compare(ctx context.Context, name string, which []string) error {
	s, err := t.open(ctx)
	if err != nil {
		return err
	}
	defer s.done()
	keys, err := s.cluster.recordedServices(ctx, name)
	if err != nil {
		return err
	}
	if len(keys) != 1 {
		return fmt.Errorf("compare releases of %s: it is released for several Services; name one of them, like service/%s", name, keys[0].Name)
	}
	all, err := s.cluster.kept(ctx, keys[0])
	if err != nil {
		return err
	}
	var sides []compared
	for _, one := range which {
		k, err := named(all, one)
		if err == nil {
			err = k.unknown
		}
		if err != nil {
			return fmt.Errorf("compare release %s of %s: %w", one, keys[0], err)
		}
		sides = append(sides, compared{
			name: fmt.Sprintf("release %d", k.number), images: k.release.Images, template: k.before.Template,
			routes: k.before.Routes, rules: k.before.Rules, config: k.before.Config,
		})
	}
	if len(sides) == 1 {
		now, err := s.now(ctx, keys[0], all)
		if err != nil {
			return err
		}
		sides = append(sides, now)
	}
	frame := &screen{style: styleOf(t.streams.Out, false, os.Getenv)}
	if err := frame.compare(sides[0], sides[1]); err != nil {
		return err
	}
	_, err = io.WriteString(t.streams.Out, frame.b.String())
	return err
}

// now is what a Service has now, of what its releases are kept with.
func (s *session) now(ctx context.Context, k objects.Key, all []kept) (compared, error) {
	r, err := s.reader(ctx, k.Namespace, "")
	if err != nil {
		return compared{}, err
	}
	seen, err := r.look(ctx, k)
	if err != nil {
		return compared{}, err
	}
	c := compared{name: "now"}
	if name := seen.serving(); name != "" {
		d, err := s.cluster.kube.AppsV1().Deployments(k.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return c, fmt.Errorf("read Deployment %s/%s: %w", k.Namespace, name, err)
		}
		c.template, c.images = treeOf(d.Spec.Template), seen.track(name).Images
	}
	for _, vs := range seen.objects.VirtualServices {
		if topology.Ours(vs.Doc, k.Name) {
			continue
		}
		if c.routes, err = add(c.routes, vs.Key, vs.Doc["spec"]); err != nil {
			return c, err
		}
	}
	for _, rule := range seen.objects.DestinationRules {
		if topology.Ours(rule.Doc, k.Name) {
			continue // left of the last release, or made for the next
		}
		live, err := s.cluster.trees.Resource(rules).Namespace(rule.Key.Namespace).Get(ctx, rule.Key.Name, metav1.GetOptions{})
		if err != nil {
			return c, fmt.Errorf("read %s: %w", rule.Key, err)
		}
		if c.rules, err = add(c.rules, rule.Key, live.Object["spec"]); err != nil {
			return c, err
		}
	}
	c.config = s.cluster.configNow(ctx, k.Namespace, all)
	return c, nil
}

// configNow are the ConfigMaps that records name, as they are now. Those that the user
// may not read are left out.
func (c cluster) configNow(ctx context.Context, namespace string, all []kept) (found []history.Config) {
	for _, k := range all {
		for _, was := range k.before.Config {
			if slices.ContainsFunc(found, func(f history.Config) bool { return f.Name == was.Name }) {
				continue
			}
			now, err := c.kube.CoreV1().ConfigMaps(namespace).Get(ctx, was.Name, metav1.GetOptions{})
			one := history.Config{Name: was.Name}
			switch {
			case err == nil:
				one.Hash = history.HashConfig(now)
			case isGone(err):
				one.Absent = true
			}
			found = append(found, one)
		}
	}
	return found
}

// compare shows what differs between two sides, or that nothing does.
func (s *screen) compare(a, b compared) error {
	before := s.b.Len()
	if text := imageChanges(a.images, b.images); text != "" {
		s.diffText(text, a.name+" images", b.name+" images")
	}
	old, err := yamlOf(a.template)
	if err != nil {
		return err
	}
	now, err := yamlOf(b.template)
	if err != nil {
		return err
	}
	s.diff("pod template", a.name, b.name, old, now)
	for _, kind := range []struct {
		name     string
		from, to []history.Document
	}{{"VirtualService", a.routes, b.routes}, {"DestinationRule", a.rules, b.rules}} {
		if err := s.documents(kind.name, a.name, b.name, kind.from, kind.to); err != nil {
			return err
		}
	}
	for _, was := range a.config {
		i := slices.IndexFunc(b.config, func(c history.Config) bool { return c.Name == was.Name })
		switch {
		case i < 0 || b.config[i] == was:
		case b.config[i].Absent:
			s.line(s.paint(red, s.text("ConfigMap "+was.Name+": gone in "+b.name)))
		case was.Absent:
			s.line(s.paint(green, s.text("ConfigMap "+was.Name+": not there in "+a.name)))
		case was.Hash == "" || b.config[i].Hash == "":
			s.line(s.paint(dim, s.text("ConfigMap "+was.Name+": its content is not known of both")))
		default:
			s.line(s.paint(yellow, s.text("ConfigMap "+was.Name+": other content in "+b.name)))
		}
	}
	if s.b.Len() == before {
		s.line(s.text(a.name + " and " + b.name + " do not differ"))
	}
	return nil
}

// imageChanges are the images that two sides don't have in common, as a diff.
func imageChanges(a, b []canary.Image) string {
	text := ""
	for _, i := range a {
		if !slices.ContainsFunc(b, func(j canary.Image) bool { return same(i, j) }) {
			text += "-" + i.Container + "  " + imageText(i) + "\n"
		}
	}
	for _, j := range b {
		if !slices.ContainsFunc(a, func(i canary.Image) bool { return same(i, j) }) {
			text += "+" + j.Container + "  " + imageText(j) + "\n"
		}
	}
	return text
}

// same tells that a container runs the same: by digest, and where one is not known by name.
func same(a, b canary.Image) bool {
	digest := func(i canary.Image) string {
		if _, named, is := strings.Cut(i.Reference, "@"); is {
			return named
		}
		return i.Digest
	}
	if a.Container != b.Container {
		return false
	}
	if digest(a) != "" && digest(b) != "" {
		return digest(a) == digest(b)
	}
	return a.Reference == b.Reference
}

func (s *screen) documents(kind, a, b string, from, to []history.Document) error {
	names := func(all []history.Document) (out []string) {
		for _, d := range all {
			out = append(out, d.Namespace+"/"+d.Name)
		}
		return out
	}
	both := append(names(from), names(to)...)
	slices.Sort(both)
	for _, name := range slices.Compact(both) {
		old, err := specText(from, name)
		if err != nil {
			return err
		}
		now, err := specText(to, name)
		if err != nil {
			return err
		}
		s.diff(kind+" "+name, a, b, old, now)
	}
	return nil
}

// specText is the spec of a document of a name as YAML; empty without one.
func specText(all []history.Document, name string) ([]byte, error) {
	for _, d := range all {
		if d.Namespace+"/"+d.Name == name {
			return yamlOf(d.Spec)
		}
	}
	return nil, nil
}

// diff shows what differs between two texts; nothing where nothing does.
func (s *screen) diff(what, a, b string, old, now []byte) {
	for line := range strings.Lines(string(diff.Diff(a+" "+what, old, b+" "+what, now))) {
		s.diffLine(strings.TrimRight(line, "\n"))
	}
}

func (s *screen) diffText(text, a, b string) {
	s.diffLine("--- " + a)
	s.diffLine("+++ " + b)
	for line := range strings.Lines(text) {
		s.diffLine(strings.TrimRight(line, "\n"))
	}
}
