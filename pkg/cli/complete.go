package cli

import (
	"bufio"
	"context"
	"io"
	"slices"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// completing bounds how long a shell waits for what completes a word.
func completing(cmd *cobra.Command) (context.Context, context.CancelFunc) {
	return context.WithTimeout(cmd.Context(), tryTime)
}

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
	ctx, cancel := completing(cmd)
	defer cancel()
	// Without an answer there is nothing to complete.
	all, _ := c.deployments(ctx)
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
	ctx, cancel := completing(cmd)
	defer cancel()
	list, err := c.kube.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, n := range list.Items {
		names = append(names, n.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
