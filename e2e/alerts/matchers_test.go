package alerts

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/prometheus/alertmanager/matcher/parse"
	"github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/common/model"

	"serin.dev/serin/pkg/gate/alertmanager/matcher"
)

// samples are sets of labels on which both have to agree.
var samples = []map[string]string{
	nil,
	{"a": "b"},
	{"a": "b", "c": "d"},
	{"a": "", "c": "x"},
	{"alertname": "CheckoutSlow", "namespace": "shop", "severity": "critical"},
	{"größe": "x", "a b": "c", "a": "x\ny"},
	{"a": `\`, "c": `"`},
}

// theirs is what Alertmanager makes of a text.
func theirs(text string) (labels.Matchers, bool) {
	m, err := parse.Matchers(text)
	return m, err == nil
}

// ours is what Serin makes of it; a text that only Serin knows is none.
func ours(text string) (matcher.Rule, bool) {
	rule, mistakes := matcher.Parse(text)
	return rule, len(mistakes) == 0 && !rule.Default && len(rule.Sets) == 1
}

// stricter reports whether Serin refuses on purpose what Alertmanager takes: what every
// alert matches, and a label without a name.
func stricter(all labels.Matchers) bool {
	without := slices.DeleteFunc(slices.Clone(all), func(m *labels.Matcher) bool { return m.Name == "" })
	return len(all) == 0 || len(without) < len(all) || all.Matches(model.LabelSet{})
}

func same(t *testing.T, text string) {
	t.Helper()
	if strings.Contains(text, ";") || placeholder(text) || strings.TrimSpace(text) == matcher.Default {
		return // Serin's own
	}
	if !utf8.ValidString(text) || len(text) > matcher.MaxBytes || strings.Count(text, ",") >= matcher.MaxMatchers {
		return // beyond its bounds
	}
	all, valid := theirs(text)
	rule, taken := ours(text)
	if valid && stricter(all) {
		valid = false
	}
	if valid != taken {
		_, mistakes := matcher.Parse(text)
		t.Fatalf("%q: Alertmanager takes it: %t; Serin: %t %v", text, valid, taken, mistakes)
	}
	if !valid {
		return
	}
	again, valid := theirs(rule.String())
	if !valid {
		t.Fatalf("%q is written as %q, which Alertmanager does not take", text, rule)
	}
	for _, sample := range samples {
		set := model.LabelSet{}
		for name, value := range sample {
			set[model.LabelName(name)] = model.LabelValue(value)
		}
		want := all.Matches(set)
		if got := rule.For(nil)(maps.Clone(sample)); got != want || again.Matches(set) != want {
			t.Errorf("%q on %v: Alertmanager says %t, Serin %t, and Alertmanager of what Serin writes %t", text, sample, want, got, again.Matches(set))
		}
	}
}

// placeholder reports whether a word stands in braces somewhere.
func placeholder(text string) bool {
	for rest := text; ; {
		_, after, found := strings.Cut(rest, "{")
		if !found {
			return false
		}
		word, _, closed := strings.Cut(after, "}")
		if closed && word != "" && strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_") == "" {
			return true
		}
		rest = after
	}
}

var texts = []string{
	`a=b`, `a="b"`, `{a="b"}`, `{a="b",}`, `a=b,`, `a=b, c!=d`, `a=~"b|x"`, `a=~b.*`, `a!~"x+", c=d`, `"a b"=c`, `größe=x`, `a="\u00fc"`, `a="x\ny"`, `a="\\"`, `c="\""`,
	`a`, `a=`, `=b`, `a==b`, `a=b c=d`, `a=b,,c=d`, `,`, `{`, `}`, `{}`, ``, `{a=b`, `a=b}`, `{a=b}}`, `{a=b} c`, `a="b`, `a='b'`, "a=`b`", `a="\x"`, `a="\xff"`, `a=~"("`, `a=~(`, `a=~")("`, `a=~""`,
	`a!=b`, `a=""`, `a=~".*"`, `""=b`, `a=b|c`, `a=b.c-d_e/f:g`, `a!b`, `a!`, `a~b`, `a=\`, `default`, `default=x`, `alertname=~"Check.*",severity="critical"`, "a=b\n,c=d", "\ta = b ", `a="{2}"`, `a=~"[0-9]{2}"`,
}

func TestMatchersAreReadAsAlertmanagerReadsThem(t *testing.T) {
	taken := 0
	for _, text := range texts {
		same(t, text)
		if _, is := ours(text); is {
			taken++
		}
	}
	if taken < 20 || taken > len(texts)-20 {
		t.Errorf("%d of %d are taken", taken, len(texts))
	}
}

func FuzzMatchersAreReadAsAlertmanagerReadsThem(f *testing.F) {
	for _, text := range texts {
		f.Add(text)
	}
	f.Fuzz(same)
}
