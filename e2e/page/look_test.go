package page

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"context"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/chromedp"

	"serin.dev/serin/e2e/page/browser"
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/web"
	"serin.dev/serin/pkg/web/webtest"
)

// serve serves made-up rollouts, with all buttons.
func serve(t *testing.T, source web.Source) string {
	t.Helper()
	server := httptest.NewServer(web.Handler(web.Options{Source: source, Commands: everything{}, Title: "staging", Version: "v1.2.3", Now: func() time.Time { return webtest.Now }}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL
}

// everything may be done, and nothing is.
type everything struct{}

func (everything) May(context.Context, canary.View, string) bool { return true }

func (everything) Do(context.Context, string, string, string) (string, error) { return "Done", nil }

var kinds = webtest.Source{webtest.Moving(canary.MaxPoints), webtest.RolledBack(), webtest.Blocked(), webtest.Inconclusive(), webtest.Approval(), webtest.Mirrored(), webtest.Unverified(), webtest.Nothing()}

var paths = []string{"/", "/rollouts/shop/checkout", "/rollouts/shop/cart", "/rollouts/billing/invoices", "/rollouts/shop/search", "/rollouts/shop/orders", "/rollouts/shop/basket", "/rollouts/shop/payments", "/rollouts/shop/web"}

// unreadable lists texts whose contrast to what is behind them is below that of WCAG
// 2.2, level AA: 4.5 to 1, and 3 to 1 for large letters.
const unreadable = `(() => {
  const parse = c => { const m = c.match(/[\d.]+/g).map(Number); return m.length < 4 ? [...m, 1] : m; };
  const light = c => { const f = c.slice(0, 3).map(v => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; }); return .2126 * f[0] + .7152 * f[1] + .0722 * f[2]; };
  const behind = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] === 1) return c; } return [255, 255, 255, 1]; };
  const bad = [];
  for (const e of document.body.querySelectorAll("*")) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || !e.checkVisibility()) continue;
    const style = getComputedStyle(e), a = light(parse(style.color)), b = light(behind(e));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05), size = parseFloat(style.fontSize);
    const least = size >= 24 || size >= 18.66 && style.fontWeight >= 700 ? 3 : 4.5;
    if (ratio < least) bad.push(e.textContent.trim().slice(0, 40) + ": " + ratio.toFixed(2));
  }
  return bad;
})()`

func TestEverythingIsReadableOnEveryScreen(t *testing.T) {
	address, b := serve(t, kinds), open(t, browser.Desktop)
	for _, s := range []browser.Screen{browser.Desktop, browser.Night, browser.Phone, {Name: "phone-dark", Width: 360, Height: 740, Dark: true}} {
		b.use(s)
		for _, path := range paths {
			b.visit(address + path)
			if bad := ask[[]string](b, unreadable); len(bad) > 0 {
				t.Errorf("%s on a %s screen: too little contrast: %s", path, s.Name, strings.Join(bad, "; "))
			}
			if width := ask[int64](b, "document.documentElement.scrollWidth"); width > s.Width {
				t.Errorf("%s on a %s screen is %d wide: it has to be moved sideways", path, s.Name, width)
			}
		}
	}
	// And what is not readable is found.
	if ask[string](b, `document.querySelector("h1").style.color = "#222"; ""`); len(ask[[]string](b, unreadable)) == 0 {
		t.Error("dark letters on dark are not found")
	}
}

// named are the roles that say nothing without a name.
var named = []string{"button", "link", "image", "meter", "textbox", "searchbox", "region", "navigation", "search", "dialog", "table"}

func TestWhoDoesNotSeeThePageIsToldTheSame(t *testing.T) {
	address, b := serve(t, kinds), open(t, browser.Desktop)
	for _, path := range paths {
		b.visit(address + path)
		tree, err := chromedp.Call(b.ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
		if err != nil {
			t.Fatal(err)
		}
		var roles, nameless []string
		for _, n := range tree.Nodes {
			if n.Ignored || n.Role == nil {
				continue
			}
			role, name := text(n.Role), text(n.Name)
			roles = append(roles, role)
			if name == "" && role != "table" && slices.Contains(named, role) {
				nameless = append(nameless, role)
			}
		}
		if len(nameless) > 0 {
			t.Errorf("%s: these have no name: %v", path, nameless)
		}
		for _, role := range []string{"main", "banner", "navigation", "contentinfo", "heading", "status"} {
			if !slices.Contains(roles, role) {
				t.Errorf("%s has no %s", path, role)
			}
		}
		if n := ask[int](b, `document.querySelectorAll("h1").length`); n != 1 {
			t.Errorf("%s has %d headings of the first level", path, n)
		}
		if wrong := ask[int](b, `[...document.querySelectorAll("table")].filter(t => ![...t.querySelectorAll("th")].every(h => h.scope)).length`); wrong > 0 {
			t.Errorf("%s: headings of %d tables don't say of what", path, wrong)
		}
	}
}

func text(v *accessibility.Value) string {
	if v == nil {
		return ""
	}
	return strings.Trim(string(v.Value), `"`)
}

func TestAllCanBeDoneByKeys(t *testing.T) {
	b := open(t, browser.Desktop)
	b.visit(serve(t, kinds) + "/rollouts/shop/checkout")
	var reached []string
	for range 14 {
		b.do("press Tab", chromedp.KeyEvent("\t"))
		reached = append(reached, ask[string](b, `document.activeElement.textContent.trim()`))
		if ask[bool](b, `document.activeElement === document.body`) {
			break // once around
		}
		if outline := ask[string](b, `getComputedStyle(document.activeElement).outlineStyle`); outline == "none" {
			t.Errorf("who is at %q can't see it", reached[len(reached)-1])
		}
	}
	for _, wanted := range []string{"Skip to the content", "Serin", "Rollouts", "Pause", "Abort…", "Metric by metric"} {
		if !slices.Contains(reached, wanted) {
			t.Errorf("%q is not reached: %q", wanted, reached)
		}
	}
	b.do("ask for the abort", chromedp.Focus(`button[popovertarget="ask-abort"]`), chromedp.KeyEvent("\r"))
	b.until("it asks back", `document.getElementById("ask-abort").checkVisibility() && document.activeElement.textContent === "Abort"`)
	b.picture("abort-asked")
	b.do("leave", chromedp.KeyEvent("\x1b"))
	b.until("it asks no more", `!document.getElementById("ask-abort").checkVisibility()`)
}

// A yes is asked back, names the step, and is for that step: the form carries it.
func TestAYesIsGivenInTheBrowser(t *testing.T) {
	b := open(t, browser.Desktop)
	b.visit(serve(t, kinds) + "/rollouts/shop/orders")
	b.do("ask for the yes", chromedp.Focus(`button[popovertarget="ask-approve"]`), chromedp.KeyEvent("\r"))
	b.until("it asks back, with the step", `document.getElementById("ask-approve").checkVisibility() && document.activeElement.textContent === "Approve step 3 (25%)"`)
	b.picture("approve-asked")
	b.do("say yes", chromedp.KeyEvent("\r"))
	b.until("it is told that it was given", `!!document.querySelector(".note.good")?.textContent.includes("Done.")`)
}

// restless changes every rollout each time it is asked.
type restless struct {
	webtest.Source
	asked atomic.Int64
}

func (r *restless) Views(ctx context.Context) ([]canary.View, error) {
	views, err := r.Source.Views(ctx)
	n := r.asked.Add(1)
	for i := range views {
		views[i].Weight, views[i].Sentence = int(n%100), fmt.Sprintf("Looked at %d times", n)
	}
	return views, err
}

// Measured, not judged: how soon something is seen, and how long frames take while
// two hundred rollouts change every second.
func TestHowFastItIs(t *testing.T) {
	b := open(t, browser.Desktop)
	for name, url := range map[string]string{
		"a rollout with 240 points": serve(t, kinds) + "/rollouts/shop/checkout",
		"a list of 200":             serve(t, webtest.Fleet(web.MostRows)) + "/",
	} {
		b.visit(url)
		var painted []float64
		for range 9 {
			b.visit(url)
			b.until("something is painted", `performance.getEntriesByName("first-contentful-paint").length > 0`)
			painted = append(painted, ask[float64](b, `performance.getEntriesByName("first-contentful-paint")[0].startTime`))
		}
		slices.Sort(painted)
		bytes := ask[float64](b, `performance.getEntriesByType("navigation")[0].decodedBodySize + performance.getEntriesByType("resource").filter(r => /style|script/.test(r.name)).reduce((n, r) => n + r.decodedBodySize, 0)`)
		t.Logf("%s: first paint after %.0f ms (least %.0f, most %.0f of %d), %.0f bytes", name, painted[len(painted)/2], painted[0], painted[len(painted)-1], len(painted), bytes)
	}
	b.visit(serve(t, &restless{Source: webtest.Fleet(web.MostRows)}) + "/")
	const frames = `(async () => { let longest = 0, last = performance.now(); const end = last + 5000;
		while (last < end) { const now = await new Promise(requestAnimationFrame); longest = Math.max(longest, now - last); last = Math.max(now, last); }
		return longest; })()`
	longest, err := chromedp.Run(b.ctx, chromedp.Evaluate[float64](frames, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	if said := ask[string](b, `document.querySelector(".why").textContent`); !strings.Contains(said, "times") || said == "Looked at 1 times" {
		t.Errorf("nothing changes: %q", said)
	}
	t.Logf("200 rollouts that change every second: the longest frame takes %.0f ms", longest)
}
