package web

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/words"
)

// frame is what every page has around its parts.
type frame struct {
	Heading string
	Root    string // relative to it are all links: "" or "../../"
	Events  string // relative address of the page's stream; empty: nothing changes
	State   string // of the parts as they are in the page
	At      moment
	Note    *note // what came of a command
	Standby bool  // another controller works
}

// look is how a phase looks: a tone, a shape and a word, so that colour never is
// alone.
type look struct {
	Tone  string // go, good, bad, hold, rest
	Shape string
	Word  string
}

func lookOf(p canary.Phase) look {
	switch p {
	case canary.Testing:
		return look{"go", "testing", "Testing"}
	case canary.Progressing:
		return look{"go", "moving", "Progressing"}
	case canary.Promoting:
		return look{"go", "moving", "Promoting"}
	case canary.Finishing:
		return look{"go", "moving", "Finishing"}
	case canary.Watched:
		return look{"go", "eye", "Observing"}
	case canary.Waiting:
		return look{"hold", "dots", "Waiting"}
	case canary.Paused:
		return look{"hold", "bars", "Paused"}
	case canary.Inconclusive:
		return look{"hold", "ask", "Inconclusive"}
	case canary.Blocked:
		return look{"bad", "stop", "Blocked"}
	case canary.RollingBack:
		return look{"bad", "back", "Rolling back"}
	case canary.RolledBack:
		return look{"bad", "back", "Rolled back"}
	case canary.Succeeded:
		return look{"good", "check", "Succeeded"}
	case canary.Idle:
		return look{"rest", "ring", "Idle"}
	}
	return look{"rest", "ring", string(p)}
}

// verdictLook is likewise of a verdict's kind.
func verdictLook(kind string) look {
	switch kind {
	case "":
		return look{"rest", "ring", "Not judged yet"}
	case "Promote":
		return look{"good", "check", "Good enough to go on"}
	case "Rollback":
		return look{"bad", "back", "Broke a limit"}
	case "Starved":
		return look{"bad", "stop", "Requests hang"}
	case "SharedIncident":
		return look{"hold", "bars", "Both versions break a limit"}
	case "NoData":
		return look{"hold", "dots", "No data"}
	case "Hold":
		return look{"hold", "bars", "Not enough seen yet"}
	}
	return look{"rest", "ring", kind}
}

// shapes are drawn in 16 by 16.
var shapes = map[string]string{
	"moving":  "M4 2.5v11l9-5.5z",
	"testing": "M6 2h4M7 2v4L3.5 13q-.3 1 .8 1h7.4q1.1 0 .8-1L9 6V2",
	"eye":     "M1.5 8Q8 1.5 14.5 8 8 14.5 1.5 8zM8 6.2a1.8 1.8 0 1 0 .01 0z",
	"dots":    "M3 8h.01M8 8h.01M13 8h.01",
	"bars":    "M5.5 3v10M10.5 3v10",
	"ask":     "M5 5.5Q5 2.5 8 2.5t3 2.8Q11 7 8 8.5v1.5M8 13.5h.01",
	"stop":    "M5.2 1.5h5.6l3.7 3.7v5.6l-3.7 3.7H5.2L1.5 10.8V5.2zM5 8h6",
	"back":    "M6.5 3 2.5 7l4 4M2.5 7H10q3.5 0 3.5 3.5V13",
	"check":   "M2.5 8.5l3.7 4 7.3-9",
	"bird":    "M2 11q0-5 5-5 .5-3 3-3 2 0 2.3 2L14.500 6 12.3 7q0 5-5.3 5H4.500L3 14",
	"copies":  "M5.5 5.5h8v8h-8zM3 10.5h-.5v-8h8V3",
	"ring":    "M8 3a5 5 0 1 0 .01 0z",
}

// functions are what templates may call.
func (s *site) functions() template.FuncMap {
	return template.FuncMap{
		"site":    func() *site { return s },
		"shape":   func(name string) string { return shapes[name] },
		"count":   func(n int) string { return words.Count(int64(n)) },
		"share":   share,
		"capital": capital,
	}
}

// page writes a whole page, or says that it can't.
func (s *site) page(w http.ResponseWriter, code int, name string, data any) {
	html, err := s.render(name, data)
	if err != nil {
		http.Error(w, "The page could not be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = w.Write(html) // a reader that is gone needs no answer
}

func (s *site) render(name string, data any) ([]byte, error) {
	var b bytes.Buffer
	if err := s.templates.ExecuteTemplate(&b, name, data); err != nil {
		return nil, fmt.Errorf("render %s: %w", name, err)
	}
	return b.Bytes(), nil
}

// parts renders each named template by itself; its element has the name as its id.
func (s *site) parts(data any, names ...string) ([]part, error) {
	all := make([]part, 0, len(names))
	for _, name := range names {
		html, err := s.render(name, data)
		if err != nil {
			return nil, err
		}
		all = append(all, part{id: name, html: html})
	}
	return all, nil
}

// standby tells that nothing is to be seen here, for another controller works.
func (s *site) standby() bool { return s.Leading != nil && !s.Leading() }
