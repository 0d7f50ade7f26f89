package scenarios

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"
)

// browser is a user who keeps cookies, of the application's too.
type browser struct {
	st     *stage
	client *http.Client
	met    string // the version met last
}

// browsers are new users. Every other one speaks HTTP/2, where each cookie is a header
// of its own on the way.
func (st *stage) browsers(n int) []*browser {
	st.Helper()
	var all []*browser
	for i := range n {
		jar, err := cookiejar.New(nil)
		if err != nil {
			st.Fatal(err)
		}
		protocols := &http.Protocols{}
		protocols.SetHTTP1(i%2 == 1)
		protocols.SetUnencryptedHTTP2(i%2 == 0)
		b := &browser{st: st, client: &http.Client{Jar: jar, Timeout: 10 * time.Second, Transport: &http.Transport{Protocols: protocols}}}
		jar.SetCookies(b.host(), []*http.Cookie{{Name: "session", Value: "1"}, {Name: "xserin-web-v2", Value: "canary"}})
		st.Cleanup(b.client.CloseIdleConnections)
		all = append(all, b)
	}
	return all
}

// ask sends a request as the browser does, and returns who answered.
func (b *browser) ask(headers ...string) string {
	b.st.Helper()
	address, host := b.st.entry()
	req, err := http.NewRequestWithContext(context.WithoutCancel(b.st.Context()), http.MethodGet, address, http.NoBody)
	if err != nil {
		b.st.Fatal(err)
	}
	req.Host = host
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := b.client.Do(req)
	if err != nil {
		b.st.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		b.st.Errorf("a user with cookies is answered %s, %v", resp.Status, err)
	}
	b.met = resp.Header.Get("X-Served-By")
	return b.met
}

// said is the cookie of Serin's in the browser, as it sends it; empty: none.
func (b *browser) said() string {
	for _, c := range b.client.Jar.Cookies(b.host()) {
		if strings.HasPrefix(c.Name, "serin-") {
			return c.String()
		}
	}
	return ""
}

// host is what cookies are kept for.
func (b *browser) host() *url.URL {
	_, host := b.st.entry()
	return &url.URL{Scheme: "http", Host: host, Path: "/"}
}

// stays asks again and again: each of the users has to stay on the version that they
// met.
func (st *stage) stays(users []*browser) (onCanary int) {
	st.Helper()
	for _, b := range users {
		met := b.met
		for range 5 {
			if got := b.ask(); got != met {
				st.Errorf("a user of %s with the cookies %q is served by %s", met, b.said(), got)
			}
		}
		if met == "v2" {
			onCanary++
		}
	}
	return onCanary
}

const manyUsers = 150

var errNoCookie = errors.New("the cookie is not the one to come")

// sticky follows users who keep cookies over a raise and back.
func sticky(t *testing.T, name string) {
	st := open(t, name, script{jumps: true})
	before := st.spec()
	st.release("30%/20m, 60%/20m, 100%", nil, settings{"sticky": "cookie"})
	st.reachesWeight(30)
	st.arrives("v2")
	users := st.browsers(manyUsers)
	st.until("cookies are set", func() error {
		probe := st.browsers(1)[0]
		if probe.ask(); probe.said() == "" {
			return errNoCookie
		}
		return nil
	})
	for _, b := range users {
		b.ask()
	}
	first := st.stays(users)
	st.Logf("at 30%%: %d of %d users are on the canary", first, manyUsers)

	stable := users[0]
	for _, b := range users {
		if b.met == "v1" {
			stable = b
		}
	}
	if got := stable.ask("X-App-Version", "canary"); got != "v2" {
		st.Errorf("a tester with the cookie of stable is served by %s", got)
	}
	if got := stable.ask(); got != "v1" {
		st.Errorf("who was a tester once is served by %s ever after", got)
	}

	old := stable.said()
	st.command("skip #1")
	st.reachesWeight(60)
	st.until("the raise is there", func() error {
		probe := st.browsers(1)[0]
		if probe.ask(); probe.met != "v1" || probe.said() == old {
			return errNoCookie
		}
		return nil
	})
	for _, b := range users {
		if met := b.met; met == "v2" && b.ask() != "v2" {
			st.Errorf("a user of the canary was taken off it by a raise, with %q", b.said())
		} else if met == "v1" {
			b.ask()
		}
	}
	second := st.stays(users)
	st.Logf("at 60%%: %d of %d users are on the canary", second, manyUsers)
	if second < first {
		st.Errorf("%d users were on the canary, %d are", first, second)
	}

	st.command("abort")
	st.reachesPhase("RolledBack")
	st.settles(st.users, "v1")
	for _, b := range users {
		for range 3 {
			if got := b.ask(); got != "v1" {
				st.Errorf("after the rollback a user with the cookies %q is served by %s", b.said(), got)
			}
		}
	}
	fresh := st.browsers(1)[0]
	if fresh.ask(); fresh.said() != "" {
		st.Errorf("after the rollback a cookie is set: %s", fresh.said())
	}
	st.close("v1", "v1")
	if after := st.spec(); after != before {
		st.Errorf("the routes were\n%s\nand are\n%s", before, after)
	}
}

// stickyInPlace has users of one Deployment kept on their version, which is released in
// place and leaves nothing behind.
func stickyInPlace(t *testing.T, name string) {
	st := openShop(t, name, shop{steps: "30%/20m, 100%/2s", settings: settings{"sticky": "cookie"}, jumps: true})
	before := st.spec()
	st.setImage("v2")
	st.reachesWeight(30)
	st.arrives("v2")
	users := st.browsers(manyUsers)
	st.until("cookies are set", func() error {
		probe := st.browsers(1)[0]
		if probe.ask(); probe.said() == "" {
			return errNoCookie
		}
		return nil
	})
	for _, b := range users {
		b.ask()
	}
	st.Logf("at 30%%: %d of %d users are on the canary", st.stays(users), manyUsers)
	st.command("promote #1")
	st.ends(1, "Succeeded")
	st.settles(st.users, "v2")
	for _, b := range users {
		if got := b.ask(); got != "v2" {
			st.Errorf("after the promotion a user with the cookie %q is served by %s", b.said(), got)
		}
	}
	st.closeShop("v2", false)
	if after := st.spec(); after != before {
		st.Errorf("the routes were\n%s\nand are\n%s", before, after)
	}
}
