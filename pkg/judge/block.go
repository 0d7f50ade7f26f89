package judge

import "time"

// Block is what both tracks did in one cell of an absolute time grid:
// increments between the raw counters at the cell's two borders, never rates.
// A block is only made once it is closed, that is, when no later scrape can
// change it any more.
type Block struct {
	Start  time.Time     // a multiple of Width since the Unix epoch
	Width  time.Duration // > 0, about one scrape interval
	Step   int           // index of the step in force, >= 0
	Weight int           // the canary's intended share in percent, 0..100
	// Mirror is the share of requests, in percent, of which the canary is sent a copy
	// that nobody waits for; then Weight is 0, and copies are what its part counts.
	Mirror int

	Stable Sample
	Canary Sample

	// Custom is what the operator's own metrics say, one for each of
	// Settings.Custom, in its order. Those that are missing at the end are no data.
	Custom []Pair

	// Missing says why the block can't be used (query failed, stale or
	// duplicate series, missing labels); empty for a usable block. A missing
	// block is no data: neither a pass nor a failure.
	Missing string
}

// judged tells that the canary is sent requests by which it is judged. Whoever is sent
// to a canary without weight and copies tries it out.
func (b *Block) judged() bool { return b.Weight > 0 || b.Mirror > 0 }

// End is the exclusive end of the block.
func (b Block) End() time.Time { return b.Start.Add(b.Width) }

// Sample is one track's part of a block.
type Sample struct {
	Counts
	// Live tells that the track's proxies reported in this block, so that zero
	// requests mean "no request came" and not "nobody knows".
	Live bool
	// Seen is up to when the track is known: of stable all of its proxies (the
	// newest sample of the one that was scraped longest ago), of the canary any of
	// them (the newest sample of all). Zero when unknown. Where Stable.Seen is before Canary.Seen, both tracks may have begun to fail
	// at once though only the canary's failures are known yet.
	Seen time.Time
}

// Pair is one metric of both tracks in a block.
type Pair struct {
	Stable, Canary Tally
	Missing        string // why there is no data; empty if there is
}

// Tally is a number of hits among n: bad requests among all, or, for a gauge,
// 1 among 1 for a block in which it was beyond its bound.
type Tally struct { // 0 <= Hits <= N
	Hits int64 `json:"hits"`
	N    int64 `json:"n"`
}

// Counts are increments of one track. All are >= 0.
type Counts struct {
	Requests     int64     // answered requests: every response code but 0
	Errors       int64     // of them: 5xx, gRPC failures, and failures only the client's side saw
	ClientErrors int64     // of Requests: 4xx
	Disconnects  int64     // the client left before the answer (response code 0); not in Requests
	Latency      Histogram // of answered requests; flushed apart from the counter, so its total may differ
}

// Histogram is a latency histogram: increments, cumulative over ascending
// bounds as Prometheus has them, the last bound +Inf. Nil means no histogram.
type Histogram []Bucket

// Bucket counts the requests that took at most Le.
type Bucket struct {
	Le    float64 // upper bound in milliseconds, inclusive; +Inf for the last
	Count int64   // >= 0, at least the count of the bucket before
}
