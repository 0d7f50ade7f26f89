package alertmanager_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	_ "serin.dev/serin/internal/bubble"
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/gate/alertmanager"
)

// What an active alert does to a release, by its labels and by when it began.
func TestWhatAnAlertDoes(t *testing.T) {
	const ignored, holds, ends = "ignored", "holds", "ends"
	for name, c := range map[string]struct {
		labels string
		began  time.Time
		want   string
	}{
		"about the Service, critical, since the release began": {"alertname=A,severity=critical,namespace=shop,service=web", since, ends},
		"critical, and older than the release":                 {"alertname=A,severity=critical,namespace=shop,service=web", before, holds},
		"critical, and exactly as old as the release":          {"alertname=A,severity=critical,namespace=shop,service=web", started, holds},
		"a warning":                                             {"alertname=A,severity=warning,namespace=shop,service=web", since, holds},
		"of a severity that doesn't count":                      {"alertname=A,severity=info,namespace=shop,service=web", since, ignored},
		"without severity":                                      {"alertname=A,namespace=shop,service=web", since, ignored},
		"about a Service of that name elsewhere":                {"alertname=A,severity=critical,namespace=bank,service=web", since, ignored},
		"about another Service":                                 {"alertname=A,severity=critical,namespace=shop,service=pay", since, ignored},
		"about the namespace as a whole":                        {"alertname=A,severity=critical,namespace=shop", since, ignored},
		"without namespace":                                     {"alertname=A,severity=critical,service=web", since, ignored},
		"about the canary's Deployment, told by an exporter":    {"alertname=A,severity=critical,namespace=shop,service=kube-state-metrics,deployment=web-v2", since, ends},
		"about stable's Deployment":                             {"alertname=A,severity=critical,namespace=shop,deployment=web", since, holds},
		"about a pod of the canary":                             {"alertname=A,severity=critical,namespace=shop,pod=web-v2-6d4cf56db6-x2k9p", since, ends},
		"about a pod of stable":                                 {"alertname=A,severity=critical,namespace=shop,pod=web-6d4cf56db6-x2k9p", since, holds},
		"about a ready pod of the canary with another name":     {"alertname=A,severity=critical,namespace=shop,pod=odd-name", since, ends},
		"about a pod of a Deployment whose name begins as ours": {"alertname=A,severity=critical,namespace=shop,pod=web-admin-6d4cf56db6-x2k9p", since, ignored},
		"about a pod of a StatefulSet":                          {"alertname=A,severity=critical,namespace=shop,pod=web-0", since, ignored},
		"about Istio's destination Service":                     {"alertname=A,severity=critical,destination_service_namespace=shop,destination_service_name=web", since, ends},
		"about Istio's destination host":                        {"alertname=A,severity=critical,destination_service=web.shop.svc.cluster.local", since, ends},
		"about Istio's destination workload":                    {"alertname=A,severity=critical,destination_workload_namespace=shop,destination_workload=web-v2", since, ends},
		"of a target that Prometheus renamed":                   {"alertname=A,severity=critical,namespace=monitoring,exported_namespace=shop,exported_pod=web-v2-6d4cf56db6-x2k9p", since, ends},
		"of Serin's own":                                        {"alertname=SerinRolloutHeld,severity=critical,namespace=shop,service=web", since, ignored},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{}
			w.says("a:9093", firing(c.began, "Too many errors.", c.labels))
			a := ask(poller(t, w), subject())
			got := ignored
			if len(a.Alerts) > 0 {
				got = holds
				if a.Alerts[0].RollsBack {
					got = ends
				}
			}
			if got != c.want || (a.Said == canary.Allow) != (got == ignored) || a.Unreached {
				t.Errorf("it is %s: %+v", got, a)
			}
		})
	}
}

// What is not active is not counted, though a server tell of it all the same.
func TestOnlyActiveAlertsCount(t *testing.T) {
	for _, state := range []string{"suppressed", "unprocessed", ""} {
		w := &world{}
		w.says("a:9093", strings.Replace(firing(since, "", "alertname=A,severity=critical,namespace=shop,service=web"), `"state":"active"`, `"state":"`+state+`"`, 1))
		if a := ask(poller(t, w), subject()); a.Said != canary.Allow {
			t.Errorf("%q: %+v", state, a)
		}
	}
}

