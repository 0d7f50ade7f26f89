package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// readyLimit is how long a process may take until it is ready, on a machine
// that is busy with other things.
const readyLimit = 2 * time.Minute

// Process is a program to run.
type Process struct {
	Name  string // unique among the processes
	Path  string
	Args  []string
	Env   []string // all of its environment
	Log   string   // the file its output is appended to
	Ready string   // URL that answers below 500 (HTTPS: any certificate) once the process is ready; empty: at once
	OK    bool     // Ready has to answer 200
}

// Exit is how a process ended.
type Exit struct {
	Code   int    // -1 if a signal ended it
	Reason string // such as "exit status 1" or "signal: killed"
}

// processes are all that were ever started, by name.
type processes struct {
	client *http.Client

	mu     sync.Mutex
	byName map[string]*running
}

// running is one start of a process.
type running struct {
	Process
	cmd  *exec.Cmd
	done chan struct{} // closed at the end of the process; exit holds from then on
	exit Exit
}

func newProcesses() *processes {
	transport := &http.Transport{
		DisableKeepAlives: true,
		// Whether a process answers is the question, not who it is.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}
	return &processes{
		client: &http.Client{Timeout: time.Second, Transport: transport},
		byName: map[string]*running{},
	}
}

func (ps *processes) start(ctx context.Context, p Process) error {
	r, err := ps.launch(ctx, p)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	if p.Ready == "" {
		return nil
	}
	return ps.waitReady(ctx, r)
}

func (ps *processes) launch(ctx context.Context, p Process) (*running, error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if old := ps.byName[p.Name]; old != nil && !old.ended() {
		return nil, errors.New("it is running")
	}
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.CommandContext(ctx, p.Path, p.Args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = p.Env, log, log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r := &running{Process: p, cmd: cmd, done: make(chan struct{})}
	go r.watch()
	ps.byName[p.Name] = r
	return r, nil
}

func (r *running) watch() {
	_ = r.cmd.Wait() // ProcessState tells
	r.exit = Exit{Code: r.cmd.ProcessState.ExitCode(), Reason: r.cmd.ProcessState.String()}
	fmt.Fprintf(os.Stderr, "%s ended: %s\n", r.Name, r.exit.Reason)
	close(r.done)
}

func (r *running) ended() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

func (ps *processes) waitReady(ctx context.Context, r *running) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		said := ps.ask(ctx, r.Process)
		if said == "" {
			return nil
		}
		select {
		case <-r.done:
			return fmt.Errorf("%s ended before it was ready (%s); the end of %s:\n%s", r.Name, r.exit.Reason, r.Log, tail(r.Log))
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready after %s: %s; the end of %s:\n%s", r.Name, readyLimit, said, r.Log, tail(r.Log))
		case <-tick.C:
		}
	}
}

// ask returns what is wrong with the answer of the process; nothing if it is
// ready.
func (ps *processes) ask(ctx context.Context, p Process) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.Ready, nil)
	if err != nil {
		return err.Error()
	}
	resp, err := ps.client.Do(req)
	if err != nil {
		return err.Error()
	}
	_ = resp.Body.Close()
	if resp.StatusCode >= 500 || p.OK && resp.StatusCode != http.StatusOK {
		return p.Ready + " answers " + resp.Status
	}
	return ""
}

// tail returns the last lines of a file.
func tail(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

func (ps *processes) get(name string) (*running, error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	r := ps.byName[name]
	if r == nil {
		return nil, fmt.Errorf("no process is called %q", name)
	}
	return r, nil
}

func (ps *processes) restart(ctx context.Context, name string) error {
	r, err := ps.get(name)
	if err != nil {
		return err
	}
	return ps.start(ctx, r.Process)
}

func (ps *processes) signal(name string, s syscall.Signal) error {
	r, err := ps.get(name)
	if err != nil {
		return err
	}
	if err := r.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %s to %s: %w", s, name, err)
	}
	switch s {
	case syscall.SIGKILL:
		<-r.done
	case syscall.SIGSTOP:
		if err := AwaitStopped(r.cmd.Process.Pid, r.done); err != nil {
			return fmt.Errorf("stop %s: %w", name, err)
		}
	}
	return nil
}

// AwaitStopped waits until every thread of a child that was sent SIGSTOP has
// stopped, or the child has ended, which closes done: the signal takes effect
// when each thread comes by, and one that runs on another core may still answer
// a request. The kernel tells the parent when the last one has.
func AwaitStopped(pid int, done <-chan struct{}) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.After(readyLimit)
	for {
		if stopped, err := hasStopped(pid); err != nil || stopped {
			return err
		}
		select {
		case <-done:
			return nil
		case <-limit:
			return fmt.Errorf("process %d still runs after %s", pid, readyLimit)
		case <-tick.C:
		}
	}
}

// hasStopped asks the kernel whether a child has stopped. Reading /proc would not
// do: it may be that of another process namespace. A child that is gone is not
// waited for.
func hasStopped(pid int) (bool, error) {
	const byPID = 1 // P_PID
	var info [128]byte
	for {
		_, _, code := syscall.Syscall6(syscall.SYS_WAITID, byPID, uintptr(pid), uintptr(unsafe.Pointer(&info)), syscall.WSTOPPED|syscall.WNOHANG, 0, 0)
		switch code {
		case 0:
			return info != [128]byte{}, nil // the signal's number stands first
		case syscall.ECHILD:
			return true, nil
		case syscall.EINTR:
		default:
			return false, fmt.Errorf("ask whether process %d has stopped: %w", pid, code)
		}
	}
}

func (ps *processes) wait(ctx context.Context, name string) (Exit, error) {
	r, err := ps.get(name)
	if err != nil {
		return Exit{}, err
	}
	select {
	case <-r.done:
		return r.exit, nil
	case <-ctx.Done():
		return Exit{}, ctx.Err()
	}
}
