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

func newMessage(kind canary.Kind, v canary.View, e canary.Event, links Links, at time.Time) Message {
	m := Message{Kind: kind, At: at, View: v, Event: e, Warning: e.Warning || slices.Contains(loud, kind)}
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

func (m Message) loud() bool { return slices.Contains(loud, m.Kind) }

// maxSentence is how much of a sentence is shown, in bytes: several mistakes of which
// each quotes a line are long.
const maxSentence = 1200

func compose(m Message, links Links) text {
	v := m.View
	t := text{icon: icons[m.Kind], title: safetext.Line(v.Key()) + ": " + title(m.Kind, v), sentence: sentence(m.Event.Sentence)}
	add := func(label, value string) {
		if value != "" {
			t.facts = append(t.facts, fact{label, sentence(value)})
		}
	}
	if m.Event.Sentence != v.Sentence && v.Sentence != "" {
		add(because(v), v.Sentence)
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
	for _, c := range commands(m.Kind, v.Phase) {
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

// title is what happened in a few words.
func title(kind canary.Kind, v canary.View) string {
	at := ""
	if v.Phase.Active() && v.Step > 0 {
		at = fmt.Sprintf(" at %d%%", v.Weight)
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
func commands(kind canary.Kind, phase canary.Phase) []fact {
	abort := fact{"Back to stable at once", "abort"}
	switch {
	case phase == canary.Watched:
		return nil // nobody's orders are taken while people lead
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
