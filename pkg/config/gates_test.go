package config_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"serin.dev/serin/pkg/annotation"
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/config"
)

var (
	atStart  = []canary.Stage{canary.BeforeStart}
	progress = []canary.Stage{canary.BeforeStart, canary.BeforeStep, canary.BeforePromotion}
)

func TestGates(t *testing.T) {
	got, err := load(`
alertmanager: {urls: [http://alertmanager.monitoring:9093]}
gates:
  hours:
    type: window
    open: "Mon-Thu 09:00-16:00, Fri 09:00-12:00"
    zone: Europe/Berlin
    closed: ["2026-12-24..2027-01-02"]
  migration:
    type: webhook
    at: [before-rollback, before-start]
    url: http://gates.shop:8080/migration?team=shop
    plaintext: true
    credentials: /run/key
    ca: /run/ca.crt
    timeout: 3s
  security:
    type: harbor
    url: https://harbor.example.com
    credentials: /run/harbor
    registries: [harbor.example.com, "registry.example.com:5000"]
    low: 1000
    high: 3 else approval
    critical: 0
    medium: 20  else  deny
    scanned: true
    maxAge: 7d
    signed: cosign
  freeze:
    type: alertmanager
    at: [before-start]
    matchers: alertname="ReleaseFreeze"
`)
	if err != nil {
		t.Fatal(err)
	}
	want := []config.Gate{
		{Name: "freeze", Type: config.GateAlertmanager, At: atStart, Timeout: 10 * time.Second, Matchers: `alertname="ReleaseFreeze"`},
		{Name: "hours", Type: config.GateWindow, At: progress, Timeout: 10 * time.Second, Open: "Mon-Thu 09:00-16:00, Fri 09:00-12:00", Zone: "Europe/Berlin", Closed: []string{"2026-12-24..2027-01-02"}},
		{
			Name: "migration", Type: config.GateWebhook, At: []canary.Stage{canary.BeforeStart, canary.BeforeRollback}, Timeout: 3 * time.Second,
			URL: "http://gates.shop:8080/migration?team=shop", Plaintext: true, Credentials: "/run/key", CA: "/run/ca.crt",
		},
		{
			Name: "security", Type: config.GateHarbor, At: atStart, Timeout: 10 * time.Second, URL: "https://harbor.example.com", Credentials: "/run/harbor",
			Registries: []string{"harbor.example.com", "registry.example.com:5000"}, Scanned: true, MaxAge: 7 * 24 * time.Hour, Signed: "cosign",
			Limits: []config.Limit{
				{Severity: "critical", Most: 0, Beyond: canary.Deny}, {Severity: "high", Most: 3, Beyond: canary.Approve},
				{Severity: "medium", Most: 20, Beyond: canary.Deny}, {Severity: "low", Most: 1000, Beyond: canary.Deny},
			},
		},
	}
	if !reflect.DeepEqual(got.Gates, want) {
		t.Errorf("got  %+v\nwant %+v", got.Gates, want)
	}
	if v := got.Vocabulary().Gates; len(v) != 4 || v[1].Name != "hours" || !slices.Equal(v[1].Stages, progress) {
		t.Errorf("annotations may name %+v", v)
	}
}

func TestWithoutGatesAnyMayBeNamedWhereNobodyKnows(t *testing.T) {
	c := config.Default()
	if c.Vocabulary().Gates != nil || c.GateVocabulary() == nil || len(c.GateVocabulary()) > 0 {
		t.Errorf("got %v and %v", c.Vocabulary().Gates, c.GateVocabulary())
	}
}

