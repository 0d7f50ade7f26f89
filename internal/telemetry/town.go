// Package telemetry is a mesh's traffic and the Prometheus that scrapes it, in
// simulation: the proxies of pods and of one gateway count requests as told by
// Flow, they are scraped, and the queries of pkg/prom are answered as the real
// Prometheus would answer them, over its HTTP API and with its faults.
//
// Nothing runs in the background, and nothing is stored but what changed:
// counters are functions of time, and so is what was scraped of them. The time is
// what time.Now tells, so that it also passes in a bubble of testing/synctest.
// Nothing is left to chance.
package telemetry

import (
	"hash/fnv"
	"math"
	"slices"
	"sync"
	"time"
)

const (
	// Gateway is the pod whose proxy is the client of all requests.
	Gateway = "gateway-0"
	// job is the scrape job of all proxies.
	job = "envoy"
	// unknown is the workload of requests for which no host was there.
	unknown = "unknown"
)

const (
	// took is how long a scrape takes, in ms: samples carry the time at which it
	// began and are seen when it ended.
	took = 20
	// kept is for how long, in ms, what is over can be asked about.
	kept = 6 * 60 * 60 * 1000
)

// Flow is the requests of one workload, and their answers.
type Flow struct {
	Workload string // Deployment
	// Pods are scraped; requests are spread evenly. Without any pod the requests
	// fail at the gateway: 503, no healthy host, of an unknown workload.
	Pods   []string
	Rate   float64 // requests per second in all, >= 0
	Errors float64 // share of 5xx, 0..1
	Slow   float64 // share of answers that take 3 s, 0..1; the others take up to 0.1 s
}

// Town is the mesh and its Prometheus. It is safe for concurrent use. New makes it.
type Town struct {
	mu       sync.Mutex
	interval int64 // between scrapes, in ms
	targets  []*target
	byKey    map[string]*target
	gaps     []gap
	bound    map[*question]*binding
	asked    int
	fault    Fault
	began    int64
}

// target is a proxy that is scraped, as long as it is present.
type target struct {
	pod      string
	service  string // of which namespace and name, as in web.shop; empty of the gateway
	offset   int64  // its phase on the grid of scrapes
	presence []span
	meters   []*meter
}

// span is a stretch of time in ms since the Unix epoch; to is excluded, and zero
// where there is no end yet.
type span struct{ from, to int64 }

func (s span) has(at int64) bool { return s.from <= at && (s.to == 0 || at < s.to) }

// gap is a time in which nothing is scraped. Marked means that scrapes fail, which
// Prometheus marks; else they just are not stored.
type gap struct {
	span
	marked bool
}

// kind is what became of a request.
type kind int

const (
	goodFast kind = iota
	goodSlow
	badFast
	badSlow
	kinds
)

// meter counts the requests of one workload in one proxy.
type meter struct {
	target   *target
	fixed    []Label // but for the code and the bound
	bad      string  // code of a bad answer
	phase    [kinds]float64
	segments []segment
	wanted   [kinds]float64 // while flows are set
}

// segment is a time of steady rates.
type segment struct {
	from  int64 // ms since the Unix epoch
	life  int64 // when the proxy started
	base  [kinds]float64
	rates [kinds]float64 // per second
}

// New is a town without any traffic whose proxies are scraped at the given
// interval, >= 1 ms.
func New(scrape time.Duration) *Town {
	t := &Town{interval: scrape.Milliseconds(), byKey: map[string]*target{}, bound: map[*question]*binding{}, began: now()}
	t.enter(t.targetOf("", Gateway), t.began)
	return t
}

func now() int64 { return time.Now().UnixMilli() }

// Flow sets what a Service's workloads do from now on; it replaces the flows of
// that Service. A pod that is in none of them any more is gone, and Prometheus
// notices. One that is back goes on counting where it was.
func (t *Town) Flow(namespace, service string, flows ...Flow) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at, host := now(), service+"."+namespace
	present := map[string]bool{}
	for _, f := range flows {
		for _, pod := range f.Pods {
			present[pod] = true
			target := t.targetOf(host, pod)
			t.enter(target, at)
			t.meterOf(target, namespace, service, f.Workload).want(f, len(f.Pods))
		}
		workload := f.Workload
		if len(f.Pods) == 0 {
			workload, f.Errors, f.Slow = unknown, 1, 0
		}
		t.meterOf(t.byKey[Gateway], namespace, service, workload).want(f, 1)
	}
	for _, target := range t.targets {
		if target.service == host && !present[target.pod] {
			target.leave(at)
		}
		for _, m := range target.meters {
			if m.of(host) {
				m.turn(at)
			}
		}
	}
	t.forget(at)
}

// targetOf is the proxy of a pod. Pods are told apart by service, so that each
// service has its own. The gateway is a proxy of no service.
func (t *Town) targetOf(host, pod string) *target {
	key := pod
	if host != "" {
		key += "." + host
	}
	if t.byKey[key] == nil {
		t.byKey[key] = &target{pod: pod, service: host, offset: int64(chance(key, 0) * float64(t.interval))}
		t.targets = append(t.targets, t.byKey[key])
	}
	return t.byKey[key]
}

