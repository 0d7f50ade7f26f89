package probe

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	_ "serin.dev/serin/internal/bubble"
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/smoke"
)

var usual = Options{Timeout: 10 * time.Second, Total: time.Minute, Domain: "cluster.local"}

// about is a question and a release of web with these pods.
func about(text string, addresses ...string) (canary.Question, canary.Subject) {
	s := canary.Subject{Namespace: "shop", Service: "web", Smoke: text, Canary: canary.Party{Deployment: "web-canary"}}
	for i, a := range addresses {
		s.Canary.Addresses = append(s.Canary.Addresses, a)
		s.Canary.Pods = append(s.Canary.Pods, fmt.Sprintf("web-%d", i+1))
	}
	return canary.Question{Kind: canary.AskSmoke, Stage: canary.BeforeStep, Step: 1, Rollout: "r7"}, s
}

// pod serves as a pod on the loopback, and gives its address.
func pod(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// lines are checks as people see them, without how long they took.
func lines(checks []canary.Check) string {
	var b strings.Builder
	for _, c := range checks {
		sentence, rest, timed := strings.Cut(c.Sentence, " in ")
		if timed {
			_, rest, _ = strings.Cut(rest, " ms")
			sentence += rest
		}
		fmt.Fprintf(&b, "%v %s: %s\n", c.Passed, c.Name, sentence)
	}
	return b.String()
}

// shop is an application with items.
func shop(t *testing.T) http.HandlerFunc {
	var mu sync.Mutex
	items := map[string]string{}
	return func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case r.URL.Path == "/healthz":
			io.WriteString(w, "ok")
		case r.Method == http.MethodPost && r.URL.Path == "/api/items":
			if r.Header.Get("Content-Type") != "application/json" {
				t.Errorf("sent as %q", r.Header.Get("Content-Type"))
			}
			body, _ := io.ReadAll(r.Body)
			id := fmt.Sprint("a/", len(items))
			items[id] = string(body)
			w.Header().Set("Location", "http://shop.example.com/api/items/"+url.PathEscape(id))
			w.WriteHeader(http.StatusCreated)
			fmt.Fprintf(w, `{"item": {"id": %q}}`, id)
		case strings.HasPrefix(r.URL.Path, "/api/items/"):
			io.WriteString(w, items[strings.TrimPrefix(r.URL.Path, "/api/items/")])
		default:
			http.NotFound(w, r)
		}
	}
}

func TestChecksOfAGoodVersionPass(t *testing.T) {
	q, s := about(`GET /healthz 200 contains ok; POST /api/items {"name": "x"} 201 take id=.item.id take loc=header:location then GET /api/items/{id} contains "\"x\"" then GET {loc} contains name`,
		pod(t, shop(t)), pod(t, shop(t)))
	a := New(usual).Ask(t.Context(), q, s)
	want := `true GET /healthz on web-1: 200
true POST /api/items on web-1: 201
true GET /api/items/{id} on web-1: 200
true GET {loc} on web-1: 200
true GET /healthz on web-2: 200
true POST /api/items on web-2: 201
true GET /api/items/{id} on web-2: 200
true GET {loc} on web-2: 200
`
	if a.Said != canary.Allow || a.Unreached || a.At.IsZero() || a.Sentence != "All 8 smoke checks passed, on 2 pods" || lines(a.Checks) != want {
		t.Errorf("%s: %s\n%s", a.Said, a.Sentence, lines(a.Checks))
	}
}

