// Package smoke is the language of smoke checks: what is asked of a version's own pods
// before users come, and what they have to answer. It is pure; package probe sends.
//
//	checks   = sequence { ";" sequence }
//	sequence = check { "then" check }
//	check    = "GET" path { wanted }  |  "POST" path [ body ] { wanted }
//	path     = what follows the host in an address: /api/items/{id}?full=1
//	body     = JSON in braces or brackets, or a text in double quotes
//	wanted   = status            200, or 2xx; without one 2xx
//	         | "<" duration      <300ms: the whole answer is there sooner
//	         | "contains" text   a word, or a text in double quotes
//	         | "take" name "=" from
//	from     = path in JSON      .id, .items[0].name
//	         | "header:" name    header:location is taken as a path
//
// Texts in double quotes are JSON's. {name} stands for a value that an earlier check of
// the same sequence took; in a path it is escaped, so that it stays one part of it. A
// path that begins with a {name} taken from header:location is that path.
package smoke

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// MaxChecks is how many checks there may be in all.
const MaxChecks = 10

// Checks are sequences of which none waits for another.
type Checks []Sequence

// Sequence is checks one after another: the first that fails ends it.
type Sequence []Check

// Check is one request and what its answer has to be.
type Check struct {
	Method string // GET or POST
	Path   string // from the host on, as written: with {name} for taken values
	// Body is what is sent: JSON, or a text if it is a JSON string; empty: nothing.
	Body   Template
	Status Status
	// Within is the time in which the whole answer has to be there, 1ms to 1m; 0: any.
	Within   time.Duration
	Contains []Template // texts that the answer has to hold
	Take     []Take
}

// Template is JSON as it was written. Within its strings {name} stands for a taken
// value; a brace that shall be one is written \u007b.
type Template string

// Status is the range of statuses that are wanted, both of them included.
type Status struct{ Low, High int }

// success is wanted where nothing is said.
var success = Status{200, 299}

// Take is a value that is taken from an answer, for the checks behind it.
type Take struct {
	Name   string
	Header string // lower case; empty: Path
	Path   []Key  // into JSON
}

// Key is one step into JSON: a field, or an index where Field is empty.
type Key struct {
	Field string
	Index int
}

// location is the header that is taken as a path.
const location = "location"

// placeholder is a taken value's place. No JSON but a string can hold one.
var placeholder = regexp.MustCompile(`\{[A-Za-z][A-Za-z0-9_]*\}`)

// Count is how many checks there are.
func (c Checks) Count() int {
	n := 0
	for _, s := range c {
		n += len(s)
	}
	return n
}

// String is the checks in the language; Parse reads it back as the same.
func (c Checks) String() string {
	sequences := make([]string, len(c))
	for i, s := range c {
		checks := make([]string, len(s))
		for j, check := range s {
			checks[j] = check.String()
		}
		sequences[i] = strings.Join(checks, " then ")
	}
	return strings.Join(sequences, "; ")
}

// Name is what is asked: GET /healthz.
func (c Check) Name() string { return c.Method + " " + c.Path }

// String is the check in the language.
func (c Check) String() string {
	words := []string{c.Name()}
	if c.Body != "" {
		words = append(words, string(c.Body))
	}
	if c.Status != success {
		words = append(words, c.Status.String())
	}
	if c.Within > 0 {
		words = append(words, "<"+c.Within.String())
	}
	for _, text := range c.Contains {
		words = append(words, "contains "+string(text))
	}
	for _, t := range c.Take {
		words = append(words, "take "+t.String())
	}
	return strings.Join(words, " ")
}

// String is the range as it is written: 200, or 2xx.
func (s Status) String() string {
	if s.Low == s.High {
		return strconv.Itoa(s.Low)
	}
	return strconv.Itoa(s.Low/100) + "xx"
}

// String is the taking as it is written: id=.items[0].id.
func (t Take) String() string { return t.Name + "=" + t.from() }

func (t Take) from() string {
	if t.Header != "" {
		return headerPrefix + t.Header
	}
	var b strings.Builder
	for _, k := range t.Path {
		if k.Field != "" {
			b.WriteString("." + k.Field)
		} else {
			fmt.Fprintf(&b, "[%d]", k.Index)
		}
	}
	return b.String()
}

// isText tells a text from other JSON.
func (t Template) isText() bool { return strings.HasPrefix(string(t), `"`) }

// fill puts values into the places that stand for them.
func (t Template) fill(values map[string]string) string {
	filled := placeholder.ReplaceAllStringFunc(string(t), func(place string) string {
		value := quoted(values[named(place)])
		return value[1 : len(value)-1]
	})
	if !t.isText() {
		return filled
	}
	var text string
	// It was JSON when it was read, and is still with values that are escaped.
	_ = json.Unmarshal([]byte(filled), &text)
	return text
}

// named is the name in a {name}.
func named(place string) string { return place[1 : len(place)-1] }

// quoted is a text as a JSON string, with nothing escaped that needn't be.
func quoted(text string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(text) // no string fails
	return strings.TrimSuffix(b.String(), "\n")
}
