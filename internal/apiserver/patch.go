package apiserver

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// patched is an object after a JSON patch (RFC 6902), of which it knows what is
// used: test, add, replace and remove, of members of objects.
func patched(o map[string]any, patch []byte) (map[string]any, error) {
	var steps []struct {
		Op, Path string
		Value    any
	}
	if err := json.Unmarshal(patch, &steps); err != nil {
		return nil, err
	}
	out := Clone(o)
	for _, step := range steps {
		parts := strings.Split(strings.TrimPrefix(step.Path, "/"), "/")
		at := out
		for i, part := range parts {
			parts[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
		}
		for _, part := range parts[:len(parts)-1] {
			inner, ok := at[part].(map[string]any)
			if !ok {
				return nil, fmt.Errorf("the path %s does not exist", step.Path)
			}
			at = inner
		}
		last := parts[len(parts)-1]
		_, there := at[last]
		switch {
		case step.Op == "test" && !reflect.DeepEqual(at[last], step.Value):
			return nil, fmt.Errorf("testing value %s failed: test failed", step.Path)
		case step.Op == "test":
		case step.Op != "add" && !there:
			return nil, fmt.Errorf("the path %s does not exist", step.Path)
		case step.Op == "remove":
			delete(at, last)
		default:
			at[last] = step.Value
		}
	}
	return out, nil
}

// merged is an object after a JSON merge patch (RFC 7396).
func merged(o, patch map[string]any) map[string]any {
	out := Clone(o)
	for key, value := range patch {
		inner, isMap := value.(map[string]any)
		held, _ := out[key].(map[string]any)
		switch {
		case value == nil:
			delete(out, key)
		case isMap:
			out[key] = merged(held, inner)
		default:
			out[key] = value
		}
	}
	return out
}
