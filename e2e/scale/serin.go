package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"
)

// serin is the controller under measurement: the real program, with the rights,
// the file and the environment of deploy/base.
type serin struct {
	*process
	began time.Time
	url   string
}

// install puts what deploy/base holds onto the API server.
func (p *plane) install(ctx context.Context, root string) error {
	if err := p.kubectl(ctx, "create", "-f", p.paths.CRDs); err != nil {
		return err
	}
	return p.kubectl(ctx, "apply", "--server-side", "-k", filepath.Join(root, "deploy", "base"))
}

// environment is what deploy/base gives the controller's container.
func environment(root string) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(root, "deploy", "base", "deployment.yaml"))
	if err != nil {
		return nil, fmt.Errorf("read how the controller is deployed: %w", err)
	}
	var d appsv1.Deployment
	if err := yaml.Unmarshal(text, &d); err != nil {
		return nil, fmt.Errorf("read how the controller is deployed: %w", err)
	}
	var env []string
	for _, v := range d.Spec.Template.Spec.Containers[0].Env {
		env = append(env, v.Name+"="+v.Value)
	}
	return env, nil
}

func (b *bench) startSerin(ctx context.Context) (*serin, error) {
	env, err := environment(b.root)
	if err != nil {
		return nil, err
	}
	listen, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	s := &serin{url: "http://" + listen, began: time.Now()}
	s.process, err = b.launch(ctx, "serin", b.program, append(env, b.settings.env...),
		"--config="+filepath.Join(b.root, "deploy", "base", "serin.yaml"), "--kubeconfig="+b.file("serin.kubeconfig"),
		"--prometheus-url="+b.prometheus, "--listen="+listen)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// stop ends the controller as a rollout of it does. That it is still there was
// a condition until now.
func (s *serin) stop() error {
	if err := s.there(); err != nil {
		return err
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop the controller: %w", err)
	}
	<-s.done
	if s.ended != nil {
		return fmt.Errorf("the controller did not stop cleanly: %w", s.ended)
	}
	return nil
}

// there fails when the controller has ended: nobody starts it again.
func (s *serin) there() error {
	if s.alive() {
		return nil
	}
	return fmt.Errorf("the controller has ended: %w; see serin.log", s.ended)
}

// until waits until the controller is ready, or what it shows satisfies.
func (s *serin) until(ctx context.Context, limit, each time.Duration, what string, done func(context.Context) bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for !done(ctx) {
		if err := s.there(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w", what, ctx.Err())
		case <-time.After(each):
		}
	}
	return nil
}

func (s *serin) ready(ctx context.Context) bool {
	return answers(ctx, http.DefaultClient, s.url+"/readyz")
}

// shown is what the controller's own metrics tell.
type shown struct {
	phases     map[string]int // Services by phase
	judged     int            // rollouts with a verdict
	reconciles histogram
	heap       float64 // bytes in use
	cpu        float64 // seconds
	bytes      int     // of the answer
}

// histogram are counts up to each bound, cumulative.
type histogram map[float64]float64

func (h histogram) since(before histogram) histogram {
	out := histogram{}
	for le, n := range h {
		out[le] = n - before[le]
	}
	return out
}

// quantile is interpolated as Prometheus does; in seconds.
func (h histogram) quantile(q float64) float64 {
	var bounds []float64
	for le := range h {
		bounds = append(bounds, le)
	}
	sortFloats(bounds)
	if len(bounds) == 0 || h[bounds[len(bounds)-1]] == 0 {
		return math.NaN()
	}
	rank, lower, before := q*h[bounds[len(bounds)-1]], 0.0, 0.0
	for _, le := range bounds {
		if n := h[le]; n >= rank {
			if math.IsInf(le, 1) {
				return lower
			}
			return lower + (le-lower)*(rank-before)/(n-before)
		}
		lower, before = le, h[le]
	}
	return lower
}

func (s *serin) look(ctx context.Context) (shown, error) {
	out := shown{phases: map[string]int{}, reconciles: histogram{}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/metrics", nil)
	if err != nil {
		return out, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return out, fmt.Errorf("read the controller's metrics: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		out.bytes += len(lines.Bytes()) + 1
		out.take(lines.Text())
	}
	return out, lines.Err()
}

func (s *shown) take(line string) {
	name, rest, _ := strings.Cut(line, "{")
	at := strings.LastIndexByte(line, ' ')
	if strings.HasPrefix(line, "#") || at < 0 {
		return
	}
	value, err := strconv.ParseFloat(line[at+1:], 64)
	if err != nil {
		return // nothing that is read here
	}
	if name == line {
		name = line[:at]
	}
	switch name {
	case "serin_rollout_phase":
		s.phases[labelOf(rest, "phase")]++
	case "serin_rollout_verdict":
		s.judged++
	case "serin_reconcile_duration_seconds_bucket":
		if le, err := strconv.ParseFloat(labelOf(rest, "le"), 64); err == nil {
			s.reconciles[le] = value
		}
	case "go_memstats_heap_inuse_bytes":
		s.heap = value
	case "process_cpu_seconds_total":
		s.cpu = value
	}
}

func labelOf(labels, name string) string {
	_, rest, _ := strings.Cut(labels, name+`="`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

func (s shown) services() (n int) {
	for _, one := range s.phases {
		n += one
	}
	return n
}

// memory is what the kernel says of the controller, in MiB: resident now, and
// at its highest.
func (s *serin) memory() (now, most float64) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kib, _ := strconv.ParseFloat(fields[1], 64)
		switch fields[0] {
		case "VmRSS:":
			now = kib / 1024
		case "VmHWM:":
			most = kib / 1024
		}
	}
	return now, most
}

// pipe counts the bytes between the controller and the API server.
type pipe struct {
	address  string
	up, down atomic.Int64
}

func newPipe(ctx context.Context, to string) (*pipe, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the controller: %w", err)
	}
	p := &pipe{address: l.Addr().String()}
	context.AfterFunc(ctx, func() { _ = l.Close() })
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(ctx, from, to)
		}
	}()
	return p, nil
}

func (p *pipe) serve(ctx context.Context, from net.Conn, to string) {
	defer func() { _ = from.Close() }()
	server, err := (&net.Dialer{}).DialContext(ctx, "tcp", to)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	go func() {
		_, _ = io.Copy(server, counted{from, &p.up})
		_ = server.Close()
	}()
	_, _ = io.Copy(from, counted{server, &p.down})
}

type counted struct {
	io.Reader
	n *atomic.Int64
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n.Add(int64(n))
	return n, err
}

// all is how many were counted.
func (h histogram) all() float64 { return h[math.Inf(1)] }
