// Package matcher reads which alerts a release looks at, in the syntax in which
// Alertmanager itself writes matchers (its UTF-8 syntax, of 0.27 and newer):
//
//	namespace="shop", alertname=~"Checkout.*"; team="payments"
//
// Matchers between commas have to hold all, and of the sets between semicolons one
// has to; the semicolon is the one addition. The word default is a set of its own,
// whose meaning the reader of a Rule knows. The package is pure.
package matcher

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// The bounds of a Rule.
const (
	MaxBytes    = 400 // of the text
	MaxSets     = 8
	MaxMatchers = 16 // in all sets together
)

// Default is the word for the alerts that count where nobody says which.
const Default = "default"

// Operator compares a label with a value.
type Operator string

// The operators. A regular expression is RE2 and matches the whole value.
const (
	Equal      Operator = "="
	NotEqual   Operator = "!="
	Matches    Operator = "=~"
	MatchesNot Operator = "!~"
)

// Matcher is a condition on one label. A label that an alert doesn't have is empty.
type Matcher struct {
	Label    string
	Operator Operator
	Value    string // may hold placeholders
}

// Rule says which alerts are meant: those of one of its sets.
type Rule struct {
	Default bool        // the word default was among the sets
	Sets    [][]Matcher // none of them empty
}

// Names reports whether any matcher of the rule is about this label.
func (r Rule) Names(label string) bool {
	return slices.ContainsFunc(r.Sets, func(set []Matcher) bool {
		return slices.ContainsFunc(set, func(m Matcher) bool { return m.Label == label })
	})
}

// Placeholders are what a value may hold, in braces, for the release's own names.
var Placeholders = []string{"namespace", "service", "canary", "stable"}

// placeholder is a word in braces; {2} and {1,3} of regular expressions are none.
var placeholder = regexp.MustCompile(`\{[A-Za-z_]+\}`)

// Test tells whether an alert with these labels is meant.
type Test func(labels map[string]string) bool

// For is the rule with its placeholders filled in, each with the value of its name;
// one without a value is empty. The rule is one that Parse gave. Default is not part
// of it.
func (r Rule) For(names map[string]string) Test {
	var sets [][]Test
	for _, set := range r.Sets {
		tests := make([]Test, len(set))
		for i, m := range set {
			tests[i] = m.test(names)
		}
		sets = append(sets, tests)
	}
	return func(labels map[string]string) bool {
		return slices.ContainsFunc(sets, func(set []Test) bool {
			return !slices.ContainsFunc(set, func(t Test) bool { return !t(labels) })
		})
	}
}

func (m Matcher) test(names map[string]string) Test {
	value := m.Value
	fill := func(as func(string) string) string {
		return placeholder.ReplaceAllStringFunc(value, func(word string) string { return as(names[word[1:len(word)-1]]) })
	}
	switch m.Operator {
	case Equal, NotEqual:
		value = fill(func(name string) string { return name })
		return func(labels map[string]string) bool { return (labels[m.Label] == value) == (m.Operator == Equal) }
	}
	re, err := whole(fill(literally))
	if err != nil { // of no rule that Parse gave
		return func(map[string]string) bool { return false }
	}
	return func(labels map[string]string) bool {
		return re.MatchString(labels[m.Label]) == (m.Operator == Matches)
	}
}

// literally is a name inside a regular expression, be it in a class of characters.
func literally(name string) string {
	return strings.ReplaceAll(regexp.QuoteMeta(name), "-", `\-`)
}

func whole(pattern string) (*regexp.Regexp, error) { return regexp.Compile("^(?:" + pattern + ")$") }

// String is the rule as Parse reads it, with all values in quotes.
func (r Rule) String() string {
	var sets []string
	if r.Default {
		sets = append(sets, Default)
	}
	for _, set := range r.Sets {
		var all []string
		for _, m := range set {
			all = append(all, m.String())
		}
		sets = append(sets, strings.Join(all, ", "))
	}
	return strings.Join(sets, "; ")
}

// String is the matcher as Alertmanager reads it.
func (m Matcher) String() string {
	label := m.Label
	if label == Default || strings.ContainsFunc(label, reserved) {
		label = quote(label)
	}
	return fmt.Sprintf("%s%s%s", label, m.Operator, quote(m.Value))
}
