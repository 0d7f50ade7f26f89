package telemetry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"
)

// Fault is what is wrong with the answers of Prometheus, or with what it stores.
type Fault string

// The faults. Each lasts until Mend, or until the next one.
const (
	Unreachable    Fault = "unreachable"     // nobody listens: a connection error
	Error500       Fault = "error 500"       // an error in Prometheus's own form
	Unavailable503 Fault = "unavailable 503" // a proxy's page: nobody is behind it
	BadJSON        Fault = "bad JSON"        // status 200 and a text that is no JSON
	Truncated      Fault = "truncated"       // the right answer, of which the second half is missing
	NaN            Fault = "NaN"             // each value is NaN
	Empty          Fault = "empty"           // success without any series
	Duplicates     Fault = "duplicates"      // each series is answered twice
	Partial        Fault = "partial"         // every second target is missing, with a warning
	Slow           Fault = "slow"            // right answers, 3 s late
	Stall          Fault = "stall"           // right answers, 30 s late
	Stale          Fault = "stale"           // nothing is stored any more: the last samples are shown for 5 min, then none
	Unscraped      Fault = "unscraped"       // all scrapes fail, and Prometheus marks it
	Restarted      Fault = "restarted"       // all proxies start anew, once, and their counters with them
)

// late is how long the slow answers take.
var late = map[Fault]time.Duration{Slow: 3 * time.Second, Stall: 30 * time.Second}

// Faults are all of them.
func Faults() []Fault {
	return []Fault{Unreachable, Error500, Unavailable503, BadJSON, Truncated, NaN, Empty, Duplicates, Partial, Slow, Stall, Stale, Unscraped, Restarted}
}

// Break makes answers bad from now on, until Mend.
func (t *Town) Break(f Fault) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := now()
	t.mend(at)
	t.fault = f
	switch f {
	case Stale, Unscraped:
		t.gaps = append(t.gaps, gap{span{from: at}, f == Unscraped})
	case Restarted:
		for _, p := range t.targets {
			for _, m := range p.meters {
				m.restart(at)
			}
		}
	}
}

// Mend makes answers good. What was not stored meanwhile stays missing.
func (t *Town) Mend() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mend(now())
}

func (t *Town) mend(at int64) {
	t.fault = ""
	if last := len(t.gaps) - 1; last >= 0 && t.gaps[last].to == 0 {
		if t.gaps[last].to = at; t.gaps[last].from == at {
			t.gaps = t.gaps[:last]
		}
	}
}

// Asked is the number of queries so far, whatever became of them.
func (t *Town) Asked() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.asked
}

// RoundTrip answers a request as a server would.
func (t *Town) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer func() { _ = r.Body.Close() }()
	}
	a, err := t.reply(r)
	if err != nil {
		return nil, err
	}
	return &http.Response{
		Status: strconv.Itoa(a.status) + " " + http.StatusText(a.status), StatusCode: a.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {a.kind}}, Body: io.NopCloser(bytes.NewReader(a.body)),
		ContentLength: int64(len(a.body)), Request: r,
	}, nil
}

// ServeHTTP answers a request over a connection, which it cuts if Prometheus is
// unreachable.
func (t *Town) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a, err := t.reply(r)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", a.kind)
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}

// reply is an answer before it is sent.
type reply struct {
	status int
	kind   string
	body   []byte
}

func failure(status int, kind, text string) reply {
	return reply{status, "application/json", fmt.Appendf(nil, `{"status":"error","errorType":%q,"error":%q}`, kind, text)}
}

func page(status int, text string) reply { return reply{status, "text/html", []byte(text)} }

func (t *Town) reply(r *http.Request) (reply, error) {
	form, err := formOf(r)
	if err != nil {
		return reply{}, err
	}
	a, fault := t.evaluated(r.URL.Path, form)
	if d := late[fault]; d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return reply{}, r.Context().Err()
		}
	}
	if fault == Unreachable {
		return reply{}, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	return a, nil
}

// formOf is the request's form, whether it stands in the URL or in the body.
func formOf(r *http.Request) (url.Values, error) {
	if r.Body == nil || r.Method != http.MethodPost {
		return r.URL.Query(), nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, fmt.Errorf("read the request: %w", err)
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, fmt.Errorf("read the request: %w", err)
	}
	return form, nil
}

