// Package page looks at the page as people do, in a real browser: how it reads on
// several screens, and what it shows while releases happen on the real stack.
package page

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"serin.dev/serin/e2e/build"
	"serin.dev/serin/e2e/page/browser"
)

var pictures = flag.String("pictures", "", "`folder` for pictures of the page as the tests go (default: none)")

// found is the browser of all tests.
var found browser.Browser

func TestMain(m *testing.M) {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cache, err := build.Cache()
	if err == nil {
		found, err = browser.Find(ctx, cache, os.Stderr)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "page:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// patience is how long something may take that has to happen. It judges nothing.
const patience = 2 * time.Minute

// tab is a window of the browser.
type tab struct {
	*testing.T
	ctx context.Context
}

// open opens a browser of this test's own.
func open(t *testing.T, s browser.Screen) *tab {
	t.Helper()
	ctx, done, err := found.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(done)
	b := &tab{t, ctx}
	b.use(s)
	return b
}

func (b *tab) use(s browser.Screen) {
	b.Helper()
	if err := s.Use(b.ctx); err != nil {
		b.Fatal(err)
	}
}

func (b *tab) visit(url string) {
	b.Helper()
	if err := chromedp.Do(b.ctx, chromedp.Navigate(url)); err != nil {
		b.Fatal(err)
	}
}

func (b *tab) do(what string, actions ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.Fatalf("%s: %v; the page says\n%s", what, err, ask[string](b, "document.body.innerText"))
	}
}

// click presses the mouse in the middle of an element, which people see: the library's
// own click waits for a page that doesn't change, and this one does.
func (b *tab) click(selector string) {
	b.Helper()
	b.until(selector+" is seen", fmt.Sprintf(`document.querySelector(%q)?.checkVisibility() ?? false`, selector))
	at := ask[[]float64](b, fmt.Sprintf(`(() => { const e = document.querySelector(%q); e.scrollIntoView({block: "center"}); const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()`, selector))
	b.do("click "+selector, chromedp.MouseClickXY(at[0], at[1]))
}

// ask evaluates JavaScript.
func ask[T any](b *tab, script string) T {
	b.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](script))
	if err != nil {
		b.Fatalf("%s: %v", script, err)
	}
	return v
}

// until waits until JavaScript holds.
func (b *tab) until(what, script string) {
	b.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if ask[bool](b, script) {
			return
		}
		select {
		case <-b.Context().Done():
			b.Fatal(context.Cause(b.Context()))
		case <-time.After(100 * time.Millisecond):
		}
	}
	b.Fatalf("it never shows that %s; the page says\n%s", what, ask[string](b, "document.body.innerText"))
}

// picture keeps how the page looks now, if somebody wants to see it.
func (b *tab) picture(name string) {
	b.Helper()
	if *pictures == "" {
		return
	}
	if err := browser.Picture(b.ctx, *pictures+"/"+name+".png"); err != nil {
		b.Error(err)
	}
}
