package controller

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/cluster"
	"serin.dev/serin/pkg/history"
	"serin.dev/serin/pkg/mode"
	"serin.dev/serin/pkg/mode/modes"
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
	o.Begun, _ = history.Begun(revisions) // those that cannot be read are in nobody's way
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

// look reads tracks, traffic and annotations off the objects, as the state says
// who is who.
func (c *Controller) look(s *situation, o *canary.Observation) {
	seen := modes.Look(s.objects, s.state, c.vocabulary, o)
	s.room, s.spec = seen.Room, seen.Spec
	o.Place.Written = c.own.routesWritten(s.key)
}
