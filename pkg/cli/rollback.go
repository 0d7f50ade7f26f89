package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/mode"
	"serin.dev/serin/pkg/safetext"
)

type rollback struct {
	order
	to     string
	dry    bool
	yes    bool
	canary bool
}

func newRollback(t *tool) *cobra.Command {
	o := &rollback{order: order{tool: t, verb: canary.CommandRollback}}
	c := &cobra.Command{
		Use:   "rollback NAME [--to N]",
		Short: "Go back to stable, to the version before, or to an earlier release",
		Long: `A release under way goes back to stable at once. After a promotion it goes back to
the version before; with --to to what release N made users run, a number or id that
kubectl canary history lists. It shows first what will change, and asks.

Where pods of that version still run, Serin moves the routes to them at once.
Otherwise the pod template of that release is written to the Deployment with your
own rights, its images named by the digests that its pods reported, so that a tag
that was moved since brings nothing else; then it waits until the pods are ready and
report these digests. In place Kubernetes updates the Deployment at once, without
canary steps. With two Deployments the idle one gets the template, and the traffic
follows when it is ready. --canary makes it an ordinary release instead.

It refuses, with the reason, where what would run is not what ran then: no digest
was recorded, the pod template is not kept, or a ConfigMap that it needs is gone.
What can't be known, such as the content of Secrets, it says.`,
		Example: `  kubectl canary rollback web -n shop
  kubectl canary rollback web --to 3 --dry-run
  kubectl canary rollback web --to 3 --yes     # in a pipeline`,
		Args:              oneName,
		ValidArgsFunction: t.completeNames,
		RunE:              func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args[0]) },
	}
	f := c.Flags()
	f.StringVar(&o.to, "to", "", "number or id of the `release` whose version users shall run")
	f.BoolVar(&o.dry, "dry-run", false, "show what would change, and change nothing")
	f.BoolVarP(&o.yes, "yes", "y", false, "don't ask")
	f.BoolVar(&o.canary, "canary", false, "release the earlier version in steps, like any other")
	f.DurationVar(&o.timeout, "timeout", readyTime, "how long to wait until it is carried out")
	return c
}

// readyTime is how long pods are waited for by default.
const readyTime = 10 * time.Minute

func (o *rollback) run(ctx context.Context, name string) error {
	s, r, found, err := o.about(ctx, name)
	if err != nil {
		return err
	}
	defer s.done()
	if o.to != "" && found.state.Phase.Active() {
		return fmt.Errorf("rollback %s: a release is under way (%s at %d%%): go back from it first by kubectl canary rollback %s, and then to release %s", found.key, found.state.Phase, found.state.Weight, found.key.Name, o.to)
	}
	if o.to == "" {
		write, _, refused := found.prepare(o.verb)
		if refused == nil && (found.state.Phase.Active() || o.ranBefore(ctx, s, found)) {
			return o.byRoutes(ctx, s, r, found, write)
		}
		if found.state.Phase.Active() {
			return refused
		}
	}
	back, err := o.aim(ctx, s, found)
	if err != nil {
		return fmt.Errorf("rollback %s: %w", found.key, err)
	}
	if back.already {
		_, err := fmt.Fprintf(o.streams.Out, "Nothing to do: %s runs %s.\n", back.deployment.Name, back.version.name)
		return err
	}
	if err := o.show(func(frame *screen) error { return frame.goingBack(back) }); err != nil || o.dry {
		return err
	}
	if err := o.ask(false, "Go back?"); err != nil {
		return err
	}
	return o.carryOut(ctx, s, r, found, back)
}