// evaluated answers with what is known now, and tells which fault there is.
func (t *Town) evaluated(path string, form url.Values) (reply, Fault) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked++
	switch t.fault {
	case Unreachable:
		return reply{}, t.fault
	case Error500:
		return failure(http.StatusInternalServerError, "internal", "the simulated storage is broken"), t.fault
	case Unavailable503:
		return page(http.StatusServiceUnavailable, "no healthy upstream"), t.fault
	case BadJSON:
		return page(http.StatusOK, "<html><body>Please sign in</body></html>"), t.fault
	}
	if len(path) < len(rangePath) || path[len(path)-len(rangePath):] != rangePath {
		return page(http.StatusNotFound, "404 page not found\n"), t.fault
	}
	q, g, err := asked(form)
	if err != nil {
		return failure(http.StatusBadRequest, "bad_data", err.Error()), t.fault
	}
	b := t.bind(q)
	body := t.matrix(b, g, t.answer(q, b, g, now()))
	if t.fault == Truncated {
		body = body[:len(body)/2]
	}
	return reply{http.StatusOK, "application/json", body}, t.fault
}

const (
	rangePath = "/api/v1/query_range"
	// mostPoints is Prometheus's limit for a series.
	mostPoints = 11000
)

// asked is what a form asks for.
func asked(form url.Values) (*question, grid, error) {
	var g grid
	for _, p := range []struct {
		name string
		into *int64
	}{{"start", &g.start}, {"end", &g.end}, {"step", &g.step}} {
		seconds, err := strconv.ParseFloat(form.Get(p.name), 64)
		if err != nil {
			return nil, g, fmt.Errorf("invalid parameter %q: %w", p.name, err)
		}
		*p.into = int64(math.Round(seconds * 1000))
	}
	switch {
	case g.end < g.start:
		return nil, g, errors.New(`invalid parameter "end": end timestamp must not be before start time`)
	case g.step <= 0:
		return nil, g, errors.New(`invalid parameter "step": zero or negative query resolution step widths are not accepted`)
	case (g.end-g.start)/g.step > mostPoints:
		return nil, g, errors.New("exceeded maximum resolution of 11,000 points per timeseries")
	}
	q, err := understand(form.Get("query"))
	return q, g, err
}

// matrix is the answer as JSON. The town is locked.
func (t *Town) matrix(b *binding, g grid, values [][]float64) []byte {
	out := make([]byte, 0, 128+len(b.groups)*(256+24*g.points()))
	out = append(out, `{"status":"success","data":{"resultType":"matrix","result":[`...)
	first := len(out)
	times := 1
	if t.fault == Duplicates {
		times = 2
	}
	for i := range b.groups {
		for range times {
			out = t.series(out, b.groups[i].metric, g, values[i], len(out) == first)
		}
	}
	out = append(out, "]}"...)
	if t.fault == Partial {
		out = append(out, `,"warnings":["a store could not be reached: the answer may be partial"]`...)
	}
	return append(out, '}')
}

// series appends one series as JSON, if it has any values.
func (t *Town) series(out []byte, metric string, g grid, values []float64, first bool) []byte {
	before := len(out)
	if !first {
		out = append(out, ',')
	}
	out = append(append(append(out, `{"metric":`...), metric...), `,"values":[`...)
	empty := true
	for i, v := range values {
		if math.IsNaN(v) || t.fault == Empty {
			continue
		}
		if t.fault == NaN {
			v = math.NaN()
		}
		if !empty {
			out = append(out, ',')
		}
		empty = false
		out = seconds(append(out, '['), g.start+int64(i)*g.step)
		out = number(append(out, `,"`...), v)
		out = append(out, `"]`...)
	}
	if empty {
		return out[:before]
	}
	return append(out, "]}"...)
}

// number writes a value as Prometheus does.
func number(into []byte, v float64) []byte {
	if n := int64(v); float64(n) == v {
		return strconv.AppendInt(into, n, 10)
	}
	return strconv.AppendFloat(into, v, 'f', -1, 64)
}

// seconds writes a time, in ms since the Unix epoch, as Prometheus does.
func seconds(into []byte, ms int64) []byte {
	into = strconv.AppendInt(into, ms/1000, 10)
	if rest := ms % 1000; rest != 0 {
		into = append(into, '.', byte('0'+rest/100), byte('0'+rest/10%10), byte('0'+rest%10))
	}
	return into
}
