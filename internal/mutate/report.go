package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// least is the share of the mutants that have to be killed, in percent.
const least = 95

// killed counts the mutants that the tests noticed.
func killed(results []Result) (n int) {
	for _, r := range results {
		if r.Outcome == Killed || r.Outcome == TimedOut {
			n++
		}
	}
	return n
}

// judge says what is wrong with the tests, or with the list: all of it.
func judge(results []Result) error {
	var errs []error
	for _, r := range results {
		switch {
		case r.Outcome == NotCompiled:
			errs = append(errs, fmt.Errorf("%q in %s does not compile (%s): write it so that it does", r.Name, r.File, r.By))
		case r.Outcome == Survived && r.Reason == "":
			errs = append(errs, fmt.Errorf("%q in %s survives: write a test that shows what it breaks, or say in the list why it may survive", r.Name, r.File))
		case r.Outcome != Survived && r.Reason != "":
			errs = append(errs, fmt.Errorf("%q in %s is killed by %s, though the list says why it survives: take that away", r.Name, r.File, r.By))
		}
	}
	if n := killed(results); 100*n < least*len(results) {
		errs = append(errs, fmt.Errorf("%d of %d mutants are killed, less than %d%%", n, len(results), least))
	}
	return errors.Join(errs...)
}

// table prints what became of each mutant, and the figures.
func table(w io.Writer, results []Result, took time.Duration) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "MUTANT\tOUTCOME\tBY\tSECONDS")
	for _, r := range results {
		by := r.By
		if r.Outcome == Survived && r.Reason != "" {
			by = r.Reason
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%.1f\n", r.Name, r.Outcome, by, r.Took.Seconds())
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print the table: %w", err)
	}
	n := killed(results)
	_, err := fmt.Fprintf(w, "\n%d of %d mutants killed (%.1f%%) in %s\n", n, len(results), 100*float64(n)/float64(max(1, len(results))), took.Round(time.Second))
	return err
}
