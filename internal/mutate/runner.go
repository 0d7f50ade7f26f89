package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// later are the packages whose tests are run after those of a mutant's own
// package, the quick ones first.
var later = []string{"./pkg/mode", "./pkg/mode/pair", "./pkg/mode/inplace", "./pkg/controller"}

// Outcome is what became of a mutant.
type Outcome string

// The outcomes. A mutant that hangs is killed too: nobody would merge it.
const (
	Killed      Outcome = "killed"
	TimedOut    Outcome = "timed out" // killed, for the tests did not end
	Survived    Outcome = "survived"
	NotCompiled Outcome = "did not compile" // a mistake of the list
	NotTried    Outcome = "not tried"       // to its end: interrupted
)

// Result is what became of one mutant.
type Result struct {
	Name    string        `json:"name"`
	File    string        `json:"file"`
	Outcome Outcome       `json:"outcome"`
	By      string        `json:"by,omitempty"`       // the package and the test that killed it; what the compiler said
	Reason  string        `json:"survives,omitempty"` // why it may survive
	Took    time.Duration `json:"nanoseconds"`
}

// runner runs the tests of a module with mutants in place of files. It never
// writes the tree: go test reads the mutated file from elsewhere (-overlay).
type runner struct {
	root  string
	later []string
	jobs  int
	say   func(format string, args ...any)
	// limits are how long each package's tests may take with a mutant.
	limits map[string]time.Duration
}

// packages are those whose tests are run for a mutant, in their order.
func (r *runner) packages(m Mutant) []string {
	return append([]string{m.own()}, slices.DeleteFunc(slices.Clone(r.later), func(p string) bool { return p == m.own() })...)
}

// measure runs the tests without a mutant. It fails where they do: then a mutant
// would seem to be killed. What they take says what they may take with a mutant.
func (r *runner) measure(ctx context.Context, mutants []Mutant) error {
	r.limits = map[string]time.Duration{}
	for _, m := range mutants {
		for _, p := range r.packages(m) {
			if r.limits[p] > 0 {
				continue
			}
			began := time.Now()
			if out, err := r.test(ctx, p, "-count=1", "-timeout=30m"); err != nil {
				return fmt.Errorf("test %s without a mutant: %w: mend that first\n%s", p, err, out)
			}
			took := time.Since(began)
			r.limits[p] = time.Minute + 4*time.Duration(r.jobs)*took
			r.say("without a mutant %s takes %s", p, took.Round(time.Second/10))
		}
	}
	return nil
}

// run tries all mutants, and gives the results in the order of the list. It fails
// only where the go command can't be run or ctx ends.
func (r *runner) run(ctx context.Context, mutants []Mutant) ([]Result, error) {
	results, errs := make([]Result, len(mutants)), make([]error, len(mutants))
	next := make(chan int)
	var wg sync.WaitGroup
	for range r.jobs {
		wg.Go(func() {
			for i := range next {
				if results[i], errs[i] = r.try(ctx, mutants[i]); errs[i] != nil {
					results[i].Outcome = NotTried
				}
				r.say("%d/%d %s: %s %s (%s)", i+1, len(mutants), mutants[i].Name, results[i].Outcome, results[i].By, results[i].Took.Round(time.Second/10))
			}
		})
	}
	for i := range mutants {
		next <- i
	}
	close(next)
	wg.Wait()
	return results, errors.Join(errs...)
}

// try runs the tests with one mutant until some fail.
func (r *runner) try(ctx context.Context, m Mutant) (Result, error) {
	began := time.Now()
	result := Result{Name: m.Name, File: m.File, Outcome: Survived, Reason: m.Survives}
	overlay, remove, err := r.overlay(m)
	if err != nil {
		return result, err
	}
	defer remove()
	for _, p := range r.packages(m) {
		out, err := r.test(ctx, p, "-overlay="+overlay, "-timeout="+r.limits[p].String())
		if ctx.Err() != nil {
			return result, fmt.Errorf("try %q: %w", m.Name, ctx.Err())
		}
		if failed := (*exec.ExitError)(nil); err != nil && !errors.As(err, &failed) {
			return result, fmt.Errorf("try %q: %w", m.Name, err)
		}
		if err != nil {
			result.Outcome, result.By = verdict(out)
			result.By = strings.TrimPrefix(p, "./") + " " + result.By
			break
		}
	}
	result.Took = time.Since(began)
	return result, nil
}

// overlay writes the mutated file and the list that points the go command at it,
// both outside of the tree.
func (r *runner) overlay(m Mutant) (list string, remove func(), err error) {
	text, err := m.apply(r.root)
	if err != nil {
		return "", nil, err
	}
	folder, err := os.MkdirTemp("", "mutant-")
	if err != nil {
		return "", nil, fmt.Errorf("make room for %q: %w", m.Name, err)
	}
	mutated := filepath.Join(folder, filepath.Base(m.File))
	replaced, err := json.Marshal(map[string]any{
		"Replace": map[string]string{filepath.Join(r.root, filepath.FromSlash(m.File)): mutated},
	})
	list = filepath.Join(folder, "overlay.json")
	err = errors.Join(err, os.WriteFile(mutated, []byte(text), 0o600), os.WriteFile(list, replaced, 0o600))
	remove = func() { _ = os.RemoveAll(folder) } // what stays is in the folder for such
	if err != nil {
		remove()
		return "", nil, fmt.Errorf("write down %q: %w", m.Name, err)
	}
	return list, remove, nil
}

// test runs a package's tests up to the first that fails. Passed results may come
// from the go command's cache: a package that a mutant does not reach costs nothing.
func (r *runner) test(ctx context.Context, pkg string, flags ...string) (out string, err error) {
	args := append([]string{"test", "-vet=off", "-failfast"}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, pkg)...)
	cmd.Dir = r.root
	// The tests that the go command starts outlive it, unless their whole group ends.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	b, err := cmd.CombinedOutput()
	return string(b), err
}

var (
	failedTest  = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)
	runningTest = regexp.MustCompile(`panic: test timed out after \S+\s+running tests:\s+(\S+)`)
	fault       = regexp.MustCompile(`(?m)^(?:panic|fatal error): .*`)
	notBuilt    = regexp.MustCompile(`\[(?:build|setup) failed\]`)
)

// verdict reads off the output of tests that failed what became of the mutant, and
// which test said so, or what the compiler did.
func verdict(out string) (Outcome, string) {
	if notBuilt.MatchString(out) {
		return NotCompiled, strings.Join(strings.Fields(out), " ")
	}
	if running := runningTest.FindStringSubmatch(out); running != nil {
		return TimedOut, running[1]
	}
	by := ""
	for _, found := range failedTest.FindAllStringSubmatch(out, -1) {
		if by != "" && !strings.HasPrefix(found[1], by+"/") {
			break
		}
		by = found[1]
	}
	if by == "" {
		by = fault.FindString(out)
	}
	return Killed, by
}
