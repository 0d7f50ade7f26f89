package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
)

// goodbye is how long answers under way may take once the work has ended.
const goodbye = 2 * time.Second

// readiness is what a probe may know.
type readiness interface {
	Ready() bool
	Leading() bool
}

// handler serves health, metrics and the version; nothing of a cluster's secrets.
func handler(c readiness, shown prometheus.Collector) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(shown, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		switch {
		case !c.Ready():
			say(w, http.StatusServiceUnavailable, "the cluster is not read yet")
		case c.Leading():
			say(w, http.StatusOK, "ok, leading")
		default:
			say(w, http.StatusOK, "ok, standing by")
		}
	})
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		b := thisBuild()
		w.Header().Set("Content-Type", "application/json")
		// A client that is gone needs no answer.
		_ = json.NewEncoder(w).Encode(map[string]string{"version": b.version, "revision": b.revision, "go": b.goVersion})
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return mux
}

func say(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = fmt.Fprintln(w, text)
}

// newServer bounds what a client may take. What it has to complain of, such as a
// client that doesn't trust its certificate, is logged.
func newServer(h http.Handler, log *zap.Logger) *http.Server {
	return &http.Server{
		Handler: h, ErrorLog: forServers(log),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute,
	}
}

// serveWhile serves as long as work runs, and ends work when serving fails.
func serveWhile(ctx context.Context, listener net.Listener, server *http.Server, work func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	served := make(chan error, 1)
	go func() {
		err := server.Serve(listener)
		if errors.Is(err, http.ErrServerClosed) {
			err = nil
		}
		cancel()
		served <- err
	}()
	worked := work(ctx)
	parting, done := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
	defer done()
	if err := server.Shutdown(parting); err != nil {
		_ = server.Close() // a client that holds on is cut off
	}
	return errors.Join(worked, <-served)
}
