package matcher

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Mistake is one thing that is wrong with a text.
type Mistake struct {
	Problem string // like: has no value after "=" at character 9
	Mend    string // what to write instead
}

// Error is the mistake as one sentence.
func (m Mistake) Error() string { return m.Problem + "; " + m.Mend }

const like = `write for example alertname=~"Checkout.*", team="shop"`

// Parse reads a rule. It finds all mistakes that can be told apart; with any, the
// rule is not to be used.
func Parse(text string) (Rule, []Mistake) {
	switch {
	case len(text) > MaxBytes:
		return Rule{}, []Mistake{{fmt.Sprintf("is %d bytes long, at most %d are allowed", len(text), MaxBytes), "match more with fewer regular expressions"}}
	case !utf8.ValidString(text):
		return Rule{}, []Mistake{{"is no UTF-8 text", like}}
	}
	r := reader{text: text}
	var rule Rule
	count := 0
	for first := true; first || r.take(";"); first = false {
		r.space()
		if r.word(Default) {
			if rule.Default {
				r.fail(`has the word default twice`, "write it once")
			}
			rule.Default = true
			continue
		}
		set := r.set()
		count += len(set)
		if set != nil {
			rule.Sets = append(rule.Sets, set)
		}
	}
	if len(rule.Sets) > MaxSets || count > MaxMatchers {
		r.fail(fmt.Sprintf("has %d sets with %d matchers, at most %d and %d are allowed", len(rule.Sets), count, MaxSets, MaxMatchers), "match more with fewer regular expressions")
	}
	return rule, r.mistakes
}

// reader goes through a text once. After a mistake it goes on behind the matcher in
// which it was found.
type reader struct {
	text     string
	at       int
	mistakes []Mistake
}

func (r *reader) fail(problem, mend string) { r.mistakes = append(r.mistakes, Mistake{problem, mend}) }

// here is where the reader is, counted as people count.
func (r *reader) here() string {
	if r.at >= len(r.text) {
		return "at the end"
	}
	return fmt.Sprintf("at character %d", utf8.RuneCountInString(r.text[:r.at])+1)
}

// set reads the matchers up to a semicolon or the end, in braces or not.
func (r *reader) set() []Matcher {
	start, before := r.here(), len(r.mistakes)
	braced := r.take("{")
	var set []Matcher
	for {
		r.space()
		if r.ends(braced) {
			break
		}
		if m, ok := r.matcher(); ok {
			set = append(set, m)
		} else {
			r.skip()
		}
		if !r.take(",") {
			break
		}
	}
	switch {
	case braced && !r.take("}"):
		r.unexpected(`"}" or a comma`)
	case !r.over():
		r.unexpected("a comma, a semicolon or the end")
	case len(r.mistakes) > before:
	case len(set) == 0:
		r.fail("has no matcher "+start, like)
	case meansAll(set):
		r.fail("has a set that every alert matches, "+start, "name at least one label that the alert must have")
	}
	return set
}

func (r *reader) unexpected(wanted string) {
	r.fail(fmt.Sprintf("has %s where %s is due", r.found(), wanted), like)
	for r.at < len(r.text) && r.text[r.at] != ';' {
		r.at++
	}
}

// found is what stands where the reader is.
func (r *reader) found() string {
	if r.at >= len(r.text) {
		return "nothing at the end"
	}
	_, size := utf8.DecodeRuneInString(r.text[r.at:])
	return strconv.Quote(r.text[r.at:r.at+size]) + " " + r.here()
}

// ends reports whether no further matcher follows in this set.
func (r *reader) ends(braced bool) bool {
	return r.at >= len(r.text) || r.text[r.at] == ';' || braced && r.text[r.at] == '}'
}

func (r *reader) over() bool {
	r.space()
	return r.at >= len(r.text) || r.text[r.at] == ';'
}

// meansAll reports whether an alert without any label would match.
func meansAll(set []Matcher) bool {
	return Rule{Sets: [][]Matcher{set}}.For(map[string]string{"namespace": "x", "service": "x", "canary": "x", "stable": "x"})(nil)
}

