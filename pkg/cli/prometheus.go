package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"serin.dev/serin/pkg/prom"
)

// How long a query may take, and how long it is tried whether anybody answers.
const (
	queryTime = 30 * time.Second
	tryTime   = 5 * time.Second
)

// way is a way to Prometheus.
type way struct {
	name   string
	client *http.Client
	url    string
}

// waysTo are the ways to a Prometheus, in the order in which they are tried. A
// Service of the cluster is reached through the API server, with the user's own
// rights. given tells that the user named the URL, who then sees it from here.
func (t *tool) waysTo(c cluster, address string, given bool) ([]way, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("use Prometheus: no http or https URL; write it like --prometheus http://localhost:9090")
	}
	direct := way{name: "directly at " + u.Redacted(), client: &http.Client{Transport: t.program.Network, Timeout: queryTime}, url: address}
	path, internal := proxyPath(u)
	if !internal {
		return []way{direct}, nil
	}
	client, err := rest.HTTPClientFor(c.rest)
	if err != nil {
		return nil, fmt.Errorf("make a client for the API server: %w", err)
	}
	client.Timeout = queryTime
	server, _, err := rest.DefaultServerURL(c.rest.Host, "", schema.GroupVersion{}, true)
	if err != nil {
		return nil, fmt.Errorf("make a client for the API server: %w", err)
	}
	proxied := way{name: "through the API server at " + path, client: client, url: server.JoinPath(path).String()}
	if given {
		return []way{direct, proxied}, nil
	}
	return []way{proxied, direct}, nil
}

// proxyPath is where the API server serves a Service of the cluster; false for
// a URL of anything else.
func proxyPath(u *url.URL) (string, bool) {
	labels := strings.Split(u.Hostname(), ".")
	if len(labels) < 2 || len(labels) > 2 && labels[2] != "svc" || !letters(labels[0]) || !letters(labels[1]) {
		return "", false
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	service := u.Scheme + ":" + labels[0] + ":" + port
	return "/api/v1/namespaces/" + labels[1] + "/services/" + service + "/proxy" + u.Path, true
}

// letters tells a name from a part of an IP address.
func letters(label string) bool {
	return label != "" && strings.Trim(label, "0123456789") != ""
}

// reach finds the first way by which Prometheus answers. The error names all
// that was tried, and the mend.
func reach(ctx context.Context, ways []way, now time.Time) (prom.Query, error) {
	var tried []string
	for _, w := range ways {
		query, err := prom.HTTP(w.client, w.url)
		if err == nil {
			err = answers(ctx, query, now)
		}
		if err == nil {
			return query, nil
		}
		tried = append(tried, fmt.Sprintf("  %s: %v", w.name, err))
	}
	return nil, fmt.Errorf("ask Prometheus: nobody answers\n%s\nForward its port (kubectl port-forward) and name it, like --prometheus http://localhost:9090; through the API server the right to create services/proxy is needed",
		strings.Join(tried, "\n"))
}

func answers(ctx context.Context, query prom.Query, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	_, err := query(ctx, "vector(1)", now, now, time.Second)
	return err
}
