package agent

import (
	"context"
	"net"
	"net/http"

	"serin.dev/serin/internal/portforward"
)

// forward forwards connections to a port of a pod's own loopback, which here is
// the one of all.
func (a *Agent) forward(w http.ResponseWriter, r *http.Request) {
	if !a.has(r.PathValue("namespace"), r.PathValue("name")) {
		http.Error(w, "no such pod runs here", http.StatusNotFound)
		return
	}
	portforward.Handler(func(ctx context.Context, port string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", port))
	}).ServeHTTP(w, r)
}

// has tells whether a pod runs here.
func (a *Agent) has(namespace, name string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.pods {
		if p.spec.Namespace == namespace && p.spec.Name == name {
			return true
		}
	}
	return false
}