// ranBefore tells that the pods to go back to report what they did when the last
// release began, as far as both are known: a tag may have been moved since.
func (o *rollback) ranBefore(ctx context.Context, s *session, found sight) bool {
	all, err := s.cluster.kept(ctx, found.key)
	if err != nil {
		return true // nothing is known that speaks against it
	}
	now := found.track(found.state.Stable.Deployment).Images
	for _, k := range all {
		if k.release.Rollout == found.state.Rollout {
			return !slices.ContainsFunc(k.release.StableImages, func(then canary.Image) bool {
				return then.Digest != "" && slices.ContainsFunc(now, func(i canary.Image) bool {
					return i.Container == then.Container && i.Digest != "" && i.Digest != then.Digest
				})
			})
		}
	}
	return true
}

// byRoutes orders what Serin does at once: the pods to go back to run.
func (o *rollback) byRoutes(ctx context.Context, s *session, r *reader, found sight, w written) error {
	from, to := found.state.Canary.Deployment, found.state.Stable.Deployment
	err := o.show(func(frame *screen) error {
		frame.line(fmt.Sprintf("All traffic of %s goes back at once to %s, whose pods run:", frame.text(found.key.String()), frame.text(to)))
		frame.change(found.track(from).Images, found.track(to).Images)
		return nil
	})
	if err != nil || o.dry {
		return err
	}
	if !found.state.Phase.Active() { // else it is as urgent, and as harmless, as an abort
		if err := o.ask(true, "Go back?"); err != nil {
			return err
		}
	}
	return o.give(ctx, s, r, found, w)
}

func (o *rollback) show(draw func(*screen) error) error {
	frame := &screen{style: styleOf(o.streams.Out, false, os.Getenv)}
	if err := draw(frame); err != nil {
		return err
	}
	_, err := io.WriteString(o.streams.Out, frame.b.String())
	return err
}

// ask asks whether to go on. Where nobody can be asked it is an error, unless what is
// to be done is only an order.
func (o *rollback) ask(order bool, question string) error {
	if o.yes {
		return nil
	}
	file, is := o.streams.In.(*os.File)
	if !is || !term.IsTerminal(int(file.Fd())) {
		if order {
			return nil
		}
		return errors.New("nothing was changed: nobody can be asked here; --yes does it without asking, --dry-run only shows what would change")
	}
	return confirmed(o.streams.In, o.streams.ErrOut, question)
}

// confirmed asks a question; anything but yes is an error.
func confirmed(in io.Reader, out io.Writer, question string) error {
	fmt.Fprint(out, question+" [y/N] ")
	answer := make([]byte, 0, 8)
	one := make([]byte, 1)
	for len(answer) < cap(answer) { // no more than the line: what comes after it is not ours
		n, err := in.Read(one)
		if n == 1 && one[0] != '\n' {
			answer = append(answer, one[0])
		}
		if err != nil || n == 1 && one[0] == '\n' {
			break
		}
	}
	switch strings.ToLower(strings.TrimSpace(string(answer))) {
	case "y", "yes":
		return nil
	}
	return errors.New("nothing was changed")
}

// goingBack is a way back to an earlier version.
type goingBack struct {
	version    version
	deployment *appsv1.Deployment // that gets the template, as it is now
	template   map[string]any     // that it gets
	replicas   int32              // that it gets; 0: it keeps what it has
	from       canary.Track       // that users run now
	inPlace    bool
	// routes tells that Serin moves the routes to it at once when it is ready; else, of
	// two Deployments, it is released.
	routes  bool
	inSteps bool // by an ordinary release
	already bool // users run it
	now     settings
	gitOps  string // what would write another template again; empty: nothing
}

