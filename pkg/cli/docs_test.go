package cli

import (
	"testing"

	"serin.dev/serin/internal/golden"
)

// TestTheDocumentationIsCurrent also writes it, with -update.
func TestTheDocumentationIsCurrent(t *testing.T) {
	const file = "../../docs/cli.md"
	for name, want := range map[string]string{"verbs": Markdown(), "exits": ExitTable()} {
		golden.Section(t, file, name, "./pkg/cli", want)
	}
}

func TestEveryExitCodeIsOneOfItsOwn(t *testing.T) {
	seen := map[int]bool{}
	for _, e := range Exits() {
		if seen[e.Code] || e.Name == "" || e.Meaning == "" {
			t.Errorf("%+v", e)
		}
		seen[e.Code] = true
	}
}
