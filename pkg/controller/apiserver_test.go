package controller

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
)

// apiServer is an API server in memory, as a RoundTripper: lists, watches (with
// their initial events), and writes that are refused when they are made over
// an older version. It knows no schema: objects are JSON trees.
type apiServer struct {
	mu       sync.Mutex
	version  int64
	objects  map[string]map[string]any // by path
	kinds    map[string]string         // resource to kind
	watchers map[*watcher]bool

	held map[string][]func() // resources whose watches stand still, and what waits

	writes      []string              // method and path of every write that was accepted
	deployments *deploymentController // nil: Deployments stay as they are put

	// fault, if set, sees each request before it is served; an error it
	// returns is the client's answer, and the request is not served.
	fault func(*http.Request) error
}

type watcher struct {
	collection string // path prefix without namespace
	namespace  string
	selector   labels.Selector
	name       string
	events     chan []byte
}

func newAPIServer() *apiServer {
	return &apiServer{
		version: 100,
		objects: map[string]map[string]any{},
		kinds: map[string]string{
			"deployments": "Deployment", "replicasets": "ReplicaSet", "controllerrevisions": "ControllerRevision",
			"pods": "Pod", "services": "Service", "namespaces": "Namespace", "events": "Event", "leases": "Lease",
			"virtualservices": "VirtualService", "destinationrules": "DestinationRule",
			"horizontalpodautoscalers": "HorizontalPodAutoscaler", "poddisruptionbudgets": "PodDisruptionBudget", "resourcequotas": "ResourceQuota",
			"mutatingadmissionpolicies": "MutatingAdmissionPolicy", "mutatingadmissionpolicybindings": "MutatingAdmissionPolicyBinding",
		},
		watchers: map[*watcher]bool{},
		held:     map[string][]func(){},
	}
}

// target is what a request's path names.
type target struct {
	base, resource, namespace, name string // base is like /apis/apps/v1
}

func parseTarget(path string) target {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	n := 2 // api/v1
	if parts[0] == "apis" {
		n = 3
	}
	t := target{base: "/" + strings.Join(parts[:n], "/")}
	rest := parts[n:]
	if rest[0] == "namespaces" && len(rest) > 2 {
		t.namespace, rest = rest[1], rest[2:]
	}
	t.resource = rest[0]
	if len(rest) > 1 {
		t.name = rest[1]
	}
	return t
}

func (t target) collection() string { return t.base + "/" + t.resource }

func (t target) path() string { return t.collection() + "/" + t.namespace + "/" + t.name }

func (s *apiServer) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if s.fault != nil {
		if err := s.fault(r); err != nil {
			return nil, err
		}
	}
	t := parseTarget(r.URL.Path)
	query := r.URL.Query()
	switch {
	case r.Method == http.MethodGet && t.name != "":
		return s.get(t)
	case r.Method == http.MethodGet && query.Get("watch") != "":
		return s.watch(r.Context(), t, query)
	case r.Method == http.MethodGet:
		return s.list(t, query)
	}
	return s.change(r, t)
}

func answer(code int, body any) (*http.Response, error) {
	text, err := json.Marshal(body)
	return &http.Response{
		StatusCode: code, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(bytes.NewReader(text)),
	}, err
}

func refuse(code int, reason, format string, args ...any) (*http.Response, error) {
	return answer(code, map[string]any{
		"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
		"reason": reason, "message": fmt.Sprintf(format, args...),
	})
}

func (s *apiServer) get(t target) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.objects[t.path()]
	if !ok {
		return refuse(404, "NotFound", "%s not found", t.path())
	}
	return answer(200, o)
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
	m := meta(o)
	return strings.HasPrefix(path, w.collection+"/") &&
		(w.namespace == "" || m["namespace"] == w.namespace) &&
		(w.name == "" || m["name"] == w.name) &&
		w.selector.Matches(labels.Set(stringMap(m["labels"])))
}

func (s *apiServer) list(t target, query url.Values) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := newWatcher(t, query)
	items := []any{}
	for _, path := range slices.Sorted(maps.Keys(s.objects)) {
		if o := s.objects[path]; w.wants(path, o) {
			items = append(items, o)
		}
	}
	group := strings.TrimPrefix(strings.TrimPrefix(t.base, "/apis/"), "/api/")
	return answer(200, map[string]any{
		"kind": s.kinds[t.resource] + "List", "apiVersion": group,
		"metadata": map[string]any{"resourceVersion": strconv.FormatInt(s.version, 10)}, "items": items,
	})
}

