package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"serin.dev/serin/pkg/safetext"
)

// part is an element of the page that is replaced as a whole when it changes; its
// HTML has the id. Where the parts within it stay the same ones, only those that
// changed are sent.
type part struct {
	id     string
	html   []byte
	within []part
}

const (
	// beatEvery is after how many periods a listener hears that nothing changed: its
	// sign that the connection still stands. A comment would not do, for scripts are
	// not told of those.
	beatEvery = 5
	// patience is how long a listener may take to read what is sent.
	patience = 10 * time.Second
)

// stream sends the parts that changed, as they change, until the reader goes. A
// reader who has the very state that is current (seen) is not sent it again.
func (s *site) stream(w http.ResponseWriter, r *http.Request, render func(context.Context) ([]part, error)) {
	beats, leave, ok := s.pulse.join()
	if !ok {
		w.Header().Set("Retry-After", "30")
		http.Error(w, "Too many readers listen at the moment.", http.StatusTooManyRequests)
		return
	}
	defer leave()
	parts, err := render(r.Context())
	if err != nil {
		code, sentence := answerFor(err)
		http.Error(w, sentence, code)
		return
	}
	l := listener{out: w, control: http.NewResponseController(w), now: s.Now}
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no")
	if r.URL.Query().Get("seen") != stateOf(parts) {
		l.changes(nil, parts)
	}
	l.beat(parts)
	for n := 1; l.err == nil; n++ {
		select {
		case <-r.Context().Done():
			return
		case <-beats:
		}
		fresh, err := render(r.Context())
		switch {
		case errors.Is(err, ErrUnknown), errors.Is(err, ErrRefused):
			l.send("gone", "", nil)
			return
		case err != nil:
			l.send("trouble", "", []byte(safetext.Line(err.Error())))
			continue
		}
		sent := l.changes(parts, fresh)
		parts = fresh
		if sent || n%beatEvery == 0 {
			l.beat(parts)
		}
	}
}

// stateOf is the same for the same parts.
func stateOf(parts []part) string {
	var all bytes.Buffer
	for _, p := range parts {
		all.Write(p.html)
	}
	return digest(all.Bytes())
}

// listener is who a stream goes to.
type listener struct {
	out     http.ResponseWriter
	control *http.ResponseController
	now     func() time.Time
	err     error // the first one; nothing is sent after it
}

// changes sends what is other than before and tells whether anything was.
func (l *listener) changes(before, now []part) (sent bool) {
	for _, p := range now {
		i := slices.IndexFunc(before, func(b part) bool { return b.id == p.id })
		switch {
		case i >= 0 && bytes.Equal(before[i].html, p.html):
		case i >= 0 && len(p.within) > 0 && sameIDs(before[i].within, p.within):
			l.changes(before[i].within, p.within)
			sent = true
		default:
			l.send("part", "", p.html)
			sent = true
		}
	}
	return sent
}

func sameIDs(a, b []part) bool {
	return slices.EqualFunc(a, b, func(x, y part) bool { return x.id == y.id })
}

// beat tells the time of the state that the reader has now, and which it is.
func (l *listener) beat(parts []part) {
	l.send("beat", stateOf(parts), []byte(l.now().UTC().Format(time.RFC3339)))
}

// send writes one event.
func (l *listener) send(event, id string, data []byte) {
	if l.err != nil {
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "event: %s\n", event)
	if id != "" {
		fmt.Fprintf(&b, "id: %s\n", id)
	}
	for line := range bytes.SplitSeq(data, []byte("\n")) {
		fmt.Fprintf(&b, "data: %s\n", bytes.TrimRight(line, "\r"))
	}
	b.WriteString("\n")
	// Writers of tests have no deadlines.
	_ = l.control.SetWriteDeadline(time.Now().Add(patience))
	if _, l.err = l.out.Write([]byte(b.String())); l.err == nil {
		l.err = l.control.Flush()
	}
}
