package web_test

import (
	"context"
	"errors"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/web"
	"serin.dev/serin/pkg/web/webtest"
)

var update = flag.Bool("update", false, "write the golden files")

func now() time.Time { return webtest.Now }

// page is one over the source, at a time that stands still.
func page(source web.Source, change ...func(*web.Options)) http.Handler {
	o := web.Options{Source: source, Title: "staging", Version: "v1.2.3", Now: now}
	for _, c := range change {
		c(&o)
	}
	return web.Handler(o)
}

// ask asks as a browser on this machine does.
func ask(h http.Handler, path string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, http.NoBody)
	r.Host = "localhost:9092"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// hostile closes whatever HTML or JavaScript it is put into, and turns the
// direction of writing.
const hostile = "</script>\"'><img src=x onerror=alert(1)>\u202e{{.}}\x1b[2J`&amp;\xff"

func TestThePageIsAsInTheFile(t *testing.T) {
	for name, c := range map[string]struct {
		source web.Source
		path   string
	}{
		"moving":       {webtest.Source{webtest.Moving(24)}, "/rollouts/shop/checkout"},
		"rolled-back":  {webtest.Source{webtest.RolledBack()}, "/rollouts/shop/cart"},
		"blocked":      {webtest.Source{webtest.Blocked()}, "/rollouts/billing/invoices"},
		"inconclusive": {webtest.Source{webtest.Inconclusive()}, "/rollouts/shop/search"},
		"approval":     {webtest.Source{webtest.Approval()}, "/rollouts/shop/orders"},
		"mirrored":     {webtest.Source{webtest.Mirrored()}, "/rollouts/shop/basket"},
		"unverified":   {webtest.Source{webtest.Unverified()}, "/rollouts/shop/payments"},
		"list-safety":  {webtest.Source{webtest.Approval(), webtest.Mirrored(), webtest.Unverified(), webtest.Moving(2)}, "/"},
		"nothing":      {webtest.Source{webtest.Nothing()}, "/rollouts/shop/web"},
		"unknown":      {webtest.Source{}, "/rollouts/shop/web"},
		"hostile":      {anyName{webtest.Hostile(hostile)}, "/rollouts/shop/web"},
		"list":         {webtest.Fleet(6), "/"},
		"list-empty":   {webtest.Source{}, "/"},
		"list-hostile": {webtest.Source{webtest.Hostile(hostile)}, "/"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ask(page(c.source), c.path).Body.String()
			golden := filepath.Join("testdata", name+".html")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("the page is other than %s; look at it, and write it by -update\n%s", golden, firstDifference(got, string(want)))
			}
		})
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return "got  " + g[i] + "\nwant " + w[i]
		}
	}
	return "one ends before the other"
}

// anyName answers with the same rollout, whatever is asked for.
type anyName struct{ detail canary.Detail }

func (a anyName) Views(context.Context) ([]canary.View, error) {
	return []canary.View{a.detail.View}, nil
}

func (a anyName) Detail(context.Context, string, string) (canary.Detail, error) {
	return a.detail, nil
}

