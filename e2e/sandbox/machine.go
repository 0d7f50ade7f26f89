package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/rpc"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"serin.dev/serin/e2e/mesh"
	"serin.dev/serin/e2e/node"
)

// Listeners on this machine's loopback, each forwarded into the namespace.
// Where the address inside is free to choose it is the same as outside, so
// that one kubeconfig and one URL serve on both sides.
const (
	apiListener = iota
	gatewayListener
	meshListener
	prometheusListener
	firstController
	firstPage = firstController + maxControllers
	listeners = firstPage + maxControllers
)

// maxControllers is how many controllers have an address of their own, more
// than a package of scenarios starts at a time; further ones take the addresses
// of the first again.
const maxControllers = 64

func controllerListener(n int) int { return firstController + n%maxControllers }

// pageListener is where the same controller serves its page.
func pageListener(n int) int { return firstPage + n%maxControllers }

// inside is the address inside the namespace a listener is forwarded to;
// empty if it is the same as outside.
var inside = map[int]string{
	gatewayListener: fmt.Sprintf("%s:%d", mesh.GatewayIP, mesh.GatewayPort),
	meshListener:    fmt.Sprintf("%s:%d", mesh.ClientIP, mesh.ClientPort),
}

// machine is the namespace with its first process.
type machine struct {
	client    *rpc.Client
	cmd       *exec.Cmd
	addresses []string // of the listeners
	ended     chan struct{}
	stopping  sync.Once
}

// startMachine makes the namespace and brings up its network.
func startMachine(ctx context.Context, program, log string) (*machine, error) {
	m := &machine{ended: make(chan struct{})}
	files, err := m.listen(ctx)
	defer closeAll(files)
	if err != nil {
		return nil, err
	}
	control, remote, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer func() { _ = remote.Close() }()
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("make the node's log: %w", err)
	}
	defer func() { _ = out.Close() }()
	// It ends by stop, not with the start it is part of.
	ctx = context.WithoutCancel(ctx)
	m.cmd = exec.CommandContext(ctx, program)
	m.cmd.Env, m.cmd.Stdout, m.cmd.Stderr = environment(), out, out
	m.cmd.ExtraFiles = append([]*os.File{remote}, files...)
	if err := m.start(ctx); err != nil {
		_ = control.Close()
		return nil, err
	}
	m.client = rpc.NewClient(control)
	if err := m.network(); err != nil {
		m.stop()
		return nil, err
	}
	return m, nil
}

// listen opens the listeners and returns them as files to hand down.
func (m *machine) listen(ctx context.Context) (files []*os.File, err error) {
	for range listeners {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return files, fmt.Errorf("listen on the loopback address: %w", err)
		}
		m.addresses = append(m.addresses, l.Addr().String())
		f, err := l.(*net.TCPListener).File()
		_ = l.Close()
		if err != nil {
			return files, fmt.Errorf("hand a listener down: %w", err)
		}
		files = append(files, f)
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// socketPair makes the connection over which the node is told what to do: this
// process's end, and the one to hand down.
func socketPair() (net.Conn, *os.File, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make the control connection: %w", err)
	}
	own, remote := os.NewFile(uintptr(fds[0]), "control"), os.NewFile(uintptr(fds[1]), "control")
	defer func() { _ = own.Close() }()
	conn, err := net.FileConn(own)
	if err != nil {
		_ = remote.Close()
		return nil, nil, fmt.Errorf("make the control connection: %w", err)
	}
	return conn, remote, nil
}

// start starts the node. The kernel kills the node when the thread that
// started it ends, and with the node, the first process of its namespace, all
// others: so that thread is kept for as long as the node runs.
func (m *machine) start(ctx context.Context) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := m.startNamespace(ctx)
		started <- err
		if err == nil {
			_ = m.cmd.Wait() // it is killed
			close(m.ended)
		}
	}()
	return <-started
}

