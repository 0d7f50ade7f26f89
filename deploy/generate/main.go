// Command generate writes the Helm chart from the manifests that kustomize uses: its
// templates from what stands in manifests.go, its values and their schema from
// values.go. What is no manifest stands in deploy/chart as it is: the helpers, the
// notes, the configuration, and the hook.
//
//	go run ./deploy/generate
package main

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

func main() {
	if err := write("deploy"); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

// chart is every generated file, by its path in the chart, from the manifests.
func chart(manifests fs.FS) (map[string]string, error) {
	files, err := templates(manifests)
	if err != nil {
		return nil, err
	}
	all, err := values(manifests)
	if err != nil {
		return nil, err
	}
	if files["values.yaml"], err = valuesFile(all); err != nil {
		return nil, err
	}
	if files["values.schema.json"], err = schemaFile(all); err != nil {
		return nil, err
	}
	if files["values-high-availability.yaml"], err = highAvailability(manifests); err != nil {
		return nil, err
	}
	for _, name := range dashboards {
		text, err := fs.ReadFile(manifests, "grafana/dashboards/"+name)
		if err != nil {
			return nil, fmt.Errorf("copy a dashboard: %w", err)
		}
		files["dashboards/"+name] = string(text)
	}
	return files, nil
}

// dashboards are copied: Helm reads nothing outside of a chart.
var dashboards = []string{"serin-fleet.json", "serin-rollout.json"}

// write writes the chart within the folder deploy.
func write(folder string) error {
	files, err := chart(os.DirFS(folder))
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(folder, "chart", filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("write the chart: %w; run it in the project's folder", err)
		}
		if err := os.WriteFile(path, []byte(files[name]), 0o644); err != nil {
			return fmt.Errorf("write the chart: %w; run it in the project's folder", err)
		}
	}
	return nil
}
