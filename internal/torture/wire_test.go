package torture

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
)

var (
	errGone    = errors.New("the process is gone")
	errRefused = errors.New("connect: connection refused")
	errBroken  = errors.New("read: connection reset by peer")
)

// wire is one process's way to the API server, on which the faults are.
type wire struct {
	w       *world
	name    string
	crashed chan struct{}

	mu      sync.Mutex
	dead    bool
	stalled chan struct{} // closed when requests go on; nil: they are not held
	held    chan struct{} // closed when events go on; nil: they are not held
	doubled bool          // every event comes twice
	stale   int           // versions by which what is listed is behind
	taps    map[*tap]bool
}

func newWire(w *world, name string) *wire {
	x := &wire{w: w, name: name, crashed: make(chan struct{}), taps: map[*tap]bool{}}
	w.mu.Lock()
	defer w.mu.Unlock()
	x.stale, w.restart.stale = w.restart.stale, 0
	return x
}

func (x *wire) isDead() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.dead
}

// crash ends the process: nothing of it comes through from now on.
func (x *wire) crash() {
	x.mu.Lock()
	was := x.dead
	x.dead = true
	x.mu.Unlock()
	if was {
		return
	}
	x.each(func(t *tap) { t.end(nil) })
	close(x.crashed)
}

// close ends what a process that ended has left open.
func (x *wire) close() {
	x.mu.Lock()
	x.dead = true
	x.mu.Unlock()
	x.stall(false)
	x.hold(false)
	x.each(func(t *tap) { t.end(nil) })
}

func (x *wire) each(f func(*tap)) {
	x.mu.Lock()
	var all []*tap
	for t := range x.taps {
		all = append(all, t)
	}
	x.mu.Unlock()
	for _, t := range all {
		f(t)
	}
}

// stall holds all requests, or lets them go on.
func (x *wire) stall(on bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.stalled = toggled(x.stalled, on)
}

// hold holds the events of all watches, or lets them go on.
func (x *wire) hold(on bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.held = toggled(x.held, on)
}

func toggled(c chan struct{}, on bool) chan struct{} {
	switch {
	case on && c == nil:
		return make(chan struct{})
	case !on && c != nil:
		close(c)
		return nil
	}
	return c
}

func (x *wire) double(on bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.doubled = on
}

// RoundTrip sends a request, unless a fault is in its way.
func (x *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := x.admit(r.Context()); err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Header.Set(processHeader, x.name)
	if isWrite(r) {
		if f := x.w.fault(); f != nil {
			return f.strike(x, r)
		}
	}
	return x.send(r)
}

// admit waits while requests are held, and fails where none comes through.
func (x *wire) admit(ctx context.Context) error {
	x.mu.Lock()
	stalled := x.stalled
	x.mu.Unlock()
	if stalled != nil {
		select {
		case <-stalled:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if x.isDead() {
		return errGone
	}
	if x.w.isAway() {
		return errRefused
	}
	return nil
}

// send has the API server answer.
func (x *wire) send(r *http.Request) (*http.Response, error) {
	watching := r.Method == http.MethodGet && r.URL.Query().Get("watch") != ""
	answer := x.w.api.RoundTrip
	if watching && x.stale > 0 && r.URL.Query().Get("sendInitialEvents") == "true" {
		answer = x.listBehind
	}
	response, err := answer(r)
	if err != nil || !watching || response.StatusCode != http.StatusOK {
		return response, err
	}
	t := &tap{x: x, ctx: r.Context(), body: response.Body, lines: bufio.NewReader(response.Body), ended: make(chan struct{})}
	x.mu.Lock()
	dead := x.dead
	x.taps[t] = true
	x.mu.Unlock()
	if dead {
		t.end(nil)
	}
	response.Body = t
	return response, nil
}

// body is what a request carries; it can be sent again.
func body(r *http.Request) []byte {
	if r.Body == nil {
		return nil
	}
	b, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(b))
	return b
}

// tap is the answer to a watch, on its way.
type tap struct {
	x     *wire
	ctx   context.Context //nolint:containedctx // a body's life is its request's
	body  io.ReadCloser
	lines *bufio.Reader
	rest  []byte

	mu    sync.Mutex
	over  bool
	last  []byte // what comes last
	ended chan struct{}
}

// end breaks the watch off, with a last event if one is given. What has not been
// read yet is lost.
func (t *tap) end(last []byte) {
	t.mu.Lock()
	was := t.over
	if !was {
		t.over, t.last = true, last
		close(t.ended)
	}
	t.mu.Unlock()
	if !was {
		_ = t.body.Close()
	}
}

func (t *tap) Read(p []byte) (int, error) {
	if len(t.rest) == 0 {
		line, err := t.next()
		if err != nil {
			return 0, err
		}
		t.rest = line
	}
	n := copy(p, t.rest)
	t.rest = t.rest[n:]
	return n, nil
}

// next is the next event, when it may be seen.
func (t *tap) next() ([]byte, error) {
	line, err := t.lines.ReadBytes('\n')
	t.x.mu.Lock()
	held, doubled := t.x.held, t.x.doubled
	t.x.mu.Unlock()
	if held != nil && err == nil {
		select {
		case <-held:
		case <-t.ended:
		case <-t.ctx.Done():
			return nil, t.ctx.Err()
		}
	}
	t.mu.Lock()
	over, last := t.over, t.last
	t.last = nil
	t.mu.Unlock()
	switch {
	case over && last != nil:
		return last, nil
	case over:
		return nil, io.EOF
	case err != nil:
		return nil, err
	case doubled && !bytes.Contains(line, []byte(`"BOOKMARK"`)):
		return append(bytes.Clone(line), line...), nil
	}
	return line, nil
}

func (t *tap) Close() error {
	t.end(nil)
	t.x.mu.Lock()
	defer t.x.mu.Unlock()
	delete(t.x.taps, t)
	return nil
}
