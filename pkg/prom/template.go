package prom

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Place is what the placeholders of a Template stand for: one track of a
// release. All of it is needed.
type Place struct {
	Namespace string
	Workload  string // the track's Deployment
	Service   string
	Track     string // "canary" or "stable"
}

// The placeholders, and which of them tell the canary from stable.
const (
	placeNamespace = "namespace"
	placeWorkload  = "workload"
	placeService   = "service"
	placeTrack     = "track"
	placePods      = "pods" // a pattern of the names of the workload's pods
)

var (
	placeholders = []string{placeNamespace, placeWorkload, placeService, placeTrack, placePods}
	tellTracks   = []string{placeWorkload, placeTrack, placePods}
)

const knownPlaceholders = "{{namespace}}, {{workload}}, {{service}}, {{track}} and {{pods}} are known"

// podSuffix is what Kubernetes appends to a Deployment's name: the ReplicaSet's
// hash and the pod's own part.
const podSuffix = "-[a-z0-9]+-[a-z0-9]+"

// ranged finds functions that make something else of a counter than it is.
var ranged = regexp.MustCompile(`(?i)\b(rate|irate|increase|delta|idelta|deriv)\s*\(`)

// part is one of the queries of a template.
type part struct{ name, promql string }

const (
	partGood  = "good"
	partBad   = "bad"
	partTotal = "total"
	partGauge = "gauge"
)

// parts are the queries that are written, in a fixed order.
func (t Template) parts() []part {
	all := []part{{partGood, t.Good}, {partBad, t.Bad}, {partTotal, t.Total}, {partGauge, t.Gauge}}
	return slices.DeleteFunc(all, func(p part) bool { return p.promql == "" })
}

// Check tells everything that is wrong with the template, each with the mend; nil
// if nothing is. Whether the rest is PromQL, only Prometheus can tell.
func (t Template) Check() error {
	faults := t.kind()
	for _, p := range t.parts() {
		q := parse(p.promql)
		wrong := q.faults
		if p.name != partGauge {
			wrong = append(wrong, q.noCounter()...)
		}
		for _, f := range wrong {
			faults = append(faults, fmt.Errorf("%s: %w", p.name, f))
		}
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("metric %q: %w", t.Name, errors.Join(faults...))
}

// kind checks that the template is either a ratio or a gauge.
func (t Template) kind() (faults []error) {
	if t.Name == "" {
		faults = append(faults, errors.New("it has no name: teams ask for it by its name"))
	}
	ratio := t.Good != "" || t.Bad != "" || t.Total != ""
	if t.Gauge != "" && ratio {
		return append(faults, errors.New("it is a gauge and a ratio: write gauge alone, or total with good or bad"))
	}
	if t.Gauge == "" && !ratio {
		return append(faults, errors.New("it asks for nothing: write total with good or bad for a ratio, or gauge"))
	}
	if t.Good != "" && t.Bad != "" {
		faults = append(faults, errors.New("it has both good and bad: write one of them, the other is the rest of total"))
	}
	if ratio && t.Good == "" && t.Bad == "" {
		faults = append(faults, errors.New("it has neither good nor bad: write one of them beside total"))
	}
	if ratio && t.Total == "" {
		faults = append(faults, errors.New("total is missing: write the counter of all, good and bad together"))
	}
	return faults
}

// noCounter tells why a query can't be a part of a ratio.
func (q query) noCounter() (faults []error) {
	var told []string
	for _, call := range ranged.FindAllStringSubmatch(q.code, -1) {
		if name := call[1]; !slices.Contains(told, name) {
			told = append(told, name)
			faults = append(faults, fmt.Errorf("%s() is no counter: write the raw cumulative counter, such as sum by (pod) (requests_total{pod=~\"{{pods}}\"}); the increments are made from it", name))
		}
	}
	if !slices.ContainsFunc(q.pieces, func(p piece) bool { return slices.Contains(tellTracks, p.placeholder) }) {
		faults = append(faults, errors.New("it doesn't tell the canary from stable: select by {{workload}}, {{pods}} or {{track}}"))
	}
	return faults
}

// Queries are the template's queries for a place, by "good", "bad", "total" or
// "gauge". Values come into string literals alone, through one escaper: each
// literal means what the template says and the name, whatever the name is. It
// fails where Check does, or where a value can't be written.
func (t Template) Queries(p Place) (map[string]string, error) {
	if err := t.Check(); err != nil {
		return nil, err
	}
	values := map[string]string{
		placeNamespace: p.Namespace, placeWorkload: p.Workload, placeService: p.Service, placeTrack: p.Track, placePods: p.Workload,
	}
	out := map[string]string{}
	for _, part := range t.parts() {
		var text strings.Builder
		for _, piece := range parse(part.promql).pieces {
			written, err := piece.write(values[piece.placeholder])
			if err != nil {
				return nil, fmt.Errorf("metric %q: %s: %w", t.Name, part.name, err)
			}
			text.WriteString(written)
		}
		out[part.name] = text.String()
	}
	return out, nil
}

// query is a template's text, taken apart.
type query struct {
	pieces []piece
	code   string // all but comments, with string literals emptied
	faults []error
}

// piece is text as it stands or a placeholder within a string literal.
type piece struct {
	text        string
	placeholder string // empty for text
	quote       byte   // of the literal
	pattern     bool   // the literal is a regular expression
}

// write is the piece with a placeholder's value.
func (p piece) write(value string) (string, error) {
	switch {
	case p.placeholder == "":
		return p.text, nil
	case value == "" || !utf8.ValidString(value):
		return "", fmt.Errorf("the value of {{%s}} is %q: a Kubernetes name is needed", p.placeholder, value)
	}
	if p.pattern {
		value = regexp.QuoteMeta(value)
	}
	if p.placeholder == placePods {
		value += podSuffix
	}
	if p.quote == '`' {
		if strings.ContainsAny(value, "`\r\ufffd") {
			return "", fmt.Errorf("the value of {{%s}} is %q, which can't stand between backquotes: write the literal with double quotes", p.placeholder, value)
		}
		return value, nil
	}
	return escape(value, p.quote), nil
}

// escape is the content of a string literal between the given quotes that means
// the value. PromQL's strings are Go's, between either kind of quotes; its parser
// refuses U+FFFD as it stands, so nothing but ASCII is written.
func escape(value string, quote byte) string {
	var out []byte
	for _, r := range value {
		switch r {
		case rune(quote):
			out = append(out, '\\', byte(r))
		case '"', '\'':
			out = append(out, byte(r))
		default:
			quoted := strconv.AppendQuoteRuneToASCII(nil, r)
			out = append(out, quoted[1:len(quoted)-1]...)
		}
	}
	return string(out)
}

// parse takes a template's text apart as far as needed to know what stands in
// string literals, in comments and elsewhere.
func parse(text string) query {
	var q query
	var code strings.Builder
	for text != "" {
		end := strings.IndexAny(text, "#\"'`")
		if end < 0 {
			end = len(text)
		}
		q.outside(text[:end], "outside of a string literal")
		code.WriteString(text[:end])
		if text = text[end:]; text == "" {
			break
		}
		if text[0] == '#' {
			line, _, _ := strings.Cut(text, "\n")
			q.outside(line, "in a comment")
			text = text[len(line):]
			continue
		}
		body, ok := literal(text)
		if !ok {
			q.faults = append(q.faults, fmt.Errorf("the string that begins at %s doesn't end: close it with %c", shorten(text), text[0]))
			break
		}
		q.literal(body, text[0], operator(code.String()))
		code.WriteString(`""`)
		text = text[len(body)+2:]
	}
	q.code = code.String()
	return q
}

// outside takes text in which no placeholder may be.
func (q *query) outside(text, where string) {
	if at := strings.Index(text, "{{"); at >= 0 {
		q.faults = append(q.faults, fmt.Errorf("the placeholder at %s is %s: placeholders stand in the strings of label matchers, as in namespace=\"{{namespace}}\"",
			shorten(text[at:]), where))
	}
	q.pieces = append(q.pieces, piece{text: text})
}

// literal is the body of the string literal with which the text begins.
func literal(text string) (body string, ok bool) {
	quote := text[0]
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == quote:
			return text[1:i], true
		case quote == '`':
		case text[i] == '\\':
			i++
		case text[i] == '\n':
			return "", false
		}
	}
	return "", false
}

