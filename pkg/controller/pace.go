package controller

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"serin.dev/serin/pkg/cluster"
)

// How fast writes that aren't urgent may follow each other for one Service: a
// release needs a few at each step. Whoever else writes the same routes again
// and again is not answered faster than this, so that no quarrel becomes a
// storm on the API server. Taking traffic away is never slowed.
const (
	writesAtOnce    = 20
	writesPerSecond = 1
)

// pace bounds the writes of each Service.
type pace struct {
	mu       sync.Mutex
	limiters map[cluster.Key]*rate.Limiter
}

func newPace() *pace { return &pace{limiters: map[cluster.Key]*rate.Limiter{}} }

// wait is how long a Service's next write has to wait; zero if it may go now,
// and then it counts.
func (p *pace) wait(k cluster.Key, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.limiters[k]
	if l == nil {
		l = rate.NewLimiter(writesPerSecond, writesAtOnce)
		p.limiters[k] = l
	}
	if l.AllowN(now, 1) {
		return 0
	}
	return time.Second / writesPerSecond
}

func (p *pace) forget(k cluster.Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.limiters, k)
}
