package cli

import (
	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// Command is the command with all its verbs, for what checks documents against it.
func Command(streams genericiooptions.IOStreams, p Program) *cobra.Command {
	return newRoot(streams, p)
}
