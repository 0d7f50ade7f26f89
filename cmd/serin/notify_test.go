package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/config"
	"serin.dev/serin/pkg/notify"
)

func TestTheConfigurationKnowsTheTypesOfChannelsThatThereAre(t *testing.T) {
	known, made := config.ChannelTypes(), notify.Types()
	slices.Sort(known)
	slices.Sort(made)
	if !slices.Equal(known, made) {
		t.Errorf("the configuration takes %v, there are %v", known, made)
	}
}

type counted map[string]int

func (c counted) Notified(channel, result string) { c[channel+" "+result]++ }

func TestWhatIsToldReachesTheConfiguredChannel(t *testing.T) {
	got := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.URL.Path }))
	defer server.Close()
	c, err := config.Load(strings.NewReader("notify: {channels: {ops: {type: alertmanager, url: '" + server.URL + "', plaintext: true}}}"))
	if err != nil {
		t.Fatal(err)
	}
	count := counted{}
	n, err := newNotifier(c, zap.NewNop(), count)
	if err != nil {
		t.Fatal(err)
	}
	work := telling(n, func(context.Context) error {
		n.Told(canary.View{Namespace: "shop", Service: "web", Notify: []string{"ops"}, Reason: canary.GitOpsLeft}, canary.Event{Reason: canary.GitOpsLeft, Warning: true})
		return nil // the message is sent though the work is over
	})
	if err := work(t.Context()); err != nil {
		t.Fatal(err)
	}
	if path := <-got; path != "/api/v2/alerts" || count["ops sent"] != 1 {
		t.Errorf("it came by %s, and was counted as %v", path, count)
	}
}

func TestASecretThatIsMissingIsToldAndAnAuthorityThatIsMissingRefused(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	seen, logs := observer.New(zap.WarnLevel)
	c := config.Config{Notify: config.Notify{Channels: []config.Channel{{Name: "a", Type: "teams", Credentials: missing}}}}
	if _, err := newNotifier(c, zap.New(seen), counted{}); err != nil || logs.Len() != 1 {
		t.Errorf("got %v, logged %d lines", err, logs.Len())
	}
	c.Notify.Channels = []config.Channel{{Name: "a", Type: "teams", CA: missing}, {Name: "b", Type: "email", Server: "smtp.example.com:25", CA: missing}}
	if _, err := newNotifier(c, zap.NewNop(), counted{}); err == nil || !strings.Contains(err.Error(), "channel a") || !strings.Contains(err.Error(), "channel b") {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(missing, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := newNotifier(c, zap.NewNop(), counted{}); err == nil || !strings.Contains(err.Error(), "has no certificate in PEM") {
		t.Errorf("got %v", err)
	}
}
