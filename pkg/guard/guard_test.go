package guard_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"serin.dev/serin/pkg/guard"
	"serin.dev/serin/pkg/topology"
)

const serin = "system:serviceaccount:serin-system:serin"

// example is one case of testdata/cases.yaml.
type example struct {
	Name, By string
	Old, New sketch
	Held     bool
}

// sketch is a Deployment as the cases write it.
type sketch struct {
	Annotations, Foreign map[string]string
	Template, Mark       string
	Paused               bool
	Replicas             int
}

func examples(t *testing.T) []example {
	t.Helper()
	text, err := os.ReadFile("testdata/cases.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var all []example
	if err := yaml.UnmarshalStrict(text, &all); err != nil || len(all) == 0 {
		t.Fatalf("%d cases, %v", len(all), err)
	}
	return all
}

type tree = map[string]any

// object is the Deployment as the API server sends it.
func (s sketch) object() tree {
	annotations := tree{}
	for key, value := range s.Annotations {
		annotations["serin.dev/"+key] = value
	}
	for key, value := range s.Foreign {
		annotations[key] = value
	}
	if s.Mark != "" {
		annotations[topology.HeldKey] = map[string]string{"held": topology.HeldValue, "promoting": topology.PromotingValue}[s.Mark]
	}
	metadata, spec := tree{"name": "web"}, tree{"template": tree{"metadata": tree{"labels": tree{"app": "web"}}, "rev": s.Template}, "replicas": s.Replicas}
	if len(annotations) > 0 {
		metadata["annotations"] = annotations
	}
	if s.Paused {
		spec["paused"] = true
	}
	return tree{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}
}

// asked is the review of an update.
func (e example) asked() tree {
	by := "jane"
	if e.By == "serin" {
		by = serin
	}
	return tree{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": tree{
		"uid": "705ab4f5", "operation": "UPDATE", "resource": tree{"group": "apps", "version": "v1", "resource": "deployments"},
		"userInfo": tree{"username": by}, "object": e.New.object(), "oldObject": e.Old.object(),
	}}
}

// answered is the part of a review that is answered.
type answered struct {
	APIVersion, Kind string
	Response         struct {
		UID, PatchType string
		Allowed        bool
		Patch          []byte
	}
}

// ask has the review answered through HTTP, as the API server does.
func ask(t *testing.T, review any) answered {
	t.Helper()
	text, err := json.Marshal(review)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/guard?timeout=2s", strings.NewReader(string(text)))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	guard.Handler(serin).ServeHTTP(w, r)
	var a answered
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != http.StatusOK {
		t.Fatalf("answered %d %s: %v", w.Code, w.Body, err)
	}
	if a.APIVersion != "admission.k8s.io/v1" || a.Kind != "AdmissionReview" || a.Response.UID != "705ab4f5" || !a.Response.Allowed {
		t.Errorf("got %+v", a)
	}
	return a
}

// patched is what the API server makes of the object by the patch: members that
// are added, as RFC 6902 says.
func patched(t *testing.T, object tree, patch []byte) tree {
	t.Helper()
	var operations []guard.Operation
	if err := json.Unmarshal(patch, &operations); err != nil {
		t.Fatal(err)
	}
	for _, o := range operations {
		parts := strings.Split(strings.TrimPrefix(o.Path, "/"), "/")
		at := object
		for _, part := range parts[:len(parts)-1] {
			next, there := at[part].(tree)
			if !there {
				t.Fatalf("%s: there is no %s", o.Path, part)
			}
			at = next
		}
		if o.Op != "add" {
			t.Fatalf("operation %q", o.Op)
		}
		at[strings.ReplaceAll(parts[len(parts)-1], "~1", "/")] = o.Value
	}
	return object
}

func TestWhatIsHeld(t *testing.T) {
	for _, e := range examples(t) {
		t.Run(e.Name, func(t *testing.T) {
			a := ask(t, e.asked())
			want := e.New
			if e.Held {
				want.Paused, want.Mark = true, "held"
			} else if a.Response.Patch != nil || a.Response.PatchType != "" {
				t.Fatalf("got %s %s", a.Response.PatchType, a.Response.Patch)
			}
			got := e.New.object()
			if e.Held {
				got = patched(t, got, a.Response.Patch)
			}
			if !reflect.DeepEqual(got, want.object()) {
				t.Errorf("got  %v\nwant %v", got, want.object())
			}
		})
	}
}

// Asked again about its own answer, as the API server may, the guard changes nothing more.
func TestTheAnswerIsTheSameTheSecondTime(t *testing.T) {
	for _, e := range examples(t) {
		if !e.Held {
			continue
		}
		first := patched(t, e.New.object(), ask(t, e.asked()).Response.Patch)
		again := e.asked()
		again["request"].(tree)["object"] = first
		want := e.New
		want.Paused, want.Mark = true, "held"
		if patch := ask(t, again).Response.Patch; patch != nil {
			first = patched(t, first, patch)
		}
		if !reflect.DeepEqual(first, want.object()) {
			t.Errorf("%s: got %v", e.Name, first)
		}
	}
}

