package town

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"serin.dev/serin/pkg/prom"
)

// Asked is a query that was answered.
type Asked struct {
	At     time.Time
	Kind   string // of the query
	Series int
	Bytes  int           // of the answer's body
	Length int           // of the question, bytes
	Took   time.Duration // to compute and to send
}

type log struct {
	mu      sync.Mutex
	asked   []Asked
	refused []string
}

// Asked are all queries since the last call.
func (t *Town) Asked() []Asked {
	t.log.mu.Lock()
	defer t.log.mu.Unlock()
	all := t.log.asked
	t.log.asked = nil
	return all
}

// Refused says which queries were not understood, so far.
func (t *Town) Refused() []string {
	t.log.mu.Lock()
	defer t.log.mu.Unlock()
	return slices.Clone(t.log.refused)
}

// ServeHTTP is Prometheus's range query.
func (t *Town) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	promql := r.FormValue("query")
	start, err1 := readTime(r.FormValue("start"))
	end, err2 := readTime(r.FormValue("end"))
	step, err3 := readTime(r.FormValue("step"))
	var q query
	err := firstOf(err1, err2, err3)
	if err == nil {
		q, err = parse(promql, start, end, time.Duration(step.UnixMilli())*time.Millisecond)
	}
	if err != nil {
		t.log.mu.Lock()
		t.log.refused = append(t.log.refused, err.Error())
		t.log.mu.Unlock()
		http.Error(w, `{"status":"error","errorType":"bad_data","error":`+strconv.Quote(err.Error())+`}`, http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	out := &writer{w: w, q: q}
	out.buffer = append(out.buffer, `{"status":"success","data":{"resultType":"matrix","result":[`...)
	t.each(q, began.UnixMilli(), out.series)
	out.buffer = append(out.buffer, "]}}"...)
	out.flush()
	t.log.mu.Lock()
	defer t.log.mu.Unlock()
	t.log.asked = append(t.log.asked, Asked{
		At: began, Kind: q.name(), Series: out.n, Bytes: out.bytes, Length: len(promql), Took: time.Since(began),
	})
}

func (q query) name() string {
	purpose := q.purpose()
	switch {
	case purpose != "":
		return purpose
	case q.none:
		return "lost requests"
	case q.failures:
		return "failures"
	}
	return string(q.kind)
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func readTime(text string) (time.Time, error) {
	s, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("no time: %w", err)
	}
	return time.UnixMilli(int64(math.Round(s * 1000))), nil
}

// writer writes an answer as Prometheus does.
type writer struct {
	w      http.ResponseWriter
	q      query
	buffer []byte
	n      int
	bytes  int
}

func (w *writer) flush() {
	w.bytes += len(w.buffer)
	_, _ = w.w.Write(w.buffer) // one who has gone needs no answer
	w.buffer = w.buffer[:0]
}

func (w *writer) series(s series, values []float64) {
	b := w.buffer
	if w.n > 0 {
		b = append(b, ',')
	}
	w.n++
	b = append(b, `{"metric":{`...)
	for i, l := range s.labels(w.q) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(append(append(b, '"'), l.Name...), `":"`...), l.Value...), '"')
	}
	b = append(b, `},"values":[`...)
	first := true
	for i, v := range values {
		if math.IsNaN(v) {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(b, '[')
		b = appendSeconds(b, w.q.start+int64(i)*w.q.step)
		b = append(strconv.AppendFloat(append(b, `,"`...), v, 'f', -1, 64), `"]`...)
	}
	b = append(b, "]}"...)
	w.buffer = b
	if len(w.buffer) > 64<<10 {
		w.flush()
	}
}

// appendSeconds writes milliseconds as Prometheus does.
func appendSeconds(b []byte, ms int64) []byte {
	b = strconv.AppendInt(b, ms/1000, 10)
	rest := ms % 1000
	if rest == 0 {
		return b
	}
	return append(b, '.', byte('0'+rest/100), byte('0'+rest/10%10), byte('0'+rest%10))
}

// labels are those that are asked for, in the order of their names.
func (s series) labels(q query) []prom.Label {
	if q.kind == raw {
		return s.all()
	}
	var out []prom.Label
	add := func(name, value string) {
		if q.by[name] && value != "" {
			out = append(out, prom.Label{Name: name, Value: value})
		}
	}
	add("__name__", s.metric)
	add("counter", s.metric)
	add("destination_service", s.track.service())
	add("destination_workload", s.track.Workload)
	add("destination_workload_namespace", s.track.Namespace)
	add("instance", s.where)
	add("job", s.job)
	add("le", s.bound)
	add("pod", s.pod)
	if q.kind == counters || q.kind == carried { // of others there is nothing of it to tell apart
		add("response_code", s.code)
		add("response_flags", "-")
	}
	return out
}

// At is what the town's Prometheus would have answered at a time, as pkg/prom
// asks: samples that came later are left out.
func (t *Town) At(now time.Time) prom.Query {
	return func(_ context.Context, promql string, start, end time.Time, step time.Duration) (prom.Matrix, error) {
		q, err := parse(promql, start, end, step)
		if err != nil {
			return prom.Matrix{}, err
		}
		var m prom.Matrix
		t.each(q, now.UnixMilli(), func(s series, values []float64) {
			one := prom.Series{Labels: s.labels(q)}
			for i, v := range values {
				if !math.IsNaN(v) {
					one.Points = append(one.Points, prom.Point{At: q.start + int64(i)*q.step, Value: v})
				}
			}
			m.Series = append(m.Series, one)
		})
		return m, nil
	}
}