// aim finds the version to go back to, and the way there. The error says why there is
// none.
func (o *rollback) aim(ctx context.Context, s *session, found sight) (goingBack, error) {
	all, err := s.cluster.kept(ctx, found.key)
	if err != nil {
		return goingBack{}, err
	}
	back := goingBack{inPlace: found.observation.InPlace, inSteps: o.canary, from: found.track(found.serving())}
	last, is := lastPromoted(all)
	switch {
	case o.to != "":
		k, err := named(all, o.to)
		if err != nil {
			return back, err
		}
		if back.version, err = k.released(); err != nil {
			return back, fmt.Errorf("release %d: %w", k.number, err)
		}
	case !is:
		return back, errors.New("no promotion is recorded that could be taken back; kubectl canary history lists what is")
	default:
		if back.version, err = last.replaced(); err != nil {
			return back, fmt.Errorf("%s: %w", back.version.name, err)
		}
		back.version.name = recordedAs(all, back.version)
	}
	if err := back.place(ctx, s, found, last); err != nil {
		return back, err
	}
	back.now, err = s.cluster.settingsOf(ctx, found.key.Namespace, back.version)
	if err == nil && len(back.now.gone) > 0 {
		err = fmt.Errorf("%s needs ConfigMap %s, which is gone: make it again first", back.version.name, strings.Join(back.now.gone, ", "))
	}
	return back, err
}

// recordedAs is what a version is called: by the release that made users run it, where
// that is recorded.
func recordedAs(all []kept, v version) string {
	for _, k := range all {
		if released, err := k.released(); err == nil && essence(released.template, released.images) == essence(v.template, v.images) {
			return released.name
		}
	}
	return v.name
}

// lastPromoted is the release that was promoted last.
func lastPromoted(all []kept) (kept, bool) {
	i := slices.IndexFunc(all, func(k kept) bool { return !k.begun && k.release.Outcome == canary.Succeeded })
	if i < 0 {
		return kept{}, false
	}
	return all[i], true
}

// place finds the Deployment that gets the template.
func (b *goingBack) place(ctx context.Context, s *session, found sight, last kept) error {
	serving := found.serving()
	name := b.version.side.Deployment
	switch {
	case serving == "":
		return errors.New("nobody can say which Deployment users are on: the routes share them out; kubectl canary status " + found.key.Name)
	case b.inPlace:
		name = found.deployment()
	case name == serving:
		name = found.other(serving)
	}
	live, err := s.cluster.kube.AppsV1().Deployments(found.key.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read Deployment %s/%s: %w", found.key.Namespace, name, err)
	}
	b.deployment, b.template = live, b.version.template
	serves, err := s.cluster.kube.AppsV1().Deployments(found.key.Namespace).Get(ctx, serving, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read Deployment %s/%s: %w", found.key.Namespace, serving, err)
	}
	b.already = essence(treeOf(serves.Spec.Template), found.track(serving).Images) == essence(b.template, b.version.images)
	if b.inPlace {
		b.gitOps = gitOpsOf(live)
		return nil
	}
	if name != b.version.side.Deployment {
		b.template = relabelled(b.template, labelsOf(treeOf(live.Spec.Template)))
	}
	if has, needs := live.Spec.Replicas, serves.Spec.Replicas; has != nil && needs != nil && *has < *needs {
		b.replicas = *needs
	}
	before := found.state.Phase == canary.Succeeded && found.state.Weight == 100 && last.release.Rollout == found.state.Rollout
	b.routes = !b.inSteps && before && name == found.state.Stable.Deployment && sameImages(last.release.StableImages, b.version.images)
	b.gitOps = gitOpsOf(live)
	if !b.routes && !asks(found, name) {
		return fmt.Errorf("it would be released in Deployment %s, which does not ask for canary releases: annotate it (kubectl annotate deployment %s -n %s serin.dev/canary=true), so that the two take turns", name, name, found.key.Namespace)
	}
	return nil
}

// sameImages tells that two versions run the same, by digest.
func sameImages(a, b []canary.Image) bool {
	return len(a) > 0 && slices.EqualFunc(a, b, func(a, b canary.Image) bool { return a.Digest != "" && same(a, b) })
}

// gitOpsOf is the GitOps tool that owns a Deployment's pod template; empty: none does.
func gitOpsOf(d *appsv1.Deployment) string {
	for _, entry := range d.ManagedFields {
		if entry.FieldsV1 != nil && mode.GitOps(entry.Manager) && strings.Contains(entry.FieldsV1.GetRawString(), `"f:template"`) {
			return entry.Manager
		}
	}
	return ""
}

