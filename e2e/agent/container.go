package agent

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Back-off between the restarts of a container that crashes: shorter than a
// kubelet's, so that a scenario does not take minutes.
const (
	firstBackoff = time.Second
	maxBackoff   = 10 * time.Second
)

// missingPrefix marks images that cannot be pulled.
const missingPrefix = "missing/"

// behindSidecar is added to the ports of an application that has a sidecar in
// front of it, which takes the ports themselves.
const behindSidecar = 10000

// container runs one container of a pod.
type container struct {
	pod  *pod
	spec *corev1.Container

	mu       sync.Mutex
	state    containerState
	process  *os.Process
	stopping bool
	done     chan struct{} // closed at the end of run
}

func newContainer(p *pod, spec *corev1.Container) *container {
	c := &container{pod: p, spec: spec, done: make(chan struct{})}
	c.state = containerState{name: spec.Name, image: spec.Image, waiting: "ContainerCreating"}
	return c
}

func (c *container) current() containerState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// change changes the state and has it reported.
func (c *container) change(f func(*containerState)) {
	c.mu.Lock()
	f(&c.state)
	c.mu.Unlock()
	c.pod.touch()
}

// run starts the process again and again until it is stopped.
func (c *container) run(ctx context.Context) {
	defer close(c.done)
	if strings.HasPrefix(c.spec.Image, missingPrefix) {
		c.change(func(s *containerState) {
			s.waiting, s.message = "ImagePullBackOff", "image "+c.spec.Image+" does not exist"
		})
		return
	}
	backoff := time.Duration(0) // as the kubelet, which waits from the second crash on
	for !c.isStopping() {
		pulled := c.pod.agent.images.pull(c.spec)
		environment, err := containerEnv(c.pod.spec, pulled, c.pod.ip)
		if err != nil {
			c.change(func(s *containerState) { s.waiting, s.message = "CreateContainerConfigError", err.Error() })
			return
		}
		started := time.Now()
		end := c.once(ctx, pulled, environment)
		if c.isStopping() || ctx.Err() != nil {
			return
		}
		if time.Since(started) > time.Minute {
			backoff = 0
		}
		c.change(func(s *containerState) { s.crashed(end, backoff > 0) })
		select {
		case <-ctx.Done():
			return
		case <-time.After(backoff):
		}
		backoff = min(max(2*backoff, firstBackoff), maxBackoff)
	}
}

// once runs the process of an image that was pulled to its end, and returns how it
// ended.
func (c *container) once(ctx context.Context, pulled *corev1.Container, environment []string) corev1.ContainerStateTerminated {
	started := metav1.Now()
	cmd, err := c.launch(ctx, environment)
	if err != nil {
		return corev1.ContainerStateTerminated{ExitCode: 128, Reason: "StartError", Message: err.Error(), StartedAt: started, FinishedAt: started}
	}
	c.change(func(s *containerState) { s.started(started, imageID(c.pod.agent.appDigest, pulled)) })
	probing, cancel := context.WithCancel(ctx)
	defer cancel()
	go c.probe(probing)
	_ = cmd.Wait() // ProcessState tells
	end := corev1.ContainerStateTerminated{ExitCode: int32(cmd.ProcessState.ExitCode()), Reason: "Error", StartedAt: started, FinishedAt: metav1.Now()}
	if w, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		end.ExitCode = 128 + int32(w.Signal())
	}
	if end.ExitCode == 0 {
		end.Reason = "Completed"
	}
	return end
}

