package annotation

import (
	"fmt"
	"slices"
	"strings"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/smoke"
)

const (
	maxGates  = 8
	gatesMend = `write names of gates, comma-separated, each with stages if you like: "hours, migration@before-start+before-rollback", or "none"`
)

// parseGates reads names of gates, and when each is asked. That one isn't known is told
// with all that are: a team can't see the configuration.
func parseGates(value string, d *draft) []fault {
	if value == none {
		d.spec.Gates = nil
		return nil
	}
	parts := list(value)
	if len(parts) > maxGates {
		return one(fmt.Sprintf("has %d gates, at most %d are allowed", len(parts), maxGates), gatesMend)
	}
	var faults []fault
	var uses []canary.GateUse
	for _, part := range parts {
		use, wrong := parseGate(part, d.gates)
		if wrong == nil && slices.ContainsFunc(uses, func(other canary.GateUse) bool { return other.Name == use.Name }) {
			wrong = one(fmt.Sprintf("has %q twice", use.Name), "write each gate once, with all its stages")
		}
		faults = append(faults, wrong...)
		uses = append(uses, use)
	}
	if faults == nil {
		d.spec.Gates = uses
	}
	return faults
}

// parseGate reads a gate with its stages, like migration@before-start+before-rollback.
func parseGate(part string, known []Gate) (canary.GateUse, []fault) {
	name, at, staged := strings.Cut(part, "@")
	use := canary.GateUse{Name: strings.TrimSpace(name)}
	i := slices.IndexFunc(known, func(g Gate) bool { return g.Name == use.Name })
	switch {
	case use.Name == none:
		return use, one(`has "none" beside others`, "write it alone, or take it away")
	case !isLabel(use.Name):
		return use, one(fmt.Sprintf("has %q, which is no name of a gate", shorten(use.Name)), gatesMend)
	case known != nil && i < 0:
		return use, one(fmt.Sprintf("names the gate %q, which is not defined", use.Name), definedGates(known))
	case staged:
		stages, faults := parseStages(strings.Split(at, "+"))
		use.Stages = stages
		return use, faults
	case i >= 0:
		use.Stages = known[i].Stages
	default:
		use.Stages = []canary.Stage{canary.BeforeStart}
	}
	return use, nil
}

func definedGates(known []Gate) string {
	if len(known) == 0 {
		return "there is none: define it under gates in the configuration of Serin first, or take the key away"
	}
	names := make([]string, len(known))
	for i, g := range known {
		names[i] = g.Name
	}
	return "known are " + strings.Join(names, ", ") + "; others have to be defined in the configuration of Serin first"
}

// parseStages reads names of stages, into their order.
func parseStages(names []string) ([]canary.Stage, []fault) {
	choices := make([]string, len(canary.GateStages))
	for i, s := range canary.GateStages {
		choices[i] = string(s)
	}
	asked := map[canary.Stage]bool{}
	var faults []fault
	for _, name := range names {
		stage := canary.Stage(strings.TrimSpace(name))
		switch {
		case !slices.Contains(canary.GateStages, stage):
			faults = append(faults, fault{fmt.Sprintf("has the stage %q, which is none of the choices", shorten(string(stage))), meant(string(stage), choices, "write "+strings.Join(choices, ", ")+", with a + between several")})
		case asked[stage]:
			faults = append(faults, fault{fmt.Sprintf("has the stage %q twice for one gate", stage), "write each once"})
		}
		asked[stage] = true
	}
	if faults != nil {
		return nil, faults
	}
	stages := slices.DeleteFunc(slices.Clone(canary.GateStages), func(s canary.Stage) bool { return !asked[s] })
	return stages, nil
}

// parseSmoke reads smoke checks. They are kept as they were written.
func parseSmoke(value string, d *draft) []fault {
	if value == none {
		d.spec.Smoke = ""
		return nil
	}
	_, mistakes := smoke.Parse(value)
	var faults []fault
	for _, m := range mistakes {
		faults = append(faults, fault{m.Problem, m.Mend})
	}
	d.spec.Smoke = value
	return faults
}
