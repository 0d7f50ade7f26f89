package canary

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"slices"
	"strconv"
	"testing"
)

// reasonsOf are the values of all constants of the type Reason in a file.
func reasonsOf(t *testing.T, source any) (all []Reason) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "reason.go", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, is := n.(*ast.ValueSpec)
		if !is {
			return true
		}
		if name, is := spec.Type.(*ast.Ident); is && name.Name == "Reason" {
			for _, v := range spec.Values {
				text, err := strconv.Unquote(v.(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, Reason(text))
			}
		}
		return true
	})
	return all
}

// without are those reasons that no table has.
func without(all []Reason) (missing []Reason) {
	for _, r := range all {
		_, known := kinds[r]
		if known == slices.Contains(findings, r) {
			missing = append(missing, r)
		}
	}
	return missing
}

func TestEveryReasonHasItsKindInOneTable(t *testing.T) {
	all := reasonsOf(t, nil)
	if missing := without(all); len(missing) > 0 || len(all) < 90 {
		t.Errorf("of %d reasons these are in no table or in both: %v", len(all), missing)
	}
	for _, r := range slices.Concat(slices.Collect(maps.Keys(kinds)), findings) {
		if !slices.Contains(all, r) {
			t.Errorf("%q is no reason", r)
		}
	}
	for _, k := range kinds {
		if k != quiet && !slices.Contains(Kinds(), k) {
			t.Errorf("%q is no kind", k)
		}
	}
}

func TestAReasonWithoutAKindIsFound(t *testing.T) {
	all := reasonsOf(t, "package x\nconst (\n\tA Reason = \"Promoted\"\n\tB Reason = \"Forgotten\"\n)")
	if missing := without(all); !slices.Equal(missing, []Reason{"Forgotten"}) {
		t.Errorf("found missing: %v", missing)
	}
}

func TestOneReasonMayMeanSeveralThings(t *testing.T) {
	for name, c := range map[string]struct {
		phase        Phase
		shown, event Reason
		warning      bool
		want         Kind
	}{
		"an incident of both versions holds":                  {Inconclusive, SharedIncident, SharedIncident, true, KindHeld},
		"an incident that lasts rolls back":                   {RollingBack, SharedIncident, SharedIncident, true, KindRollingBack},
		"a rollback that waits for stable is held":            {RollingBack, StableUnavailable, StableUnavailable, true, KindHeld},
		"a command in a rollback that does nothing":           {RollingBack, CommandIgnored, CommandIgnored, true, KindAttention},
		"a verified rollback":                                 {RolledBack, ErrorRateTooHigh, RollbackVerified, false, KindRolledBack},
		"a deleted Deployment without users ends at once":     {RolledBack, DeploymentDeleted, DeploymentDeleted, true, KindRolledBack},
		"opting out is what it is":                            {RollingBack, OptedOut, OptedOut, true, KindOptedOut},
		"an abort that stands at rest is no news":             {Waiting, AbortedByCommand, AbortedByCommand, false, ""},
		"a finding that blocks":                               {Blocked, SubsetMissing, SubsetMissing, true, KindHeld},
		"the second finding that blocks":                      {Blocked, SubsetMissing, NoSubset, true, KindHeld},
		"a finding that goes with a start":                    {Testing, ReleaseStarted, HeaderUnreachable, true, KindAttention},
		"a finding in mid-release":                            {Progressing, QuotaTooSmall, QuotaTooSmall, true, KindHeld},
		"somebody took over and got the new version":          {Succeeded, ResumedByPerson, ResumedByPerson, true, KindPromoted},
		"who only looks on is told what would have been done": {Watched, ErrorRateTooHigh, ErrorRateTooHigh, true, KindHeld},
		"the canary dies while the Deployment is updated":     {Promoting, CanaryUnavailable, CanaryUnavailable, true, KindAttention},
		"a warning of what is usually quiet":                  {Progressing, StepStarted, ScalingCanary, true, KindAttention},
		"what is usually quiet":                               {Progressing, Baking, Baking, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			v := View{Phase: c.phase, Reason: c.shown}
			if got := KindOf(v, Event{Reason: c.event, Warning: c.warning}); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestWarningsAreNeverQuiet(t *testing.T) {
	for r := range kinds {
		for _, phase := range []Phase{Idle, Waiting, Blocked, Testing, Progressing, Paused, Inconclusive, Promoting, Finishing, Succeeded, RollingBack, RolledBack, Watched} {
			for _, shown := range []Reason{r, Baking} {
				if KindOf(View{Phase: phase, Reason: shown}, Event{Reason: r, Warning: true}) == quiet {
					t.Errorf("a warning of %s in %s makes no message", r, phase)
				}
			}
		}
	}
}
