package apiserver

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"
)

// handManager is the field manager of people's hands.
const handManager = "kubectl-edit"

// manager is the field manager that a request writes as.
func manager(r *http.Request) string {
	if name := r.URL.Query().Get("fieldManager"); name != "" {
		return name
	}
	name, _, _ := strings.Cut(r.UserAgent(), "/")
	return cmp.Or(name, "unknown")
}

// fields are paths in an object, in the words of managedFields, joined by newlines;
// with the values that stand there. The path of a map itself ends in a dot.
type fields map[string]any

// fieldsOf are the fields of an object that have an owner. Lists are one field, as
// they are in Istio's kinds.
func fieldsOf(o map[string]any) fields {
	out := fields{}
	for key, value := range o {
		switch key {
		case "kind", "apiVersion", "status":
		case "metadata":
			m, _ := value.(map[string]any)
			for _, part := range []string{"annotations", "labels", "finalizers", "ownerReferences"} {
				if m[part] != nil {
					out.add("f:metadata\nf:"+part, m[part])
				}
			}
		default:
			out.add("f:"+key, value)
		}
	}
	return out
}

func (f fields) add(path string, value any) {
	m, isMap := value.(map[string]any)
	if !isMap {
		f[path] = value
		return
	}
	f[path+"\n."] = nil
	for key, inner := range m {
		f.add(path+"\nf:"+key, inner)
	}
}

// owner is an entry of managedFields.
type owner struct {
	entry map[string]any
	owned map[string]bool
}

func ownersOf(list []any) (out []owner) {
	for _, item := range list {
		entry, _ := item.(map[string]any)
		o := owner{entry: maps.Clone(entry), owned: map[string]bool{}}
		tree, _ := entry["fieldsV1"].(map[string]any)
		o.read("", tree)
		out = append(out, o)
	}
	return out
}

func (o owner) read(prefix string, tree map[string]any) {
	for key, value := range tree {
		inner, _ := value.(map[string]any)
		if path := prefix + key; len(inner) == 0 {
			o.owned[path] = true
		} else {
			o.read(path+"\n", inner)
		}
	}
}

// text gives an owner as it stands in managedFields.
func (o owner) text() map[string]any {
	tree := map[string]any{}
	for path := range o.owned {
		at, parts := tree, strings.Split(path, "\n")
		for _, part := range parts[:len(parts)-1] {
			inner, _ := at[part].(map[string]any)
			if inner == nil {
				inner = map[string]any{}
				at[part] = inner
			}
			at = inner
		}
		at[parts[len(parts)-1]] = map[string]any{}
	}
	o.entry["fieldsV1"] = tree
	return o.entry
}

// own says in an object's managedFields who wrote what of it: who changes a field
// has it from then on. A list of owners that is sent along replaces the one that is
// there, unless it is empty; a single empty owner has all forgotten.
func own(held *object, o map[string]any, who, version string) {
	var live []any
	before := fields{}
	if held != nil {
		live, _ = Meta(held.tree)["managedFields"].([]any)
		before = fieldsOf(held.tree)
	}
	sent, _ := Meta(o)["managedFields"].([]any)
	switch {
	case len(sent) == 0:
		sent = live
	case len(sent) == 1 && reflect.DeepEqual(sent[0], map[string]any{}):
		sent = nil
	}
	if held != nil && len(sent) == 0 {
		// Of an object that has no owners nobody becomes one by an update.
		delete(Meta(o), "managedFields")
		return
	}
	owners, mine := ownersOf(sent), map[string]bool{}
	after := fieldsOf(o)
	for path, value := range after {
		if was, there := before[path]; !there || !reflect.DeepEqual(value, was) {
			mine[path] = true
		}
	}
	for _, other := range owners {
		for path := range other.owned {
			_, stays := after[path]
			if _, was := before[path]; mine[path] || was && !stays {
				delete(other.owned, path)
			}
		}
	}
	store(o, credit(owners, mine, who, version))
}

// credit gives somebody the fields that he has changed.
func credit(owners []owner, mine map[string]bool, who, version string) []owner {
	if len(mine) == 0 {
		return owners
	}
	at := slices.IndexFunc(owners, func(o owner) bool {
		return o.entry["manager"] == who && o.entry["operation"] == "Update" && o.entry["apiVersion"] == version && o.entry["subresource"] == nil
	})
	if at < 0 {
		at = len(owners)
		owners = append(owners, owner{owned: map[string]bool{}, entry: map[string]any{
			"manager": who, "operation": "Update", "apiVersion": version, "fieldsType": "FieldsV1",
		}})
	}
	maps.Copy(owners[at].owned, mine)
	owners[at].entry["time"] = time.Now().UTC().Format(time.RFC3339)
	return owners
}

// store writes the owners that own anything, by their time.
func store(o map[string]any, owners []owner) {
	var list []any
	for _, one := range owners {
		if len(one.owned) > 0 {
			list = append(list, one.text())
		}
	}
	word := func(v any, key string) string {
		text, _ := v.(map[string]any)[key].(string)
		return text
	}
	slices.SortStableFunc(list, func(a, b any) int {
		return cmp.Or(cmp.Compare(word(a, "time"), word(b, "time")), cmp.Compare(word(a, "manager"), word(b, "manager")))
	})
	if delete(Meta(o), "managedFields"); len(list) > 0 {
		Meta(o)["managedFields"] = list
	}
}

// sameOwners tells that two lists of owners are the same text.
func sameOwners(a, b any) bool {
	one, _ := json.Marshal(a)
	other, _ := json.Marshal(b)
	return bytes.Equal(one, other)
}
