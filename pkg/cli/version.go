package cli

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func newVersion(t *tool) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show the version of this program",
		Args:  wrong(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(t.streams.Out, "kubectl-canary", t.version())
			return err
		},
	}
}

// version is what the build was told, or what Go itself knows of the sources.
func (t *tool) version() string {
	version := t.program.Version
	info, ok := debug.ReadBuildInfo()
	switch {
	case version != "" && ok:
		return version + " (" + info.GoVersion + ")"
	case version != "" || !ok:
		return version
	}
	return info.Main.Version + " (" + info.GoVersion + ")"
}
