package prom

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func thePlace() Place {
	return Place{Namespace: "shop", Workload: "web-v2", Service: "web", Track: "canary"}
}

func TestTemplatesArePutIntoStringLiterals(t *testing.T) {
	for _, c := range []struct{ name, promql, want string }{
		{"after = the name itself", `queue{namespace="{{namespace}}", app="{{ workload }}"}`, `queue{namespace="shop", app="web-v2"}`},
		{"after =~ a pattern of it", `queue{app=~"{{workload}}|x.*", service!~'{{service}}-.+'}`, `queue{app=~"web-v2|x.*", service!~'web-.+'}`},
		{"pods", `queue{pod=~"{{pods}}"}`, `queue{pod=~"web-v2-[a-z0-9]+-[a-z0-9]+"}`},
		{"amid other text", `queue{version != "x-{{track}}-y"}`, `queue{version != "x-canary-y"}`},
		{"backquotes", "queue{app=`{{workload}}`}", "queue{app=`web-v2`}"},
		{"quotes within strings, and comments", "queue{a=\"'\\\"{}\", b='\"'} # it's\n + x{c=`\\`, d=\"{{track}}\"}", "queue{a=\"'\\\"{}\", b='\"'} # it's\n + x{c=`\\`, d=\"canary\"}"},
		{"without placeholders", `max(up)`, `max(up)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Template{Name: "m", Gauge: c.promql}.Queries(thePlace())
			if err != nil || len(got) != 1 || got["gauge"] != c.want {
				t.Errorf("got %v %v\nwant %s", got, err, c.want)
			}
		})
	}
}

func TestHostileNamesStayNames(t *testing.T) {
	p := thePlace()
	p.Namespace, p.Workload = `a"} or up{x="\`, `w.b'`
	got, err := Template{Name: "m", Bad: `bad{a="{{namespace}}",b='{{workload}}',c=~"{{workload}}"}`, Total: "t{a=`{{workload}}`}"}.Queries(p)
	want := `bad{a="a\"} or up{x=\"\\",b='w.b\'',c=~"w\\.b'"}`
	if err != nil || got["bad"] != want || got["total"] != "t{a=`w.b'`}" {
		t.Errorf("got %v %v\nwant %s", got, err, want)
	}
	p.Workload = "w`b"
	if _, err := (Template{Name: "m", Gauge: "t{a=`{{workload}}`}"}).Queries(p); err == nil || !strings.Contains(err.Error(), "write the literal with double quotes") {
		t.Errorf("%v", err)
	}
	p.Workload = ""
	if _, err := (Template{Name: "m", Gauge: `t{a="{{workload}}"}`}).Queries(p); err == nil || !strings.Contains(err.Error(), "a Kubernetes name is needed") {
		t.Errorf("%v", err)
	}
}

func TestATemplatesMistakesAreToldAllAtOnce(t *testing.T) {
	counter := `sum by (pod) (x_total{pod=~"{{pods}}"})`
	for _, c := range []struct {
		name string
		Template
		want []string
	}{
		{"nothing", Template{Name: "m"}, []string{`metric "m"`, "asks for nothing"}},
		{"a ratio and a gauge", Template{Name: "m", Gauge: "up", Total: counter}, []string{"a gauge and a ratio"}},
		{"good and bad", Template{Name: "m", Good: counter, Bad: counter, Total: counter}, []string{"both good and bad"}},
		{"only good, without a name", Template{Good: counter}, []string{"no name", "total is missing"}},
		{"only total", Template{Name: "m", Total: counter}, []string{"neither good nor bad"}},
		{
			"many at once", Template{Name: "m", Bad: `rate(x{a="{{pod}}"}[5m]) + INCREASE (y[1m])`, Total: `sum({{workload}}) # {{track}}`},
			[]string{
				"bad: the placeholder {{pod}} is unknown", "bad: rate() is no counter", "bad: INCREASE() is no counter",
				"bad: it doesn't tell the canary from stable",
				`total: the placeholder at "{{workload}}) " is outside of a string literal`, "is in a comment", "total: it doesn't tell",
			},
		},
		{"a string without end", Template{Name: "m", Gauge: `x{a="b}`}, []string{`gauge: the string that begins at "\"b}" doesn't end: close it with "`}},
		{"a string over two lines", Template{Name: "m", Gauge: "x{a=\"b\n\"}"}, []string{"doesn't end"}},
		{"an open placeholder", Template{Name: "m", Gauge: `x{a="{{track}"}`}, []string{"close it with }}"}},
		{"pods after =", Template{Name: "m", Gauge: `x{a="{{pods}}"}`}, []string{`write pod=~"{{pods}}"`}},
		{"a backslash before it", Template{Name: "m", Gauge: `x{a="\{{track}}"}`}, []string{"a backslash stands before {{track}}"}},
		{"an argument of a function", Template{Name: "m", Gauge: `label_replace(x, "a", "{{track}}", "", "")`}, []string{"no label's value"}},
		{"the name of a label", Template{Name: "m", Gauge: `x{"{{track}}"="a"}`}, []string{"no label's value"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.Check()
			if err == nil {
				t.Fatal("nothing is told")
			}
			if lines := strings.Count(err.Error(), "\n") + 1; lines != len(c.want) && c.name != "nothing" {
				t.Errorf("%d mistakes, not %d: %v", lines, len(c.want), err)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%v\ndoesn't say %s", err, w)
				}
			}
			if _, err := c.Queries(thePlace()); err == nil {
				t.Error("it can be used")
			}
		})
	}
	good := Template{Name: "m", Good: `rate_total{a="rate(",app="{{workload}}"}`, Total: counter}
	if err := good.Check(); err != nil {
		t.Errorf("%v", err)
	}
	if err := (Template{Name: "m", Gauge: `max(rate(x{pod=~"{{pods}}"}[1m]))`}).Check(); err != nil {
		t.Errorf("a gauge may be a rate: %v", err)
	}
}

// FuzzTemplate: whatever a name is, each literal is one, and its value is the
// name or a pattern that matches the name and nothing else.
func FuzzTemplate(f *testing.F) {
	for _, name := range []string{"web-v1", `"} or up{a="`, `\`, "a|b", ".*", "é\n\x00", "'", "`", "\u2028\ufffd", "{{track}}"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		p := Place{Namespace: name, Workload: name, Service: name, Track: name}
		for _, quote := range []string{`"`, `'`, "`"} {
			q, err := Template{Name: "m", Gauge: "x{a=" + quote + "{{service}}" + quote + ",b=~" + quote + "{{workload}}" + quote + "}"}.Queries(p)
			if err != nil {
				continue
			}
			rest, ok := strings.CutPrefix(q["gauge"], "x{a=")
			body, ended := literal(rest)
			if !ok || !ended || unquote(t, rest[:len(body)+2]) != name {
				t.Fatalf("%s isn't %q", q["gauge"], name)
			}
			rest, ok = strings.CutPrefix(rest[len(body)+2:], ",b=~")
			body, ended = literal(rest)
			if !ok || !ended || rest[len(body)+2:] != "}" {
				t.Fatalf("%s is of another form", q["gauge"])
			}
			re := regexp.MustCompile("^(?s:" + unquote(t, rest[:len(body)+2]) + ")$")
			if !re.MatchString(name) || re.MatchString(name+"x") || re.MatchString("x"+name) {
				t.Errorf("%s doesn't match %q alone", re, name)
			}
		}
	})
}

// unquote reads a literal as PromQL does: Go's strings, of any length between
// single quotes too.
func unquote(t *testing.T, literal string) string {
	t.Helper()
	if literal[0] == '`' {
		return literal[1 : len(literal)-1]
	}
	var out strings.Builder
	for rest := literal[1 : len(literal)-1]; rest != ""; {
		r, multi, tail, err := strconv.UnquoteChar(rest, literal[0])
		if err != nil {
			t.Fatalf("%s: %v", literal, err)
		}
		if multi || r < 0x80 {
			out.WriteRune(r)
		} else {
			out.WriteByte(byte(r))
		}
		rest = tail
	}
	return out.String()
}
