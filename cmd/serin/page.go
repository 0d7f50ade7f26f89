package main

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"
	"k8s.io/client-go/kubernetes"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/config"
	"serin.dev/serin/pkg/web"
)

// shown is what the page is asked about.
type shown interface {
	Views() []canary.View
	Detail(namespace, service string) (canary.Detail, bool)
	Leading() bool
}

// paging returns the work with the page served beside it. An address that is taken is
// no reason not to lead releases: it is told, and there is no page.
func paging(ctx context.Context, p config.Page, kube kubernetes.Interface, c shown, log *zap.Logger, work func(context.Context) error) func(context.Context) error {
	if p.Listen == "" {
		return work
	}
	log = log.Named("page")
	var listening net.ListenConfig
	listener, err := listening.Listen(ctx, "tcp", p.Listen)
	if err != nil {
		log.Warn("There is no page, for its address is taken; choose another by page.listen", zap.String("listen", p.Listen), zap.Error(err))
		return work
	}
	if p.Certificate != "" {
		shown := &certificate{files: config.Webhook{Certificate: p.Certificate, Key: p.Key}, setting: "page", log: log}
		listener = tls.NewListener(listener, &tls.Config{GetCertificate: shown.get, MinVersion: tls.VersionTLS12})
	}
	log.Info("The page is served", zap.String("listen", listener.Addr().String()), zap.String("access", p.Access))
	server := newServer(pageHandler(p, kube, c), log)
	// Readers keep streams open: they end with the server, and don't hold it up.
	streams, end := context.WithCancel(context.WithoutCancel(ctx))
	server.BaseContext = func(net.Listener) context.Context { return streams }
	server.RegisterOnShutdown(end)
	return func(ctx context.Context) error {
		defer end()
		return serveWhile(ctx, listener, server, work)
	}
}

// pageHandler gives no commands: the controller has no right to write a Deployment's
// annotations, and its readers' rights are their own.
func pageHandler(p config.Page, kube kubernetes.Interface, c shown) http.Handler {
	o := web.Options{Source: everything{c}, Version: thisBuild().version, Now: time.Now, Leading: c.Leading, Hosts: p.Hosts}
	if p.Access != config.AccessReviewed {
		return web.Handler(o)
	}
	r := &reviewer{kube: kube, now: time.Now}
	// A browser brings no token by itself, so that no page of others can use one.
	o.Source, o.AnyHost = permitted{everything{c}, r}, true
	return r.demand(web.Handler(o))
}

// everything shows all that the controller knows.
type everything struct{ shown }

// Views are those of all Services.
func (e everything) Views(context.Context) ([]canary.View, error) { return e.shown.Views(), nil }

// Detail is that of one.
func (e everything) Detail(_ context.Context, namespace, service string) (canary.Detail, error) {
	d, known := e.shown.Detail(namespace, service)
	if !known {
		return d, web.ErrUnknown
	}
	return d, nil
}

// permitted shows what the reader may get.
type permitted struct {
	all everything
	by  *reviewer
}

// Views are those of namespaces that the reader may look into.
func (p permitted) Views(ctx context.Context) ([]canary.View, error) {
	who, err := p.by.reader(ctx)
	if err != nil {
		return nil, err
	}
	all, err := p.all.Views(ctx)
	if err != nil {
		return nil, err
	}
	mine := make([]canary.View, 0, len(all))
	for _, v := range all {
		may, err := p.by.may(ctx, who, v.Namespace)
		if err != nil {
			return nil, err
		}
		if may {
			mine = append(mine, v)
		}
	}
	return mine, nil
}

// Detail of another namespace is as one that isn't there.
func (p permitted) Detail(ctx context.Context, namespace, service string) (canary.Detail, error) {
	who, err := p.by.reader(ctx)
	if err != nil {
		return canary.Detail{}, err
	}
	switch may, err := p.by.may(ctx, who, namespace); {
	case err != nil:
		return canary.Detail{}, err
	case !may:
		return canary.Detail{}, web.ErrUnknown
	}
	return p.all.Detail(ctx, namespace, service)
}
