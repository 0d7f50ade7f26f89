package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The generated part of a document stands between these lines; the name is that
// of the part.
const (
	partBegins = "<!-- simulated: %s -->"
	partEnds   = "<!-- end of %s -->"
)

// write plays everything and writes it into the documents in a folder.
func write(l *lab, docs string) error {
	figures, judging := filepath.Join(docs, "figures.md"), filepath.Join(docs, "judging.md")
	for _, s := range sections {
		if err := replacePart(figures, s.name, s.text(l)); err != nil {
			return err
		}
	}
	for name, text := range map[string]func(*lab) string{"traffic": trafficTable, "bursts": bursts} {
		if err := replacePart(judging, name, text(l)); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Join(docs, "judging"), 0o755); err != nil {
		return fmt.Errorf("make the folder of the plots: %w", err)
	}
	for _, p := range plots {
		if err := os.WriteFile(filepath.Join(docs, "judging", p.file), []byte(p.draw(l).svg()), 0o644); err != nil {
			return fmt.Errorf("write a plot: %w", err)
		}
	}
	return replacePart(figures, "how", l.how())
}

// replacePart writes a part of a document anew.
func replacePart(file, name, text string) error {
	old, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read the document: %w", err)
	}
	mended, err := withPart(string(old), name, text)
	if err != nil {
		return fmt.Errorf("write what was simulated into %s: %w", file, err)
	}
	if err := os.WriteFile(file, []byte(mended), 0o644); err != nil {
		return fmt.Errorf("write the document: %w", err)
	}
	return nil
}

// withPart is a document with one of its parts written anew.
func withPart(document, name, text string) (string, error) {
	begins, ends := fmt.Sprintf(partBegins, name), fmt.Sprintf(partEnds, name)
	before, rest, found := strings.Cut(document, begins)
	_, after, closed := strings.Cut(rest, ends)
	if !found || !closed {
		return "", fmt.Errorf("it has no lines %q and %q: add them where the part belongs", begins, ends)
	}
	return before + begins + "\n" + strings.TrimRight(text, "\n") + "\n" + ends + after, nil
}
