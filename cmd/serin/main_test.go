package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/config"
	"serin.dev/serin/pkg/controller"
	"serin.dev/serin/pkg/metrics"
	"serin.dev/serin/pkg/prom"
)

func TestTheVersionIsShownWithoutACluster(t *testing.T) {
	var out bytes.Buffer
	if err := run(context.Background(), []string{"--version"}, &out); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out.String(), "serin ") || !strings.Contains(out.String(), "go1.") {
		t.Errorf("it shows %q", out.String())
	}
}

func TestAllMistakesOnTheCommandLineComeAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "serin.yaml")
	if err := os.WriteFile(file, []byte("listn: :8080\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := run(context.Background(), []string{"--interval", "100ms", "--log-level", "loud", "--in-place", "dog", "--config", file, "start"}, io.Discard)
	if err == nil {
		t.Fatal("it started")
	}
	for _, part := range []string{`"start" is no flag`, "--log-level", "--interval", "--in-place", "listn"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not speak of %s:\n%v", part, err)
		}
	}
}

func TestMetricsThatCanNotBeAskedForAreRefusedAllAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "serin.yaml")
	text := `metrics:
  checkout-success:
    good: sum by (pod) (rate(checkouts_total{pod=~"{{pods}}", result="ok"}[1m]))
    total: sum by (pod) (checkouts_total{pod=~"{{pods}}"})
  queue-depth:
    gauge: max(queue_depth{deployment="{{deployment}}"})
  declined:
    bad: sum by (pod) (payments_total{pod=~"{{pods}}", result="declined"})
    total: sum by (pod) (payments_total{pod=~"{{pods}}"})
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := parse([]string{"--config", file}, io.Discard)
	if err == nil {
		t.Fatal("it would start")
	}
	for _, part := range []string{file, "checkout-success", "rate()", "queue-depth", "{{deployment}}"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not speak of %s:\n%v", part, err)
		}
	}
	if strings.Contains(err.Error(), "declined") {
		t.Errorf("nothing is wrong with the third:\n%v", err)
	}
}

func TestTheFilesMetricsAreTheTemplates(t *testing.T) {
	file := filepath.Join(t.TempDir(), "serin.yaml")
	text := "metrics:\n  queue-depth:\n    description: messages that wait\n    gauge: max(queue_depth{deployment=\"{{workload}}\"})\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := parse([]string{"--config", file}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	want := []prom.Template{{Name: "queue-depth", Gauge: `max(queue_depth{deployment="{{workload}}"})`}}
	if !slices.Equal(s.templates, want) {
		t.Errorf("got %+v, want %+v", s.templates, want)
	}
}

func TestFlagsWinOverTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "serin.yaml")
	text := "namespaces: [a]\nlisten: 127.0.0.1:1\nprometheus: {url: \"http://old.example:9090\", interval: 30s}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := parse([]string{"--config", file, "--namespaces", "shop, blog", "--prometheus-url", "http://new.example:9090", "--log-level", "debug", "--in-place", "pause"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	c := s.config
	if !slices.Equal(c.Namespaces, []string{"shop", "blog"}) || c.Prometheus.URL != "http://new.example:9090" || !c.InPlace.Enabled || c.InPlace.Guard != config.GuardPause || s.level != zapcore.DebugLevel {
		t.Errorf("a flag did not win: %+v", s)
	}
	if c.Listen != "127.0.0.1:1" || c.Prometheus.Interval != 30*time.Second {
		t.Errorf("the file did not count where no flag was given: %+v", c)
	}
}

func TestTheLeaseIsAtHomeUnlessTheFileSaysOtherwise(t *testing.T) {
	s, err := parse(nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	lease := func() *controller.Lease {
		l, err := s.lease("serin-system", &rest.Config{Host: "http://127.0.0.1:1"})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	first, second := lease(), lease()
	if first.Namespace != "serin-system" || first.Name != "serin" {
		t.Errorf("the lease is %s/%s", first.Namespace, first.Name)
	}
	if first.Identity == second.Identity {
		t.Errorf("two processes would both be %s", first.Identity)
	}
	s.elect = false
	if lease() != nil {
		t.Error("there is a lease though there is nobody to agree with")
	}
}

func TestTheLeaseIsRenewedByAConnectionOfItsOwn(t *testing.T) {
	var from []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from = append(from, r.RemoteAddr)
		http.NotFound(w, r)
	}))
	defer server.Close()
	config := &rest.Config{Host: server.URL, QPS: 0.001, Burst: 1}
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	client, err := leaseClient(config, 8*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = kube.CoreV1().Pods("shop").Get(t.Context(), "web", metav1.GetOptions{}) // all that the limit allows
	for range 3 {
		_, _ = client.Leases("serin-system").Get(t.Context(), "serin", metav1.GetOptions{})
	}
	if len(from) != 4 || from[0] == from[1] || from[1] != from[3] {
		t.Errorf("requests came by the connections %v, want one of the pods' and one of the lease's", from)
	}
}

type probe struct{ ready, leading bool }

func (p probe) Ready() bool   { return p.ready }
func (p probe) Leading() bool { return p.leading }

func TestWhatIsServed(t *testing.T) {
	no := func() bool { return false }
	shown := metrics.New(metrics.Source{Views: func() []canary.View { return nil }, Leading: no, Ready: no}, metrics.Build{Version: "v1"})
	for name, c := range map[string]struct {
		probe  probe
		method string
		path   string
		code   int
		part   string
	}{
		"alive before anything is read":   {probe{}, "GET", "/healthz", 200, "ok"},
		"not ready before all is read":    {probe{}, "GET", "/readyz", 503, "not read yet"},
		"a standby is ready":              {probe{ready: true}, "GET", "/readyz", 200, "standing by"},
		"a leader is ready":               {probe{ready: true, leading: true}, "GET", "/readyz", 200, "leading"},
		"the metrics":                     {probe{}, "GET", "/metrics", 200, "serin_build_info"},
		"the version":                     {probe{}, "GET", "/version", 200, `"version"`},
		"nothing else":                    {probe{}, "GET", "/debug/pprof/", 404, ""},
		"nothing that changes something ": {probe{}, "POST", "/healthz", 405, ""},
	} {
		t.Run(name, func(t *testing.T) {
			answer := httptest.NewRecorder()
			handler(c.probe, shown).ServeHTTP(answer, httptest.NewRequest(c.method, c.path, nil))
			if answer.Code != c.code || !strings.Contains(answer.Body.String(), c.part) {
				t.Errorf("got %d %.200q, want %d with %q", answer.Code, answer.Body.String(), c.code, c.part)
			}
		})
	}
}

func TestTheListenerClosesWhenTheWorkEnds(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	lost := errors.New("lost")
	got := serveWhile(context.Background(), listener, newServer(http.NotFoundHandler(), zap.NewNop()), func(context.Context) error { return lost })
	if !errors.Is(got, lost) {
		t.Errorf("got %v, want the work's error", got)
	}
	if _, err := net.Dial("tcp", listener.Addr().String()); err == nil {
		t.Error("it still listens")
	}
}

func TestTheWorkEndsWhenNobodyCanBeServed(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	err = serveWhile(context.Background(), listener, newServer(http.NotFoundHandler(), zap.NewNop()), func(ctx context.Context) error {
		<-ctx.Done()
		return nil
	})
	if !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want the listener's error", err)
	}
}

func TestABusyPortIsToldWithTheMend(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	err = run(context.Background(), []string{"--listen", listener.Addr().String()}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("got %v", err)
	}
}

func TestWhatTheClientsLogIsOneJSONObjectALine(t *testing.T) {
	var out bytes.Buffer
	useForClients(newLogger(&out, zapcore.InfoLevel))
	defer klog.ClearLogger()
	klog.Background().Info("a lease was taken", "lease", "serin")
	klog.Background().WithName("watch").Error(errors.New("away"), "a watch ended")
	klog.Background().V(4).Info("a detail")
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("got %d lines: %q", len(lines), lines)
	}
	var second map[string]any
	if err := json.Unmarshal([]byte(lines[1]), &second); err != nil {
		t.Fatal(err)
	}
	if second["level"] != "warn" || second["error"] != "away" || second["logger"] != "client.watch" {
		t.Errorf("got %v", second)
	}
}

func TestAPasswordIsNotLogged(t *testing.T) {
	if got := redact("http://reader:secret@prometheus:9090"); strings.Contains(got, "secret") {
		t.Errorf("got %s", got)
	}
}
