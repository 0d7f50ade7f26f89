package history_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/history"
	"serin.dev/serin/pkg/judge"
)

var owner = history.Owner{Namespace: "shop", Name: "web", UID: "6f1c"}

func release(rollout string) canary.Release {
	const bake = 2 * time.Minute
	return canary.Release{
		Rollout: rollout,
		Canary:  canary.Side{Deployment: "web-v2", Subset: "v2", Template: "5d8f0c1a2b"},
		Stable:  canary.Side{Deployment: "web-v1", Subset: "v1", Template: "77aa00bb11"},
		Spec: canary.Spec{
			Steps:        []canary.Step{{Weight: 5, Bake: bake}, {Weight: 100, Bake: bake}},
			StepDeadline: 30 * time.Minute, OnInconclusive: canary.Proceed,
			Limits: judge.Limits{ErrorRate: 0.01, ErrorRatio: 2, P99: 2 * time.Second},
			Header: canary.Header{Name: "x-app-version", Match: canary.MatchExact, Values: []string{"canary"}},
		},
		Started: time.Date(2026, 3, 1, 10, 0, 0, 123456789, time.UTC),
		Ended:   time.Date(2026, 3, 1, 10, 7, 30, 0, time.UTC),
		Outcome: canary.RolledBack, Reason: canary.ErrorRateTooHigh,
		Message: "5.2% of 312 canary requests failed, above the limit of 1%",
		Weight:  5, Digests: []string{"sha256:aa", "sha256:bb"}, Requests: 312, Errors: 16,
		Legs: []canary.Leg{{
			Step: 1, Weight: 5,
			From: time.Date(2026, 3, 1, 10, 0, 1, 0, time.UTC), To: time.Date(2026, 3, 1, 10, 7, 30, 0, time.UTC),
		}},
		Width: 15 * time.Second,
	}
}

