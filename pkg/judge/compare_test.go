package judge

import (
	"math"
	"testing"
)

func TestAFewFailuresAreMeasuredByTheirExactChance(t *testing.T) {
	for _, c := range []struct {
		name           string
		canary, stable Tally
		want           bool
	}{
		{"one failure of few requests beside one of many is chance", Tally{1, 180}, Tally{1, 3420}, false},
		{"one failure where stable had none is chance", Tally{1, 180}, Tally{0, 3420}, false},
		{"two of few beside two of many is no chance", Tally{2, 180}, Tally{2, 3420}, true},
		{"two where stable had none is no chance", Tally{2, 180}, Tally{0, 3420}, true},
		{"the same share is no difference", Tally{5, 100}, Tally{95, 1900}, false},
		{"five times stable's share of many is clear", Tally{50, 1000}, Tally{190, 19000}, true},
		{"without requests nothing is clear", Tally{0, 0}, Tally{5, 100}, false},
		{"without stable's requests neither", Tally{5, 100}, Tally{0, 0}, false},
	} {
		if got := c.canary.clearlyWorse(c.stable, 2); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestTheChanceOfHitsIsThatOfTheBinomialDistribution(t *testing.T) {
	for _, c := range []struct {
		x, n int64
		p    float64
		want float64
	}{
		{0, 7, .3, 1}, {1, 1, .05, .05}, {1, 2, .05, .0975}, {2, 4, .05, .01401875}, {3, 3, .5, .125},
	} {
		if got := chanceOf(c.x, c.n, c.n, c.p); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("at least %d of %d at %v: %v, want %v", c.x, c.n, c.p, got, c.want)
		}
	}
}
