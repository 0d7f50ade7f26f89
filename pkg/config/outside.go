package config

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Alertmanager says whom releases ask for active alerts.
type Alertmanager struct {
	URLs        []string // of all replicas; empty: no alert is asked for
	Credentials string   // file with user:password or a token; empty: none
	CA          string   // file of authorities, PEM; empty: the system's
	Plaintext   bool     // credentials may go by http
	Interval    time.Duration
	Timeout     time.Duration // of one request
	Matchers    string        // what default means in annotations, as written; empty: by labels
	// Rollback and Hold are severities: of alerts that end a release which began before
	// them, and of those that hold it. Never nil.
	Rollback, Hold []string
	Receiver       Receiver
}

// Receiver is where Alertmanager tells that something changed.
type Receiver struct {
	Listen string // host:port; empty: nowhere
	Token  string // file with the token that senders have to bring
}

// Smoke says how smoke checks reach the pods.
type Smoke struct {
	Proxy   string        // URL of an HTTP proxy; empty: none
	Host    string        // HostService or HostAddress
	Timeout time.Duration // of one check
	Total   time.Duration // of all checks of one question, at least Timeout
}

// By which host name smoke checks ask.
const (
	HostService = "service" // the Service's in the cluster
	HostAddress = "address" // the pod's address
)

// Registry says which registries are asked what images say of themselves.
type Registry struct {
	Hosts       []string // as images name them; empty: none is asked
	Credentials string   // file as docker login writes it; empty: none
	CA          string   // file of authorities, PEM; empty: the system's
	Insecure    []string // of Hosts those that are asked by http
	Timeout     time.Duration
}

func defaultAlertmanager() Alertmanager {
	return Alertmanager{
		Interval: 10 * time.Second, Timeout: 10 * time.Second,
		Rollback: []string{"critical"}, Hold: []string{"warning", "critical"},
	}
}

// outsideSettings are the leaves about whom releases ask, beside the gates.
var outsideSettings = []setting{
	{"alertmanager.urls", `[]`, "Where Alertmanager answers, all replicas of it; none given: no alert is asked for. Active alerts about a release hold it or take it back, as docs/alerts.md says.", func(c *Config, v any) error {
		return endpoints(v, &c.Alertmanager.URLs)
	}},
	{"alertmanager.credentials", `""`, "A file with user:password or a token, if it asks for one; it is read again when it changes.", func(c *Config, v any) error {
		return fileOrNone(v, "/etc/serin-secrets/alertmanager", &c.Alertmanager.Credentials)
	}},
	{"alertmanager.ca", `""`, "The file of the authorities that sign its certificate, PEM, beside the system's.", func(c *Config, v any) error {
		return fileOrNone(v, "/etc/serin-secrets/ca.crt", &c.Alertmanager.CA)
	}},
	{"alertmanager.plaintext", `false`, "Whether credentials may be sent by http, where the network can be trusted.", func(c *Config, v any) error {
		return truth(v, &c.Alertmanager.Plaintext)
	}},
	{"alertmanager.interval", `10s`, "How often it is asked, once for all releases, while there are any. 1s to 5m.", func(c *Config, v any) error {
		return duration(v, time.Second, 5*time.Minute, "10s", &c.Alertmanager.Interval)
	}},
	{"alertmanager.timeout", `10s`, "The longest time that a request may take. 100ms to 1m.", func(c *Config, v any) error {
		return duration(v, 100*time.Millisecond, time.Minute, "10s", &c.Alertmanager.Timeout)
	}},
	{"alertmanager.matchers", `""`, "What default means in the annotation alerts, in Alertmanager's syntax; empty: alerts whose labels name the namespace together with the Service, its Deployments or their pods.", func(c *Config, v any) error {
		if v == "" {
			c.Alertmanager.Matchers = ""
			return nil
		}
		return matchers(v, &c.Alertmanager.Matchers)
	}},
	{"alertmanager.rollback", `[critical]`, "The severities of alerts that take a release back which began before them.", func(c *Config, v any) error {
		return severityNames(v, &c.Alertmanager.Rollback)
	}},
	{"alertmanager.hold", `[warning, critical]`, "The severities of alerts that hold a release while they are active.", func(c *Config, v any) error {
		return severityNames(v, &c.Alertmanager.Hold)
	}},
	{"alertmanager.receiver.listen", `""`, "Where a webhook of Alertmanager may say that something changed, as host:port, so that it is asked at once. \"\": nowhere.", func(c *Config, v any) error {
		if v == "" {
			c.Alertmanager.Receiver.Listen = ""
			return nil
		}
		return listen(v, &c.Alertmanager.Receiver.Listen)
	}},
	{"alertmanager.receiver.token", `""`, "A file with the token that the webhook has to bring; it is read again when it changes.", func(c *Config, v any) error {
		return fileOrNone(v, "/etc/serin-secrets/receiver-token", &c.Alertmanager.Receiver.Token)
	}},
	{"smoke.proxy", `""`, "An HTTP proxy by which smoke checks reach the pods, like http://smoke-proxy.serin-system:3128; empty: they are asked directly, which a mesh with strict mTLS refuses.", func(c *Config, v any) error {
		return proxy(v, &c.Smoke.Proxy)
	}},
	{"smoke.host", `service`, "By which host name pods are asked. service: the Service's in the cluster, as web.shop.svc.cluster.local. address: the pod's address, as kubelets do; by a proxy it always is.", func(c *Config, v any) error {
		return choice(v, &c.Smoke.Host, HostService, HostAddress)
	}},
	{"smoke.timeout", `10s`, "How long one check may take, with all tries to connect. 100ms to 1m.", func(c *Config, v any) error {
		return duration(v, 100*time.Millisecond, time.Minute, "10s", &c.Smoke.Timeout)
	}},
	{"smoke.total", `1m`, "How long all checks together may take, on all pods. 1s to 2m.", func(c *Config, v any) error {
		return duration(v, time.Second, 2*time.Minute, "1m", &c.Smoke.Total)
	}},
	{"registry.hosts", `[]`, "The registries that are asked what images say of themselves (version, revision, source), as images name them; none given: no registry is asked. It is only shown: no release waits for it.", func(c *Config, v any) error {
		return names(v, registryHost, "registry.example.com", "[registry.example.com]", &c.Registry.Hosts)
	}},
	{"registry.credentials", `""`, "A file with credentials as docker login writes it, and as the Secrets hold it that pods pull with; it is read again when it changes.", func(c *Config, v any) error {
		return fileOrNone(v, "/etc/serin-secrets/.dockerconfigjson", &c.Registry.Credentials)
	}},
	{"registry.ca", `""`, "The file of the authorities that sign the registries' certificates, PEM, beside the system's.", func(c *Config, v any) error {
		return fileOrNone(v, "/etc/serin-secrets/ca.crt", &c.Registry.CA)
	}},
	{"registry.insecure", `[]`, "Those of the hosts that are asked by http.", func(c *Config, v any) error {
		return names(v, registryHost, "registry.example.com", "[registry.example.com:5000]", &c.Registry.Insecure)
	}},
	{"registry.timeout", `10s`, "How long all requests for one image may take. 100ms to 1m.", func(c *Config, v any) error {
		return duration(v, 100*time.Millisecond, time.Minute, "10s", &c.Registry.Timeout)
	}},
}

