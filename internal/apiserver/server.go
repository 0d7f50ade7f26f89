// Package apiserver is an API server in memory, for simulations in virtual time: an
// http.RoundTripper that a client-go client works with as with the real one, and
// what Kubernetes does with Deployments. What it does as the real one does is
// checked by one suite for both (apiserver/contract).
package apiserver

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
)

// Server is an API server in memory, as a RoundTripper: lists, watches (with
// their initial events), and writes that are refused when they are made over
// an older version. It knows no schema: objects are JSON trees.
type Server struct {
	mu       sync.Mutex
	version  int64
	objects  map[string]*object // by path
	past     map[*kind]*history
	watchers map[*stream]bool
	held     map[*kind]bool // kinds whose watches stand still

	writes      []string     // method and path of every write that was accepted
	deployments *Deployments // nil: Deployments stay as they are put
	concerning  int64        // how often something changed that concerns them

	// Fault, if set, sees each request before it is served; an error it
	// returns is the client's answer, and the request is not served.
	Fault func(*http.Request) error
	// Seen, if set, is shown every version of every object as it is stored, before
	// anybody else sees it. It must change none, nor ask the server for anything.
	Seen func(Change)
	// Deny, if set, is asked about every object that a request would store, as a
	// policy of admission is; a message it returns refuses the request.
	Deny func(object map[string]any) (message string)

	by *http.Request // the write under way; nil: a hand or a controller of Kubernetes
}

// Change is one version of an object.
type Change struct {
	Kind, Namespace, Name string
	Version               int64
	Object                map[string]any // the server's own; nil: it was removed
	By                    *http.Request  // who wrote it; nil: nobody through the API
}

// New is a server without objects.
func New() *Server {
	return &Server{
		version: 100, objects: map[string]*object{}, past: map[*kind]*history{},
		watchers: map[*stream]bool{}, held: map[*kind]bool{},
	}
}

// RoundTrip serves a request. It is one of Serin's, to which the guard does nothing.
func (s *Server) RoundTrip(r *http.Request) (*http.Response, error) { return s.serve(r, false) }

// People is the way to the server of everybody but Serin.
func (s *Server) People() http.RoundTripper { return people{s} }

type people struct{ server *Server }

func (p people) RoundTrip(r *http.Request) (*http.Response, error) { return p.server.serve(r, true) }

func (s *Server) serve(r *http.Request, byOthers bool) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if s.Fault != nil {
		if err := s.Fault(r); err != nil {
			return nil, err
		}
	}
	t := parseTarget(r.URL.Path)
	query := r.URL.Query()
	switch {
	case t.kind == nil || t.subresource != "":
		return Refuse(404, "NotFound", "the server could not find the requested resource")
	case r.Method != http.MethodGet:
		return s.change(r, t, byOthers)
	case t.name != "":
		return s.get(t)
	case query.Get("watch") != "":
		return s.watch(r.Context(), t, query)
	}
	return s.list(t, query)
}

// Answer is a response with a body of JSON.
func Answer(code int, body any) (*http.Response, error) {
	text, err := json.Marshal(body)
	return plain(code, text), err
}

func plain(code int, text []byte) *http.Response {
	return &http.Response{
		Status: http.StatusText(code), StatusCode: code, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(bytes.NewReader(text)), ContentLength: int64(len(text)),
	}
}

// Refuse is a Status that tells why a request is not served.
func Refuse(code int, reason, format string, args ...any) (*http.Response, error) {
	return Answer(code, status(code, reason, fmt.Sprintf(format, args...), map[string]any{}))
}

func status(code int, reason, message string, details map[string]any) map[string]any {
	return map[string]any{
		"kind": "Status", "apiVersion": "v1", "metadata": map[string]any{}, "status": "Failure",
		"code": code, "reason": reason, "message": message, "details": details,
	}
}

// refuse is a Status about one object.
func (t target) refuse(code int, reason, format string, args ...any) (*http.Response, error) {
	details := map[string]any{"name": t.name, "kind": t.resource}
	if group := t.group(); group != "" {
		details["group"] = group
	}
	return Answer(code, status(code, reason, fmt.Sprintf(format, args...), details))
}

func (t target) notFound() (*http.Response, error) {
	return t.refuse(404, "NotFound", "%s %q not found", t.resource, t.name)
}

func expired(wanted, oldest int64) map[string]any {
	return status(410, "Expired", fmt.Sprintf("too old resource version: %d (%d)", wanted, oldest), map[string]any{})
}

func (s *Server) get(t target) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.objects[t.path()]
	if !ok {
		return t.notFound()
	}
	return plain(200, o.text), nil
}

// versionOf is the resourceVersion of which a request wants to know what came
// later, 0 for none; or what it is refused with.
func (s *Server) versionOf(query url.Values) (int64, func() (*http.Response, error)) {
	text := query.Get("resourceVersion")
	if text == "" {
		return 0, nil
	}
	version, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, func() (*http.Response, error) {
			return Refuse(400, "BadRequest", "resourceVersion: Invalid value: %q", text)
		}
	}
	if version > s.version {
		return 0, func() (*http.Response, error) {
			return Answer(504, status(504, "Timeout", fmt.Sprintf("Timeout: Too large resource version: %d, current: %d", version, s.version), map[string]any{
				"retryAfterSeconds": 1, "causes": []any{map[string]any{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}},
			}))
		}
	}
	return version, nil
}

// list gives what there is. Whatever version is asked for, it is not older than
// what there is now.
func (s *Server) list(t target, query url.Values) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	which, err := choose(t, query)
	if err != nil {
		return Refuse(400, "BadRequest", "%v", err)
	}
	if _, refusal := s.versionOf(query); refusal != nil {
		return refusal()
	}
	all, metadata := s.chosen(which), map[string]any{"resourceVersion": strconv.FormatInt(s.version, 10)}
	if after, err := base64.RawURLEncoding.DecodeString(query.Get("continue")); err == nil && len(after) > 0 {
		for len(all) > 0 && all[0].path() <= string(after) {
			all = all[1:]
		}
	}
	// A list from version 0 comes whole, whatever its limit.
	if limit, err := strconv.Atoi(query.Get("limit")); err == nil && limit > 0 && limit < len(all) && query.Get("resourceVersion") != "0" {
		metadata["remainingItemCount"] = len(all) - limit
		all = all[:limit]
		metadata["continue"] = base64.RawURLEncoding.EncodeToString([]byte(all[limit-1].path()))
	}
	items := make([]json.RawMessage, 0, len(all))
	for _, o := range all {
		items = append(items, o.text)
	}
	return Answer(200, map[string]any{
		"kind": t.kind.name + "List", "apiVersion": t.kind.version, "metadata": metadata, "items": items,
	})
}
