package prom

import (
	"math"
	"testing"
)

// TestBothSpellingsOfABound: a counter under two names, at two borders.
func TestBothSpellingsOfABound(t *testing.T) {
	none := math.NaN()
	for _, c := range []struct {
		name      string
		old, anew values
		n         int64
		there, ok bool
	}{
		{"one name", values{10, 15}, values{none, none}, 5, true, true},
		{"a bound that is new", values{none, 5}, values{none, none}, 5, true, true},
		{"a bound that nobody has", values{none, none}, values{none, none}, 0, false, true},
		{"a bound that went", values{10, none}, values{none, none}, 0, false, false},
		{"a counter that fell", values{10, 9}, values{none, none}, 0, false, false},
		{"the new name takes over", values{10, none}, values{none, 15}, 5, true, true},
		{"the new name has less", values{10, none}, values{none, 9}, 0, false, false},
		{"the new name begins while the old stands still", values{10, 10}, values{none, 15}, 0, false, false},
		{"the old name stands still", values{10, 10}, values{15, 20}, 5, true, true},
		{"the old name is forgotten", values{10, none}, values{15, 30}, 0, false, false},
		{"a part of the old name is forgotten", values{10, 7}, values{15, 20}, 0, false, false},
		{"both names go on, each of other proxies", values{10, 12}, values{15, 20}, 7, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, there, ok := bucket([]values{c.old, c.anew}, between{0, 1})
			if ok != c.ok || ok && (n != c.n || there != c.there) {
				t.Errorf("%d %t %t", n, there, ok)
			}
		})
	}
}
