package judge

import "fmt"

// gaugeShare is the share of blocks in which a gauge may be beyond its bound.
const gaugeShare = 0.1

// share is the share of bad trials that the metric allows.
func (c Custom) share() float64 {
	switch {
	case c.Gauge:
		return gaugeShare
	case c.AtLeast:
		return 1 - c.Bound
	}
	return c.Bound
}

// limit writes a bound as people do: ">= 99%", "<= 100".
func (c Custom) limit(value float64) string {
	sign := "<= "
	if c.AtLeast {
		sign = ">= "
	}
	if c.Gauge {
		return sign + number(value)
	}
	return sign + share(value)
}

// seen says what a track did: "88% of 100", "not <= 100 in 4 of 6 blocks".
func (c Custom) seen(x Tally) string {
	if c.Gauge {
		return fmt.Sprintf("not %s in %d of %s", c.limit(c.Bound), x.Hits, plural(x.N, "block", "blocks"))
	}
	value := x.share()
	if c.AtLeast {
		value = 1 - value
	}
	return fmt.Sprintf("%s of %d", share(value), x.N)
}

// suggest writes a limit that allows the share of bad trials. How far beyond
// its bound a gauge was nobody knows, and a limit that nothing breaks is none.
func (c Custom) suggest(bad float64) string {
	switch {
	case c.Gauge || bad >= 1:
		return ""
	case c.AtLeast:
		return c.limit(1 - bad)
	}
	return c.limit(bad)
}
