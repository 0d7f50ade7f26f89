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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"serin.dev/serin/pkg/canary"
	objects "serin.dev/serin/pkg/cluster"
	"serin.dev/serin/pkg/history"
)

type historyOptions struct {
	*tool
	output  string
	export  string
	secrets bool
}

func newHistory(t *tool) *cobra.Command {
	o := &historyOptions{tool: t}
	c := &cobra.Command{
		Use:   "history [NAME] [N]",
		Short: "List releases, newest first, and show what is kept of one",
		Long: `Lists the releases of a Service, or of all of the namespace, newest first: how they
ended, which images they ran, and whether kubectl canary rollback can go back to
them. Serin keeps the last five of each Service that ended, and the one that was
promoted last. NAME is a Service or one of its Deployments.

With N, a release's number or id, it shows what is kept of that one: images by
digest, who approved, its settings, and the ConfigMaps as they were and are. With
--export it writes all of it into a folder, and beside it what the Service has now:
routes, rules, Ingresses and ConfigMaps, read with your own rights; Secrets only
with --with-secrets, into files that you alone can read.

kubectl canary diff compares two releases, and kubectl canary explain tells why one
went as it went.`,
		Example: `  kubectl canary history web -n shop
  kubectl canary history web 3
  kubectl canary history web 3 --export ./release-3
  kubectl canary history -o json`,
		Args:              wrong(cobra.MaximumNArgs(2)),
		ValidArgsFunction: t.completeNames,
		RunE:              o.run,
	}
	f := c.Flags()
	f.StringVarP(&o.output, "output", "o", "", "json or yaml")
	f.StringVar(&o.export, "export", "", "with N: write what is kept, and what there is now, into this `folder`")
	f.BoolVar(&o.secrets, "with-secrets", false, "with --export: also the Secrets that the release names, as they are now")
	completeOutput(c, asJSON, asYAML)
	return c
}

// recorded is a release as it is listed.
type recorded struct {
	Service string `json:"service"`
	Number  int64  `json:"number"`
	canary.Past
	UnderWay bool `json:"underWay,omitempty"`
	// CanGoBack tells that rollback can make users run it; WhyNot says why it can't.
	CanGoBack bool   `json:"canGoBack"`
	WhyNot    string `json:"whyNot,omitempty"`
}

func (o *historyOptions) run(cmd *cobra.Command, args []string) error {
	if err := checkOutput(cmd, o.output, asJSON, asYAML); err != nil {
		return err
	}
	name, which := o.arguments(args)
	switch {
	case o.export != "" && which == "":
		return usageError{errors.New("--export takes the number of a release: kubectl canary history NAME N --export FOLDER"), cmd.CommandPath()}
	case o.secrets && o.export == "":
		return usageError{errors.New("--with-secrets goes with --export"), cmd.CommandPath()}
	}
	ctx := cmd.Context()
	s, err := o.open(ctx)
	if err != nil {
		return err
	}
	defer s.done()
	keys, err := s.cluster.recordedServices(ctx, name)
	if err != nil {
		return err
	}
	if which != "" {
		return o.one(ctx, s, keys, which)
	}
	return o.list(ctx, s, keys, name)
}

// arguments are a name and a release, either of which may be left out.
func (o *historyOptions) arguments(args []string) (name, which string) {
	switch {
	case len(args) == 2:
		return args[0], args[1]
	case len(args) == 1 && isNumber(args[0]):
		return "", args[0]
	case len(args) == 1:
		return args[0], ""
	}
	return "", ""
}

func isNumber(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}

// recordedServices are the Services of the namespace that have records, sorted: all of
// them, or the ones that a name means.
func (c cluster) recordedServices(ctx context.Context, name string) ([]objects.Key, error) {
	kind, short, err := splitName(name)
	if err != nil {
		return nil, err
	}
	revisions, err := c.revisions(ctx)
	if err != nil {
		return nil, err
	}
	var keys []objects.Key
	for service, records := range revisions {
		// A record that can't be read stands in nobody's way.
		ended, _ := history.Releases(records)
		begun, _ := history.Begun(records)
		isService := kind != kindDeployment && service == short
		isDeployment := kind != kindService && slices.ContainsFunc(append(ended, begun...), func(r canary.Release) bool {
			return r.Canary.Deployment == short || r.Stable.Deployment == short
		})
		if name == "" || isService || isDeployment {
			keys = append(keys, objects.Key{Namespace: c.namespace, Name: service})
		}
	}
	slices.SortFunc(keys, func(a, b objects.Key) int { return strings.Compare(a.Name, b.Name) })
	if name != "" && len(keys) == 0 {
		return nil, fmt.Errorf("no release of %s in namespace %s is recorded", name, c.namespace)
	}
	return keys, nil
}

