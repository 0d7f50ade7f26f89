// Package deploy holds the manifests that Serin is installed by, and renders them
// as kubectl apply -k does.
package deploy

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// Namespace is that in which the manifests install Serin.
const Namespace = "serin-system"

//go:embed base in-place in-place-pause in-place-webhook command-by
var manifests embed.FS

// folders are the overlays, by what they are for.
var folders = []struct{ mode, folder string }{
	{"pair", "base"},
	{"in-place", "in-place"},
	{"in-place-webhook", "in-place-webhook"},
	{"in-place-pause", "in-place-pause"},
}

// Modes are what Serin can be installed for.
func Modes() (all []string) {
	for _, f := range folders {
		all = append(all, f.mode)
	}
	return all
}

// Options say what differs from the manifests as they are.
type Options struct {
	Mode       string // one of Modes
	Image      string // with a tag or a digest; empty: as it is
	Prometheus string // URL; empty: as it is
}

// The place of Prometheus's URL in the configuration of the base.
const (
	configFile = "base/serin.yaml"
	presentURL = "url: http://prometheus.istio-system:9090"
)

// Render gives all manifests as one YAML stream.
func Render(o Options) ([]byte, error) {
	i := slices.IndexFunc(folders, func(f struct{ mode, folder string }) bool { return f.mode == o.Mode })
	if i < 0 {
		return nil, fmt.Errorf("render the manifests: there is no mode %q; there are %s", o.Mode, strings.Join(Modes(), ", "))
	}
	memory := filesys.MakeFsInMemory()
	err := fs.WalkDir(manifests, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := manifests.ReadFile(path)
		if err != nil {
			return err
		}
		if path == configFile && o.Prometheus != "" {
			text = []byte(strings.Replace(string(text), presentURL, fmt.Sprintf("url: %q", o.Prometheus), 1))
		}
		return memory.WriteFile("/deploy/"+path, text)
	})
	if err != nil {
		return nil, fmt.Errorf("render the manifests: %w", err)
	}
	overlay, err := yaml.Marshal(overlayOf(folders[i].folder, o.Image))
	if err == nil {
		err = memory.WriteFile("/deploy/this/kustomization.yaml", overlay)
	}
	if err != nil {
		return nil, fmt.Errorf("render the manifests: %w", err)
	}
	rendered, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(memory, "/deploy/this")
	if err != nil {
		return nil, fmt.Errorf("render the manifests: %w", err)
	}
	return rendered.AsYaml()
}

// overlayOf is a kustomization over one of the folders, with an image.
func overlayOf(folder, image string) map[string]any {
	out := map[string]any{
		"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": []string{"../" + folder},
	}
	if image == "" {
		return out
	}
	named := map[string]string{"name": "serin"}
	if name, digest, is := strings.Cut(image, "@"); is {
		named["newName"], named["digest"] = name, digest
	} else if i := strings.LastIndex(image, ":"); i > strings.LastIndex(image, "/") {
		named["newName"], named["newTag"] = image[:i], image[i+1:]
	} else {
		named["newName"] = image
	}
	out["images"] = []map[string]string{named}
	return out
}
