package notify

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/safetext"
)

// Message is one thing to tell, for whatever service.
type Message struct {
	// ID is the same for all channels and all tries.
	ID      string
	Kind    canary.Kind
	At      time.Time
	Warning bool // somebody may have to act
	View    canary.View
	Event   canary.Event
	text    text
}

// Links are templates of addresses that messages lead to; empty: none. {{namespace}},
// {{service}} and {{rollout}} stand for those of the release.
type Links struct {
	Page, Grafana string
}

// text is a message in words, safe to show, before a service's own markup.
type text struct {
	icon, title string
	sentence    string
	facts       []fact
	commands    []fact // what one does, and the command
	links       []fact // name and address
}

type fact struct{ label, value string }

// loud are the kinds of which somebody should know at once.
var loud = []canary.Kind{canary.KindHeld, canary.KindRollingBack, canary.KindRolledBack, canary.KindAttention}

// isLoud tells that somebody should know at once. That a version may be removed by now
// is no such thing.
func isLoud(kind canary.Kind, e canary.Event) bool {
	return slices.Contains(loud, kind) && e.Reason != canary.TrafficGone
}

func newMessage(kind canary.Kind, v canary.View, e canary.Event, links Links, at time.Time) Message {
	m := Message{Kind: kind, At: at, View: v, Event: e, Warning: e.Warning || isLoud(kind, e)}
	sum := sha256.Sum256([]byte(strings.Join([]string{
		v.Namespace, v.Service, v.Rollout, string(e.Reason), e.Sentence, strconv.FormatInt(at.UnixNano(), 10)}, "\x00")))
	m.ID = hex.EncodeToString(sum[:16])
	m.text = compose(m, links)
	return m
}

// thread is what all messages of one rollout have in common.
func (m Message) thread() string {
	return m.View.Namespace + "/" + m.View.Service + "/" + m.View.Rollout
}

func (m Message) loud() bool { return isLoud(m.Kind, m.Event) }

// maxSentence is how much of a sentence is shown, in bytes: several mistakes of which
// each quotes a line are long.
const maxSentence = 1200

func compose(m Message, links Links) text {
	v := m.View
	t := text{icon: icon(m), title: safetext.Line(v.Key()) + ": " + safetext.Line(title(m)), sentence: sentence(m.Event.Sentence)}
	add := func(label, value string) {
		if value != "" {
			t.facts = append(t.facts, fact{label, sentence(value)})
		}
	}
	if !strings.Contains(m.Event.Sentence, v.Sentence) {
		add(because(v), v.Sentence)
	}
	for _, f := range outside(m) {
		add(f.label, f.value)
	}
	add("Canary", track(v.Canary, v.Verdict.CanaryRequests, v.Verdict.CanaryErrors, v.Verdict.CanaryRate, v.Verdict.CanaryP99))
	add("Stable", track(v.Stable, v.Verdict.StableRequests, v.Verdict.StableErrors, v.Verdict.StableRate, v.Verdict.StableP99))
	if m.loud() {
		add("Limits", limits(v.Limits))
	}
	if v.Header != "" && (m.Kind == canary.KindStarted || m.Kind == canary.KindTesting) {
		add("Testers", v.Header)
	}
	add("Next", next(v.Next))
	add("Release", v.Rollout)
	for _, c := range commands(m.Kind, v.Phase, m.Event.Reason) {
		t.commands = append(t.commands, fact{c.label, safetext.Line(fmt.Sprintf("kubectl canary %s %s -n %s", c.value, v.Service, v.Namespace))})
	}
	if links.Page != "" {
		t.links = append(t.links, fact{"Page", links.of(links.Page, v)})
	}
	if links.Grafana != "" {
		t.links = append(t.links, fact{"Grafana", links.of(links.Grafana, v)})
	}
	return t
}

var icons = map[canary.Kind]string{
	canary.KindStarted: "🚀", canary.KindTesting: "🔎", canary.KindStep: "📈", canary.KindPaused: "⏸️", canary.KindHeld: "✋",
	canary.KindRollingBack: "⏪", canary.KindRolledBack: "❌", canary.KindPromoted: "✅", canary.KindOptedOut: "⏹️", canary.KindAttention: "⚠️",
}

// icon is that of the kind, but for what is well.
func icon(m Message) string {
	if m.Event.Reason == canary.TrafficGone {
		return icons[canary.KindPromoted]
	}
	return icons[m.Kind]
}