func TestTheFirstFailureIsTold(t *testing.T) {
	bad := pod(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		io.WriteString(w, "fine\x1b[31m")
	})
	q, s := about("GET /x; GET /healthz then GET /y; GET /z contains ok", bad)
	a := New(usual).Ask(t.Context(), q, s)
	want := `true GET /x on web-1: 200
false GET /healthz on web-1: 503, wanted 2xx
false GET /y on web-1: not asked, for the check before it failed
false GET /z on web-1: 200 without "ok"; it begins with "fine\x1b[31m"
`
	if a.Said != canary.Deny || lines(a.Checks) != want {
		t.Errorf("%s: %s\n%s", a.Said, a.Sentence, lines(a.Checks))
	}
	if !strings.HasPrefix(a.Sentence, "Smoke check failed: GET /healthz on web-1: 503 in ") || !strings.HasSuffix(a.Sentence, " ms, wanted 2xx (1 of 4 passed)") {
		t.Errorf("it says %s", a.Sentence)
	}
}

func TestAfterARollbackStableIsAsked(t *testing.T) {
	q, s := about("GET /healthz")
	s.Stable = canary.Party{Deployment: "web", Addresses: []string{pod(t, shop(t))}}
	q.Stage = canary.AfterRollback
	if a := New(usual).Ask(t.Context(), q, s); a.Said != canary.Allow || a.Sentence != "The smoke check passed, on 1 pod" {
		t.Errorf("%s: %s", a.Said, a.Sentence)
	}
}

func TestWhereNoPodCanBeAskedTheReleaseWaits(t *testing.T) {
	for name, addresses := range map[string][]string{
		"no pod": nil, "a name in place of an address": {"web-1:80"}, "no port": {"10.0.0.1"}, "port 0": {"10.0.0.1:0"},
	} {
		q, s := about("GET /", addresses...)
		p := New(usual)
		p.dial = func(context.Context, string, string) (net.Conn, error) {
			t.Error(name, "was connected to")
			return nil, syscall.ECONNREFUSED
		}
		a := p.Ask(t.Context(), q, s)
		if a.Said != canary.Wait || !a.Unreached || a.Sentence != "No ready pod of web-canary has an address to run the smoke checks on" {
			t.Errorf("%s: %s: %s", name, a.Said, a.Sentence)
		}
	}
	q, s := about("GET", "127.0.0.1:1")
	if a := New(usual).Ask(t.Context(), q, s); a.Said != canary.Wait || !a.Unreached || !strings.HasPrefix(a.Sentence, "The smoke checks can't be read: the text has no path") {
		t.Errorf("checks that can't be read: %s: %s", a.Said, a.Sentence)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	q, s = about("GET /", pod(t, shop(t)))
	if a := New(usual).Ask(gone, q, s); a.Said != canary.Wait || !a.Unreached || a.Sentence != "The smoke checks didn't run: run the smoke checks: context canceled" {
		t.Errorf("cut short: %s: %s", a.Said, a.Sentence)
	}
}

func TestWhatIsSent(t *testing.T) {
	type sent struct{ line, host, agent, rollout, id, kind string }
	var mu sync.Mutex
	var got []sent
	address := pod(t, func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		h := r.Header
		got = append(got, sent{r.Method + " " + r.RequestURI, r.Host, h.Get("User-Agent"), h.Get("X-Serin-Rollout"), h.Get("X-Request-Id"), h.Get("Content-Type")})
	})
	q, s := about(`GET /a%2Fb;GET /`, address)
	s.Smoke = `GET /a%2Fb/c?x=%20&y=/../ then POST /b "x" then POST /c`
	New(usual).Ask(t.Context(), q, s)
	direct := usual
	direct.Domain = ""
	s.Smoke = "GET /d"
	New(direct).Ask(t.Context(), q, s)
	const host, agent = "web.shop.svc.cluster.local", "serin-smoke"
	want := []sent{
		{"GET /a%2Fb/c?x=%20&y=/../", host, agent, "r7", "serin-r7-1", ""},
		{"POST /b", host, agent, "r7", "serin-r7-2", "text/plain; charset=utf-8"},
		{"POST /c", host, agent, "r7", "serin-r7-3", ""},
		{"GET /d", address, agent, "r7", "serin-r7-1", ""},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
}

// Whatever a pod answers, and whatever is taken from it, the pod is asked and nobody
// else.
func TestNoOtherHostIsReached(t *testing.T) {
	var elsewhere atomic.Int32
	victim := pod(t, func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) })
	for name, c := range map[string]struct {
		checks string
		value  string
		asked  string // the second request; empty: there is none
	}{
		"a redirect":                    {"GET /a 302 then GET /b", "http://" + victim + "/x", "GET /b"},
		"a location elsewhere":          {"GET /a 302 take v=header:location then GET {v}", "http://" + victim + "/x", "GET /x"},
		"a location without a scheme":   {"GET /a 302 take v=header:location then GET {v}", "//" + victim + "/x", "GET /x"},
		"a location of another scheme":  {"GET /a 302 take v=header:location then GET {v}", "mailto:x@" + victim, ""},
		"an address as a value":         {"GET /a 302 take v=.v then GET /b/{v}", "http://" + victim + "/x", "GET /b/http:%2F%2F" + victim + "%2Fx"},
		"an authority as a value":       {"GET /a 302 take v=.v then GET /{v}", "/" + victim, "GET /%2F" + victim},
		"a value that ends the request": {"GET /a 302 take v=.v then GET /b/{v}", " HTTP/1.1\\r\\nHost: " + victim + "\\r\\n\\r\\nGET /x", ""},
		"a header that ends the line":   {"GET /a 302 take v=header:x-v then GET /b/{v}", "a b\tc", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var second atomic.Value
			second.Store("")
			address := pod(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/a" {
					second.Store(r.Method + " " + r.RequestURI)
					return
				}
				w.Header().Set("Location", c.value)
				w.Header().Set("X-V", c.value)
				w.WriteHeader(http.StatusFound)
				fmt.Fprintf(w, `{"v": "%s"}`, c.value)
			})
			q, s := about(c.checks, address)
			a := New(usual).Ask(t.Context(), q, s)
			if got := second.Load().(string); got != c.asked || elsewhere.Load() > 0 {
				t.Errorf("asked for %q, elsewhere %d times: %s\n%s", got, elsewhere.Load(), a.Sentence, lines(a.Checks))
			}
			if (a.Said == canary.Allow) != (c.asked != "") {
				t.Errorf("%s: %s", a.Said, a.Sentence)
			}
		})
	}
}

