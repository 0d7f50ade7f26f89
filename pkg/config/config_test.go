package config_test

import (
	"errors"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"serin.dev/serin/pkg/annotation"
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/config"
	"serin.dev/serin/pkg/judge"
)

func load(text string) (config.Config, error) { return config.Load(strings.NewReader(text)) }

func TestFilesThatMeanTheDefaults(t *testing.T) {
	cases := map[string]string{
		"an empty file":               "",
		"a file of comments":          "# nothing yet\n",
		"a marker before nothing":     "---\n",
		"sections with nothing below": "defaults:\nprometheus:\njudge:\n  threshold:\n",
		"the example":                 config.Example(),
	}
	for name, text := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := load(text)
			if err != nil || !reflect.DeepEqual(got, config.Default()) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestEverythingCanBeSet(t *testing.T) {
	got, err := load(`---
defaults:
  steps: 0%/5m, 10%, 100%
  bake: 4m
  step-deadline: 1h
  max-error-rate: 0.5%
  max-p99: 300ms
  on-inconclusive: hold
  header: "cookie: track=canary"
  stable-subset: stable
  canary-subset: canary
namespaces: [shop, blog]
prometheus:
  url: https://metrics.example.com/prometheus
  interval: 5s
  timeout: 3s
  reporter: source
metrics:
  queue-depth: {gauge: 'depth{app="{{workload}}"}', description: Jobs that wait}
  orders:
    bad: orders_total{result="failed"}
    total: orders_total
judge:
  mode: threshold
  evidence: {falseRollbacks: 0.1%, falsePromotions: 2.5%, worseThanStable: 3x, negligible: 10%, clearlyBad: 1.5x, strict: true}
  threshold: {checks: 5, requests: 1000}
alertmanager:
  urls: [https://am-0.example.com, https://am-1.example.com/alerts]
  credentials: /run/am
  ca: /run/ca.crt
  plaintext: true
  interval: 5s
  timeout: 2s
  matchers: 'team="shop"'
  rollback: []
  hold: [page]
  receiver: {listen: ":9095", token: /run/token}
smoke: {proxy: "http://proxy.example.com:3128", host: address, timeout: 2s, total: 30s}
registry: {hosts: [registry.example.com, "registry.example.com:5000"], credentials: /run/docker, ca: /run/ca.crt, insecure: ["registry.example.com:5000"], timeout: 1s}
inPlace:
  enabled: true
  guard: webhook
  settle: 1500ms
  webhook: {listen: ":9443", certificate: /run/tls.crt, key: /run/tls.key}
page: {listen: "10.0.0.1:9444", access: reviewed, hosts: [serin.example.com], certificate: /run/page.crt, key: /run/page.key}
clusterDomain: example.internal
rootNamespace: mesh
leaderElection:
  namespace: serin-system
  name: serin-shop
  leaseDuration: 30s
  renewDeadline: 20s
  retryPeriod: 4s
listen: 127.0.0.1:9000
`)
	if err != nil {
		t.Fatal(err)
	}
	d := got.Defaults
	if len(d.Steps) != 2 || d.Steps[0].Bake != 4*time.Minute || d.Test != 5*time.Minute || d.Limits.ErrorRatio != 0 || d.Header.Match != canary.MatchCookie || d.CanarySubset != "canary" || d.Settle != 1500*time.Millisecond {
		t.Errorf("got defaults %+v", d)
	}
	want := config.Config{
		Defaults:   d,
		Namespaces: []string{"shop", "blog"},
		Metrics: []config.Metric{
			{Name: "orders", Bad: `orders_total{result="failed"}`, Total: "orders_total"},
			{Name: "queue-depth", Gauge: `depth{app="{{workload}}"}`, Description: "Jobs that wait"},
		},
		Prometheus: config.Prometheus{URL: "https://metrics.example.com/prometheus", Interval: 5 * time.Second, Timeout: 3 * time.Second, Reporter: config.ReporterSource},
		Alertmanager: config.Alertmanager{
			URLs: []string{"https://am-0.example.com", "https://am-1.example.com/alerts"}, Credentials: "/run/am", CA: "/run/ca.crt", Plaintext: true,
			Interval: 5 * time.Second, Timeout: 2 * time.Second, Matchers: `team="shop"`, Rollback: []string{}, Hold: []string{"page"},
			Receiver: config.Receiver{Listen: ":9095", Token: "/run/token"},
		},
		Smoke: config.Smoke{Proxy: "http://proxy.example.com:3128", Host: config.HostAddress, Timeout: 2 * time.Second, Total: 30 * time.Second},
		Registry: config.Registry{
			Hosts: []string{"registry.example.com", "registry.example.com:5000"}, Credentials: "/run/docker", CA: "/run/ca.crt",
			Insecure: []string{"registry.example.com:5000"}, Timeout: time.Second,
		},
		InPlace: config.InPlace{Enabled: true, Guard: config.GuardWebhook, Webhook: config.Webhook{Listen: ":9443", Certificate: "/run/tls.crt", Key: "/run/tls.key"}},

		Page: config.Page{Listen: "10.0.0.1:9444", Access: config.AccessReviewed, Hosts: []string{"serin.example.com"}, Certificate: "/run/page.crt", Key: "/run/page.key"},

		ClusterDomain: "example.internal", RootNamespace: "mesh", Listen: "127.0.0.1:9000",
		LeaderElection: config.LeaderElection{Namespace: "serin-system", Name: "serin-shop", LeaseDuration: 30 * time.Second, RenewDeadline: 20 * time.Second, RetryPeriod: 4 * time.Second},
	}
	want.Defaults.Rules = judge.Rules{
		Mode:      judge.ModeThreshold,
		Levels:    judge.Levels{Alpha: 0.001, Beta: 0.025, Rho: 3, Floor: 0.1, Kappa: 1.5, Strict: true},
		Threshold: judge.Threshold{Checks: 5, Requests: 1000},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestAnnotationsMayNameTheMetrics(t *testing.T) {
	c, err := load("defaults: {bake: 1m}\nmetrics: {a: {good: x, total: all}, b: {bad: x, total: all}, c: {gauge: z}}")
	if err != nil {
		t.Fatal(err)
	}
	want := annotation.Vocabulary{Defaults: c.Defaults, Metrics: []annotation.Metric{{Name: "a"}, {Name: "b", Bad: true}, {Name: "c", Gauge: true}}}
	if got := c.Vocabulary(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

// What the example shows of metrics stands in comments; it has to be right, too.
func TestTheExampleOfMetricsIsValid(t *testing.T) {
	_, below, found := strings.Cut(config.Example(), "metrics: {}\n")
	var text strings.Builder
	for line := range strings.Lines("metrics:\n" + below) {
		shown, comment := strings.CutPrefix(line, "#")
		if line != "metrics:\n" && !comment {
			break
		}
		text.WriteString(shown)
	}
	c, err := load(text.String())
	if !found || err != nil || len(c.Metrics) != 2 || c.Metrics[0].Good == "" || c.Metrics[1].Gauge == "" {
		t.Errorf("got %+v, %v of\n%s", c.Metrics, err, text.String())
	}
}

func TestMistakes(t *testing.T) {
	cases := []struct{ name, text, want string }{
		{"an unknown section", "promethus: {url: x}", `promethus: there is no such field; did you mean "prometheus"?`},
		{"an unknown field", "prometheus: {intervall: 5s}", `prometheus.intervall: there is no such field; did you mean "interval"?`},
		{"a field of no kind", "judge: {zzz: 1}", `judge.zzz: there is no such field; known here are mode, evidence, threshold`},
		{"an unknown default", "defaults: {stpes: 5%}", `defaults.stpes: "5%" is not a key of this release; did you mean "steps"?`},
		{"a default of one Deployment alone", "defaults: {canary: true}", `defaults.canary: "true" belongs to one Deployment and has no default`},
		{"a malformed default", "defaults: {bake: 2}", `defaults.bake: "2" has no unit (ms, s, m, h or d); write for example "10m"`},
		{"a default as a list", "defaults: {steps: [5%, 100%]}", `defaults.steps: a list or mapping is no text; write it as in the annotation`},
		{"a section as a word", "judge: threshold", `judge: "threshold" is no mapping; write the fields below it, indented: mode, evidence, threshold`},
		{"a field given twice", "listen: \":1\"\nlisten: \":2\"", `key "listen" already set in map`},
		{"no YAML", "judge: [", `did not find expected node content`},
		{"no mapping", "- judge", `it is no YAML mapping`},
		{"two documents", "judge: {}\n---\njudge: {}", `it holds several YAML documents; write one`},
		{"a document behind an empty one", "---\n---\njudge: {}", `it holds several YAML documents; write one`},
		{"something behind the end", "judge: {}\n...\nlisten: x", `it holds several YAML documents; write one`},
		{"no duration", "prometheus: {interval: soon}", `prometheus.interval: "soon" is no duration; write for example 15s`},
		{"a duration without a unit", "prometheus: {interval: 5}", `prometheus.interval: 5 has no unit (ms, s, m, h or d); write for example 15s`},
		{"a duration out of range", "prometheus: {timeout: 1h}", `prometheus.timeout: "1h" is not between 100ms and 1m; write for example 10s`},
		{"an empty field", "prometheus: {interval: }", `prometheus.interval: nothing is no duration; write for example 15s`},
		{"no URL", "prometheus: {url: prometheus:9090}", `prometheus.url: "prometheus:9090" is no http or https URL`},
		{"a URL with a query", "prometheus: {url: 'http://p:9090/?x=1'}", `has a query or fragment`},
		{"no reporter", "prometheus: {reporter: desination}", `prometheus.reporter: "desination" is none of the choices; did you mean "destination"?`},
		{"Alertmanager alone", "alertmanager: {urls: 'http://a:9093'}", `alertmanager.urls: "http://a:9093" is no list; write for example [http://alertmanager.monitoring:9093]`},
		{"an Alertmanager without a scheme", "alertmanager: {urls: ['a:9093']}", `alertmanager.urls: a list or mapping holds what is no http or https URL`},
		{"an Alertmanager twice", "alertmanager: {urls: ['http://a', 'http://a']}", `holds "http://a" twice; write it once`},
		{"an Alertmanager with a query", "alertmanager: {urls: ['http://a?x=1']}", `holds what has a query, which can't be part of the address`},
		{"credentials in the open", "alertmanager: {urls: ['http://a'], credentials: /run/am}", `alertmanager.urls: credentials would go unencrypted; write https, or alertmanager.plaintext: true`},
		{"matchers that are none", "alertmanager: {matchers: 'team'}", `alertmanager.matchers: "team" has `},
		{"a severity alone", "alertmanager: {hold: critical}", `alertmanager.hold: "critical" is no list; write for example [critical]`},
		{"a severity with a sign", "alertmanager: {rollback: ['a b']}", `holds "a b", which is no valid name; write for example critical`},
		{"a receiver that believes all", "alertmanager: {urls: ['http://a'], receiver: {listen: ':9095'}}", `alertmanager.receiver.token: it is missing; write the absolute path of a file with a token`},
		{"a receiver for nobody", "alertmanager: {receiver: {listen: ':9095', token: /run/t}}", `alertmanager.receiver.listen: there is no Alertmanager to ask; write alertmanager.urls, or take it away`},
		{"a receiver on the port of the metrics", "alertmanager: {urls: ['http://a'], receiver: {listen: ':8080', token: /run/t}}", `alertmanager.receiver.listen: ":8080" has the port of another listener; write another one, like ":9095"`},
		{"a proxy with a path", "smoke: {proxy: 'http://p:3128/x'}", `smoke.proxy: what is written is no http or https URL of a host alone; write for example http://smoke-proxy.serin-system:3128`},
		{"a host of no kind", "smoke: {host: public}", `smoke.host: "public" is none of the choices; write service or address`},
		{"all checks sooner than one", "smoke: {timeout: 20s, total: 10s}", `smoke.total: all checks have 10s, which is less than the 20s of one`},
		{"a registry with a scheme", "registry: {hosts: ['https://r.example.com']}", `registry.hosts: a list or mapping holds "https://r.example.com", which is no valid name; write for example registry.example.com`},
		{"an insecure registry that isn't asked", "registry: {hosts: [r.example.com], insecure: [r.example.co]}", `registry.insecure: "r.example.co" is none of registry.hosts; did you mean "r.example.com"?`},
		{"a judge that doesn't exist", "judge: {mode: oracle}", `judge.mode: "oracle" is none of the choices; write evidence or threshold`},
		{"a judge twice", "defaults: {judge: evidence}\njudge: {mode: threshold}", `defaults.judge: "evidence" contradicts judge.mode, which is "threshold"; write one of them`},
		{"a multiple the threshold mode can't judge", "defaults: {max-p99: '1s, 2x'}\njudge: {mode: threshold}", `defaults.max-p99: its multiple of stable's latency can't be judged by the threshold mode`},
		{"a share as a number", "judge: {evidence: {falseRollbacks: 0.01}}", `judge.evidence.falseRollbacks: 0.01 is no percentage; write for example 1%`},
		{"a share too large", "judge: {evidence: {falsePromotions: 21%}}", `judge.evidence.falsePromotions: "21%" is not above 0% and at most 20%; write for example 5%`},
		{"no share at all", "judge: {evidence: {negligible: 0%}}", `judge.evidence.negligible: "0%" is not above 0% and at most 100%; write for example 50%`},
		{"a multiple as a number", "judge: {evidence: {worseThanStable: 2}}", `judge.evidence.worseThanStable: 2 is no number of times; write for example 2x`},
		{"a multiple too small", "judge: {evidence: {clearlyBad: 0.5x}}", `judge.evidence.clearlyBad: "0.5x" is not between 1x and 100x; write for example 2x`},
		{"clearly bad at the limit itself", "judge: {evidence: {clearlyBad: 1x}}", `judge.evidence.clearlyBad: "1x" is the limit itself, so that no number of requests would do; write for example 2x`},
		{"strict in quotes", "judge: {evidence: {strict: 'true'}}", `judge.evidence.strict: "true" is neither true nor false`},
		{"metrics as a list", "metrics: [a]", `metrics: a list or mapping is no mapping; write a name below it, indented, and below that description, good, bad, total, gauge`},
		{"a metric as a query", "metrics: {a: up}", `metrics.a: "up" is no mapping; write the fields below it, indented: description, good, bad, total, gauge`},
		{"a metric's name", "metrics: {Checkout_OK: {gauge: up}}", `metrics.Checkout_OK: a metric can't have this name; write lower-case letters`},
		{"a metric's name that is taken", "metrics: {latency: {gauge: up}}", `metrics.latency: this name is taken by what every release is judged by`},
		{"a metric's name that may be taken", "metrics: {cpu-vs-stable: {gauge: up}}", `metrics.cpu-vs-stable: this name is taken`},
		{"an unknown field of a metric", "metrics: {a: {totl: up}}", `metrics.a.totl: there is no such field; did you mean "total"?`},
		{"a number as a query", "metrics: {a: {gauge: 1}}", `metrics.a.gauge: 1 is no text; write a query, or take the field away`},
		{"an empty query", "metrics: {a: {gauge: ' '}}", `metrics.a.gauge: " " is no text`},
		{"a metric of both kinds", "metrics: {a: {gauge: up, total: up}}", `metrics.a: it is both a gauge and a share of counters`},
		{"a share of both kinds", "metrics: {a: {good: x, bad: m, total: z}}", `metrics.a: it has both good and bad`},
		{"a share of nothing", "metrics: {a: {good: x}}", `metrics.a: it has no total to take the share of`},
		{"a total alone", "metrics: {a: {total: x}}", `metrics.a: it says neither what is good nor what is bad`},
		{"no check", "judge: {threshold: {checks: 0}}", `judge.threshold.checks: 0 is no whole number from 1 to 100; write one, without quotes`},
		{"half a request", "judge: {threshold: {requests: 0.5}}", `judge.threshold.requests: 0.5 is no whole number`},
		{"a quoted number", "judge: {threshold: {checks: '3'}}", `judge.threshold.checks: "3" is no whole number`},
		{"a namespace alone", "namespaces: shop", `namespaces: "shop" is no list; write for example [shop, blog]`},
		{"no namespace", "namespaces: [Shop]", `namespaces: a list or mapping holds "Shop", which is no valid name; write for example shop`},
		{"a namespace twice", "namespaces: [shop, shop]", `holds "shop" twice; write it once`},
		{"no domain", "clusterDomain: .local", `clusterDomain: ".local" is no valid name; write for example cluster.local`},
		{"no port", "listen: localhost", `listen: "localhost" has no port; write for example ":8080"`},
		{"a port too high", "listen: ':70000'", `listen: ":70000" has no port`},
		{"in place in quotes", "inPlace: {enabled: 'yes'}", `inPlace.enabled: "yes" is neither true nor false; write one of them, without quotes`},
		{"no guard", "inPlace: {guard: dog}", `inPlace.guard: "dog" is none of the choices; write policy or webhook or pause`},
		{"proxies that settle at once", "inPlace: {settle: 0s}", `inPlace.settle: "0s" is not between 100ms and 5m; write for example 5s`},
		{"proxies that never settle", "inPlace: {settle: 1h}", `inPlace.settle: "1h" is not between 100ms and 5m; write for example 5s`},
		{"a certificate somewhere", "inPlace: {webhook: {certificate: tls.crt}}", `inPlace.webhook.certificate: "tls.crt" is no absolute path of a file; write for example /etc/serin-webhook/tls.crt`},
		{"a folder of keys", "inPlace: {webhook: {key: /etc/}}", `inPlace.webhook.key: "/etc/" is no absolute path of a file`},
		{"a webhook without a port", "inPlace: {webhook: {listen: localhost}}", `inPlace.webhook.listen: "localhost" has no port`},
		{"a webhook on the port of the metrics", "inPlace: {enabled: true, guard: webhook, webhook: {listen: '0.0.0.0:8080'}}", `inPlace.webhook.listen: "0.0.0.0:8080" has the port of listen, which is ":8080"; write another one, like ":8443"`},
		{"a page for everybody that asks nobody", "page: {listen: ':9092'}", `page.listen: ":9092" is reached from other machines, and page.access: loopback asks nobody who they are; write "127.0.0.1:9092", or page.access: reviewed`},
		{"a page on a name", "page: {listen: 'serin.example.com:9092'}", `page.listen: "serin.example.com:9092" is reached from other machines`},
		{"tokens in clear text", "page: {listen: ':9092', access: reviewed}", `page.certificate: without one, tokens would cross the network in clear text`},
		{"a page with half a certificate", "page: {certificate: /run/tls.crt}", `page.key: a certificate and its key belong together; write both`},
		{"a page on the port of the metrics", "page: {listen: '127.0.0.1:8080'}", `page.listen: "127.0.0.1:8080" has the port of another listener`},
		{"a page of no kind", "page: {access: everybody}", `page.access: "everybody" is none of the choices; write loopback or reviewed`},
		{"a page without a port", "page: {listen: localhost}", `page.listen: "localhost" has no port; write for example ":8080"`},
		{"a host with a port", "page: {hosts: ['serin.example.com:80']}", `page.hosts: a list or mapping holds "serin.example.com:80", which is no valid name; write for example serin.example.com`},
		{"a leader that renews too long", "leaderElection: {renewDeadline: 15s}", `leaderElection.renewDeadline: 15s is not below the leaseDuration of 11s, so two replicas could work at once; write for example 7.3s`},
		{"a leader that tries too seldom", "leaderElection: {retryPeriod: 9s}", `leaderElection.retryPeriod: 9s leaves no second try within the renewDeadline of 8s; write for example 1.6s`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := load(c.text)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got  %v\nwant %s", err, c.want)
			}
			if !reflect.DeepEqual(got, config.Config{}) {
				t.Error("a refused file must configure nothing")
			}
		})
	}
}

func TestAllMistakesAreToldAtOnce(t *testing.T) {
	_, err := load("defaults: {bake: 2, steps: 5%}\nmetrics: {A: {gaug: up}}\nlistn: x\njudge: {mode: oracle, threshold: {checks: many}}\n")
	want := `read the configuration: defaults.steps: "5%" ends at 5%; add "100%" as the last step
defaults.bake: "2" has no unit (ms, s, m, h or d); write for example "10m"
judge.mode: "oracle" is none of the choices; write evidence or threshold
judge.threshold.checks: "many" is no whole number from 1 to 100; write one, without quotes
listn: there is no such field; did you mean "listen"?
metrics.A: a metric can't have this name; write lower-case letters, digits and "-", at most 63, like checkout-success
metrics.A.gaug: there is no such field; did you mean "gauge"?`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v", err)
	}
}

func TestAFileThatCantBeReadIsAnError(t *testing.T) {
	broken := errors.New("broken disk")
	if _, err := config.Load(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if _, err := load(strings.Repeat("#", 1<<20+1)); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("got %v", err)
	}
}

func FuzzLoad(f *testing.F) {
	for _, seed := range []string{"", config.Example(), "judge: [", "namespaces: [a]", "a: &a [*a]", "? x", "---\n...", "1: 2"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := load(text)
		if err == nil && (c.Prometheus.Interval < time.Second || c.Defaults.Rules.Threshold.Checks < 1 || c.Defaults.Settle < 100*time.Millisecond || len(c.Defaults.Steps) == 0) {
			t.Errorf("accepted %+v", c)
		}
	})
}

var update = flag.Bool("update", false, "write the generated example into the documentation")

func TestTheDocumentationIsCurrent(t *testing.T) {
	const (
		file  = "../../docs/config.md"
		begin = "<!-- example: begin, generated by go test ./pkg/config -update -->\n```yaml\n"
		end   = "```\n<!-- example: end -->\n"
	)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, opened := strings.Cut(string(text), begin)
	example, after, closed := strings.Cut(rest, end)
	switch {
	case !opened || !closed:
		t.Fatalf("%s has no place for the example", file)
	case example == config.Example():
		return
	case !*update:
		t.Fatalf("%s is not current: run go test ./pkg/config -update", file)
	}
	if err := os.WriteFile(file, []byte(before+begin+config.Example()+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
