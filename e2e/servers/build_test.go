package servers

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// release is a program at a version, built from its module where it has one.
type release struct {
	name, version        string // of the program, as people know it
	module, tag, command string
	tags                 string // build tags
}

var (
	prometheus248 = release{"prometheus", "2.48.0", "github.com/prometheus/prometheus", "v0.48.0", "./cmd/prometheus", ""}
	prometheus255 = release{"prometheus", "2.55.1", "github.com/prometheus/prometheus", "v0.55.1", "./cmd/prometheus", ""}
	prometheus311 = release{name: "prometheus", version: "3.11.3"} // the sandbox's, built with the rest of its stack
	prometheus315 = release{"prometheus", "3.15.0", "github.com/prometheus/prometheus", "v0.315.0", "./cmd/prometheus", "remove_all_sd"}
	victoria      = release{"victoria-metrics", "1.130.0", "github.com/VictoriaMetrics/VictoriaMetrics", "v1.130.0", "./app/victoria-metrics", ""}
	thanos        = release{"thanos", "0.42.1", "github.com/thanos-io/thanos", "v0.42.1", "./cmd/thanos", "slicelabels"}
)

// cache is the folder of built programs.
func cache() (string, error) {
	if dir := os.Getenv("SERIN_CACHE"); dir != "" {
		return filepath.Join(dir, "bin"), nil
	}
	return filepath.Abs(filepath.Join("..", "..", ".cache", "serin", "bin"))
}

// built is the program's path; it is built, in minutes, where it is missing.
// The module is built in its own folder, for its replacements to hold.
func (r release) built(t *testing.T) string {
	t.Helper()
	bin, err := cache()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(bin, r.name+"-"+r.version)
	if r.module == "" {
		path = filepath.Join(bin, r.name)
	}
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if r.module == "" {
		t.Fatalf("%s is missing: make e2e-servers builds it", path)
	}
	dir, err := r.download(t)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("building %s %s", r.name, r.version)
	build := exec.CommandContext(t.Context(), "go", "build", "-mod=readonly", "-buildvcs=false", "-ldflags=-s -w", "-tags="+r.tags, "-o", path, r.command)
	build.Dir, build.Env = dir, append(os.Environ(), "GOWORK=off")
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s %s: %v\n%s", r.name, r.version, err, said)
	}
	return path
}

func (r release) download(t *testing.T) (string, error) {
	said, err := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", r.module+"@"+r.tag).Output()
	var module struct{ Dir, Error string }
	unreadable := json.Unmarshal(said, &module)
	if err != nil || unreadable != nil || module.Dir == "" {
		return "", fmt.Errorf("download %s %s: %w %s", r.module, r.tag, errors.Join(err, unreadable), module.Error)
	}
	return module.Dir, nil
}
