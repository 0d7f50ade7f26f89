package mesh

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s differs (go test ./mesh -update writes it anew); got:\n%s", path, got)
	}
}

var (
	gateway = Proxy{IP: GatewayIP, Name: "gw", Namespace: "istio-system", Labels: map[string]string{"istio": "ingressgateway"}}
	sidecar = Proxy{Sidecar: true, IP: "10.244.1.7", Name: "web-v2-abc", Namespace: "shop", Labels: map[string]string{"app": "web", "version": "v2"}}
)

func TestBootstrap(t *testing.T) {
	for name, p := range map[string]Proxy{"gateway.json": gateway, "sidecar.json": sidecar} {
		b, err := p.Bootstrap()
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, append(b, '\n'))
	}
}

func TestPrometheusConfig(t *testing.T) {
	b, err := PrometheusConfig(1500*time.Millisecond, "/run/targets.json", "/run/controllers.json")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "prometheus.yml", b)
}

func TestWithoutAFileOfTargetsNothingIsScraped(t *testing.T) {
	b, err := PrometheusConfig(time.Second, "", "")
	if err != nil || strings.Contains(string(b), "scrape_configs") {
		t.Errorf("%s, %v", b, err)
	}
}

func TestTargets(t *testing.T) {
	b, err := TargetsFile([]Target{gateway.Source("istio-ingressgateway"), sidecar.Destination("web-v2", "web")})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "targets.json", append(b, '\n'))
}

func TestNoTargetsAreAnEmptyList(t *testing.T) {
	b, err := TargetsFile(nil)
	if err != nil || string(b) != "[]" {
		t.Errorf("%s, %v", b, err)
	}
}
