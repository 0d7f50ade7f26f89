package alertmanager_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/gate/alertmanager"
)

// message is what Alertmanager sends to a webhook receiver.
const message = `{"version":"4","groupKey":"{}:{}","truncatedAlerts":0,"status":"firing","receiver":"serin","groupLabels":{},"commonLabels":{},"commonAnnotations":{},"externalURL":"http://a",
	"alerts":[{"status":"firing","labels":{"alertname":"A","severity":"critical","namespace":"shop","service":"web"},"annotations":{},"startsAt":"2026-03-01T12:01:00Z","endsAt":"0001-01-01T00:00:00Z","generatorURL":"","fingerprint":"0"}]}`

func TestTheReceiver(t *testing.T) {
	token := func() (string, error) { return "s3cret", nil }
	for name, c := range map[string]struct {
		method, token, body string
		secret              func() (string, error)
		want                int
	}{
		"a message":                     {"POST", "Bearer s3cret", message, token, 204},
		"to look at it":                 {"GET", "Bearer s3cret", "", token, 405},
		"without a token":               {"POST", "", message, token, 401},
		"with another token":            {"POST", "Bearer s3cre", message, token, 401},
		"with basic authentication":     {"POST", "Basic s3cret", message, token, 401},
		"no JSON":                       {"POST", "Bearer s3cret", message[:40], token, 400},
		"of another version":            {"POST", "Bearer s3cret", strings.Replace(message, `"4"`, `"5"`, 1), token, 400},
		"without alerts":                {"POST", "Bearer s3cret", `{"version":"4","alerts":[]}`, token, 400},
		"endless":                       {"POST", "Bearer s3cret", message + strings.Repeat(" ", 1<<20), token, 413},
		"while the token can't be read": {"POST", "Bearer ", message, func() (string, error) { return "", errors.New("no file") }, 503},
		"while the token is empty":      {"POST", "Bearer ", message, func() (string, error) { return "", nil }, 503},
	} {
		t.Run(name, func(t *testing.T) {
			poked := 0
			h := alertmanager.Handler(c.secret, func() bool { poked++; return true })
			r := httptest.NewRequest(c.method, "/alerts", strings.NewReader(c.body))
			if c.token != "" {
				r.Header.Set("Authorization", c.token)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != c.want || (poked == 1) != (c.want == http.StatusNoContent) {
				t.Errorf("it answers %d, and looks %d times", w.Code, poked)
			}
			if strings.Contains(w.Body.String(), "s3cret") {
				t.Errorf("it tells the token: %s", w.Body)
			}
		})
	}
}

func TestAReplicaThatDoesNotLeadSendsTheSenderOn(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(message))
	r.Header.Set("Authorization", "Bearer s3cret")
	w := httptest.NewRecorder()
	alertmanager.Handler(func() (string, error) { return "s3cret", nil }, func() bool { return false }).ServeHTTP(w, r)
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Connection") != "close" {
		t.Errorf("it answers %d with %v", w.Code, w.Header())
	}
}

func TestTheReceiverIsNotFlooded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		poked := 0
		h := alertmanager.Handler(func() (string, error) { return "s3cret", nil }, func() bool { poked++; return true })
		codes := map[int]int{}
		for range 100 {
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(message))
			r.Header.Set("Authorization", "Bearer s3cret")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			codes[w.Code]++
		}
		if codes[204] != 20 || codes[429] != 80 || poked != 20 {
			t.Errorf("got %v, looked %d times", codes, poked)
		}
	})
}

// scene is a poller whose hints are followed, with two releases that asked.
type scene struct {
	world *world
	*alertmanager.Poller
	woken []string
}

func staged(t *testing.T, f func(*scene)) {
	synctest.Test(t, func(t *testing.T) {
		s := &scene{world: &world{}}
		s.world.says("a:9093")
		s.Poller = poller(t, s.world, func(o *alertmanager.Options) {
			o.Interval = time.Minute
			o.Wake = func(namespace, service string) { s.woken = append(s.woken, namespace+"/"+service) }
		})
		ctx, cancel := context.WithCancel(t.Context())
		go s.Run(ctx)
		f(s)
		cancel()
		synctest.Wait()
	})
}

