package pair

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"serin.dev/serin/pkg/topology"
	"serin.dev/serin/pkg/topology/topologytest"
)

// change is one edit of a manifest: old text, new text. Every old text must be
// there, so that no edit is lost unseen.
type change [2]string

func shop(t *testing.T, changes ...change) topology.Objects {
	t.Helper()
	return topologytest.Load(t, "shop", "web", manifests(t, changes...))
}

// shopObjects is shop for fuzzing.
func shopObjects(t testing.TB) topology.Objects {
	return topologytest.Load(t, "shop", "web", manifests(t))
}

func manifests(t testing.TB, changes ...change) string {
	t.Helper()
	b, err := os.ReadFile("testdata/shop.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, c := range changes {
		if c[0] == "" {
			text += "\n---\n" + c[1]
			continue
		}
		if !strings.Contains(text, c[0]) {
			t.Fatalf("%q is not in the manifests", c[0])
		}
		text = strings.Replace(text, c[0], c[1], 1)
	}
	return text
}

// object is the map under a key, made if there is none.
func object(node map[string]any, key string) map[string]any {
	if m, ok := node[key].(map[string]any); ok {
		return m
	}
	m := map[string]any{}
	node[key] = m
	return m
}

// equal compares JSON trees by what they are when written.
func equal(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}
