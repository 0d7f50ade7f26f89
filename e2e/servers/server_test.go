package servers

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// scrapeConfig is read by all of the servers.
const scrapeConfig = `global:
  scrape_interval: %s
  scrape_timeout: 1s
  external_labels: {cluster: test}
scrape_configs:
- job_name: envoy
  file_sd_configs:
  - files: [%q]
`

// process starts a program that ends with the test; its output is a file in dir.
func process(t *testing.T, dir, path string, args ...string) {
	t.Helper()
	log, err := os.Create(filepath.Join(dir, filepath.Base(path)+".log"))
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), path, args...)
	c.Stdout, c.Stderr, c.Dir = log, log, dir
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		_ = log.Close()
		if said, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("%s said:\n%.3000s", filepath.Base(path), said)
		}
	})
}

// address is free on loopback.
func address(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// answers waits until a URL answers 200.
func answers(t *testing.T, url string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for every := time.Tick(100 * time.Millisecond); ; <-every {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if ctx.Err() != nil {
			t.Fatalf("%s never answered: %v", url, err)
		}
		if err != nil {
			continue
		}
		_ = response.Body.Close()
		if response.StatusCode == http.StatusOK {
			return
		}
	}
}

// config writes the scrape configuration and returns its path.
func config(t *testing.T, w *world) string {
	t.Helper()
	path := filepath.Join(filepath.Dir(w.targets), "scrape.yml")
	if err := os.WriteFile(path, fmt.Appendf(nil, scrapeConfig, w.width, w.targets), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func startPrometheus(r release) func(*testing.T, string, *world) string {
	return func(t *testing.T, dir string, w *world) string {
		t.Helper()
		at := address(t)
		process(t, dir, r.built(t), "--config.file="+config(t, w), "--storage.tsdb.path="+filepath.Join(dir, "data"),
			"--web.listen-address="+at, "--log.level=warn", "--storage.tsdb.min-block-duration=2h", "--storage.tsdb.max-block-duration=2h")
		answers(t, "http://"+at+"/-/ready")
		return "http://" + at
	}
}

func startVictoria(arguments ...string) func(*testing.T, string, *world) string {
	return func(t *testing.T, dir string, w *world) string {
		t.Helper()
		at := address(t)
		process(t, dir, victoria.built(t), append([]string{"-promscrape.config=" + config(t, w), "-storageDataPath=" + filepath.Join(dir, "data"),
			"-httpListenAddr=" + at, "-loggerLevel=WARN", "-promscrape.fileSDCheckInterval=1s", "-retentionPeriod=1d"}, arguments...)...)
		answers(t, "http://"+at+"/health")
		return "http://" + at
	}
}

// startThanos is a Prometheus, a sidecar, and the querier before it.
func startThanos(t *testing.T, dir string, w *world) string {
	t.Helper()
	behind := startPrometheus(prometheus255)(t, dir, w)
	sidecar, querier := address(t), address(t)
	process(t, filepath.Join(dir), thanos.built(t), "sidecar", "--prometheus.url="+behind, "--grpc-address="+sidecar,
		"--http-address="+address(t), "--log.level=warn", "--tsdb.path="+filepath.Join(dir, "data"))
	sub := filepath.Join(dir, "query")
	if err := os.Mkdir(sub, 0o700); err != nil {
		t.Fatal(err)
	}
	process(t, sub, thanos.built(t), "query", "--endpoint="+sidecar, "--http-address="+querier, "--grpc-address="+address(t), "--log.level=warn")
	answers(t, "http://"+querier+"/-/ready")
	return "http://" + querier
}