// startNamespace starts the node as the first process of new namespaces. Root
// can do without a user namespace, where those are forbidden.
func (m *machine) startNamespace(ctx context.Context) error {
	const namespaces = syscall.CLONE_NEWNET | syscall.CLONE_NEWPID
	attributes := &syscall.SysProcAttr{
		Cloneflags:  namespaces | syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Setpgid:     true, // Ctrl-C is for this process, which then ends the others
		Pdeathsig:   syscall.SIGKILL,
	}
	m.cmd.SysProcAttr = attributes
	err := m.cmd.Start()
	if err != nil && os.Getuid() == 0 {
		again := exec.CommandContext(ctx, m.cmd.Path)
		again.Env, again.Stdout, again.Stderr, again.ExtraFiles = m.cmd.Env, m.cmd.Stdout, m.cmd.Stderr, m.cmd.ExtraFiles
		again.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces, Setpgid: true, Pdeathsig: syscall.SIGKILL}
		m.cmd = again
		err = again.Start()
	}
	if err != nil {
		return explainNamespace(err)
	}
	return nil
}

// explainNamespace says what to allow where namespaces are forbidden.
func explainNamespace(err error) error {
	var mend string
	switch {
	case errors.Is(err, syscall.ENOSPC):
		mend = "user namespaces are switched off: allow them with `sudo sysctl user.max_user_namespaces=15000`"
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		mend = "user namespaces are forbidden: allow them with `sudo sysctl kernel.unprivileged_userns_clone=1` " +
			"(Ubuntu: `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`; in a container: run it with --privileged), or run as root"
	case errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENOSYS):
		mend = "this kernel has no user, network and process namespaces (CONFIG_USER_NS, CONFIG_NET_NS, CONFIG_PID_NS)"
	default:
		return fmt.Errorf("make a namespace: %w", err)
	}
	return fmt.Errorf("make a namespace: %w: %s", err, mend)
}

func (m *machine) network() error {
	if err := m.call("Network", node.None{}); err != nil {
		return err
	}
	for i, address := range m.addresses {
		to := inside[i]
		if to == "" {
			to = address
		}
		if err := m.call("Forward", node.Forward{FD: node.ControlFD + 1 + i, To: to}); err != nil {
			return err
		}
	}
	return nil
}

// call calls a method of the node that answers nothing.
func (m *machine) call(method string, argument any) error {
	err := m.client.Call("Node."+method, argument, &node.None{})
	if errors.Is(err, rpc.ErrShutdown) {
		return errors.New("the sandbox has ended")
	}
	return err
}

func (m *machine) signal(name string, s syscall.Signal) error {
	return m.call("Signal", node.Signal{Name: name, Signal: s})
}

func (m *machine) wait(name string) (node.Exit, error) {
	var exit node.Exit
	err := m.client.Call("Node.Wait", name, &exit)
	return exit, err
}

// stop ends the node, and thereby all processes in the namespace.
func (m *machine) stop() {
	m.stopping.Do(func() {
		_ = m.client.Close()
		_ = m.cmd.Process.Kill()
	})
	<-m.ended
}

func (m *machine) address(listener int) string { return m.addresses[listener] }

func (m *machine) url(listener int) string { return "http://" + m.addresses[listener] }

// environment is what all processes of the sandbox get of this one's
// environment: nothing that could send their traffic elsewhere.
func environment() []string {
	var env []string
	for _, key := range []string{"PATH", "HOME", "TMPDIR", "LANG", "TZ"} {
		if v, ok := os.LookupEnv(key); ok {
			env = append(env, key+"="+v)
		}
	}
	return env
}

// withDefault adds a flag unless the arguments have it.
func withDefault(args []string, flag, value string) []string {
	for _, a := range args {
		if name, _, _ := strings.Cut(a, "="); name == flag || "-"+name == flag {
			return args
		}
	}
	return append(args, flag+"="+value)
}