func (s *scene) ask() {
	other := canary.Subject{Namespace: "shop", Service: "pay", Started: started, Canary: canary.Party{Deployment: "pay-v2"}, Stable: canary.Party{Deployment: "pay"}}
	ask(s.Poller, subject())
	ask(s.Poller, other)
}

func TestAHintHasAlertmanagerAskedAtOnce(t *testing.T) {
	staged(t, func(s *scene) {
		s.ask()
		pass(5 * time.Second)
		s.world.says("a:9093", firing(since, "", "alertname=A,severity=critical,namespace=shop,service=web"))
		s.Poke()
		synctest.Wait()
		if s.world.asked() != 2 || fmt.Sprint(s.woken) != "[shop/web]" {
			t.Errorf("asked %d times, woke %v", s.world.asked(), s.woken)
		}
		pass(5 * time.Second)
		s.Poke()
		synctest.Wait()
		if fmt.Sprint(s.woken) != "[shop/web]" {
			t.Errorf("that nothing changed woke %v", s.woken)
		}
		if a := ask(s.Poller, subject()); len(a.Alerts) != 1 || !a.Alerts[0].RollsBack || s.world.asked() != 3 {
			t.Errorf("got %+v after %d requests", a, s.world.asked())
		}
		pass(5 * time.Second)
		s.world.says("a:9093")
		s.Poke()
		synctest.Wait()
		if fmt.Sprint(s.woken) != "[shop/web shop/web]" {
			t.Errorf("that the alert is over woke %v", s.woken)
		}
	})
}

func TestAHintMakesUpNoAlert(t *testing.T) {
	staged(t, func(s *scene) {
		s.ask()
		pass(5 * time.Second)
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(message))
		r.Header.Set("Authorization", "Bearer s3cret")
		alertmanager.Handler(func() (string, error) { return "s3cret", nil }, func() bool { s.Poke(); return true }).ServeHTTP(httptest.NewRecorder(), r)
		synctest.Wait()
		if s.world.asked() != 2 || s.woken != nil {
			t.Errorf("asked %d times, woke %v", s.world.asked(), s.woken)
		}
		if a := ask(s.Poller, subject()); a.Said != canary.Allow {
			t.Errorf("got %+v", a)
		}
	})
}

func TestHintsAreFollowedOnceASecond(t *testing.T) {
	staged(t, func(s *scene) {
		s.ask()
		for range 1000 {
			s.Poke()
			pass(10 * time.Millisecond)
		}
		pass(time.Second)
		if n := s.world.asked(); n != 11 && n != 12 {
			t.Errorf("asked %d times in 11 seconds", n)
		}
	})
}

// What was asked before the hint may not know yet what it is about.
func TestAHintDuringARequestIsFollowedAfterIt(t *testing.T) {
	staged(t, func(s *scene) {
		s.world.takes = 3 * time.Second
		go s.ask()
		pass(2 * time.Second)
		s.Poke()
		pass(30 * time.Second)
		if n := s.world.asked(); n != 2 {
			t.Errorf("asked %d times", n)
		}
	})
}

func TestHintsAskNobodyWhileNoReleaseAsks(t *testing.T) {
	staged(t, func(s *scene) {
		s.Poke()
		pass(time.Second)
		if n := s.world.asked(); n != 0 {
			t.Errorf("asked %d times though nobody ever wanted to know", n)
		}
		s.ask()
		pass(11 * time.Minute)
		s.Poke()
		pass(time.Second)
		if n := s.world.asked(); n != 1 {
			t.Errorf("asked %d times though nobody wants to know any more", n)
		}
	})
}

func TestAHintThatAlertmanagerDoesNotAnswerWakesNobody(t *testing.T) {
	staged(t, func(s *scene) {
		s.ask()
		pass(5 * time.Second)
		delete(s.world.answers, "a:9093")
		s.Poke()
		synctest.Wait()
		if s.woken != nil {
			t.Errorf("woke %v", s.woken)
		}
	})
}
