package controller

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"serin.dev/serin/pkg/annotation"
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/cluster"
	"serin.dev/serin/pkg/history"
	"serin.dev/serin/pkg/mode"
	"serin.dev/serin/pkg/mode/inplace"
	"serin.dev/serin/pkg/mode/pair"
	"serin.dev/serin/pkg/topology"
)

// situation is one Service as it was read.
type situation struct {
	key         cluster.Key
	objects     topology.Objects
	room        mode.Room
	spec        canary.Spec
	state       canary.State
	observation canary.Observation
}

// observe reads everything Decide may know but the verdict. With an error the
// situation is what could be read: enough to take traffic away by, not enough
// to give any.
func (c *Controller) observe(ctx context.Context, k cluster.Key) (situation, error) {
	objects, err := c.cache.Objects(ctx, k)
	if err != nil {
		err = fmt.Errorf("observe %s: %w", k, err)
	}
	objects.VirtualServices = c.own.overlay(k, objects.VirtualServices)
	revisions := c.cache.Revisions(k)
	if objects.ServiceFound != nil {
		revisions = history.Of(objects.ServiceFound.UID, revisions)
	}
	kept, unreadable := history.Releases(revisions)
	if unreadable != nil {
		c.log.Debug("A kept release can't be read", zap.Stringer("service", k), zap.Error(unreadable))
	}
	objects.History = kept

	s := situation{key: k, objects: objects}
	o := canary.Observation{History: kept}
	s.state, o.Newer, o.Lost = mode.FindState(objects)
	if o.Lost {
		o.Unreadable = mode.Unreadable(objects)
	}
	watched := c.watchedState(k)
	if watched.Rollout == "" || s.state.Rollout != "" {
		c.look(&s, &o)
	} else {
		// Who was watched is watched on, however people split the traffic. With
		// nobody to watch any more, the objects alone say who is who.
		led := s.state
		s.state = watched
		if c.look(&s, &o); !o.Observe {
			s.state = led
			c.look(&s, &o)
		}
	}
	if o.Observe && s.state.Rollout == "" {
		s.state = watched
	}
	c.bench.learn(k, s.state, &o)
	s.observation = o
	return s, err
}

// roomOf is the mode in which a Service is released.
func roomOf(o topology.Objects, s canary.State) mode.Room {
	if mode.InPlace(o, s) {
		return inplace.Room
	}
	return pair.Room
}

// look reads tracks, traffic and annotations off the objects, as the state says
// who is who.
func (c *Controller) look(s *situation, o *canary.Observation) {
	s.room = roomOf(s.objects, s.state)
	seen := s.room.Observe(s.objects, s.state)
	o.InPlace, o.Place = seen.InPlace, seen.Place
	o.Place.Written = c.own.routesWritten(s.key)
	o.OptedIn, o.Gone = seen.OptedIn, seen.Gone
	o.Tracks, o.Traffic, o.Findings = seen.Tracks, seen.Traffic, seen.Findings

	d, _ := topology.ByName(s.objects, seen.Subject)
	parsed, mistakes := annotation.Parse(d.Annotations, c.vocabulary)
	s.spec, o.Command, o.Invalid = parsed.Spec, parsed.Command, annotation.Mistakes(mistakes)
	o.OptedIn, o.Observe = o.OptedIn && !parsed.Observe, parsed.Observe
	if undo := c.undoing(s, seen.Subject); undo != nil {
		o.Command = undo
	}
	if mistakes == nil {
		o.Findings = append(o.Findings, s.room.CheckSpec(s.objects, o.Tracks, s.spec)...)
	}
}

// undoing is a command to take the last promotion back, where it stands on the
// Deployment that was promoted while the next release is another's: two that take
// turns.
func (c *Controller) undoing(s *situation, subject string) *canary.Command {
	promoted := s.state.Canary.Deployment
	if s.state.Phase != canary.Succeeded || s.state.InPlace || subject == "" || subject == promoted {
		return nil
	}
	d, _ := topology.ByName(s.objects, promoted)
	parsed, mistakes := annotation.Parse(d.Annotations, c.vocabulary)
	if mistakes != nil || parsed.Command == nil || parsed.Command.Verb != canary.CommandRollback || parsed.Command.ID == s.state.Handled {
		return nil
	}
	return parsed.Command
}
