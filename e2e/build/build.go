// Package build makes what the sandbox runs: the control plane, Prometheus and
// Envoy (heavy, once), and the project's own programs (seconds, as often as
// their sources change). Everything ends up in one cache folder.
//
// The package needs nothing but the standard library, so that the program that
// shows the progress of the first build is itself compiled in no time.
package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
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
func All(ctx context.Context, out io.Writer) (paths Paths, err error) {
	err = locked(out, func(b *builder) error {
		paths = b.paths()
		if err := b.heavy(ctx); err != nil {
			return err
		}
		return b.own(ctx)
	})
	return paths, err
}

// Controller builds cmd/serin of the root module and returns its path.
func Controller(ctx context.Context, out io.Writer) (path string, err error) {
	err = locked(out, func(b *builder) error {
		path = b.bin("serin")
		return b.goBuild(ctx, goTarget{what: "serin", dir: b.root, packages: []string{"./cmd/serin"}, output: path})
	})
	return path, err
}

// Helm builds Helm, which takes a minute or two the first time, and returns its
// path. It is no part of All: only tests have a use for it.
func Helm(ctx context.Context, out io.Writer) (path string, err error) {
	err = locked(out, func(b *builder) error {
		path, err = b.helm(ctx)
		return err
	})
	return path, err
}

// Programs builds programs of the e2e module, given by their packages, into
// the cache folder.
func Programs(ctx context.Context, out io.Writer, packages ...string) error {
	if len(packages) == 0 {
		return nil
	}
	return locked(out, func(b *builder) error {
		return b.goBuild(ctx, goTarget{
			what: strings.Join(packages, " "), dir: filepath.Join(b.root, "e2e"), packages: packages, output: b.binDir(),
		})
	})
}

// locked runs f with the cache folder to itself.
func locked(out io.Writer, f func(*builder) error) error {
	if out == nil {
		out = io.Discard
	}
	root, err := Root()
	if err != nil {
		return err
	}
	cache, err := Cache()
	if err != nil {
		return err
	}
	unlock, err := lock(filepath.Join(cache, "lock"), out)
	if err != nil {
		return err
	}
	defer unlock()
	return f(&builder{root: root, cache: cache, out: out})
}

// builder knows where things are and where to tell progress.
type builder struct {
	root, cache string
	out         io.Writer
}

func (b *builder) bin(name string) string { return filepath.Join(b.cache, "bin", name) }

// binDir is the folder of the programs, as an output for several at once.
func (b *builder) binDir() string { return b.bin("") + string(filepath.Separator) }

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
		packages: []string{"./cmd/node", "./app"}, output: b.binDir(),
	})
}

// lock waits for the exclusive lock on a file and returns its release.
func lock(path string, out io.Writer) (func(), error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock the cache folder: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		fmt.Fprintf(out, "waiting for another build in %s\n", filepath.Dir(path))
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { _ = f.Close() }, nil
}
