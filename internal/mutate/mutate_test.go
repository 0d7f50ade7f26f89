package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tiny is a module of two packages: what sum's own tests miss of it, use's find in part.
func tiny(t *testing.T) *runner {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("testdata", "tiny"))
	if err != nil {
		t.Fatal(err)
	}
	return &runner{root: root, later: []string{"./use"}, jobs: 1, say: t.Logf}
}

func mutant(from, to string) Mutant {
	return Mutant{Name: from + " becomes " + to, File: "sum/sum.go", Old: from, New: to}
}

func TestEveryMutantApplies(t *testing.T) {
	root, err := module(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := check(root, all()); err != nil {
		t.Error(err)
	}
	if n := len(all()); n < 60 {
		t.Errorf("the list has %d mutants, want 60 or more", n)
	}
	for _, m := range all() {
		text, err := m.apply(root)
		if err != nil {
			continue // told above
		}
		if _, err := parser.ParseFile(token.NewFileSet(), m.File, text, 0); err != nil {
			t.Errorf("%q is no Go: %v", m.Name, err)
		}
	}
}

func TestAListThatNoLongerFitsIsRefused(t *testing.T) {
	r := tiny(t)
	for name, c := range map[string]struct {
		mutants []Mutant
		want    string
	}{
		"a text that is not there":       {[]Mutant{mutant("product", "sum")}, "occurs 0 times"},
		"a text that is there twice":     {[]Mutant{mutant("return", "panic")}, "must be once"},
		"no text":                        {[]Mutant{mutant("", "x")}, "changes nothing"},
		"a text that becomes itself":     {[]Mutant{mutant("sum += n", "sum += n")}, "changes nothing"},
		"a file that is not there":       {[]Mutant{{Name: "gone", File: "sum/gone.go", Old: "a", New: "b"}}, "gone.go"},
		"two of a name":                  {[]Mutant{mutant("2 * n", "n"), mutant("2 * n", "n")}, "two mutants"},
		"all mistakes are told together": {[]Mutant{mutant("product", "sum"), mutant("sum += n", "sum += n")}, "changes nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := check(r.root, c.mutants); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestASurvivorIsToldFromAKilledMutant(t *testing.T) {
	for name, c := range map[string]struct {
		mutant Mutant
		want   Outcome
		by     string
	}{
		"the own package's test fails":         {mutant("sum += n", "sum -= n"), Killed, "sum TestOf/three_numbers"},
		"another package's test fails":         {mutant("2 * n", "3 * n"), Killed, "use TestTwice"},
		"a test panics":                        {mutant("sum := 0", `panic("lost"); sum := 0`), Killed, "sum TestOf/three_numbers"},
		"the process dies":                     {mutant("return sum", "go func() { panic(1) }(); select {}; return sum"), Killed, "sum panic: 1"},
		"the tests never end":                  {mutant("return sum", "for {}; return sum"), TimedOut, "sum TestOf"},
		"no test fails":                        {mutant("return 1", "return 2"), Survived, ""},
		"it is no Go that the compiler takes":  {mutant("return 1", `return "1"`), NotCompiled, "cannot use"},
		"it does not compile in another place": {mutant("func Twice(n int)", "func Twice(n string)"), NotCompiled, "mismatched"},
	} {
		t.Run(name, func(t *testing.T) {
			r := tiny(t)
			r.limits = map[string]time.Duration{"./sum": time.Minute, "./use": time.Minute}
			if c.want == TimedOut {
				r.limits["./sum"] = time.Second // it never ends, however long one waits
			}
			got, err := r.try(t.Context(), c.mutant)
			if err != nil {
				t.Fatal(err)
			}
			if got.Outcome != c.want || !strings.Contains(got.By, c.by) || c.by == "" && got.By != "" {
				t.Errorf("got %s by %q, want %s by %q", got.Outcome, got.By, c.want, c.by)
			}
		})
	}
}

// What is interrupted leaves no test running: one that never ends would work on for ever.
func TestAnInterruptEndsTheTestsToo(t *testing.T) {
	r := tiny(t)
	r.limits = map[string]time.Duration{"./sum": time.Hour}
	running := filepath.Join(t.TempDir(), "running")
	if err := syscall.Mkfifo(running, 0o600); err != nil {
		t.Fatal(err)
	}
	hang := fmt.Sprintf(`f, _ := os.OpenFile(%q, os.O_WRONLY, 0); fmt.Fprintln(f, os.Getpid()); for {}; return sum`, running)
	m := mutant("package sum", `package sum; import ("fmt"; "os"); var _ = func() int { sum := 0; `+hang+` }()`)
	ctx, stop := context.WithCancel(t.Context())
	tried := make(chan error, 1)
	go func() {
		_, err := r.try(ctx, m)
		tried <- err
	}()
	f, err := os.Open(running) // waits for the test
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	told := bufio.NewReader(f)
	pid, err := told.ReadString('\n')
	if err != nil || pid == "" {
		t.Fatalf("got %q, %v", pid, err)
	}
	stop()
	if err := <-tried; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	// The pipe ends with the last process that can write to it.
	if rest, err := told.ReadString('\n'); !errors.Is(err, io.EOF) {
		t.Errorf("process %s goes on: %q, %v", pid, rest, err)
	}
}

func TestTestsThatFailWithoutAMutantAreNoMeasure(t *testing.T) {
	r := tiny(t)
	r.later = []string{"./gone"}
	if err := r.measure(t.Context(), []Mutant{mutant("2 * n", "n")}); err == nil || !strings.Contains(err.Error(), "./gone without a mutant") {
		t.Errorf("got %v", err)
	}
	r = tiny(t)
	if err := r.measure(t.Context(), []Mutant{mutant("2 * n", "n")}); err != nil {
		t.Fatal(err)
	}
	if len(r.limits) != 2 || r.limits["./sum"] <= time.Minute || r.limits["./use"] <= time.Minute {
		t.Errorf("got limits %v", r.limits)
	}
}

func TestResultsKeepTheOrderOfTheList(t *testing.T) {
	r := tiny(t)
	r.jobs = 2
	mutants := []Mutant{mutant("return 1", "return 2"), mutant("2 * n", "n"), mutant("sum += n", "sum -= n")}
	if err := r.measure(t.Context(), mutants); err != nil {
		t.Fatal(err)
	}
	results, err := r.run(t.Context(), mutants)
	if err != nil {
		t.Fatal(err)
	}
	var got []Outcome
	for i, result := range results {
		got = append(got, result.Outcome)
		if result.Name != mutants[i].Name {
			t.Errorf("result %d is of %q", i, result.Name)
		}
	}
	if !slices.Equal(got, []Outcome{Survived, Killed, Killed}) {
		t.Errorf("got %v", got)
	}
}

func TestWhatTheToolRefuses(t *testing.T) {
	of := func(outcome Outcome, n int, reason string) []Result {
		return slices.Repeat([]Result{{Name: "m", Outcome: outcome, Reason: reason}}, n)
	}
	for name, c := range map[string]struct {
		results []Result
		want    string // empty: nothing
	}{
		"all are killed":                               {of(Killed, 20, ""), ""},
		"a hanging one is killed":                      {of(TimedOut, 20, ""), ""},
		"one of twenty survives for a reason":          {append(of(Killed, 19, ""), of(Survived, 1, "equal")...), ""},
		"one of twenty survives without":               {append(of(Killed, 19, ""), of(Survived, 1, "")...), "survives"},
		"one of nineteen is too many, whatever it has": {append(of(Killed, 18, ""), of(Survived, 1, "equal")...), "less than 95%"},
		"one does not compile":                         {append(of(Killed, 99, ""), of(NotCompiled, 1, "")...), "does not compile"},
		"one is killed that should survive":            {append(of(Killed, 99, ""), of(Killed, 1, "equal")...), "take that away"},
	} {
		t.Run(name, func(t *testing.T) {
			err := judge(c.results)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestTheTableAndTheJSONSayTheSame(t *testing.T) {
	results := []Result{
		{Name: "the bake is skipped", Outcome: Killed, By: "pkg/canary TestBake", Took: time.Second},
		{Name: "a word is another", Outcome: Survived, Reason: "nobody reads it", Took: 2 * time.Second},
	}
	var text, doc bytes.Buffer
	if err := show(&text, results, 3*time.Second, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"pkg/canary TestBake", "nobody reads it", "1 of 2 mutants killed (50.0%) in 3s"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, text.String())
		}
	}
	if err := show(&doc, results, 3*time.Second, true); err != nil {
		t.Fatal(err)
	}
	var got []Result
	if err := json.Unmarshal(doc.Bytes(), &got); err != nil || !slices.Equal(got, results) {
		t.Errorf("got %v, %v", got, err)
	}
}