func TestBeforeAReleaseBeganNoAlertEndsIt(t *testing.T) {
	w := &world{}
	w.says("a:9093", firing(since, "", "alertname=A,severity=critical,namespace=shop,service=web"))
	s := subject()
	s.Started = time.Time{}
	if a := ask(poller(t, w), s); a.Said != canary.Wait || len(a.Alerts) != 1 || a.Alerts[0].RollsBack {
		t.Errorf("got %+v", a)
	}
}

// A release in which no Deployment is known yet must not be about everything.
func TestASubjectWithoutDeploymentsMatchesByItsServiceOnly(t *testing.T) {
	w := &world{}
	w.says("a:9093", firing(since, "", "alertname=A,severity=critical,namespace=shop,pod=x-6d4cf56db6-x2k9p"), firing(since, "", "alertname=B,severity=critical,namespace=shop,deployment="))
	if a := ask(poller(t, w), canary.Subject{Namespace: "shop", Service: "web"}); a.Said != canary.Allow {
		t.Errorf("got %+v", a)
	}
}

func TestTheTeamSaysWhichAlertsCount(t *testing.T) {
	web := firing(since, "", "alertname=A,severity=critical,namespace=shop,service=web")
	own := firing(since, "Orders fall.", "alertname=Orders,severity=critical,team=shop")
	page := firing(since, "Secret of the bank.", "alertname=Page,severity=page,namespace=bank")
	for name, c := range map[string]struct{ alerts, want string }{
		"nobody says":                      {"", "A"},
		"none":                             {canary.NoAlerts, ""},
		"others instead":                   {"team=shop", "Orders"},
		"others beside":                    {"default; team=shop", "A Orders"},
		"the release's own names":          {`service="{service}", namespace="{namespace}"`, "A"},
		"another severity isn't looked at": {`alertname=Page`, ""},
		"another severity, if the rule names one": {`alertname=Page, severity=page`, "Page"},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{}
			w.says("a:9093", web, own, page)
			s := subject()
			s.Alerts = c.alerts
			var got []string
			a := ask(poller(t, w), s)
			for _, alert := range a.Alerts {
				got = append(got, alert.Name)
				if alert.Name == "Page" && alert.Summary != "" {
					t.Errorf("it tells what an alert of another namespace says: %q", alert.Summary)
				}
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("counted are %v: %+v", got, a)
			}
		})
	}
}

func TestTheOperatorSaysWhatDefaultMeans(t *testing.T) {
	w := &world{}
	w.says("a:9093", firing(since, "", "alertname=A,severity=critical,namespace=shop,service=web"), firing(since, "", "alertname=B,severity=sev1,app=web,env=live"))
	p := poller(t, w, func(o *alertmanager.Options) {
		o.Matchers, o.Rollback, o.Hold = `app="{service}", env=live`, []string{"sev1"}, []string{"sev2"}
	})
	for text, want := range map[string]string{"": "B", "default": "B", "default; service=web, severity=critical": "B A"} {
		s := subject()
		s.Alerts = text
		var got []string
		for _, a := range ask(p, s).Alerts {
			got = append(got, a.Name)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q counts %v, wanted %s", text, got, want)
		}
	}
}

func TestTheSentenceNamesTheWorstAlert(t *testing.T) {
	w := &world{}
	w.says("a:9093",
		firing(before, "Old.", "alertname=Old,severity=critical,namespace=shop,service=web"),
		firing(since, "Slow.", "alertname=Slow,severity=warning,namespace=shop,service=web"),
		firing(since, "5% of the requests fail\u202e.", "alertname=Failing,severity=critical,namespace=shop,service=web"))
	a := ask(poller(t, w), subject())
	want := `The alert Failing (critical) is active since 2026-03-01 12:01:00 UTC: 5% of the requests fail\u202e; and 2 more`
	if a.Sentence != want {
		t.Errorf("got  %s\nwant %s", a.Sentence, want)
	}
	var names []string
	for _, alert := range a.Alerts {
		names = append(names, alert.Name)
	}
	if strings.Join(names, " ") != "Failing Old Slow" {
		t.Errorf("in the order %v", names)
	}
}

