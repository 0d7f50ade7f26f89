package agent

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	corev1 "k8s.io/api/core/v1"

	"serin.dev/serin/e2e/mesh"
)

// statsLatency is the variable that has a pod's statistics answered late.
const statsLatency = "STATS_LATENCY"

// lateness is by how much the sidecar's statistics are answered late at most;
// 0 if no container asks for it.
func lateness(pod *corev1.Pod) (time.Duration, error) {
	var most time.Duration
	for _, c := range pod.Spec.Containers {
		for _, e := range c.Env {
			if e.Name != statsLatency {
				continue
			}
			d, err := time.ParseDuration(e.Value)
			if err != nil || d < 0 {
				return 0, fmt.Errorf("container %s: %s is %q: want a duration such as 400ms", c.Name, statsLatency, e.Value)
			}
			most = max(most, d)
		}
	}
	return most, nil
}

// serveLate answers for a target, at another port, until stopped: what the
// target says, late by a random time below most. The target that is returned is
// the one to scrape.
func serveLate(ctx context.Context, t mesh.Target, most time.Duration) (late mesh.Target, stop func(), err error) {
	host, _, err := net.SplitHostPort(t.Address)
	if err != nil {
		return t, nil, fmt.Errorf("answer statistics late: %w", err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return t, nil, fmt.Errorf("answer statistics late: %w", err)
	}
	server := &http.Server{Handler: lateHandler(t.Address, most), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(l) }() // until it is closed
	t.Address = l.Addr().String()
	return t, func() { _ = server.Close() }, nil
}

// lateHandler waits before it asks, as a proxy does that is short of CPU: the
// counters are newer than the time the scrape began, which its samples carry.
func lateHandler(address string, most time.Duration) http.Handler {
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: address})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(rand.N(most)):
			proxy.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	})
}
