// Command app is the demo application of the sandbox: it answers with its
// version and misbehaves as its environment says, so that a scenario is a
// Deployment manifest and nothing else.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// shutdownLimit bounds the wait for requests that are still being answered
// after the drain: a hung one must not keep the process alive.
const shutdownLimit = 5 * time.Second

// patience is how long a connection may stay without its first request. A proxy
// opens more than it has requests for, and one that is closed just as it is used
// for the first time costs a user the answer: no version's fault.
const patience = time.Hour

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "app:", err)
		os.Exit(1)
	}
}

func run() error {
	b, err := parseBehaviour(os.Getenv)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	server := &http.Server{Handler: newHandler(b, time.Now()), ReadHeaderTimeout: patience}
	failed := make(chan error, 1)
	for _, address := range listenAddresses(os.Getenv) {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err != nil {
			return fmt.Errorf("listen on %s (LISTEN): %w", address, err)
		}
		go func() { failed <- server.Serve(l) }()
	}
	fmt.Printf("version %s listens on %s\n", b.version, strings.Join(listenAddresses(os.Getenv), " "))
	select {
	case err := <-failed:
		return err
	case <-b.crash():
		return errors.New("crashes, as CRASH_AFTER says")
	case <-ctx.Done():
		return drain(server, b.drain)
	}
}

// drain keeps on serving for a while, since proxies hear of the end of a pod
// later than the pod does, and then waits for the requests under way.
func drain(server *http.Server, d time.Duration) error {
	<-time.After(d)
	ctx, cancel := context.WithTimeout(context.Background(), shutdownLimit)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		return server.Close()
	}
	return nil
}

// listenAddresses are the addresses of LISTEN, separated by commas.
func listenAddresses(getenv func(string) string) []string {
	if s := getenv("LISTEN"); s != "" {
		return strings.Split(s, ",")
	}
	return []string{"127.0.0.1:8080"}
}
