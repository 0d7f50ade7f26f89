package controller

import (
	"maps"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/cluster"
)

// watched is the state of a release that people lead and Serin only judges. It
// stands on no object, so it is kept here; whoever else leads begins anew with
// the weight that is there.
func (c *Controller) watchedState(k cluster.Key) canary.State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.watched[k]
}

// keepWatched keeps what Decide made of it, and has it judged from now on.
func (c *Controller) keepWatched(k cluster.Key, s situation, next canary.State) {
	c.mu.Lock()
	c.watched[k] = next
	c.mu.Unlock()
	c.bench.follow(k, next, asWritten(s.observation.Traffic, next))
}

func (c *Controller) forgetWatched(k cluster.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.watched, k)
}

// asWritten is the traffic as if the routes carried the watched state since
// they were given its weight.
func asWritten(traffic map[canary.ObjectKey]canary.Seen, s canary.State) map[canary.ObjectKey]canary.Seen {
	out := maps.Clone(traffic)
	for k, seen := range out {
		seen.Rollout, seen.Sequence, seen.At = s.Rollout, s.Sequence, s.Since
		out[k] = seen
	}
	return out
}
