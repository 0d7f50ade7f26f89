package route

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"slices"
)

// The helpers below read a JSON tree without trust: what has another type than
// expected is as good as absent, for the tree may be anything a CRD let pass.

func object(v any) map[string]any { m, _ := v.(map[string]any); return m }

func list(v any) []any { l, _ := v.([]any); return l }

func text(v any) string { s, _ := v.(string); return s }

// number reads an integer however the decoder kept it.
func number(v any) (int, bool) {
	switch n := v.(type) {
	case int64:
		return int(n), true
	case int:
		return n, true
	case float64:
		return int(n), n == math.Trunc(n) && math.Abs(n) <= math.MaxInt32
	case json.Number:
		i, err := n.Int64()
		return int(i), err == nil
	}
	return 0, false
}

func clone(v any) any {
	switch t := v.(type) {
	case map[string]any:
		return cloneObject(t)
	case []any:
		if t == nil {
			return t
		}
		out := make([]any, len(t))
		for i := range t {
			out[i] = clone(t[i])
		}
		return out
	}
	return v
}

// Clone is a deep copy of a document.
func Clone(doc map[string]any) map[string]any { return cloneObject(doc) }

func cloneObject(m map[string]any) map[string]any {
	if m == nil {
		return nil
	}
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = clone(v)
	}
	return out
}

// withRoutes is a copy in which the routes may be changed. All else is shared with
// the document: most of it says who owns which field, which is larger than the rest.
func withRoutes(doc map[string]any) map[string]any {
	out := maps.Clone(doc)
	if spec, found := doc["spec"]; found {
		out["spec"] = clone(spec)
	}
	return out
}

func namespaceOf(doc map[string]any) string { return text(object(doc["metadata"])["namespace"]) }

func httpOf(doc map[string]any) []any { return list(object(doc["spec"])["http"]) }

func setHTTP(doc map[string]any, routes []any) {
	if spec := object(doc["spec"]); spec != nil && spec["http"] != nil {
		spec["http"] = routes
	}
}

// Equal compares JSON trees by what they are when written, so that a number's Go
// type makes no difference, nor whether what is not there is a nil map or no value.
func Equal(a, b any) bool {
	switch x := a.(type) {
	case map[string]any:
		y, is := b.(map[string]any)
		if !is || (x == nil) != (y == nil) {
			return x == nil && sameText(a, b)
		}
		return equalObjects(x, y)
	case []any:
		y, is := b.([]any)
		if !is || (x == nil) != (y == nil) {
			return x == nil && sameText(a, b)
		}
		return slices.EqualFunc(x, y, Equal)
	case string:
		y, is := b.(string)
		return is && x == y
	case bool:
		y, is := b.(bool)
		return is && x == y
	case int64:
		if y, is := b.(int64); is {
			return x == y
		}
	}
	return sameText(a, b)
}

func equalObjects(x, y map[string]any) bool {
	if len(x) != len(y) {
		return false
	}
	for key, value := range x {
		if other, found := y[key]; !found || !Equal(value, other) {
			return false
		}
	}
	return true
}

func sameText(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}
