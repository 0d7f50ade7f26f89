package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"serin.dev/serin/pkg/annotation"
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/topology"
)

type lintOptions struct {
	*tool
	file   string
	output string
}

func newLint(t *tool) *cobra.Command {
	o := &lintOptions{tool: t}
	c := &cobra.Command{
		Use:   "lint [NAME | -f FILE]",
		Short: "Find what is in the way of canary releases, before opting in",
		Long: `Looks at a Deployment, its Service and its routes as Serin would before a release,
and names what is in the way with the object, the field and the mend. It need not
be opted in yet, and Serin need not run. Without a name all Deployments of the
namespace are looked at that ask for releases.

With -f the annotations of the Deployments in a file are checked, without any
cluster; - is the standard input.

Ends with 1 when something blocks a release.`,
		Example: `  kubectl canary lint web -n shop
  kubectl canary lint -f deployment.yaml`,
		Args:              wrong(cobra.MaximumNArgs(1)),
		ValidArgsFunction: t.completeDeployments,
		RunE:              o.run,
	}
	f := c.Flags()
	f.StringVarP(&o.file, "filename", "f", "", "`file` with manifests whose annotations are checked")
	f.StringVarP(&o.output, "output", "o", "", "json or yaml")
	completeOutput(c, asJSON, asYAML)
	return c
}

// linted is what was found about one Deployment.
type linted struct {
	Namespace  string           `json:"namespace,omitempty"`
	Deployment string           `json:"deployment"`
	Service    string           `json:"service,omitempty"`
	Mode       string           `json:"mode,omitempty"`
	OptedIn    bool             `json:"optedIn"`
	Mistakes   []string         `json:"mistakes,omitempty"` // in the annotations
	Findings   []canary.Finding `json:"findings,omitempty"`
}

func (l linted) blocked() bool {
	for _, f := range l.Findings {
		if f.Blocking {
			return true
		}
	}
	return len(l.Mistakes) > 0
}

func (o *lintOptions) run(cmd *cobra.Command, args []string) error {
	if err := checkOutput(cmd, o.output, asJSON, asYAML); err != nil {
		return err
	}
	if o.file != "" && len(args) > 0 {
		return usageError{errors.New("a name and a file are given; lint one of both"), cmd.CommandPath()}
	}
	var found []linted
	var err error
	if o.file != "" {
		found, err = o.fromFile()
	} else {
		found, err = o.fromCluster(cmd.Context(), args)
	}
	if err != nil {
		return err
	}
	if o.output != "" {
		if err := writeAs(o.streams.Out, o.output, map[string]any{"deployments": found}); err != nil {
			return err
		}
	} else {
		frame := &screen{style: styleOf(o.streams.Out, false, os.Getenv)}
		for i, l := range found {
			if i > 0 {
				frame.line("")
			}
			frame.linted(l)
		}
		if _, err := io.WriteString(o.streams.Out, frame.b.String()); err != nil {
			return err
		}
	}
	for _, l := range found {
		if l.blocked() {
			return ending{code: exitFailed}
		}
	}
	return nil
}

// fromFile checks annotations by the vocabulary of a configuration file, or the
// defaults.
func (o *lintOptions) fromFile() ([]linted, error) {
	settings, err := o.fileSettings()
	if err != nil {
		return nil, err
	}
	in := o.streams.In
	if o.file != "-" {
		file, err := os.Open(o.file)
		if err != nil {
			return nil, fmt.Errorf("read manifests: %w", err)
		}
		defer file.Close()
		in = file
	}
	var found []linted
	documents := utilyaml.NewYAMLReader(bufferOf(in))
	for n := 1; ; n++ {
		text, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read manifests: document %d: %w", n, err)
		}
		var d appsv1.Deployment
		if err := yaml.Unmarshal(text, &d); err != nil {
			return nil, fmt.Errorf("read manifests: document %d: %w", n, err)
		}
		if d.Kind != "Deployment" {
			continue
		}
		parsed, mistakes := annotation.Parse(d.Annotations, settings.Vocabulary())
		found = append(found, linted{
			Namespace: d.Namespace, Deployment: d.Name, Service: parsed.Spec.Service,
			OptedIn: parsed.OptedIn || parsed.Observe, Mistakes: annotation.Mistakes(mistakes),
		})
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("read manifests: there is no Deployment in %s", o.file)
	}
	return found, nil
}

func (o *lintOptions) fromCluster(ctx context.Context, args []string) ([]linted, error) {
	s, err := o.open(ctx)
	if err != nil {
		return nil, err
	}
	defer s.done()
	if s.unread != nil {
		o.note(s.unread.Error() + ": the defaults are assumed, and that releases in place are switched on")
	}
	names := args
	if len(args) == 0 {
		if names, err = s.cluster.askingDeployments(ctx); err != nil {
			return nil, err
		}
	}
	var found []linted
	for _, name := range names {
		l, err := s.lint(ctx, name)
		if err != nil {
			return nil, err
		}
		found = append(found, l)
	}
	return found, nil
}

