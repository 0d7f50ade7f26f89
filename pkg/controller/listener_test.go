package controller

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/notify"
)

// ear hears what is told.
type ear struct {
	mu   sync.Mutex
	told []string
	of   []canary.View
}

func (e *ear) Told(v canary.View, event canary.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.told, e.of = append(e.told, string(event.Reason)), append(e.of, v)
}

// told is opted with channels named.
func told(channels string) map[string]any {
	notes := maps.Clone(opted)
	notes["serin.dev/notify"] = channels
	return notes
}

func TestAListenerIsToldWhatEventsTell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, heard := newWorld(t), &ear{}
		w.listener, w.channels = heard, []string{"ops", "team-shop"}
		c, stop := w.run()
		w.deploy("web-v2", "v2", "two", told("team-shop"))
		w.until(10*time.Minute, "promoted", func() bool { return phase(c) == "Succeeded" })
		stop()
		if events := w.reasons(); !slices.Equal(heard.told, events) || len(events) < 4 {
			t.Errorf("told were %v, the Events are %v", heard.told, events)
		}
		for i, v := range heard.of {
			if v.Key() != "shop/web" || v.Rollout == "" || !slices.Equal(v.Notify, []string{"team-shop"}) {
				t.Errorf("%s is told of %s, rollout %q, on %v", heard.told[i], v.Key(), v.Rollout, v.Notify)
			}
		}
	})
}

func TestAChannelThatNobodyDefinedHoldsTheReleaseAndSaysWhichThereAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, heard := newWorld(t), &ear{}
		w.listener, w.channels = heard, []string{"ops", "team-shop"}
		c, stop := w.run()
		defer stop()
		w.deploy("web-v2", "v2", "two", told("team-shoop"))
		w.until(time.Minute, "blocked", func() bool { return phase(c) == "Blocked" })
		if s := c.Views()[0].Sentence; !strings.Contains(s, "known are ops, team-shop") {
			t.Errorf("it says %s", s)
		}
	})
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Whatever becomes of messages, a release takes the same time.
func TestChannelsThatAreDeadSlowOrFailingDelayNoRelease(t *testing.T) {
	services := map[string]transport{
		"a service that is dead": func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") },
		"a service that never answers": func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		},
		"a service that answers after 9 seconds": func(r *http.Request) (*http.Response, error) {
			pass(9 * time.Second)
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: r}, nil
		},
		"a service that always fails": func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusBadGateway, Body: http.NoBody, Request: r}, nil
		},
	}
	for _, abort := range []bool{false, true} {
		alone := releaseTakes(t, nil, abort)
		for name, service := range services {
			t.Run(fmt.Sprintf("%s, aborted: %t", name, abort), func(t *testing.T) {
				if took := releaseTakes(t, over(t, service), abort); took != alone {
					t.Errorf("the release takes %s, without channels %s", took, alone)
				}
			})
		}
	}
}

// over is what makes channels that all lead to a service listen in a world.
func over(t *testing.T, service http.RoundTripper) func(*world) (stop func()) {
	return func(w *world) func() {
		o := notify.Options{Log: zap.NewNop(), Transport: service}
		for _, name := range w.channels {
			o.Channels = append(o.Channels, notify.Channel{Name: name, Type: "alertmanager", URL: "https://a.test", Kinds: canary.Kinds()})
		}
		n, err := notify.New(o)
		if err != nil {
			t.Fatal(err)
		}
		w.listener = n
		return n.Start(t.Context())
	}
}

// slowly is a listener that blocks, as none may.
type slowly struct{}

func (slowly) Told(canary.View, canary.Event) { pass(3 * time.Second) }

func TestAListenerThatBlocksWouldBeNoticed(t *testing.T) {
	alone := releaseTakes(t, nil, false)
	blocked := releaseTakes(t, func(w *world) func() {
		w.listener = slowly{}
		return func() {}
	}, false)
	if blocked == alone {
		t.Errorf("the release takes %s in both cases", alone)
	}
}

// releaseTakes is how long a release takes until it is promoted, or aborted at 25% and
// rolled back, with what listens to it.
func releaseTakes(t *testing.T, listen func(*world) (stop func()), abort bool) (took time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.channels = strings.Split("a,b,c,d,e,f,g,h", ",")
		if listen != nil {
			defer listen(w)()
		}
		c, stop := w.run()
		defer stop()
		began := time.Now()
		w.deploy("web-v2", "v2", "two", told("a,b,c,d,e,f,g,h"))
		end := "Succeeded"
		if abort {
			end = "RolledBack"
			w.until(5*time.Minute, "at 25%", func() bool { return w.weight("web") == 25 })
			w.annotate("web-v2", "serin.dev/command", "abort")
			synctest.Wait()
			if got := w.weight("web"); got != 0 {
				t.Errorf("at the next instant the canary has %d%%", got)
			}
		}
		w.until(10*time.Minute, end, func() bool { return phase(c) == end })
		took = time.Since(began)
	})
	return took
}

// What a signed webhook gets of whole releases: each kind once, in order, in the words
// of the Events.
func TestAWebhookIsToldOfAWholeRelease(t *testing.T) {
	const key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		abort bool
		want  []canary.Kind
	}{
		"that is promoted": {false, []canary.Kind{canary.KindStarted, canary.KindStep, canary.KindStep, canary.KindStep, canary.KindPromoted}},
		"that is aborted":  {true, []canary.Kind{canary.KindStarted, canary.KindStep, canary.KindStep, canary.KindRollingBack, canary.KindRolledBack}},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var told []canary.Kind
			releaseTakes(t, func(w *world) func() {
				n, err := notify.New(notify.Options{
					Log:      zap.NewNop(),
					Channels: []notify.Channel{{Name: "a", Type: "webhook", URL: "https://hooks.test", Credentials: file}},
					Transport: transport(func(r *http.Request) (*http.Response, error) {
						body, err := io.ReadAll(r.Body)
						if err != nil {
							return nil, err
						}
						e, err := notify.Verify(r.Header, body, key, time.Now())
						if err != nil || e.Subject == "" || e.Data.Sentence == "" {
							t.Errorf("got %s (%v)", body, err)
						}
						mu.Lock()
						defer mu.Unlock()
						told = append(told, e.Data.Kind)
						return &http.Response{StatusCode: http.StatusNoContent, Body: http.NoBody, Request: r}, nil
					}),
				})
				if err != nil {
					t.Fatal(err)
				}
				w.listener = n
				return n.Start(t.Context())
			}, c.abort)
			if !slices.Equal(told, c.want) {
				t.Errorf("told were %v, want %v", told, c.want)
			}
		})
	}
}
