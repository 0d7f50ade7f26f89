package inplace

// The helpers below read and write a JSON tree whose shape nobody has checked:
// what is of another type is as good as absent.

func object(v any) map[string]any { m, _ := v.(map[string]any); return m }

func child(node map[string]any, key string) map[string]any { return object(node[key]) }

func list(node map[string]any, key string) []any { l, _ := node[key].([]any); return l }

// made is the object under a key, made if there is none.
func made(node map[string]any, key string) map[string]any {
	if m := child(node, key); m != nil {
		return m
	}
	m := map[string]any{}
	node[key] = m
	return m
}

// put sets an entry of the object under a key.
func put(node map[string]any, key, name string, value any) { made(node, key)[name] = value }
