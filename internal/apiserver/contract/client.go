package contract

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const (
	asJSON     = "application/json"
	jsonPatch  = "application/json-patch+json"
	mergePatch = "application/merge-patch+json"

	// patience is how long is waited for what has to come. On a real server it comes
	// far sooner; in virtual time nobody waits.
	patience = time.Minute
	// silence is how long is waited for what must not come.
	silence = 300 * time.Millisecond
)

// client asks the server, with an own namespace.
type client struct {
	*testing.T
	server Server
	ns     string
}

var namespaces atomic.Int64

func newClient(t *testing.T, s Server) *client {
	c := &client{T: t, server: s, ns: fmt.Sprintf("contract-%d-%d", time.Now().Unix()%1_000_000, namespaces.Add(1))}
	c.must(201, c.post("/api/v1/namespaces", tree{"apiVersion": "v1", "kind": "Namespace", "metadata": tree{"name": c.ns}}))
	return c
}

// tree is JSON.
type tree = map[string]any

// reply is an answer.
type reply struct {
	code   int
	header http.Header
	body   tree
	text   string
}

// ask is a request.
type ask struct {
	method, path string
	query        url.Values
	content      string // type of the body
	body         any    // a tree, or bytes as they are
	by           http.RoundTripper
}

func (c *client) do(a ask) reply {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), patience)
	defer cancel()
	answer := c.send(ctx, a)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		c.Fatal(err)
	}
	r := reply{code: answer.StatusCode, header: answer.Header, text: string(text)}
	_ = json.Unmarshal(text, &r.body) // an answer in plain text has none
	return r
}

func (c *client) send(ctx context.Context, a ask) *http.Response {
	c.Helper()
	var body io.Reader
	switch b := a.body.(type) {
	case nil:
	case []byte:
		body = bytes.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			c.Fatal(err)
		}
		body = bytes.NewReader(text)
	}
	target := c.server.URL + a.path
	if len(a.query) > 0 {
		target += "?" + a.query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, a.method, target, body)
	if err != nil {
		c.Fatal(err)
	}
	request.Header.Set("Accept", asJSON)
	if a.content != "" {
		request.Header.Set("Content-Type", a.content)
	}
	way := c.server.Transport
	if a.by != nil {
		way = a.by
	}
	answer, err := way.RoundTrip(request)
	if err != nil {
		c.Fatalf("%s %s: %v", a.method, a.path, err)
	}
	return answer
}

// The requests that are made here, as Serin makes them.

func (c *client) get(path string) reply {
	c.Helper()
	return c.do(ask{method: http.MethodGet, path: path})
}

func (c *client) list(path string, params ...string) reply {
	c.Helper()
	return c.do(ask{method: http.MethodGet, path: path, query: query(params...)})
}

func (c *client) post(path string, o tree) reply {
	c.Helper()
	return c.do(ask{method: http.MethodPost, path: path, query: query("fieldManager", manager), content: asJSON, body: o})
}

func (c *client) put(path string, o tree) reply {
	c.Helper()
	return c.putAs(manager, path, o)
}

func (c *client) putAs(who, path string, o tree) reply {
	c.Helper()
	return c.do(ask{method: http.MethodPut, path: path, query: query("fieldManager", who), content: asJSON, body: o})
}

func (c *client) patch(content, path, body string) reply {
	c.Helper()
	return c.do(ask{method: http.MethodPatch, path: path, query: query("fieldManager", manager), content: content, body: []byte(body)})
}

func (c *client) delete(path string, options tree) reply {
	c.Helper()
	a := ask{method: http.MethodDelete, path: path}
	if options != nil {
		options["kind"], options["apiVersion"] = "DeleteOptions", "v1"
		a.content, a.body = asJSON, options
	}
	return c.do(a)
}

// manager is the field manager that Serin gives itself.
const manager = "serin"

func query(params ...string) url.Values {
	q := url.Values{}
	for i := 0; i+1 < len(params); i += 2 {
		q.Set(params[i], params[i+1])
	}
	return q
}

// must ends the case unless the answer has this code, and gives its object.
func (c *client) must(code int, r reply) tree {
	c.Helper()
	if r.code != code {
		c.Fatalf("the answer is %d, want %d: %s", r.code, code, r.text)
	}
	return r.body
}

