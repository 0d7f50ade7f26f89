// Package annotation is the vocabulary in which a team talks to Serin: the
// annotations of a Deployment. It is pure; all keys stand in one table, and
// what isn't in the table, or is malformed, is an error that tells the mend.
package annotation

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/judge"
	"serin.dev/serin/pkg/safetext"
)

// Prefix begins every annotation of Serin.
const Prefix = "serin.dev/"

// Parsed is what a Deployment's annotations ask for.
type Parsed struct {
	// OptedIn tells that canary releases are asked for. It is also true when
	// the value is malformed: a typing error must hold a rollout, not end it.
	OptedIn bool
	// Observe tells that people set the weights, and Serin only says what it
	// sees. Never true together with OptedIn.
	Observe bool
	// Spec is complete when Parse returned no error. With an error it holds
	// only what was valid by itself of the names (Service, VirtualServices,
	// subsets, channels) and the mode, so that the mistakes can be told at the right
	// place, and to the right people.
	Spec canary.Spec
	// Command is a person's order; nil without one. It is also given beside
	// mistakes in other keys: an abort must work at any time.
	Command *canary.Command
}

// Defaults are the values in force where neither the Deployment nor the
// controller's configuration names one.
func Defaults() canary.Spec {
	const bake = 2 * time.Minute
	return canary.Spec{
		Steps:          []canary.Step{{Weight: 5, Bake: bake}, {Weight: 25, Bake: bake}, {Weight: 100, Bake: bake}},
		Bake:           bake,
		StepDeadline:   30 * time.Minute,
		OnInconclusive: canary.Proceed,
		Limits:         judge.Limits{ErrorRate: 0.01, ErrorRatio: 2, P99: 2 * time.Second, DefaultErrorRate: true, DefaultP99: true},
		Rules:          judge.DefaultRules(),
		SharedIncident: canary.Patience{Wait: 30 * time.Minute, Then: canary.HoldInconclusive},
		Header:         canary.Header{Name: "x-app-version", Match: canary.MatchExact, Values: []string{"canary"}},
		OnRollback:     canary.KeepTemplate,
		Settle:         5 * time.Second,
		Tags:           canary.TagsNamed,
		Capacity:       2,
		MaxRestarts:    3,
	}
}

// Vocabulary is what the operator set, and a Deployment's annotations build on.
type Vocabulary struct {
	Defaults canary.Spec // complete, as from Defaults or ParseDefaults
	Metrics  []Metric    // what the annotation metrics may name
	// Channels are what the annotation notify may name; nil: it isn't known here, and
	// any name may be one.
	Channels []string
	// Gates are what the annotation gates may name; nil: it isn't known here, and any
	// name may be one.
	Gates []Gate
}

// Gate is a gate that the operator defined.
type Gate struct {
	Name string
	// Stages are those at which it is asked where a team names none; at least one, in
	// the order of canary.GateStages.
	Stages []canary.Stage
}

// Metric is a metric that the operator defined.
type Metric struct {
	Name string
	// Gauge is a plain number. Otherwise it is a share of events: of bad ones,
	// which is bounded from above, or of good ones, which is bounded from below.
	Gauge, Bad bool
}

// Parse reads a Deployment's annotations. Those without Prefix are none of its
// business. The error joins all mistakes; Mistakes lists them.
func Parse(annotations map[string]string, v Vocabulary) (Parsed, error) {
	values := make(map[string]string)
	for key, value := range annotations {
		if name, ours := strings.CutPrefix(key, Prefix); ours {
			values[name] = value
		}
	}
	d, mistakes := parse(values, v, onDeployment)
	asked, written := values[keyCanary]
	if d.command != nil {
		d.command.By = person(values[keyCommandBy])
	}
	asked = strings.TrimSpace(asked)
	p := Parsed{OptedIn: written && asked != no && asked != observe, Observe: asked == observe, Command: d.command}
	if len(mistakes) > 0 {
		p.Spec = canary.Spec{
			Service: d.spec.Service, VirtualServices: d.spec.VirtualServices,
			StableSubset: d.spec.StableSubset, CanarySubset: d.spec.CanarySubset, Mode: d.spec.Mode,
			Notify: d.spec.Notify,
		}
		return p, join(mistakes, Prefix)
	}
	p.Spec = d.spec
	// Every step carries its own bake from here on.
	p.Spec.Bake = 0
	return p, nil
}

