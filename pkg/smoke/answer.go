package smoke

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"serin.dev/serin/pkg/safetext"
)

// Request is a check with its values: what is sent.
type Request struct {
	Method, Target string // Target is a path that begins with "/", with its query
	Body, Type     string // Type is the body's media type; empty where nothing is sent
}

// Answer is what came.
type Answer struct {
	Status int
	Header func(name string) string // the first value
	// Body is what was read of it; Cut tells that there was more.
	Body []byte
	Cut  bool
	Took time.Duration // until all of it was there
}

// maxTarget and maxTaken bound what values can grow to, in bytes.
const (
	maxTarget = 2048
	maxTaken  = 512
)

// Fill puts the values that were taken into a check. It fails where they would make
// another path of it than the one that was written.
func (c Check) Fill(values map[string]string) (Request, error) {
	r := Request{Method: c.Method, Target: c.target(values)}
	if before, _, _ := strings.Cut(r.Target, "?"); !plainPath(before) || len(r.Target) > maxTarget {
		return Request{}, fmt.Errorf("with what was taken the path is %s, which is none that may be asked for", quote(r.Target))
	}
	switch {
	case c.Body == "":
	case c.Body.isText():
		r.Type = "text/plain; charset=utf-8"
	default:
		r.Type = "application/json"
	}
	r.Body = c.Body.fill(values)
	return r, nil
}

// target is the path with values. What was taken as a path may begin it; elsewhere all
// signs of a value are escaped that mean something in an address.
func (c Check) target(values map[string]string) string {
	var b strings.Builder
	rest, query := c.Path, false
	for {
		next := placeholder.FindStringIndex(rest)
		if next == nil {
			return b.String() + rest
		}
		before, value := rest[:next[0]], values[named(rest[next[0]:next[1]])]
		b.WriteString(before)
		query = query || strings.Contains(before, "?")
		switch {
		case b.Len() == 0:
			b.WriteString(value)
		case query:
			b.WriteString(url.QueryEscape(value))
		default:
			b.WriteString(url.PathEscape(value))
		}
		rest = rest[next[1]:]
	}
}

// Judge says what is wrong with an answer, as the rest of a sentence: 503 in 12 ms,
// wanted 2xx. It says what came where nothing is.
func (c Check) Judge(a Answer, values map[string]string) (seen string, passed bool) {
	seen = fmt.Sprintf("%d in %s", a.Status, milliseconds(a.Took))
	if a.Status < c.Status.Low || a.Status > c.Status.High {
		return seen + ", wanted " + c.Status.String(), false
	}
	if c.Within > 0 && a.Took >= c.Within {
		return seen + ", wanted less than " + milliseconds(c.Within), false
	}
	for _, text := range c.Contains {
		if wanted := text.fill(values); !strings.Contains(string(a.Body), wanted) {
			return seen + " without " + quote(wanted) + a.read() + a.begins(), false
		}
	}
	return seen, true
}

// From takes the value. It fails with the rest of a sentence about the answer; asked is
// the path that was asked for.
func (t Take) From(a Answer, asked string) (string, error) {
	value, err := t.raw(a, asked)
	switch {
	case err != nil:
		return "", err
	case value == "":
		return "", fmt.Errorf("nothing at %s", t.from())
	case len(value) > maxTaken:
		return "", fmt.Errorf("more than %d bytes at %s", maxTaken, t.from())
	}
	return value, nil
}

func (t Take) raw(a Answer, asked string) (string, error) {
	switch t.Header {
	case "":
		return t.fromJSON(a)
	case location:
		return pathOf(a.Header(location), asked)
	}
	return a.Header(t.Header), nil
}

func (t Take) fromJSON(a Answer) (string, error) {
	if a.Cut {
		return "", errors.New("more than is read, so that no value can be taken from it")
	}
	d := json.NewDecoder(strings.NewReader(string(a.Body)))
	d.UseNumber()
	var tree any
	if err := d.Decode(&tree); err != nil {
		return "", errors.New("no JSON" + a.begins())
	}
	for _, k := range t.Path {
		tree = k.of(tree)
	}
	switch value := tree.(type) {
	case string:
		return value, nil
	case json.Number:
		return value.String(), nil
	case bool:
		return strconv.FormatBool(value), nil
	case nil:
		return "", nil
	}
	return "", fmt.Errorf("a list or an object at %s, wanted a text or a number", t.from())
}

// of goes one step into JSON; nil where there is none.
func (k Key) of(tree any) any {
	if k.Field != "" {
		object, _ := tree.(map[string]any)
		return object[k.Field]
	}
	if items, _ := tree.([]any); k.Index < len(items) {
		return items[k.Index]
	}
	return nil
}

// pathOf is the path of an address, which may be given from the path that was asked
// for. Where it leads to is of no interest: the same pods are asked.
func pathOf(address, asked string) (string, error) {
	if address == "" {
		return "", nil
	}
	base, err := url.Parse("http://pod" + asked)
	if err != nil {
		return "", fmt.Errorf("a location that can't be told from %s", quote(asked))
	}
	there, err := base.Parse(address)
	if err != nil {
		return "", fmt.Errorf("the location %s, which is no address", quote(address))
	}
	path := there.EscapedPath()
	if path == "" {
		path = "/"
	}
	if there.Opaque != "" || !plainPath(path) {
		return "", fmt.Errorf("the location %s, whose path is none that may be asked for", quote(address))
	}
	return path, nil
}

func (a Answer) read() string {
	if a.Cut {
		return " in the " + strconv.Itoa(len(a.Body)) + " bytes that are read of it"
	}
	return ""
}

func (a Answer) begins() string {
	if len(a.Body) == 0 {
		return "; it is empty"
	}
	return "; it begins with " + quote(string(a.Body))
}

// maxQuoted is how much of an answer is shown, in characters.
const maxQuoted = 80

// quote is the beginning of what others wrote, as one line that steers nothing.
func quote(text string) string {
	safe := safetext.Line(strings.Join(strings.FieldsFunc(text[:min(len(text), 4*maxQuoted)], unicode.IsSpace), " "))
	if runes := []rune(safe); len(runes) > maxQuoted {
		safe = string(runes[:maxQuoted]) + "..."
	}
	return `"` + safe + `"`
}

// milliseconds is a time as people read it.
func milliseconds(t time.Duration) string {
	switch {
	case t >= 10*time.Second:
		return strconv.FormatFloat(t.Seconds(), 'f', 1, 64) + " s"
	case t > 0 && t < time.Millisecond:
		return "less than 1 ms"
	}
	return strconv.FormatInt(t.Milliseconds(), 10) + " ms"
}
