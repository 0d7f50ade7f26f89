// Package cli is kubectl canary: its verbs, each in a file of its own. It reads and
// writes with the user's own rights, and shows what every other surface shows.
package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"serin.dev/serin/pkg/safetext"
)

// Program is what the command knows of itself.
type Program struct {
	Version string            // as the build was told; empty: what Go knows
	Now     func() time.Time  // the clock
	Network http.RoundTripper // what requests go over; nil: the network
}

// Main is the whole program with its process's streams; Ctrl-C ends it well.
func Main(p Program) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return Run(ctx, genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}, os.Args[1:], p)
}

// Run is the whole program; it returns the exit code, one of Exits.
func Run(ctx context.Context, streams genericiooptions.IOStreams, args []string, p Program) int {
	root := newRoot(streams, p) //nolint:contextcheck // a verb gets its context when it is run
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	var wrong usageError
	var end ending
	switch {
	case errors.As(err, &end):
		if end.message != "" {
			fmt.Fprintln(streams.ErrOut, safetext.Text(end.message))
		}
		return end.code
	case errors.As(err, &wrong):
		fmt.Fprintf(streams.ErrOut, "error: %s\nSee %s --help\n", safetext.Text(err.Error()), wrong.command)
		return exitUsage
	}
	fmt.Fprintln(streams.ErrOut, "error:", safetext.Text(err.Error()))
	return exitFailed
}

// usageError is a mistake on the command line.
type usageError struct {
	error
	command string
}

func (e usageError) Unwrap() error { return e.error }

// ending ends a command with an exit code that says more than done or failed.
type ending struct {
	code    int
	message string // for stderr; empty: all was said
}

func (e ending) Error() string { return e.message }
