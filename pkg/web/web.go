// Package web is the page: what moves, how far, why, and what happens next, as
// HTML that is rendered here and kept current by server-sent events, and the same
// as JSON. It is served by the controller and by kubectl canary ui, asks a Source,
// and knows nothing of clusters.
package web

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"time"

	"github.com/klauspost/compress/gzhttp"

	"serin.dev/serin/pkg/canary"
)

// Source is asked for what is shown. What a reader may not see, it leaves out: who
// reads is in the context, as whoever serves the page put it there.
type Source interface {
	// Views are the rollouts of all Services, in any order.
	Views(ctx context.Context) ([]canary.View, error)
	// Detail fails with ErrUnknown where the Service has no rollout, or none that
	// the reader may see.
	Detail(ctx context.Context, namespace, service string) (canary.Detail, error)
}

// What a Source may answer beside faults of its own.
var (
	ErrUnknown = errors.New("no rollout of this Service is known")
	// ErrRefused ends the reader's streams too.
	ErrRefused = errors.New("you may not see this")
)

// Commands carry out what the buttons say, with the reader's own rights.
type Commands interface {
	// May tells whether the reader may give this command; the button is there then.
	// The verbs are those of canary.CommandAbort and its like.
	May(ctx context.Context, v canary.View, verb string) bool
	// Do gives the command and returns what came of it, a sentence for people.
	Do(ctx context.Context, namespace, service, verb string) (told string, err error)
}

// Options of a page. Only Source and Now are needed.
type Options struct {
	Source   Source
	Commands Commands // nil: no buttons
	Title    string   // beside the name, such as the cluster's; may be empty
	Version  string
	Now      func() time.Time
	// Leading tells whether the controller that is asked is the one that works; nil:
	// no controller is asked.
	Leading func() bool
	// Hosts by which the page may be asked for, without ports, beside localhost and
	// the loopback addresses: so that no name of somebody else's leads a browser
	// here. AnyHost is for pages that ask for a token.
	Hosts   []string
	AnyHost bool
}

//go:embed templates/*.html
var templateFiles embed.FS

// site is one page with its readers.
type site struct {
	Options
	templates *template.Template
	style     asset
	script    asset
	pulse     pulse
	notes     notes
}

// Handler serves the page at / and the JSON at /api/v1. Links are relative, so that
// it may stand below any path whose prefix is stripped.
func Handler(o Options) http.Handler {
	s := &site{Options: o, style: load("style.css", "text/css"), script: load("script.js", "text/javascript")}
	s.templates = template.Must(template.New("").Funcs(s.functions()).ParseFS(templateFiles, "templates/*.html"))
	mux := http.NewServeMux()
	// What is sent at once is compressed; streams go as they come.
	small := func(h http.HandlerFunc) http.Handler { return gzhttp.GzipHandler(h) }
	mux.Handle("GET /{$}", small(s.list))
	mux.HandleFunc("GET /events", s.listEvents)
	mux.Handle("GET /rollouts/{namespace}/{service}", small(s.rollout))
	mux.HandleFunc("GET /rollouts/{namespace}/{service}/events", s.rolloutEvents)
	mux.HandleFunc("POST /rollouts/{namespace}/{service}/{verb}", s.command)
	mux.Handle("GET /api/v1/rollouts", small(s.apiList))
	mux.Handle("GET /api/v1/rollouts/{namespace}/{service}", small(s.apiRollout))
	mux.Handle("GET /style.css", small(s.style.ServeHTTP))
	mux.Handle("GET /script.js", small(s.script.ServeHTTP))
	mux.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, http.StatusNotFound, "There is no such page.")
	})
	return s.guarded(http.NewCrossOriginProtection().Handler(mux))
}

// contentSecurityPolicy lets nothing in that is not this page's own, and nobody
// frame it.
const contentSecurityPolicy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// guarded refuses names that are not this page's, and tells the browser to trust
// nothing else.
func (s *site) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentSecurityPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		if !s.AnyHost && !known(r.Host, s.Hosts) {
			http.Error(w, fmt.Sprintf("This page is not served as %q: ask for localhost, or name the host to whoever serves it.", r.Host), http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// StyleAddress is where the style sheet is, from the page's root.
func (s *site) StyleAddress() string { return s.style.Address() }

// ScriptAddress is likewise of the script.
func (s *site) ScriptAddress() string { return s.script.Address() }

// fail answers a person with a page, in the words of the error.
func (s *site) fail(w http.ResponseWriter, _ *http.Request, code int, sentence string) {
	s.page(w, code, "error", errorPage{frame: frame{Heading: http.StatusText(code)}, Sentence: sentence})
}

// errorPage is shown where nothing else can be.
type errorPage struct {
	frame
	Sentence string
}

// answerFor is the status of what a Source answers, and what people are told.
func answerFor(err error) (int, string) {
	switch {
	case errors.Is(err, ErrUnknown):
		return http.StatusNotFound, "No rollout of this Service is known. It may never have had one, or its Deployment is not opted in any more."
	case errors.Is(err, ErrRefused):
		return http.StatusForbidden, "You may not see this."
	}
	return http.StatusBadGateway, "What is shown could not be read: " + err.Error() + "."
}
