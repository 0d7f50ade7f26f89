package build

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
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

// helmPackage is a tool of the stack's module too, built by itself: nothing of
// the sandbox needs it, but its tests do.
const helmPackage = "helm.sh/helm/v4/cmd/helm"

// compilerFlags say how packages are compiled, by pattern; the last pattern
// that matches counts. Only packages that nothing but the stack needs are
// here: those that the project's own programs and tests use too are compiled
// once for all. What is gained is in docs/first-build.md.
var compilerFlags = []struct {
	flags    string
	patterns []string
}{
	// Without debug information, which takes a tenth of the time.
	{"-dwarf=false", []string{
		"k8s.io/kubernetes/...", "k8s.io/apiserver/...", "istio.io/istio/...",
		"go.etcd.io/...", "github.com/google/cel-go/...", "github.com/prometheus/prometheus/...",
	}},
	// Without optimization too, which takes another half: large packages that
	// have next to nothing to do here.
	{"-dwarf=false -N -l", []string{
		"istio.io/istio/pilot/pkg/serviceregistry/ambient/...", "istio.io/istio/pilot/pkg/config/kube/...",
		"github.com/agentgateway/...", "sigs.k8s.io/gateway-api/...", "github.com/envoyproxy/...",
		"k8s.io/kubectl/...", "k8s.io/cli-runtime/...", "sigs.k8s.io/kustomize/...",
		"k8s.io/kubernetes/pkg/controller/...",
	}},
}

// The first build's needs on disk, of which most is the go command's caches.
const firstBuildBytes = 7 << 30

// memoryPerCompiler is how much available memory there has to be for each
// processor, and thereby for each compiler that runs at a time, for compilers
// to use more memory and spend less time on collecting garbage.
const memoryPerCompiler = 3 << 30

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
	s, err := b.stackStamp()
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
	err = b.stackBuild(ctx, "control plane and Prometheus", b.binDir(), ".", prometheusPackage)
	if err != nil {
		return err
	}
	if err := b.copyCRDs(ctx, b.stackDir(), paths.CRDs); err != nil {
		return err
	}
	return s.keep(file)
}

// helm builds Helm unless a stamp says that it is there already. Of its
// packages the control plane has compiled four out of five.
func (b *builder) helm(ctx context.Context) (path string, err error) {
	s, err := b.stackStamp()
	if err != nil {
		return "", err
	}
	path, file := b.bin("helm"), filepath.Join(b.cache, "helm.stamp")
	if s.fresh(file, path) {
		return path, nil
	}
	if err := b.stackBuild(ctx, "Helm", path, helmPackage); err != nil {
		return "", err
	}
	return path, s.keep(file)
}

func (b *builder) stackDir() string { return filepath.Join(b.root, "e2e", "stack") }

// stackBuild builds packages of the stack's module.
func (b *builder) stackBuild(ctx context.Context, what, output string, packages ...string) error {
	return b.goBuild(ctx, goTarget{
		what: what, dir: b.stackDir(), packages: packages,
		output: output, flags: heavyFlags(), env: compilerEnv(), count: true,
	})
}

// stackStamp tells what everything of the stack's module is built from.
func (b *builder) stackStamp() (stamp, error) {
	sources, err := stackSources(b.stackDir())
	if err != nil {
		return "", err
	}
	return newStamp(sources, heavyFlags()...)
}

// stackSources are the files the heavy programs are made from, in the module
// itself: its Go files, and what says which versions of all others.
func stackSources(dir string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if name := d.Name(); err == nil && !d.IsDir() && (filepath.Ext(name) == ".go" || name == "go.mod" || name == "go.sum") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the sources of the stack: %w", err)
	}
	return files, nil
}

func heavyFlags() []string {
	const version = "-X k8s.io/component-base/version."
	flags := []string{
		// Without the service discoveries of the clouds; files remain.
		"-tags=remove_all_sd",
		"-ldflags=-s -w " + version + "gitVersion=" + kubernetesVersion + " " + version + "gitMajor=" + kubernetesMajor + " " + version + "gitMinor=" + kubernetesMinor,
	}
	for _, c := range compilerFlags {
		for _, pattern := range c.patterns {
			flags = append(flags, "-gcflags="+pattern+"="+c.flags)
		}
	}
	return flags
}

// compilerEnv lets the compilers use memory where there is enough of it.
func compilerEnv() []string {
	if os.Getenv("GOGC") != "" || availableMemory() < memoryPerCompiler*int64(max(2, runtime.NumCPU())) {
		return nil
	}
	return []string{"GOGC=800"}
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
	var disk syscall.Statfs_t
	if err := syscall.Statfs(cache, &disk); err != nil {
		return fmt.Errorf("look for free space in %s: %w", cache, err)
	}
	if free := disk.Bavail * uint64(disk.Bsize); free < firstBuildBytes {
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
	crds, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), filepath.FromSlash("manifests/charts/base/files/crd-all.gen.yaml")))
	if err != nil {
		return fmt.Errorf("read Istio's CRDs: %w", err)
	}
	if err := os.WriteFile(to, crds, 0o644); err != nil {
		return fmt.Errorf("keep Istio's CRDs: %w", err)
	}
	return nil
}
