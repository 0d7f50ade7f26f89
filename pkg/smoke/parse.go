package smoke

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Mistake is one thing that is wrong in a text of checks.
type Mistake struct {
	At      int    // where, in characters from 1
	Problem string // the rest of a sentence: has "PUT" at character 9, which ...
	Mend    string
}

// Error is the mistake as a sentence.
func (m Mistake) Error() string { return "the text " + m.Problem + "; " + m.Mend }

const (
	then         = "then"
	contains     = "contains"
	take         = "take"
	headerPrefix = "header:"

	get  = "GET"
	post = "POST"
)

// Bounds of what an answer has to keep.
const (
	minWithin = time.Millisecond
	maxWithin = time.Minute
)

const example = `write for example "GET /healthz; GET /api/items 200 <300ms contains ok"`

// Parse reads checks. With any mistake there are none; all mistakes are told, but those
// behind a text or JSON that has no end, for nobody knows what they would be.
func Parse(text string) (Checks, []Mistake) {
	p := parser{text: text}
	if i := strings.IndexFunc(text, func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) && !unicode.IsSpace(r) }); i >= 0 {
		p.wrong(i, "has something at character %d that is not to be printed", "take it away")
		return nil, p.mistakes
	}
	checks := p.checks()
	if len(p.mistakes) > 0 {
		return nil, p.mistakes
	}
	return checks, nil
}

// parser reads from left to right.
type parser struct {
	text     string
	at       int // what is to be read next
	count    int // of checks so far
	mistakes []Mistake
	// lost tells that what is left can't be made out.
	lost bool
}

// wrong notes a mistake at a byte. The problem has the character's place as its first
// argument.
func (p *parser) wrong(at int, problem, mend string, more ...any) {
	place := utf8.RuneCountInString(p.text[:at]) + 1
	p.mistakes = append(p.mistakes, Mistake{At: place, Problem: fmt.Sprintf(problem, append([]any{place}, more...)...), Mend: mend})
}

// odd notes a mistake about a word.
func (p *parser) odd(at int, word, problem, mend string) {
	p.wrong(at, "has %[2]q at character %[1]d, %[3]s", mend, word, problem)
}

func (p *parser) checks() Checks {
	var all Checks
	for !p.lost {
		if s := p.sequence(); len(s) > 0 {
			all = append(all, s)
		}
		if !p.next(';') {
			break
		}
	}
	return all
}

// next reads one sign, if it comes next.
func (p *parser) next(sign byte) bool {
	p.space()
	if p.at < len(p.text) && p.text[p.at] == sign {
		p.at++
		return true
	}
	return false
}

func (p *parser) space() {
	rest := p.text[p.at:]
	p.at += len(rest) - len(strings.TrimLeftFunc(rest, unicode.IsSpace))
}

// ends tells that a sequence has no more.
func (p *parser) ends() bool {
	p.space()
	return p.at == len(p.text) || p.text[p.at] == ';'
}

// word reads up to a space or the end of the sequence.
func (p *parser) word() (word string, at int) {
	p.space()
	at = p.at
	rest := p.text[at:]
	if i := strings.IndexFunc(rest, func(r rune) bool { return unicode.IsSpace(r) || r == ';' }); i >= 0 {
		rest = rest[:i]
	}
	p.at += len(rest)
	return rest, at
}

func (p *parser) sequence() Sequence {
	var s Sequence
	taken := map[string]string{} // name to what it is taken from
	for more := true; more && !p.lost; {
		if p.count++; p.count > MaxChecks {
			p.space()
			p.wrong(p.at, "has more than %[2]d checks from character %[1]d on", "keep those without which no user should come", MaxChecks)
			p.lost = true
			return nil
		}
		var c Check
		c, more = p.check(taken)
		s = append(s, c)
	}
	return s
}

// check reads one check; more tells that "then" follows.
func (p *parser) check(taken map[string]string) (c Check, more bool) {
	c.Status = success
	if p.space(); p.ends() {
		p.wrong(p.at, "has no check at character %d", example)
		return c, false
	}
	c.Method = p.method()
	c.Path = p.path(c.Method, taken)
	set := map[string]bool{}
	for !p.ends() && !p.lost {
		if strings.ContainsRune(`{["`, rune(p.text[p.at])) {
			p.body(&c, taken)
			continue
		}
		word, at := p.word()
		switch word {
		case then:
			return c, true
		case get, post:
			p.odd(at, word, "which begins another check", fmt.Sprintf("write \"then %s\" to go on when this one passed, or \"; %s\"", word, word))
			p.at = at
			return c, true
		}
		p.wanted(&c, word, at, set, taken)
	}
	return c, false
}