func TestWhatIsNoneOfItsBusiness(t *testing.T) {
	held := example{Old: sketch{Annotations: map[string]string{"canary": "true"}, Template: "a"}, New: sketch{Annotations: map[string]string{"canary": "true"}, Template: "b"}}
	for name, change := range map[string]func(request tree){
		"a Deployment that is made":    func(r tree) { r["operation"], r["oldObject"] = "CREATE", nil },
		"a Deployment that is deleted": func(r tree) { r["operation"], r["object"] = "DELETE", nil },
		"a scale":                      func(r tree) { r["subResource"] = "scale" },
		"another kind":                 func(r tree) { r["resource"] = tree{"group": "apps", "version": "v1", "resource": "statefulsets"} },
		"another group":                func(r tree) { r["resource"] = tree{"group": "example.com", "version": "v1", "resource": "deployments"} },
	} {
		t.Run(name, func(t *testing.T) {
			review := held.asked()
			if a := ask(t, review); a.Response.Patch == nil {
				t.Fatal("the case itself is not held")
			}
			change(review["request"].(tree))
			if a := ask(t, review); a.Response.Patch != nil {
				t.Errorf("got %s", a.Response.Patch)
			}
		})
	}
}

func TestNumbersKeepTheirDigits(t *testing.T) {
	var c guard.Change
	c.Old.Metadata.Annotations = map[string]string{"serin.dev/canary": "true"}
	c.New.Metadata.Annotations = c.Old.Metadata.Annotations
	c.Old.Spec.Template = json.RawMessage(`{"a": 9007199254740993, "b": 1}`)
	c.New.Spec.Template = json.RawMessage(`{"b":1,"a":9007199254740993}`)
	if patch, err := guard.Hold(c, serin); patch != nil || err != nil {
		t.Errorf("another order is held: %v, %v", patch, err)
	}
	c.New.Spec.Template = json.RawMessage(`{"b":1,"a":9007199254740992}`)
	if patch, err := guard.Hold(c, serin); patch == nil || err != nil {
		t.Errorf("another number passes: %v", err)
	}
}

func TestWhatIsNoReviewIsRefused(t *testing.T) {
	const json = "application/json"
	for name, c := range map[string]struct {
		method, kind, body string
		code               int
	}{
		"a GET":                        {http.MethodGet, json, "", http.StatusMethodNotAllowed},
		"no JSON by its name":          {http.MethodPost, "text/plain", "{}", http.StatusUnsupportedMediaType},
		"no JSON":                      {http.MethodPost, json, "{", http.StatusBadRequest},
		"nothing":                      {http.MethodPost, json, "", http.StatusBadRequest},
		"another kind":                 {http.MethodPost, json, `{"apiVersion":"v1","kind":"Pod"}`, http.StatusBadRequest},
		"a review of an older version": {http.MethodPost, json, `{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","request":{"uid":"1"}}`, http.StatusBadRequest},
		"a review without a request":   {http.MethodPost, json, `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}`, http.StatusBadRequest},
		"annotations of another type":  {http.MethodPost, json, `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"1","object":{"metadata":{"annotations":[]}}}}`, http.StatusBadRequest},
		"more than any Deployment has": {http.MethodPost, json, `"` + strings.Repeat("x", guard.MaxBytes) + `"`, http.StatusRequestEntityTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(c.method, "/guard", strings.NewReader(c.body))
			r.Header.Set("Content-Type", c.kind)
			w := httptest.NewRecorder()
			guard.Handler(serin).ServeHTTP(w, r)
			if w.Code != c.code {
				t.Errorf("answered %d %s, want %d", w.Code, w.Body, c.code)
			}
		})
	}
}

func FuzzAnswer(f *testing.F) {
	text, err := os.ReadFile("testdata/cases.yaml")
	if err != nil {
		f.Fatal(err)
	}
	var all []example
	if err := yaml.Unmarshal(text, &all); err != nil {
		f.Fatal(err)
	}
	for _, e := range all {
		seed, err := json.Marshal(e.asked())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(seed)
	}
	f.Add([]byte(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"1","operation":"UPDATE","resource":{"group":"apps","resource":"deployments"},"object":{},"oldObject":{"spec":{"template":null}}}}`))
	f.Fuzz(func(t *testing.T, review []byte) {
		answer, err := guard.Answer(review, serin)
		if err != nil {
			return
		}
		var a answered
		if err := json.Unmarshal(answer, &a); err != nil || !a.Response.Allowed || a.Response.UID == "" {
			t.Fatalf("answered %s: %v", answer, err)
		}
		var patch []guard.Operation
		if a.Response.Patch != nil {
			if err := json.Unmarshal(a.Response.Patch, &patch); err != nil || len(patch) < 2 {
				t.Errorf("patch %s: %v", a.Response.Patch, err)
			}
		}
	})
}
