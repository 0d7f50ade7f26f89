// Command node is the first process inside the sandbox's namespace; see
// package node. The sandbox starts it: it is of no use by itself.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"serin.dev/serin/e2e/node"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		os.Exit(1)
	}
}

func run() error {
	// The node ends with its parent, not with the terminal: the parent may
	// have something left to do on Ctrl-C.
	signal.Ignore(syscall.SIGINT, syscall.SIGHUP)
	file := os.NewFile(node.ControlFD, "control")
	conn, err := net.FileConn(file)
	if err != nil {
		return fmt.Errorf("take over the control connection: %w", err)
	}
	_ = file.Close()
	return node.Serve(context.Background(), conn)
}
