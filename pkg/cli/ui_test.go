package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// knock asks at a door, with the cookies that were given before.
func knock(d http.Handler, method, target string, cookies ...*http.Cookie) *http.Response {
	r := httptest.NewRequest(method, "http://localhost:8080"+target, http.NoBody)
	for _, c := range cookies {
		r.AddCookie(c)
	}
	if method == http.MethodPost {
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w.Result()
}

func TestTheDoorOpensForTheTokenOnce(t *testing.T) {
	d := &doorway{token: "right", cookie: "known", next: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "inside")
	})}
	for _, refused := range []string{"/", "/?token=", "/?token=wrong", "/style.css?token=right", "/rollouts/shop/web?token=right"} {
		if r := knock(d, http.MethodGet, refused); r.StatusCode != http.StatusForbidden || len(r.Cookies()) > 0 {
			t.Errorf("%s: %s, with cookies %v", refused, r.Status, r.Cookies())
		}
	}
	r := knock(d, http.MethodGet, "/?token=right")
	cookies := r.Cookies()
	if r.StatusCode != http.StatusOK || len(cookies) != 1 || !cookies[0].HttpOnly || cookies[0].SameSite != http.SameSiteStrictMode {
		t.Fatalf("%s, with cookies %v", r.Status, cookies)
	}
	if text, _ := io.ReadAll(r.Body); strings.Contains(string(text), "inside") || strings.Contains(string(text), "right") {
		t.Errorf("the way in shows %s", text)
	}
	if again := knock(d, http.MethodGet, "/?token=right"); again.StatusCode != http.StatusForbidden || len(again.Cookies()) > 0 {
		t.Error("the token is good twice:", again.Status)
	}
	if text, _ := io.ReadAll(knock(d, http.MethodGet, "/", cookies...).Body); string(text) != "inside" {
		t.Errorf("who is known is shown %s", text)
	}
	if r := knock(d, http.MethodGet, "/", &http.Cookie{Name: cookieName, Value: "guessed"}); r.StatusCode != http.StatusForbidden {
		t.Error("a guess is let in:", r.Status)
	}
}

// atThePage gives a test the shop, with a release at 20%, and who is known at its
// page; redirects are followed.
func atThePage(t *testing.T, kubeconfig string, play func(s *shop, ask func(method, target string) (int, string))) {
	t.Setenv("KUBECONFIG", kubeconfig)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		s := newShop(ctx, t)
		defer func() { cancel(); s.stopSerin() }()
		s.pair()
		s.deployment("web-v2", "v2", "shop:2", notesOf([]string{"canary=true", "steps=20%/20m,100%/20m"}))
		s.startSerin()
		<-time.After(30 * time.Second)
		tool := newTool(genericiooptions.IOStreams{In: strings.NewReader(""), Out: io.Discard, ErrOut: io.Discard}, Program{Now: time.Now, Network: s})
		tool.controller = "http://" + shopView
		session, err := tool.open(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer session.done()
		door, err := session.doorway(ctx, "shop")
		if err != nil {
			t.Fatal(err)
		}
		cookies := knock(door, http.MethodGet, "/?token="+door.token).Cookies()
		play(s, func(method, target string) (int, string) {
			r := knock(door, method, target, cookies...)
			for r.StatusCode == http.StatusSeeOther {
				from, err := url.Parse(target)
				if err != nil {
					t.Fatal(err)
				}
				to, err := from.Parse(r.Header.Get("Location"))
				if err != nil {
					t.Fatal(err)
				}
				r = knock(door, http.MethodGet, to.RequestURI(), cookies...)
			}
			text, _ := io.ReadAll(r.Body)
			return r.StatusCode, string(text)
		})
	})
}

func TestTheButtonsOfThePageGiveOrders(t *testing.T) {
	atThePage(t, kubeconfigOfShop(t), func(s *shop, ask func(string, string) (int, string)) {
		expect := func(method, target string, code int, said string) {
			t.Helper()
			if got, text := ask(method, target); got != code || !strings.Contains(text, said) {
				t.Errorf("%s %s: %d, without %q:\n%s", method, target, got, said, text)
			}
		}
		expect(http.MethodGet, "/", http.StatusOK, "namespace shop")
		expect(http.MethodGet, "/rollouts/shop/web", http.StatusOK, "web/pause")
		expect(http.MethodPost, "/rollouts/shop/web/pause", http.StatusOK, "Paused")
		if got := s.state(); got.Phase != "Paused" {
			t.Errorf("it is %s", got.Phase)
		}
		expect(http.MethodPost, "/rollouts/shop/web/resume", http.StatusOK, "")
		if got := s.state(); got.Phase != "Progressing" || got.Weight != 20 {
			t.Errorf("it is %s at %d%%", got.Phase, got.Weight)
		}
		expect(http.MethodPost, "/rollouts/shop/web/skip", http.StatusOK, "")
		if got := s.state(); got.Weight != 100 {
			t.Errorf("it is %s at %d%%", got.Phase, got.Weight)
		}
		expect(http.MethodPost, "/rollouts/shop/web/abort", http.StatusOK, "")
		if got := s.state(); got.Phase.Active() && got.Phase != "RollingBack" {
			t.Errorf("it is %s at %d%%", got.Phase, got.Weight)
		}
		expect(http.MethodPost, "/rollouts/shop/web/delete", http.StatusNotFound, "No such command")
		expect(http.MethodPost, "/rollouts/other/web/abort", http.StatusNotFound, "")
		expect(http.MethodGet, "/rollouts/other/web", http.StatusNotFound, "")
	})
}

// Who may not patch Deployments sees no buttons, and gives no orders by other ways.
func TestTheButtonsAreForWhoMayPatch(t *testing.T) {
	atThePage(t, kubeconfigOfShop(t), func(s *shop, ask func(string, string) (int, string)) {
		s.mu.Lock()
		s.denied["patch deployments"] = true
		s.mu.Unlock()
		if code, text := ask(http.MethodGet, "/rollouts/shop/web"); code != http.StatusOK || strings.Contains(text, "web/abort") {
			t.Errorf("%d:\n%s", code, text)
		}
		if code, _ := ask(http.MethodPost, "/rollouts/shop/web/abort"); code != http.StatusForbidden {
			t.Errorf("an order is answered %d", code)
		}
		if got := s.state(); got.Weight != 20 {
			t.Errorf("it is %s at %d%%", got.Phase, got.Weight)
		}
	})
}
