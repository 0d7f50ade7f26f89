package history_test

import (
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/history"
)

const digest = "sha256:4cae5e1d3f1f7c4bb1d7c0ed8f6f8c0d7d8a0f7f9f8e7d6c5b4a39281706f5e4"

func begun(t *testing.T, r canary.Release, before history.Before) *appsv1.ControllerRevision {
	t.Helper()
	revision, err := history.Begin(r, before, owner, 3)
	if err != nil {
		t.Fatal(err)
	}
	return sent(t, revision)
}

// patched is the revision after a merge patch of its annotations.
func patched(t *testing.T, r *appsv1.ControllerRevision, patch []byte) *appsv1.ControllerRevision {
	t.Helper()
	var p struct {
		Metadata struct{ Annotations map[string]string }
	}
	if err := json.Unmarshal(patch, &p); err != nil {
		t.Fatal(err)
	}
	out := r.DeepCopy()
	maps.Copy(out.Annotations, p.Metadata.Annotations)
	return out
}

func starting() canary.Release {
	r := release("r1")
	r.Ended, r.Outcome, r.Reason, r.Message, r.Weight, r.Digests, r.Requests, r.Errors, r.Legs, r.Width = time.Time{}, "", "", "", 0, nil, 0, 0, nil, 0
	r.Images = []canary.Image{{Container: "web", Reference: "shop:2"}}
	r.StableImages = []canary.Image{{Container: "web", Reference: "shop:1", Digest: digest}}
	return r
}

func TestAReleaseIsRecordedWhenItBeginsAndToldItsEnd(t *testing.T) {
	first := begun(t, starting(), history.Before{Template: json.RawMessage(`{"spec":{}}`)})
	t.Run("under way it is no finished release", func(t *testing.T) {
		if all, err := history.Releases([]*appsv1.ControllerRevision{first}); len(all) != 0 || err != nil {
			t.Errorf("got %v, %v", all, err)
		}
		all, err := history.Begun([]*appsv1.ControllerRevision{first})
		want := starting()
		want.Started = want.Started.UTC()
		if err != nil || len(all) != 1 || !reflect.DeepEqual(all[0], want) {
			t.Errorf("got  %+v, %v\nwant %+v", all, err, want)
		}
		if !history.UnderWay(first) || first.Annotations["serin.dev/outcome"] != "UnderWay" {
			t.Errorf("its annotations are %v", first.Annotations)
		}
	})
	t.Run("what changed in mid-release is that of the end", func(t *testing.T) {
		end := release("r1")
		end.Spec.Steps, end.Stable.Template = end.Spec.Steps[1:], "other"
		last := patched(t, first, history.Result(end, first))
		got, err := history.Release(last)
		end.Images, end.StableImages = starting().Images, starting().StableImages // known from the beginning
		if err != nil || !reflect.DeepEqual(got, end) {
			t.Errorf("got  %+v, %v\nwant %+v", got, err, end)
		}
		if all, err := history.Releases([]*appsv1.ControllerRevision{last}); len(all) != 1 || err != nil {
			t.Errorf("finished are %v, %v", all, err)
		}
		if all, _ := history.Begun([]*appsv1.ControllerRevision{last}); len(all) != 0 {
			t.Errorf("begun are %v", all)
		}
		_, stable, err := history.Snapshot(last)
		if err != nil || stable.Template != release("r1").Stable.Template {
			t.Errorf("stable was %+v at the beginning, %v", stable, err)
		}
	})
}

func TestDigestsAreAddedWhenPodsReportThem(t *testing.T) {
	first, r := begun(t, starting(), history.Before{}), starting()
	if patch := history.Images(r, first); patch != nil {
		t.Fatalf("nothing is new, and written is %s", patch)
	}
	r.Images = []canary.Image{{Container: "web", Reference: "shop:2", Digest: digest}}
	known := patched(t, first, history.Images(r, first))
	got, err := history.Release(known)
	if err != nil || got.Images[0].Digest != digest {
		t.Errorf("got %+v, %v", got.Images, err)
	}
	t.Run("and stay when the pods are gone", func(t *testing.T) {
		r.Images = []canary.Image{{Container: "web", Reference: "shop:2"}}
		if patch := history.Images(r, known); patch != nil {
			t.Errorf("written is %s", patch)
		}
	})
	t.Run("but not for another image of the container", func(t *testing.T) {
		r.Images = []canary.Image{{Container: "web", Reference: "shop:3"}}
		got, err := history.Release(patched(t, known, history.Images(r, known)))
		if err != nil || got.Images[0].Digest != "" {
			t.Errorf("got %+v, %v", got.Images, err)
		}
	})
	t.Run("what stable ran at the beginning stays", func(t *testing.T) {
		end := release("r1")
		end.StableImages = []canary.Image{{Container: "web", Reference: "shop:2", Digest: digest}}
		got, err := history.Release(patched(t, known, history.Result(end, known)))
		if err != nil || got.StableImages[0].Reference != "shop:1" {
			t.Errorf("got %+v, %v", got.StableImages, err)
		}
	})
}