func (p *parser) method() string {
	word, at := p.word()
	switch upper := strings.ToUpper(word); {
	case word == then:
		p.odd(at, word, "with no check before it", example)
		return p.method()
	case word == get || word == post:
	case upper == get || upper == post:
		p.odd(at, word, "which is not in capitals", "write "+upper)
		return upper
	case strings.HasPrefix(word, "/"):
		p.odd(at, word, "before which the method is missing", fmt.Sprintf("write %q", get+" "+word))
		p.at = at
	default:
		p.odd(at, word, "which is neither GET nor POST", "begin each check with one of them, like \"GET /healthz\"")
	}
	return word
}

func (p *parser) path(method string, taken map[string]string) string {
	if p.ends() && (method == get || method == post) {
		p.wrong(p.at, "has no path behind %[2]s at character %[1]d", `write one, like "GET /healthz"`, method)
		return ""
	}
	word, at := p.word()
	if method != get && method != post && !strings.HasPrefix(word, "/") {
		return word // what is no check needs no path
	}
	if problem, mend := pathFault(word, taken); problem != "" {
		p.odd(at, word, problem, mend)
	} else {
		p.known(at, word, taken)
	}
	return word
}

// known notes places whose value no check before took.
func (p *parser) known(at int, text string, taken map[string]string) {
	for _, place := range placeholder.FindAllString(text, -1) {
		if _, is := taken[named(place)]; !is {
			p.odd(at, place, "which no check before it in the same sequence takes",
				fmt.Sprintf("take it there, like \"take %s=.id\", or write \\u007b for a brace that is one", named(place)))
		}
	}
}

// body reads JSON or a text in quotes.
func (p *parser) body(c *Check, taken map[string]string) {
	at := p.at
	body := p.json("JSON in braces or brackets, or a text in double quotes; a taken value stands within quotes")
	switch {
	case p.lost:
	case c.Method == get:
		p.odd(at, shortened(string(body)), "which GET doesn't send", "write POST, or take it away")
	case c.Body != "":
		p.odd(at, shortened(string(body)), "though there is a body already", "write one of them, or \"contains\" before what the answer has to hold")
	default:
		c.Body = body
		p.known(at, string(body), taken)
	}
}

// json reads one value of JSON.
func (p *parser) json(mend string) Template {
	d := json.NewDecoder(strings.NewReader(p.text[p.at:]))
	var value json.RawMessage
	if err := d.Decode(&value); err != nil {
		why := strings.TrimPrefix(err.Error(), "json: ")
		if errors.Is(err, io.ErrUnexpectedEOF) {
			why = "it has no end"
		}
		p.wrong(p.at, "has %[2]q at character %[1]d, which is no JSON: %[3]s", "write "+mend, shortened(p.text[p.at:]), why)
		p.lost = true
		return ""
	}
	p.at += int(d.InputOffset())
	return Template(value)
}

var statusForm = regexp.MustCompile(`^[2-5]([0-9][0-9]|xx)$`)

// wanted reads what an answer has to be, or what is taken from it.
func (p *parser) wanted(c *Check, word string, at int, set map[string]bool, taken map[string]string) {
	once := func(what string) {
		if set[what] {
			p.odd(at, word, "though "+what+" is given already", "write one of them")
		}
		set[what] = true
	}
	switch {
	case statusForm.MatchString(word):
		once("a status")
		c.Status = statusOf(word)
	case strings.HasPrefix(word, "<"):
		once("a time")
		c.Within = p.within(word, at)
	case word == contains:
		if text := p.contained(at, taken); text != "" {
			c.Contains = append(c.Contains, text)
		}
	case word == take:
		if t, ok := p.take(at, taken); ok {
			c.Take = append(c.Take, t)
			taken[t.Name] = t.from()
		}
	case strings.HasPrefix(word, "/"):
		p.odd(at, word, "though the check has a path already", "write \"then GET\" or \"; GET\" before it")
	default:
		p.odd(at, word, "which is nothing that can be wanted", `write a status like 200 or 2xx, a time like <300ms, "contains" and a text, or "take" and a value`)
	}
}

func statusOf(word string) Status {
	if class, is := strings.CutSuffix(word, "xx"); is {
		low, _ := strconv.Atoi(class + "00")
		return Status{low, low + 99}
	}
	code, _ := strconv.Atoi(word)
	return Status{code, code}
}

func (p *parser) within(word string, at int) time.Duration {
	value := strings.TrimPrefix(word, "<")
	if value == "" && !p.ends() {
		value, _ = p.word()
	}
	t, err := time.ParseDuration(value)
	switch {
	case err != nil:
		p.odd(at, "<"+value, "which is no time", "write for example <300ms")
	case t < minWithin || t > maxWithin:
		p.odd(at, "<"+value, fmt.Sprintf("which is not between %s and %s", minWithin, "1m"), "write for example <300ms")
	}
	return t
}

