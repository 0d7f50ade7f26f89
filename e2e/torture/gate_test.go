package torture

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// gate stands between one controller and the API server, and speaks with both as
// they would with each other. It sees every write, and holds back the one that a
// trap of its team waits for.
type gate struct {
	team     *team
	replica  *replica
	upstream http.RoundTripper
	server   *httptest.Server
	pass     *httputil.ReverseProxy

	mu      sync.Mutex
	renewed time.Time       // when the API server last accepted the lease from here
	done    map[outcome]int // writes, but of leases
	last    time.Time       // of these
}

// outcome counts writes: by what and how, and by the API server's status; 0 is
// no answer.
type outcome struct {
	what   string
	status int
}

// write is a request that changes something.
type write struct {
	Method, Resource, Namespace, Name string
}

func (w write) String() string {
	return fmt.Sprintf("%s %s %s/%s", w.Method, w.Resource, w.Namespace, w.Name)
}

// writeOf reads what a request is about; false if it changes nothing.
func writeOf(r *http.Request) (write, bool) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return write{}, false
	}
	w := write{Method: r.Method}
	_, rest, _ := strings.Cut(r.URL.Path, "/namespaces/")
	parts := strings.Split(rest, "/")
	for i, into := range []*string{&w.Namespace, &w.Resource, &w.Name} {
		if i < len(parts) {
			*into = parts[i]
		}
	}
	return w, true
}

// openGate opens a gate to the API server for whom the configuration names.
func openGate(t *team, config *rest.Config) (*gate, error) {
	tls, err := rest.TLSConfigFor(config)
	if err != nil {
		return nil, err
	}
	to, err := url.Parse(config.Host)
	if err != nil {
		return nil, err
	}
	g := &gate{team: t, done: map[outcome]int{}}
	g.upstream = &http.Transport{TLSClientConfig: tls, ForceAttemptHTTP2: true}
	g.pass = &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(to) },
		Transport: g.upstream, FlushInterval: -1,
		// To the controller it is as if the API server had broken off.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		ErrorLog:     quiet,
	}
	g.server = httptest.NewUnstartedServer(g)
	g.server.EnableHTTP2, g.server.Config.ErrorLog = true, quiet
	g.server.StartTLS()
	return g, nil
}

func (g *gate) close() {
	g.server.CloseClientConnections()
	g.server.Close()
}

// kubeconfig writes a file that leads a controller to the gate.
func (g *gate) kubeconfig(path string) error {
	const name = "gate"
	config := clientcmdapi.NewConfig()
	config.Clusters[name] = &clientcmdapi.Cluster{
		Server:                   g.server.URL,
		CertificateAuthorityData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: g.server.Certificate().Raw}),
	}
	// The gate is who the API server knows; the token is what a client wants to have.
	config.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: "none"}
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	config.CurrentContext = name
	return clientcmd.WriteToFile(*config, path)
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Header.Del("Authorization")
	wr, changes := writeOf(r)
	if !changes {
		g.pass.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // the controller is gone
	}
	h := g.team.caught(g, wr)
	if h == nil {
		give(w, g.send(r.Context(), r, body, wr))
		return
	}
	if deliver := <-h.deliver; !deliver {
		panic(http.ErrAbortHandler)
	}
	// It is under way, whatever becomes of who sent it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), time.Minute)
	defer cancel()
	a := g.send(ctx, r, body, wr)
	h.arrived <- a
	<-h.answer
	give(w, a)
}

// answer is the API server's; status 0 is none.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// send sends a write on and keeps what became of it.
func (g *gate) send(ctx context.Context, r *http.Request, body []byte, w write) answer {
	a := g.ask(ctx, r, body)
	g.mu.Lock()
	defer g.mu.Unlock()
	if w.Resource == "leases" {
		if a.status/100 == 2 {
			g.renewed = time.Now()
		}
		return a
	}
	g.done[outcome{w.Method + " " + w.Resource, a.status}]++
	if w.Resource != "events" {
		g.last = time.Now()
	}
	return a
}

func (g *gate) ask(ctx context.Context, r *http.Request, body []byte) answer {
	out := r.Clone(ctx)
	out.RequestURI, out.Body, out.ContentLength = "", io.NopCloser(bytes.NewReader(body)), int64(len(body))
	pr := &httputil.ProxyRequest{In: r, Out: out}
	g.pass.Rewrite(pr)
	resp, err := g.upstream.RoundTrip(out)
	if err != nil {
		return answer{}
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}
	}
	return answer{resp.StatusCode, resp.Header, said}
}

// give answers the controller, or breaks off as the API server did.
func give(w http.ResponseWriter, a answer) {
	if a.status == 0 {
		panic(http.ErrAbortHandler)
	}
	maps.Copy(w.Header(), a.header)
	w.Header().Del("Content-Length")
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}

// leads tells since when the API server knows this controller as the leader.
func (g *gate) leads() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.renewed
}

// wrote tells when something was last written from here, and what came of all.
func (g *gate) wrote() (last time.Time, all map[outcome]int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.last, maps.Clone(g.done)
}

// held is a write that waits at a gate.
type held struct {
	write
	gate    *gate
	at      time.Time
	deliver chan bool     // whether it goes on
	arrived chan answer   // what the API server said of it
	answer  chan struct{} // closed: the controller may hear of it
	told    sync.Once
}

// drop loses the write.
func (h *held) drop() { h.deliver <- false }

// send lets the write go on, and returns what the API server says. The
// controller does not hear of it.
func (h *held) send() answer {
	h.deliver <- true
	return <-h.arrived
}

// tell gives the API server's answer to the controller.
func (h *held) tell() { h.told.Do(func() { close(h.answer) }) }

// trap has the next write of a team held.
type trap struct{ caught chan *held }

// catch waits for a team's next write and holds it; nil if none comes in time.
// The caller has to drop it, or to send it and tell of it.
func (t *team) catch(ctx context.Context, patience time.Duration) *held {
	trap := &trap{caught: make(chan *held, 1)}
	t.mu.Lock()
	t.trap = trap
	t.mu.Unlock()
	select {
	case h := <-trap.caught:
		return h
	case <-ctx.Done():
	case <-time.After(patience):
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.trap = nil
	select {
	case h := <-trap.caught: // it came at the last moment
		return h
	default:
		return nil
	}
}

// caught holds a write if a trap waits for it. Leases and Events are no
// decisions, and pass.
func (t *team) caught(g *gate, w write) *held {
	if w.Resource == "leases" || w.Resource == "events" {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.trap == nil {
		return nil
	}
	h := &held{write: w, gate: g, at: time.Now(), deliver: make(chan bool, 1), arrived: make(chan answer, 1), answer: make(chan struct{})}
	t.trap.caught <- h
	t.trap = nil
	return h
}

// quiet drops what is said of connections that break: they do so on purpose.
var quiet = log.New(io.Discard, "", 0)

func writeFile(path, text string) error { return os.WriteFile(path, []byte(text), 0o600) }
