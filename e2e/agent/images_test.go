package agent

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// pulled is a container that the node starts now.
func pulled(t *testing.T, a *Agent, image string, policy corev1.PullPolicy) (id string, environment []string) {
	t.Helper()
	c := container1(image)
	c.ImagePullPolicy = policy
	c = a.images.pull(c)
	environment, err := containerEnv(&corev1.Pod{}, c, "10.244.1.1")
	if err != nil {
		t.Fatal(err)
	}
	return imageID("app", c), environment
}

func TestATagThatIsMovedNamesAnotherImageForWhoPullsIt(t *testing.T) {
	a := &Agent{}
	before, _ := pulled(t, a, "shop/web:v2", corev1.PullAlways)
	if err := a.MoveTag("shop/web:v2", "v2_latency-5ms"); err != nil {
		t.Fatal(err)
	}
	if got, _ := pulled(t, a, "shop/web:v2", corev1.PullIfNotPresent); got != before {
		t.Errorf("a node that has it, and need not ask, starts %s, want %s", got, before)
	}
	after, environment := pulled(t, a, "shop/web:v2", corev1.PullAlways)
	if after == before || !strings.HasPrefix(after, "shop/web@sha256:") {
		t.Errorf("pulled after the move it is %s, before it was %s", after, before)
	}
	if !slices.Contains(environment, "LATENCY=5ms") || !slices.Contains(environment, "VERSION=v2") {
		t.Errorf("it does not behave as the image that it is now: %q", environment)
	}
	if got, _ := pulled(t, a, "shop/web:v2_latency-5ms", corev1.PullAlways); got != after {
		t.Errorf("the other tag of the same image is %s, want %s", got, after)
	}
	if got, _ := pulled(t, a, "shop/web:v2", corev1.PullIfNotPresent); got != after {
		t.Errorf("the node has pulled %s, and starts %s", after, got)
	}
	digest := "shop/web:v2@sha256:" + strings.Repeat("ab", 32)
	if got, _ := pulled(t, a, digest, corev1.PullAlways); got != "shop/web@sha256:"+strings.Repeat("ab", 32) {
		t.Errorf("an image that is named by digest is %s", got)
	}
}

func TestWhatIsNotPulledYetIsWhatTheTagNamesNow(t *testing.T) {
	a := &Agent{}
	if err := a.MoveTag("shop/web:v2", "v3"); err != nil {
		t.Fatal(err)
	}
	_, environment := pulled(t, a, "shop/web:v2", corev1.PullIfNotPresent)
	if !slices.Contains(environment, "VERSION=v3") {
		t.Errorf("it is %q", environment)
	}
}

func TestOnlyTagsAreMoved(t *testing.T) {
	for _, image := range []string{"shop/web", "registry:5000/web", "shop/web:v2@sha256:" + strings.Repeat("ab", 32)} {
		if err := new(Agent).MoveTag(image, "v3"); err == nil || !strings.Contains(err.Error(), "only a tag can be moved") {
			t.Errorf("%s: %v", image, err)
		}
	}
}
