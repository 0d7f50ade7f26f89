// Package node is the sandbox's machine: the first process of a user, network
// and process namespace. It brings up the network there, forwards connections
// from outside, runs the stack's processes, and is the node agent that runs
// pods. When it ends, for whatever reason, the kernel ends all the others.
//
// It is told what to do over a connection inherited from the process that made
// the namespace; the methods of Node are what can be asked.
package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/rpc"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"

	"serin.dev/serin/e2e/agent"
	"serin.dev/serin/e2e/mesh"
)

// ControlFD is the file descriptor of the connection the node is told what to
// do over.
const ControlFD = 3

// None is the argument or the answer of a method that has none.
type None struct{}

// Node answers the calls of the process that started it.
type Node struct {
	ctx       context.Context
	processes *processes
	agent     atomic.Pointer[agent.Agent] // nil until it is started
}

// Serve answers calls until the connection ends, that is until the process at
// the other end is gone or has no more use for the node.
func Serve(ctx context.Context, conn io.ReadWriteCloser) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := rpc.NewServer()
	if err := server.Register(&Node{ctx: ctx, processes: newProcesses()}); err != nil {
		return fmt.Errorf("register the node's methods: %w", err)
	}
	server.ServeConn(conn)
	return nil
}

// Network brings up the loopback interface and makes all pod addresses local.
func (n *Node) Network(_ None, _ *None) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find the loopback interface: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("bring up the loopback interface: %w", explainForbidden(err))
	}
	_, pods, err := net.ParseCIDR(mesh.PodCIDR)
	if err != nil {
		return fmt.Errorf("parse the range of pod addresses: %w", err)
	}
	route := &netlink.Route{
		LinkIndex: lo.Attrs().Index, Dst: pods, Scope: netlink.SCOPE_HOST,
		Type: syscall.RTN_LOCAL, Table: syscall.RT_TABLE_LOCAL,
	}
	if err := netlink.RouteAdd(route); err != nil {
		return fmt.Errorf("make %s local: %w", mesh.PodCIDR, explainForbidden(err))
	}
	return nil
}

// explainForbidden says what to allow where the namespace could be made but
// not be used, which is how AppArmor on Ubuntu forbids it.
func explainForbidden(err error) error {
	if !errors.Is(err, syscall.EPERM) {
		return err
	}
	return fmt.Errorf("%w: a user namespace was made but has no rights: allow them with `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`, or run as root", err)
}

// Forward is a listener outside the namespace, inherited under a file
// descriptor, and the TCP address inside to which its connections go.
type Forward struct {
	FD int
	To string
}

// Forward begins to forward connections.
func (n *Node) Forward(f Forward, _ *None) error {
	file := os.NewFile(uintptr(f.FD), "listener")
	l, err := net.FileListener(file)
	_ = file.Close()
	if err != nil {
		return fmt.Errorf("forward to %s: file descriptor %d: %w", f.To, f.FD, err)
	}
	go forward(n.ctx, l, f.To)
	return nil
}

func forward(ctx context.Context, l net.Listener, to string) {
	for {
		conn, err := l.Accept()
		if err != nil {
			fmt.Fprintf(os.Stderr, "forward to %s: %v\n", to, err)
			return
		}
		go splice(ctx, conn.(*net.TCPConn), to)
	}
}

// splice copies both ways between a connection and one to the address, passing
// on the end of either direction.
func splice(ctx context.Context, in *net.TCPConn, to string) {
	defer func() { _ = in.Close() }()
	c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", to)
	if err != nil {
		return
	}
	out := c.(*net.TCPConn)
	defer func() { _ = out.Close() }()
	done := make(chan struct{})
	go func() {
		defer close(done)
		// A connection that breaks is passed on as its end.
		_, _ = io.Copy(out, in)
		_ = out.CloseWrite()
	}()
	_, _ = io.Copy(in, out)
	_ = in.CloseWrite()
	<-done
}

// Start starts a process and waits until it is ready.
func (n *Node) Start(p Process, _ *None) error { return n.processes.start(n.ctx, p) }

// Restart starts a process that has ended again, as it was started first, and
// waits until it is ready.
func (n *Node) Restart(name string, _ *None) error { return n.processes.restart(n.ctx, name) }

// Signal is a signal for one process.
type Signal struct {
	Name   string // of the process
	Signal syscall.Signal
}

// Signal sends a signal to a process. After SIGKILL it waits for its end, after
// SIGSTOP until all of it has stopped.
func (n *Node) Signal(s Signal, _ *None) error { return n.processes.signal(s.Name, s.Signal) }

// Wait waits for the end of a process and answers how it ended.
func (n *Node) Wait(name string, exit *Exit) error {
	e, err := n.processes.wait(n.ctx, name)
	*exit = e
	return err
}

// Agent starts the node agent, which runs until the node ends.
func (n *Node) Agent(c agent.Config, _ *None) error {
	a, err := agent.New(c)
	if err != nil {
		return err
	}
	ready := make(chan error, 1)
	go func() { ready <- a.Run(n.ctx, func() { ready <- nil }) }()
	if err := <-ready; err != nil {
		return err
	}
	n.agent.Store(a)
	return nil
}

// CPU is what the pods of a namespace are to be said to use.
type CPU struct {
	Namespace  string
	Millicores int64 // of all ready pods together
}

// SetCPU has the metrics API say so from now on.
func (n *Node) SetCPU(c CPU, _ *None) error {
	a := n.agent.Load()
	if a == nil {
		return errors.New("say how much CPU pods use: the agent has not been started")
	}
	a.SetCPU(c.Namespace, c.Millicores)
	return nil
}

// Tag is an image's tag, and the tag in the same repository whose image it names too
// from now on.
type Tag struct{ Image, As string }

// MoveTag moves a tag.
func (n *Node) MoveTag(t Tag, _ *None) error {
	a := n.agent.Load()
	if a == nil {
		return errors.New("move a tag: the agent has not been started")
	}
	return a.MoveTag(t.Image, t.As)
}