// ParseDefaults reads defaults for all Deployments, in the grammar of the
// annotations and over Defaults. The values' keys are bare names like "steps";
// errors name them with the prefix given, like "defaults.". Gates are what the key
// gates may name. The error joins all mistakes.
func ParseDefaults(values map[string]string, prefix string, gates []Gate) (canary.Spec, error) {
	d, mistakes := parse(values, Vocabulary{Defaults: Defaults(), Gates: gates}, asDefault)
	if len(mistakes) > 0 {
		return canary.Spec{}, join(mistakes, prefix)
	}
	return d.spec, nil
}

// place is where a value was written.
type place bool

const (
	onDeployment place = false
	asDefault    place = true
)

// draft gathers what the keys' parsers read.
type draft struct {
	command *canary.Command
	spec    canary.Spec
	metrics []Metric // that may be named
	// channels may be named; nil: any
	channels []string
	gates    []Gate        // may be named; nil: any
	steps    []step        // as written; nil when not written
	bake     time.Duration // as written; 0 when not written
}

// parse reads values by bare name. It reads all of them, whatever is wrong.
func parse(values map[string]string, v Vocabulary, at place) (draft, []Mistake) {
	d := draft{spec: v.Defaults, metrics: v.Metrics, channels: v.Channels, gates: v.Gates}
	mistakes := unknown(values, at)
	for _, key := range table {
		value, written := values[key.Name]
		if !written || (at == asDefault && !key.Defaultable) {
			continue
		}
		for _, f := range key.read(value, &d) {
			mistakes = append(mistakes, Mistake{Key: key.Name, Value: value, fault: f})
		}
	}
	d.spec = d.together(v.Defaults)
	if len(mistakes) == 0 {
		mistakes = contradictions(values, d.spec)
	}
	slices.SortStableFunc(mistakes, func(a, b Mistake) int {
		return cmp.Compare(position(a.Key), position(b.Key))
	})
	return d, mistakes
}

// read trims and bounds a value before its parser sees it.
func (k Key) read(value string, d *draft) []fault {
	if most := cmp.Or(k.most, maxValue); len(value) > most {
		return one(fmt.Sprintf("is %d bytes long, at most %d are allowed", len(value), most), k.like())
	}
	if !utf8.ValidString(value) {
		return one("is no UTF-8 text", k.like())
	}
	value = strings.TrimSpace(value)
	if value == "" && k.Name != keyCanary {
		return one("is empty", k.like()+", or take the key away")
	}
	return k.parse(value, d)
}

// together brings steps and bakes together: a step without a bake of its own
// gets the common one, be it the Deployment's or the default.
func (d draft) together(defaults canary.Spec) canary.Spec {
	spec := d.spec
	if d.bake > 0 {
		spec.Bake = d.bake
	}
	if d.steps != nil {
		spec.Steps, spec.Test = resolve(d.steps, spec.Bake)
		return spec
	}
	// Default steps that took the default bake take the one written instead.
	common := func(bake time.Duration) time.Duration {
		if bake == defaults.Bake {
			return spec.Bake
		}
		return bake
	}
	spec.Test = common(defaults.Test)
	spec.Steps = make([]canary.Step, len(defaults.Steps))
	for i, s := range defaults.Steps {
		spec.Steps[i] = canary.Step{Weight: s.Weight, Bake: common(s.Bake), Mirror: s.Mirror}
	}
	return spec
}

// unknown finds the keys that are not in the table.
func unknown(values map[string]string, at place) []Mistake {
	var mistakes []Mistake
	for name, value := range values {
		if f := stranger(name, at); f != nil {
			mistakes = append(mistakes, Mistake{Key: name, Value: value, fault: *f})
		}
	}
	slices.SortFunc(mistakes, func(a, b Mistake) int { return strings.Compare(a.Key, b.Key) })
	return mistakes
}

func stranger(name string, at place) *fault {
	i := position(name)
	switch {
	case i < len(table) && (at == onDeployment || table[i].Defaultable):
		return nil
	case i < len(table):
		return &fault{"belongs to one Deployment and has no default", "write it as the annotation " + Prefix + name + " there"}
	case (name == keyHeld || name == keyCommandBy) && at == onDeployment:
		return nil
	case strings.HasPrefix(Prefix+name, canary.StatePrefix) && at == onDeployment:
		return &fault{"is Serin's own record and stands on VirtualServices only", "take it off the Deployment"}
	}
	f := &fault{problem: "is not a key of this release", mend: "take it away"}
	if near := canary.Suggest(name, names(at)); near != "" {
		f.mend = fmt.Sprintf("did you mean %q?", near)
	}
	return f
}