func TestGatesMayBeADefault(t *testing.T) {
	const gates = "\ngates: {hours: {type: window, open: Mon 09:00-10:00, zone: UTC}}\n"
	c, err := load("defaults: {gates: hours, bake: 1m}" + gates + "judge: {mode: threshold}")
	if err != nil || !reflect.DeepEqual(c.Defaults.Gates, []canary.GateUse{{Name: "hours", Stages: progress}}) || c.Defaults.Bake != time.Minute || c.Defaults.Rules.Mode != "threshold" {
		t.Errorf("got %+v, %v", c.Defaults, err)
	}
	for text, want := range map[string]string{
		"defaults: {gates: hour}" + gates: `defaults.gates: "hour" names the gate "hour", which is not defined; known are hours`,
		"defaults: {gates: hours}":        `defaults.gates: "hours" names the gate "hours", which is not defined; there is none: define it under gates`,
	} {
		if _, err := load(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	// A gate that is defined wrongly is one mistake, not two.
	_, err = load("defaults: {gates: hours}\ngates: {hours: {type: window, open: x, zone: UTC}}")
	if got := annotation.Mistakes(err); err == nil || len(got) != 1 || strings.Contains(err.Error(), "not defined") {
		t.Errorf("got %v", err)
	}
}

// What the example shows of gates stands in comments; it has to be right, too.
func TestTheExampleOfGatesIsValid(t *testing.T) {
	_, below, found := strings.Cut(config.Example(), "gates: {}\n")
	var text strings.Builder
	for line := range strings.Lines(below) {
		shown, comment := strings.CutPrefix(line, "#")
		if !comment {
			break
		}
		text.WriteString(shown)
	}
	c, err := load("alertmanager: {urls: [http://a:9093]}\ngates:\n" + text.String())
	if !found || err != nil || len(c.Gates) != len(config.GateTypes()) {
		t.Errorf("got %+v, %v of\n%s", c.Gates, err, text.String())
	}
}

func TestMistakesInGates(t *testing.T) {
	const hook = "type: webhook, at: [before-start], url: 'https://g.example.com', credentials: /run/k"
	cases := []struct{ name, text, want string }{
		{"gates as a list", "gates: [a]", `gates: a list or mapping is no mapping; write a name below it, indented, and below that its type`},
		{"a gate as a word", "gates: {g: window}", `gates.g: "window" is no mapping; write the fields below it, indented, first of all its type`},
		{"a gate's name", "gates: {G: {" + hook + "}}", `gates.G: a gate can't have this name; write lower-case letters, digits and "-"`},
		{"a gate named none", "gates: {none: {" + hook + "}}", `gates.none: a gate can't have this name`},
		{"no type", "gates: {g: {url: x}}", `gates.g.type: nothing is none of the choices; write webhook or harbor or alertmanager or window`},
		{"a near type", "gates: {g: {type: windows}}", `gates.g.type: "windows" is none of the choices; did you mean "window"?`},
		{"a field of another type", "gates: {g: {" + hook + ", open: Mon 09:00-10:00}}", `gates.g.open: there is no such field of webhook; known here are type, at, url, credentials, ca, plaintext, timeout`},
		{"a near field", "gates: {g: {" + hook + ", timout: 1s}}", `gates.g.timout: there is no such field of webhook; did you mean "timeout"?`},
		{"a webhook that doesn't say when", "gates: {g: {type: webhook, url: 'https://g', credentials: /k}}", `gates.g.at: it is missing; write when it is asked, like [before-start, before-rollback]`},
		{"a webhook that nobody could believe", "gates: {g: {type: webhook, url: 'https://g', at: [before-start]}}", `gates.g.credentials: it is missing; write the absolute path of a file with the key that signs`},
		{"a stage alone", "gates: {g: {type: window, at: before-start, open: Mon 09:00-10:00, zone: UTC}}", `gates.g.at: "before-start" is no list of stages; write for example [before-start, before-rollback], of before-start, before-step, before-promotion, before-rollback, after-rollback`},
		{"no stage", "gates: {g: {type: window, at: [], open: Mon 09:00-10:00, zone: UTC}}", `gates.g.at: a list or mapping is no list of stages`},
		{"a near stage", "gates: {g: {type: window, at: [before-steps], open: Mon 09:00-10:00, zone: UTC}}", `gates.g.at: a list or mapping holds "before-steps", which is none of the choices; did you mean "before-step"?`},
		{"a stage twice", "gates: {g: {type: window, at: [before-step, before-step], open: Mon 09:00-10:00, zone: UTC}}", `holds "before-step" twice; write it once`},
		{"http that nobody asked for", "gates: {g: {type: webhook, at: [before-start], url: 'http://g', credentials: /k}}", `gates.g.url: it is not encrypted; write https, or plaintext: true where the network can be trusted`},
		{"a timeout too long", "gates: {g: {" + hook + ", timeout: 2m}}", `gates.g.timeout: "2m" is not between 100ms and 1m; write for example 10s`},
		{"nothing asked of images", "gates: {g: {type: harbor, url: 'https://h', signed: none}}", `gates.g: nothing is asked of images; write the most vulnerabilities of a severity, like critical: 0`},
		{"a limit that is none", "gates: {g: {type: harbor, url: 'https://h', high: some}}", `gates.g.high: "some" is no number of vulnerabilities; write how many are allowed, like 0, or "3 else approval"`},
		{"less than none", "gates: {g: {type: harbor, url: 'https://h', high: -1}}", `gates.g.high: -1 is no number of vulnerabilities`},
		{"half a vulnerability", "gates: {g: {type: harbor, url: 'https://h', high: 0.5}}", `gates.g.high: 0.5 is no number of vulnerabilities`},
		{"something else", "gates: {g: {type: harbor, url: 'https://h', high: 3 else ask}}", `gates.g.high: "3 else ask" is no number of vulnerabilities`},
		{"a near signature", "gates: {g: {type: harbor, url: 'https://h', signed: cosin}}", `gates.g.signed: "cosin" is none of the choices; did you mean "cosign"?`},
		{"a registry with a path", "gates: {g: {type: harbor, url: 'https://h', critical: 0, registries: [h.example.com/shop]}}", `gates.g.registries: a list or mapping holds "h.example.com/shop", which is no valid name; write for example harbor.example.com`},
		{"alerts that are none", "alertmanager: {urls: ['http://a']}\ngates: {g: {type: alertmanager, matchers: freeze}}", `gates.g.matchers: "freeze" has `},
		{"nobody to ask for alerts", "gates: {g: {type: alertmanager, matchers: 'a=\"b\"'}}", `gates.g: there is no Alertmanager to ask; write alertmanager.urls`},
		{"no hours", "gates: {g: {type: window, zone: UTC}}", `gates.g.open: it is missing; write days and hours, like "Mon-Thu 09:00-16:00, Fri 09:00-12:00"`},
		{"hours that are a number", "gates: {g: {type: window, open: 9, zone: UTC}}", `gates.g.open: 9 is no text; write for example "Mon-Thu 09:00-16:00, Fri 09:00-12:00"`},
		{"hours of no day", "gates: {g: {type: window, open: 09:00-10:00, zone: UTC}}", `gates.g.open: "09:00-10:00" has "09:00-10:00", whose days are none of Sun, Mon`},
		{"nobody's clocks", "gates: {g: {type: window, open: Mon 09:00-10:00, zone: Berlin}}", `gates.g.zone: "Berlin" is no time zone; write for example Europe/Berlin, or UTC`},
		{"a date as a number", "gates: {g: {type: window, open: Mon 09:00-10:00, zone: UTC, closed: [20261224]}}", `gates.g.closed: a list or mapping holds 2.0261224e+07, which is no text; write for example ["2026-12-24..2027-01-02"]`},
		{"a day that isn't", "gates: {g: {type: window, open: Mon 09:00-10:00, zone: UTC, closed: ['2026-02-30']}}", `gates.g.closed: a list or mapping holds "2026-02-30", which is no date`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := load(c.text)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got  %v\nwant %s", err, c.want)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("one mistake is told as %v", err)
			}
			if !reflect.DeepEqual(got, config.Config{}) {
				t.Error("a refused file must configure nothing")
			}
		})
	}
}