// launch starts the process, unless the container is being stopped.
func (c *container) launch(ctx context.Context, environment []string) (*exec.Cmd, error) {
	name := fmt.Sprintf("%s_%s_%s.log", c.pod.spec.Namespace, c.pod.spec.Name, c.spec.Name)
	log, err := os.OpenFile(filepath.Join(c.pod.agent.LogDir, name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.CommandContext(ctx, c.pod.agent.App)
	cmd.Env, cmd.Stdout, cmd.Stderr = environment, log, log
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping {
		return nil, fmt.Errorf("the container is being stopped")
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c.process = cmd.Process
	return cmd, nil
}

func (c *container) isStopping() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stopping
}

// stop asks the process to end and kills it if it has not within the grace
// period. It returns when the process is gone.
func (c *container) stop(grace time.Duration) {
	c.mu.Lock()
	c.stopping = true
	process := c.process
	c.mu.Unlock()
	if process == nil {
		return
	}
	_ = process.Signal(syscall.SIGTERM) // it may just have ended
	c.mu.Lock()
	crashed := c.state.waiting != ""
	c.mu.Unlock()
	if crashed {
		return // between two starts: there is no process
	}
	select {
	case <-c.done:
	case <-time.After(grace):
		_ = process.Kill()
		<-c.done
	}
}

// probe keeps the readiness of the running process up to date.
func (c *container) probe(ctx context.Context) {
	p := readiness(c.pod.spec, c.spec, c.pod.ip)
	if !sleep(ctx, p.delay) {
		return
	}
	ready, passed, failed := false, 0, 0
	for {
		if p.check(ctx) {
			passed, failed = passed+1, 0
		} else {
			passed, failed = 0, failed+1
		}
		if ctx.Err() != nil {
			return
		}
		if !ready && passed >= p.successes || ready && failed >= p.failures {
			ready = !ready
			c.change(func(s *containerState) { s.ready = ready })
		}
		every := p.period
		if !ready {
			every = min(every, eagerPeriod)
		}
		if !sleep(ctx, every) {
			return
		}
	}
}

// sleep waits and tells whether ctx is still valid then.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// eagerPeriod is how often a container that is not ready is probed, at least:
// a scenario should wait for its pods, not for the probe.
const eagerPeriod = 100 * time.Millisecond

// readinessProbe is what to ask and how often.
type readinessProbe struct {
	check               func(context.Context) bool
	delay, period       time.Duration
	successes, failures int
}

// readiness is the container's readiness probe; one without is ready when its
// first port answers /healthz with 200.
func readiness(pod *corev1.Pod, spec *corev1.Container, ip string) readinessProbe {
	p := readinessProbe{period: time.Second, successes: 1, failures: 1}
	timeout, path, port := time.Second, "/healthz", 0
	if ports := listenPorts(spec); len(ports) > 0 {
		port = ports[0]
	}
	tcp := false
	if r := spec.ReadinessProbe; r != nil {
		p.delay = time.Duration(r.InitialDelaySeconds) * time.Second
		p.period = time.Duration(max(1, r.PeriodSeconds)) * time.Second
		p.successes, p.failures = int(max(1, r.SuccessThreshold)), int(max(1, r.FailureThreshold))
		timeout = time.Duration(max(1, r.TimeoutSeconds)) * time.Second
		switch {
		case r.HTTPGet != nil:
			path, port = "/"+strings.TrimPrefix(r.HTTPGet.Path, "/"), namedPort(spec, r.HTTPGet.Port.String())
		case r.TCPSocket != nil:
			tcp, port = true, namedPort(spec, r.TCPSocket.Port.String())
		}
	}
	if injected(pod) {
		port += behindSidecar // past the sidecar, as Istio's rewritten probes do
	}
	address := net.JoinHostPort(ip, strconv.Itoa(port))
	p.check = func(ctx context.Context) bool { return getOK(ctx, "http://"+address+path, timeout) }
	if tcp {
		p.check = func(ctx context.Context) bool { return connects(ctx, address, timeout) }
	}
	return p
}

// namedPort is the number of a port given by number or by name, 0 if there is
// none of that name.
func namedPort(spec *corev1.Container, port string) int {
	for _, p := range spec.Ports {
		if p.Name == port {
			return int(p.ContainerPort)
		}
	}
	n, _ := strconv.Atoi(port)
	return n
}

var probeClient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

func getOK(ctx context.Context, url string, timeout time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := probeClient.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode >= 200 && resp.StatusCode < 400
}

func connects(ctx context.Context, address string, timeout time.Duration) bool {
	d := net.Dialer{Timeout: timeout}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}
