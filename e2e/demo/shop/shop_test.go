package shop

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func TestTheManifestOfARelease(t *testing.T) {
	s := Shop{Namespace: "shop", Replicas: 2}
	text, err := s.Manifest(Release{
		Slot: Blue, Version: "v3", Env: map[string]string{"ERROR_RATE": "0.05"}, Annotations: map[string]string{"canary": "true"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var o unstructured.Unstructured
	if err := yaml.UnmarshalStrict([]byte(text), &o.Object); err != nil {
		t.Fatal(err)
	}
	if o.GetName() != "web-blue" || o.GetAnnotations()["serin.dev/canary"] != "true" {
		t.Errorf("got %s", text)
	}
	containers, _, err := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
	if err != nil || len(containers[0].(map[string]any)["env"].([]any)) != 2 {
		t.Errorf("want VERSION and ERROR_RATE in the environment (%v):\n%s", err, text)
	}
}

func TestAManifestThatCannotBe(t *testing.T) {
	if _, err := (Shop{Namespace: "shop", Replicas: 1}).Manifest(Release{Slot: "red"}); err == nil {
		t.Error("red is neither blue nor green, and there is no error")
	}
}

func TestTheRoutesAreYAML(t *testing.T) {
	text, err := Shop{Namespace: "shop"}.Routes()
	if err != nil {
		t.Fatal(err)
	}
	documents := strings.Split(text, "\n---\n")
	if len(documents) != 4 {
		t.Errorf("%d documents, want 4", len(documents))
	}
	for _, d := range documents {
		var o map[string]any
		if err := yaml.UnmarshalStrict([]byte(d), &o); err != nil {
			t.Errorf("%v in\n%s", err, d)
		}
	}
}

const split = `
metadata:
  annotations:
    serin.dev/state.web: '{"rollout":"r1","phase":"Progressing","step":2,"canary":{"d":"web-green","s":"green"}}'
spec:
  http:
  - match: [{headers: {x-app-version: {exact: canary}}}]
    route: [{destination: {host: web, subset: green}}]
  - route:
    - {destination: {host: web, subset: blue}, weight: 75}
    - {destination: {host: web, subset: green}, weight: 25}
`

func TestTheStateIsReadFromTheVirtualService(t *testing.T) {
	var o unstructured.Unstructured
	if err := yaml.Unmarshal([]byte(split), &o.Object); err != nil {
		t.Fatal(err)
	}
	// YAML's numbers are float64 here; the API server's are int64.
	routes, _, _ := unstructured.NestedSlice(o.Object, "spec", "http")
	for i, weight := range []int64{75, 25} {
		routes[1].(map[string]any)["route"].([]any)[i].(map[string]any)["weight"] = weight
	}
	if err := unstructured.SetNestedSlice(o.Object, routes, "spec", "http"); err != nil {
		t.Fatal(err)
	}
	s := readState(&o)
	if s.Rollout != "r1" || s.Phase != "Progressing" || s.Canary.Subset != "green" {
		t.Errorf("got %+v", s)
	}
	if s.Shares["blue"] != 75 || s.Shares["green"] != 25 || s.HeaderTo != "green" {
		t.Errorf("shares %v, header to %q", s.Shares, s.HeaderTo)
	}
}

func TestOnlyTheControllersEventsAreDecisions(t *testing.T) {
	event := map[string]any{
		"reportingController": "serin.dev/controller", "eventTime": "2026-01-02T03:04:05.678901Z",
		"reason": "StepPassed", "note": "Step 2 of 3", "type": "Warning",
	}
	d, ok := readDecision(&unstructured.Unstructured{Object: event})
	want := Decision{At: time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC), Reason: "StepPassed", Sentence: "Step 2 of 3", Warning: true}
	if !ok || d != want {
		t.Errorf("got %+v, want %+v", d, want)
	}
	event["reportingController"] = "deployment-controller"
	if _, ok := readDecision(&unstructured.Unstructured{Object: event}); ok {
		t.Error("another controller's Event is taken for a decision")
	}
}