// askingDeployments are the Deployments of the namespace that ask for releases.
func (c cluster) askingDeployments(ctx context.Context) ([]string, error) {
	all, err := c.deployments(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, d := range all {
		if topology.OptedIn(d) {
			names = append(names, d.Name)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no Deployment of namespace %s asks for canary releases; name one that shall, to see what is in the way", c.namespace)
	}
	return names, nil
}

// lint looks at a Deployment as if it asked for releases.
func (s *session) lint(ctx context.Context, name string) (linted, error) {
	seen, short, err := s.asIfAsking(ctx, name)
	if err != nil {
		return linted{}, err
	}
	d, err := s.cluster.kube.AppsV1().Deployments(s.cluster.namespace).Get(ctx, short, metav1.GetOptions{})
	if err != nil {
		return linted{}, fmt.Errorf("read Deployment %s/%s: %w", s.cluster.namespace, short, err)
	}
	l := linted{
		Namespace: seen.key.Namespace, Deployment: short, Service: seen.key.Name, Mode: canary.ModePair,
		OptedIn:  topology.OptedIn(topology.Deployment{Annotations: d.Annotations}),
		Mistakes: seen.observation.Invalid, Findings: seen.observation.Findings,
	}
	if seen.observation.InPlace {
		l.Mode = canary.ModeInPlace
	}
	if seen.observation.Lost || seen.observation.Newer {
		v := seen.view()
		l.Findings = append(l.Findings, canary.Finding{Reason: v.Reason, Blocking: true, Problem: v.Sentence})
	}
	return l, nil
}

// asIfAsking reads the Service of a Deployment as if that asked for releases. A
// Service's name means its Deployment that asks, or its only one.
func (s *session) asIfAsking(ctx context.Context, name string) (sight, string, error) {
	_, short, err := splitName(name)
	if err != nil {
		return sight{}, "", err
	}
	ns := s.cluster.namespace
	_, err = s.cluster.kube.AppsV1().Deployments(ns).Get(ctx, short, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return sight{}, "", fmt.Errorf("read Deployment %s/%s: %w", ns, short, err)
	}
	if err != nil {
		if short, err = s.deploymentBehind(ctx, short); err != nil {
			return sight{}, "", err
		}
	}
	r, err := s.reader(ctx, ns, ns+"/"+short)
	if err != nil {
		return sight{}, "", err
	}
	keys, err := r.concerned(ctx, s.cluster, ns)
	if err != nil {
		return sight{}, "", err
	}
	// The one that was named may not be among those that really ask.
	services, err := s.cluster.services(ctx)
	if err != nil {
		return sight{}, "", err
	}
	all, err := s.cluster.deployments(ctx)
	if err != nil {
		return sight{}, "", err
	}
	for _, d := range all {
		if d.Name != short {
			continue
		}
		d.Annotations = asking(d.Annotations)
		for _, service := range topology.ServicesOf(d, services) {
			keys = append(keys, keyOf(ns, service))
		}
	}
	for _, k := range keys {
		seen, err := r.look(ctx, k)
		if err != nil {
			return sight{}, "", err
		}
		if asks(seen, short) {
			return seen, short, nil
		}
	}
	return sight{}, "", fmt.Errorf("lint %s: no Service of namespace %s selects the pods of Deployment %s: make one, or name it with the annotation serin.dev/service", name, ns, short)
}

// asking are annotations with the one that asks for releases.
func asking(annotations map[string]string) map[string]string {
	out := map[string]string{topology.OptInKey: "true"}
	for key, value := range annotations {
		if key != topology.OptInKey || strings.TrimSpace(value) != "false" {
			out[key] = value
		}
	}
	return out
}

// deploymentBehind is the Deployment of a Service that asks for releases, or its
// only one.
func (s *session) deploymentBehind(ctx context.Context, service string) (string, error) {
	services, err := s.cluster.services(ctx)
	if err != nil {
		return "", err
	}
	all, err := s.cluster.deployments(ctx)
	if err != nil {
		return "", err
	}
	behind := topology.DeploymentsOf(service, all, services)
	for _, d := range behind {
		if topology.OptedIn(d) {
			return d.Name, nil
		}
	}
	switch len(behind) {
	case 0:
		return "", fmt.Errorf("there is neither a Deployment %s in namespace %s, nor a Service that selects one", service, s.cluster.namespace)
	case 1:
		return behind[0].Name, nil
	}
	return "", fmt.Errorf("several Deployments are behind Service %s (%s): name the one that the new version is deployed to", service, strings.Join(namesOf(behind), ", "))
}

// linted shows what was found.
func (s *screen) linted(l linted) {
	head := s.paint(bold, s.text("Deployment "+joined(l.Namespace, l.Deployment)))
	if l.Service != "" {
		head += s.text(", Service " + l.Service)
	}
	switch l.Mode {
	case canary.ModePair:
		head += ", two Deployments"
	case canary.ModeInPlace:
		head += ", in place"
	}
	s.line(head)
	for _, m := range l.Mistakes {
		s.wrapped(s.paint(red, "  Blocking  "), m)
	}
	for _, f := range l.Findings {
		colour, word := yellow, "  Warning   "
		if f.Blocking {
			colour, word = red, "  Blocking  "
		}
		s.wrapped(s.paint(colour, word), string(f.Reason)+": "+f.Sentence())
		for line := range strings.Lines(f.YAML) {
			s.line("              " + s.text(strings.TrimRight(line, "\n")))
		}
	}
	switch {
	case l.blocked():
	case l.Mode == "":
		s.line("  " + s.paint(green, "The annotations are valid."))
	case l.OptedIn:
		s.line("  " + s.paint(green, "Nothing is in the way.") + " Its next change is released as a canary.")
	default:
		s.line("  " + s.paint(green, "Nothing is in the way.") + s.text(fmt.Sprintf(" To opt in: kubectl annotate deployment %s -n %s serin.dev/canary=true", l.Deployment, l.Namespace)))
	}
}

func joined(namespace, name string) string {
	if namespace == "" {
		return name
	}
	return namespace + "/" + name
}