// That the test above would see another host asked is shown by a client that follows.
func TestAnotherHostWouldBeSeen(t *testing.T) {
	var elsewhere atomic.Int32
	victim := pod(t, func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) })
	address := pod(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://"+victim+"/", http.StatusFound)
	})
	response, err := http.Get("http://" + address)
	if err != nil || elsewhere.Load() != 1 {
		t.Fatalf("reached %d times, %v", elsewhere.Load(), err)
	}
	response.Body.Close()
}

func TestAProxyIsAskedForThePod(t *testing.T) {
	var lines []string
	proxy := pod(t, func(w http.ResponseWriter, r *http.Request) { lines = append(lines, r.RequestURI+" "+r.Host) })
	o := usual
	o.Proxy = &url.URL{Scheme: "http", Host: proxy}
	q, s := about("GET /a?b=c", "192.0.2.1:8080")
	a := New(o).Ask(t.Context(), q, s)
	if want := []string{"http://192.0.2.1:8080/a?b=c 192.0.2.1:8080"}; a.Said != canary.Allow || !slices.Equal(lines, want) {
		t.Errorf("%s: %s; the proxy was asked for %q", a.Said, a.Sentence, lines)
	}
	locked := pod(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusProxyAuthRequired) })
	o.Proxy = &url.URL{Scheme: "http", Host: locked}
	if a := New(o).Ask(t.Context(), q, s); a.Said != canary.Wait || !a.Unreached || a.Sentence != "The smoke checks didn't run: the proxy can't be asked: it wants to know who asks" {
		t.Errorf("a proxy with a lock: %s: %s", a.Said, a.Sentence)
	}
	for text, want := range map[string]string{"http://proxy": "proxy:80", "https://proxy": "proxy:443", "http://[::1]:3128": "[::1]:3128"} {
		u, _ := url.Parse(text)
		if got := addressOf(u); got != want {
			t.Errorf("%s is reached at %s", text, got)
		}
	}
}