func (o *historyOptions) list(ctx context.Context, s *session, keys []objects.Key, name string) error {
	all := []recorded{}
	for _, k := range keys {
		some, err := s.listed(ctx, k)
		if err != nil {
			return err
		}
		all = append(all, some...)
	}
	slices.SortStableFunc(all, func(a, b recorded) int { return b.Started.Compare(a.Started) })
	if o.output != "" {
		return writeAs(o.streams.Out, o.output, map[string]any{"releases": all})
	}
	if len(all) == 0 {
		fmt.Fprintf(o.streams.ErrOut, "No release of %s is recorded.\n", strings.TrimSpace(name+" namespace "+s.cluster.namespace))
		return nil
	}
	frame := &screen{style: styleOf(o.streams.Out, false, os.Getenv)}
	frame.recorded(all, o.program.Now())
	_, err := io.WriteString(o.streams.Out, frame.b.String())
	return err
}

// listed are the releases of a Service, with whether one can go back to them.
func (s *session) listed(ctx context.Context, k objects.Key) ([]recorded, error) {
	all, err := s.cluster.kept(ctx, k)
	if err != nil {
		return nil, err
	}
	running := s.usersRun(ctx, k, all)
	var out []recorded
	for _, one := range all {
		row := recorded{Service: k.Name, Number: one.number, Past: canary.PastOf(one.release), UnderWay: one.begun}
		if row.WhyNot, err = s.cluster.whyNot(ctx, k.Namespace, one, running); err != nil {
			return nil, err
		}
		row.CanGoBack = row.WhyNot == ""
		out = append(out, row)
	}
	return out, nil
}

// usersRun is the essence of what users of a Service run; empty where that can't be told.
func (s *session) usersRun(ctx context.Context, k objects.Key, all []kept) string {
	r, err := s.reader(ctx, k.Namespace, "")
	if err != nil {
		return ""
	}
	seen, err := r.look(ctx, k)
	if err != nil || seen.state.Phase.Active() {
		return ""
	}
	d, err := s.cluster.kube.AppsV1().Deployments(k.Namespace).Get(ctx, seen.serving(), metav1.GetOptions{})
	if err != nil {
		return ""
	}
	return essence(treeOf(d.Spec.Template), append(seen.track(d.Name).Images, allImages(all)...))
}

// allImages are the images that records know digests of.
func allImages(all []kept) (images []canary.Image) {
	for _, k := range all {
		images = append(images, k.release.Images...)
		images = append(images, k.release.StableImages...)
	}
	return images
}

// whyNot says why nobody can go back to a release; empty: somebody can.
func (c cluster) whyNot(ctx context.Context, namespace string, k kept, running string) (string, error) {
	v, refused := k.released()
	switch {
	case refused != nil:
		return refused.Error(), nil //nolint:nilerr // that is what was asked
	case running == essence(v.template, v.images):
		return "users run it", nil
	}
	now, err := c.settingsOf(ctx, namespace, v)
	if err == nil && len(now.gone) > 0 {
		return "ConfigMap " + strings.Join(now.gone, ", ") + " is gone", nil
	}
	return "", err
}

func (s *screen) recorded(all []recorded, now time.Time) {
	head := []string{"SERVICE", "N", "RELEASE", "BEGAN", "TOOK", "RESULT", "REACHED", "REASON", "IMAGES", "CAN GO BACK"}
	for i := range head {
		head[i] = s.paint(dim, head[i])
	}
	rows := [][]string{head}
	for _, r := range all {
		result, reached, took, reason := s.paint(phaseColour(r.Outcome), s.text(string(r.Outcome))), fmt.Sprintf("%d%%", r.Weight), age(r.Ended.Sub(r.Started)), string(r.Reason)
		if r.UnderWay {
			result, reached, took, reason = s.paint(cyan, "under way"), "-", "-", "-"
		}
		back := s.paint(green, "yes")
		if !r.CanGoBack {
			back = s.paint(dim, s.text("no: "+r.WhyNot))
		}
		rows = append(rows, []string{
			s.text(r.Service), fmt.Sprint(r.Number), s.text(r.Rollout), ago(now, r.Started) + " ago", took,
			result, reached, s.text(reason), s.text(imagesText(r.Images)), back,
		})
	}
	s.table(rows)
}

