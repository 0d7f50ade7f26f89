package cli

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"serin.dev/serin/internal/portforward"
)

// A port of the leading pod's own loopback is reached through the API server, by
// the protocol that every API server knows.
func TestAPortOfTheLeadingPodIsForwarded(t *testing.T) {
	view := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/rollouts" || r.Host != "localhost" && !strings.HasPrefix(r.Host, "127.0.0.1:") {
			http.Error(w, r.Host+" asks for "+r.URL.Path, http.StatusNotFound)
			return
		}
		_, _ = w.Write([]byte(`{"leading":true,"rollouts":[{"namespace":"shop","service":"web"},{"namespace":"other","service":"web"}]}`))
	}))
	defer view.Close()
	asked := make(chan string, 10)
	forwarding := portforward.Handler(func(ctx context.Context, port string) (net.Conn, error) {
		if port != "9092" {
			return nil, errors.New("nobody listens")
		}
		return (&net.Dialer{}).DialContext(ctx, "tcp", view.Listener.Addr().String())
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
			http.Error(w, "no such protocol", http.StatusBadRequest) // as servers before 1.30
			return
		}
		asked <- r.Method + " " + r.URL.Path
		forwarding.ServeHTTP(w, r)
	}))
	defer server.Close()
	config := &rest.Config{Host: server.URL}
	c := cluster{rest: config, kube: kubernetes.NewForConfigOrDie(config)}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	base, err := c.forward(ctx, "serin-system", "serin-0")
	if err != nil {
		t.Fatal(err)
	}
	if got := <-asked; got != "POST /api/v1/namespaces/serin-system/pods/serin-0/portforward" {
		t.Error(got)
	}
	if u, err := url.Parse(base); err != nil || u.Hostname() != "127.0.0.1" {
		t.Error("it is not this machine's alone:", base, err)
	}
	live := endpoint{base: base}
	if err := live.leads(ctx); err != nil {
		t.Fatal(err)
	}
	views, err := live.List(ctx, "shop")
	if err != nil || len(views) != 1 || views[0].Key() != "shop/web" {
		t.Error(views, err)
	}
}