func TestALongAnswerIsReadInPart(t *testing.T) {
	address := pod(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, strings.Repeat("x", maxBody-1))
		io.WriteString(w, "ab")
	})
	q, s := about("GET / contains xa; GET / contains ab; GET / take v=.v", address)
	a := New(usual).Ask(t.Context(), q, s)
	begins := `it begins with "` + strings.Repeat("x", 80) + `..."`
	want := "true GET / on web-1: 200\nfalse GET / on web-1: 200 without \"ab\" in the 1048576 bytes that are read of it; " + begins +
		"\nfalse GET / on web-1: 200, but with more than is read, so that no value can be taken from it\n"
	if got := lines(a.Checks); got != want {
		t.Errorf("got %s", got)
	}
}

func TestOnlySomePodsAreAsked(t *testing.T) {
	var asked atomic.Int32
	addresses := make([]string, 0, 25)
	for range 25 {
		addresses = append(addresses, pod(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	}
	q, s := about("GET /a; GET /b", addresses...)
	a := New(usual).Ask(t.Context(), q, s)
	if a.Said != canary.Allow || a.Sentence != "All 20 smoke checks passed, on 10 of 25 pods" || asked.Load() != 20 {
		t.Errorf("%s: %s; %d requests", a.Said, a.Sentence, asked.Load())
	}
}

// pass lets time go by, in a bubble of testing/synctest.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // in a bubble of testing/synctest nobody waits
}

// wire is a network in memory: what is dialed comes out of it, and is served by a
// handler over one byte stream.
func wire(serve func(net.Conn)) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go serve(server)
		return client, nil
	}
}

// says answers each request with raw HTTP, after a time, and then closes.
func says(text string, after time.Duration) func(net.Conn) {
	return func(c net.Conn) {
		defer c.Close()
		if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
			return
		}
		pass(after)
		io.WriteString(c, text)
	}
}