// one shows what is kept of a release, or writes it into a folder.
func (o *historyOptions) one(ctx context.Context, s *session, keys []objects.Key, which string) error {
	if len(keys) != 1 {
		return fmt.Errorf("show release %s: %d Services of namespace %s have releases; name one, like kubectl canary history NAME %s", which, len(keys), s.cluster.namespace, which)
	}
	k := keys[0]
	all, err := s.cluster.kept(ctx, k)
	if err != nil {
		return err
	}
	one, err := named(all, which)
	if err != nil {
		return fmt.Errorf("show release %s of %s: %w", which, k, err)
	}
	if o.export != "" {
		return s.export(ctx, k, one, o.export, o.secrets)
	}
	row := recorded{Service: k.Name, Number: one.number, Past: canary.PastOf(one.release), UnderWay: one.begun}
	if row.WhyNot, err = s.cluster.whyNot(ctx, k.Namespace, one, s.usersRun(ctx, k, all)); err != nil {
		return err
	}
	row.CanGoBack = row.WhyNot == ""
	if o.output != "" {
		return writeAs(o.streams.Out, o.output, map[string]any{"release": row, "spec": one.release.Spec, "before": one.before})
	}
	now, err := s.cluster.settingsOf(ctx, k.Namespace, version{config: one.before.Config})
	if err != nil {
		return err
	}
	frame := &screen{style: styleOf(o.streams.Out, false, os.Getenv)}
	frame.release(k, one, row, now)
	_, err = io.WriteString(o.streams.Out, frame.b.String())
	return err
}

// release is what is kept of one release.
func (s *screen) release(k objects.Key, one kept, row recorded, now settings) {
	r := one.release
	how := "two Deployments"
	if r.InPlace {
		how = "in place"
	}
	s.line(s.paint(bold, s.text(fmt.Sprintf("%s release %d", k, one.number))) + s.paint(dim, s.text("  "+r.Rollout+"  "+how)))
	if row.UnderWay {
		s.line(s.paint(cyan, "under way") + "  since " + clock(r.Started))
	} else {
		s.line(s.paint(phaseColour(r.Outcome), s.text(string(r.Outcome))) + s.text(fmt.Sprintf("  %s, %d%% reached, from %s to %s", r.Reason, r.Weight, clock(r.Started), clock(r.Ended))))
		s.wrapped("  ", r.Message)
	}
	if r.Unverified != "" {
		s.wrapped(s.paint(red, "Unverified")+" ", r.Unverified)
	}
	s.approvals(r.Approvals)
	s.images("Ran", r.Images)
	s.images("Before", r.StableImages)
	s.kept(one, now)
	if row.CanGoBack {
		s.wrapped("Go back   ", fmt.Sprintf("kubectl canary rollback %s --to %d", k.Name, one.number))
	} else {
		s.wrapped("Go back   ", "no: "+row.WhyNot)
	}
}

// images are a version's, a line each.
func (s *screen) images(title string, all []canary.Image) {
	for i, image := range all {
		if i > 0 {
			title = ""
		}
		text := image.Container + "  " + image.Reference
		if image.Digest != "" && !strings.Contains(image.Reference, image.Digest) {
			text += " @ " + image.Digest
		}
		for _, more := range []struct{ name, value string }{{"version", image.Version}, {"revision", image.Revision}, {"created", image.Created}, {"source", image.Source}} {
			if more.value != "" {
				text += ", " + more.name + " " + more.value
			}
		}
		s.line(fmt.Sprintf("%-10s", title) + s.text(text))
	}
}

// kept is what is kept of what was there before.
func (s *screen) kept(one kept, now settings) {
	if one.unknown != nil {
		s.wrapped("Kept      ", one.unknown.Error())
		return
	}
	b := one.before
	var parts []string
	add := func(what string, all []history.Document) {
		for _, d := range all {
			parts = append(parts, what+" "+d.Namespace+"/"+d.Name)
		}
	}
	add("VirtualService", b.Routes)
	add("DestinationRule", b.Rules)
	if len(b.Template) > 0 {
		parts = append(parts, "the pod template")
	}
	if len(b.StableTemplate) > 0 {
		parts = append(parts, "stable's pod template")
	}
	s.wrapped("Kept      ", orDash(strings.Join(parts, ", "))+"; as they were before the first write")
	for _, c := range b.Config {
		s.line("ConfigMap " + s.text(c.Name+"  "+configText(c, now)))
	}
	if len(b.Secrets) > 0 {
		s.wrapped("Secrets   ", strings.Join(b.Secrets, ", ")+" (only the names; nobody looked into them)")
	}
	for _, sentence := range b.Lacks {
		s.wrapped(s.paint(yellow, "Lacks")+"     ", sentence)
	}
}

// configText is how a ConfigMap is now, beside what it was.
func configText(c history.Config, now settings) string {
	switch {
	case slices.Contains(now.gone, c.Name):
		return "is gone"
	case slices.Contains(now.unread, c.Name):
		return "not compared: it can't be read, or its content was not recorded"
	case slices.Contains(now.changed, c.Name) && c.Absent:
		return "was not there then"
	case slices.Contains(now.changed, c.Name):
		return "has changed since"
	case c.Absent:
		return "was not there, and is not"
	}
	return "is what it was"
}

// clock is a time as people read it.
func clock(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }
