package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"serin.dev/serin/deploy"
)

type installOptions struct {
	*tool
	mode  string
	image string
	apply bool
}

func newInstall(t *tool) *cobra.Command {
	o := &installOptions{tool: t}
	c := &cobra.Command{
		Use:   "install",
		Short: "Print the manifests of Serin, or apply them",
		Long: `Prints the manifests that this version of Serin is installed by, or applies them
with your own rights (--apply). --mode says what for: pair, for two Deployments
told apart by subsets; in-place, for single Deployments too (Kubernetes 1.36 or
newer); in-place-webhook and in-place-pause for older ones. Serin's image is built
by make image; name it with --image.`,
		Example: `  kubectl canary install --image registry.example.com/serin:v1 --prometheus http://prometheus.monitoring:9090 | kubectl apply -f -
  kubectl canary install --image registry.example.com/serin:v1 --mode in-place --apply`,
		Args:              wrong(cobra.NoArgs),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              o.run,
	}
	f := c.Flags()
	f.StringVar(&o.mode, "mode", "pair", strings.Join(deploy.Modes(), ", "))
	f.StringVar(&o.image, "image", "", "Serin's `image`, with a tag or a digest")
	f.BoolVar(&o.apply, "apply", false, "apply the manifests instead of printing them")
	// The flag was defined just before.
	_ = c.RegisterFlagCompletionFunc("mode", cobra.FixedCompletions(deploy.Modes(), cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (o *installOptions) run(cmd *cobra.Command, _ []string) error {
	var mistakes []error
	if o.image == "" {
		mistakes = append(mistakes, errors.New("--image is missing: there is no published one; make image builds it"))
	}
	if u, err := url.Parse(o.prometheus); o.prometheus != "" && (err != nil || u.Host == "") {
		mistakes = append(mistakes, errors.New("--prometheus is no URL; write it like http://prometheus.monitoring:9090"))
	}
	if o.serin != deploy.Namespace {
		mistakes = append(mistakes, fmt.Errorf("--serin-namespace is %s: these manifests are for %s; for another one make an overlay over deploy/base", o.serin, deploy.Namespace))
	}
	manifests, err := deploy.Render(deploy.Options{Mode: o.mode, Image: o.image, Prometheus: o.prometheus})
	if err = errors.Join(append(mistakes, err)...); err != nil {
		return usageError{err, cmd.CommandPath()}
	}
	if !o.apply {
		_, err := o.streams.Out.Write(manifests)
		return err
	}
	return o.applyAll(cmd.Context(), manifests)
}

// applyAll applies all manifests, the server side deciding what changes.
func (o *installOptions) applyAll(ctx context.Context, manifests []byte) error {
	c, err := o.connect()
	if err != nil {
		return err
	}
	mapper, err := o.cluster.ToRESTMapper()
	if err != nil {
		return fmt.Errorf("find out which kinds the cluster knows: %w", err)
	}
	documents := utilyaml.NewYAMLReader(bufferOf(bytes.NewReader(manifests)))
	for {
		text, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the manifests: %w", err)
		}
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(text, &object.Object); err != nil {
			return fmt.Errorf("read the manifests: %w", err)
		}
		if err := c.apply(ctx, mapper, object); err != nil {
			return err
		}
		fmt.Fprintf(o.streams.Out, "%s/%s applied\n", strings.ToLower(object.GetKind()), object.GetName())
	}
}

func (c cluster) apply(ctx context.Context, mapper meta.RESTMapper, o *unstructured.Unstructured) error {
	fail := func(err error) error { return fmt.Errorf("apply %s %s: %w", o.GetKind(), o.GetName(), err) }
	kind := o.GroupVersionKind()
	mapping, err := mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return fail(err)
	}
	if mapping.Scope.Name() == meta.RESTScopeNameRoot {
		o.SetNamespace("") // kustomize gives one to kinds that it doesn't know, such as policies
	}
	_, err = c.trees.Resource(mapping.Resource).Namespace(o.GetNamespace()).Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: fieldManager})
	if apierrors.IsConflict(err) {
		return fail(fmt.Errorf("%w; somebody else manages these fields: print the manifests and apply them by the same way as before", err))
	}
	if err != nil {
		return fail(err)
	}
	return nil
}
