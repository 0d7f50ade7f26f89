package smoke_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"serin.dev/serin/pkg/smoke"
)

func TestChecks(t *testing.T) {
	ok := smoke.Status{Low: 200, High: 299}
	only := func(code int) smoke.Status { return smoke.Status{Low: code, High: code} }
	cases := []struct {
		name, text string
		want       smoke.Checks
	}{
		{"a path alone wants any success", "GET /healthz", smoke.Checks{{{Method: "GET", Path: "/healthz", Status: ok}}}},
		{"all that can be wanted", `GET /api/items?full=1 200 <300ms contains ok contains "two words"`, smoke.Checks{{{
			Method: "GET", Path: "/api/items?full=1", Status: only(200), Within: 300 * time.Millisecond,
			Contains: []smoke.Template{`"ok"`, `"two words"`},
		}}}},
		{"the order is free, and so is the space", "GET  /a\n contains ok < 2s 2xx", smoke.Checks{{{Method: "GET", Path: "/a", Status: ok, Within: 2 * time.Second, Contains: []smoke.Template{`"ok"`}}}}},
		{"a class of statuses", "GET /gone 4xx", smoke.Checks{{{Method: "GET", Path: "/gone", Status: smoke.Status{Low: 400, High: 499}}}}},
		{"sequences stand beside each other", "GET /a; GET /b", smoke.Checks{{{Method: "GET", Path: "/a", Status: ok}}, {{Method: "GET", Path: "/b", Status: ok}}}},
		{"JSON holds what would end a check", `POST /a {"a": "x; y then z", "b": [1, {"c": null}]} 201; GET /b`, smoke.Checks{
			{{Method: "POST", Path: "/a", Body: `{"a": "x; y then z", "b": [1, {"c": null}]}`, Status: only(201)}}, {{Method: "GET", Path: "/b", Status: ok}},
		}},
		{"a list", `POST /a [1,2]`, smoke.Checks{{{Method: "POST", Path: "/a", Body: "[1,2]", Status: ok}}}},
		{"a text", `POST /a "x; \"y\"" 200`, smoke.Checks{{{Method: "POST", Path: "/a", Body: `"x; \"y\""`, Status: only(200)}}}},
		{"nothing is sent", `POST /reindex 202`, smoke.Checks{{{Method: "POST", Path: "/reindex", Status: only(202)}}}},
		{"a value goes from one answer into the next", `POST /items {"n":1} 201 take id=.items[0].id take loc=header:Location then GET /items/{id}?of={id} contains {id} then GET {loc}/parts`, smoke.Checks{{
			{Method: "POST", Path: "/items", Body: `{"n":1}`, Status: only(201), Take: []smoke.Take{
				{Name: "id", Path: []smoke.Key{{Field: "items"}, {Index: 0}, {Field: "id"}}}, {Name: "loc", Header: "location"},
			}},
			{Method: "GET", Path: "/items/{id}?of={id}", Status: ok, Contains: []smoke.Template{`"{id}"`}},
			{Method: "GET", Path: "{loc}/parts", Status: ok},
		}}},
		{"a list at the root", `GET /a take x=.[2].y take z=[3]`, smoke.Checks{{{Method: "GET", Path: "/a", Status: ok, Take: []smoke.Take{
			{Name: "x", Path: []smoke.Key{{Index: 2}, {Field: "y"}}}, {Name: "z", Path: []smoke.Key{{Index: 3}}},
		}}}}},
		{"a brace that is one", `POST /a {"t":"\u007bname}"} contains "\u007bname}"`, smoke.Checks{{{Method: "POST", Path: "/a", Body: `{"t":"\u007bname}"}`, Status: ok, Contains: []smoke.Template{`"\u007bname}"`}}}}},
		{"words of the language may be contained", `GET /a contains then contains "take"`, smoke.Checks{{{Method: "GET", Path: "/a", Status: ok, Contains: []smoke.Template{`"then"`, `"take"`}}}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, mistakes := smoke.Parse(c.text)
			if mistakes != nil || !reflect.DeepEqual(got, c.want) {
				t.Fatalf("got  %#v, %v\nwant %#v", got, mistakes, c.want)
			}
			again, mistakes := smoke.Parse(got.String())
			if mistakes != nil || !reflect.DeepEqual(again, got) {
				t.Errorf("%s is read back as %#v, %v", got, again, mistakes)
			}
		})
	}
}

