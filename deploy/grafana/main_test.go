package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestTheDashboardsAreCurrent(t *testing.T) {
	files, err := filepath.Glob("dashboards/*")
	if err != nil || len(files) != len(dashboards()) {
		t.Errorf("the folder holds %v (%v)", files, err)
	}
	for name, d := range dashboards() {
		want, err := encode(d)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join("dashboards", name)); err != nil || string(got) != string(want) {
			t.Errorf("%s is not current (%v): run go run ./deploy/grafana", name, err)
		}
	}
}
