package torture

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/rest"

	"serin.dev/serin/e2e/node"
)

// team are the controllers that release in some namespaces: one, or two that
// agree by a lease on which of them works.
type team struct {
	name       string
	namespaces []string
	elects     bool
	replicas   []*replica

	mu   sync.Mutex
	trap *trap
}

// leader is the replica that the API server last accepted the lease from; the
// only one where there is no lease.
func (t *team) leader() *replica {
	first := t.replicas[0]
	for _, r := range t.replicas[1:] {
		if r.gate.leads().After(first.gate.leads()) {
			first = r
		}
	}
	return first
}

// replica is a controller process, which is started again whenever it ends.
type replica struct {
	name string
	gate *gate
	log  string
	path string
	args []string
	fork *forker

	mu      sync.Mutex
	running *running
	over    bool // it is not started again
	lost    int  // how often it ended because its lease was lost
	faults  []string
}

// running is one start of a replica.
type running struct {
	cmd    *exec.Cmd
	done   chan struct{}
	killed bool
	from   int64 // where its part of the log begins
}

// again is how long a replica stays ended before it is started again.
const again = 200 * time.Millisecond

// open starts the team's controllers. config is the part of their configuration
// that they share.
func (t *team) open(box *stage, replicas int, config string) error {
	file := filepath.Join(box.dir, t.name+".yaml")
	if t.elects {
		config += fmt.Sprintf("leaderElection: {namespace: serin-system, name: serin-%s, leaseDuration: 3s, renewDeadline: 2s, retryPeriod: 500ms}\n", t.name)
	}
	if err := writeFile(file, config); err != nil {
		return err
	}
	for i := range replicas {
		name := fmt.Sprintf("%s%d", t.name, i+1)
		r, err := t.hire(box, name, box.api)
		if err != nil {
			return err
		}
		r.args = append(r.args, "--config="+file, fmt.Sprintf("--leader-elect=%t", t.elects))
		t.replicas = append(t.replicas, r)
		if err := r.start(); err != nil {
			return err
		}
	}
	return nil
}

func (t *team) hire(box *stage, name string, api *rest.Config) (*replica, error) {
	g, err := openGate(t, api)
	if err != nil {
		return nil, err
	}
	kubeconfig := filepath.Join(box.dir, name+".kubeconfig")
	if err := g.kubeconfig(kubeconfig); err != nil {
		return nil, err
	}
	g.replica = &replica{
		name: name, gate: g, path: box.serin, fork: box.fork, log: filepath.Join(box.logs, "serin-"+name+".log"),
		args: []string{
			"--kubeconfig=" + kubeconfig, "--namespaces=" + strings.Join(t.namespaces, ","),
			"--prometheus-url=" + box.PrometheusURL(), "--listen=127.0.0.1:0", "--interval=1s",
		},
	}
	return g.replica, nil
}

// start starts the replica, and whenever it ends by itself again.
func (r *replica) start() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.launch()
}

func (r *replica) launch() error {
	out, err := os.OpenFile(r.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	from, err := out.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	one := &running{done: make(chan struct{}), from: from}
	one.cmd = exec.Command(r.path, r.args...)
	one.cmd.Env, one.cmd.Stdout, one.cmd.Stderr = []string{"HOME=" + filepath.Dir(r.log)}, out, out
	one.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := r.fork.start(one.cmd); err != nil {
		return fmt.Errorf("start %s: %w", r.name, err)
	}
	r.running = one
	go r.watch(one)
	return nil
}

// watch starts the replica again after it has ended, as a cluster does.
func (r *replica) watch(one *running) {
	ended := one.cmd.Wait()
	close(one.done)
	time.Sleep(again) //nolint:forbidigo // the time between an end and the next start is what is meant
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return
	}
	if !one.killed {
		r.ended(one, ended)
	}
	if err := r.launch(); err != nil {
		r.faults = append(r.faults, err.Error())
	}
}

// ended keeps why a replica ended by itself. Only a lost lease is a reason to.
func (r *replica) ended(one *running, how error) {
	said, err := tail(r.log, one.from)
	switch {
	case err != nil:
		r.faults = append(r.faults, err.Error())
	case strings.Contains(said, "the leader's lease was lost"):
		r.lost++
	default:
		r.faults = append(r.faults, fmt.Sprintf("%s ended by itself (%v):\n%s", r.name, how, said))
	}
}

// tail is the end of what a file holds from an offset on.
func tail(path string, from int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return "", err
	}
	if _, err := f.Seek(max(from, end-8<<10), io.SeekStart); err != nil {
		return "", err
	}
	said, err := io.ReadAll(f)
	return string(said), err
}

// alive is what runs now; where that has just ended, what is started next.
func (r *replica) alive() *running {
	for {
		r.mu.Lock()
		one := r.running
		r.mu.Unlock()
		select {
		case <-one.done:
			time.Sleep(again / 10) //nolint:forbidigo // it is looked at again
		default:
			return one
		}
	}
}

// kill ends the replica as a crash does, and waits for its end. It is started
// again by itself.
func (r *replica) kill() error {
	one := r.alive()
	r.mu.Lock()
	one.killed = true
	r.mu.Unlock()
	if err := one.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", r.name, err)
	}
	<-one.done
	return nil
}

// pause stops the replica, all of it, until the returned function is called.
func (r *replica) pause() (resume func() error, err error) {
	one := r.alive()
	send := func(s syscall.Signal) error {
		if err := one.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("send %s to %s: %w", s, r.name, err)
		}
		return nil
	}
	resume = func() error { return send(syscall.SIGCONT) }
	if err := send(syscall.SIGSTOP); err != nil {
		return resume, err
	}
	return resume, node.AwaitStopped(one.cmd.Process.Pid, one.done)
}

// end asks the replica to end, waits for it, and starts it no more.
func (r *replica) end() error {
	r.mu.Lock()
	r.over = true
	one := r.running
	r.mu.Unlock()
	_ = one.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-one.done:
	case <-time.After(time.Minute):
		_ = one.cmd.Process.Kill()
		<-one.done
		return fmt.Errorf("%s does not stop when it is asked to", r.name)
	}
	if !one.cmd.ProcessState.Success() && !one.killed {
		said, err := tail(r.log, one.from)
		if !strings.Contains(said, "the leader's lease was lost") {
			return fmt.Errorf("%s does not stop cleanly: %s: %s %w", r.name, one.cmd.ProcessState, said, err)
		}
	}
	return nil
}

// complaints are what went wrong with the process itself: ends that have no
// reason, and faults that it noticed in itself.
func (r *replica) complaints() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, f := range r.faults {
		errs = append(errs, errors.New(f))
	}
	text, err := os.ReadFile(r.log)
	if err != nil {
		return append(errs, err)
	}
	for _, sign := range []string{"a fault of Serin", "panic:"} {
		if i := strings.Index(string(text), sign); i >= 0 {
			errs = append(errs, fmt.Errorf("%s says %q: %.2000s", r.name, sign, text[i:]))
		}
	}
	return errs
}

// forker starts processes from one thread that lives as long as they may: the
// kernel ends them with the thread.
type forker struct{ orders chan func() }

func newForker() *forker {
	f := &forker{orders: make(chan func())}
	go func() {
		runtime.LockOSThread()
		for order := range f.orders {
			order()
		}
	}()
	return f
}

func (f *forker) start(cmd *exec.Cmd) error {
	err := make(chan error, 1)
	f.orders <- func() { err <- cmd.Start() }
	return <-err
}
