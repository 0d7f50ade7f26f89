package web

import (
	"sync"
	"time"
)

const (
	// period is how often is looked for changes while anybody listens.
	period = time.Second
	// MostListeners may listen at a time; further ones are refused.
	MostListeners = 100
)

// pulse beats for all who listen, and not at all while nobody does.
type pulse struct {
	mu        sync.Mutex
	listeners map[chan struct{}]bool
	stop      chan struct{}
}

// join returns a channel that gets a value each period until leave is called, or
// false where too many listen already. Who is late misses beats.
func (p *pulse) join() (beats <-chan struct{}, leave func(), ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.listeners) >= MostListeners {
		return nil, nil, false
	}
	if p.listeners == nil {
		p.listeners = map[chan struct{}]bool{}
	}
	mine := make(chan struct{}, 1)
	p.listeners[mine] = true
	if len(p.listeners) == 1 {
		p.stop = make(chan struct{})
		go p.beat(p.stop)
	}
	return mine, func() { p.leave(mine) }, true
}

func (p *pulse) leave(mine chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.listeners, mine)
	if len(p.listeners) == 0 {
		close(p.stop)
	}
}

func (p *pulse) beat(stop <-chan struct{}) {
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
			p.mu.Lock()
			for l := range p.listeners {
				select {
				case l <- struct{}{}:
				default:
				}
			}
			p.mu.Unlock()
		}
	}
}