// titles are those of reasons that say more than their kind.
var titles = map[canary.Reason]string{
	canary.AwaitingApproval: "waits for approval", canary.GateUnreached: "held, for nobody answers",
	canary.AlertActive: "held, for alerts are active", canary.CapacityShort: "too few pods", canary.StableShrunk: "stable has fewer pods",
	canary.ImageUnnamed: "blocked, an image has no name", canary.ImagesDiffer: "blocked, pods run different images",
	canary.RollbackUnverified: "rolled back, not verified", canary.ResidualTraffic: "requests to a version that users have left",
	canary.TrafficGone: "a version may be removed", canary.ScaledTooSoon: "scaled down too soon",
}

// outside is what is waited for outside, and what was found there.
func outside(m Message) (all []fact) {
	v := m.View
	if m.Event.Reason == canary.AwaitingApproval {
		name := v.Canary.Deployment
		if v.InPlace {
			name = v.Stable.Deployment
		}
		all = append(all, fact{"Who", "anybody who may change Deployment " + name + " in namespace " + v.Namespace},
			fact{"Canary runs", images(v.Canary)}, fact{"Stable runs", images(v.Stable)})
	}
	var others []string
	for _, a := range v.Awaits {
		if name := v.AwaitedWords(a); a.Kind != canary.AwaitApproval && !strings.Contains(m.Event.Sentence, name) {
			others = append(others, name)
		}
	}
	if m.Kind == canary.KindHeld {
		all = append(all, fact{"Also waits for", strings.Join(others, ", ")})
	}
	if !m.loud() {
		return all
	}
	for _, c := range v.Checks {
		if said := c.Name + ": " + c.Sentence; !c.Passed && !strings.Contains(m.Event.Sentence, said) {
			all = append(all, fact{"Failed", said})
		}
	}
	return all
}

// images are what a version runs, in one line.
func images(t canary.Track) string {
	var all []string
	for _, i := range t.Images {
		all = append(all, i.Words())
	}
	return strings.Join(all, "; ")
}

// title is what happened in a few words.
func title(m Message) string {
	kind, v := m.Kind, m.View
	if own, has := titles[m.Event.Reason]; has {
		return own
	}
	at := ""
	if v.Phase.Active() && v.Step > 0 {
		at = fmt.Sprintf(" at %d%%", v.Weight)
	}
	if v.Mirror > 0 {
		at = fmt.Sprintf(" at copies of %d%%", v.Mirror)
	}
	switch kind {
	case canary.KindStarted:
		return "a release has started"
	case canary.KindTesting:
		return "ready for testers"
	case canary.KindStep:
		if v.Phase == canary.Promoting {
			return "the Deployment is updated"
		}
		if v.Mirror > 0 {
			return fmt.Sprintf("step %d of %d, copies of %d%% of the traffic", v.Step, v.Steps, v.Mirror)
		}
		return fmt.Sprintf("step %d of %d, %d%% of the traffic", v.Step, v.Steps, v.Weight)
	case canary.KindPaused:
		return "paused" + at
	case canary.KindHeld:
		if v.Phase == canary.Blocked {
			return "blocked"
		}
		return "held" + at
	case canary.KindRollingBack:
		return "rolling back"
	case canary.KindRolledBack:
		return "rolled back"
	case canary.KindPromoted:
		return "promoted"
	case canary.KindOptedOut:
		return "opted out"
	}
	return "please look"
}

// because introduces the View's own sentence, where it is another than the message's.
func because(v canary.View) string {
	if v.Phase == canary.RolledBack {
		return "Cause"
	}
	return "Now"
}

