// Command mutate asks whether the tests would notice: it makes one deliberate
// mistake after the other in the decision, the edits of routes and the writes, and
// runs the tests until one fails. A mistake that no test notices is a hole in
// them. The tree itself is never written.
//
//	go run ./internal/mutate [--only pattern] [--jobs n] [--json]
//
// It fails if less than 95% of the mutants are killed, if one survives without a
// reason in the list, or if the list no longer fits the product.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, progress io.Writer) error {
	flags := flag.NewFlagSet("mutate", flag.ContinueOnError)
	only := flags.String("only", "", "a regular expression: try only mutants whose name or file matches")
	from := flags.Int("from", 1, "the first of them to try, to go on where a run was interrupted")
	jobs := flags.Int("jobs", 1, "how many mutants are tried at once")
	asJSON := flags.Bool("json", false, "print the results as JSON")
	if err := flags.Parse(args); err != nil {
		return err
	}
	pattern, err := regexp.Compile(*only)
	switch {
	case err != nil:
		return fmt.Errorf("read --only: %w", err)
	case *from < 1:
		return fmt.Errorf("--from is %d, must be 1 or more", *from)
	case *jobs < 1:
		return fmt.Errorf("--jobs is %d, must be 1 or more", *jobs)
	}
	root, err := module(ctx)
	if err != nil {
		return err
	}
	mutants := all()
	if err := check(root, mutants); err != nil {
		return err
	}
	mutants = slices.DeleteFunc(mutants, func(m Mutant) bool {
		return !pattern.MatchString(m.Name) && !pattern.MatchString(m.File)
	})
	if len(mutants) < *from {
		return fmt.Errorf("%d mutants match --only, and --from is %d: take a part of a name or of a file, and a lower number", len(mutants), *from)
	}
	mutants = mutants[*from-1:]
	r := &runner{root: root, later: later, jobs: *jobs, say: func(format string, args ...any) {
		fmt.Fprintf(progress, format+"\n", args...)
	}}
	began := time.Now()
	if err := r.measure(ctx, mutants); err != nil {
		return err
	}
	results, err := r.run(ctx, mutants)
	if err != nil {
		return err
	}
	if err := show(out, results, time.Since(began), *asJSON); err != nil {
		return err
	}
	return judge(results)
}

func show(out io.Writer, results []Result, took time.Duration, asJSON bool) error {
	if !asJSON {
		return table(out, results, took)
	}
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(results)
}

// module is the folder of the module in which the tool runs.
func module(ctx context.Context) (string, error) {
	file, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	name := strings.TrimSpace(string(file))
	if filepath.Base(name) != "go.mod" {
		return "", errors.New("find the module: run this inside of it")
	}
	return filepath.Dir(name), nil
}
