package config

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"serin.dev/serin/pkg/annotation"
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/gate/alertmanager/matcher"
	"serin.dev/serin/pkg/gate/window"
)

// Gate is whom a release asks whether it may go on. Which fields its type takes is in
// gateTypes; the others are empty.
type Gate struct {
	Name    string
	Type    string         // GateWebhook, GateHarbor, GateAlertmanager or GateWindow
	At      []canary.Stage // when it is asked where annotations don't say; in order, at least one
	Timeout time.Duration  // of one request, 100ms to 1m

	URL         string // without a secret in it
	Credentials string // file; absolute, as all files
	CA          string // file of the authorities that sign the server's certificate, PEM
	Plaintext   bool   // http is allowed

	Registries []string      // Harbor's, as images name them; empty: the URL's host
	Limits     []Limit       // of vulnerabilities, from the worst severity; each at most once
	Scanned    bool          // a finished scan is asked for, also without limits
	MaxAge     time.Duration // of a scan; 0: any
	Signed     string        // none, any, cosign or notation

	Matchers string // of alerts, as written

	Open, Zone string   // hours of days, and by whose clocks
	Closed     []string // dates
}

// The types of gates.
const (
	GateWebhook      = "webhook"
	GateHarbor       = "harbor"
	GateAlertmanager = "alertmanager"
	GateWindow       = "window"
)

// Limit is how many vulnerabilities of a severity an image may have.
type Limit struct {
	Severity string // as the field is named: critical, high, medium or low
	Most     int    // 0 to 999999
	// Beyond is what is said of more: canary.Deny, or canary.Approve.
	Beyond canary.AnswerKind
}

// severities are Harbor's, from the worst.
var severities = []string{"critical", "high", "medium", "low"}

// gateType is which fields a type of gate must and may have, and when it is asked
// where nobody says; without that it has to be said.
type gateType struct {
	name      string
	must, may []string
	at        []canary.Stage
}

var (
	progress  = []canary.Stage{canary.BeforeStart, canary.BeforeStep, canary.BeforePromotion}
	gateTypes = []gateType{
		{name: GateWebhook, must: []string{"at", "url", "credentials"}, may: []string{"ca", "plaintext", "timeout"}},
		{
			name: GateHarbor, must: []string{"url"}, at: progress[:1],
			may: slices.Concat([]string{"credentials", "ca", "plaintext", "timeout", "registries"}, severities, []string{"scanned", "maxAge", "signed"}),
		},
		{name: GateAlertmanager, must: []string{"matchers"}, at: progress},
		{name: GateWindow, must: []string{"open", "zone"}, may: []string{"closed"}, at: progress},
	}
)

// GateTypes are the names of all types of gates.
func GateTypes() []string {
	var names []string
	for _, t := range gateTypes {
		names = append(names, t.name)
	}
	return names
}

func (t gateType) fields() []string {
	fields := slices.Concat([]string{"type"}, t.must, t.may)
	if !slices.Contains(fields, "at") {
		fields = append(fields, "at")
	}
	return fields
}

// GateVocabulary is what annotations may name; never nil.
func (c Config) GateVocabulary() []annotation.Gate {
	known := []annotation.Gate{}
	for _, g := range c.Gates {
		known = append(known, annotation.Gate{Name: g.Name, Stages: g.At})
	}
	return known
}

// applyGates reads the operator's gates, sorted by name.
func applyGates(c *Config, section map[string]any) []error {
	var errs []error
	c.Gates = nil
	for _, key := range slices.Sorted(maps.Keys(section)) {
		g, wrong := readGate(key, section[key])
		for _, err := range wrong {
			errs = append(errs, fmt.Errorf("%s.%s%w", gatesPath, key, err))
		}
		c.Gates = append(c.Gates, g)
	}
	return errs
}