// operator is the operator with which the code ends.
func operator(code string) string {
	code = strings.TrimSpace(code)
	return code[len(strings.TrimRight(code, "=!~<>")):]
}

// literal takes a string literal's body apart.
func (q *query) literal(body string, quote byte, operator string) {
	q.pieces = append(q.pieces, piece{text: string(quote)})
	for body != "" {
		text, rest, found := strings.Cut(body, "{{")
		q.pieces = append(q.pieces, piece{text: text})
		if !found {
			break
		}
		name, after, closed := strings.Cut(rest, "}}")
		name = strings.TrimSpace(name)
		switch {
		case !closed:
			q.faults = append(q.faults, fmt.Errorf("the placeholder at %s doesn't end: close it with }}", shorten("{{"+rest)))
		default:
			q.placeholder(piece{placeholder: name, quote: quote, pattern: strings.HasSuffix(operator, "~")}, operator, text)
		}
		body = after
	}
	q.pieces = append(q.pieces, piece{text: string(quote)})
}

// placeholder takes one that follows some text in a literal after an operator.
func (q *query) placeholder(p piece, operator, text string) {
	name := p.placeholder
	switch {
	case !slices.Contains(placeholders, name):
		q.faults = append(q.faults, fmt.Errorf("the placeholder {{%s}} is unknown: %s", name, knownPlaceholders))
	case !slices.Contains([]string{"=", "!=", "=~", "!~"}, operator):
		q.faults = append(q.faults, fmt.Errorf("the placeholder {{%s}} is in a string that is no label's value: write it as in namespace=\"{{namespace}}\"", name))
	case name == placePods && !p.pattern:
		q.faults = append(q.faults, fmt.Errorf("{{pods}} is a pattern and stands after %s: write pod=~\"{{pods}}\"", operator))
	case strings.HasSuffix(text, `\`):
		q.faults = append(q.faults, fmt.Errorf("a backslash stands before {{%s}}: leave it out, the value is escaped already", name))
	}
	q.pieces = append(q.pieces, p)
}

// shorten is the beginning of a text, quoted.
func shorten(text string) string {
	const most = 30
	if r := []rune(text); len(r) > most {
		text = string(r[:most]) + "..."
	}
	return strconv.Quote(text)
}
