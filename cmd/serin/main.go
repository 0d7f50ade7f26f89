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
	"serin.dev/serin/pkg/controller"
	"serin.dev/serin/pkg/metrics"
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
	kube, c, m, err := assemble(s, log)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	work, err := guarding(ctx, s.config.InPlace, kube, log, c.Run)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	log.Info("Serin starts", zap.Stringer("version", thisBuild()), zap.String("listen", listener.Addr().String()),
		zap.String("prometheus", redact(s.config.Prometheus.URL)), zap.Int("metrics", len(s.templates)))
	err = serveWhile(ctx, listener, newServer(handler(c, m), log), work)
	log.Info("Serin stops", zap.Error(err))
	return err
}

// assemble makes the clients and the controller over them.
func assemble(s settings, log *zap.Logger) (kubernetes.Interface, *controller.Controller, *metrics.Metrics, error) {
	rest, namespace, err := clientConfig(s.kubeconfig)
	if err != nil {
		return nil, nil, nil, err
	}
	kube, err := kubernetes.NewForConfig(rest)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("make a client for the API server: %w", err)
	}
	trees, err := dynamic.NewForConfig(rest)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("make a client for the API server: %w", err)
	}
	var c *controller.Controller
	b := thisBuild()
	m := metrics.New(metrics.Source{
		Views:   func() []canary.View { return c.Views() },
		Leading: func() bool { return c.Leading() },
		Ready:   func() bool { return c.Ready() },
	}, metrics.Build{Version: b.version, Revision: b.revision, GoVersion: b.goVersion})
	f := s.config
	query, err := prom.HTTP(&http.Client{Transport: m.Queries(http.DefaultTransport), Timeout: f.Prometheus.Timeout}, f.Prometheus.URL)
	if err != nil {
		return nil, nil, nil, err
	}
	elect, err := s.lease(namespace, rest)
	if err != nil {
		return nil, nil, nil, err
	}
	c, err = controller.New(controller.Options{
		Kube: kube, Dynamic: trees, Query: query, Logger: log, Meter: m, Queue: m.Queue(),
		Namespaces: f.Namespaces, ClusterDomain: f.ClusterDomain, RootNamespace: f.RootNamespace,
		InPlace: f.InPlace.Enabled, Guard: f.InPlace.Guard,
		Defaults: f.Defaults, Templates: s.templates,
		Interval: f.Prometheus.Interval, Reporter: prom.Reporter(f.Prometheus.Reporter),
		Elect: elect,
	})
	return kube, c, m, err
}