func TestARecordOfAnEarlierSerinIsRead(t *testing.T) {
	revision := recorded(t, release("r1"), 1)
	delete(revision.Annotations, "serin.dev/course")
	revision.Data.Raw = []byte(`{"v":1,"rollout":"r1","canary":{"d":"web-v2","s":"v2","t":"5d8f"},"stable":{"d":"web-v1","s":"v1","t":"77aa"},` +
		`"spec":{"steps":[{"w":5,"b":120000000000},{"w":100,"b":120000000000}],"test":0,"stepDeadline":1800000000000,"onInconclusive":"proceed",` +
		`"limits":{"errorRate":0.01,"p99":2000000000},"header":{"name":"","match":""}},"started":"2026-03-01T10:00:00Z"}`)
	got, err := history.Release(sent(t, revision))
	if err != nil || got.Rollout != "r1" || len(got.Spec.Steps) != 2 || got.Legs != nil || got.Width != 0 || got.InPlace || got.Handled != "" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func recorded(t *testing.T, r canary.Release, number int64) *appsv1.ControllerRevision {
	t.Helper()
	revision, err := history.Revision(r, owner, number)
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

// sent is what the API server gives back.
func sent(t *testing.T, revision *appsv1.ControllerRevision) *appsv1.ControllerRevision {
	t.Helper()
	body, err := json.Marshal(revision)
	if err != nil {
		t.Fatal(err)
	}
	var back appsv1.ControllerRevision
	if err := json.Unmarshal(body, &back); err != nil {
		t.Fatal(err)
	}
	return &back
}

func TestAReleaseComesBackAsItWas(t *testing.T) {
	plain := release("r1")
	plain.Digests, plain.Message, plain.Outcome = nil, "", canary.Succeeded
	far := release("r2")
	far.Started = far.Started.In(time.FixedZone("far", 3600))
	inPlace := release("r4")
	inPlace.InPlace, inPlace.Handled, inPlace.Stable.Pods = true, "retry#7", "5f6d"
	unverified := release("r5")
	unverified.Unverified = "a smoke check on stable fails"
	unverified.Approvals = []canary.Approval{{Step: 1, By: "jane", At: far.Ended}}
	for _, want := range []canary.Release{plain, far, release("r3"), inPlace, unverified} {
		got, err := history.Release(sent(t, recorded(t, want, 3)))
		want.Started = want.Started.UTC()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
		}
	}
}

// A promotion in place may be rolled back later, by a verb that came after it.
func TestALaterResultCarriesTheVerbThatItCameBy(t *testing.T) {
	r := release("r1")
	revision := recorded(t, r, 1)
	r.Handled = "rollback#2"
	var patch struct {
		Metadata struct{ Annotations map[string]string }
	}
	if err := json.Unmarshal(history.Result(r, revision), &patch); err != nil {
		t.Fatal(err)
	}
	maps.Copy(revision.Annotations, patch.Metadata.Annotations)
	got, err := history.Release(revision)
	if err != nil || got.Handled != "rollback#2" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestARevisionBelongsToTheService(t *testing.T) {
	got := recorded(t, release("k3x9"), 7)
	if got.Namespace != "shop" || got.Name != "serin-web-k3x9" || got.Revision != 7 {
		t.Errorf("got %s/%s %d", got.Namespace, got.Name, got.Revision)
	}
	if got.Labels[history.ServiceLabel] != "web" || got.Labels["app.kubernetes.io/managed-by"] != "serin" {
		t.Errorf("got labels %v", got.Labels)
	}
	ref := got.OwnerReferences[0]
	if ref.APIVersion != "v1" || ref.Kind != "Service" || ref.Name != "web" || ref.UID != "6f1c" || ref.Controller == nil || !*ref.Controller {
		t.Errorf("got owner %+v", ref)
	}
	if got.Annotations["serin.dev/outcome"] != "RolledBack" || got.Annotations["serin.dev/digests"] != "sha256:aa,sha256:bb" {
		t.Errorf("got annotations %v", got.Annotations)
	}
	var data map[string]any
	if err := json.Unmarshal(got.Data.Raw, &data); err != nil || data["rollout"] != "k3x9" {
		t.Errorf("got data %s, %v", got.Data.Raw, err)
	}
}

func TestWhatDidNotEndIsNotRecorded(t *testing.T) {
	r := release("Upper")
	r.Outcome = canary.Progressing
	_, err := history.Revision(r, history.Owner{Namespace: "shop", Name: "web"}, 1)
	for _, want := range []string{`record release Upper of Service shop/web`, `its outcome is "Progressing"`, "uid is unknown", `no object can be named "serin-web-Upper"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if _, err := history.Revision(canary.Release{Outcome: canary.Succeeded}, owner, 1); err == nil || !strings.Contains(err.Error(), "it has no id") {
		t.Errorf("got %v", err)
	}
}

func TestUnreadableRevisionsAreToldAndInNobodysWay(t *testing.T) {
	cases := []struct {
		name  string
		spoil func(*appsv1.ControllerRevision)
		want  string
	}{
		{"no data", func(r *appsv1.ControllerRevision) { r.Data.Raw = nil }, "data: "},
		{"data of another program", func(r *appsv1.ControllerRevision) { r.Data.Raw = []byte(`{"spec":{"template":{}}}`) }, "data has version 0"},
		{"a newer version", func(r *appsv1.ControllerRevision) { r.Data.Raw = []byte(`{"v":3}`) }, "data has version 3, this Serin knows 1 to 2"},
		{"the course of another release", func(r *appsv1.ControllerRevision) { r.Annotations["serin.dev/course"] = `{"rollout":"r9"}` }, `annotation serin.dev/course is of release "r9", the data of "bad"`},
		{"a course that is no JSON", func(r *appsv1.ControllerRevision) { r.Annotations["serin.dev/course"] = "?" }, "annotation serin.dev/course: "},
		{"an unknown outcome", func(r *appsv1.ControllerRevision) { r.Annotations["serin.dev/outcome"] = "Fine" }, `annotation serin.dev/outcome is "Fine"`},
		{"annotations taken off", func(r *appsv1.ControllerRevision) { r.Annotations = nil }, `annotation serin.dev/ended is "", no time`},
		{"approvals that are no list", func(r *appsv1.ControllerRevision) { r.Annotations["serin.dev/approvals"] = "jane" }, "annotation serin.dev/approvals: "},
		{"a count below zero", func(r *appsv1.ControllerRevision) { r.Annotations["serin.dev/errors"] = "-1" }, `annotation serin.dev/errors is "-1", no count`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			bad := recorded(t, release("bad"), 2)
			c.spoil(bad)
			releases, err := history.Releases([]*appsv1.ControllerRevision{recorded(t, release("a"), 1), bad, recorded(t, release("c"), 3)})
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "read ControllerRevision shop/serin-web-bad") {
				t.Errorf("got error %v, want %s", err, c.want)
			}
			if len(releases) != 2 || releases[0].Rollout != "c" || releases[1].Rollout != "a" {
				t.Errorf("got %+v", releases)
			}
		})
	}
}

func TestFieldsOfALaterReleaseAreNoObstacle(t *testing.T) {
	revision := recorded(t, release("r1"), 1)
	revision.Data.Raw = []byte(strings.Replace(string(revision.Data.Raw), `{"v":2`, `{"later":true,"v":2`, 1))
	if _, err := history.Release(revision); err != nil {
		t.Error(err)
	}
}

func TestNumbersGrow(t *testing.T) {
	if got := history.Next(nil); got != 1 {
		t.Errorf("the first is %d", got)
	}
	revisions := []*appsv1.ControllerRevision{recorded(t, release("a"), 4), recorded(t, release("b"), 9), recorded(t, release("c"), 2)}
	if got := history.Next(revisions); got != 10 {
		t.Errorf("after 4, 9, 2 comes %d", got)
	}
}

func TestPrune(t *testing.T) {
	cases := []struct {
		name      string
		count     int
		succeeded []int
		want      []string
	}{
		{"five are kept", 5, nil, nil},
		{"what is older goes", 7, []int{6}, []string{"serin-web-r2", "serin-web-r1"}},
		{"the last promoted stays however old it is", 8, []int{1, 2}, []string{"serin-web-r3", "serin-web-r1"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var revisions []*appsv1.ControllerRevision
			for i := 1; i <= c.count; i++ {
				r := release(fmt.Sprintf("r%d", i))
				if slices.Contains(c.succeeded, i) {
					r.Outcome = canary.Succeeded
				}
				revisions = append(revisions, recorded(t, r, int64(i)))
			}
			if got := history.Prune(revisions); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestPruneNeverNamesTheUnreadable(t *testing.T) {
	foreign := &appsv1.ControllerRevision{}
	foreign.Name = "web-6b7c"
	revisions := []*appsv1.ControllerRevision{foreign}
	for i := range 6 {
		revisions = append(revisions, recorded(t, release(fmt.Sprintf("r%d", i+1)), int64(i+1)))
	}
	if got := history.Prune(revisions); !slices.Equal(got, []string{"serin-web-r1"}) {
		t.Errorf("got %v", got)
	}
}

func TestOnlyRecordsOfTheServiceAreItsHistory(t *testing.T) {
	own, stranger, orphan, workload := recorded(t, release("r1"), 1), recorded(t, release("r2"), 2), recorded(t, release("r3"), 3), recorded(t, release("r4"), 4)
	stranger.OwnerReferences[0].UID = "elsewhere"
	orphan.OwnerReferences = nil
	workload.OwnerReferences[0].Kind = "StatefulSet"
	all := []*appsv1.ControllerRevision{own, stranger, orphan, workload}
	if got := history.Of(owner.UID, all); len(got) != 1 || got[0] != own || len(all) != 4 || all[1] != stranger {
		t.Errorf("got %d of %d", len(got), len(all))
	}
	if got := history.Of("", all); len(got) != 0 {
		t.Errorf("without a Service there are %d", len(got))
	}
}