func (p *parser) contained(at int, taken map[string]string) Template {
	const mend = `write a word, or a text in double quotes, like contains "two words"`
	if p.ends() {
		p.odd(at, contains, "with nothing behind it", mend)
		return ""
	}
	at = p.at
	var text Template
	if p.text[at] == '"' {
		text = p.json("a text in double quotes, with \\\" for a quote in it")
	} else {
		word, _ := p.word()
		text = Template(quoted(word))
	}
	if text == `""` {
		p.odd(at, `""`, "which every answer contains", mend)
	}
	p.known(at, string(text), taken)
	return text
}

var (
	takenName  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,29}$`)
	headerName = regexp.MustCompile("^[a-z0-9!#$%&'*+.^_`|~-]{1,64}$")
	jsonKey    = regexp.MustCompile(`^(?:\.([A-Za-z0-9_-]+)|\.?\[([0-9]{1,4})\])`)
)

// take reads where a value comes from.
func (p *parser) take(at int, taken map[string]string) (Take, bool) {
	const mend = `write for example "take id=.id", "take first=.items[0].id" or "take loc=header:location"`
	if p.ends() {
		p.odd(at, take, "with nothing behind it", mend)
		return Take{}, false
	}
	word, at := p.word()
	name, from, split := strings.Cut(word, "=")
	t := Take{Name: name}
	header, isHeader := strings.CutPrefix(from, headerPrefix)
	if isHeader {
		t.Header = strings.ToLower(header)
	} else {
		t.Path = jsonPath(from)
	}
	switch _, again := taken[name]; {
	case !split || !takenName.MatchString(name):
		p.odd(at, word, "which has no name of letters and digits before a =", mend)
	case again:
		p.odd(at, word, "though this sequence takes "+name+" already", "give it another name")
	case isHeader && !headerName.MatchString(t.Header):
		p.odd(at, word, "which names no header", mend)
	case !isHeader && t.Path == nil:
		p.odd(at, word, "which leads nowhere in JSON", mend)
	default:
		return t, true
	}
	return Take{}, false
}

// jsonPath reads .items[0].id; nil where it is none.
func jsonPath(text string) []Key {
	var keys []Key
	for text != "" {
		m := jsonKey.FindStringSubmatch(text)
		if m == nil {
			return nil
		}
		index, _ := strconv.Atoi(m[2])
		keys = append(keys, Key{Field: m[1], Index: index})
		text = text[len(m[0]):]
	}
	return keys
}

// shortened is enough of a text to find it.
func shortened(text string) string {
	const most = 40
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most]) + "..."
}

// pathSigns are those that may stand in a path and a query, beside places for values.
var pathSigns = regexp.MustCompile(`^(?:[A-Za-z0-9._~!$&'()*+,=:@/?-]|%[0-9A-Fa-f]{2})*$`)

// pathFault says what is wrong with a path as it is written, and what to write instead.
func pathFault(path string, taken map[string]string) (problem, mend string) {
	const onlyPath = `write what follows the host, like "/healthz"`
	first := placeholder.FindString(path)
	asPath := first != "" && strings.HasPrefix(path, first)
	if asPath {
		if name := named(first); taken[name] != "" && taken[name] != headerPrefix+location {
			return "which begins with a value that is no path", fmt.Sprintf("write \"/{%s}\", or take it from header:location", name)
		}
	}
	bare := placeholder.ReplaceAllString(path, "x")
	if asPath {
		bare = "/" + bare
	}
	switch before, _, _ := strings.Cut(bare, "?"); {
	case strings.Contains(before, "://") || strings.HasPrefix(bare, "//"):
		return "which names a host, though checks go to the release's own pods alone", onlyPath
	case !strings.HasPrefix(bare, "/"):
		return "which is no path", `write one that begins with a slash, like "/healthz"`
	case strings.Contains(bare, "#"):
		return "which has a fragment, and that is never sent", "take it away, or write %23"
	case !pathSigns.MatchString(bare):
		return "which has signs that can't stand in an address", "write them as escapes, like %20 for a space"
	case !plainPath(before):
		return "which has an empty part, or one of dots alone", "write the path as it is meant, without // and .."
	}
	return "", ""
}

// plainPath tells that a path means itself to whoever reads it: no part of it is empty,
// but for the last one, nor ".", nor "..", however that is written.
func plainPath(path string) bool {
	rest, rooted := strings.CutPrefix(path, "/")
	decoded, err := url.PathUnescape(rest)
	if !rooted || err != nil || strings.ContainsFunc(decoded, unicode.IsControl) {
		return false
	}
	parts := strings.FieldsFunc(decoded, func(r rune) bool { return r == '/' || r == '\\' })
	return !slices.Contains(parts, ".") && !slices.Contains(parts, "..") && !strings.Contains(path, "//")
}
