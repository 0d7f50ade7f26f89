package mode

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"

	utiljson "k8s.io/apimachinery/pkg/util/json"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/route"
	"serin.dev/serin/pkg/topology"
)

func state(t testing.TB, change func(*canary.State)) string {
	t.Helper()
	s := canary.State{
		Version: 1, Rollout: "r1", Sequence: 1, Phase: canary.Testing,
		Canary: canary.Side{Deployment: "web-v2", Subset: "v2"}, Stable: canary.Side{Deployment: "web-v1", Subset: "v1"},
		Spec: canary.Spec{Steps: []canary.Step{{Weight: 5}, {Weight: 100}}},
	}
	change(&s)
	text, err := canary.EncodeState(s)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// carrier is a VirtualService with a state of web on it.
func carrier(namespace, name, text string) topology.VirtualService {
	return topology.VirtualService{
		Key: canary.ObjectKey{Kind: "VirtualService", Namespace: namespace, Name: name},
		Doc: map[string]any{"metadata": map[string]any{"annotations": map[string]any{"serin.dev/state.web": text}}},
	}
}

// FuzzFindState puts any states on several VirtualServices: what is found is one
// of them, none that it should have given way to, and what stands in another
// namespace changes nothing.
func FuzzFindState(f *testing.F) {
	plain := state(f, func(*canary.State) {})
	f.Add(plain, state(f, func(s *canary.State) { s.Sequence, s.Phase = 2, canary.RollingBack }), "")
	f.Add(plain, `{"v":9}`, `{"v":1,"width":1}`)
	f.Add("{", "", state(f, func(s *canary.State) {
		s.Sequence, s.Step, s.Weight, s.Phase = 1<<53, 2, 100, canary.Progressing // as high as it may be
	}))
	f.Fuzz(func(t *testing.T, a, b, c string) {
		o := topology.Objects{ClusterDomain: "cluster.local", Namespace: "shop", Service: "web"}
		for i, text := range []string{a, b, c} {
			o.VirtualServices = append(o.VirtualServices, carrier("shop", fmt.Sprint("web-", i), text))
		}
		found, newer, lost := FindState(o)
		known := found.Rollout == "" && found.Phase == ""
		for _, text := range []string{a, b, c} {
			s, err := canary.DecodeState(text)
			if err != nil {
				continue
			}
			if lost || canary.Newer(s, found) && !canary.Newer(found, s) {
				t.Fatalf("found %+v (lost %v), and not %s", found, lost, text)
			}
			known = known || same(s, found) && s.Phase == found.Phase
		}
		if !known {
			t.Fatalf("found %+v, which nobody wrote", found)
		}
		if found.Phase != "" {
			if _, err := canary.EncodeState(found); err != nil && len(a)+len(b)+len(c) < canary.MaxStateBytes {
				t.Fatalf("what is found can't be written: %v", err)
			}
		}
		for _, text := range []string{a, b, c} {
			o.VirtualServices = append(o.VirtualServices, carrier("elsewhere", "web", text))
		}
		again, newer2, lost2 := FindState(o)
		if !reflect.DeepEqual(again, found) || newer2 != newer || lost2 != lost {
			t.Fatalf("another namespace made of it %+v", again)
		}
	})
}

// FuzzManagedFields gives any managedFields: of them only entries of ours go, and
// nobody is made out to be the writer who is not named in them.
func FuzzManagedFields(f *testing.F) {
	for _, seed := range []string{
		`[{"manager":"serin","operation":"Update","time":"2026-01-01T00:00:00Z","fieldsV1":{"f:spec":{"f:http":{}}}},{"manager":"helm","fieldsV1":{"f:spec":{"f:http":{}}}}]`,
		`[{"manager":7,"time":1,"fieldsV1":[]},null,3,{"fieldsV1":{"f:spec":3}}]`, `{}`, `"x"`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var doc map[string]any
		if utiljson.Unmarshal([]byte(`{"metadata":{"managedFields":`+text+`}}`), &doc) != nil {
			return
		}
		metadata, _ := doc["metadata"].(map[string]any)
		name, owned := writer(doc)
		GitOps(name)
		changed(doc)
		if topology.PauseOwner(doc) == name && name != "" && owned {
			t.Fatalf("%s owns the routes, and yet we do", name)
		}
		items, _ := metadata["managedFields"].([]any)
		before := route.Clone(doc)
		gone := disown(doc)
		after, _ := metadata["managedFields"].([]any)
		switch {
		case !gone && fmt.Sprint(before) != fmt.Sprint(doc):
			t.Fatal("nothing went, and yet it changed")
		case gone && len(after) >= len(items) && len(items) > 1:
			t.Fatalf("of %d entries %d are left", len(items), len(after))
		case gone && disown(doc):
			t.Fatal("something of ours was left")
		}
		left, err := json.Marshal(doc)
		if _, owned := writer(doc); err != nil || owned {
			t.Fatalf("we still own the routes: %s %v", left, err)
		}
	})
}
