package history_test

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/history"
)

// FuzzRelease reads records that anybody may have written: one that is read can
// be the state a Service rests in, and is recorded again as it was.
func FuzzRelease(f *testing.F) {
	revision, err := history.Revision(release("r1"), owner, 1)
	if err != nil {
		f.Fatal(err)
	}
	text := string(revision.Data.Raw)
	f.Add(text, "RolledBack", "5")
	f.Add(strings.Replace(text, `"width":15000000000`, `"width":1`, 1), "Succeeded", "100")
	f.Add(strings.Replace(text, `"b":120000000000`, `"b":-1`, 1), "Succeeded", "9223372036854775808")
	f.Add(`{"v":1,"spec":null,"legs":["1/1/1/2"]}`, "Promoting", "-1")
	f.Add(`null`, "", "")
	f.Fuzz(func(t *testing.T, data, outcome, weight string) {
		r := revision.DeepCopy()
		r.Data.Raw = []byte(data)
		r.Annotations["serin.dev/outcome"], r.Annotations["serin.dev/weight"] = outcome, weight
		releases, err := history.Releases([]*appsv1.ControllerRevision{r, older(r)})
		if (len(releases) == 0) != (err != nil) {
			t.Fatalf("%d releases and the error %v", len(releases), err)
		}
		history.Next([]*appsv1.ControllerRevision{r})
		history.Prune([]*appsv1.ControllerRevision{r})
		if err != nil {
			return
		}
		read := releases[0]
		if _, err := canary.EncodeState(read.Resting()); err != nil && len(data) < canary.MaxStateBytes/2 {
			t.Fatalf("read, but no state to rest in: %v", err)
		}
		again, err := history.Revision(read, owner, 2)
		if err != nil {
			return // an id that no object could be named by
		}
		if back, err := history.Release(again); err != nil || back.Rollout != read.Rollout || back.Weight != read.Weight {
			t.Fatalf("recorded again it is %+v: %v", back, err)
		}
	})
}

// older is a record of the same data that is older.
func older(r *appsv1.ControllerRevision) *appsv1.ControllerRevision {
	before := r.DeepCopy()
	before.Revision--
	return before
}