func TestAllMistakesInGatesAreToldAtOnce(t *testing.T) {
	_, err := load("gates: {a: {type: window, open: x, zone: Berlin, closed: [z]}, b: {type: webhook, urll: x}}\ndefaults: {bake: 2}")
	want := `read the configuration: gates.a.open: "x" has "x", whose days are none of Sun, Mon, Tue, Wed, Thu, Fri, Sat; write days and hours like Mon-Thu 09:00-16:00, with a comma between several
gates.a.closed: a list or mapping holds "z", which is no date; write for example "2026-12-24", or "2026-12-24..2027-01-02"
gates.a.zone: "Berlin" is no time zone; write for example Europe/Berlin, or UTC
gates.b.urll: there is no such field of webhook; did you mean "url"?
gates.b.at: it is missing; write when it is asked, like [before-start, before-rollback]
gates.b.url: it is missing; write where it answers, like https://gate.example.com/serin
gates.b.credentials: it is missing; write the absolute path of a file with the key that signs, like /etc/serin-secrets/gate-key
defaults.bake: "2" has no unit (ms, s, m, h or d); write for example "10m"`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v", err)
	}
}

// Who writes a secret where the name of its file belongs must not find it in a log.
func TestSecretsOfWhomReleasesAskAreNotRepeated(t *testing.T) {
	const secret = "hunter2"
	for name, text := range map[string]string{
		"a key in place of its file":       "gates: {g: {type: webhook, at: [before-start], url: 'https://g', credentials: " + secret + "}}",
		"a password in a gate's URL":       "gates: {g: {type: harbor, critical: 0, url: 'https://u:" + secret + "@h'}}",
		"a token in place of its file":     "alertmanager: {receiver: {token: " + secret + "}}",
		"a password in place of its file":  "alertmanager: {credentials: 'serin:" + secret + "'}",
		"a password in Alertmanager's URL": "alertmanager: {urls: ['https://u:" + secret + "@a']}",
		"a password in the proxy's URL":    "smoke: {proxy: 'http://u:" + secret + "@p:3128'}",
		"a login in place of its file":     "registry: {credentials: " + secret + "}",
	} {
		if _, err := load(text); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: it says %v", name, err)
		}
	}
}
