// Package build makes what the sandbox runs: the control plane, Prometheus and
// Envoy (heavy, once), and the project's own programs (seconds, as often as
// their sources change). Everything ends up in one cache folder.
//
// The package needs nothing but the standard library, so that the program that
// shows the progress of the first build is itself compiled in no time.
package build

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// Paths are the programs and files of the sandbox, absolute.
type Paths struct {
	Cache      string // the folder all the others are in
	Stack      string // etcd, kube-apiserver, ..., by its first argument; see e2e/stack
	Prometheus string
	Envoy      string
	CRDs       string // Istio's CustomResourceDefinitions, YAML
	Node       string // what runs inside the sandbox's namespace; see e2e/cmd/node
	App        string // the demo application; see e2e/app
}

// All builds whatever is missing or older than its sources, telling progress
// to out, and returns where everything is. At most one build runs in a cache
// folder at a time; others wait for it.
func All(ctx context.Context, out io.Writer) (Paths, error) {
	root, err := Root()
	if err != nil {
		return Paths{}, err
	}
	cache, err := Cache()
	if err != nil {
		return Paths{}, err
	}
	unlock, err := lock(filepath.Join(cache, "lock"))
	if err != nil {
		return Paths{}, err
	}
	defer unlock()
	b := &builder{root: root, cache: cache, out: out}
	if err := b.heavy(ctx); err != nil {
		return Paths{}, err
	}
	if err := b.own(ctx); err != nil {
		return Paths{}, err
	}
	return b.paths(), nil
}

// Controller builds cmd/serin of the root module and returns its path.
func Controller(ctx context.Context, out io.Writer) (string, error) {
	return rootProgram(ctx, out, "serin")
}

// Plugin builds cmd/kubectl-canary of the root module and returns its path.
func Plugin(ctx context.Context, out io.Writer) (string, error) {
	return rootProgram(ctx, out, "kubectl-canary")
}

func rootProgram(ctx context.Context, out io.Writer, name string) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	cache, err := Cache()
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(root, "cmd", name)); err != nil {
		return "", fmt.Errorf("build cmd/%s: %w", name, err)
	}
	unlock, err := lock(filepath.Join(cache, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	b := &builder{root: root, cache: cache, out: out}
	return b.bin(name), b.goBuild(ctx, goTarget{
		what: name, dir: root, packages: []string{"./cmd/" + name}, output: b.bin(name),
	})
}

// builder knows where things are and where to tell progress.
type builder struct {
	root, cache string
	out         io.Writer
}

func (b *builder) bin(name string) string { return filepath.Join(b.cache, "bin", name) }

func (b *builder) paths() Paths {
	return Paths{
		Cache:      b.cache,
		Stack:      b.bin("stack"),
		Prometheus: b.bin("prometheus"),
		Envoy:      b.bin("envoy"),
		CRDs:       filepath.Join(b.cache, "istio-crds.yaml"),
		Node:       b.bin("node"),
		App:        b.bin("app"),
	}
}

// own builds the sandbox's own light programs. Whether there is anything to do
// is left to the go command, which knows in well under a second.
func (b *builder) own(ctx context.Context) error {
	return b.goBuild(ctx, goTarget{
		what: "node agent and demo application", dir: filepath.Join(b.root, "e2e"),
		packages: []string{"./cmd/node", "./app"}, output: filepath.Join(b.cache, "bin") + string(filepath.Separator),
	})
}

// lock waits for the exclusive lock on a file and returns its release.
func lock(path string) (func(), error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock the cache folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}
