package main

import (
	"os"
	"os/exec"
	"path"
	"strings"
	"testing"
)

// left are the folders of the module that a program is built from and that no
// line of the text, after its prefix, names or contains.
func left(text, prefix string, packages []string) (missing []string) {
	var there []string
	for line := range strings.Lines(text) {
		if rest, is := strings.CutPrefix(strings.TrimSpace(line), prefix); is {
			there = append(there, strings.Fields(rest)[0])
		}
	}
	for _, p := range packages {
		found := false
		for folder := p; folder != "." && !found; folder = path.Dir(folder) {
			for _, t := range there {
				found = found || t == folder
			}
		}
		if !found {
			missing = append(missing, p)
		}
	}
	return missing
}

func TestTheImageGetsAllThatItsProgramsAreBuiltFrom(t *testing.T) {
	const module = "serin.dev/serin/"
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".", "../kubectl-canary").Output()
	if err != nil {
		t.Fatal(err)
	}
	var packages []string
	for line := range strings.Lines(string(out)) {
		if p, ours := strings.CutPrefix(strings.TrimSpace(line), module); ours {
			packages = append(packages, p)
		}
	}
	if len(packages) < 10 {
		t.Fatalf("only %v are seen", packages)
	}
	for file, prefix := range map[string]string{"Dockerfile": "COPY ", ".dockerignore": "!"} {
		text, err := os.ReadFile("../../" + file)
		if err != nil {
			t.Fatal(err)
		}
		if missing := left(string(text), prefix, packages); len(missing) > 0 {
			t.Errorf("%s leaves out what its programs are built from: %v", file, missing)
		}
	}
}

func TestAFolderThatTheImageLacksIsNoticed(t *testing.T) {
	got := left("COPY go.mod ./\nCOPY cmd ./cmd\n", "COPY ", []string{"cmd/serin", "pkg/judge"})
	if len(got) != 1 || got[0] != "pkg/judge" {
		t.Errorf("noticed %v, want pkg/judge", got)
	}
}
