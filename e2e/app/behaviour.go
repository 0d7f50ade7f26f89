package main

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// behaviour is how the application answers. All of it comes from environment
// variables, which are named in parseBehaviour.
type behaviour struct {
	version     string
	errorRate   float64       // share of requests answered 500, 0..1
	errorAfter  time.Duration // errors begin this long after the start
	errorServed time.Duration // and this long after the first request
	latency     time.Duration // every answer takes at least this long
	slowRate    float64       // share of requests that take slowLatency more, 0..1
	slowLatency time.Duration
	hang        bool          // requests are never answered; /healthz is
	status      int           // every answer has this status; 0 leaves it
	crashAfter  time.Duration // the process exits with 1; 0 is never
	readyAfter  time.Duration // /healthz answers 503 until then
	neverReady  bool
	drain       time.Duration // after SIGTERM the application serves this long
}

// parseBehaviour reads the environment. A value that does not parse is an
// error; all errors are reported at once.
func parseBehaviour(getenv func(string) string) (behaviour, error) {
	e := environment{getenv: getenv}
	b := behaviour{
		version:     getenv("VERSION"),
		errorRate:   e.share("ERROR_RATE"),
		errorAfter:  e.duration("ERROR_AFTER", 0),
		errorServed: e.duration("ERROR_SERVED", 0),
		latency:     e.duration("LATENCY", 0),
		slowRate:    e.share("SLOW_RATE"),
		slowLatency: e.duration("SLOW_LATENCY", 0),
		hang:        e.bool("HANG"),
		status:      e.status("STATUS"),
		crashAfter:  e.duration("CRASH_AFTER", 0),
		readyAfter:  e.duration("READY_AFTER", 0),
		neverReady:  e.bool("NEVER_READY"),
		drain:       e.duration("DRAIN", 2*time.Second),
	}
	if b.version == "" {
		b.version = "unknown"
	}
	return b, errors.Join(e.errs...)
}

// crash returns a channel that fires when the process has to crash; it never
// does if no crash is wanted.
func (b behaviour) crash() <-chan time.Time {
	if b.crashAfter == 0 {
		return nil
	}
	return time.After(b.crashAfter)
}

// newHandler serves /healthz, the readiness, and every other path with the
// version. start is when the process began.
func newHandler(b behaviour, start time.Time) http.Handler {
	first := sync.OnceValue(time.Now)
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if b.neverReady || time.Since(start) < b.readyAfter {
			http.Error(w, "not ready", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		serving := time.Since(first())
		w.Header().Set("X-Served-By", b.version)
		if b.hang {
			<-r.Context().Done()
			return
		}
		select {
		case <-time.After(b.delay(rand.Float64())):
		case <-r.Context().Done():
			return
		}
		w.WriteHeader(cmp.Or(wantedStatus(r), b.answer(time.Since(start), serving, rand.Float64())))
		fmt.Fprintln(w, b.version)
	})
	return mux
}

// wantedStatus is the status a request asks for itself, 0 if it asks for none:
// so that what every version fails at can begin and end at will.
func wantedStatus(r *http.Request) int {
	status, err := strconv.Atoi(r.Header.Get("X-Want-Status"))
	if err != nil || status < 200 || status > 599 {
		return 0
	}
	return status
}

// delay is how long an answer takes; dice is a random number in [0, 1).
func (b behaviour) delay(dice float64) time.Duration {
	if dice < b.slowRate {
		return b.latency + b.slowLatency
	}
	return b.latency
}

// answer is the status of an answer given `age` after the start of the
// process, to a request that came `serving` after the first one; dice is a
// random number in [0, 1).
func (b behaviour) answer(age, serving time.Duration, dice float64) int {
	if b.status != 0 {
		return b.status
	}
	if age >= b.errorAfter && serving >= b.errorServed && dice < b.errorRate {
		return http.StatusInternalServerError
	}
	return http.StatusOK
}

// environment reads typed values and collects the errors.
type environment struct {
	getenv func(string) string
	errs   []error
}

func (e *environment) fail(key, value, want string) {
	e.errs = append(e.errs, fmt.Errorf("%s is %q: want %s", key, value, want))
}

func (e *environment) share(key string) float64 {
	s := e.getenv(key)
	if s == "" {
		return 0
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !(v >= 0 && v <= 1) {
		e.fail(key, s, "a share from 0 to 1")
	}
	return v
}

func (e *environment) duration(key string, missing time.Duration) time.Duration {
	s := e.getenv(key)
	if s == "" {
		return missing
	}
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 {
		e.fail(key, s, "a duration such as 250ms")
	}
	return v
}

func (e *environment) bool(key string) bool {
	s := e.getenv(key)
	if s == "" {
		return false
	}
	v, err := strconv.ParseBool(s)
	if err != nil {
		e.fail(key, s, "true or false")
	}
	return v
}

func (e *environment) status(key string) int {
	s := e.getenv(key)
	if s == "" {
		return 0
	}
	v, err := strconv.Atoi(s)
	if err != nil || v < 200 || v > 599 {
		e.fail(key, s, "an HTTP status from 200 to 599")
	}
	return v
}
