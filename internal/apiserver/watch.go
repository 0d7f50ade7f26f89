package apiserver

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/labels"
)

type watcher struct {
	collection string // path prefix without namespace
	namespace  string
	selector   labels.Selector
	name       string
	events     chan []byte
}

func newWatcher(t target, query url.Values) *watcher {
	selector, err := labels.Parse(query.Get("labelSelector"))
	if err != nil {
		panic(err)
	}
	return &watcher{
		collection: t.collection(), namespace: t.namespace, selector: selector,
		name:   strings.TrimPrefix(query.Get("fieldSelector"), "metadata.name="),
		events: make(chan []byte, 10000),
	}
}

func (w *watcher) wants(path string, o map[string]any) bool {
	m := Meta(o)
	return strings.HasPrefix(path, w.collection+"/") &&
		(w.namespace == "" || m["namespace"] == w.namespace) &&
		(w.name == "" || m["name"] == w.name) &&
		w.selector.Matches(labels.Set(StringMap(m["labels"])))
}

// watch streams from now on. The clients here always ask for the initial
// events, or have listed a moment ago under the same lock-step.
func (s *Server) watch(ctx context.Context, t target, query url.Values) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := newWatcher(t, query)
	if query.Get("sendInitialEvents") == "true" {
		for _, path := range slices.Sorted(maps.Keys(s.objects)) {
			if o := s.objects[path]; w.wants(path, o) {
				w.events <- event("ADDED", o)
			}
		}
		group := strings.TrimPrefix(strings.TrimPrefix(t.base, "/apis/"), "/api/")
		w.events <- event("BOOKMARK", map[string]any{
			"kind": s.kinds[t.resource], "apiVersion": group,
			"metadata": map[string]any{
				"resourceVersion": strconv.FormatInt(s.version, 10),
				"annotations":     map[string]any{"k8s.io/initial-events-end": "true"},
			},
		})
	}
	s.watchers[w] = true
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}},
		Body: &stream{server: s, watcher: w, ctx: ctx, closed: make(chan struct{})},
	}, nil
}

func event(kind string, o map[string]any) []byte {
	text, err := json.Marshal(map[string]any{"type": kind, "object": o})
	if err != nil {
		panic(err)
	}
	return append(text, '\n')
}

// stream is the body of a watch's answer.
type stream struct {
	server  *Server
	watcher *watcher
	ctx     context.Context
	rest    []byte
	once    sync.Once
	closed  chan struct{}
}

func (b *stream) Read(p []byte) (int, error) {
	if len(b.rest) == 0 {
		select {
		case b.rest = <-b.watcher.events:
		case <-b.ctx.Done():
			return 0, b.ctx.Err()
		case <-b.closed:
			return 0, io.EOF
		}
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

func (b *stream) Close() error {
	b.once.Do(func() {
		close(b.closed)
		b.server.mu.Lock()
		defer b.server.mu.Unlock()
		delete(b.server.watchers, b.watcher)
	})
	return nil
}

func (s *Server) publish(kind string, t target, o map[string]any) {
	send := func() {
		for w := range s.watchers {
			if w.wants(t.path(), o) {
				w.events <- event(kind, o)
			}
		}
	}
	if waiting, still := s.held[t.resource]; still {
		s.held[t.resource] = append(waiting, send)
		return
	}
	send()
}

// Hold makes the watches of a resource stand still, or sends what waited.
func (s *Server) Hold(resource string, still bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if still {
		s.held[resource] = nil
		return
	}
	for _, send := range s.held[resource] {
		send()
	}
	delete(s.held, resource)
}