func TestTime(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	refused := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	cases := []struct {
		name, checks string
		dial         func(tries *atomic.Int32) func(context.Context, string, string) (net.Conn, error)
		said         canary.AnswerKind
		want         string
		took         time.Duration
		tries        int32
	}{
		{"an answer in time", "GET / <300ms", func(*atomic.Int32) func(context.Context, string, string) (net.Conn, error) {
			return wire(says(ok, 299*time.Millisecond))
		}, canary.Allow, "The smoke check passed, on 1 pod", 299 * time.Millisecond, 0},
		{"an answer too late", "GET / <300ms", func(*atomic.Int32) func(context.Context, string, string) (net.Conn, error) {
			return wire(says(ok, 300*time.Millisecond))
		}, canary.Deny, "GET / on web-1: 200 in 300 ms, wanted less than 300 ms (0 of 1 passed)", 300 * time.Millisecond, 0},
		{"no answer", "GET /", func(*atomic.Int32) func(context.Context, string, string) (net.Conn, error) {
			return wire(says(ok, time.Hour))
		}, canary.Deny, "GET / on web-1: no whole answer within 10s (0 of 1 passed)", 10 * time.Second, 0},
		{"half an answer", "GET /", func(*atomic.Int32) func(context.Context, string, string) (net.Conn, error) {
			return wire(says(ok[:len(ok)-1], 0))
		}, canary.Deny, "GET / on web-1: the connection ended within the answer (0 of 1 passed)", 0, 0},
		{"a door that is shut", "GET /", func(*atomic.Int32) func(context.Context, string, string) (net.Conn, error) {
			return wire(says("", 0))
		}, canary.Deny, "GET / on web-1: the connection was closed without an answer, as a mesh with strict mTLS does to those outside of it (0 of 1 passed)", 0, 0},
		{"no HTTP", "GET /", func(*atomic.Int32) func(context.Context, string, string) (net.Conn, error) {
			return wire(says("SSH-2.0-x\x1b[31m\r\n\r\n", 0))
		}, canary.Deny, `GET / on web-1: no answer: malformed HTTP response "SSH-2.0-x\x1b[31m" (0 of 1 passed)`, 0, 0},
		{"a port that opens late", "POST / {}", func(tries *atomic.Int32) func(context.Context, string, string) (net.Conn, error) {
			return func(ctx context.Context, n, a string) (net.Conn, error) {
				if tries.Add(1) < 4 {
					return nil, refused
				}
				return wire(says(ok, 0))(ctx, n, a)
			}
		}, canary.Allow, "The smoke check passed, on 1 pod", 1400 * time.Millisecond, 4},
		{"a port that stays shut", "GET / then GET /b", func(tries *atomic.Int32) func(context.Context, string, string) (net.Conn, error) {
			return func(context.Context, string, string) (net.Conn, error) {
				tries.Add(1)
				return nil, refused
			}
		}, canary.Deny, "GET / on web-1: no connection within 10s: connection refused (0 of 2 passed)", 10 * time.Second, 8},
		{"more than all checks may take", "GET /1 then GET /2 then GET /3 then GET /4 then GET /5 then GET /6 then GET /7 then GET /8", func(*atomic.Int32) func(context.Context, string, string) (net.Conn, error) {
			return wire(says(ok, 9*time.Second))
		}, canary.Deny, "GET /7 on web-1: no whole answer in what was left of the time that all checks have (6 of 8 passed)", time.Minute, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var tries atomic.Int32
				p := New(usual)
				p.dial = c.dial(&tries)
				began := time.Now()
				q, s := about(c.checks, "192.0.2.1:80")
				a := p.Ask(t.Context(), q, s)
				took := time.Since(began)
				if a.Said != c.said || strings.TrimPrefix(a.Sentence, "Smoke check failed: ") != c.want || took != c.took || tries.Load() != c.tries {
					t.Errorf("%s after %s and %d tries: %s\n%s", a.Said, took, tries.Load(), a.Sentence, lines(a.Checks))
				}
				// What still serves a request that was given up ends before the test does.
				pass(2 * time.Hour)
			})
		})
	}
}

func TestAProxyThatIsAwayHoldsAndFailsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := usual
		o.Proxy = &url.URL{Scheme: "http", Host: "proxy.example:3128"}
		p := New(o)
		p.dial = func(_ context.Context, _, address string) (net.Conn, error) {
			if address != "proxy.example:3128" {
				t.Errorf("%s was connected to", address)
			}
			return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
		}
		q, s := about("GET /", "192.0.2.1:80")
		a := p.Ask(t.Context(), q, s)
		if a.Said != canary.Wait || !a.Unreached || a.Sentence != "The smoke checks didn't run: the proxy can't be asked: no connection within 10s: connection refused" {
			t.Errorf("%s: %s", a.Said, a.Sentence)
		}
	})
}

