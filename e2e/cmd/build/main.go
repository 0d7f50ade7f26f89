// Command build builds what the sandbox runs, showing how far it is. It comes
// before the programs that use the sandbox, which themselves take minutes to
// compile on a machine that has never built the project.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"serin.dev/serin/e2e/build"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
}

func run() error {
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: build [PACKAGE...]\nbuilds the sandbox, and programs of the e2e module (./cmd/sandbox, ...) into <cache>/bin")
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if _, err := build.All(ctx, os.Stderr); err != nil {
		return err
	}
	return build.Programs(ctx, os.Stderr, flag.Args()...)
}
