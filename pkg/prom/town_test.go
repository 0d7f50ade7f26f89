package prom

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// town is a place where everything happens to proxies that can: requests, slow
// and failing scrapes, restarts, pods that come and go.
type town struct {
	random *rand.Rand
	homes  []*home
	born   int
}

type home struct {
	*envoy
	next    float64 // when it is scraped next
	gone    bool
	mourned float64 // when its end is marked
	end     float64 // and as of when
}

func newTown(seed uint64) *town {
	t := &town{random: chance(seed)}
	for range 3 {
		t.settle(0, "destination", "web-v1")
	}
	t.settle(0, "source", "web-v1")
	t.settle(0, "source", "web-v2")
	t.settle(0, "source", "unknown")
	t.settle(20, "destination", "web-v2")
	return t
}

func (t *town) settle(at float64, reporter, workload string) {
	t.born++
	e := proxyOf(reporter, workload, fmt.Sprintf("%s-%d", workload, t.born))
	t.homes = append(t.homes, &home{envoy: e, next: at + t.random.Float64()*10})
}

// live lets half a second pass that ends at the given second.
func (t *town) live(db *tsdb, at float64) {
	for _, h := range t.homes {
		if h.gone {
			// Prometheus marks a target's end two intervals later, back-dated.
			if h.mourned > 0 && at >= h.mourned {
				h.fail(db, after(h.end), after(at))
				h.mourned = 0
			}
			continue
		}
		h.answers(float64(t.random.IntN(8)), "200", "0", "-", 50)
		if t.random.IntN(3) == 0 {
			h.answers(1, []string{"500", "503", "404", "0"}[t.random.IntN(4)], "", []string{"-", "UF", "UT", "DC", "UH"}[t.random.IntN(5)], 3000)
		}
		if at >= h.next {
			t.visit(db, h)
		}
		t.fate(h, at)
	}
}

// visit is a scrape: it may be late by a little, slow, or fail.
func (t *town) visit(db *tsdb, h *home) {
	when := after(h.next + t.random.Float64()*0.01)
	took := time.Duration(t.random.Float64() * float64(900*time.Millisecond))
	if t.random.IntN(15) == 0 {
		h.fail(db, when, when.Add(took))
	} else {
		h.scrape(db, when, took)
	}
	h.next += 10
}

// upgrade is that of Prometheus: a bound is spelled anew, and nobody knows what
// to mark as stale.
func (t *town) upgrade() {
	for _, h := range t.homes {
		h.respell("1000", "1000.0")
		h.known = map[string]bool{}
	}
}

func (t *town) fate(h *home, at float64) {
	switch t.random.IntN(600) {
	case 0:
		h.restart()
	case 1:
		if len(t.homes) < 12 {
			h.gone, h.end, h.mourned = true, h.next, h.next+11
			t.settle(at+2, h.reporter, h.workload)
		}
	}
}