// matcher reads one: a label, an operator, a value.
func (r *reader) matcher() (Matcher, bool) {
	label, ok := r.token("the name of a label")
	if !ok {
		return Matcher{}, false
	}
	operator, ok := r.operator()
	if !ok {
		return Matcher{}, false
	}
	start := r.here()
	value, ok := r.token("a value")
	if !ok {
		return Matcher{}, false
	}
	m := Matcher{Label: label, Operator: operator, Value: value}
	if label == "" {
		r.fail("has a label without a name "+start, like)
		return m, true
	}
	r.check(m, start)
	return m, true
}

// check finds what is wrong with a value that is written rightly.
func (r *reader) check(m Matcher, start string) {
	for _, word := range placeholder.FindAllString(m.Value, -1) {
		if !slices.Contains(Placeholders, word[1:len(word)-1]) {
			r.fail(fmt.Sprintf("has the placeholder %s %s, which is none", word, start), "known are {"+strings.Join(Placeholders, "}, {")+"}")
		}
	}
	if m.Operator == Equal || m.Operator == NotEqual {
		return
	}
	if _, err := whole(placeholder.ReplaceAllString(m.Value, "x")); err != nil {
		r.fail(fmt.Sprintf("has a regular expression %s that doesn't compile: %s", start, strings.TrimPrefix(err.Error(), "error parsing regexp: ")), "write it in the syntax of RE2, in quotes and with each backslash doubled")
	}
}

func (r *reader) operator() (Operator, bool) {
	r.space()
	for _, o := range []Operator{Matches, MatchesNot, NotEqual, Equal} {
		if r.take(string(o)) {
			r.space()
			return o, true
		}
	}
	r.fail(fmt.Sprintf("has %s where one of = != =~ !~ is due", r.found()), like)
	return "", false
}

// token reads a word, or a text in double quotes with the escapes of Go.
func (r *reader) token(what string) (string, bool) {
	r.space()
	rest := r.text[r.at:]
	if strings.HasPrefix(rest, `"`) {
		return r.quoted(what)
	}
	end := strings.IndexFunc(rest, reserved)
	if end < 0 {
		end = len(rest)
	}
	if end == 0 {
		r.fail(fmt.Sprintf("has %s where %s is due", r.found(), what), "write texts with other characters than letters, digits and the like in double quotes")
		return "", false
	}
	r.at += end
	return rest[:end], true
}

func (r *reader) quoted(what string) (string, bool) {
	rest := r.text[r.at:]
	end := closing(rest)
	if end < 0 {
		r.fail(fmt.Sprintf("has a quote %s that is not closed", r.here()), `write " at the end of the text, and \" for one within`)
		r.at = len(r.text)
		return "", false
	}
	text, err := strconv.Unquote(rest[:end])
	if err != nil || !utf8.ValidString(text) {
		r.fail(fmt.Sprintf("has %s %s with an escape that is none", what, r.here()), `write \\ for one backslash and \" for a quote`)
		r.at += end
		return "", false
	}
	r.at += end
	return text, true
}

// closing is where a text in quotes ends, behind its second quote; -1: nowhere.
func closing(text string) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// skip goes to the end of a matcher that can't be read.
func (r *reader) skip() {
	for r.at < len(r.text) && !strings.ContainsRune(",;}", rune(r.text[r.at])) {
		if end := closing(r.text[r.at:]); r.text[r.at] == '"' && end > 0 {
			r.at += end - 1
		}
		r.at++
	}
}

func (r *reader) space() {
	rest := strings.TrimLeftFunc(r.text[r.at:], unicode.IsSpace)
	r.at = len(r.text) - len(rest)
}

// take reads a text that may stand here.
func (r *reader) take(text string) bool {
	r.space()
	if !strings.HasPrefix(r.text[r.at:], text) {
		return false
	}
	r.at += len(text)
	return true
}

// word reads a word that is all of its set.
func (r *reader) word(word string) bool {
	rest, is := strings.CutPrefix(r.text[r.at:], word)
	after := strings.TrimLeftFunc(rest, unicode.IsSpace)
	if !is || after != "" && after[0] != ';' {
		return false
	}
	r.at = len(r.text) - len(after)
	return true
}

// reserved are the characters that stand in quotes only: Alertmanager's, and the
// semicolon.
func reserved(c rune) bool { return unicode.IsSpace(c) || strings.ContainsRune("{}!=~,\\\"'`;", c) }

// quote is a text in quotes; what is not printable stays as it is, for Go's escapes
// of it are not all Alertmanager's.
func quote(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(text) + `"`
}
