package smoke_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"serin.dev/serin/pkg/smoke"
)

func parsed(t *testing.T, text string) smoke.Checks {
	t.Helper()
	checks, mistakes := smoke.Parse(text)
	if mistakes != nil {
		t.Fatal(mistakes)
	}
	return checks
}

// answered is an answer with a body and headers, name by name.
func answered(status int, took time.Duration, body string, header ...string) smoke.Answer {
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Add(header[i], header[i+1])
	}
	return smoke.Answer{Status: status, Took: took, Body: []byte(body), Header: h.Get}
}

func TestAnAnswerIsJudged(t *testing.T) {
	const ms = time.Millisecond
	cases := []struct {
		name, check string
		answer      smoke.Answer
		passed      bool
		seen        string
	}{
		{"a success", "GET /a", answered(204, 12*ms, ""), true, "204 in 12 ms"},
		{"a failure", "GET /a", answered(503, 12*ms, "down"), false, "503 in 12 ms, wanted 2xx"},
		{"a redirect is an answer", "GET /a", answered(302, 12*ms, ""), false, "302 in 12 ms, wanted 2xx"},
		{"a redirect that is wanted", "GET /a 302", answered(302, 12*ms, ""), true, "302 in 12 ms"},
		{"another success than the one that is wanted", "GET /a 201", answered(200, 12*ms, ""), false, "200 in 12 ms, wanted 201"},
		{"in time", "GET /a <300ms", answered(200, 299*ms, ""), true, "200 in 299 ms"},
		{"too late", "GET /a <300ms", answered(200, 300*ms, ""), false, "200 in 300 ms, wanted less than 300 ms"},
		{"with what is wanted", `GET /a contains "all is well" contains ok`, answered(200, ms, "ok, all is well"), true, "200 in 1 ms"},
		{"without it", "GET /a contains ok", answered(200, ms, "well"), false, `200 in 1 ms without "ok"; it begins with "well"`},
		{"without anything", "GET /a contains ok", answered(200, 0, ""), false, `200 in 0 ms without "ok"; it is empty`},
		{"a long answer is cut", "GET /a contains ok", answered(200, 12*time.Second, strings.Repeat("ä", 500)), false, `200 in 12.0 s without "ok"; it begins with "` + strings.Repeat("ä", 80) + `..."`},
		{"an answer that would steer a terminal", "GET /a contains ok", answered(200, ms, "\x1b[31m\r\nred\u202e\xff"), false, `200 in 1 ms without "ok"; it begins with "\x1b[31m red\u202e\xff"`},
		{"a taken value is contained", "GET /a take id=.id then GET /b contains {id}", answered(200, ms, "got 7"), true, "200 in 1 ms"},
		{"a taken value is missing", `GET /a take id=.id then GET /b contains "id={id};"`, answered(200, ms, "id=8;"), false, `200 in 1 ms without "id=7;"; it begins with "id=8;"`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			sequence := parsed(t, c.check)[0]
			seen, passed := sequence[len(sequence)-1].Judge(c.answer, map[string]string{"id": "7"})
			if seen != c.seen || passed != c.passed {
				t.Errorf("got  %s (%v)\nwant %s (%v)", seen, passed, c.seen, c.passed)
			}
		})
	}
	long := answered(200, ms, "x")
	long.Cut = true
	if seen, passed := parsed(t, "GET /a contains ok")[0][0].Judge(long, nil); passed || seen != `200 in 1 ms without "ok" in the 1 bytes that are read of it; it begins with "x"` {
		t.Errorf("of more than is read: %s", seen)
	}
}