func TestWhatWasThereBeforeComesBack(t *testing.T) {
	want := history.Before{
		Template: json.RawMessage(`{"spec":{"containers":[]}}`), StableTemplate: json.RawMessage(`{}`),
		Routes:  []history.Document{{Namespace: "shop", Name: "web", Spec: json.RawMessage(`{"hosts":["web"]}`)}},
		Rules:   []history.Document{{Namespace: "shop", Name: "web", Spec: json.RawMessage(`{"host":"web"}`)}},
		Config:  []history.Config{{Name: "gone", Absent: true}, {Name: "web", Hash: "ab"}},
		Secrets: []string{"web"}, Lacks: []string{"something"},
	}
	got, stable, err := history.Snapshot(begun(t, starting(), want))
	if err != nil || !reflect.DeepEqual(got, want) || stable != starting().Stable {
		t.Errorf("got %+v, %+v, %v", got, stable, err)
	}
	if _, _, err := history.Snapshot(recorded(t, release("r1"), 1)); !errors.Is(err, history.ErrNoSnapshot) {
		t.Errorf("of a release that was only recorded at its end it is %v", err)
	}
}

// However large everything is, the object stays well below what an API server takes.
func TestARecordIsBounded(t *testing.T) {
	large := func(n int) json.RawMessage { return json.RawMessage(`"` + strings.Repeat("x", n) + `"`) }
	before := history.Before{Template: large(1 << 20), StableTemplate: large(100 << 10)}
	for range 20 {
		before.Routes = append(before.Routes, history.Document{Namespace: "shop", Name: "web", Spec: large(100 << 10)})
		before.Rules = append(before.Rules, history.Document{Namespace: "shop", Name: "web", Spec: large(100 << 10)})
	}
	for range 1000 {
		before.Config = append(before.Config, history.Config{Name: strings.Repeat("c", 250), Hash: strings.Repeat("a", 64)})
		before.Secrets = append(before.Secrets, strings.Repeat("s", 250))
	}
	r := starting()
	for range 500 {
		r.Images = append(r.Images, canary.Image{Container: strings.Repeat("c", 63), Reference: strings.Repeat("r", 255), Digest: digest, Version: strings.Repeat("v", 256)})
	}
	revision := begun(t, r, before)
	text, err := json.Marshal(revision)
	if err != nil || len(text) > 800<<10 {
		t.Errorf("it has %d bytes, %v", len(text), err)
	}
	got, _, err := history.Snapshot(revision)
	if err != nil || got.Template != nil || len(got.StableTemplate) == 0 || len(got.Routes) != 2 || len(got.Rules) != 0 {
		t.Errorf("kept are a template of %d, %d routes, %d rules; %v", len(got.Template), len(got.Routes), len(got.Rules), err)
	}
	for _, want := range []string{
		"the pod template is not kept: it has 1024 KiB, at most 128 are kept",
		"VirtualService shop/web is not kept: it has 100 KiB, and there is room for 55",
		"DestinationRule shop/web is not kept: it has 100 KiB, and there is room for 64",
		"of 1000 ConfigMaps 200 are kept", "of the names of 1000 Secrets 200 are kept",
	} {
		if !slices.Contains(got.Lacks, want) {
			t.Errorf("not said: %s; said is %q", want, got.Lacks)
		}
	}
}

func TestPruneLeavesWhatIsUnderWay(t *testing.T) {
	revisions := []*appsv1.ControllerRevision{begun(t, starting(), history.Before{})}
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		revisions = append(revisions, recorded(t, release(id), int64(len(revisions)+5)))
	}
	if got := history.Prune(revisions); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

func TestWhatATemplateRefersTo(t *testing.T) {
	config := func(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }
	template := corev1.PodTemplateSpec{Spec: corev1.PodSpec{
		ImagePullSecrets: []corev1.LocalObjectReference{config("pull")},
		InitContainers: []corev1.Container{{EnvFrom: []corev1.EnvFromSource{
			{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: config("init")}}, {SecretRef: &corev1.SecretEnvSource{LocalObjectReference: config("hidden")}},
		}}},
		Containers: []corev1.Container{{Env: []corev1.EnvVar{
			{Name: "A", Value: "plain"},
			{Name: "B", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: config("one"), Key: "k"}}},
			{Name: "C", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: config("key"), Key: "k"}}},
			{Name: "D", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}},
		}}},
		Volumes: []corev1.Volume{
			{VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: config("one")}}},
			{VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "tls"}}},
			{VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			{VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{NodePublishSecretRef: new(config("csi"))}}},
			{VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
				{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: config("part")}}, {Secret: &corev1.SecretProjection{LocalObjectReference: config("share")}},
				{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "t"}},
			}}}},
		},
	}}
	configMaps, secrets := history.References(template)
	if want := []string{"init", "one", "part"}; !slices.Equal(configMaps, want) {
		t.Errorf("ConfigMaps %v, want %v", configMaps, want)
	}
	template.Spec.Volumes[0].ConfigMap.Optional = new(true)
	template.Spec.Volumes[4].Projected.Sources[0].ConfigMap.Optional = new(true)
	if got, want := history.Required(template), []string{"init", "one"}; !slices.Equal(got, want) {
		t.Errorf("required are %v, want %v", got, want)
	}
	if want := []string{"csi", "hidden", "key", "pull", "share", "tls"}; !slices.Equal(secrets, want) {
		t.Errorf("Secrets %v, want %v", secrets, want)
	}
}

func TestAHashIsOfContentAlone(t *testing.T) {
	first := &corev1.ConfigMap{Data: map[string]string{"a": "1", "b": "2"}}
	same := first.DeepCopy()
	same.ResourceVersion, same.Labels = "7", map[string]string{"x": "y"}
	if history.HashConfig(first) != history.HashConfig(same) {
		t.Error("a label changes it")
	}
	other, binary := first.DeepCopy(), first.DeepCopy()
	other.Data["a"] = "2"
	binary.BinaryData = map[string][]byte{"a": []byte("1")}
	if history.HashConfig(first) == history.HashConfig(other) || history.HashConfig(first) == history.HashConfig(binary) {
		t.Error("another value does not")
	}
}
