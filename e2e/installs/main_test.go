// Package installs installs Serin by its Helm chart on the real stack, by the real
// Helm: what the API server takes, what the installed rights are enough for, and what
// is left when it is uninstalled. It has a sandbox of its own, for of what is
// installed there is one in a cluster.
//
// No containers run there. The controller runs as a process, with the arguments, the
// configuration and the account that the chart gives it; so does the hook's Job, of
// which the test then tells the API server how it ended.
package installs

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"

	"serin.dev/serin/e2e/sandbox"
)

const (
	home  = "serin-system"
	chart = "../../deploy/chart"
	// patience ends a test in which nothing happens any more; it judges nothing.
	patience = 2 * time.Minute
)

var (
	box  *sandbox.Sandbox
	kube kubernetes.Interface
	// program is kubectl-canary.
	program string
)

func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.list").Value.String() != "" {
		os.Exit(m.Run())
	}
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "installs:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "serin-")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	program = filepath.Join(dir, "kubectl-canary")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./cmd/kubectl-canary")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("build the command: %w\n%s", err, out)
	}
	if box, err = sandbox.Start(ctx, sandbox.Options{Progress: os.Stderr}); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, box.Close()) }()
	defer context.AfterFunc(ctx, func() { _ = box.Close() })()
	if kube, err = kubernetes.NewForConfig(box.REST()); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, _, err := box.Kubectl(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func helm(t *testing.T, args ...string) string {
	t.Helper()
	out, _, err := box.Helm(t.Context(), append(args, "--namespace="+home)...)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return out
}

// until waits until check succeeds.
func until(t *testing.T, what string, check func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if err = check(); err == nil {
			return
		}
		select {
		case <-t.Context().Done():
			t.Fatalf("%s: %v", what, context.Cause(t.Context()))
		case <-time.After(100 * time.Millisecond):
		}
	}
	t.Fatalf("%s: %v", what, err)
}
