package torture

import (
	"encoding/json"
	"maps"
)

// tree is a JSON object; nil for anything else.
func tree(v any) map[string]any {
	t, _ := v.(map[string]any)
	return t
}

// list is a JSON array; nil for anything else.
func list(v any) []any {
	l, _ := v.([]any)
	return l
}

// str is a JSON string; empty for anything else.
func str(v any) string {
	s, _ := v.(string)
	return s
}

// num is a JSON number; 0 for anything else.
func num(v any) float64 {
	switch n := v.(type) {
	case float64:
		return n
	case int:
		return float64(n)
	case int64:
		return float64(n)
	}
	return 0
}

// in is what a path of members leads to; nil if it leads nowhere.
func in(v any, path ...string) any {
	for _, p := range path {
		v = tree(v)[p]
	}
	return v
}

// with is a copy of a tree, its members shared, with some of them changed.
func with(o map[string]any, key string, value any) map[string]any {
	out := maps.Clone(o)
	if out == nil {
		out = map[string]any{}
	}
	if value == nil {
		delete(out, key)
		return out
	}
	out[key] = value
	return out
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // a JSON tree has nothing that can't be written
	}
	return string(b)
}

// clone is a copy of a tree that shares nothing with it.
func clone(o map[string]any) map[string]any {
	out, _ := copied(o).(map[string]any)
	return out
}

func copied(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, inner := range v {
			out[key] = copied(inner)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, inner := range v {
			out[i] = copied(inner)
		}
		return out
	}
	return v
}
