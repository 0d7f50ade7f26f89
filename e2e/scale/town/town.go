// Package town is a Prometheus that answers what pkg/prom asks about very many
// workloads, at little cost: every counter is a function of time, and answers
// are written as they are computed. What it does not know it refuses.
package town

import (
	"hash/fnv"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// arrival is how long after its scrape a sample can be asked for.
const arrival = 20 * time.Millisecond

// lookback is for how long Prometheus shows a sample, unless a newer one comes.
const lookback = 5 * time.Minute

// Town is what is scraped, and what is known of it. Its methods may be called
// concurrently.
type Town struct {
	scrape int64 // ms

	mu     sync.RWMutex
	tracks map[string][]*track // by workload
	log    log
}

// Traffic is what a workload does, from Since on.
type Traffic struct {
	Namespace, Workload string
	Pods                []string
	Rate                float64 // requests per second and pod
	Errors              float64 // share of answers with 500, 0 to 1
	Since               time.Time
}

const gatewayJob = "istio-gateways"

// Gateways are the clients' proxies that report on every workload.
var gateways = []string{"istio-ingressgateway-5c9d7b6f8-2xkqp", "istio-ingressgateway-5c9d7b6f8-h7wvz"}

// track is a workload.
type track struct {
	Traffic
	since    int64 // ms
	breach   atomic.Int64
	share    float64 // of errors once breached; set before breach
	left     atomic.Int64
	servers  []*target
	clients  []*target
	counters float64 // requests per ms and pod
}

// service is the host by which a workload is called: its name but for what tells
// versions apart.
func (t *track) service() string {
	name := t.Workload[:max(0, strings.LastIndexByte(t.Workload, '-'))]
	return name + "." + t.Namespace + ".svc.cluster.local"
}

// target is a proxy that reports on a track.
type target struct {
	track  *track
	offset int64   // of its scrapes within the interval, ms
	phase  float64 // of its errors, 0 to 1
	part   float64 // of the track's requests that it reports
	job    string
	where  string // instance
	pod    string
}

// reporter is the side of a request on which the target is.
func (p *target) reporter() string {
	if p.job == gatewayJob {
		return "source"
	}
	return "destination"
}

// New makes a town that is scraped at this interval.
func New(scrape time.Duration) *Town {
	return &Town{scrape: scrape.Milliseconds(), tracks: map[string][]*track{}}
}

// Add makes a workload known; it is scraped from then on, and its counters are
// those of all its time.
func (t *Town) Add(traffic Traffic) {
	one := &track{Traffic: traffic, since: traffic.Since.UnixMilli(), counters: traffic.Rate / 1000}
	for _, pod := range traffic.Pods {
		one.servers = append(one.servers, t.target(one, "kubernetes-pods", pod, 1/float64(len(traffic.Pods))))
	}
	for _, pod := range gateways {
		one.clients = append(one.clients, t.target(one, gatewayJob, pod, 1/float64(len(gateways))))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tracks[traffic.Workload] = append(t.tracks[traffic.Workload], one)
}

func (t *Town) target(of *track, job, pod string, part float64) *target {
	h := fnv.New32a()
	_, _ = h.Write([]byte(pod)) // a hash takes everything
	n := h.Sum32()
	return &target{
		track: of, job: job, pod: pod, part: part, offset: int64(n) % t.scrape, phase: float64(n>>8&1023) / 1024,
		where: "10." + strconv.Itoa(int(n>>16&255)) + "." + strconv.Itoa(int(n>>8&255)) + "." + strconv.Itoa(int(n&255)) + ":15020",
	}
}

// Break has a workload answer a share of its requests with 500 from a time on.
func (t *Town) Break(namespace, workload string, share float64, from time.Time) {
	if one := t.find(namespace, workload); one != nil {
		one.share = share
		one.breach.Store(from.UnixMilli())
	}
}

// Leave has nobody use a workload any more from a time on: its counters stand still,
// and are still scraped.
func (t *Town) Leave(namespace, workload string, from time.Time) {
	if one := t.find(namespace, workload); one != nil {
		one.left.Store(from.UnixMilli())
	}
}

// used is a time, or when the users left, if that was before.
func (t *track) used(at int64) int64 {
	if left := t.left.Load(); left > 0 {
		return min(at, left)
	}
	return at
}

// Scrapes are the times from which on the samples of a workload can be asked
// for, between two times, ascending.
func (t *Town) Scrapes(namespace, workload string, from, to time.Time) []time.Time {
	var all []time.Time
	one := t.find(namespace, workload)
	if one == nil {
		return nil
	}
	for _, p := range one.servers {
		for at := t.latest(p, to.Add(-arrival).UnixMilli()); at >= from.UnixMilli(); at -= t.scrape {
			all = append(all, time.UnixMilli(at).Add(arrival))
		}
	}
	slices.SortFunc(all, time.Time.Compare)
	return all
}

func (t *Town) find(namespace, workload string) *track {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, one := range t.tracks[workload] {
		if one.Namespace == namespace {
			return one
		}
	}
	return nil
}

// latest is when a target was scraped last at a time, in ms.
func (t *Town) latest(p *target, at int64) int64 {
	return (at-p.offset)/t.scrape*t.scrape + p.offset
}

// answers are the codes that are told apart.
var answers = []string{"200", "500"}

// counter is how many answers of a code a target had seen at a time; NaN before
// the first of them.
func (p *target) counter(code string, at int64) float64 {
	of := p.track
	at = of.used(at)
	pods := float64(len(of.Pods)) * p.part
	all := math.Floor(of.counters * pods * float64(max(0, at-of.since)))
	// Each proxy's first error comes at a time of its own.
	bad := min(all, math.Floor(of.Errors*all+p.phase))
	if breach := of.breach.Load(); breach > 0 && at > breach {
		bad += math.Floor(of.share * of.counters * pods * float64(at-breach))
	}
	n := all - bad
	if code == "500" {
		n = bad
	}
	if n <= 0 {
		return math.NaN()
	}
	return n
}

// seen is when the sample was taken that is shown at a border, of those that
// have arrived by now; 0 when there is none.
func (t *Town) seen(p *target, border, now int64) int64 {
	at := t.latest(p, min(border, now-arrival.Milliseconds()))
	if at < p.track.since || border-at >= lookback.Milliseconds() {
		return 0
	}
	return at
}
