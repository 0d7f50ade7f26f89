// Command grafana writes the dashboards from what stands in fleet.go and
// rollout.go: what is shown, of what, in which unit, and what it says.
//
//	go run ./deploy/grafana
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if err := write("deploy/grafana/dashboards"); err != nil {
		fmt.Fprintln(os.Stderr, "grafana:", err)
		os.Exit(1)
	}
}

// dashboards are all there are, by the names of their files.
func dashboards() map[string]object {
	return map[string]object{"serin-fleet.json": fleet().render(), "serin-rollout.json": rollout().render()}
}

func write(folder string) error {
	for name, d := range dashboards() {
		text, err := encode(d)
		if err != nil {
			return fmt.Errorf("write dashboard %s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o644); err != nil {
			return fmt.Errorf("write dashboard %s: %w; run it in the project's folder", name, err)
		}
	}
	return nil
}

func encode(d object) ([]byte, error) {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(d)
	return text.Bytes(), err
}
