package apiserver

import "encoding/json"

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

// Clone is a copy that shares nothing.
func Clone(o map[string]any) map[string]any {
	text, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	var out map[string]any
	if err := json.Unmarshal(text, &out); err != nil {
		panic(err)
	}
	return out
}

// RevisionKey is the annotation in which Kubernetes counts a Deployment's templates.
const RevisionKey = "deployment.kubernetes.io/revision"