// serving is the Deployment that users are on, while no release is under way; empty
// where that can't be told.
func (s sight) serving() string {
	switch {
	case s.observation.InPlace:
		return s.deployment()
	case s.state.Phase == canary.Succeeded && s.state.Weight == 100:
		return s.state.Canary.Deployment
	}
	return s.observation.Tracks.Stable.Deployment
}

// other is the Deployment of a pair that a name is not.
func (s sight) other(name string) string {
	if s.observation.Tracks.Canary.Deployment == name {
		return s.observation.Tracks.Stable.Deployment
	}
	return s.observation.Tracks.Canary.Deployment
}

// track is one of the Deployments as it runs. In place that of the user is what runs.
func (s sight) track(name string) canary.Track {
	t := s.observation.Tracks
	if t.Stable.Deployment == name {
		return t.Stable
	}
	return t.Canary
}

// goingBack shows what will change.
func (s *screen) goingBack(b goingBack) error {
	v, name := b.version, b.deployment.Name
	s.line(s.paint(bold, s.text(fmt.Sprintf("%s/%s goes back to %s", b.deployment.Namespace, name, v.name))))
	s.change(b.from.Images, v.images)
	s.wrapped("How       ", b.how())
	for _, c := range b.now.changed {
		s.wrapped(s.paint(yellow, "Warning")+"   ", "ConfigMap "+c+" has changed since: the pods take it as it is now, and not as it was")
	}
	for _, c := range b.now.unread {
		s.wrapped(s.paint(yellow, "Warning")+"   ", "ConfigMap "+c+": whether it changed is not known, for it can't be read, or its content was not recorded")
	}
	if len(v.secrets) > 0 {
		s.wrapped("Secrets   ", strings.Join(v.secrets, ", ")+": whether they changed is not known, for nobody looks into them")
	}
	if b.gitOps != "" {
		s.wrapped(s.paint(yellow, "Warning")+"   ", b.gitOps+" applies "+name+" and will write its own template again. Go back in Git instead, to the images above, or suspend "+b.gitOps+" until Git says the same")
	}
	old, err := yamlOf(treeOf(b.deployment.Spec.Template))
	if err != nil {
		return err
	}
	now, err := yamlOf(b.template)
	if err != nil {
		return err
	}
	s.line("")
	s.diff("pod template of "+name, "now", v.name, old, now)
	return nil
}

func (b goingBack) how() string {
	name := b.deployment.Name
	write := "The pod template of Deployment " + name + " is written with your rights, with images by digest"
	if b.replicas > 0 {
		write += fmt.Sprintf(", and it gets %d replicas", b.replicas)
	}
	switch {
	case b.inSteps:
		return write + "; it is released in steps, like any other version"
	case b.inPlace:
		return write + ", and Kubernetes updates it at once, without canary steps. The routes stay as they are"
	case b.routes:
		return write + "; when its pods are ready and report these digests, Serin moves all traffic to it from " + b.from.Deployment
	}
	return write + "; when its pods are ready it is released and promoted at once, over the steps between. The last step still bakes, and a breach takes it back to " + b.from.Deployment
}

// change shows which images take the place of which.
func (s *screen) change(from, to []canary.Image) {
	text := imageChanges(from, to)
	if text == "" && len(to) > 0 {
		s.line(s.paint(dim, "  the same images"))
	}
	for line := range strings.Lines(text) {
		s.diffLine(strings.TrimRight(line, "\n"))
	}
}

// progress tells something that happens while a person waits.
func (o *rollback) progress(format string, args ...any) {
	fmt.Fprintln(o.streams.Out, o.program.Now().Format("15:04:05"), safetext.Line(fmt.Sprintf(format, args...)))
}
