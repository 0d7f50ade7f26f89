package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Mutant is one deliberate mistake: a text of the product that is replaced by
// another. A test suite is worth something if it fails with each of them.
type Mutant struct {
	Name string // what goes wrong by it, as a sentence
	File string // from the module's root, with slashes
	Old  string // occurs exactly once in File
	New  string
	// Survives says why no test can or need tell this mutant from the product; empty
	// for one that has to be killed.
	Survives string
}

// all is the whole list, room by room.
func all() []Mutant {
	return slices.Concat(decide, verdicts, routes, pins, inPlace, writes, tenancy, outside)
}

// own is the package that a mutant is in, as the go command names it.
func (m Mutant) own() string { return "./" + path.Dir(m.File) }

// apply is the mutated text of the mutant's file. It fails where the old text does
// not occur exactly once: then the list no longer fits the product, and has to be
// mended.
func (m Mutant) apply(root string) (string, error) {
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(m.File)))
	if err != nil {
		return "", fmt.Errorf("apply %q: %w", m.Name, err)
	}
	switch n := strings.Count(string(text), m.Old); {
	case m.Old == "" || m.Old == m.New:
		return "", fmt.Errorf("apply %q: it changes nothing: give it an old and another new text", m.Name)
	case n != 1:
		return "", fmt.Errorf("apply %q: its old text occurs %d times in %s, must be once: write the text that is there now", m.Name, n, m.File)
	}
	return strings.Replace(string(text), m.Old, m.New, 1), nil
}

// check finds all mutants that don't apply, and those with a name that another has.
func check(root string, mutants []Mutant) error {
	var errs []error
	names := map[string]bool{}
	for _, m := range mutants {
		if _, err := m.apply(root); err != nil {
			errs = append(errs, err)
		}
		if names[m.Name] {
			errs = append(errs, fmt.Errorf("two mutants are named %q", m.Name))
		}
		names[m.Name] = true
	}
	return errors.Join(errs...)
}
