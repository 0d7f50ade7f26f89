// Package alerts holds the tests of Serin's Alertmanager gate against Alertmanager's own
// code: its API with its store of alerts, its silences and its inhibition as the server,
// its parser of matchers, and its sender of webhooks.
package alerts

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/api"
	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/alertmanager/eventrecorder"
	"github.com/prometheus/alertmanager/featurecontrol"
	"github.com/prometheus/alertmanager/inhibit"
	"github.com/prometheus/alertmanager/matcher/compat"
	"github.com/prometheus/alertmanager/provider/mem"
	"github.com/prometheus/alertmanager/silence"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/common/route"
)

// settings are Alertmanager's: an alert about the whole cluster inhibits the others.
const settings = `
route: {receiver: nobody}
receivers: [{name: nobody}]
inhibit_rules:
- source_matchers: ['alertname = ClusterDown']
  target_matchers: ['severity =~ "warning|critical"']
`

// server is Alertmanager without its cluster and its notifications.
type server struct {
	*httptest.Server
	t *testing.T
}

func serve(t *testing.T) server {
	t.Helper()
	logger, registry, recorder := promslog.NewNopLogger(), prometheus.NewRegistry(), eventrecorder.NopRecorder()
	flags, err := featurecontrol.NewFlags(logger, "")
	must(t, err)
	compat.InitFromFlags(logger, flags)
	alerts, err := mem.NewAlerts(t.Context(), time.Hour, 0, nil, logger, recorder, registry, flags)
	must(t, err)
	t.Cleanup(alerts.Close)
	silences, err := silence.New(silence.Options{Retention: time.Hour, Logger: logger, Metrics: registry, EventRecorder: recorder})
	must(t, err)
	silencer := silence.NewSilencer(silences, logger, recorder)
	conf, err := config.Load(settings)
	must(t, err)
	inhibitor := inhibit.NewInhibitor(alerts, conf.InhibitRules, logger, recorder)
	go inhibitor.Run()
	t.Cleanup(inhibitor.Stop)
	inhibitor.WaitForLoading()
	handler, err := api.New(api.Options{
		Alerts: alerts, Silences: silences, Logger: logger, Registry: registry,
		RequestDuration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "duration"}, []string{"handler", "method"}),
		GroupMutedFunc:  func(string, string) ([]string, bool) { return nil, false },
		GroupFunc: func(context.Context, func(*dispatch.Route) bool, func(*alert.Alert, time.Time) bool) (dispatch.AlertGroups, map[model.Fingerprint][]string, error) {
			return nil, nil, nil
		},
	})
	must(t, err)
	handler.Update(conf, func(ctx context.Context, labels model.LabelSet) {
		inhibitor.Mutes(ctx, labels)
		silencer.Mutes(ctx, labels)
	})
	s := server{httptest.NewServer(handler.Register(route.New(), "/am")), t}
	t.Cleanup(s.Close)
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// do speaks to the API as its clients do, and returns what it answers.
func (s server) do(method, path string, body any) map[string]any {
	s.t.Helper()
	text, err := json.Marshal(body)
	must(s.t, err)
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.URL+"/am/api/v2/"+path, bytes.NewReader(text))
	must(s.t, err)
	r.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(r)
	must(s.t, err)
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	must(s.t, err)
	if answer.StatusCode != http.StatusOK {
		s.t.Fatalf("%s %s: %s: %s", method, path, answer.Status, said)
	}
	var out map[string]any
	_ = json.Unmarshal(said, &out) // some answers are empty
	return out
}

// fires tells of an alert as Prometheus does: it began at a time, and lasts a while or
// is over.
func (s server) fires(began time.Time, over bool, labels string) {
	s.t.Helper()
	ends := time.Now().Add(time.Hour)
	if over {
		ends = time.Now().Add(-time.Second)
	}
	s.do(http.MethodPost, "alerts", []map[string]any{{
		"labels": pairs(labels), "annotations": map[string]string{"summary": "Too many errors."},
		"startsAt": began, "endsAt": ends, "generatorURL": "http://prometheus.example.com/graph",
	}})
}

// silences keeps alerts of a name quiet, and returns how to end that.
func (s server) silences(name string) (end func()) {
	s.t.Helper()
	id := s.do(http.MethodPost, "silences", map[string]any{
		"matchers": []map[string]any{{"name": "alertname", "value": name, "isRegex": false, "isEqual": true}},
		"startsAt": time.Now(), "endsAt": time.Now().Add(time.Hour), "createdBy": "ops", "comment": "known",
	})["silenceID"]
	return func() { s.do(http.MethodDelete, fmt.Sprintf("silence/%s", id), nil) }
}

func pairs(text string) map[string]string {
	out := map[string]string{}
	for pair := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(pair, "=")
		out[name] = value
	}
	return out
}

// list is what the API tells of something.
func (s server) list(path string) []any {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.URL+"/am/api/v2/"+path, http.NoBody)
	must(s.t, err)
	answer, err := http.DefaultClient.Do(r)
	must(s.t, err)
	defer answer.Body.Close()
	var out []any
	must(s.t, json.NewDecoder(answer.Body).Decode(&out))
	return out
}