func TestSeveralReplicas(t *testing.T) {
	two := func(o *alertmanager.Options) { o.URLs = []string{"http://a:9093", "http://b:9093/am/"} }
	const labels = "alertname=A,severity=critical,namespace=shop,service=web"
	t.Run("an alert counts that one of them has", func(t *testing.T) {
		w := &world{}
		w.says("a:9093")
		w.says("b:9093", firing(since, "", labels))
		if a := ask(poller(t, w, two), subject()); len(a.Alerts) != 1 {
			t.Errorf("got %+v", a)
		}
	})
	t.Run("an alert that both have counts once, since the earlier time", func(t *testing.T) {
		for earlier, later := range map[string]string{"a:9093": "b:9093", "b:9093": "a:9093"} {
			w := &world{}
			w.says(earlier, firing(before, "", labels))
			w.says(later, firing(since, "", labels))
			if a := ask(poller(t, w, two), subject()); len(a.Alerts) != 1 || !a.Alerts[0].Began.Equal(before) || a.Alerts[0].RollsBack {
				t.Errorf("got %+v", a)
			}
		}
	})
	t.Run("one that is away is told, and keeps nobody", func(t *testing.T) {
		w := &world{}
		w.says("b:9093")
		a := ask(poller(t, w, two), subject())
		if want := "Alertmanager has no active alert about web (1 of 2 replicas can't be read: dial tcp: connection refused)"; a.Said != canary.Allow || a.Sentence != want {
			t.Errorf("got %+v", a)
		}
		if path := w.requests[0].URL.Path + " " + w.requests[1].URL.Path; !strings.Contains(path, "/am/api/v2/alerts") {
			t.Errorf("asked %s", path)
		}
	})
	t.Run("both are away", func(t *testing.T) {
		a := ask(poller(t, &world{}, two), subject())
		if want := "Alertmanager can't be read: dial tcp: connection refused"; a.Said != canary.Wait || !a.Unreached || a.Sentence != want {
			t.Errorf("got %+v", a)
		}
	})
}

func TestAlertmanagerCannotBeRead(t *testing.T) {
	for name, c := range map[string]struct {
		status       int
		body, wanted string
	}{
		"unauthorized":         {401, "", "it answers 401 Unauthorized"},
		"broken":               {500, `{"message":"no"}`, `it answers 500 Internal Server Error: {"message":"no"}`},
		"a page of a proxy":    {502, "<html>Bad</html>", "it answers 502 Bad Gateway"},
		"a redirect":           {302, "", "it answers 302 Found: redirects are not followed; write the address it has now"},
		"JSON that is cut off": {200, `[{"labels":{"a":`, "it is not the JSON that was expected: unexpected end of JSON input"},
		"no list":              {200, `null`, "it is no list of alerts"},
		"JSON of something":    {200, `{"status":"success"}`, "it is not the JSON that was expected"},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{status: c.status, answers: map[string]string{"a:9093": c.body}}
			a := ask(poller(t, w), subject())
			if a.Said != canary.Wait || !a.Unreached || !strings.Contains(a.Sentence, c.wanted) || a.Alerts != nil {
				t.Errorf("got %+v", a)
			}
		})
	}
}

func TestOnceAnIntervalForAllReleases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{takes: time.Second}
		w.says("a:9093")
		p := poller(t, w)
		everybody := func() {
			var all sync.WaitGroup
			for range 100 {
				all.Go(func() {
					if a := ask(p, subject()); a.Said != canary.Allow {
						t.Errorf("got %+v", a)
					}
				})
			}
			all.Wait()
		}
		everybody()
		everybody()
		if n := w.asked(); n != 1 {
			t.Errorf("asked %d times for one interval", n)
		}
		if q := w.requests[0].URL.RawQuery; q != "active=true&silenced=false&inhibited=false" {
			t.Errorf("asked for %s", q)
		}
		pass(alertmanager.DefaultInterval)
		everybody()
		if n := w.asked(); n != 2 {
			t.Errorf("asked %d times for two intervals", n)
		}
		pass(time.Hour)
		if n := w.asked(); n != 2 {
			t.Errorf("asked %d times though nobody wanted to know", n)
		}
	})
}

// The first to ask may go; the others wait for the same answer.
func TestWhoAskedFirstMayGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{takes: 5 * time.Second}
		w.says("a:9093")
		p := poller(t, w)
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var second canary.Answer
		done := make(chan struct{})
		go func() {
			pass(100 * time.Millisecond)
			second = ask(p, subject())
			close(done)
		}()
		if a := p.Ask(impatient, question, subject()); a.Said != canary.Wait || !a.Unreached || !strings.Contains(a.Sentence, "no answer yet") {
			t.Errorf("got %+v", a)
		}
		<-done
		if second.Said != canary.Allow || w.asked() != 1 {
			t.Errorf("got %+v after %d requests", second, w.asked())
		}
	})
}

func TestARequestHasAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{takes: time.Hour}
		w.says("a:9093")
		began := time.Now()
		a := ask(poller(t, w), subject())
		if took := time.Since(began); !a.Unreached || !strings.Contains(a.Sentence, "no answer within 10s") || took != 10*time.Second {
			t.Errorf("after %s got %+v", took, a)
		}
	})
}

func TestCredentialsAreReadAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "credentials")
		write := func(text string) {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		w := &world{}
		w.says("a:9093")
		p := poller(t, w, func(o *alertmanager.Options) { o.Credentials, o.Plaintext = file, true })
		for _, c := range []struct{ secret, header string }{
			{"serin:s3cret\n", "Basic c2VyaW46czNjcmV0"}, {"token", "Bearer token"},
		} {
			write(c.secret)
			if a := ask(p, subject()); a.Said != canary.Allow {
				t.Fatalf("got %+v", a)
			}
			if got := w.requests[len(w.requests)-1].Header.Get("Authorization"); got != c.header {
				t.Errorf("sent %q", got)
			}
			pass(time.Minute)
		}
		write("")
		if a := ask(p, subject()); !a.Unreached || !strings.Contains(a.Sentence, "is empty or has several lines") || w.asked() != 2 {
			t.Errorf("got %+v", a)
		}
	})
}

func TestCredentialsAreNotSentInTheClear(t *testing.T) {
	w := &world{}
	w.says("a:9093")
	a := ask(poller(t, w, func(o *alertmanager.Options) { o.Credentials = "/nowhere" }), subject())
	if !a.Unreached || !strings.Contains(a.Sentence, "credentials are not sent by http") || w.asked() != 0 {
		t.Errorf("got %+v", a)
	}
}

func TestOptionsAreRefusedWhole(t *testing.T) {
	_, err := alertmanager.New(alertmanager.Options{
		URLs: []string{"alertmanager:9093", "http://user:password@a"}, Matchers: "severity", CA: "/nowhere/ca.pem",
	})
	for _, want := range []string{"is no http or https URL", "holds credentials", `the matchers "severity": has nothing at the end`, "/nowhere/ca.pem"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "password@") {
		t.Errorf("it shows a password: %v", err)
	}
	if _, err := alertmanager.New(alertmanager.Options{}); err == nil || !strings.Contains(err.Error(), "no URL of Alertmanager is given") {
		t.Errorf("got %v", err)
	}
}

func TestAsAGate(t *testing.T) {
	w := &world{}
	p := poller(t, w, func(o *alertmanager.Options) { o.Interval = time.Nanosecond })
	gate, err := p.Gate(`alertname=Freeze, env=~"live|all"`)
	if err != nil {
		t.Fatal(err)
	}
	q := canary.Question{Kind: canary.AskGate, Name: "freeze", Stage: canary.BeforeStart}
	for name, c := range map[string]struct {
		alerts []string
		said   canary.AnswerKind
		want   string
	}{
		"nothing is active": {nil, canary.Allow, "No alert is active that the gate freeze looks at"},
		"another is active": {[]string{firing(since, "", "alertname=Freeze,severity=critical,env=test")}, canary.Allow, "No alert"},
		"it is active, of any severity and age": {
			[]string{firing(before, "Black Friday.", "alertname=Freeze,env=live")}, canary.Wait, "The gate freeze waits: the alert Freeze is active since 2026-03-01 11:59:00 UTC",
		},
		"a critical one ends nothing": {[]string{firing(since, "", "alertname=Freeze,severity=critical,env=all")}, canary.Wait, "The gate freeze waits: the alert Freeze (critical)"},
	} {
		t.Run(name, func(t *testing.T) {
			w.says("a:9093", c.alerts...)
			a := gate(t.Context(), q, subject())
			if a.Said != c.said || !strings.HasPrefix(a.Sentence, c.want) || len(a.Alerts) > 0 && a.Alerts[0].RollsBack {
				t.Errorf("got %+v", a)
			}
		})
	}
	if _, err := p.Gate("env="); err == nil {
		t.Error("a gate with matchers that can't be read")
	}
	delete(w.answers, "a:9093")
	if a := gate(t.Context(), q, subject()); a.Said != canary.Wait || !a.Unreached {
		t.Errorf("got %+v", a)
	}
}
