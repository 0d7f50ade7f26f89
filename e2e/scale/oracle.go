package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"serin.dev/serin/e2e/scale/town"
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/judge"
	"serin.dev/serin/pkg/prom"
	"serin.dev/serin/pkg/replay"
)

var virtualServices = schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1", Resource: "virtualservices"}

// stateOf reads where a unit's rollout stands.
func (b *bench) stateOf(ctx context.Context, u unit) (canary.State, error) {
	v, err := b.trees.Resource(virtualServices).Namespace(u.namespace).Get(ctx, u.name, metav1.GetOptions{})
	if err != nil {
		return canary.State{}, fmt.Errorf("read the state of %s: %w", u.key(), err)
	}
	text, some := v.GetAnnotations()[canary.StatePrefix+u.name]
	if !some {
		return canary.State{}, nil
	}
	return canary.DecodeState(text)
}

var errNeverShown = errors.New("the data never show the breach")

// shownAt is when the data showed a breach first: the judge is asked after every
// scrape of the unit's pods that arrived since the breach, and whenever a block
// was closed, what it makes of everything that Prometheus then knew. The first
// time at which it says rollback is the answer.
func shownAt(ctx context.Context, t *town.Town, u unit, s canary.State, from, to time.Time) (time.Time, error) {
	r := &reader{town: t, unit: u, state: s}
	r.reading.Follow(s, s.At)
	for _, at := range r.moments(from, to) {
		breach, err := r.look(ctx, at)
		if err != nil {
			return time.Time{}, err
		}
		if breach {
			return at, nil
		}
	}
	return time.Time{}, errNeverShown
}

// reader reads a rollout's data as they were at a time.
type reader struct {
	town    *town.Town
	unit    unit
	state   canary.State
	reading replay.Reading
}

// moments are when there is something new to know, in order.
func (r *reader) moments(from, to time.Time) []time.Time {
	all := append(r.town.Scrapes(r.unit.namespace, r.unit.stable(), from, to), r.town.Scrapes(r.unit.namespace, r.unit.canary(), from, to)...)
	for at := prom.NextClosed(from, r.state.Width); at.Before(to); at = at.Add(r.state.Width) {
		all = append(all, at.Add(time.Millisecond))
	}
	sortTimes(all)
	return all
}

// aPart is how much of the newest time an open block may leave out. What had
// arrived within it counts as shown already.
const aPart = 250 * time.Millisecond

// look asks the judge about everything that was known at a time.
func (r *reader) look(ctx context.Context, at time.Time) (breach bool, err error) {
	query := r.town.At(at)
	for {
		s, some := r.reading.Stretch()
		if !some {
			break
		}
		answer := prom.Blocks(ctx, query, []prom.Ask{r.ask(s, r.reading.Had())}, at)[r.unit.key()]
		if answer.Err != nil {
			return false, answer.Err
		}
		if !r.reading.Add(answer.Blocks) {
			break
		}
	}
	held := r.reading.Case()
	if held.Verdict(at).Kind == judge.Rollback {
		return true, nil
	}
	s, some := r.reading.Stretch()
	if !some || s.Before || !r.reading.Next().Before(at) {
		return false, nil
	}
	answer := prom.Open(ctx, query, []prom.Ask{r.ask(s, r.reading.Next())}, at.Add(aPart))[r.unit.key()]
	for _, block := range answer.Blocks {
		held.Peek(block)
	}
	return held.Verdict(at).Kind == judge.Rollback, answer.Err
}

func (r *reader) ask(s replay.Stretch, from time.Time) prom.Ask {
	a := s.Ask(r.unit.namespace, r.unit.name, r.state, from)
	a.Key, a.Reporter = r.unit.key(), prom.Auto
	return a
}