// watch streams from now on. The clients here always ask for the initial
// events, or have listed a moment ago under the same lock-step.
func (s *apiServer) watch(ctx context.Context, t target, query url.Values) (*http.Response, error) {
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
	server  *apiServer
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

func (s *apiServer) change(r *http.Request, t target) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body := []byte("{}")
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	jsonPatch := r.Header.Get("Content-Type") == "application/json-patch+json"
	o := map[string]any{}
	if err := json.Unmarshal(body, &o); err != nil && !jsonPatch && len(body) > 0 {
		return refuse(400, "BadRequest", "%v", err)
	}
	if t.name == "" {
		t.name, _ = meta(o)["name"].(string)
	}
	held, exists := s.objects[t.path()]
	switch {
	case r.Method == http.MethodPost && exists:
		return refuse(409, "AlreadyExists", "%s already exists", t.path())
	case r.Method != http.MethodPost && !exists:
		return refuse(404, "NotFound", "%s not found", t.path())
	case r.Method == http.MethodPut && meta(o)["resourceVersion"] != meta(held)["resourceVersion"]:
		return refuse(409, "Conflict", "the object has been modified")
	case r.Method == http.MethodDelete:
		if wanted, _, _ := unstructured.NestedString(o, "preconditions", "resourceVersion"); wanted != "" && wanted != meta(held)["resourceVersion"] {
			return refuse(409, "Conflict", "the resourceVersion in the precondition does not match")
		}
		s.remove(t)
		s.writes = append(s.writes, "DELETE "+r.URL.Path)
		return answer(200, map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Success"})
	case jsonPatch:
		var err error
		if o, err = patched(held, body); err != nil {
			return refuse(422, "Invalid", "%v", err)
		}
	case r.Method == http.MethodPatch:
		o = merged(held, o)
	}
	s.admit(t, held, o, false)
	s.writes = append(s.writes, r.Method+" "+r.URL.Path)
	return answer(200, s.store(t, o))
}

// patched is an object after a JSON patch (RFC 6902), of which it knows what is
// used: test, add, replace and remove, of members of objects.
func patched(o map[string]any, patch []byte) (map[string]any, error) {
	var steps []struct {
		Op, Path string
		Value    any
	}
	if err := json.Unmarshal(patch, &steps); err != nil {
		return nil, err
	}
	out := clone(o)
	for _, step := range steps {
		parts := strings.Split(strings.TrimPrefix(step.Path, "/"), "/")
		at := out
		for i, part := range parts {
			parts[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
		}
		for _, part := range parts[:len(parts)-1] {
			inner, ok := at[part].(map[string]any)
			if !ok {
				return nil, fmt.Errorf("the path %s does not exist", step.Path)
			}
			at = inner
		}
		last := parts[len(parts)-1]
		_, there := at[last]
		switch {
		case step.Op == "test" && !reflect.DeepEqual(at[last], step.Value):
			return nil, fmt.Errorf("testing value %s failed: test failed", step.Path)
		case step.Op == "test":
		case step.Op != "add" && !there:
			return nil, fmt.Errorf("the path %s does not exist", step.Path)
		case step.Op == "remove":
			delete(at, last)
		default:
			at[last] = step.Value
		}
	}
	return out, nil
}

// merged is an object after a JSON merge patch (RFC 7396).
func merged(o, patch map[string]any) map[string]any {
	out := clone(o)
	for key, value := range patch {
		inner, isMap := value.(map[string]any)
		held, _ := out[key].(map[string]any)
		switch {
		case value == nil:
			delete(out, key)
		case isMap:
			out[key] = merged(held, inner)
		default:
			out[key] = value
		}
	}
	return out
}

// store gives the object its next version and tells the watchers.
func (s *apiServer) store(t target, o map[string]any) map[string]any {
	s.version++
	m := meta(o)
	held, exists := s.objects[t.path()]
	kind := "ADDED"
	if exists {
		kind = "MODIFIED"
		m["uid"], m["creationTimestamp"] = meta(held)["uid"], meta(held)["creationTimestamp"]
	}
	m["namespace"], m["name"] = t.namespace, t.name
	if t.namespace == "" {
		delete(m, "namespace")
	}
	if m["uid"] == nil {
		m["uid"] = fmt.Sprintf("uid-%d", s.version)
	}
	if m["creationTimestamp"] == nil {
		m["creationTimestamp"] = time.Now().UTC().Format(time.RFC3339)
	}
	m["resourceVersion"] = strconv.FormatInt(s.version, 10)
	s.objects[t.path()] = o
	s.publish(kind, t, o)
	return o
}

func (s *apiServer) remove(t target) {
	o, ok := s.objects[t.path()]
	if !ok {
		return
	}
	s.version++
	o = clone(o)
	meta(o)["resourceVersion"] = strconv.FormatInt(s.version, 10)
	delete(s.objects, t.path())
	s.publish("DELETED", t, o)
}

func (s *apiServer) publish(kind string, t target, o map[string]any) {
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

// hold makes the watches of a resource stand still, or sends what waited.
func (s *apiServer) hold(resource string, still bool) {
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

// put is a user's hand: it stores an object whatever its version is.
func (s *apiServer) put(o map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.targetOf(o)
	o = clone(o)
	s.admit(t, s.objects[t.path()], o, true)
	s.store(t, o)
}

// edit is a user's hand on an object that is there.
func (s *apiServer) edit(kind, ns, name string, f func(map[string]any)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.targetOf(map[string]any{"kind": kind, "apiVersion": apiVersions[kind], "metadata": map[string]any{"namespace": ns, "name": name}})
	o := clone(s.objects[t.path()])
	f(o)
	s.admit(t, s.objects[t.path()], o, true)
	s.store(t, o)
}

// delete is a user's hand, too.
func (s *apiServer) delete(kind, ns, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(s.targetOf(map[string]any{"kind": kind, "apiVersion": apiVersions[kind], "metadata": map[string]any{"namespace": ns, "name": name}}))
}

// read gives a copy of an object; nil if there is none.
func (s *apiServer) read(kind, ns, name string) map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.targetOf(map[string]any{"kind": kind, "apiVersion": apiVersions[kind], "metadata": map[string]any{"namespace": ns, "name": name}})
	o, ok := s.objects[t.path()]
	if !ok {
		return nil
	}
	return clone(o)
}

// all gives copies of all objects of a kind, in the order of their names.
func (s *apiServer) all(kind string) []map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []map[string]any
	for _, path := range slices.Sorted(maps.Keys(s.objects)) {
		if o := s.objects[path]; o["kind"] == kind {
			out = append(out, clone(o))
		}
	}
	return out
}

var apiVersions = map[string]string{
	"Deployment": "apps/v1", "ReplicaSet": "apps/v1", "ControllerRevision": "apps/v1",
	"Pod": "v1", "Service": "v1", "Namespace": "v1", "Event": "events.k8s.io/v1", "Lease": "coordination.k8s.io/v1",
	"VirtualService": "networking.istio.io/v1", "DestinationRule": "networking.istio.io/v1",
	"HorizontalPodAutoscaler": "autoscaling/v2", "PodDisruptionBudget": "policy/v1", "ResourceQuota": "v1",
	"MutatingAdmissionPolicy": "admissionregistration.k8s.io/v1", "MutatingAdmissionPolicyBinding": "admissionregistration.k8s.io/v1",
}

func (s *apiServer) targetOf(o map[string]any) target {
	group := o["apiVersion"].(string)
	base := "/apis/" + group
	if group == "v1" {
		base = "/api/v1"
	}
	m := meta(o)
	ns, _ := m["namespace"].(string)
	t := target{base: base, namespace: ns, name: m["name"].(string)}
	for resource, kind := range s.kinds {
		if kind == o["kind"] {
			t.resource = resource
		}
	}
	return t
}

func meta(o map[string]any) map[string]any {
	m, ok := o["metadata"].(map[string]any)
	if !ok {
		m = map[string]any{}
		o["metadata"] = m
	}
	return m
}

func stringMap(v any) map[string]string {
	out := map[string]string{}
	m, _ := v.(map[string]any)
	for k, v := range m {
		out[k], _ = v.(string)
	}
	return out
}

func clone(o map[string]any) map[string]any {
	text, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	var out map[string]any
	if err := json.Unmarshal(text, &out); err != nil {
		panic(err)
	}
	return out
}