// refused checks that an answer is a Status of this code and reason.
func (c *client) refused(r reply, code int, reason string) tree {
	c.Helper()
	got := fmt.Sprint(r.code, r.body["kind"], r.body["status"], r.body["code"], r.body["reason"])
	if want := fmt.Sprint(code, "Status", "Failure", float64(code), reason); got != want {
		c.Errorf("the answer is %s, want %s: %s", got, want, r.text)
	}
	if message, _ := r.body["message"].(string); message == "" {
		c.Error("the refusal says nothing")
	}
	details, _ := r.body["details"].(tree)
	return details
}

// same checks what was got.
func (c *client) same(what string, got, want any) {
	c.Helper()
	if g, w := text(got), text(want); g != w {
		c.Errorf("%s is %s, want %s", what, g, w)
	}
}

func text(v any) string {
	t, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(t)
}

// at is what stands at a path in a tree.
func at(v any, path ...string) any {
	for _, key := range path {
		m, _ := v.(tree)
		v = m[key]
	}
	return v
}

func version(o tree) string {
	v, _ := at(o, "metadata", "resourceVersion").(string)
	return v
}

// until waits until check says nothing more.
func (c *client) until(what string, check func() (missing string)) {
	c.Helper()
	missing := ""
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if missing = check(); missing == "" {
			return
		}
		<-time.After(100 * time.Millisecond)
	}
	c.Fatalf("still not: %s; %s", what, missing)
}

// watching is a watch under way.
type watching struct {
	c      *client
	code   int
	events chan event
	stop   context.CancelFunc
}

type event struct {
	Type   string
	Object tree
}

func (e event) name() string {
	name, _ := at(e.Object, "metadata", "name").(string)
	return strings.TrimSpace(e.Type + " " + name)
}

// watch begins one, with a time of its own.
func (c *client) watch(path string, params ...string) *watching {
	c.Helper()
	q := query(params...)
	q.Set("watch", "true")
	if !q.Has("timeoutSeconds") {
		q.Set("timeoutSeconds", "300")
	}
	ctx, cancel := context.WithCancel(c.Context())
	answer := c.send(ctx, ask{method: http.MethodGet, path: path, query: q}) //nolint:bodyclose // who reads it closes it
	w := &watching{c: c, code: answer.StatusCode, events: make(chan event, 100), stop: cancel}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(w.events)
		defer answer.Body.Close()
		lines := bufio.NewReader(answer.Body)
		for {
			line, err := lines.ReadBytes('\n')
			var e event
			if json.Unmarshal(line, &e) == nil && e.Type != "" {
				select {
				case w.events <- e:
				case <-ctx.Done():
					return
				}
			}
			if err != nil {
				return
			}
		}
	}()
	c.Cleanup(func() {
		cancel()
		<-done
	})
	return w
}

// next is the event that comes next, of this namespace if it is of any; false when
// the watch has ended.
func (w *watching) next() (event, bool) {
	w.c.Helper()
	for {
		select {
		case e, more := <-w.events:
			if ns := at(e.Object, "metadata", "namespace"); more && ns != nil && ns != w.c.ns {
				continue
			}
			return e, more
		case <-time.After(patience):
			w.c.Fatal("no event comes")
		}
	}
}

// sees checks the events that come next, as type and name, and gives the last.
func (w *watching) sees(want ...string) (last event) {
	w.c.Helper()
	for _, name := range want {
		e, more := w.next()
		if !more {
			w.c.Fatalf("the watch ended before %s", name)
		}
		if e.name() != name {
			w.c.Fatalf("the watch says %s, want %s: %s", e.name(), name, text(e.Object))
		}
		last = e
	}
	return last
}

// quiet checks that nothing comes for a while.
func (w *watching) quiet() {
	w.c.Helper()
	deadline := time.After(silence)
	for {
		select {
		case e, more := <-w.events:
			if ns := at(e.Object, "metadata", "namespace"); more && ns != nil && ns != w.c.ns {
				continue
			}
			w.c.Errorf("the watch says %s, want nothing", e.name())
			return
		case <-deadline:
			return
		}
	}
}

// ends checks that the watch ends by itself.
func (w *watching) ends() {
	w.c.Helper()
	if e, more := w.next(); more {
		w.c.Errorf("the watch says %s, want its end", e.name())
	}
}
