package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// figure is one line of the result.
type figure struct {
	Name  string  `json:"name"`
	Value string  `json:"value"`
	Goal  string  `json:"goal,omitempty"`
	Met   *bool   `json:"met,omitempty"` // nil where there is no goal
	Raw   float64 `json:"raw"`           // of the value that the goal is about, in its unit
}

// report is what was measured, in order.
type report struct {
	Setting string   `json:"setting"`
	Figures []figure `json:"figures"`
}

func (r *report) add(name, format string, args ...any) {
	f := figure{Name: name, Value: fmt.Sprintf(format, args...)}
	say("%s: %s", f.Name, f.Value)
	r.Figures = append(r.Figures, f)
}

// most adds a figure that must not be above a goal.
func (r *report) most(name string, value, goal float64, unit string) {
	met := value <= goal
	f := figure{Name: name, Value: short(value) + " " + unit, Goal: "at most " + short(goal) + " " + unit, Met: &met, Raw: value}
	say("%s: %s (%s)", f.Name, f.Value, f.Goal)
	r.Figures = append(r.Figures, f)
}

func short(v float64) string {
	switch {
	case math.IsNaN(v):
		return "unknown"
	case v == math.Trunc(v) || v >= 100:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// missed are the goals that were not reached.
func (r *report) missed() (names []string) {
	for _, f := range r.Figures {
		if f.Met != nil && !*f.Met {
			names = append(names, f.Name)
		}
	}
	return names
}

func (r *report) write(out io.Writer, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%s\n\n| what | measured | goal |\n|---|---|---|\n", r.Setting)
	for _, f := range r.Figures {
		goal := f.Goal
		if f.Met != nil && !*f.Met {
			goal += ", missed"
		}
		fmt.Fprintf(&text, "| %s | %s | %s |\n", f.Name, f.Value, goal)
	}
	_, err := io.WriteString(out, text.String())
	return err
}

// quantile of times, by the nearest rank; zero of none.
func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	all = slices.Clone(all)
	slices.Sort(all)
	return all[max(0, int(math.Ceil(q*float64(len(all))))-1)]
}

func spread(all []time.Duration) string {
	round := func(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
	return fmt.Sprintf("p50 %s, p99 %s, most %s, of %d", round(quantile(all, .5)), round(quantile(all, .99)), round(quantile(all, 1)), len(all))
}

func sortFloats(all []float64) { slices.Sort(all) }

func sortTimes(all []time.Time) { slices.SortFunc(all, time.Time.Compare) }

func mib(bytes float64) float64 { return bytes / (1 << 20) }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
