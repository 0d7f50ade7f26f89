package apiserver

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/labels"
)

const (
	// bookmarkEvery is how often a watch that nothing happens to is told how far it
	// has come.
	bookmarkEvery = time.Minute
	// bookmarkBefore is how long before its end it is told so for the last time.
	bookmarkBefore = 2 * time.Second
	// watchLasts is for how long a watch is served that names no time of its own.
	watchLasts = 30 * time.Minute

	// initialEventsEnd is the annotation of the bookmark after the initial events.
	initialEventsEnd = "k8s.io/initial-events-end"
)

// choice is which objects of a kind somebody asks for.
type choice struct {
	target
	selector labels.Selector
	field    string // the value that metadata.name has; empty: any
}

func choose(t target, query url.Values) (choice, error) {
	selector, err := labels.Parse(query.Get("labelSelector"))
	c := choice{target: t, selector: selector, field: strings.TrimPrefix(query.Get("fieldSelector"), "metadata.name=")}
	return c, err
}

func (c choice) wants(o *object) bool {
	return o != nil && o.kind == c.kind &&
		(c.namespace == "" || o.namespace == c.namespace) &&
		(c.field == "" || o.name == c.field) &&
		c.selector.Matches(o.labels)
}

// chosen are the objects that are there, in the order of their names.
func (s *Server) chosen(c choice) (out []*object) {
	for _, o := range s.objects {
		if c.wants(o) {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b *object) int { return strings.Compare(a.path(), b.path()) })
	return out
}

// stream is the body of a watch's answer.
type stream struct {
	choice
	server    *Server
	ctx       context.Context
	seen      int64 // the version up to which everything was told
	rest      []byte
	ended     bool // nothing comes after rest
	bookmarks bool
	marked    time.Time // when a bookmark was due last, or the watch began
	told      int64     // the version that the client knows of
	end       time.Time
	news      chan struct{}
	once      sync.Once
	closed    chan struct{}
}

func (s *Server) watch(ctx context.Context, t target, query url.Values) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	which, err := choose(t, query)
	if err != nil {
		return Refuse(400, "BadRequest", "%v", err)
	}
	from, refusal := s.versionOf(query)
	if refusal != nil {
		return refusal()
	}
	now := time.Now()
	b := &stream{
		choice: which, server: s, ctx: ctx, seen: from,
		bookmarks: query.Get("allowWatchBookmarks") == "true", marked: now, end: now.Add(lasting(query)),
		news: make(chan struct{}, 1), closed: make(chan struct{}),
	}
	initial := query.Get("sendInitialEvents") == "true"
	if initial || from == 0 {
		for _, o := range s.chosen(which) {
			b.rest = append(b.rest, event("ADDED", o.text)...)
		}
		b.seen = s.version
	}
	b.told = b.seen
	if initial && b.bookmarks {
		b.rest = append(b.rest, b.bookmark(map[string]any{initialEventsEnd: "true"})...)
	}
	s.watchers[b] = true
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: b,
	}, nil
}

// lasting is for how long a watch is served.
func lasting(query url.Values) time.Duration {
	seconds, err := strconv.Atoi(query.Get("timeoutSeconds"))
	if err != nil || seconds <= 0 {
		return watchLasts
	}
	return time.Duration(seconds) * time.Second
}

func event(kind string, object []byte) []byte {
	out := make([]byte, 0, len(object)+40)
	out = append(out, `{"type":"`...)
	out = append(out, kind...)
	out = append(out, `","object":`...)
	out = append(out, object...)
	return append(out, "}\n"...)
}

// bookmark tells how far the watch has come.
func (b *stream) bookmark(annotations map[string]any) []byte {
	metadata := map[string]any{"resourceVersion": strconv.FormatInt(b.seen, 10)}
	if annotations != nil {
		metadata["annotations"] = annotations
	}
	text, err := json.Marshal(map[string]any{"kind": b.kind.name, "apiVersion": b.kind.version, "metadata": metadata})
	if err != nil {
		panic(err) // only strings are in it
	}
	return event("BOOKMARK", text)
}

func (b *stream) Read(p []byte) (int, error) {
	for len(b.rest) == 0 {
		wait := b.fill()
		if len(b.rest) > 0 {
			break
		}
		if b.ended {
			return 0, io.EOF
		}
		timer := time.NewTimer(wait)
		select {
		case <-b.news:
		case <-timer.C:
		case <-b.ctx.Done():
			timer.Stop()
			return 0, b.ctx.Err()
		case <-b.closed:
			timer.Stop()
			return 0, io.EOF
		}
		timer.Stop()
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// fill takes what there is to tell, and says for how long there may be nothing.
func (b *stream) fill() time.Duration {
	b.server.mu.Lock()
	defer b.server.mu.Unlock()
	now := time.Now()
	if b.ended || !now.Before(b.end) {
		b.ended = true
		return 0
	}
	if b.server.held[b.kind] {
		return b.end.Sub(now)
	}
	b.take()
	if !b.bookmarks {
		return b.end.Sub(now)
	}
	due := b.marked.Add(bookmarkEvery)
	if last := b.end.Add(-bookmarkBefore); b.marked.Before(last) && last.Before(due) {
		due = last
	}
	if !now.Before(due) {
		b.marked = now
		if b.seen > b.told { // otherwise it would say nothing new
			b.told = b.seen
			b.rest = append(b.rest, b.bookmark(nil)...)
		}
		due = b.marked
	}
	if b.end.Before(due) {
		due = b.end
	}
	return max(due.Sub(now), 0)
}

// take puts the changes that were not told yet into rest.
func (b *stream) take() {
	h := b.server.past[b.kind]
	if h == nil {
		b.seen = b.server.version
		return
	}
	if b.seen < h.forgotten {
		text, err := json.Marshal(expired(b.seen, h.forgotten))
		if err != nil {
			panic(err) // it has strings and numbers
		}
		b.rest, b.ended = append(b.rest, event("ERROR", text)...), true
		return
	}
	first, _ := slices.BinarySearchFunc(h.changes, b.seen+1, func(c change, v int64) int { return int(c.version - v) })
	for _, c := range h.changes[first:] {
		was, is := b.wants(c.before), !c.deleted && b.wants(c.now)
		switch {
		case is && was:
			b.rest = append(b.rest, event("MODIFIED", c.now.text)...)
		case is:
			b.rest = append(b.rest, event("ADDED", c.now.text)...)
		case was && c.deleted:
			b.rest = append(b.rest, event("DELETED", c.now.text)...)
		case was: // it is there, and no longer what was asked for
			b.rest = append(b.rest, event("DELETED", c.before.at(c.version).text)...)
		}
	}
	b.seen = b.server.version
}

func (b *stream) Close() error {
	b.once.Do(func() {
		close(b.closed)
		b.server.mu.Lock()
		defer b.server.mu.Unlock()
		delete(b.server.watchers, b)
	})
	return nil
}

// wake has the watches of a kind look whether there is something to tell.
func (s *Server) wake(k *kind) {
	for b := range s.watchers {
		if b.kind == k {
			select {
			case b.news <- struct{}{}:
			default: // it will look anyway
			}
		}
	}
}

// Hold makes the watches of a resource stand still, or lets them tell what waited.
func (s *Server) Hold(resource string, still bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range kinds {
		if k := &kinds[i]; k.resource == resource {
			s.held[k] = still
			s.wake(k)
		}
	}
}
