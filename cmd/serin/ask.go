package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"go.uber.org/zap"
	"k8s.io/client-go/kubernetes"

	"serin.dev/serin/pkg/ask"
	"serin.dev/serin/pkg/canary"
	objects "serin.dev/serin/pkg/cluster"
	"serin.dev/serin/pkg/config"
	"serin.dev/serin/pkg/gate/alertmanager"
	"serin.dev/serin/pkg/gate/harbor"
	"serin.dev/serin/pkg/gate/outside"
	"serin.dev/serin/pkg/gate/webhook"
	"serin.dev/serin/pkg/gate/window"
	"serin.dev/serin/pkg/prom"
	"serin.dev/serin/pkg/registry"
	smoke "serin.dev/serin/pkg/smoke/probe"
)

// outer is everybody who is asked about releases.
type outer struct {
	askers map[canary.QuestionKind]ask.Asker
	alerts *alertmanager.Poller // nil: no Alertmanager is configured
}

// newOuter makes whoever answers what is asked outside, as the configuration says.
// wake is called when other alerts are active than before.
func newOuter(f config.Config, kube kubernetes.Interface, query prom.Query, wake func()) (outer, error) {
	prober, err := newProber(f)
	if err != nil {
		return outer{}, err
	}
	o := outer{askers: map[canary.QuestionKind]ask.Asker{
		canary.AskEndpoints: objects.AskEndpoints(kube),
		canary.AskScaling:   objects.AskScaling(kube),
		canary.AskSeries:    prom.AskSeries(query, f.Prometheus.Interval, time.Now),
		canary.AskResidual:  prom.AskResidual(query, f.Prometheus.Interval, time.Now),
		canary.AskSmoke:     prober.Ask,
	}}
	if len(f.Alertmanager.URLs) > 0 {
		a := f.Alertmanager
		o.alerts, err = alertmanager.New(alertmanager.Options{
			URLs: a.URLs, Credentials: a.Credentials, CA: a.CA, Plaintext: a.Plaintext, Interval: a.Interval, Timeout: a.Timeout,
			Matchers: a.Matchers, Rollback: a.Rollback, Hold: a.Hold, Wake: func(_, _ string) { wake() },
		})
		if err != nil {
			return outer{}, err
		}
		o.askers[canary.AskAlerts] = o.alerts.Ask
	}
	if r := f.Registry; len(r.Hosts) > 0 {
		reader, err := registry.New(registry.Options{Hosts: r.Hosts, DockerConfig: r.Credentials, CA: r.CA, Insecure: r.Insecure, Timeout: r.Timeout})
		if err != nil {
			return outer{}, err
		}
		o.askers[canary.AskImages] = reader.Ask
	}
	o.askers[canary.AskGate], err = o.gates(f.Gates)
	return o, err
}

func newProber(f config.Config) (*smoke.Prober, error) {
	o := smoke.Options{Timeout: f.Smoke.Timeout, Total: f.Smoke.Total}
	if f.Smoke.Host == config.HostService {
		o.Domain = f.ClusterDomain
	}
	if f.Smoke.Proxy != "" {
		var err error
		if o.Proxy, err = url.Parse(f.Smoke.Proxy); err != nil {
			return nil, fmt.Errorf("use smoke.proxy: %w", err)
		}
	}
	return smoke.New(o), nil
}

// gates makes the operator's gates, and gives each question to the one that it names.
func (o outer) gates(all []config.Gate) (ask.Asker, error) {
	known := map[string]ask.Asker{}
	var mistakes []error
	for _, g := range all {
		asker, err := o.gate(g)
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("gates.%s: %w", g.Name, err))
		}
		known[g.Name] = asker
	}
	return func(ctx context.Context, q canary.Question, s canary.Subject) canary.Answer {
		gate, found := known[q.Name]
		if !found { // it was configured when the release began
			return canary.Answer{Said: canary.Wait, Unreached: true, Sentence: "The configuration has no gate " + q.Name + " any more"}
		}
		return gate(ctx, q, s)
	}, errors.Join(mistakes...)
}

func (o outer) gate(g config.Gate) (ask.Asker, error) {
	switch g.Type {
	case config.GateWebhook:
		gate, err := webhook.New(webhook.Options{Name: g.Name, URL: g.URL, Credentials: g.Credentials, CA: g.CA, Timeout: g.Timeout})
		if err != nil {
			return nil, err
		}
		return gate.Ask, nil
	case config.GateHarbor:
		gate, err := harbor.New(harbor.Options{
			URL: g.URL, Credentials: g.Credentials, CA: g.CA, Plaintext: g.Plaintext, Timeout: g.Timeout,
			Registries: g.Registries, Limits: limitsOf(g.Limits), Scanned: g.Scanned, MaxAge: g.MaxAge, Signed: g.Signed,
		})
		if err != nil {
			return nil, err
		}
		return gate.Ask, nil
	case config.GateAlertmanager:
		if o.alerts == nil {
			return nil, errors.New("no Alertmanager is configured")
		}
		return o.alerts.Gate(g.Matchers)
	case config.GateWindow:
		hours, faults := window.New(window.Options{Name: g.Name, Open: g.Open, Zone: g.Zone, Closed: g.Closed})
		if len(faults) > 0 {
			return nil, fmt.Errorf("%s %s", faults[0].Field, faults[0].Problem)
		}
		return hours.Asker(time.Now), nil
	}
	return nil, fmt.Errorf("there is no type %q of gates", g.Type)
}

// severities are Harbor's names of the configuration's.
var severities = map[string]string{"critical": harbor.Critical, "high": harbor.High, "medium": harbor.Medium, "low": harbor.Low}

func limitsOf(all []config.Limit) (out []harbor.Limit) {
	for _, l := range all {
		out = append(out, harbor.Limit{Severity: severities[l.Severity], Most: l.Most, Beyond: l.Beyond})
	}
	return out
}

// hearing returns the work with Alertmanager's poller beside it, and the receiver of
// its hints, where one is configured; only who leads follows them. An address that is
// taken is no reason not to lead releases: it is told, and alerts take effect an
// interval later.
func (o outer) hearing(ctx context.Context, r config.Receiver, leading func() bool, log *zap.Logger, work func(context.Context) error) func(context.Context) error {
	if o.alerts == nil {
		return work
	}
	polled := func(ctx context.Context) error {
		polling, stop := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() { defer close(done); o.alerts.Run(polling) }()
		defer func() { stop(); <-done }()
		return work(ctx)
	}
	if r.Listen == "" {
		return polled
	}
	log = log.Named("alerts")
	var listening net.ListenConfig
	listener, err := listening.Listen(ctx, "tcp", r.Listen)
	if err != nil {
		log.Warn("Nothing is received from Alertmanager, for the address is taken; choose another by alertmanager.receiver.listen", zap.String("listen", r.Listen), zap.Error(err))
		return polled
	}
	log.Info("Hints of Alertmanager are received", zap.String("listen", listener.Addr().String()))
	server := newServer(alertmanager.Handler(func() (string, error) { return outside.Secret(r.Token) }, o.hint(leading)), log)
	return func(ctx context.Context) error { return serveWhile(ctx, listener, server, polled) }
}

// hint pokes the poller of the replica that leads, where releases ask.
func (o outer) hint(leading func() bool) func() bool {
	return func() bool {
		if !leading() {
			return false
		}
		o.alerts.Poke()
		return true
	}
}
