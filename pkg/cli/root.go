package cli

import (
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
)

// tool is what all verbs share.
type tool struct {
	streams genericiooptions.IOStreams
	cluster *genericclioptions.ConfigFlags
	program Program

	serin      string // the controller's namespace
	controller string // URL of the controller's view; empty: it is looked for
	prometheus string // URL
	config     string // file
}

// newTool is what all verbs share, before the command line is read.
func newTool(streams genericiooptions.IOStreams, p Program) *tool {
	t := &tool{streams: streams, cluster: genericclioptions.NewConfigFlags(true), program: p}
	if p.Network != nil {
		t.cluster.WrapConfigFn = func(c *rest.Config) *rest.Config {
			c.Transport = p.Network
			return c
		}
	}
	return t
}

// newRoot is the command with all its verbs, each in a file of its own.
func newRoot(streams genericiooptions.IOStreams, p Program) *cobra.Command {
	t := newTool(streams, p)
	root := &cobra.Command{
		Use:           "kubectl-canary",
		Short:         "Canary releases, as Serin sees them",
		SilenceUsage:  true,
		SilenceErrors: true,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl canary"},
		Args:          wrong(cobra.NoArgs),
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.ErrOut)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usageError{err, c.CommandPath()} })
	f := root.PersistentFlags()
	t.cluster.AddFlags(f)
	f.StringVar(&t.serin, "serin-namespace", "serin-system", "`namespace` in which Serin runs")
	f.StringVar(&t.controller, "controller", "", "`URL` of the controller's view, like http://localhost:9092 (default: a port of the leading pod is forwarded)")
	f.StringVar(&t.prometheus, "prometheus", "", "`URL` of Prometheus (default: the one the controller asks)")
	f.StringVar(&t.config, "config", "", "the controller's configuration `file` (default: the one in the cluster)")
	root.AddCommand(newList(t), newStatus(t), newWait(t), newAbort(t))
	root.AddCommand(newOrders(t)...)
	root.AddCommand(newApprove(t), newLint(t), newPlan(t), newHistory(t), newDiff(t), newTarget(t), newOptOut(t), newCheck(t), newInstall(t), newUI(t), newExplain(t), newVersion(t))
	// The flag is one of those just added.
	_ = root.RegisterFlagCompletionFunc("namespace", t.completeNamespaces)
	return root
}

// wrong makes what cobra says of arguments a mistake on the command line.
func wrong(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return usageError{err, c.CommandPath()}
		}
		return nil
	}
}

// oneName demands the name of a Service or a Deployment.
func oneName(c *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usageError{fmt.Errorf("%d names are given; name one Service or Deployment", len(args)), c.CommandPath()}
	}
	return nil
}
