package apiserver

// Meta is an object's metadata; it is made where there is none.
func Meta(o map[string]any) map[string]any {
	m, ok := o["metadata"].(map[string]any)
	if !ok {
		m = map[string]any{}
		o["metadata"] = m
	}
	return m
}

// StringMap is a tree of strings, such as labels; empty for anything else.
func StringMap(v any) map[string]string {
	out := map[string]string{}
	m, _ := v.(map[string]any)
	for k, v := range m {
		out[k], _ = v.(string)
	}
	return out
}

// Clone is a copy that shares nothing, as if it had been written and read.
func Clone(o map[string]any) map[string]any {
	out, _ := cloned(o).(map[string]any)
	return out
}

func cloned(v any) any {
	switch v := v.(type) {
	case nil, bool, string, float64:
		return v
	case map[string]any:
		if v == nil {
			return nil
		}
		out := make(map[string]any, len(v))
		for key, inner := range v {
			out[key] = cloned(inner)
		}
		return out
	case []any:
		if v == nil {
			return nil
		}
		out := make([]any, len(v))
		for i, inner := range v {
			out[i] = cloned(inner)
		}
		return out
	}
	return Convert[any](v)
}

// RevisionKey is the annotation in which Kubernetes counts a Deployment's templates.
const RevisionKey = "deployment.kubernetes.io/revision"
