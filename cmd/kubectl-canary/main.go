// Command kubectl-canary is a kubectl plugin for people who release: it shows
// releases, gives orders, waits for their ends in pipelines and explains them. It
// works with the user's own rights.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"serin.dev/serin/pkg/cli"
)

// version is set by the build: -ldflags "-X main.version=v1.2.3".
var version string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	code := cli.Run(ctx, streams, os.Args[1:], cli.Program{Version: version, Now: time.Now})
	stop()
	os.Exit(code)
}