// readGate reads one gate. Errors go on where its path ends.
func readGate(key string, value any) (Gate, []error) {
	g := Gate{Name: key, Timeout: 10 * time.Second}
	var errs []error
	if !label.MatchString(key) || key == "none" {
		errs = append(errs, errors.New(`: a gate can't have this name; write lower-case letters, digits and "-", at most 63, like release-hours, and not none`))
	}
	fields, is := value.(map[string]any)
	if !is {
		return g, append(errs, fmt.Errorf(": %s is no mapping; write the fields below it, indented, first of all its type", written(value)))
	}
	if err := choice(fields["type"], &g.Type, GateTypes()...); err != nil {
		return g, append(errs, fmt.Errorf(".type: %s %w", written(fields["type"]), err))
	}
	kind := gateTypes[slices.Index(GateTypes(), g.Type)]
	g.At = kind.at
	known := kind.fields()
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		if !slices.Contains(known, field) {
			errs = append(errs, fmt.Errorf(".%s: there is no such field of %s; %s", field, g.Type, meant(field, known, "known here are "+strings.Join(known, ", "))))
			continue
		}
		if err := g.set(field, fields[field]); err != nil {
			errs = append(errs, fmt.Errorf(".%s: %s %w", field, shownOf(field, fields[field]), err))
		}
	}
	for _, field := range kind.must {
		if _, given := fields[field]; !given {
			errs = append(errs, fmt.Errorf(".%s: it is missing; %s", field, wantedOfGates[field]))
		}
	}
	if len(errs) > 0 {
		return g, errs // what is wrong in a field explains what is wrong with all of them
	}
	errs = g.together(fields)
	return g, errs
}

// wantedOfGates is how a field of gates is mended that is missing.
var wantedOfGates = map[string]string{
	"at":          "write when it is asked, like [before-start, before-rollback]",
	"url":         "write where it answers, like https://gate.example.com/serin",
	"credentials": "write the absolute path of a file with the key that signs, like /etc/serin-secrets/gate-key",
	"matchers":    "write which alerts it waits for, like 'alertname=\"ReleaseFreeze\"'",
	"open":        "write days and hours, like \"Mon-Thu 09:00-16:00, Fri 09:00-12:00\"",
	"zone":        "write by whose clocks, like Europe/Berlin",
}

// set reads a field; it fails with the rest of a sentence: what is wrong; the mend.
func (g *Gate) set(field string, value any) error {
	text, _ := value.(string)
	switch field {
	case "type":
		return nil
	case "at":
		return stages(value, &g.At)
	case "timeout":
		return duration(value, 100*time.Millisecond, time.Minute, "10s", &g.Timeout)
	case "url":
		return endpoint(text, &g.URL)
	case "credentials":
		return file(value, "/etc/serin-secrets/"+g.Type, &g.Credentials)
	case "ca":
		return file(value, "/etc/serin-secrets/ca.crt", &g.CA)
	case "plaintext":
		return truth(value, &g.Plaintext)
	case "registries":
		return names(value, registryHost, "harbor.example.com", "[harbor.example.com]", &g.Registries)
	case "scanned":
		return truth(value, &g.Scanned)
	case "maxAge":
		return duration(value, time.Hour, 365*24*time.Hour, "7d", &g.MaxAge)
	case "signed":
		return choice(value, &g.Signed, "none", "any", "cosign", "notation")
	case "matchers":
		return matchers(value, &g.Matchers)
	case "open":
		return plainText(value, "\"Mon-Thu 09:00-16:00, Fri 09:00-12:00\"", &g.Open)
	case "zone":
		return plainText(value, "Europe/Berlin", &g.Zone)
	case "closed":
		return texts(value, "[\"2026-12-24..2027-01-02\"]", &g.Closed)
	default:
		return g.limit(field, value)
	}
}

var limitForm = regexp.MustCompile(`^([0-9]{1,6})(?:\s+else\s+(deny|approval))?$`)