func TestMistakes(t *testing.T) {
	const no = `has "`
	cases := []struct {
		name, text string
		want       string
		at         int
	}{
		{"another method", "GET /a; PUT /b", no + `PUT" at character 9, which is neither GET nor POST; begin each check with one of them`, 9},
		{"a small method", "get /a", no + `get" at character 1, which is not in capitals; write GET`, 1},
		{"no method", "/a", no + `/a" at character 1, before which the method is missing; write "GET /a"`, 1},
		{"no path", "GET", `has no path behind GET at character 4; write one, like "GET /healthz"`, 4},
		{"a status in place of a path", "GET 200", no + `200" at character 5, which is no path; write one that begins with a slash`, 5},
		{"another host", "GET http://metadata/", no + `http://metadata/" at character 5, which names a host, though checks go to the release's own pods alone; write what follows the host`, 5},
		{"another host without a scheme", "GET //metadata/", `which names a host`, 5},
		{"up and away", "GET /a/../b", `which has an empty part, or one of dots alone`, 5},
		{"up and away in disguise", "GET /a/%2e%2E/b", `which has an empty part, or one of dots alone`, 5},
		{"up and away behind a slash in disguise", "GET /a%2f..%5cb", `which has an empty part, or one of dots alone`, 5},
		{"a path to nowhere", "GET /a//b", `which has an empty part`, 5},
		{"a line break in disguise", "GET /a%0d%0aHost:x", `which has an empty part, or one of dots alone`, 5},
		{"a fragment", "GET /a#b", `which has a fragment, and that is never sent`, 5},
		{"a sign that must be escaped", `GET /a"b`, `which has signs that can't stand in an address; write them as escapes`, 5},
		{"half an escape", `GET /a%2`, `which has signs that can't stand in an address`, 5},
		{"a letter beyond ASCII", `GET /ä`, no + `/ä" at character 5, which has signs`, 5},
		{"GET with JSON", `GET /a {"b":1}`, no + `{\"b\":1}" at character 8, which GET doesn't send; write POST, or take it away`, 8},
		{"two bodies", `POST /a {} "b"`, no + `\"b\"" at character 12, though there is a body already`, 12},
		{"JSON without an end", `POST /a {"b":1; GET /c`, `at character 9, which is no JSON: invalid character ';'`, 9},
		{"a text without an end", `GET /a contains "ok`, `at character 17, which is no JSON: it has no end; write a text in double quotes`, 17},
		{"a value outside of quotes", `POST /a {"b":{id}}`, `which is no JSON: invalid character 'i'`, 9},
		{"a status that isn't", "GET /a 99", no + `99" at character 8, which is nothing that can be wanted; write a status like 200 or 2xx`, 8},
		{"a status of no answer", "GET /a 101", `which is nothing that can be wanted`, 8},
		{"two statuses", "GET /a 200 2xx", no + `2xx" at character 12, though a status is given already; write one of them`, 12},
		{"two times", "GET /a <1s <2s", `though a time is given already`, 12},
		{"a time without a unit", "GET /a <300", no + `<300" at character 8, which is no time; write for example <300ms`, 8},
		{"too little time", "GET /a <1us", `which is not between 1ms and 1m`, 8},
		{"too much time", "GET /a <2m", `which is not between 1ms and 1m`, 8},
		{"contains what", "GET /a contains", no + `contains" at character 8, with nothing behind it`, 8},
		{"contains nothing", `GET /a contains ""`, `which every answer contains`, 17},
		{"take what", "GET /a take", no + `take" at character 8, with nothing behind it; write for example "take id=.id"`, 8},
		{"take without a name", "GET /a take .id", no + `.id" at character 13, which has no name of letters and digits before a =`, 13},
		{"take from a word", "GET /a take id=id", `which leads nowhere in JSON`, 13},
		{"take from a header of no name", "GET /a take id=header:", `which names no header`, 13},
		{"take twice", "GET /a take id=.id then GET /b take id=.x", `though this sequence takes id already; give it another name`, 37},
		{"a value nobody took", "GET /a/{id}", no + `{id}" at character 5, which no check before it in the same sequence takes; take it there`, 5},
		{"a value of another sequence", "GET /a take id=.id; GET /b/{id}", `which no check before it in the same sequence takes`, 25},
		{"a value of the same check", "GET /a/{id} take id=.id", `which no check before it in the same sequence takes`, 5},
		{"a value nobody took in JSON", `POST /a {"b":"{id}"}`, `which no check before it in the same sequence takes`, 9},
		{"a value that is no path", "GET /a take id=.id then GET {id}", `which begins with a value that is no path; write "/{id}", or take it from header:location`, 29},
		{"another path", "GET /a /b", no + `/b" at character 8, though the check has a path already; write "then GET" or "; GET" before it`, 8},
		{"another check", "GET /a GET /b", no + `GET" at character 8, which begins another check; write "then GET"`, 8},
		{"nothing behind then", "GET /a then", `has no check at character 12`, 12},
		{"nothing before then", "then GET /a", no + `then" at character 1, with no check before it`, 1},
		{"nothing between", "GET /a;; GET /b", `has no check at character 8`, 8},
		{"nothing at the end", "GET /a;", `has no check at character 8`, 8},
		{"nothing at all", " ", `has no check at character 2`, 2},
		{"too many", strings.Repeat("GET /a;", 10) + "GET /a", `has more than 10 checks from character 71 on; keep those without which no user should come`, 71},
		{"a bell", "GET /a\a", `has something at character 7 that is not to be printed; take it away`, 7},
		{"no UTF-8", "GET /\xff", `has something at character 6 that is not to be printed`, 6},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			checks, mistakes := smoke.Parse(c.text)
			if checks != nil || len(mistakes) == 0 {
				t.Fatalf("got %v, %v", checks, mistakes)
			}
			got := mistakes[0].Problem + "; " + mistakes[0].Mend
			if !strings.Contains(got, c.want) || mistakes[0].At != c.at {
				t.Errorf("got  %s (at %d)\nwant %s (at %d)", got, mistakes[0].At, c.want, c.at)
			}
			if len(mistakes) > 1 {
				t.Errorf("one mistake is told as %v", mistakes)
			}
		})
	}
}

func TestAllMistakesAreToldAtOnce(t *testing.T) {
	_, mistakes := smoke.Parse(`put /a 20; GET http://b/ <1 contains; POST /c take =x {"d":} 200; GET`)
	var got []string
	for _, m := range mistakes {
		got = append(got, fmt.Sprintf("%d: %s", m.At, m.Problem))
	}
	want := []string{
		`1: has "put" at character 1, which is neither GET nor POST`,
		`8: has "20" at character 8, which is nothing that can be wanted`,
		`16: has "http://b/" at character 16, which names a host, though checks go to the release's own pods alone`,
		`26: has "<1" at character 26, which is no time`,
		`29: has "contains" at character 29, with nothing behind it`,
		`52: has "=x" at character 52, which has no name of letters and digits before a =`,
		`55: has "{\"d\":} 200; GET" at character 55, which is no JSON: invalid character '}' looking for beginning of value`,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}
