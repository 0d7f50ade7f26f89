package cli

import (
	"bufio"
	"io"
	"slices"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func bufferOf(in io.Reader) *bufio.Reader { return bufio.NewReader(in) }

// completeDeployments completes the names of all Deployments of the namespace.
func (t *tool) completeDeployments(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, err := t.connect()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	// Without an answer there is nothing to complete.
	all, _ := c.deployments(cmd.Context())
	names := namesOf(all)
	slices.Sort(names)
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeNamespaces completes the flag --namespace.
func (t *tool) completeNamespaces(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	c, err := t.connect()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	list, err := c.kube.CoreV1().Namespaces().List(cmd.Context(), metav1.ListOptions{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, n := range list.Items {
		names = append(names, n.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