// limit reads how many vulnerabilities of a severity there may be, and what happens
// beyond: 0, or 3 else approval.
func (g *Gate) limit(severity string, value any) error {
	text := fmt.Sprint(value)
	m := limitForm.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return errors.New("is no number of vulnerabilities; write how many are allowed, like 0, or \"3 else approval\" to have a person decide beyond")
	}
	most, _ := strconv.Atoi(m[1])
	l := Limit{Severity: severity, Most: most, Beyond: canary.Deny}
	if m[2] == "approval" {
		l.Beyond = canary.Approve
	}
	g.Limits = append(g.Limits, l)
	slices.SortFunc(g.Limits, func(a, b Limit) int {
		return slices.Index(severities, a.Severity) - slices.Index(severities, b.Severity)
	})
	return nil
}

// together finds what is wrong though each field is right.
func (g *Gate) together(fields map[string]any) []error {
	var errs []error
	if strings.HasPrefix(g.URL, "http:") && !g.Plaintext {
		errs = append(errs, errors.New(".url: it is not encrypted; write https, or plaintext: true where the network can be trusted"))
	}
	if g.Type == GateHarbor && len(g.Limits) == 0 && !g.Scanned && g.MaxAge == 0 && (g.Signed == "" || g.Signed == "none") {
		errs = append(errs, errors.New(": nothing is asked of images; write the most vulnerabilities of a severity, like critical: 0, or scanned: true, or signed: any"))
	}
	if g.Type == GateWindow {
		_, faults := window.New(window.Options{Name: g.Name, Open: g.Open, Zone: g.Zone, Closed: g.Closed})
		for _, f := range faults {
			errs = append(errs, fmt.Errorf(".%s: %s %s", f.Field, written(fields[f.Field]), f.Problem))
		}
	}
	return errs
}

// stages reads when a gate is asked, in the order of a release.
func stages(value any, into *[]canary.Stage) error {
	var known []string
	for _, s := range canary.GateStages {
		known = append(known, string(s))
	}
	items, is := value.([]any)
	if !is || len(items) == 0 {
		return fmt.Errorf("is no list of stages; write for example [before-start, before-rollback], of %s", strings.Join(known, ", "))
	}
	asked := map[canary.Stage]bool{}
	for _, item := range items {
		var one string
		if err := choice(item, &one, known...); err != nil {
			return fmt.Errorf("holds %s, which %w", written(item), err)
		}
		if asked[canary.Stage(one)] {
			return fmt.Errorf("holds %q twice; write it once", one)
		}
		asked[canary.Stage(one)] = true
	}
	*into = slices.DeleteFunc(slices.Clone(canary.GateStages), func(s canary.Stage) bool { return !asked[s] })
	return nil
}

// matchers reads which alerts are meant, in Alertmanager's syntax.
func matchers(value any, into *string) error {
	text, _ := value.(string)
	if _, mistakes := matcher.Parse(text); len(mistakes) > 0 {
		return fmt.Errorf("%s; %s", mistakes[0].Problem, mistakes[0].Mend)
	}
	*into = text
	return nil
}

func plainText(value any, example string, into *string) error {
	text, is := value.(string)
	if !is || text == "" {
		return fmt.Errorf("is no text; write for example %s", example)
	}
	*into = text
	return nil
}

// texts reads a list of texts.
func texts(value any, example string, into *[]string) error {
	items, is := value.([]any)
	if !is {
		return fmt.Errorf("is no list; write for example %s", example)
	}
	all := []string{}
	for _, item := range items {
		text, is := item.(string)
		if !is {
			return fmt.Errorf("holds %s, which is no text; write for example %s", written(item), example)
		}
		all = append(all, text)
	}
	*into = all
	return nil
}

// registryHost is a registry as images name it.
var registryHost = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*(:[0-9]{1,5})?$`)

// withoutAlertmanager finds gates that nobody could answer.
func (c Config) withoutAlertmanager() []error {
	var errs []error
	for _, g := range c.Gates {
		if g.Type == GateAlertmanager && len(c.Alertmanager.URLs) == 0 {
			errs = append(errs, fmt.Errorf("%s.%s: there is no Alertmanager to ask; write alertmanager.urls", gatesPath, g.Name))
		}
	}
	return errs
}
