package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"serin.dev/serin/pkg/config"
	"serin.dev/serin/pkg/guard"
)

// guarding returns the work with the guard's webhook served beside it, if the
// operator chose one: also while this replica only stands by.
func guarding(ctx context.Context, f config.InPlace, kube kubernetes.Interface, log *zap.Logger, work func(context.Context) error) (func(context.Context) error, error) {
	if !f.Enabled || f.Guard != config.GuardWebhook {
		return work, nil
	}
	self, err := whoAmI(ctx, kube)
	if err != nil {
		return nil, err
	}
	var listening net.ListenConfig
	listener, err := listening.Listen(ctx, "tcp", f.Webhook.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for the guard's webhook on %s: %w; choose another address by inPlace.webhook.listen", f.Webhook.Listen, err)
	}
	shown := &certificate{files: f.Webhook, setting: "inPlace.webhook", log: log.Named("webhook")}
	if _, err := shown.get(nil); err != nil {
		log.Warn("The guard's webhook has no certificate yet, and changed templates are not held", zap.Error(err))
	}
	mux := http.NewServeMux()
	mux.Handle("/guard", guard.Handler(self))
	log.Info("The guard's webhook listens", zap.String("listen", listener.Addr().String()), zap.String("self", self))
	encrypted := tls.NewListener(listener, &tls.Config{GetCertificate: shown.get, MinVersion: tls.VersionTLS12})
	return func(ctx context.Context) error { return serveWhile(ctx, encrypted, newServer(mux, log), work) }, nil
}

// whoAmI asks the API server by which name it knows this controller.
func whoAmI(ctx context.Context, kube kubernetes.Interface) (string, error) {
	ctx, done := context.WithTimeout(ctx, 30*time.Second)
	defer done()
	review, err := kube.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err == nil && review.Status.UserInfo.Username == "" {
		err = errors.New("it knows none")
	}
	if err != nil {
		return "", fmt.Errorf("ask the API server for the own name, whose writes the guard lets through: %w", err)
	}
	return review.Status.UserInfo.Username, nil
}

// certificate is what the API server is shown: read again when its files change,
// as they do long before it ends.
type certificate struct {
	files   config.Webhook
	setting string // by which the files are named
	log     *zap.Logger

	mu     sync.Mutex
	loaded *tls.Certificate
	of     [2]fileVersion
}

// fileVersion tells whether a file is still the one that was read.
type fileVersion struct {
	changed time.Time
	size    int64
}

// get is for tls.Config. A file that can't be read changes nothing: the last good
// certificate is shown.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, err := c.versions()
	if err == nil && c.loaded != nil && now == c.of {
		return c.loaded, nil
	}
	if err == nil {
		var read tls.Certificate
		if read, err = tls.LoadX509KeyPair(c.files.Certificate, c.files.Key); err == nil {
			c.loaded, c.of = &read, now
			c.log.Info("The certificate was read", zap.String("file", c.files.Certificate))
			return c.loaded, nil
		}
	}
	err = fmt.Errorf("read the certificate: %w; see %s in the configuration", err, c.setting)
	if c.loaded == nil {
		return nil, err
	}
	c.log.Warn("The certificate can't be read again; the one that was read before is shown", zap.Error(err))
	return c.loaded, nil
}

func (c *certificate) versions() (of [2]fileVersion, err error) {
	for i, name := range []string{c.files.Certificate, c.files.Key} {
		info, err := os.Stat(name)
		if err != nil {
			return of, err
		}
		of[i] = fileVersion{info.ModTime(), info.Size()}
	}
	return of, nil
}
