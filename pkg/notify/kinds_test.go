package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"serin.dev/serin/pkg/canary"
)

var update = flag.Bool("update", false, "write the golden files")

// view is a release at its second step, which fails too often.
func view() canary.View {
	began := time.Date(2026, 3, 1, 14, 0, 0, 0, time.UTC)
	return canary.View{
		Namespace: "shop", Service: "web", Rollout: "7d9f-1", Notify: []string{"shop"},
		Canary: canary.Track{Deployment: "web-v2"}, Stable: canary.Track{Deployment: "web-v1"},
		Phase: canary.Progressing, Reason: canary.StepPassed, Step: 2, Steps: 3, Weight: 25, Started: began, Since: began.Add(4 * time.Minute),
		Limits: canary.LimitsView{ErrorRate: 0.01, ErrorRatio: 2, P99: canary.Span(2 * time.Second)},
		Header: "x-app-version: canary",
		Next: canary.NextView{
			Sentence: "The canary's share rises to 100% when the step has baked and the evidence suffices", At: began.Add(6 * time.Minute),
		},
		Verdict: canary.VerdictView{
			Kind: "Hold", StableRequests: 5930, CanaryRequests: 312, StableErrors: 6, CanaryErrors: 16,
			StableRate: 95, CanaryRate: 5.5, StableP99: canary.Bounds{250, 500}, CanaryP99: canary.Bounds{2500, math.Inf(1)},
		},
	}
}

// happening is what is told of each kind, in a rollout as it is then.
func happening(kind canary.Kind) (canary.View, canary.Event) {
	v := view()
	at := func(p canary.Phase, r canary.Reason, sentence string, warning bool) (canary.View, canary.Event) {
		v.Phase, v.Reason, v.Sentence = p, r, sentence
		if p != canary.Progressing {
			v.Next = canary.NextView{}
		}
		return v, canary.Event{Reason: r, Sentence: sentence, Warning: warning}
	}
	switch kind {
	case canary.KindStarted:
		v.Step, v.Weight, v.Verdict = 0, 0, canary.VerdictView{}
		return at(canary.Testing, canary.ReleaseStarted, "Release of web-v2 begins at 0%; the header x-app-version: canary reaches it", false)
	case canary.KindTesting:
		v.Step, v.Weight, v.Verdict = 0, 0, canary.VerdictView{}
		return at(canary.Testing, canary.TestingReady, "Testers reach web-v2 by the header x-app-version: canary", false)
	case canary.KindPaused:
		return at(canary.Paused, canary.PausedByCommand, "Paused by command of ann@example.com", false)
	case canary.KindHeld:
		return at(canary.Inconclusive, canary.DeadlinePassed, "No verdict within the step's deadline of 30m: 312 requests & <none> *clear*", true)
	case canary.KindRollingBack:
		v.Weight = 0
		return at(canary.RollingBack, canary.ErrorRateTooHigh, "16 of 312 requests failed (5.1%), more than 1%: the odds are 180 to 1", true)
	case canary.KindRolledBack:
		v.Weight = 0
		v, _ := at(canary.RolledBack, canary.ErrorRateTooHigh, "16 of 312 requests failed (5.1%), more than 1%: the odds are 180 to 1", true)
		return v, canary.Event{Reason: canary.RollbackVerified, Sentence: "No request reaches web-v2 any more"}
	case canary.KindPromoted:
		v.Step, v.Weight = 3, 100
		return at(canary.Succeeded, canary.Promoted, "web-v2 is promoted: it has all the traffic", false)
	case canary.KindOptedOut:
		v.Weight = 0
		return at(canary.RollingBack, canary.OptedOut, "Deployment web-v2 was opted out in mid-release: all traffic goes back to the version that runs", true)
	case canary.KindAttention:
		v.Sentence = "At 25%, 40 s of 2m covered"
		return v, canary.Event{Reason: canary.GitOpsReapplied, Sentence: "argocd wrote the routes of web back: they are set again", Warning: true}
	}
	return at(canary.Progressing, canary.StepPassed, "Step 2 of 3: 25% of the traffic goes to web-v2. 312 requests are enough", false)
}

