package web_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	_ "serin.dev/serin/internal/bubble"
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/web"
	"serin.dev/serin/pkg/web/webtest"
)

func TestOnlyOwnNamesAreServed(t *testing.T) {
	h := page(webtest.Source{}, func(o *web.Options) { o.Hosts = []string{"serin.example.com"} })
	for host, code := range map[string]int{
		"localhost": 200, "localhost:9092": 200, "127.0.0.1:9092": 200, "127.8.8.8": 200, "[::1]:9092": 200, "[::1]": 200, "LOCALHOST:1": 200,
		"serin.example.com": 200, "Serin.Example.com:443": 200,
		"evil.example.com": 421, "localhost.evil.example.com:9092": 421, "10.0.0.1:9092": 421, "": 421, "127.0.0.1.evil.example.com": 421,
	} {
		r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
		r.Host = host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != code {
			t.Errorf("%q is answered %d, want %d", host, w.Code, code)
		}
	}
}

func TestBrowsersAreToldToTrustNothingElse(t *testing.T) {
	for _, path := range []string{"/", "/rollouts/shop/checkout", "/api/v1/rollouts", "/style.css", "/no/such", "/rollouts/no/such"} {
		h := ask(page(webtest.Source{webtest.Moving(2)}), path).Header()
		policy := h.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "form-action 'self'"} {
			if !strings.Contains(policy, part) {
				t.Errorf("%s: the policy lacks %s", path, part)
			}
		}
		if strings.Contains(policy, "unsafe") || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") == "" {
			t.Errorf("%s: %v", path, h)
		}
	}
	// What the policy forbids would be silently without effect.
	for _, path := range []string{"/", "/rollouts/shop/checkout"} {
		if html := ask(page(webtest.Source{webtest.Moving(9)}), path).Body.String(); strings.Contains(html, " style=") || strings.Contains(html, "<style") || strings.Contains(html, " onclick") {
			t.Errorf("%s has a style or script within", path)
		}
	}
}

func TestTheSameAsJSON(t *testing.T) {
	h := page(webtest.Source{webtest.Moving(3), webtest.Blocked()}, func(o *web.Options) { o.Leading = func() bool { return true } })
	var all web.Listing
	if err := json.Unmarshal(ask(h, "/api/v1/rollouts").Body.Bytes(), &all); err != nil {
		t.Fatal(err)
	}
	if len(all.Rollouts) != 2 || all.Leading == nil || !*all.Leading || !all.At.Equal(webtest.Now) {
		t.Errorf("got %+v", all)
	}
	if err := json.Unmarshal(ask(h, "/api/v1/rollouts?namespace=billing").Body.Bytes(), &all); err != nil || len(all.Rollouts) != 1 {
		t.Errorf("of one namespace there are %d (%v)", len(all.Rollouts), err)
	}
	var one canary.Detail
	if err := json.Unmarshal(ask(h, "/api/v1/rollouts/shop/checkout").Body.Bytes(), &one); err != nil || len(one.Points) != 3 || one.View.Weight != 25 {
		t.Errorf("got %+v (%v)", one, err)
	}
	if got := ask(h, "/api/v1/rollouts/no/such"); got.Code != 404 || !strings.Contains(got.Body.String(), "error") {
		t.Errorf("an unknown one is answered %d %s", got.Code, got.Body)
	}
	if got := ask(page(webtest.Source{}), "/api/v1/rollouts").Body.String(); !strings.Contains(got, `"rollouts":[]`) || strings.Contains(got, "leading") {
		t.Errorf("without any: %s", got)
	}
}

func TestAStandbySaysSo(t *testing.T) {
	got := ask(page(webtest.Source{}, func(o *web.Options) { o.Leading = func() bool { return false } }), "/").Body.String()
	if !strings.Contains(got, "stands by") {
		t.Error("it doesn't")
	}
}

// orders are what was commanded.
type orders struct {
	may   func(verb string) bool
	fails error
	given []string
}

func (o *orders) May(_ context.Context, _ canary.View, verb string) bool { return o.may(verb) }

func (o *orders) Do(_ context.Context, namespace, service, verb string) (string, error) {
	o.given = append(o.given, verb+" "+namespace+"/"+service)
	return "All traffic is at stable, after 0.4s", o.fails
}

