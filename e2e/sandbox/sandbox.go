// Package sandbox runs the real thing on one machine, without containers and
// without root: a Kubernetes control plane, istiod, Envoy and Prometheus, with
// pods as local processes, in a network of their own. The demo, the end-to-end
// tests and the benchmarks stand on it.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/rest"

	"serin.dev/serin/e2e/build"
	"serin.dev/serin/e2e/mesh"
	"serin.dev/serin/e2e/node"
)

// Gateway is the ingress gateway, as VirtualServices name it.
const Gateway = mesh.Gateway

// Options are all optional.
type Options struct {
	ScrapeInterval time.Duration // how often Prometheus scrapes, at least 100ms; default 1s
	Retention      time.Duration // how long Prometheus keeps samples; default 24h
	LogDir         string        // a file for each process; default: a folder removed by Close; if Start fails it is kept until the next one
	Progress       io.Writer     // where building and starting is told; default: nowhere
}

// Sandbox is a running sandbox. Its methods may be called concurrently.
type Sandbox struct {
	options    Options
	paths      build.Paths
	dir        string // all files but the logs
	unlock     func() // of dir
	logs       string
	ca         *authority
	machine    *machine
	rest       *rest.Config
	clients    *clients
	closing    sync.Once
	closeError error
	controller func() (string, error) // builds it, once
	helm       func() (string, error) // likewise

	mu          sync.Mutex
	controllers int // started so far
}

// Start builds what is missing, which takes minutes on a machine that has
// never done so, and starts everything, which takes seconds. The caller has to
// Close the sandbox; it also ends with the calling process, however that ends.
func Start(ctx context.Context, o Options) (*Sandbox, error) {
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	if o.ScrapeInterval == 0 {
		o.ScrapeInterval = time.Second
	}
	if o.Retention == 0 {
		o.Retention = 24 * time.Hour
	}
	if o.ScrapeInterval < 100*time.Millisecond {
		return nil, fmt.Errorf("start the sandbox: a scrape interval of %s is too short: at least 100ms", o.ScrapeInterval)
	}
	paths, err := build.All(ctx, o.Progress)
	if err != nil {
		return nil, err
	}
	s, err := prepare(ctx, o, paths)
	if err != nil {
		return nil, fmt.Errorf("start the sandbox: %w", err)
	}
	if err := s.up(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, errors.Join(fmt.Errorf("start the sandbox: interrupted: %w", ctx.Err()), s.Close())
		}
		s.machine.stop()
		s.unlock()
		return nil, fmt.Errorf("start the sandbox: %w\nlogs are in %s", err, s.logs)
	}
	return s, nil
}

// prepare makes the folders and starts the machine.
func prepare(ctx context.Context, o Options, paths build.Paths) (*Sandbox, error) {
	dir, unlock, err := runDir(paths.Cache)
	if err != nil {
		return nil, err
	}
	s := &Sandbox{options: o, paths: paths, dir: dir, unlock: unlock, logs: o.LogDir}
	// It is built when first wanted, long after the start is over.
	later := context.WithoutCancel(ctx)
	s.controller = sync.OnceValues(func() (string, error) { return build.Controller(later, o.Progress) })
	s.helm = sync.OnceValues(func() (string, error) { return build.Helm(later, o.Progress) })
	if s.logs == "" {
		s.logs = filepath.Join(dir, "logs")
	}
	if s.logs, err = filepath.Abs(s.logs); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.logs, 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of the logs: %w", err)
	}
	if s.machine, err = startMachine(ctx, paths.Node, filepath.Join(s.logs, "node.log")); err != nil {
		return nil, err
	}
	return s, nil
}

// Close ends every process of the sandbox and removes its files. Further calls
// do nothing.
func (s *Sandbox) Close() error {
	s.closing.Do(func() {
		s.machine.stop()
		s.closeError = os.RemoveAll(s.dir)
		s.unlock()
	})
	return s.closeError
}

// Done is closed when the sandbox has ended, by Close or by itself.
func (s *Sandbox) Done() <-chan struct{} { return s.machine.ended }

// Kubeconfig is the path of an administrator's kubeconfig. Like all addresses
// of the sandbox it can be used on the whole machine.
func (s *Sandbox) Kubeconfig() string { return filepath.Join(s.dir, "kubeconfig") }

// REST is the administrator's client configuration, without a rate limit.
func (s *Sandbox) REST() *rest.Config { return rest.CopyConfig(s.rest) }

// GatewayURL is where users come in: the ingress gateway, which routes by the
// Host header.
func (s *Sandbox) GatewayURL() string { return s.machine.url(gatewayListener) }

// MeshURL is where a workload of the mesh, in the namespace shop, sends its
// requests: with the Host header of a Service with port 80, such as "web" or
// "web.other".
func (s *Sandbox) MeshURL() string { return s.machine.url(meshListener) }

// PrometheusURL is Prometheus's HTTP API.
func (s *Sandbox) PrometheusURL() string { return s.machine.url(prometheusListener) }

// KubectlPath is the path of a kubectl that uses this sandbox; Kubectl runs it.
func (s *Sandbox) KubectlPath() string { return filepath.Join(s.dir, "kubectl") }

// LogDir is the folder of the logs, a file for each process.
func (s *Sandbox) LogDir() string { return s.logs }

// AuditLog is the path of the API server's audit log: a line of JSON for every
// request, without those of the sandbox's own components. A watch has two
// lines, at its start and at its end, of one auditID.
func (s *Sandbox) AuditLog() string { return filepath.Join(s.logs, "audit.log") }