// enter lets a target be scraped from now on. If it left since the last scrape
// that was due, nobody noticed.
func (t *Town) enter(p *target, at int64) {
	last := len(p.presence) - 1
	switch {
	case last >= 0 && p.presence[last].to == 0:
	case last >= 0 && t.slotFrom(p, p.presence[last].to) >= at:
		p.presence[last].to = 0
	default:
		p.presence = append(p.presence, span{from: at})
	}
}

func (p *target) leave(at int64) {
	if last := len(p.presence) - 1; p.presence[last].to == 0 {
		p.presence[last].to = at
	}
}

// meterOf is the target's meter of a workload.
func (t *Town) meterOf(p *target, namespace, service, workload string) *meter {
	host := service + "." + namespace
	for _, m := range p.meters {
		if m.of(host) && m.get("destination_workload") == workload {
			return m
		}
	}
	m := &meter{target: p, bad: "500", segments: []segment{{from: t.began, life: t.began}}}
	reporter, source, flags, of := "destination", "gateway", "-", namespace
	if p.service == "" {
		reporter = "source"
	}
	if workload == unknown {
		m.bad, flags, of = "503", "UH", unknown
	}
	m.fixed = []Label{
		{"destination_service", host + ".svc.cluster.local"},
		{"destination_service_name", service},
		{"destination_service_namespace", namespace},
		{"destination_workload", workload},
		{"destination_workload_namespace", of},
		{"instance", p.pod + ":15090"},
		{"job", job},
		{"pod", p.pod},
		{"reporter", reporter},
		{"request_protocol", "http"},
		{"response_flags", flags},
		{"source_workload", source},
	}
	for k := range m.phase {
		m.phase[k] = chance(p.pod+"/"+host+"/"+workload, k)
	}
	p.meters = append(p.meters, m)
	clear(t.bound)
	return m
}

// chance is a number in [0, 1) that is always the same for a name. As the part of
// a request with which a counter begins it makes the rounding to whole requests
// fair over many counters.
func chance(name string, n int) float64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte{byte(n)})
	_, _ = h.Write([]byte(name))
	x := h.Sum64()
	x ^= x >> 33 // FNV alone hardly spreads the last bytes over the highest bits
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return float64(x>>11) / (1 << 53)
}

// of tells that the meter counts requests to a host.
func (m *meter) of(host string) bool {
	return m.fixed[0].Value[:len(m.fixed[0].Value)-len(".svc.cluster.local")] == host
}

func (m *meter) get(name string) string {
	for _, l := range m.fixed {
		if l.Name == name {
			return l.Value
		}
	}
	return ""
}

// want adds a flow's part, of so many, to what the meter shall count.
func (m *meter) want(f Flow, parts int) {
	rate := f.Rate / float64(parts)
	m.wanted[goodFast] += rate * (1 - f.Errors) * (1 - f.Slow)
	m.wanted[goodSlow] += rate * (1 - f.Errors) * f.Slow
	m.wanted[badFast] += rate * f.Errors * (1 - f.Slow)
	m.wanted[badSlow] += rate * f.Errors * f.Slow
}

// turn lets the meter count from now on as wanted.
func (m *meter) turn(at int64) {
	last := m.segments[len(m.segments)-1]
	if last.rates != m.wanted {
		m.add(segment{from: at, life: last.life, base: last.at(at), rates: m.wanted})
	}
	m.wanted = [kinds]float64{}
}

// restart lets all of the meter's counters begin anew.
func (m *meter) restart(at int64) {
	last := m.segments[len(m.segments)-1]
	m.add(segment{from: at, life: at, rates: last.rates})
}

// add adds a segment; of several at one time the last counts.
func (m *meter) add(s segment) {
	if last := len(m.segments) - 1; m.segments[last].from == s.from {
		m.segments = m.segments[:last]
	}
	m.segments = append(m.segments, s)
}

// at is what would be counted if there were parts of requests.
func (s *segment) at(at int64) (x [kinds]float64) {
	seconds := float64(at-s.from) / 1000
	for k := range x {
		x[k] = s.base[k] + float64(s.rates[k]*seconds)
	}
	return x
}

// segment is the one that holds at a time.
func (m *meter) segment(at int64) *segment {
	i := len(m.segments) - 1
	for i > 0 && m.segments[i].from > at {
		i--
	}
	return &m.segments[i]
}

// counts are the requests since the proxy started.
func (m *meter) counts(at int64) (n [kinds]float64) {
	n = m.segment(at).at(at)
	for k := range n {
		n[k] = math.Floor(n[k] + m.phase[k])
	}
	return n
}

// forget drops what is so long ago that nothing can be asked about it.
func (t *Town) forget(at int64) {
	before := at - kept
	over := func(s span) bool { return s.to != 0 && s.to < before }
	t.gaps = slices.DeleteFunc(t.gaps, func(g gap) bool { return over(g.span) })
	t.targets = slices.DeleteFunc(t.targets, func(p *target) bool {
		for len(p.presence) > 1 && over(p.presence[0]) {
			p.presence = p.presence[1:]
		}
		for _, m := range p.meters {
			for len(m.segments) > 1 && m.segments[1].from < before {
				m.segments = slices.Delete(m.segments, 0, 1)
			}
		}
		if !over(p.presence[0]) {
			return false
		}
		delete(t.byKey, p.pod+"."+p.service)
		clear(t.bound)
		return true
	})
}
