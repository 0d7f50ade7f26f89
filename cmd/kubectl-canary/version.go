package main

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the build: -ldflags "-X main.version=v1.2.3".
var version string

func newVersion(t *tool) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show the version of this program",
		Args:  wrong(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(t.streams.Out, "kubectl-canary", thisVersion())
			return err
		},
	}
}

// thisVersion is what the build was told, or what Go itself knows of the sources.
func thisVersion() string {
	info, ok := debug.ReadBuildInfo()
	switch {
	case version != "" && ok:
		return version + " (" + info.GoVersion + ")"
	case version != "" || !ok:
		return version
	}
	return info.Main.Version + " (" + info.GoVersion + ")"
}
