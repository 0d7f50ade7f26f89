// Command kubectl-canary is a kubectl plugin for people who release: kubectl
// canary explain tells why a release went as it went. It reads with the user's
// own rights, and writes nothing.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"serin.dev/serin/pkg/safetext"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	code := run(ctx, streams, os.Args[1:], time.Now)
	stop()
	os.Exit(code)
}

// The exit codes.
const (
	exitDone    = 0
	exitFailed  = 1 // the cluster or Prometheus could not be asked, or knows nothing
	exitUsage   = 2 // the command line is wrong
	exitPartial = 3 // explained, but data is missing
)

// run is the whole program; it returns the exit code.
func run(ctx context.Context, streams genericiooptions.IOStreams, args []string, now func() time.Time) int {
	root := newRoot(streams, now)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	var wrong usageError
	switch {
	case errors.Is(err, errPartial):
		return exitPartial
	case errors.As(err, &wrong):
		fmt.Fprintf(streams.ErrOut, "error: %s\nSee %s --help\n", safetext.Text(err.Error()), wrong.command)
		return exitUsage
	}
	fmt.Fprintln(streams.ErrOut, "error:", safetext.Text(err.Error()))
	return exitFailed
}

// errPartial ends a command that did what it could with data that is missing;
// what is missing stands in its output.
var errPartial = errors.New("data is missing")

// usageError is a mistake on the command line.
type usageError struct {
	error
	command string
}

func (e usageError) Unwrap() error { return e.error }
