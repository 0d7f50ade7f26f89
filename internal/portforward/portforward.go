// Package portforward is the server's side of port forwarding, as kubelets speak
// it (portforward.k8s.io over SPDY/3.1): for tests that have no kubelet.
package portforward

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// protocol is its name, by which client and server agree.
const protocol = "portforward.k8s.io"

// dialing is how long a connection may take to be made.
const dialing = 10 * time.Second

// Handler forwards the connections of whoever asks to where dial leads, which gets
// the port that was asked for. It ends with the client.
func Handler(dial func(ctx context.Context, port string) (net.Conn, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := httpstream.Handshake(r, w, []string{protocol}); err != nil {
			return // it has answered
		}
		f := &forwarding{dial: dial, pairs: map[string]*pair{}}
		opened := make(chan httpstream.Stream, 1)
		conn := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(s httpstream.Stream, replied <-chan struct{}) error {
			go func() {
				<-replied
				opened <- s
			}()
			return nil
		})
		if conn == nil {
			return // it has answered
		}
		defer func() { _ = conn.Close() }()
		for {
			select {
			case <-conn.CloseChan():
				return
			case s := <-opened:
				f.add(context.WithoutCancel(r.Context()), s)
			}
		}
	})
}

// forwarding are the connections of one client.
type forwarding struct {
	dial func(context.Context, string) (net.Conn, error)

	mu    sync.Mutex
	pairs map[string]*pair
}

// pair are the two streams of a connection.
type pair struct{ data, failure httpstream.Stream }

// add takes a stream; with the second one the connection is made.
func (f *forwarding) add(ctx context.Context, s httpstream.Stream) {
	id := s.Headers().Get(corev1.PortForwardRequestIDHeader)
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.pairs[id]
	if p == nil {
		p = &pair{}
		f.pairs[id] = p
	}
	if s.Headers().Get(corev1.StreamType) == corev1.StreamTypeError {
		p.failure = s
	} else {
		p.data = s
	}
	if p.data != nil && p.failure != nil {
		delete(f.pairs, id)
		go f.serve(ctx, *p)
	}
}

// serve copies both ways until both have ended.
func (f *forwarding) serve(ctx context.Context, p pair) {
	defer p.failure.Close()
	defer p.data.Close()
	port := p.data.Headers().Get(corev1.PortHeader)
	ctx, cancel := context.WithTimeout(ctx, dialing)
	defer cancel()
	conn, err := f.dial(ctx, port)
	if err != nil {
		fmt.Fprintf(p.failure, "forward to port %s: %v", port, err)
		return
	}
	defer func() { _ = conn.Close() }()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		// A connection that breaks is passed on as its end.
		_, _ = io.Copy(p.data, conn)
	}()
	go func() {
		_, _ = io.Copy(conn, p.data)
		if half, is := conn.(interface{ CloseWrite() error }); is {
			_ = half.CloseWrite()
		}
	}()
	<-answered
}