// post sends a form as a browser does, from a page of the origin.
func post(h http.Handler, path, origin string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "http://localhost:9092"+path, http.NoBody)
	if origin != "" {
		r.Header.Set("Origin", origin)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestACommandIsGivenOnceAndItsAnswerIsShownOnce(t *testing.T) {
	o := &orders{may: func(string) bool { return true }}
	h := page(webtest.Source{webtest.Moving(2)}, func(p *web.Options) { p.Commands = o })
	got := post(h, "/rollouts/shop/checkout/abort", "http://localhost:9092")
	if got.Code != http.StatusSeeOther || len(o.given) != 1 || o.given[0] != "abort shop/checkout" {
		t.Fatalf("answered %d, given %v", got.Code, o.given)
	}
	next := strings.TrimPrefix(got.Header().Get("Location"), "..")
	if !strings.Contains(ask(h, "/rollouts/shop"+next).Body.String(), "All traffic is at stable, after 0.4s.") {
		t.Error("its answer isn't shown")
	}
	if strings.Contains(ask(h, "/rollouts/shop"+next).Body.String(), "0.4s") {
		t.Error("its answer is shown again")
	}
}

func TestACommandThatIsNotAllowedIsNotGiven(t *testing.T) {
	allowed := func(string) bool { return true }
	for name, c := range map[string]struct {
		may          func(string) bool
		path, origin string
		code         int
	}{
		"from another page":             {allowed, "/rollouts/shop/checkout/abort", "http://evil.example.com", 403},
		"one that the reader may not":   {func(v string) bool { return v != "abort" }, "/rollouts/shop/checkout/abort", "", 403},
		"one that there is not":         {allowed, "/rollouts/shop/checkout/destroy", "", 404},
		"of what there is not":          {allowed, "/rollouts/shop/none/abort", "", 404},
		"one that doesn't fit any more": {allowed, "/rollouts/shop/checkout/retry", "", 303},
	} {
		t.Run(name, func(t *testing.T) {
			o := &orders{may: c.may}
			h := page(webtest.Source{webtest.Moving(2)}, func(p *web.Options) { p.Commands = o })
			if got := post(h, c.path, c.origin); got.Code != c.code || len(o.given) > 0 {
				t.Errorf("answered %d, given %v", got.Code, o.given)
			}
		})
	}
	if got := post(page(webtest.Source{webtest.Moving(2)}), "/rollouts/shop/checkout/abort", ""); got.Code != 404 {
		t.Errorf("where none are given it answers %d", got.Code)
	}
}

func TestButtonsAreThoseThatFitAndAreAllowed(t *testing.T) {
	for name, c := range map[string]struct {
		detail canary.Detail
		want   string
	}{
		"moving":       {webtest.Moving(2), "pause skip promote abort"},
		"approval":     {webtest.Approval(), "approve pause skip promote abort"},
		"inconclusive": {webtest.Inconclusive(), "resume skip promote abort"},
		"rolled back":  {webtest.RolledBack(), "retry"},
		"blocked":      {webtest.Blocked(), ""},
		"idle":         {webtest.Nothing(), ""},
	} {
		t.Run(name, func(t *testing.T) {
			show := func(may func(string) bool) (got string) {
				html := ask(page(anyName{c.detail}, func(p *web.Options) { p.Commands = &orders{may: may} }), "/rollouts/a/b").Body.String()
				for _, part := range strings.Split(html, `method="post" action="`)[1:] {
					action, _, _ := strings.Cut(part, `"`)
					got += " " + action[strings.LastIndexByte(action, '/')+1:]
				}
				return strings.TrimSpace(got)
			}
			if got := show(func(string) bool { return true }); got != c.want {
				t.Errorf("there are %q, want %q", got, c.want)
			}
			if got := show(func(string) bool { return false }); got != "" {
				t.Errorf("without rights there are %q", got)
			}
		})
	}
}

// A yes is for the step that the reader saw: the release may have come to another one.
func TestAYesIsForTheStepThatWasSeen(t *testing.T) {
	rollout := webtest.Approval().View.Rollout
	for name, c := range map[string]struct{ form, given, note string }{
		"the one that waits":          {"step=3&rollout=" + rollout, "[approve shop/orders]", "All traffic"},
		"one that waited before":      {"step=2&rollout=" + rollout, "[]", "another step or release by now, so that nothing was approved."},
		"the same of another release": {"step=3&rollout=r0", "[]", "nothing was approved"},
		"a form without the release":  {"step=3", "[]", "nothing was approved"},
		"a form that doesn't say it":  {"", "[]", "nothing was approved"},
		"a form that is far too long": {"step=3&rollout=" + rollout + "&x=" + strings.Repeat("x", 2000), "[]", "nothing was approved"},
	} {
		t.Run(name, func(t *testing.T) {
			o := &orders{may: func(string) bool { return true }}
			h := page(webtest.Source{webtest.Approval()}, func(p *web.Options) { p.Commands = o })
			if html := ask(h, "/rollouts/shop/orders").Body.String(); !strings.Contains(html, `name="step" value="3"`) || !strings.Contains(html, "Approve step 3 (25%) of shop/orders?") {
				t.Error("it isn't asked back with the step")
			}
			r := httptest.NewRequest(http.MethodPost, "http://localhost:9092/rollouts/shop/orders/approve", strings.NewReader(c.form))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			next := strings.TrimPrefix(w.Header().Get("Location"), "..")
			if got := ask(h, "/rollouts/shop"+next).Body.String(); fmt.Sprint(o.given) != c.given || !strings.Contains(got, c.note) {
				t.Errorf("given %v", o.given)
			}
		})
	}
}

func TestWhatWaitsForSomebodyIsFoundInTheList(t *testing.T) {
	h := page(webtest.Source{webtest.Moving(2), webtest.Approval()})
	all := ask(h, "/").Body.String()
	if !strings.Contains(all, "1 waiting for somebody") || strings.Index(all, "row-shop-checkout") > strings.Index(all, "row-shop-orders") {
		t.Error("it isn't counted among those, after what moves")
	}
	if one := ask(h, "/?q=awaits+approval").Body.String(); !strings.Contains(one, "row-shop-orders") || strings.Contains(one, "row-shop-checkout") {
		t.Error("the filter finds something else")
	}
}

func TestAFailureOfACommandIsTold(t *testing.T) {
	o := &orders{may: func(string) bool { return true }, fails: errors.New("the API server is away")}
	h := page(webtest.Source{webtest.Moving(2)}, func(p *web.Options) { p.Commands = o })
	next := strings.TrimPrefix(post(h, "/rollouts/shop/checkout/abort", "").Header().Get("Location"), "..")
	if got := ask(h, "/rollouts/shop"+next).Body.String(); !strings.Contains(got, "The command abort was not given: the API server is away.") || !strings.Contains(got, `role="alert"`) {
		t.Error("it isn't")
	}
}

// changing is a Source whose answer tests set.
type changing struct {
	mu     sync.Mutex
	detail canary.Detail
	err    error
	asked  int
}

func (c *changing) set(d canary.Detail, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.detail, c.err = d, err
}

func (c *changing) Views(context.Context) ([]canary.View, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	return []canary.View{c.detail.View}, c.err
}

func (c *changing) Detail(context.Context, string, string) (canary.Detail, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	return c.detail, c.err
}

// reader hears a stream.
type reader struct {
	mu   sync.Mutex
	head http.Header
	code int
	text bytes.Buffer
	quit context.CancelFunc
	done chan struct{}
}

func (r *reader) Header() http.Header { return r.head }
func (r *reader) WriteHeader(code int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.code = code
}

func (r *reader) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}
func (r *reader) Flush() {}