// endpoints reads addresses of the replicas of a service.
func endpoints(value any, into *[]string) error {
	const example = "[http://alertmanager.monitoring:9093]"
	items, is := value.([]any)
	if !is {
		return fmt.Errorf("is no list; write for example %s", example)
	}
	var all []string
	for _, item := range items {
		text, _ := item.(string)
		var one string
		if err := endpoint(text, &one); err != nil {
			return fmt.Errorf("holds what %w", err)
		}
		if strings.Contains(one, "?") {
			return fmt.Errorf("holds what has a query, which can't be part of the address; write for example %s", example)
		}
		if slices.Contains(all, one) {
			return fmt.Errorf("holds %q twice; write it once", one)
		}
		all = append(all, one)
	}
	*into = all
	return nil
}

var severityName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,63}$`)

// severityNames reads values of alerts' label severity; none is a list, too.
func severityNames(value any, into *[]string) error {
	all := []string{}
	if err := names(value, severityName, "critical", "[critical]", &all); err != nil {
		return err
	}
	*into = append([]string{}, all...)
	return nil
}

// proxy reads the address of a proxy; empty is none.
func proxy(value any, into *string) error {
	text, is := value.(string)
	if is && text == "" {
		*into = ""
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("is no http or https URL of a host alone; write for example http://smoke-proxy.serin-system:3128")
	}
	*into = text
	return nil
}

// outsideContradictions finds values about whom releases ask that are right alone and
// wrong together.
func (c Config) outsideContradictions() []error {
	var errs []error
	a := c.Alertmanager
	if a.Credentials != "" && !a.Plaintext && slices.ContainsFunc(a.URLs, func(u string) bool { return strings.HasPrefix(u, "http:") }) {
		errs = append(errs, errors.New("alertmanager.urls: credentials would go unencrypted; write https, or alertmanager.plaintext: true where the network can be trusted"))
	}
	if r := a.Receiver; r.Listen != "" {
		if r.Token == "" {
			errs = append(errs, errors.New("alertmanager.receiver.token: it is missing; write the absolute path of a file with a token, like /etc/serin-secrets/receiver-token"))
		}
		if len(a.URLs) == 0 {
			errs = append(errs, errors.New("alertmanager.receiver.listen: there is no Alertmanager to ask; write alertmanager.urls, or take it away"))
		}
		if slices.Contains(c.ports(), port(r.Listen)) {
			errs = append(errs, fmt.Errorf("alertmanager.receiver.listen: %q has the port of another listener; write another one, like \":9095\"", r.Listen))
		}
	}
	if c.Smoke.Total < c.Smoke.Timeout {
		errs = append(errs, fmt.Errorf("smoke.total: all checks have %s, which is less than the %s of one; write a total of at least smoke.timeout", c.Smoke.Total, c.Smoke.Timeout))
	}
	for _, host := range c.Registry.Insecure {
		if !slices.Contains(c.Registry.Hosts, host) {
			errs = append(errs, fmt.Errorf("registry.insecure: %q is none of registry.hosts; %s", host, meant(host, c.Registry.Hosts, "add it there, or take it away")))
		}
	}
	return append(errs, c.withoutAlertmanager()...)
}

// ports are those of the listeners that are on, beside the receiver.
func (c Config) ports() []string {
	ports := []string{port(c.Listen)}
	if c.Page.Listen != "" {
		ports = append(ports, port(c.Page.Listen))
	}
	if c.InPlace.Enabled && c.InPlace.Guard == GuardWebhook {
		ports = append(ports, port(c.InPlace.Webhook.Listen))
	}
	return ports
}
