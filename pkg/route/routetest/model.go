// Package routetest is a small model of how Envoy answers by a VirtualService:
// given a request it tells where it goes, and how often. Tests compare what an
// edit of the routes means with what it shall mean.
package routetest

import (
	"fmt"
	"regexp"
	"strings"
)

// Request is what routes are chosen by.
type Request struct {
	Path, Method, Authority string
	Headers                 map[string]string // names in lower case
	Query                   map[string]string
	Gateway                 string // mesh if empty
}

// Target is where a request may go: a host as written, and a subset or none.
// A route that answers itself (a redirect, say) has the host "answered".
type Target struct{ Host, Subset string }

// Distribution is how a request's chance of 1 is shared out. Targets without a
// chance are left out. It is empty if no route matches.
type Distribution map[Target]float64

// Reply is what becomes of a request.
type Reply struct {
	To      Distribution
	Copies  Distribution      // whom copies are sent to, and the share of requests that are copied
	Cookies map[Target]string // what each target's answer sets besides its own, whole
}

// Answer tells where a request goes; see Serve.
func Answer(doc map[string]any, q Request) (Distribution, error) {
	reply, err := Serve(doc, q)
	return reply.To, err
}

// Serve finds the first route that matches and shares the request out by its
// weights. It is an error if the document uses a condition the model lacks, or
// weights or mirrors that Istio refuses.
func Serve(doc map[string]any, q Request) (Reply, error) {
	spec, _ := doc["spec"].(map[string]any)
	routes, _ := spec["http"].([]any)
	for i, r := range routes {
		entry, _ := r.(map[string]any)
		ok, err := matchesAny(entry, q)
		if err != nil {
			return Reply{}, fmt.Errorf("spec.http[%d]: %w", i, err)
		}
		if ok {
			d, err := share(entry)
			if err != nil {
				return Reply{}, fmt.Errorf("spec.http[%d]: %w", i, err)
			}
			reply := Reply{To: d, Cookies: cookies(entry)}
			if reply.Copies, err = copies(entry); err != nil {
				return Reply{}, fmt.Errorf("spec.http[%d]: %w", i, err)
			}
			return reply, nil
		}
	}
	return Reply{To: Distribution{}}, nil
}

// copies are those of a route's mirrors, of which Istio takes one or a list, not both.
func copies(entry map[string]any) (Distribution, error) {
	out := Distribution{}
	mirrors, _ := entry["mirrors"].([]any)
	if single, found := entry["mirror"]; found {
		if len(mirrors) > 0 {
			return nil, fmt.Errorf("it has a mirror, and a list of mirrors")
		}
		mirrors = []any{map[string]any{"destination": single, "percentage": entry["mirrorPercentage"]}}
	}
	for _, m := range mirrors {
		policy, _ := m.(map[string]any)
		to, _ := policy["destination"].(map[string]any)
		host, _ := to["host"].(string)
		subset, _ := to["subset"].(string)
		part := 1.0
		if percentage, _ := policy["percentage"].(map[string]any); percentage != nil {
			part = weight(map[string]any{"weight": percentage["value"]}) / 100
		}
		out[Target{host, subset}] += part
	}
	return out, nil
}

// cookies are what destinations add to answers.
func cookies(entry map[string]any) map[Target]string {
	out := map[Target]string{}
	destinations, _ := entry["route"].([]any)
	for _, d := range destinations {
		item, _ := d.(map[string]any)
		where, _ := item["destination"].(map[string]any)
		host, _ := where["host"].(string)
		subset, _ := where["subset"].(string)
		headers, _ := item["headers"].(map[string]any)
		response, _ := headers["response"].(map[string]any)
		add, _ := response["add"].(map[string]any)
		if value, _ := add["set-cookie"].(string); value != "" {
			out[Target{host, subset}] = value
		}
	}
	return out
}

func share(entry map[string]any) (Distribution, error) {
	destinations, _ := entry["route"].([]any)
	if len(destinations) == 0 {
		return Distribution{{Host: "answered"}: 1}, nil
	}
	out, sum := Distribution{}, 0.0
	for _, d := range destinations {
		item, _ := d.(map[string]any)
		where, _ := item["destination"].(map[string]any)
		host, _ := where["host"].(string)
		subset, _ := where["subset"].(string)
		w := weight(item)
		if len(destinations) == 1 {
			w = 1 // whatever is written
		}
		if w < 0 {
			return nil, fmt.Errorf("weight %v is negative", w)
		}
		sum += w
		if w > 0 {
			out[Target{host, subset}] += w
		}
	}
	if sum == 0 {
		return nil, fmt.Errorf("weights sum to 0")
	}
	for t := range out {
		out[t] /= sum
	}
	return out, nil
}

func weight(item map[string]any) float64 {
	switch w := item["weight"].(type) {
	case int64:
		return float64(w)
	case float64:
		return w
	}
	return 0
}

func matchesAny(entry map[string]any, q Request) (bool, error) {
	conditions, _ := entry["match"].([]any)
	if len(conditions) == 0 {
		return true, nil
	}
	for _, c := range conditions {
		condition, _ := c.(map[string]any)
		ok, err := matchesAll(condition, q)
		if ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

func matchesAll(condition map[string]any, q Request) (bool, error) {
	for field, want := range condition {
		var ok bool
		var err error
		switch field {
		case "name":
			ok = true
		case "uri":
			ok, err = compare(want, q.Path, true)
		case "method":
			ok, err = compare(want, q.Method, q.Method != "")
		case "authority":
			ok, err = compare(want, q.Authority, q.Authority != "")
		case "headers":
			ok, err = all(want, q.Headers)
		case "queryParams":
			ok, err = all(want, q.Query)
		case "withoutHeaders":
			ok, err = none(want, q.Headers)
		case "gateways":
			ok = through(want, q.Gateway)
		default:
			err = fmt.Errorf("condition %s is not modelled", field)
		}
		if !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

func all(want any, have map[string]string) (bool, error) {
	conditions, _ := want.(map[string]any)
	for name, m := range conditions {
		value, present := have[strings.ToLower(name)]
		if ok, err := compare(m, value, present); !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

func none(want any, have map[string]string) (bool, error) {
	conditions, _ := want.(map[string]any)
	for name, m := range conditions {
		value, present := have[strings.ToLower(name)]
		if ok, err := compare(m, value, present); ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

func through(want any, gateway string) bool {
	if gateway == "" {
		gateway = "mesh"
	}
	names, _ := want.([]any)
	for _, name := range names {
		if name == gateway {
			return true
		}
	}
	return false
}

// compare is Istio's StringMatch. One without a kind asks for presence only.
func compare(matcher any, value string, present bool) (bool, error) {
	kinds, _ := matcher.(map[string]any)
	for kind, v := range kinds {
		want, _ := v.(string)
		switch kind {
		case "exact":
			return present && value == want, nil
		case "prefix":
			return present && strings.HasPrefix(value, want), nil
		case "regex":
			re, err := regexp.Compile(`^(?:` + want + `)$`)
			if err != nil {
				return false, fmt.Errorf("regex %q: %w", want, err)
			}
			return present && re.MatchString(value), nil
		default:
			return false, fmt.Errorf("match %s is not modelled", kind)
		}
	}
	return present, nil
}