var pages = Links{
	Page:    "https://serin.example.com/{{namespace}}/{{service}}",
	Grafana: "https://grafana.example.com/d/serin-rollout?var-service={{service}}&var-rollout={{rollout}}",
}

func messageOf(kind canary.Kind) Message {
	v, e := happening(kind)
	return newMessage(canary.KindOf(v, e), v, e, pages, time.Date(2026, 3, 1, 14, 4, 0, 0, time.UTC))
}

// file is one with a secret.
func file(t testing.TB, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

const token = "t0ken-that-nobody-may-see"

// channelOf is a channel of each type.
func channelOf(t testing.TB, kind string) Channel {
	ch := Channel{Name: "shop", Type: kind, Severity: "info", Credentials: file(t, token)}
	switch kind {
	case typeSlack:
		ch.Channel, ch.Mention = "#shop", "here"
	case typeTelegram:
		ch.Chat, ch.Mention = "-100123", "@shop_team"
	case typeTeams:
		ch.Credentials = file(t, "https://flows.example.com/workflows/1/triggers/manual/paths/invoke?sig="+token)
	case typeEmail:
		ch.Server, ch.From, ch.To = "smtp.example.com:587", "serin@example.com", []string{"shop@example.com", "ops@example.com"}
	case typeDingTalk:
		ch.Credentials, ch.Signing, ch.Mention = file(t, "https://oapi.dingtalk.com/robot/send?access_token="+token), file(t, "SECkey"), "all"
	case typeFeishu:
		ch.Credentials, ch.Signing, ch.Mention = file(t, "https://open.feishu.cn/open-apis/bot/v2/hook/"+token), file(t, "key"), "all"
	case typeWeCom:
		ch.Credentials, ch.Mention = file(t, "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key="+token), "all"
	case typeWebhook:
		ch.URL = "https://hooks.example.com/serin"
	case typeAlertmanager:
		ch.URL = "https://alertmanager.example.com/base/"
	case typeGrafana:
		ch.URL, ch.Dashboard = "https://grafana.example.com", "serin-rollout"
	}
	return ch
}

// roundTrip is a service in memory.
type roundTrip func(*http.Request) (int, http.Header, string)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	code, header, body := f(r)
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{StatusCode: code, Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// yes is an answer with which every service is content.
const yes = `{"ok":true,"channel":"C0123","ts":"1.5","errcode":0,"code":0,"id":7,"result":{"message_id":9}}`

// written is a request for people to read.
func written(t *testing.T, r *http.Request) string {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	address, err := url.QueryUnescape(r.URL.String())
	if err != nil {
		t.Fatal(err)
	}
	out := r.Method + " " + address + "\n"
	for _, key := range slices.Sorted(maps.Keys(r.Header)) {
		if key != "User-Agent" {
			out += key + ": " + r.Header.Get(key) + "\n"
		}
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, body, "", "  "); err != nil {
		t.Fatalf("no JSON is sent: %v", err)
	}
	return out + "\n" + pretty.String() + "\n"
}

func TestWhatEveryServiceIsToldOfEveryKind(t *testing.T) {
	for _, kind := range canary.Kinds() {
		for _, service := range Types() {
			t.Run(fmt.Sprintf("%s by %s", kind, service), func(t *testing.T) {
				m := messageOf(kind)
				if m.Kind != kind {
					t.Fatalf("it is of the kind %q", m.Kind)
				}
				var got string
				if service == typeEmail {
					got = strings.ReplaceAll(string(email{ch: channelOf(t, service)}.letter(m)), "\r\n", "\n")
				} else {
					got = said(t, service, m)
				}
				golden(t, filepath.Join("testdata", string(kind), service+".golden"), got)
			})
		}
	}
}

// said is what a service gets of a message, at the time at which bubbles begin.
func said(t *testing.T, kind string, m Message) (got string) {
	synctest.Test(t, func(t *testing.T) {
		s, err := newService(channelOf(t, kind), roundTrip(func(r *http.Request) (int, http.Header, string) {
			got += written(t, r)
			return http.StatusOK, nil, yes
		}))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.send(context.Background(), m, "", true); err != nil {
			t.Fatal(err)
		}
	})
	if got == "" {
		return "nothing\n"
	}
	return got
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s has\n%s\ngot\n%s", name, want, got)
	}
}
