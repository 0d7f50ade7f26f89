package annotation

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"serin.dev/serin/pkg/canary"
)

const (
	maxHeaderName   = 64
	maxHeaderValues = 20
	maxHeaderValue  = 100
	maxPattern      = 200
)

const headerMend = `write for example "x-app-version: canary", "cookie: track=canary" or "none"`

// These either never reach a route as a client sent them, or decide about the
// connection and not about the user.
var forbiddenHeaders = []string{
	"host", "connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
}

var (
	headerName  = regexp.MustCompile("^[a-z0-9!#$%&'*+.^_`|~-]+$")
	headerValue = regexp.MustCompile(`^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$`)
	cookieName  = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
	cookieValue = regexp.MustCompile(`^[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]+$`)
)

func parseHeader(value string, d *draft) []fault {
	if value == "none" {
		d.spec.Header = canary.Header{}
		return nil
	}
	name, rest, split := strings.Cut(value, ":")
	if strings.HasPrefix(value, ":") {
		return one("names a pseudo-header, which can't be matched", headerMend)
	}
	name, rest = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(rest)
	if !split || rest == "" {
		return one("is no header with a value", headerMend)
	}
	var header canary.Header
	var faults []fault
	if name == "cookie" {
		header, faults = parseCookie(rest)
	} else {
		header, faults = parseHeaderMatch(name, rest)
	}
	if faults == nil {
		d.spec.Header = header
	}
	return faults
}

func parseHeaderMatch(name, rest string) (canary.Header, []fault) {
	faults := checkHeaderName(name)
	if pattern, is := strings.CutPrefix(rest, "regex:"); is {
		pattern = strings.TrimSpace(pattern)
		return canary.Header{Name: name, Match: canary.MatchRegex, Values: []string{pattern}}, append(faults, checkPattern(pattern, patternMend)...)
	}
	if prefix, is := strings.CutPrefix(rest, "prefix:"); is {
		prefix = strings.TrimSpace(prefix)
		if strings.Contains(prefix, ",") {
			faults = append(faults, fault{"has several prefixes", `write one, or a regular expression like "x-group: regex:(beta|staff)-.*"`})
		}
		return canary.Header{Name: name, Match: canary.MatchPrefix, Values: []string{prefix}}, append(faults, checkValues([]string{prefix}, headerValue)...)
	}
	values := list(rest)
	return canary.Header{Name: name, Match: canary.MatchExact, Values: values}, append(faults, checkValues(values, headerValue)...)
}

func parseCookie(rest string) (canary.Header, []fault) {
	name, values, split := strings.Cut(rest, "=")
	name = strings.TrimSpace(name)
	if !split || !cookieName.MatchString(name) || len(name) > maxHeaderName {
		return canary.Header{}, one("names no cookie with a value", `write for example "cookie: track=canary"`)
	}
	header := canary.Header{Name: name, Match: canary.MatchCookie, Values: list(values)}
	return header, checkValues(header.Values, cookieValue)
}

func checkHeaderName(name string) []fault {
	switch {
	case len(name) > maxHeaderName:
		return one(fmt.Sprintf("has a name longer than %d bytes", maxHeaderName), headerMend)
	case !headerName.MatchString(name):
		return one(fmt.Sprintf("has the name %q, which no header can have", name), headerMend)
	case slices.Contains(forbiddenHeaders, name):
		return one(fmt.Sprintf("uses the header %s, which doesn't tell users apart", name), headerMend)
	}
	return nil
}

func checkValues(values []string, valid *regexp.Regexp) []fault {
	if len(values) > maxHeaderValues {
		return one(fmt.Sprintf("has %d values, at most %d are allowed", len(values), maxHeaderValues), `write a regular expression like "x-group: regex:team-[0-9]+"`)
	}
	var faults []fault
	for i, v := range values {
		switch {
		case v == "":
			faults = append(faults, fault{"has an empty value", headerMend})
		case len(v) > maxHeaderValue:
			faults = append(faults, fault{fmt.Sprintf("has a value longer than %d bytes", maxHeaderValue), headerMend})
		case !valid.MatchString(v):
			faults = append(faults, fault{fmt.Sprintf("has the value %q with characters that can't stand there", v), headerMend})
		case slices.Contains(values[:i], v):
			faults = append(faults, fault{fmt.Sprintf("has the value %q twice", v), "write each value once"})
		}
	}
	return faults
}

const patternMend = `write an RE2 expression for the whole value, like "x-group: regex:(beta|staff)-.*"`

// checkPattern compiles with Go's engine: like Envoy's it is RE2.
func checkPattern(pattern, mend string) []fault {
	if pattern == "" {
		return one("has an empty regular expression", mend)
	}
	if len(pattern) > maxPattern {
		return one(fmt.Sprintf("has a regular expression of %d bytes, at most %d are allowed", len(pattern), maxPattern), mend)
	}
	if _, err := regexp.Compile(pattern); err != nil {
		return one("has a regular expression that doesn't compile: "+strings.TrimPrefix(err.Error(), "error parsing regexp: "), mend)
	}
	return nil
}
