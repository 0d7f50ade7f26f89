package build

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Kubernetes as the API server reports it. Without a version built in,
// /version is no semantic version and real clients refuse the server.
const (
	kubernetesMajor   = "1"
	kubernetesMinor   = "36"
	kubernetesVersion = "v1.36.3"
)

// prometheusPackage is a tool of the stack's module: it shares most of its
// packages with the control plane.
const prometheusPackage = "github.com/prometheus/prometheus/cmd/prometheus"

// noDebugInfo lists what is compiled without debug information, which takes a
// tenth of the time. Only packages that nothing but the stack needs: those
// that the project's own programs and tests use too are compiled once for all.
var noDebugInfo = []string{
	"k8s.io/kubernetes/...", "k8s.io/apiserver/...", "k8s.io/kubectl/...", "istio.io/istio/...",
	"github.com/envoyproxy/...", "go.etcd.io/...", "github.com/google/cel-go/...", "github.com/prometheus/prometheus/...",
}

// The first build's needs on disk, of which most is the go command's caches.
const firstBuildBytes = 7 << 30

// compilerMemory is the least available memory with which the compilers may
// use more of it to spend less time on collecting garbage.
const compilerMemory = 8 << 30

// heavy builds the control plane and Prometheus, and fetches Envoy and
// Istio's CRDs, unless a stamp says that they are there already.
func (b *builder) heavy(ctx context.Context) error {
	envoy := make(chan error, 1)
	go func() { envoy <- b.fetchEnvoy(ctx) }()
	if err := b.heavyGo(ctx); err != nil {
		return err
	}
	return <-envoy
}

func (b *builder) heavyGo(ctx context.Context) error {
	dir := filepath.Join(b.root, "e2e", "stack")
	flags := heavyFlags()
	s, err := newStamp([]string{filepath.Join(dir, "go.mod"), filepath.Join(dir, "go.sum"), filepath.Join(dir, "main.go")}, flags...)
	if err != nil {
		return err
	}
	paths, file := b.paths(), filepath.Join(b.cache, "stack.stamp")
	if s.fresh(file, paths.Stack, paths.Prometheus, paths.CRDs) {
		return nil
	}
	if err := b.checkDisk(ctx); err != nil {
		return err
	}
	err = b.goBuild(ctx, goTarget{
		what: "control plane and Prometheus", dir: dir, packages: []string{".", prometheusPackage},
		output: b.binDir(), flags: flags, env: compilerEnv(), count: true,
	})
	if err != nil {
		return err
	}
	if err := b.copyCRDs(ctx, dir, paths.CRDs); err != nil {
		return err
	}
	return s.keep(file)
}

func heavyFlags() []string {
	const version = "-X k8s.io/component-base/version."
	flags := []string{
		// Without the service discoveries of the clouds; files remain.
		"-tags=remove_all_sd",
		"-ldflags=-s -w " + version + "gitVersion=" + kubernetesVersion + " " + version + "gitMajor=" + kubernetesMajor + " " + version + "gitMinor=" + kubernetesMinor,
	}
	for _, pattern := range noDebugInfo {
		flags = append(flags, "-gcflags="+pattern+"=-dwarf=false")
	}
	return flags
}

// compilerEnv lets the compilers use memory where there is enough of it.
func compilerEnv() []string {
	if os.Getenv("GOGC") != "" || availableMemory() < compilerMemory {
		return nil
	}
	return []string{"GOGC=400"}
}

// availableMemory is in bytes, 0 where it cannot be told.
func availableMemory() int64 {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "MemAvailable:" {
			kb, _ := strconv.ParseInt(f[1], 10, 64)
			return kb << 10
		}
	}
	return 0
}

// checkDisk refuses to begin what cannot be ended: a build that is cut off by
// a full disk leaves that disk full.
func (b *builder) checkDisk(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "go", "env", "GOCACHE").Output()
	if err != nil {
		return fmt.Errorf("ask the go command for its cache: %w", err)
	}
	cache := strings.TrimSpace(string(out))
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return fmt.Errorf("make the go command's cache (GOCACHE): %w", err)
	}
	if _, err := os.Stat(filepath.Join(cache, "00")); err == nil {
		return nil // in use already: the packages may well be in there
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(cache, &fs); err != nil {
		return fmt.Errorf("look for free space in %s: %w", cache, err)
	}
	if free := fs.Bavail * uint64(fs.Bsize); free < firstBuildBytes {
		return fmt.Errorf("the first build needs %d GB of disk and %s has %d GB free: set GOCACHE to a folder on a larger disk", firstBuildBytes>>30, cache, free>>30)
	}
	return nil
}

// copyCRDs takes Istio's CRDs out of its module, so that they always are those
// of the istiod that was built.
func (b *builder) copyCRDs(ctx context.Context, dir, to string) error {
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "istio.io/istio")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("find Istio's module: %w", err)
	}
	crds, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "manifests/charts/base/files/crd-all.gen.yaml"))
	if err != nil {
		return fmt.Errorf("read Istio's CRDs: %w", err)
	}
	if err := os.WriteFile(to, crds, 0o644); err != nil {
		return fmt.Errorf("keep Istio's CRDs: %w", err)
	}
	return nil
}