func FuzzWhateverIsWrittenIsShownAsText(f *testing.F) {
	f.Add(hostile)
	f.Add("plain")
	f.Add("\r\n\x00")
	f.Fuzz(func(t *testing.T, text string) {
		const marker = "qzx<zq>" // stands for itself nowhere but in the text
		h := page(anyName{webtest.Hostile(marker + text)})
		for _, path := range []string{"/", "/rollouts/shop/web"} {
			got := ask(h, path).Body.String()
			if !utf8.ValidString(got) {
				t.Errorf("%s is no UTF-8", path)
			}
			if !strings.Contains(got, "qzx&lt;zq&gt;") {
				t.Errorf("%s does not show the text", path)
			}
			if err := onlyOurs(got); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
	})
}

// onlyOurs tells of text of others that became more than text: an element, an
// attribute or a character that steers.
func onlyOurs(html string) error {
	if strings.Contains(html, "qzx<zq>") {
		return errors.New("text is not escaped")
	}
	if plain := ask(page(anyName{webtest.Hostile("x")}), "/rollouts/shop/web").Body.String() + ask(page(anyName{webtest.Hostile("x")}), "/").Body.String(); strings.Count(html, "<script") > strings.Count(plain, "<script") {
		return errors.New("there is one more script")
	}
	if strings.Contains(html, "<img") {
		return errors.New("there is an image, and no page has any")
	}
	for _, r := range html {
		if r < ' ' && r != '\n' && r != '\t' || r == '\u202e' {
			return errors.New("a character steers what is shown")
		}
	}
	return nil
}

// The check above fires where text is not escaped.
func TestTextThatIsNotEscapedIsFound(t *testing.T) {
	for _, bad := range []string{"<p>qzx<zq></p>", "<p><img src=x></p>", "<p>\u202e</p>", "<p>\x1b</p>", strings.Repeat("<script>", 9)} {
		if onlyOurs(bad) == nil {
			t.Errorf("%q passes", bad)
		}
	}
}

// compressed is how many bytes of a page are sent to a browser, all of which take
// them compressed.
func compressed(t *testing.T, h http.Handler, path string) int {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "http://localhost"+path, nil)
	r.Header.Set("Accept-Encoding", "gzip")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusOK || w.Header().Get("Content-Encoding") != "gzip" {
		t.Errorf("%s is answered %d, as %q", path, w.Code, w.Header().Get("Content-Encoding"))
	}
	return w.Body.Len()
}

// Counted, not timed: what a browser loads for a first look; only the long list needs
// compression for that.
func TestTheFirstLoadIsSmall(t *testing.T) {
	const budget = 60_000
	fixed := ask(page(webtest.Source{}), "/style.css").Body.Len() + ask(page(webtest.Source{}), "/script.js").Body.Len()
	one := ask(page(webtest.Source{webtest.Moving(canary.MaxPoints)}), "/rollouts/shop/checkout").Body.Len() + fixed
	if one > budget {
		t.Errorf("a rollout with %d points loads %d bytes, at most %d may be", canary.MaxPoints, one, budget)
	}
	if script := ask(page(webtest.Source{}), "/script.js").Body.Len(); script > 4096 {
		t.Errorf("the script has %d bytes, at most 4096 may be", script)
	}
	list := compressed(t, page(webtest.Fleet(web.MostRows)), "/") + fixed
	if list > budget {
		t.Errorf("a list of %d loads %d bytes, at most %d may be", web.MostRows, list, budget)
	}
	t.Logf("a rollout with %d points: %d bytes; a list of %d: %d bytes; of both, style and script: %d bytes", canary.MaxPoints, one, web.MostRows, list, fixed)
}

func TestOfTenThousandTwoHundredAreShown(t *testing.T) {
	h := page(webtest.Fleet(10_000))
	all := ask(h, "/").Body.String()
	if got := strings.Count(all, "<tr id="); got != web.MostRows {
		t.Errorf("%d rows are sent", got)
	}
	for _, part := range []string{"Shown are the first 200 of 10 000", "2 000 moving", "4 000 waiting for somebody", "4 000 at rest"} {
		if !strings.Contains(all, part) {
			t.Errorf("it doesn't say %q", part)
		}
	}
	one := ask(h, "/?q=checkout-4000+progressing").Body.String()
	if got := strings.Count(one, "<tr id="); got != 1 || !strings.Contains(one, "match the filter") {
		t.Errorf("the filter finds %d", got)
	}
}

func TestWhatMovesStandsFirst(t *testing.T) {
	got := ask(page(webtest.Source{webtest.Nothing(), webtest.Blocked(), webtest.Moving(0), webtest.RolledBack()}), "/").Body.String()
	at := -1
	for _, id := range []string{"row-shop-checkout", "row-billing-invoices", "row-shop-cart", "row-shop-web"} {
		next := strings.Index(got, id)
		if next <= at {
			t.Errorf("%s stands at %d, after %d", id, next, at)
		}
		at = next
	}
}

// A gap in what was measured is a gap in the lines.
func TestAGapIsAGap(t *testing.T) {
	got := ask(page(webtest.Source{webtest.Moving(24)}), "/rollouts/shop/checkout").Body.String()
	_, path, _ := strings.Cut(got, `class="canary" d="`)
	path, _, _ = strings.Cut(path, `"`)
	if n := strings.Count(path, "M"); n != 2 {
		t.Errorf("the canary's line has %d pieces, want two: %s", n, path)
	}
}
