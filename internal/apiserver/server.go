// Package apiserver is an API server in memory, for simulations in virtual time: an
// http.RoundTripper that a client-go client works with as with the real one, and
// what Kubernetes does with Deployments. What it does as the real one does is
// checked by one suite for both (apiserver/contract).
package apiserver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Server is an API server in memory, as a RoundTripper: lists, watches (with
// their initial events), and writes that are refused when they are made over
// an older version. It knows no schema: objects are JSON trees.
type Server struct {
	mu       sync.Mutex
	version  int64
	objects  map[string]map[string]any // by path
	kinds    map[string]string         // resource to kind
	watchers map[*watcher]bool

	held map[string][]func() // resources whose watches stand still, and what waits

	writes      []string     // method and path of every write that was accepted
	deployments *Deployments // nil: Deployments stay as they are put

	// Fault, if set, sees each request before it is served; an error it
	// returns is the client's answer, and the request is not served.
	Fault func(*http.Request) error
	// Seen, if set, is shown every version of every object as it is stored, before
	// anybody else sees it. It must change none, nor ask the server for anything.
	Seen func(Change)
	by   *http.Request // the write under way; nil: a hand or a controller of Kubernetes
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

// RoundTrip serves a request.
func (s *Server) RoundTrip(r *http.Request) (*http.Response, error) {
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
	case r.Method == http.MethodGet && t.name != "":
		return s.get(t)
	case r.Method == http.MethodGet && query.Get("watch") != "":
		return s.watch(r.Context(), t, query)
	case r.Method == http.MethodGet:
		return s.list(t, query)
	}
	return s.change(r, t)
}

// Answer is a response with a body of JSON.
func Answer(code int, body any) (*http.Response, error) {
	text, err := json.Marshal(body)
	return &http.Response{
		StatusCode: code, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(bytes.NewReader(text)),
	}, err
}

// Refuse is a Status that tells why a request is not served.
func Refuse(code int, reason, format string, args ...any) (*http.Response, error) {
	return Answer(code, map[string]any{
		"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
		"reason": reason, "message": fmt.Sprintf(format, args...),
	})
}

func (s *Server) get(t target) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.objects[t.path()]
	if !ok {
		return Refuse(404, "NotFound", "%s not found", t.path())
	}
	return Answer(200, o)
}

func (s *Server) list(t target, query url.Values) (*http.Response, error) {
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
	return Answer(200, map[string]any{
		"kind": s.kinds[t.resource] + "List", "apiVersion": group,
		"metadata": map[string]any{"resourceVersion": strconv.FormatInt(s.version, 10)}, "items": items,
	})
}

func (s *Server) change(r *http.Request, t target) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.by = r
	defer func() { s.by = nil }()
	body := []byte("{}")
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	jsonPatch := r.Header.Get("Content-Type") == "application/json-patch+json"
	o := map[string]any{}
	if err := json.Unmarshal(body, &o); err != nil && !jsonPatch && len(body) > 0 {
		return Refuse(400, "BadRequest", "%v", err)
	}
	if t.name == "" {
		t.name, _ = Meta(o)["name"].(string)
	}
	held, exists := s.objects[t.path()]
	switch {
	case r.Method == http.MethodPost && exists:
		return Refuse(409, "AlreadyExists", "%s already exists", t.path())
	case r.Method != http.MethodPost && !exists:
		return Refuse(404, "NotFound", "%s not found", t.path())
	case r.Method == http.MethodPut && Meta(o)["resourceVersion"] != Meta(held)["resourceVersion"]:
		return Refuse(409, "Conflict", "the object has been modified")
	case r.Method == http.MethodDelete:
		if wanted, _, _ := unstructured.NestedString(o, "preconditions", "resourceVersion"); wanted != "" && wanted != Meta(held)["resourceVersion"] {
			return Refuse(409, "Conflict", "the resourceVersion in the precondition does not match")
		}
		s.remove(t)
		s.writes = append(s.writes, "DELETE "+r.URL.Path)
		return Answer(200, map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Success"})
	case jsonPatch:
		var err error
		if o, err = patched(held, body); err != nil {
			return Refuse(422, "Invalid", "%v", err)
		}
	case r.Method == http.MethodPatch:
		o = merged(held, o)
	}
	s.admit(t, held, o, false)
	s.writes = append(s.writes, r.Method+" "+r.URL.Path)
	return Answer(200, s.store(t, o))
}

// store gives the object its next version and tells the watchers.
func (s *Server) store(t target, o map[string]any) map[string]any {
	s.version++
	m := Meta(o)
	held, exists := s.objects[t.path()]
	kind := "ADDED"
	if exists {
		kind = "MODIFIED"
		m["uid"], m["creationTimestamp"] = Meta(held)["uid"], Meta(held)["creationTimestamp"]
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
	s.show(t, o)
	s.publish(kind, t, o)
	return o
}

// show tells who looks at every version of one more; nil is a removal.
func (s *Server) show(t target, o map[string]any) {
	if s.Seen != nil {
		s.Seen(Change{Kind: s.kinds[t.resource], Namespace: t.namespace, Name: t.name, Version: s.version, Object: o, By: s.by})
	}
}

func (s *Server) remove(t target) {
	o, ok := s.objects[t.path()]
	if !ok {
		return
	}
	s.version++
	o = Clone(o)
	Meta(o)["resourceVersion"] = strconv.FormatInt(s.version, 10)
	delete(s.objects, t.path())
	s.show(t, nil)
	s.publish("DELETED", t, o)
}

// APIVersions are those of the kinds it knows.
var APIVersions = map[string]string{
	"Deployment": "apps/v1", "ReplicaSet": "apps/v1", "ControllerRevision": "apps/v1",
	"Pod": "v1", "Service": "v1", "Namespace": "v1", "Event": "events.k8s.io/v1", "Lease": "coordination.k8s.io/v1",
	"VirtualService": "networking.istio.io/v1", "DestinationRule": "networking.istio.io/v1",
	"HorizontalPodAutoscaler": "autoscaling/v2", "PodDisruptionBudget": "policy/v1", "ResourceQuota": "v1",
	"MutatingAdmissionPolicy": "admissionregistration.k8s.io/v1", "MutatingAdmissionPolicyBinding": "admissionregistration.k8s.io/v1",
}

func (s *Server) targetOf(o map[string]any) target {
	group := o["apiVersion"].(string)
	base := "/apis/" + group
	if group == "v1" {
		base = "/api/v1"
	}
	m := Meta(o)
	ns, _ := m["namespace"].(string)
	t := target{base: base, namespace: ns, name: m["name"].(string)}
	for resource, kind := range s.kinds {
		if kind == o["kind"] {
			t.resource = resource
		}
	}
	return t
}
