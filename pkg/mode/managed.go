package mode

import (
	"slices"
	"strings"
	"time"
)

// ManagedFields are the entries that say who owns which fields.
func ManagedFields(doc map[string]any) []map[string]any {
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
		return e["manager"] == FieldManager && owns(e, "")
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

// writer is the field manager that owns the routes; of several the one that
// wrote last. Where we are one of them it is nobody else: whoever changes the
// routes takes them from us, so that what is written is what we wrote.
func writer(doc map[string]any) (name string, owned bool) {
	latest := ""
	for _, e := range ManagedFields(doc) {
		if !owns(e, "f:http") {
			continue
		}
		manager, _ := e["manager"].(string)
		if manager == FieldManager {
			return "", true
		}
		// RFC 3339 in UTC, as the API server writes it, sorts as text.
		if at, _ := e["time"].(string); name == "" || at >= latest {
			name, latest = manager, at
		}
	}
	return name, false
}

// changed is when the routes were last written, as far as managedFields tell.
func changed(doc map[string]any) (last time.Time) {
	for _, e := range ManagedFields(doc) {
		text, _ := e["time"].(string)
		at, err := time.Parse(time.RFC3339, text)
		if err == nil && owns(e, "f:http") && at.After(last) {
			last = at
		}
	}
	return last
}

// GitOps tells whether a field manager is a tool that writes what Git holds.
func GitOps(manager string) bool {
	m := strings.ToLower(manager)
	for _, prefix := range []string{"argocd", "argo-cd", "kustomize-controller", "helm", "flux", "gotk"} {
		if strings.HasPrefix(m, prefix) {
			return true
		}
	}
	return false
}