func TestValuesAreTaken(t *testing.T) {
	const body = `{"id": 12345678901234567890, "name": "a/b", "on": true, "no": null, "items": [{"id": "x"}], "e": ""}`
	cases := []struct{ name, take, want, err string }{
		{"a number as it is written", "v=.id", "12345678901234567890", ""},
		{"a text", "v=.name", "a/b", ""},
		{"a truth", "v=.on", "true", ""},
		{"from a list", "v=.items[0].id", "x", ""},
		{"a header", "v=header:etag", `"abc"`, ""},
		{"where it went", "v=header:location", "/new/7", ""},
		{"no field", "v=.idd", "", "nothing at .idd"},
		{"null", "v=.no", "", "nothing at .no"},
		{"an empty text", "v=.e", "", "nothing at .e"},
		{"behind the list", "v=.items[1].id", "", "nothing at .items[1].id"},
		{"in a text", "v=.name.x[0]", "", "nothing at .name.x[0]"},
		{"an object", "v=.items[0]", "", "a list or an object at .items[0], wanted a text or a number"},
		{"no header", "v=header:x-none", "", "nothing at header:x-none"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			take := parsed(t, "GET /a take "+c.take)[0][0].Take[0]
			got, err := take.From(answered(200, 0, body, "ETag", `"abc"`, "Location", "https://elsewhere.example:99/new/7?x=1#y"), "/a")
			if got != c.want || (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	id := parsed(t, "GET /a take id=.id")[0][0].Take[0]
	cut := answered(200, 0, `{"id": 1}`)
	cut.Cut = true
	for name, a := range map[string]smoke.Answer{
		`no JSON; it begins with "<html>"`:                         answered(200, 0, "<html>"),
		"more than 512 bytes at .id":                               answered(200, 0, `{"id": "`+strings.Repeat("x", 513)+`"}`),
		"more than is read, so that no value can be taken from it": cut,
	} {
		if got, err := id.From(a, "/a"); got != "" || err == nil || err.Error() != name {
			t.Errorf("got %q, %v, want %s", got, err, name)
		}
	}
}

func TestWhereAnAnswerLeadsTo(t *testing.T) {
	loc := parsed(t, "GET /a take loc=header:location")[0][0].Take[0]
	for location, want := range map[string]string{
		"/items/7":                   "/items/7",
		"7":                          "/api/7",
		"../7":                       "/7",
		"?page=2":                    "/api/items",
		"https://elsewhere/x":        "/x",
		"//elsewhere/x":              "/x",
		"https://elsewhere":          "/",
		"https://u:p@elsewhere/%7Ex": "/%7Ex",
		"/../../etc":                 "/etc",
		"mailto:x@y":                 "",
		"/a//b":                      "",
		"//elsewhere//b":             "",
		"/a/%2e%2e/b":                "",
		"/a%0d%0aHost:%20x":          "",
		"%zz":                        "",
	} {
		got, err := loc.From(answered(201, 0, "", "Location", location), "/api/items?x=1")
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v", location, got, err)
		}
	}
}

func TestTakenValuesStayWhereTheyAre(t *testing.T) {
	const text = `GET /a take v=.v then POST /items/{v}/x?q={v} {"v": "{v}", "w": "\u007bv}"} then POST /b "is {v}"`
	sequence := parsed(t, text)[0]
	cases := []struct{ name, value, target, body, plain string }{
		{"a word", "x7", "/items/x7/x?q=x7", `{"v": "x7", "w": "\u007bv}"}`, "is x7"},
		{"a path", "a/b?c=d#e", "/items/a%2Fb%3Fc=d%23e/x?q=a%2Fb%3Fc%3Dd%23e", `{"v": "a/b?c=d#e", "w": "\u007bv}"}`, "is a/b?c=d#e"},
		{"another host", "http://metadata/", "/items/http:%2F%2Fmetadata%2F/x?q=http%3A%2F%2Fmetadata%2F", `{"v": "http://metadata/", "w": "\u007bv}"}`, "is http://metadata/"},
		{"quotes", `a"b\"`, "/items/a%22b%5C%22/x?q=a%22b%5C%22", `{"v": "a\"b\\\"", "w": "\u007bv}"}`, `is a"b\"`},
		{"another place", "{v}", "/items/%7Bv%7D/x?q=%7Bv%7D", `{"v": "{v}", "w": "\u007bv}"}`, "is {v}"},
		{"up", "..", "", "", "is .."},
		{"up, and on", "../secret", "", "", "is ../secret"},
		{"here", ".", "", "", "is ."},
		{"a line break", "x\r\nHost: y", "", "", "is x\r\nHost: y"},
		{"more than fits", strings.Repeat("/", 400), "", "", "is " + strings.Repeat("/", 400)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			values := map[string]string{"v": c.value}
			r, err := sequence[1].Fill(values)
			if r.Target != c.target || r.Body != c.body || (err == nil) != (c.target != "") {
				t.Errorf("got %+v, %v", r, err)
			}
			if err == nil && (r.Type != "application/json" || r.Method != http.MethodPost) {
				t.Errorf("got %+v", r)
			}
			if r, err := sequence[2].Fill(values); r.Body != c.plain || r.Type != "text/plain; charset=utf-8" || err != nil {
				t.Errorf("as a text: %+v, %v", r, err)
			}
		})
	}
	nothing, err := parsed(t, "POST /reindex")[0][0].Fill(nil)
	if nothing != (smoke.Request{Method: "POST", Target: "/reindex"}) || err != nil {
		t.Errorf("without a body: %+v, %v", nothing, err)
	}
	whole := parsed(t, "GET /a take loc=header:location then GET {loc}/x?y={loc}")[0][1]
	if r, err := whole.Fill(map[string]string{"loc": "/items/7"}); r.Target != "/items/7/x?y=%2Fitems%2F7" || err != nil {
		t.Errorf("a path that begins one: %+v, %v", r, err)
	}
}