// Lost packets are no word of the pod's: a NetworkPolicy, or a node, may be in the way.
func TestAPodThatCannotBeReachedHoldsAndFailsNothing(t *testing.T) {
	lost := func(ctx context.Context) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
	away := func(context.Context) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)}
	}
	answers := func(text string) func(context.Context) (net.Conn, error) {
		return func(ctx context.Context) (net.Conn, error) { return wire(says(text, 0))(ctx, "", "") }
	}
	const ok, bad = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"
	for name, c := range map[string]struct {
		first, second func(context.Context) (net.Conn, error)
		said          canary.AnswerKind
		sentence      string
	}{
		"packets are lost":            {lost, lost, canary.Wait, "The smoke checks didn't run: web-1 can't be asked: no connection within 10s, as where a NetworkPolicy is in the way"},
		"there is no way":             {answers(ok), away, canary.Wait, "The smoke checks didn't run: web-2 can't be asked: no connection within 10s: no route to host"},
		"another pod answers wrongly": {lost, answers(bad), canary.Deny, "Smoke check failed: GET / on web-2: 500 in 0 ms, wanted 2xx (0 of 2 passed)"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := New(usual)
				p.dial = func(ctx context.Context, _, address string) (net.Conn, error) {
					if address == "192.0.2.1:80" {
						return c.first(ctx)
					}
					return c.second(ctx)
				}
				q, s := about("GET /", "192.0.2.1:80", "192.0.2.2:80")
				a := p.Ask(t.Context(), q, s)
				if a.Said != c.said || a.Unreached != (c.said == canary.Wait) || a.Sentence != c.sentence {
					t.Errorf("%s: %s", a.Said, a.Sentence)
				}
			})
		})
	}
}

// More checks of pods that can't be reached than there is time for fail nothing either.
func TestManyChecksOfPodsThatCannotBeReachedFailNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(usual)
		p.dial = func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
		q, s := about(strings.Repeat("GET /;", 9)+"GET /", slices.Repeat([]string{"192.0.2.1:80"}, MaxPods)...)
		began := time.Now()
		if a := p.Ask(t.Context(), q, s); a.Said != canary.Wait || !a.Unreached || time.Since(began) != usual.Total {
			t.Errorf("%s after %s: %s", a.Said, time.Since(began), a.Sentence)
		}
		pass(time.Minute)
	})
}

// Whoever has many slow checks takes no time from others.
func TestQuestionsDoNotWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(usual)
		p.dial = func(ctx context.Context, n, address string) (net.Conn, error) {
			slow := time.Duration(0)
			if address == "192.0.2.1:80" {
				slow = 9 * time.Second
			}
			return wire(says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", slow))(ctx, n, address)
		}
		var wg sync.WaitGroup
		defer func() {
			wg.Wait()
			pass(time.Minute) // what still serves a request that was given up
		}()
		busy := slices.Repeat([]string{"192.0.2.1:80"}, MaxPods)
		for range 5 {
			wg.Go(func() {
				q, s := about(strings.Repeat("GET /;", 9)+"GET /", busy...)
				if a := p.Ask(t.Context(), q, s); a.Said != canary.Deny {
					t.Errorf("100 checks of 9 s are done within a minute: %s", a.Sentence)
				}
			})
		}
		pass(time.Second)
		began := time.Now()
		q, s := about("GET /", "192.0.2.2:80")
		if a := p.Ask(t.Context(), q, s); a.Said != canary.Allow || time.Since(began) != 0 {
			t.Errorf("after %s: %s", time.Since(began), a.Sentence)
		}
	})
}

func TestRequestsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		p := New(usual)
		p.dial = wire(func(c net.Conn) {
			defer c.Close()
			most.Store(max(most.Load(), now.Add(1)))
			if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
				t.Error(err)
			}
			pass(time.Second)
			now.Add(-1)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		})
		b := Batch{Checks: smoke.Checks{}, Rollout: "r"}
		checks, _ := smoke.Parse(strings.Repeat("GET /;", 9) + "GET /")
		b.Checks = checks
		for range MaxPods {
			b.Targets = append(b.Targets, Target{Pod: "p", Address: "192.0.2.1:80"})
		}
		began := time.Now()
		results, _, err := p.Run(t.Context(), b)
		passed := len(results) - len(slices.DeleteFunc(results, func(c canary.Check) bool { return c.Passed }))
		if err != nil || passed != 100 || most.Load() != atOnce || time.Since(began) != 7*time.Second {
			t.Errorf("%d passed, %d at once, %s, %v", passed, most.Load(), time.Since(began), err)
		}
	})
}