// Kill ends a process of the stack (SIGKILL) and waits for its end. The
// processes are etcd, kube-apiserver, kube-controller-manager, kube-scheduler,
// istiod, gateway, mesh-client and prometheus.
func (s *Sandbox) Kill(name string) error { return s.machine.signal(name, syscall.SIGKILL) }

// Restart starts a process that was killed again, with the same arguments and
// the same data, and waits until it is ready.
func (s *Sandbox) Restart(name string) error { return s.machine.call("Restart", name) }

// Pause stops a process (SIGSTOP): it stays there and answers nothing.
func (s *Sandbox) Pause(name string) error { return s.machine.signal(name, syscall.SIGSTOP) }

// Resume lets a paused process go on (SIGCONT).
func (s *Sandbox) Resume(name string) error { return s.machine.signal(name, syscall.SIGCONT) }

// Scrape has Prometheus scrape the proxies, as it does from the start, or none
// of them: then it goes on answering, with samples that grow old.
func (s *Sandbox) Scrape(on bool) error {
	targets := ""
	if on {
		targets = s.file("targets.json")
	}
	if err := s.writePrometheusConfig(targets); err != nil {
		return err
	}
	return s.machine.signal("prometheus", syscall.SIGHUP)
}

// Controller is a controller process under test.
type Controller struct {
	sandbox    *Sandbox
	name       string
	LogPath    string
	MetricsURL string // where it serves /metrics, /healthz, /readyz, /version
	PageURL    string // where it serves the page, and /api/v1
}

// StartController starts cmd/serin inside the sandbox's network with the
// arguments; the first call builds it if its sources have changed. Unless they
// are among the arguments it is given the administrator's --kubeconfig,
// --prometheus-url, --listen, --page-listen, and the scrape interval as --interval. It does
// not wait until the controller is ready. At most 64 controllers can run at a
// time.
func (s *Sandbox) StartController(args ...string) (*Controller, error) {
	path, err := s.controller()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	n := s.controllers
	s.controllers++
	s.mu.Unlock()
	listener := controllerListener(n)
	name := fmt.Sprintf("controller-%d", n+1)
	c := &Controller{sandbox: s, name: name, LogPath: filepath.Join(s.logs, name+".log"), MetricsURL: s.machine.url(listener), PageURL: s.machine.url(pageListener(n))}
	args = withDefault(args, "--kubeconfig", s.Kubeconfig())
	args = withDefault(args, "--prometheus-url", s.PrometheusURL())
	args = withDefault(args, "--listen", s.machine.address(listener))
	args = withDefault(args, "--page-listen", s.machine.address(pageListener(n)))
	// Whole seconds are what the controller takes.
	args = withDefault(args, "--interval", max(time.Second, s.options.ScrapeInterval.Round(time.Second)).String())
	err = s.machine.call("Start", node.Process{Name: name, Path: path, Args: args, Env: environment(), Log: c.LogPath})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// StartProgram starts a program of the caller's inside the sandbox's network, where
// controllers reach it on the loopback. It ends with the sandbox.
func (s *Sandbox) StartProgram(name, path string, env []string, args ...string) error {
	return s.machine.call("Start", node.Process{
		Name: name, Path: path, Args: args, Env: append(environment(), env...), Log: filepath.Join(s.logs, name+".log"),
	})
}

// Kill ends the controller as a crash does (SIGKILL) and waits for its end.
func (c *Controller) Kill() error { return c.sandbox.Kill(c.name) }

// Pause stops the controller (SIGSTOP) until Resume.
func (c *Controller) Pause() error { return c.sandbox.Pause(c.name) }

// Resume lets the paused controller go on (SIGCONT).
func (c *Controller) Resume() error { return c.sandbox.Resume(c.name) }

// Restart starts the controller, which must have ended, again with the same
// arguments.
func (c *Controller) Restart() error { return c.sandbox.Restart(c.name) }

// Stop asks the controller to end (SIGTERM) and waits for it. An exit with
// another code than 0 is an error.
func (c *Controller) Stop() error {
	if err := c.sandbox.machine.signal(c.name, syscall.SIGTERM); err != nil {
		return err
	}
	return c.Wait()
}

// Wait waits for the end of the controller. An exit with another code than 0
// is an error.
func (c *Controller) Wait() error {
	exit, err := c.sandbox.machine.wait(c.name)
	if err != nil {
		return err
	}
	if exit.Code != 0 {
		return fmt.Errorf("%s ended: %s; see %s", c.name, exit.Reason, c.LogPath)
	}
	return nil
}

// runDir makes a folder for this run, locked as long as the run lasts, and
// removes those that runs which were killed have left.
func runDir(cache string) (dir string, unlock func(), err error) {
	runs := filepath.Join(cache, "run")
	if err := os.MkdirAll(runs, 0o755); err != nil {
		return "", nil, fmt.Errorf("make the folder of the runs: %w", err)
	}
	old, err := filepath.Glob(filepath.Join(runs, "*"))
	if err != nil {
		return "", nil, err
	}
	for _, d := range old {
		if unlock, err := lockDir(d); err == nil {
			_ = os.RemoveAll(d) // what cannot be removed now may be the next time
			unlock()
		}
	}
	if dir, err = os.MkdirTemp(runs, time.Now().Format("150405-")); err != nil {
		return "", nil, fmt.Errorf("make a folder for this run: %w", err)
	}
	if unlock, err = lockDir(dir); err != nil {
		return "", nil, err
	}
	return dir, unlock, nil
}

var errInUse = errors.New("in use")

// lockDir takes the folder's lock, which the kernel gives back when this
// process ends.
func lockDir(dir string) (func(), error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("lock a run's folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, errInUse)
	}
	return func() { _ = f.Close() }, nil
}
