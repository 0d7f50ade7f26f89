package pair

import (
	"slices"

	"serin.dev/serin/pkg/mode"
)

const fieldManager = mode.FieldManager

// managedFields are the entries that say who owns which fields.
func managedFields(doc map[string]any) []map[string]any {
	metadata, _ := doc["metadata"].(map[string]any)
	items, _ := metadata["managedFields"].([]any)
	var entries []map[string]any
	for _, item := range items {
		if e, ok := item.(map[string]any); ok {
			entries = append(entries, e)
		}
	}
	return entries
}

// owns tells whether an entry owns a field of the spec, or any of them for "".
func owns(entry map[string]any, field string) bool {
	fields, _ := entry["fieldsV1"].(map[string]any)
	spec, found := fields["f:spec"]
	if field == "" || !found {
		return found
	}
	inner, _ := spec.(map[string]any)
	_, found = inner[field]
	return found
}

// disown takes our entries that own any of the spec out of the document's
// managedFields and tells whether there were any. The API server keeps the old
// entries when the list comes empty; a single empty entry resets it.
func disown(doc map[string]any) bool {
	metadata, _ := doc["metadata"].(map[string]any)
	items, _ := metadata["managedFields"].([]any)
	kept := slices.DeleteFunc(slices.Clone(items), func(item any) bool {
		e, _ := item.(map[string]any)
		return e["manager"] == fieldManager && owns(e, "")
	})
	if len(kept) == len(items) {
		return false
	}
	if len(kept) == 0 {
		kept = []any{map[string]any{}}
	}
	metadata["managedFields"] = kept
	return true
}