// commands are those that answer a kind of message, with what they do.
func commands(kind canary.Kind, phase canary.Phase, reason canary.Reason) []fact {
	abort := fact{"Back to stable at once", "abort"}
	switch {
	case phase == canary.Watched:
		return nil // nobody's orders are taken while people lead
	case reason == canary.AwaitingApproval && phase.Active():
		return []fact{{"Look first", "status"}, {"Let it go on", "approve"}, abort}
	case reason == canary.AwaitingApproval:
		return []fact{{"Look first", "status"}, {"Let it begin", "approve"}}
	case reason == canary.GateDenied && phase == canary.Blocked:
		return []fact{{"What the gate said", "status"}}
	case reason == canary.RollbackUnverified:
		return []fact{{"What is not well", "status"}, {"Why it went back", "explain"}}
	case reason == canary.TrafficGone:
		return []fact{{"What was released", "history"}}
	case kind == canary.KindHeld && phase == canary.Blocked:
		return []fact{{"What is in the way", "lint"}}
	case kind == canary.KindStarted, kind == canary.KindTesting, kind == canary.KindStep && phase != canary.Promoting:
		return []fact{{"Watch it", "status -w"}, {"Stop here", "pause"}, abort}
	case kind == canary.KindPaused, kind == canary.KindHeld && (phase == canary.Paused || phase == canary.Inconclusive):
		return []fact{{"Go on", "resume"}, abort}
	case kind == canary.KindHeld && phase.Active():
		return []fact{{"Watch it", "status -w"}, abort}
	case kind == canary.KindRolledBack:
		return []fact{{"Why", "explain"}, {"Try it again", "retry"}}
	case kind == canary.KindPromoted:
		return []fact{{"Back to the version before", "rollback"}}
	case kind == canary.KindAttention, kind == canary.KindRollingBack:
		return []fact{{"Watch it", "status -w"}}
	}
	return nil
}

// track is what was measured of one version.
func track(t canary.Track, requests, errors int64, rate float64, p99 canary.Bounds) string {
	if requests == 0 {
		return t.Deployment
	}
	s := fmt.Sprintf("%s: %d requests, %d failed (%s), %s/s", t.Deployment, requests, errors, percent(float64(errors)/float64(requests)), number(rate))
	switch {
	case !p99.Known():
		return s
	case p99[1] > 1e9: // no bound
		return s + ", P99 above " + milliseconds(p99[0])
	}
	return s + ", P99 " + milliseconds(p99[0]) + " to " + milliseconds(p99[1])
}

func milliseconds(ms float64) string { return canary.Span(ms * float64(time.Millisecond)).String() }

func percent(share float64) string { return number(100*share) + "%" }

// number is with two digits that count, or all before the point.
func number(n float64) string {
	if n >= 10 {
		return strconv.FormatFloat(n, 'f', 0, 64)
	}
	return strconv.FormatFloat(n, 'g', 2, 64)
}

func limits(l canary.LimitsView) string {
	if l.ErrorRate == 0 {
		return ""
	}
	s := "at most " + percent(l.ErrorRate) + " failed"
	if l.ErrorRatio > 0 {
		s += " and " + number(l.ErrorRatio) + " times stable's"
	}
	s += ", P99 at most " + l.P99.String()
	if l.P99Ratio > 0 {
		s += " and " + number(l.P99Ratio) + " times stable's"
	}
	return s
}

func next(n canary.NextView) string {
	if n.Sentence == "" || n.At.IsZero() {
		return n.Sentence
	}
	return n.Sentence + ", not before " + n.At.UTC().Format("15:04 MST")
}

func sentence(s string) string { return shorten(safetext.Line(s), maxSentence) }

// shorten cuts a text after at most so many bytes, and shows that it did.
func shorten(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most-3], "") + "..."
}

// of fills in a template. What a team's objects are called is escaped, so that it
// leads nowhere else.
func (Links) of(template string, v canary.View) string {
	path, query, asked := strings.Cut(template, "?")
	fill := func(s string, escape func(string) string) string {
		return strings.NewReplacer("{{namespace}}", escape(v.Namespace), "{{service}}", escape(v.Service), "{{rollout}}", escape(v.Rollout)).Replace(s)
	}
	filled := fill(path, url.PathEscape)
	if asked {
		filled += "?" + fill(query, url.QueryEscape)
	}
	return filled
}

// head is the title with its icon.
func (t text) head() string { return t.icon + " " + t.title }

// plain is a message without any markup.
func (t text) plain() string {
	var b strings.Builder
	b.WriteString(t.head() + "\n" + t.sentence + "\n")
	t.rest(&b)
	return b.String()
}

// rest is what comes after the sentence, one to a line.
func (t text) rest(b *strings.Builder) {
	for _, f := range t.facts {
		b.WriteString(f.label + ": " + f.value + "\n")
	}
	for _, c := range t.commands {
		b.WriteString(c.label + ": " + c.value + "\n")
	}
	for _, l := range t.links {
		b.WriteString(l.label + ": " + l.value + "\n")
	}
}
