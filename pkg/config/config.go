// Package config reads the controller's configuration file: strictly, with all
// mistakes at once, over defaults that are explained in Example.
package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"serin.dev/serin/pkg/annotation"
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/judge"
)

// Config is what an operator may set.
type Config struct {
	Defaults       canary.Spec // where a Deployment's annotations say nothing
	Metrics        []Metric    // that annotations may name, sorted by name
	Gates          []Gate      // that annotations may name, sorted by name
	Alertmanager   Alertmanager
	Smoke          Smoke
	Registry       Registry
	Notify         Notify
	Links          Links
	Namespaces     []string // to watch; empty: all
	Prometheus     Prometheus
	InPlace        InPlace
	Page           Page
	ClusterDomain  string // of host names, like cluster.local
	RootNamespace  string // Istio's, like istio-system
	LeaderElection LeaderElection
	Listen         string // host:port for metrics and health; the host may be empty
}

// Prometheus says where and how metrics are asked for.
type Prometheus struct {
	URL      string        // http or https
	Interval time.Duration // the scrape interval where it can't be found out, 1s to 10m
	Timeout  time.Duration // of one query, 100ms to 1m
	Reporter string        // ReporterAuto, ReporterSource or ReporterDestination
}

// Whose telemetry counts.
const (
	ReporterAuto        = "auto"        // the destination's where it has a proxy, otherwise the source's
	ReporterSource      = "source"      // the clients' proxies and the gateways
	ReporterDestination = "destination" // the proxies of the two versions
)

// InPlace is about releases of a single Deployment. What a release waits for the
// proxies is Defaults.Settle.
type InPlace struct {
	Enabled bool
	Guard   string // GuardPolicy, GuardWebhook or GuardPause
	Webhook Webhook
}

// What holds a changed template back until it is released.
const (
	GuardPolicy  = "policy"  // the API server, by a MutatingAdmissionPolicy
	GuardWebhook = "webhook" // this controller, asked by the API server
	GuardPause   = "pause"   // every Deployment that is released in place is always paused
)

// Webhook is where the guard answers the API server, with GuardWebhook.
type Webhook struct {
	Listen           string // host:port; the host may be empty
	Certificate, Key string // files, PEM; read again when they change
}

// LeaderElection is about the Lease by which one of several replicas works.
type LeaderElection struct {
	Namespace     string // of the Lease; empty: where the controller runs
	Name          string
	LeaseDuration time.Duration // how long others wait for a silent leader
	RenewDeadline time.Duration // how long the leader tries to renew before it stops, below LeaseDuration
	RetryPeriod   time.Duration // between tries, below RenewDeadline / 1.2
}

// Default is the configuration of an empty file.
func Default() Config {
	return Config{
		Defaults: annotation.Defaults(),
		Prometheus: Prometheus{
			URL: "http://prometheus.istio-system:9090", Interval: 15 * time.Second, Timeout: 10 * time.Second, Reporter: ReporterAuto,
		},
		Alertmanager: defaultAlertmanager(),
		Smoke:        Smoke{Host: HostService, Timeout: 10 * time.Second, Total: time.Minute},
		Registry:     Registry{Timeout: 10 * time.Second},
		InPlace: InPlace{
			Guard:   GuardPolicy,
			Webhook: Webhook{Listen: ":8443", Certificate: "/etc/serin-webhook/tls.crt", Key: "/etc/serin-webhook/tls.key"},
		},
		Page:          Page{Listen: "127.0.0.1:9092", Access: AccessLoopback},
		ClusterDomain: "cluster.local",
		RootNamespace: "istio-system",
		// A standby sees a renewal, and then the end of the lease, each up to 2.2
		// retry periods late: it takes over within 20 seconds of a crash.
		LeaderElection: LeaderElection{
			Name: "serin", LeaseDuration: 11 * time.Second, RenewDeadline: 8 * time.Second, RetryPeriod: 2 * time.Second,
		},
		Listen: ":8080",
	}
}

// maxBytes is far above any sensible file.
const maxBytes = 1 << 20

