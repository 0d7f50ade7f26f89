package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// byHand are the chart's files that no manifest makes.
var byHand = []string{
	".helmignore", "Chart.yaml",
	"templates/NOTES.txt", "templates/_helpers.tpl", "templates/configmap.yaml", "templates/dashboards.yaml",
	"templates/opt-out.yaml", "templates/rbac-namespaces.yaml",
}

func TestTheChartIsCurrent(t *testing.T) {
	files, err := chart(os.DirFS(".."))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		if got, err := os.ReadFile(filepath.Join("..", "chart", name)); err != nil || string(got) != want {
			t.Errorf("%s is not current (%v): run go run ./deploy/generate", name, err)
		}
	}
	err = filepath.WalkDir("../chart", func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, _ := strings.CutPrefix(filepath.ToSlash(path), "../chart/")
		if _, made := files[name]; !made && !slices.Contains(byHand, name) {
			t.Errorf("%s is made of nothing: take it away, or say that it was written by hand", name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A manifest that no longer has what is edited must not make a chart that lacks the
// value.
func TestATemplateIsMadeWholeOrNotAtAll(t *testing.T) {
	manifest := "kind: Service\nmetadata:\n  name: serin\n  namespace: serin-system\nspec: {port: 80}\n"
	edited := []edit{{"port: 80", "port: {{ .Values.port }}"}}
	for name, c := range map[string]struct {
		template template
		text     string
		want     string
	}{
		"what is edited has gone":                {template{edits: edited}, "kind: Service\n", "stands in it 0 times"},
		"what is edited stands twice":            {template{edits: edited}, "port: 80\nport: 80\n", "stands in it 2 times"},
		"the namespace is named in a new place":  {template{edits: edited}, manifest + "# in serin-system\n", "the namespace is still named"},
		"a part with a condition has a new name": {template{parts: map[string]string{"Service/serin-old": "true"}}, manifest, "it has not all of"},
	} {
		t.Run(name, func(t *testing.T) {
			if made, err := c.template.of(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("it makes\n%s\nand says %v, want %s", made, err, c.want)
			}
		})
	}
}

func TestATemplate(t *testing.T) {
	const manifest = `# Of both.
kind: Service
metadata:
  name: serin
  namespace: serin-system
  labels:
    app.kubernetes.io/name: serin
spec: {note: "{{ $value }}"}
---
kind: Role
metadata:
  name: serin-leader
`
	got, err := template{from: "base/x.yaml", when: ".Values.x", parts: map[string]string{"Role/serin-leader": ".Values.y"}}.of(manifest)
	const want = `{{- /* Written from deploy/base/x.yaml by: go run ./deploy/generate */}}
{{- if .Values.x }}
# Of both.
kind: Service
metadata:
  name: serin
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "serin.labels" . | nindent 4 }}
  {{- include "serin.annotations" . }}
spec: {note: "{{ "{{" }} $value {{ "}}" }}"}
---
{{- if .Values.y }}
kind: Role
metadata:
  name: serin-leader
{{- end }}
{{- end }}
`
	if err != nil || got != want {
		t.Errorf("got %v\n%s", err, got)
	}
}

func TestEveryValueIsExplained(t *testing.T) {
	all, err := values(os.DirFS(".."))
	if err != nil {
		t.Fatal(err)
	}
	var look func(at string, v value)
	look = func(at string, v value) {
		if !strings.HasSuffix(v.comment, ".") || v.below == nil && v.schema == nil {
			t.Errorf("%s%s: %q, %v", at, v.name, v.comment, v.schema)
		}
		for _, w := range v.below {
			look(at+v.name+".", w)
		}
	}
	for _, v := range all {
		look("", v)
	}
}

// A component that changes something else is no longer what the values file says.
func TestHighAvailabilityIsReadWholeOrNotAtAll(t *testing.T) {
	const patch = "patches:\n- patch: '[{\"op\": \"replace\", \"path\": \"/spec/replicas\", \"value\": 5}]'\n"
	if out, err := highAvailability(fstest.MapFS{"high-availability/kustomization.yaml": {Data: []byte(patch)}}); err == nil {
		t.Errorf("it is %s", out)
	}
}
