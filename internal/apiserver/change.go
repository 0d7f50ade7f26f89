package apiserver

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"reflect"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes/scheme"
)

const (
	jsonPatch  = "application/json-patch+json"
	mergePatch = "application/merge-patch+json"
	protobuf   = "application/vnd.kubernetes.protobuf"

	// maxRequest is the size of the body of a request that is still read.
	maxRequest = 3 << 20
	// maxAnnotations is what all annotations of an object may have together.
	maxAnnotations = 256 << 10
)

// refusal is a request that is not served, for this reason.
type refusal func() (*http.Response, error)

// change serves a request that writes.
func (s *Server) change(r *http.Request, t target, byOthers bool) (*http.Response, error) {
	body, err := read(r)
	if err != nil {
		return nil, err
	}
	if len(body) > maxRequest {
		return Refuse(413, "RequestEntityTooLarge", "Request entity too large: limit is %d", maxRequest)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.by = r
	defer func() { s.by = nil }()
	switch r.Method {
	case http.MethodPost:
		return s.create(r, t, body, byOthers)
	case http.MethodPut, http.MethodPatch:
		return s.update(r, t, body, byOthers)
	case http.MethodDelete:
		return s.delete(r, t, body)
	}
	return Refuse(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
}

func read(r *http.Request) ([]byte, error) {
	if r.Body == nil {
		return nil, nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, fmt.Errorf("read the request: %w", err)
	}
	return body, nil
}

// decode reads an object as the client libraries send it.
func decode(r *http.Request, body []byte) (o map[string]any, err error) {
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if media == protobuf {
		typed, kind, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, nil)
		if err != nil {
			return nil, fmt.Errorf("decode the request's protobuf: %w", err)
		}
		o = Convert[map[string]any](typed)
		o["kind"], o["apiVersion"] = kind.Kind, kind.GroupVersion().String()
		return o, nil
	}
	err = json.Unmarshal(body, &o)
	if err == nil && o == nil {
		err = fmt.Errorf("no object")
	}
	return o, err
}

func (s *Server) create(r *http.Request, t target, body []byte, byOthers bool) (*http.Response, error) {
	o, err := decode(r, body)
	if err != nil {
		return Refuse(400, "BadRequest", "%v", err)
	}
	m := Meta(o)
	t.name, _ = m["name"].(string)
	if version, _ := m["resourceVersion"].(string); version != "" {
		return Answer(500, status(500, "", "resourceVersion should not be set on objects to be created", nil))
	}
	if ns, _ := m["namespace"].(string); ns != "" && ns != t.namespace {
		return Refuse(400, "BadRequest", "the namespace of the provided object does not match the namespace sent on the request")
	}
	if _, exists := s.objects[t.path()]; exists {
		return t.refuse(409, "AlreadyExists", "%s %q already exists", t.resource, t.name)
	}
	// These are the server's to give.
	delete(m, "uid")
	delete(m, "creationTimestamp")
	return s.accept(r, t, nil, o, byOthers, http.StatusCreated)
}

func (s *Server) update(r *http.Request, t target, body []byte, byOthers bool) (*http.Response, error) {
	held, exists := s.objects[t.path()]
	if !exists {
		return t.notFound()
	}
	o, refused := changed(r, held, body)
	if refused != nil {
		return refused()
	}
	m, old := Meta(o), Meta(held.tree)
	version, _ := m["resourceVersion"].(string)
	switch {
	case m["name"] != t.name:
		return Refuse(400, "BadRequest", "the name of the object (%v) does not match the name on the URL (%s)", m["name"], t.name)
	case version == "" && t.guarded:
		return t.refuse(422, "Invalid", "%s %q is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update", t.kind.name, t.name)
	case version != "" && version != old["resourceVersion"]:
		return t.refuse(409, "Conflict", "Operation cannot be fulfilled on %s %q: the object has been modified; please apply your changes to the latest version and try again", t.resource, t.name)
	case m["uid"] != nil && m["uid"] != old["uid"]:
		return t.refuse(409, "Conflict", "Operation cannot be fulfilled on %s %q: Precondition failed: UID in precondition: %v, UID in object meta: %v", t.resource, t.name, m["uid"], old["uid"])
	}
	return s.accept(r, t, held, o, byOthers, http.StatusOK)
}

// changed is the object as a request wants it.
func changed(r *http.Request, held *object, body []byte) (o map[string]any, _ refusal) {
	var err error
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if r.Method == http.MethodPut {
		if o, err = decode(r, body); err != nil {
			return nil, func() (*http.Response, error) { return Refuse(400, "BadRequest", "%v", err) }
		}
		return o, nil
	}
	switch media {
	case jsonPatch:
		if o, err = patched(held, body); err != nil {
			return nil, func() (*http.Response, error) {
				return Refuse(422, "Invalid", "the server rejected our request due to an error in our request: %v", err)
			}
		}
		return o, nil
	case mergePatch:
		if o, err = merged(held, body); err != nil {
			return nil, func() (*http.Response, error) { return Refuse(400, "BadRequest", "%v", err) }
		}
		return o, nil
	}
	return nil, func() (*http.Response, error) {
		return Refuse(415, "UnsupportedMediaType", "the body of the request was in an unknown format - accepted media types include: %s, %s", jsonPatch, mergePatch)
	}
}

// accept admits what a request wants, and stores it unless it is refused.
func (s *Server) accept(r *http.Request, t target, held *object, o map[string]any, byOthers bool, code int) (*http.Response, error) {
	o["kind"], o["apiVersion"] = t.kind.name, t.kind.version
	s.admit(t, held, o, byOthers)
	if refused := valid(t, held, o); refused != nil {
		return refused()
	}
	if s.Deny != nil {
		if message := s.Deny(o); message != "" {
			return t.refuse(422, "Invalid", "%s %q is forbidden: %s", t.resource, t.name, message)
		}
	}
	if t.managed {
		own(held, o, manager(r), t.kind.version)
	}
	now := s.store(t, o)
	s.writes = append(s.writes, r.Method+" "+r.URL.Path)
	return plain(code, now.text), nil
}

// valid refuses what the real server refuses of what is sent here.
func valid(t target, held *object, o map[string]any) refusal {
	invalid := func(format string, args ...any) refusal {
		return func() (*http.Response, error) {
			return t.refuse(422, "Invalid", "%s %q is invalid: %s", t.kind.name, t.name, fmt.Sprintf(format, args...))
		}
	}
	size := 0
	for k, v := range StringMap(Meta(o)["annotations"]) {
		size += len(k) + len(v)
	}
	switch {
	case size > maxAnnotations:
		return invalid("metadata.annotations: Too long: may not be more than %d bytes", maxAnnotations)
	case held != nil && t.kind.name == "ControllerRevision" && !reflect.DeepEqual(o["data"], held.tree["data"]):
		return invalid("data: Invalid value: field is immutable")
	}
	return nil
}

// admit is what the real server does with an object before it stores it: the
// guard's mutation, the status left as it is, the next generation if more than
// metadata changed. held is nil for a new one.
func (s *Server) admit(t target, held *object, o map[string]any, byOthers bool) {
	if t.status {
		delete(o, "status")
	}
	if held != nil && t.status && held.tree["status"] != nil {
		o["status"] = held.tree["status"]
	}
	if byOthers && held != nil && t.kind.name == "Deployment" && s.deployments != nil && s.deployments.Guarded {
		guard(held.tree, o)
	}
	if t.counted {
		t.count(held, o)
	}
}

// count gives an object its generation.
func (t target) count(held *object, o map[string]any) {
	if held == nil {
		Meta(o)["generation"] = 1.0
		return
	}
	generation, _ := Meta(held.tree)["generation"].(float64)
	// A change of a Deployment's annotations counts as well.
	noted := t.kind.name == "Deployment" && !maps.Equal(StringMap(Meta(o)["annotations"]), StringMap(Meta(held.tree)["annotations"]))
	if noted || !reflect.DeepEqual(content(o), content(held.tree)) {
		generation++
	}
	Meta(o)["generation"] = generation
}

// content is an object without its metadata and status.
func content(o map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range o {
		if k != "metadata" && k != "status" {
			out[k] = v
		}
	}
	return out
}

func (s *Server) delete(r *http.Request, t target, body []byte) (*http.Response, error) {
	held, exists := s.objects[t.path()]
	if !exists {
		return t.notFound()
	}
	options := map[string]any{}
	if len(body) > 0 {
		var err error
		if options, err = decode(r, body); err != nil {
			return Refuse(400, "BadRequest", "%v", err)
		}
	}
	for field, of := range map[string]string{"resourceVersion": "ResourceVersion", "uid": "UID"} {
		wanted, _, _ := unstructured.NestedString(options, "preconditions", field)
		if is := Meta(held.tree)[field]; wanted != "" && wanted != is {
			return t.refuse(409, "Conflict", "Operation cannot be fulfilled on %s %q: Precondition failed: %s in precondition: %s, %s in object meta: %v", t.resource, t.name, of, wanted, of, is)
		}
	}
	s.remove(t)
	s.writes = append(s.writes, "DELETE "+r.URL.Path)
	details := map[string]any{"name": t.name, "kind": t.resource, "uid": Meta(held.tree)["uid"]}
	if group := t.group(); group != "" {
		details["group"] = group
	}
	return Answer(200, map[string]any{"kind": "Status", "apiVersion": "v1", "metadata": map[string]any{}, "status": "Success", "details": details})
}
