// Command serin is the controller: it watches Deployments that ask for canary
// releases and moves the weights and the header routes of their Istio
// VirtualServices, step by step, by what Prometheus says of them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"go.uber.org/zap"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"serin.dev/serin/pkg/canary"
	objects "serin.dev/serin/pkg/cluster"
	"serin.dev/serin/pkg/controller"
	"serin.dev/serin/pkg/metrics"
	"serin.dev/serin/pkg/notify"
	"serin.dev/serin/pkg/prom"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "serin:", err)
		os.Exit(1)
	}
}

// run is the whole program: it reads args, works until ctx ends, and stops
// cleanly. Logs and answers go to stdout.
func run(ctx context.Context, args []string, stdout io.Writer) error {
	s, err := parse(args, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return err
	case s.showVersion:
		_, err := fmt.Fprintln(stdout, "serin", thisBuild())
		return err
	}
	log := newLogger(stdout, s.level)
	defer func() { _ = log.Sync() }() // stdout has nothing to sync
	useForClients(log)

	var listening net.ListenConfig
	listener, err := listening.Listen(ctx, "tcp", s.config.Listen)
	if err != nil {
		return fmt.Errorf("listen for metrics and health on %s: %w; choose another with --listen", s.config.Listen, err)
	}
	p, err := assemble(s, log)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	work := p.outer.hearing(ctx, s.config.Alertmanager.Receiver, p.controller.Leading, log, telling(p.notifier, p.controller.Run))
	work, err = guarding(ctx, s.config.InPlace, p.kube, log, work)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	work = paging(ctx, s.config.Page, p.kube, p.controller, log, work)
	log.Info("Serin starts", zap.Stringer("version", thisBuild()), zap.String("listen", listener.Addr().String()),
		zap.String("prometheus", redact(s.config.Prometheus.URL)), zap.Int("metrics", len(s.templates)))
	err = serveWhile(ctx, listener, newServer(handler(p.controller, p.metrics), log), work)
	log.Info("Serin stops", zap.Error(err))
	return err
}

// parts are what the program is made of.
type parts struct {
	kube       kubernetes.Interface
	controller *controller.Controller
	metrics    *metrics.Metrics
	notifier   *notify.Notifier
	outer      outer
}

// assemble makes the clients and the controller over them.
func assemble(s settings, log *zap.Logger) (p parts, err error) {
	rest, namespace, err := clientConfig(s.kubeconfig)
	if err != nil {
		return p, err
	}
	p.kube, err = kubernetes.NewForConfig(objects.Compact(rest))
	if err != nil {
		return p, fmt.Errorf("make a client for the API server: %w", err)
	}
	trees, err := dynamic.NewForConfig(rest)
	if err != nil {
		return p, fmt.Errorf("make a client for the API server: %w", err)
	}
	b := thisBuild()
	p.metrics = metrics.New(metrics.Source{
		Views:   func() []canary.View { return p.controller.Views() },
		Leading: func() bool { return p.controller.Leading() },
		Ready:   func() bool { return p.controller.Ready() },
	}, metrics.Build{Version: b.version, Revision: b.revision, GoVersion: b.goVersion})
	f := s.config
	query, err := prom.HTTP(&http.Client{Transport: p.metrics.Queries(http.DefaultTransport), Timeout: f.Prometheus.Timeout}, f.Prometheus.URL)
	if err != nil {
		return p, err
	}
	elect, err := s.lease(namespace, rest)
	if err != nil {
		return p, err
	}
	if p.notifier, err = newNotifier(f, log, p.metrics); err != nil {
		return p, err
	}
	if p.outer, err = newOuter(f, p.kube, query, func() { p.controller.Hurry(canary.AskAlerts) }); err != nil {
		return p, err
	}
	p.controller, err = controller.New(controller.Options{
		Kube: p.kube, Dynamic: trees, Query: query, Logger: log, Meter: p.metrics, Queue: p.metrics.Queue(),
		Namespaces: f.Namespaces, ClusterDomain: f.ClusterDomain, RootNamespace: f.RootNamespace,
		InPlace: f.InPlace.Enabled, Guard: f.InPlace.Guard,
		Defaults: f.Vocabulary().Defaults, Templates: s.templates, Channels: f.ChannelNames(), Listener: p.notifier,
		Gates: f.GateVocabulary(), Askers: p.outer.askers,
		Interval: f.Prometheus.Interval, Reporter: prom.Reporter(f.Prometheus.Reporter),
		Elect: elect,
	})
	return p, err
}