// contradictions finds values that are right alone and wrong together.
func contradictions(values map[string]string, spec canary.Spec) []Mistake {
	var mistakes []Mistake
	for _, s := range spec.Steps {
		if s.Bake < spec.StepDeadline {
			continue
		}
		key := firstWritten(values, keyStepDeadline, keyBake, keySteps)
		mistakes = append(mistakes, Mistake{Key: key, Value: values[key], fault: fault{
			fmt.Sprintf("the step %s bakes %s, which its deadline of %s cuts off", step{weight: s.Weight, mirror: s.Mirror}, show(s.Bake), show(spec.StepDeadline)),
			fmt.Sprintf("write a %s above every bake, like %q", keyStepDeadline, show(2*s.Bake)),
		}})
		break
	}
	if spec.StableSubset != "" && spec.StableSubset == spec.CanarySubset {
		key := firstWritten(values, keyCanarySubset, keyStableSubset)
		mistakes = append(mistakes, Mistake{Key: key, Value: values[key], fault: fault{
			"names the same subset for stable and canary",
			"write two different subsets of the DestinationRule, or neither key to have them discovered",
		}})
	}
	mistakes = append(mistakes, beyondMode(values, spec.Mode)...)
	return append(mistakes, beyondThreshold(values, spec)...)
}

// beyondMode finds what the mode that was written has no use for.
func beyondMode(values map[string]string, mode string) []Mistake {
	useless := map[string][]string{
		canary.ModeInPlace: {keyStableSubset, keyCanarySubset},
		canary.ModePair:    {keyOnRollback},
	}
	var mistakes []Mistake
	for _, key := range useless[mode] {
		if value, written := values[key]; written {
			mistakes = append(mistakes, Mistake{Key: key, Value: value, fault: fault{
				fmt.Sprintf("says nothing to releases of the mode %s", mode),
				fmt.Sprintf("take it away, or %s", keyMode),
			}})
		}
	}
	return mistakes
}

// beyondThreshold finds what the threshold mode would silently not judge.
func beyondThreshold(values map[string]string, spec canary.Spec) []Mistake {
	if spec.Rules.Mode != judge.ModeThreshold {
		return nil
	}
	var mistakes []Mistake
	refuse := func(key, what string) {
		at := firstWritten(values, key, keyJudge)
		mistakes = append(mistakes, Mistake{Key: at, Value: values[at], fault: fault{
			fmt.Sprintf("goes without %s: the threshold mode can't judge by it", what),
			fmt.Sprintf("write %s: %q, or take %s away", keyJudge, judge.ModeEvidence, what),
		}})
	}
	if len(spec.Custom) > 0 {
		refuse(keyMetrics, keyMetrics)
	}
	if spec.Limits.P99Ratio > 0 {
		refuse(keyMaxP99, "the multiple in "+keyMaxP99)
	}
	return mistakes
}

func firstWritten(values map[string]string, keys ...string) string {
	for _, key := range keys {
		if _, written := values[key]; written {
			return key
		}
	}
	return keys[0]
}

// Mistake is one thing wrong with one key.
type Mistake struct {
	Key   string // as it was written, with its prefix
	Value string
	fault
}

// fault is what is wrong with a value and what to write instead.
type fault struct{ problem, mend string }

func one(problem, mend string) []fault { return []fault{{problem, mend}} }

// Error is the mistake as one sentence: key, value, what is wrong, the mend. All of
// the grammar is ASCII, so that a letter that only looks like one of it is shown as
// what it is.
func (m Mistake) Error() string {
	return safetext.ASCII(fmt.Sprintf("%s: %q %s; %s", m.Key, shorten(m.Value), m.problem, m.mend))
}

func shorten(value string) string { return shortenTo(value, 60) }

// shortenTo cuts a text after at most so many bytes, and shows that it did.
func shortenTo(value string, most int) string {
	if len(value) <= most {
		return value
	}
	return strings.ToValidUTF8(value[:most], "") + "..."
}

func join(mistakes []Mistake, prefix string) error {
	errs := make([]error, len(mistakes))
	for i, m := range mistakes {
		m.Key = prefix + m.Key
		errs[i] = m
	}
	return errors.Join(errs...)
}

// Mistakes lists an error's sentences, one for each mistake; nil for no error.
func Mistakes(err error) []string {
	if err == nil {
		return nil
	}
	joined, many := err.(interface{ Unwrap() []error })
	if !many {
		return []string{err.Error()}
	}
	var sentences []string
	for _, e := range joined.Unwrap() {
		sentences = append(sentences, Mistakes(e)...)
	}
	return sentences
}
