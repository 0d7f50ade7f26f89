package canary

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MaxLegs is how many of a rollout's stretches its state keeps; the oldest go
// first. A release of 20 steps that is never interrupted has 20.
const MaxLegs = 40

// latestMilli is the last millisecond of the year 9999.
const latestMilli = 253402300799999

// MarshalText is the leg as it is stored: step/weight/from/to, the times in
// milliseconds since 1970. In place of the weight a leg of copies has m and their
// share: 1/m10/from/to.
func (l Leg) MarshalText() ([]byte, error) {
	if l.Mirror > 0 {
		return fmt.Appendf(nil, "%d/m%d/%d/%d", l.Step, l.Mirror, l.From.UnixMilli(), l.To.UnixMilli()), nil
	}
	return fmt.Appendf(nil, "%d/%d/%d/%d", l.Step, l.Weight, l.From.UnixMilli(), l.To.UnixMilli()), nil
}

// UnmarshalText reads what MarshalText wrote, and nothing else.
func (l *Leg) UnmarshalText(text []byte) error {
	parts := strings.Split(string(text), "/")
	if len(parts) != 4 {
		return fmt.Errorf("the leg %q is not step/weight/from/to", text)
	}
	share, copied := strings.CutPrefix(parts[1], "m")
	parts[1] = share
	var n [4]int64
	for i, part := range parts {
		var err error
		if n[i], err = strconv.ParseInt(part, 10, 64); err != nil || strconv.FormatInt(n[i], 10) != part {
			return fmt.Errorf("the leg %q holds %q, which is no whole number", text, part)
		}
	}
	weight, mirror := int(n[1]), 0
	if copied {
		weight, mirror = 0, weight
	}
	*l = Leg{Step: int(n[0]), Weight: weight, Mirror: mirror, From: time.UnixMilli(n[2]).UTC(), To: time.UnixMilli(n[3]).UTC()}
	return nil
}

// check finds what no build writes.
func (l Leg) check() error {
	from, to := l.From.UnixMilli(), l.To.UnixMilli()
	if share := max(l.Weight, l.Mirror); l.Step < 1 || min(l.Weight, l.Mirror) != 0 || share < 1 || share > 100 || from < 0 || to > latestMilli || from >= to {
		text, _ := l.MarshalText()
		return fmt.Errorf("leg %s is none: a step from 1, a weight or copies of 1 to 100 and a time after another are needed", text)
	}
	return nil
}

// legs are the stretches of the rollout once the present one ends now. Every
// order ends one, also an order that changes no weight: bake and evidence count
// from the write that carries the order.
func (m moment) legs() []Leg {
	legs := slices.Clone(m.state.Legs)
	leg := Leg{Step: m.state.Step, Weight: m.state.Weight, Mirror: m.state.mirror(), From: milli(m.written()), To: milli(m.now)}
	if n := len(legs); n > 0 {
		leg.From = latest(leg.From, legs[n-1].To) // clocks of two replicas may differ
	}
	if leg.Weight == 0 && leg.Mirror == 0 || !leg.From.Before(leg.To) {
		return legs
	}
	legs = append(legs, leg)
	return legs[max(0, len(legs)-MaxLegs):]
}

// written is when the last of the VirtualServices was given the present state;
// when it was ordered, where none carries it.
func (m moment) written() time.Time {
	var at time.Time
	for _, seen := range m.o.Traffic {
		if seen.Rollout == m.state.Rollout && seen.Sequence == m.state.Sequence {
			at = latest(at, seen.At)
		}
	}
	if at.IsZero() {
		return m.state.Since
	}
	return at
}

func milli(t time.Time) time.Time { return time.UnixMilli(t.UnixMilli()).UTC() }
