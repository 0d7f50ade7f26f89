// Package chart_test renders the Helm chart by Helm's own engine, and what kustomize
// makes of deploy beside it: for the same settings they are the same objects. It is a
// module of its own, so that nothing else needs Helm's libraries.
package chart_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"serin.dev/serin/pkg/config"
)

const (
	deploy = "../../deploy"
	folder = deploy + "/chart"
)

type object = map[string]any

// setting is how the chart is rendered.
type setting struct {
	values     string // YAML, over the defaults
	namespace  string // of the release; default: serin-system
	kubernetes string // version; default: v1.36.3
}

// loaded is the chart as it stands in the folder.
func loaded(t *testing.T) *chart.Chart {
	t.Helper()
	c, err := loader.Load(folder)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// texts renders the chart's templates, by name.
func (s setting) texts(t *testing.T) (map[string]string, error) {
	t.Helper()
	if s.namespace == "" {
		s.namespace = "serin-system"
	}
	if s.kubernetes == "" {
		s.kubernetes = "v1.36.3"
	}
	values := object{}
	if err := yaml.Unmarshal([]byte(s.values), &values); err != nil {
		t.Fatal(err)
	}
	version, err := common.ParseKubeVersion(s.kubernetes)
	if err != nil {
		t.Fatal(err)
	}
	c := loaded(t)
	all, err := util.ToRenderValues(c, values, common.ReleaseOptions{Name: "serin", Namespace: s.namespace, IsInstall: true}, &common.Capabilities{KubeVersion: *version})
	if err != nil {
		return nil, err
	}
	return engine.Render(c, all)
}

// objects are the chart's objects, those of hooks apart.
func (s setting) objects(t *testing.T) (objects, hooks map[string]object) {
	t.Helper()
	texts, err := s.texts(t)
	if err != nil {
		t.Fatal(err)
	}
	objects, hooks = map[string]object{}, map[string]object{}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		if path.Ext(name) != ".yaml" {
			continue
		}
		for id, o := range parsed(t, texts[name]) {
			into := objects
			if annotations, _ := o["metadata"].(object)["annotations"].(object); annotations["helm.sh/hook"] != nil {
				into = hooks
			}
			if into[id] != nil {
				t.Errorf("%s stands twice", id)
			}
			into[id] = o
		}
	}
	return objects, hooks
}

// parsed are the objects of a stream, by kind, namespace and name.
func parsed(t *testing.T, stream string) map[string]object {
	t.Helper()
	out := map[string]object{}
	for document := range strings.SplitSeq("\n"+stream, "\n---\n") {
		var o object
		if err := yaml.UnmarshalStrict([]byte(document), &o); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		if o == nil {
			continue
		}
		metadata := o["metadata"].(object)
		namespace, _ := metadata["namespace"].(string)
		out[fmt.Sprintf("%s %s/%s", o["kind"], namespace, metadata["name"])] = o
	}
	return out
}

// kustomized are the objects that kustomize makes of a kustomization in the folder
// this beside deploy's, with further files.
func kustomized(t *testing.T, kustomization string, files map[string]string) map[string]object {
	t.Helper()
	memory := filesys.MakeFsInMemory()
	err := fs.WalkDir(os.DirFS(deploy), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || path.Ext(name) == ".go" {
			return err
		}
		text, err := os.ReadFile(path.Join(deploy, name))
		return errors.Join(err, memory.WriteFile("/deploy/"+name, text))
	})
	for name, text := range files {
		err = errors.Join(err, memory.WriteFile("/deploy/this/"+name, []byte(text)))
	}
	err = errors.Join(err, memory.WriteFile("/deploy/this/kustomization.yaml", []byte(kustomization)))
	if err != nil {
		t.Fatal(err)
	}
	made, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(memory, "/deploy/this")
	if err != nil {
		t.Fatal(err)
	}
	text, err := made.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	return parsed(t, string(text))
}

// bare takes off what kustomize and Helm each do in a way of their own, and nothing
// else: Helm's labels, the namespace that helm --create-namespace makes, how the pods
// learn that the configuration has changed, and the namespace that kustomize gives to
// policies, which are in none. The configuration is what it means.
func bare(t *testing.T, all map[string]object) map[string]object {
	t.Helper()
	out := map[string]object{}
	for id, o := range all {
		metadata := o["metadata"].(object)
		if labels, is := metadata["labels"].(object); is {
			for _, label := range []string{"helm.sh/chart", "app.kubernetes.io/instance", "app.kubernetes.io/version"} {
				delete(labels, label)
			}
			if metadata["name"] == "serin-dashboards" {
				delete(labels, "app.kubernetes.io/name")
			}
		}
		switch o["kind"] {
		case "Namespace":
			continue
		case "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding":
			delete(metadata, "namespace")
			id = fmt.Sprintf("%s /%s", o["kind"], metadata["name"])
		case "ConfigMap":
			if data, is := o["data"].(object)["serin.yaml"]; is {
				metadata["name"] = "serin"
				id = fmt.Sprintf("ConfigMap %s/serin", metadata["namespace"])
				o["data"] = configured(t, data.(string))
			}
		case "Deployment":
			template := o["spec"].(object)["template"].(object)
			if annotations, is := template["metadata"].(object)["annotations"].(object); is {
				delete(annotations, "checksum/config")
				if len(annotations) == 0 {
					delete(template["metadata"].(object), "annotations")
				}
			}
			for _, v := range template["spec"].(object)["volumes"].([]any) {
				if c, is := v.(object)["configMap"].(object); is {
					c["name"] = "serin"
				}
			}
		}
		out[id] = o
	}
	return out
}

// configured is what a configuration means to the controller.
func configured(t *testing.T, text string) config.Config {
	t.Helper()
	c, err := config.Load(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return c
}