// Load reads a configuration over Default. An empty file is valid. Unknown
// fields, fields given twice and values out of range are refused; the error
// joins all of them, each with its path and the mend.
func Load(r io.Reader) (Config, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxBytes+1))
	if err != nil {
		return Config{}, fmt.Errorf("read the configuration: %w", err)
	}
	if len(text) > maxBytes {
		return Config{}, fmt.Errorf("read the configuration: it is larger than %d bytes", maxBytes)
	}
	tree, err := decode(text)
	if err != nil {
		return Config{}, fmt.Errorf("read the configuration: %w", err)
	}
	config := Default()
	errs := apply(&config, "", tree)
	if len(errs) == 0 {
		errs = append(config.contradictions(), twice(tree)...)
	}
	if len(errs) > 0 {
		return Config{}, fmt.Errorf("read the configuration: %w", errors.Join(errs...))
	}
	return config, nil
}

func decode(text []byte) (map[string]any, error) {
	if several(string(text)) {
		return nil, errors.New("it holds several YAML documents; write one")
	}
	asJSON, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, err
	}
	var tree any
	if err := json.Unmarshal(asJSON, &tree); err != nil {
		return nil, err
	}
	switch tree := tree.(type) {
	case nil:
		return nil, nil
	case map[string]any:
		return tree, nil
	}
	return nil, errors.New("it is no YAML mapping; write for example \"judge: {mode: threshold}\"")
}

// several tells whether a document marker stands behind content: the YAML
// library would silently read the first document alone.
func several(text string) bool {
	opened, content, ended := false, false, false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \t\r\n")
		marker, rest := strings.HasPrefix(line, "---"), strings.TrimPrefix(line, "---")
		marker = marker && (rest == "" || rest[0] == ' ' || rest[0] == '\t')
		switch {
		case marker && (opened || content || ended):
			return true
		case marker:
			opened, content = true, rest != ""
		case line == "...":
			ended = true
		case line == "" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, "%"):
		case ended:
			return true
		default:
			content = true
		}
	}
	return false
}

// contradictions finds values that are right alone and wrong together.
func (c Config) contradictions() []error {
	var errs []error
	if c.Defaults.Rules.Mode == judge.ModeThreshold && c.Defaults.Limits.P99Ratio > 0 {
		errs = append(errs, errors.New("defaults.max-p99: its multiple of stable's latency can't be judged by the threshold mode; take it away, or write judge.mode: evidence"))
	}
	l := c.LeaderElection
	if l.RenewDeadline >= l.LeaseDuration {
		errs = append(errs, fmt.Errorf("leaderElection.renewDeadline: %s is not below the leaseDuration of %s, so two replicas could work at once; write for example %s",
			l.RenewDeadline, l.LeaseDuration, (l.LeaseDuration*2/3).Round(100*time.Millisecond)))
	}
	// The client adds up to a fifth to the period.
	if l.RetryPeriod*6/5 >= l.RenewDeadline {
		errs = append(errs, fmt.Errorf("leaderElection.retryPeriod: %s leaves no second try within the renewDeadline of %s; write for example %s",
			l.RetryPeriod, l.RenewDeadline, l.RenewDeadline/5))
	}
	if i := c.InPlace; i.Enabled && i.Guard == GuardWebhook && port(i.Webhook.Listen) == port(c.Listen) {
		errs = append(errs, fmt.Errorf("inPlace.webhook.listen: %q has the port of listen, which is %q; write another one, like \":8443\"", i.Webhook.Listen, c.Listen))
	}
	if err := c.Page.Check(); err != nil {
		errs = append(errs, err)
	}
	if p := c.Page.Listen; p != "" && (port(p) == port(c.Listen) || c.InPlace.Enabled && c.InPlace.Guard == GuardWebhook && port(p) == port(c.InPlace.Webhook.Listen)) {
		errs = append(errs, fmt.Errorf("page.listen: %q has the port of another listener; write another one, like \"127.0.0.1:9092\"", p))
	}
	return slices.Concat(errs, c.unknownChannels(), c.outsideContradictions())
}

func port(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }

// twice finds the mode of the judge written in both its places, and not the same.
func twice(tree map[string]any) []error {
	defaults, _ := tree[defaultsPath].(map[string]any)
	rules, _ := tree["judge"].(map[string]any)
	one, other := defaults["judge"], rules["mode"]
	if one == nil || other == nil || one == other {
		return nil
	}
	return []error{fmt.Errorf("defaults.judge: %s contradicts judge.mode, which is %s; write one of them", written(one), written(other))}
}
