package canary

import (
	"slices"
	"testing"

	"serin.dev/serin/internal/golden"
)

// unguided are the reasons of which the guide says nothing, or twice something, or
// in another order than the table of reasons.
func unguided(all []Reason, chapters []chapter) (wrong []Reason) {
	times := map[Reason]int{}
	for _, c := range chapters {
		for _, p := range c.pages {
			times[p.reason]++
			if p.guide.Meaning == "" || !slices.Contains(all, p.reason) {
				wrong = append(wrong, p.reason)
			}
		}
	}
	for _, r := range all {
		if times[r] != 1 {
			wrong = append(wrong, r)
		}
	}
	return wrong
}

func TestEveryReasonIsExplainedOnce(t *testing.T) {
	all := reasonsOf(t, nil)
	if wrong := unguided(all, chapters); len(wrong) > 0 {
		t.Errorf("explained not at all, twice, without a meaning, or unknown: %v", wrong)
	}
	if NoData.Guide().Mend == "" || Reason("none").Guide() != (Guide{}) {
		t.Error("Guide does not find what is in the table")
	}
}

func TestAReasonWithoutAnExplanationIsNoticed(t *testing.T) {
	pages := []page{{NoData, Guide{Meaning: "x"}}, {Promoted, Guide{}}, {NoData, Guide{Meaning: "y"}}, {"Unknown", Guide{Meaning: "z"}}}
	got := unguided([]Reason{NoData, Promoted, Baking}, []chapter{{pages: pages}})
	if want := []Reason{Promoted, "Unknown", NoData, Baking}; !slices.Equal(got, want) {
		t.Errorf("noticed %v, want %v", got, want)
	}
}

func TestWhatHoldsOrBlocksHasAMend(t *testing.T) {
	for _, r := range findings {
		g := r.Guide()
		if g.Mend == "" && r != HeaderAdopted {
			t.Errorf("%s is found by preflight and has no mend", r)
		}
	}
	for r, kind := range kinds {
		if kind == KindHeld && r.Guide().Mend == "" {
			t.Errorf("%s holds a release and has no mend", r)
		}
	}
}

// TestTheDocumentationIsCurrent also writes it, with -update.
func TestTheDocumentationIsCurrent(t *testing.T) {
	const file = "../../docs/troubleshooting.md"
	for name, want := range map[string]string{"reasons": GuideMarkdown(), "index": GuideIndex()} {
		golden.Section(t, file, name, "./pkg/canary", want)
	}
}
