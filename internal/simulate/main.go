// Simulate plays releases by the thousand against the judge, with fixed seeds,
// and writes what it finds into docs/figures.md and docs/judging.md.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "simulate:", err)
		os.Exit(1)
	}
}

// run plays what was asked for. Only a full run is written to the documents.
func run(args []string, out, progress io.Writer) error {
	flags := flag.NewFlagSet("simulate", flag.ContinueOnError)
	flags.SetOutput(progress)
	seed := flags.Uint64("seed", 1, "seed of all random numbers")
	quick := flags.Bool("quick", false, "a twentieth of the runs, to the terminal only")
	only := flags.String("only", "", "one section, to the terminal only: "+names())
	docs := flags.String("docs", "docs", "folder of the documents")
	if err := flags.Parse(args); err != nil {
		return err
	}
	fraction := 1
	if *quick {
		fraction = 20
	}
	l := newLab(*seed, fraction, progress)
	if !*quick && *only == "" {
		return write(l, *docs)
	}
	found := false
	for _, s := range sections {
		if *only == "" || *only == s.name {
			found = true
			fmt.Fprintf(out, "%s\n", s.text(l))
		}
	}
	if !found {
		return fmt.Errorf("there is no section %q: give one of %s", *only, names())
	}
	fmt.Fprintf(progress, "done in %s\n", time.Since(l.begun).Round(time.Second))
	return nil
}

// names are those of all sections.
func names() string {
	var n []string
	for _, s := range sections {
		n = append(n, s.name)
	}
	return strings.Join(n, ", ")
}
