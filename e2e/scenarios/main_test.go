// Package scenarios plays releases on the real stack: a real API server, real
// istiod, real Envoys, real Prometheus, real traffic, and the controller as a
// process of its own with no more rights than it has in a cluster. What every
// scenario has to show are invariants, never times.
package scenarios

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"serin.dev/serin/e2e/sandbox"
)

var (
	coreOnly = flag.Bool("core", false, "play only the scenarios that no change may break")
	logDir   = flag.String("logs", "", "`folder` for the logs of all processes (default: a folder that goes with the sandbox)")
)

// serviceAccount is who the controller is.
const serviceAccount = "system:serviceaccount:serin-system:serin"

// world is what all scenarios share.
type world struct {
	box        *sandbox.Sandbox
	kube       kubernetes.Interface
	trees      dynamic.Interface
	kubeconfig string // of the controller's service account
}

var shared world

func TestMain(m *testing.M) {
	flag.Parse()
	if at := os.Getenv(receiverAt); at != "" { // inside the sandbox, not a test
		fmt.Fprintln(os.Stderr, receive(at, os.Getenv(receiverFile)))
		os.Exit(1)
	}
	if at := os.Getenv(gateAt); at != "" { // likewise
		fmt.Fprintln(os.Stderr, keepGate(at, os.Getenv(gateFolder)))
		os.Exit(1)
	}
	if flag.Lookup("test.list").Value.String() != "" {
		os.Exit(m.Run())
	}
	if err := inParallel(); err != nil {
		fmt.Fprintln(os.Stderr, "scenarios:", err)
		os.Exit(1)
	}
	code, err := play(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "scenarios:", err)
		code = 1
	}
	os.Exit(code)
}

// inParallel plays some scenarios at a time, unless -parallel says how many:
// they mostly wait, so that it is more than the machine has processors.
func inParallel() error {
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if given {
		return nil
	}
	return flag.Set("test.parallel", "4")
}

// play starts the sandbox, runs the scenarios on it, and ends it.
func play(m *testing.M) (code int, err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	box, err := sandbox.Start(ctx, sandbox.Options{ScrapeInterval: time.Second, LogDir: *logDir, Progress: os.Stderr})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, box.Close()) }()
	defer context.AfterFunc(ctx, func() { box.Close() })()
	if shared, err = openWorld(ctx, box); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// openWorld makes the clients and gives the controller its rights.
func openWorld(ctx context.Context, box *sandbox.Sandbox) (w world, err error) {
	w.box = box
	if w.kube, err = kubernetes.NewForConfig(box.REST()); err != nil {
		return w, err
	}
	if w.trees, err = dynamic.NewForConfig(box.REST()); err != nil {
		return w, err
	}
	for _, name := range []string{"namespace.yaml", "serviceaccount.yaml", "rbac.yaml", "routes.yaml", "networkpolicy.yaml"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "base", name))
		if err != nil {
			return w, fmt.Errorf("read the controller's rights: %w", err)
		}
		if err := box.Apply(ctx, string(text)); err != nil {
			return w, fmt.Errorf("give the controller its rights: %w", err)
		}
	}
	if _, _, err := box.Helm(ctx, "version"); err != nil { // built before anything is timed
		return w, err
	}
	w.kubeconfig, err = box.KubeconfigFor(serviceAccount)
	return w, err
}
