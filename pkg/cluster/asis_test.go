package cluster

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// What was there before a release is for people, and most of a record: it stays out of
// the cache.
func TestARecordIsCachedWithoutWhatWasBefore(t *testing.T) {
	for _, c := range []struct{ name, data, want string }{
		{"a record of a beginning", `{"v":2,"rollout":"r1","before":{"template":{"a":"` + strings.Repeat("x", 1<<16) + `"}}}`, `{"rollout":"r1","v":2}`},
		{"a record of an end", `{"v":1,"rollout":"r1"}`, `{"v":1,"rollout":"r1"}`},
		{"somebody else's data", `["before"]`, `["before"]`},
		{"no data", ``, ``},
	} {
		t.Run(c.name, func(t *testing.T) {
			kept, err := reduceRevision(&appsv1.ControllerRevision{Data: runtime.RawExtension{Raw: []byte(c.data)}})
			if err != nil {
				t.Fatal(err)
			}
			if got := string(kept.(*revision).full.Data.Raw); got != c.want {
				t.Errorf("kept is %s", got)
			}
		})
	}
}
