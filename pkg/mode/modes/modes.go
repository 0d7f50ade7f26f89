// Package modes chooses the mode in which a Service is released, and reads off its
// objects what the core may know of them: for the controller, and for people who
// look without it.
package modes

import (
	"serin.dev/serin/pkg/annotation"
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/mode"
	"serin.dev/serin/pkg/mode/inplace"
	"serin.dev/serin/pkg/mode/pair"
	"serin.dev/serin/pkg/topology"
)

// Sight is what the objects of a Service show beside the observation.
type Sight struct {
	Room    mode.Room
	Subject string // the annotated Deployment; empty: none
	Spec    canary.Spec
}

// Look reads tracks, traffic and annotations off the objects into an observation, as
// the state says who is who.
func Look(objects topology.Objects, state canary.State, known annotation.Vocabulary, o *canary.Observation) Sight {
	room := roomOf(objects, state)
	seen := room.Observe(objects, state)
	o.InPlace, o.Place = seen.InPlace, seen.Place
	o.Gone, o.Tracks, o.Traffic, o.Findings = seen.Gone, seen.Tracks, seen.Traffic, seen.Findings

	d, _ := topology.ByName(objects, seen.Subject)
	parsed, mistakes := annotation.Parse(d.Annotations, known)
	o.Command, o.Invalid = standing(parsed.Command, seen.Subject), annotation.Mistakes(mistakes)
	o.OptedIn, o.Observe = seen.OptedIn && !parsed.Observe, parsed.Observe
	if undo := undoing(objects, state, seen.Subject, known); undo != nil {
		o.Command = undo
	}
	if mistakes == nil {
		o.Findings = append(o.Findings, room.CheckSpec(objects, o.Tracks, parsed.Spec)...)
	}
	return Sight{Room: room, Subject: seen.Subject, Spec: parsed.Spec}
}

// roomOf is the mode in which a Service is released.
func roomOf(o topology.Objects, s canary.State) mode.Room {
	if mode.InPlace(o, s) {
		return inplace.Room
	}
	return pair.Room
}

// undoing is a command to take the last promotion back, where it stands on the
// Deployment that was promoted while the next release is another's: two that take
// turns.
func undoing(objects topology.Objects, state canary.State, subject string, known annotation.Vocabulary) *canary.Command {
	promoted := state.Canary.Deployment
	if state.Phase != canary.Succeeded || state.InPlace || subject == "" || subject == promoted {
		return nil
	}
	d, _ := topology.ByName(objects, promoted)
	parsed, mistakes := annotation.Parse(d.Annotations, known)
	if mistakes != nil || parsed.Command == nil || parsed.Command.Verb != canary.CommandRollback || parsed.Command.ID == state.Handled {
		return nil
	}
	return standing(parsed.Command, promoted)
}

// standing is a command with the Deployment on which it stands.
func standing(c *canary.Command, on string) *canary.Command {
	if c != nil {
		c.On = on
	}
	return c
}
