// Package prom reads what two versions of a service did from Prometheus. It
// asks for raw cumulative counters at the borders of an absolute time grid and
// makes the increments itself, so that a new series' first errors count, a
// restart loses nothing, and a replay gives the same blocks as the live view.
//
// Prometheus stands behind one function type, Query; HTTP is its implementation.
package prom

import (
	"context"
	"time"
)

// Query is a range query: the value of promql at start, start+step, ... up to
// and including end. It is the only way in which this package asks anything.
type Query func(ctx context.Context, promql string, start, end time.Time, step time.Duration) (Matrix, error)

// Matrix is the answer to a range query.
type Matrix struct {
	Series   []Series
	Warnings []string // what Prometheus wants people to know, such as a partial answer
}

// Series is one series of an answer.
type Series struct {
	Labels Labels
	Points []Point // ascending in time; absent where the series had no value
}

// Labels are a series' labels in any order, each name once.
type Labels []Label

// Label is a name and its value.
type Label struct{ Name, Value string }

// Get is the value of the named label, empty if there is none.
func (l Labels) Get(name string) string {
	for _, label := range l {
		if label.Name == name {
			return label.Value
		}
	}
	return ""
}

// Point is a value at a time in milliseconds since the Unix epoch.
type Point struct {
	At    int64
	Value float64 // may be NaN or infinite, as sent
}