// heard returns the events since it was asked the last time, each as its name and the
// id of the element.
func (r *reader) heard() (all []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := bufio.NewScanner(bytes.NewReader(r.text.Bytes()))
	event := ""
	for lines.Scan() {
		line := lines.Text()
		if name, is := strings.CutPrefix(line, "event: "); is {
			event = name
			all = append(all, event)
		}
		if _, id, is := strings.Cut(line, `id="`); is && event == "part" && strings.HasPrefix(line, "data: ") && !strings.Contains(all[len(all)-1], " ") {
			id, _, _ = strings.Cut(id, `"`)
			all[len(all)-1] += " " + id
		}
	}
	r.text.Reset()
	return all
}

func listen(t *testing.T, h http.Handler, path string) *reader {
	t.Helper()
	ctx, quit := context.WithCancel(t.Context())
	r := &reader{head: http.Header{}, quit: quit, done: make(chan struct{})}
	request := httptest.NewRequestWithContext(ctx, http.MethodGet, path, http.NoBody)
	request.Host = "localhost"
	go func() {
		defer close(r.done)
		h.ServeHTTP(r, request)
	}()
	synctest.Wait()
	return r
}

func equal(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Errorf("%s: heard %q, want %q", what, got, want)
	}
}

// pass lets so many seconds go by, in virtual time.
func pass(n int) {
	<-time.After(time.Duration(n) * time.Second)
	synctest.Wait()
}

func TestWhatChangesIsSentAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &changing{detail: webtest.Moving(5)}
		r := listen(t, page(source), "/rollouts/shop/checkout/events")
		equal(t, "at first", r.heard(), "part head", "part actions", "part findings", "part steps", "part checks", "part evidence", "part charts", "part tracks", "part timeline", "part history", "beat")
		pass(4)
		equal(t, "while nothing changes", r.heard())
		pass(1)
		equal(t, "then", r.heard(), "beat")
		d := webtest.Moving(5)
		d.View.Sentence = "Another one"
		source.set(d, nil)
		pass(1)
		equal(t, "after a change", r.heard(), "part head", "beat")
		source.set(d, errors.New("the API server\r\rdata: is away"))
		pass(1)
		equal(t, "while it can't be read", r.heard(), "trouble")
		source.set(canary.Detail{}, web.ErrUnknown)
		pass(1)
		equal(t, "when it is gone", r.heard(), "gone")
		<-r.done
		r.quit()
	})
}

func TestRowsAreSentOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &changing{detail: webtest.Moving(0)}
		r := listen(t, page(source), "/events")
		equal(t, "at first", r.heard(), "part counts", "part rows", "beat")
		d := webtest.Moving(0)
		d.View.Weight = 26
		source.set(d, nil)
		pass(1)
		equal(t, "after a change", r.heard(), "part row-shop-checkout", "beat")
		source.set(webtest.RolledBack(), nil)
		pass(1)
		equal(t, "with another one", r.heard(), "part counts", "part rows", "beat")
		r.quit()
		<-r.done
	})
}

// A reader that has the state already, of the page or of a connection that was lost,
// isn't sent it again.
func TestWhatIsThereIsNotSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := page(webtest.Source{webtest.Moving(5)})
		html := ask(h, "/rollouts/shop/checkout").Body.String()
		_, state, _ := strings.Cut(html, `data-state="`)
		state, _, _ = strings.Cut(state, `"`)
		r := listen(t, h, "/rollouts/shop/checkout/events?seen="+state)
		equal(t, "at first", r.heard(), "beat")
		r.quit()
		<-r.done
	})
}

func TestNobodyIsAskedWhileNobodyListens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &changing{detail: webtest.Moving(5)}
		h := page(source)
		r := listen(t, h, "/events")
		pass(3)
		r.quit()
		<-r.done
		before := source.asked
		pass(60)
		if source.asked != before {
			t.Errorf("it was asked %d times more", source.asked-before)
		}
		r = listen(t, h, "/events") // and it beats again
		r.heard()
		pass(5)
		equal(t, "later", r.heard(), "beat")
		r.quit()
		<-r.done
	})
}

func TestListenersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := page(webtest.Source{webtest.Moving(0)})
		var all []*reader
		for range web.MostListeners {
			all = append(all, listen(t, h, "/events"))
		}
		over := listen(t, h, "/events")
		<-over.done
		if over.code != http.StatusTooManyRequests {
			t.Errorf("one too many is answered %d", over.code)
		}
		all[0].quit()
		<-all[0].done
		next := listen(t, h, "/events")
		equal(t, "after one left", next.heard(), "part counts", "part rows", "beat")
		for _, r := range append(all[1:], next) {
			r.quit()
			<-r.done
		}
	})
}

// A server's limits on a request must not end a stream, nor a page that is open hold
// up the end of the server.
func TestAStreamOutlivesTheServersLimits(t *testing.T) {
	source := &changing{detail: webtest.Moving(2)}
	server := httptest.NewUnstartedServer(page(source))
	server.Config.ReadTimeout, server.Config.WriteTimeout = 50*time.Millisecond, 50*time.Millisecond
	server.Start()
	defer server.Close()
	answer, err := http.Get(server.URL + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	lines, beats := bufio.NewScanner(answer.Body), 0
	for beats < 2 && lines.Scan() {
		if lines.Text() == "event: beat" {
			beats++
			d := webtest.Moving(2)
			d.View.Sentence = "Another one"
			source.set(d, nil)
		}
	}
	if beats < 2 {
		t.Errorf("the stream ended after %d beats: %v", beats, lines.Err())
	}
}
