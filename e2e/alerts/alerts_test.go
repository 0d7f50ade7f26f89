package alerts

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/config/common"
	"github.com/prometheus/alertmanager/notify"
	sender "github.com/prometheus/alertmanager/notify/webhook"
	"github.com/prometheus/alertmanager/template"
	web "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/gate/alertmanager"
)

var (
	started = time.Now().Add(-time.Hour)
	before  = started.Add(-time.Minute)
	since   = started.Add(time.Minute)
)

const critical = "alertname=Errors,severity=critical,namespace=shop,service=web"

func subject() canary.Subject {
	return canary.Subject{
		Namespace: "shop", Service: "web", Started: started,
		Canary: canary.Party{Deployment: "web-v2"}, Stable: canary.Party{Deployment: "web"},
	}
}

// poller asks each time it is asked.
func poller(t *testing.T, s server) *alertmanager.Poller {
	t.Helper()
	p, err := alertmanager.New(alertmanager.Options{URLs: []string{s.URL + "/am"}, Interval: time.Nanosecond})
	must(t, err)
	return p
}

// does says what the alerts do to the release: nothing, hold it, or end it; by name.
func does(p *alertmanager.Poller) string {
	a := p.Ask(context.Background(), canary.Question{Kind: canary.AskAlerts}, subject())
	if a.Unreached {
		return a.Sentence
	}
	var out []string
	for _, b := range a.Alerts {
		does := "holds"
		if b.RollsBack {
			does = "ends"
		}
		out = append(out, b.Name+" "+does)
	}
	if (len(out) == 0) != (a.Said == canary.Allow) {
		return fmt.Sprintf("says %s with %v", a.Said, out)
	}
	return strings.Join(out, ", ")
}

// becomes waits for what Alertmanager does by itself, like inhibition.
func becomes(t *testing.T, p *alertmanager.Poller, want string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for got := does(p); got != want; got = does(p) {
		select {
		case <-tick.C:
		case <-late.Done():
			t.Fatalf("after a minute: %q, wanted %q", got, want)
		}
	}
}

func TestActiveAlerts(t *testing.T) {
	for name, c := range map[string]struct {
		began  time.Time
		labels string
		want   string
	}{
		"a critical alert that began in the release":     {since, critical, "Errors ends"},
		"a critical alert that began before the release": {before, critical, "Errors holds"},
		"a warning":                        {since, strings.Replace(critical, "critical", "warning", 1), "Errors holds"},
		"an alert about the canary's pods": {since, "alertname=Errors,severity=critical,namespace=shop,service=kube-state-metrics,pod=web-v2-6d4cf56db6-x2k9p", "Errors ends"},
		"an alert about something else":    {since, strings.Replace(critical, "web", "pay", 1), ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			s.fires(c.began, false, c.labels)
			if got := does(poller(t, s)); got != c.want {
				t.Errorf("it is %q", got)
			}
		})
	}
}

func TestAnAlertThatIsOver(t *testing.T) {
	s := serve(t)
	p := poller(t, s)
	s.fires(since, false, critical)
	if got := does(p); got != "Errors ends" {
		t.Fatalf("first %q", got)
	}
	s.fires(since, true, critical)
	if got := does(p); got != "" {
		t.Errorf("when it is over %q", got)
	}
}

// Alertmanager keeps the earlier of two times that overlap, so that a Prometheus which
// tells of it anew makes no old alert new.
func TestAnAlertThatIsToldAnewIsNoNewOne(t *testing.T) {
	s := serve(t)
	p := poller(t, s)
	s.fires(before, false, critical)
	s.fires(since, false, critical)
	if got := does(p); got != "Errors holds" {
		t.Errorf("it is %q", got)
	}
}

func TestSilencedAlertsDoNotCount(t *testing.T) {
	s := serve(t)
	p := poller(t, s)
	s.fires(since, false, critical)
	s.fires(since, false, strings.Replace(critical, "Errors", "Slow", 1))
	end := s.silences("Errors")
	if got := does(p); got != "Slow ends" {
		t.Errorf("silenced: %q", got)
	}
	end()
	if got := does(p); got != "Errors ends, Slow ends" {
		t.Errorf("after the silence: %q", got)
	}
}

func TestInhibitedAlertsDoNotCount(t *testing.T) {
	s := serve(t)
	p := poller(t, s)
	s.fires(since, false, critical)
	s.fires(since, false, "alertname=ClusterDown,severity=none")
	becomes(t, p, "")
	s.fires(since, true, "alertname=ClusterDown,severity=none")
	becomes(t, p, "Errors ends")
}

// The proof that these tests can fail: a reader that takes whatever is told counts what
// is silenced.
func TestWithoutItsParametersAlertmanagerTellsMore(t *testing.T) {
	s := serve(t)
	s.fires(since, false, critical)
	s.silences("Errors")
	var all, active []any
	for query, into := range map[string]*[]any{"": &all, "?active=true&silenced=false&inhibited=false": &active} {
		*into = s.list("alerts" + query)
	}
	if len(all) != 1 || len(active) != 0 {
		t.Errorf("it tells of %d alerts, and of %d active ones", len(all), len(active))
	}
}

// What Alertmanager's own sender sends, the receiver takes.
func TestTheReceiverTakesWhatAlertmanagerSends(t *testing.T) {
	poked := 0
	receiver := httptest.NewServer(alertmanager.Handler(func() (string, error) { return "s3cret", nil }, func() bool { poked++; return true }))
	defer receiver.Close()
	templates, err := template.FromGlobs(nil)
	must(t, err)
	templates.ExternalURL = common.MustParseURL("http://alertmanager.example.com").URL
	for token, want := range map[string]int{"s3cret": 1, "wrong": 0} {
		poked = 0
		n, err := sender.New(&sender.WebhookConfig{
			URL:        common.SecretTemplateURL(receiver.URL),
			HTTPConfig: &web.HTTPClientConfig{Authorization: &web.Authorization{Type: "Bearer", Credentials: web.Secret(token)}},
		}, templates, promslog.NewNopLogger())
		must(t, err)
		for _, ends := range []time.Time{time.Now().Add(time.Hour), time.Now().Add(-time.Second)} { // firing and resolved
			_, err = n.Notify(notify.WithGroupKey(t.Context(), "1"), &alert.Alert{Alert: model.Alert{
				Labels: model.LabelSet{"alertname": "Errors"}, StartsAt: since, EndsAt: ends,
			}})
			if (err == nil) != (want == 1) {
				t.Errorf("with %s: %v", token, err)
			}
		}
		if poked != 2*want {
			t.Errorf("with %s it looks %d times", token, poked)
		}
	}
}
