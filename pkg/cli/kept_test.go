package cli

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"serin.dev/serin/internal/apiserver"
	"serin.dev/serin/pkg/canary"
)

// shopConfig makes a ConfigMap, or takes it away: config settings KEY=VALUE, config settings.
func shopConfig(ts *testscript.TestScript, _ bool, args []string) {
	s := ts.Value("shop").(*shop)
	if len(args) == 1 {
		s.api.Delete("ConfigMap", "shop", args[0])
		return
	}
	key, value, _ := strings.Cut(args[1], "=")
	s.put("v1", "ConfigMap", "shop", args[0], map[string]any{"data": map[string]any{key: value}})
}

// shopRefer has a Deployment's pods take their environment from a ConfigMap and a
// Secret of one name: refer web settings.
func shopRefer(ts *testscript.TestScript, _ bool, args []string) {
	ts.Value("shop").(*shop).api.Edit("Deployment", "shop", args[0], func(o map[string]any) {
		pod := o["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)
		pod["containers"].([]any)[0].(map[string]any)["envFrom"] = []any{
			map[string]any{"configMapRef": map[string]any{"name": args[1]}}, map[string]any{"secretRef": map[string]any{"name": args[1]}},
		}
	})
}

// shopScale gives a Deployment so many replicas: scale web-v1 0.
func shopScale(ts *testscript.TestScript, _ bool, args []string) {
	var n float64
	if _, err := fmt.Sscan(args[1], &n); err != nil {
		ts.Fatalf("%v", err)
	}
	ts.Value("shop").(*shop).api.Edit("Deployment", "shop", args[0], func(o map[string]any) {
		o["spec"].(map[string]any)["replicas"] = n
	})
}

// shopImages waits until all pods of a Deployment run an image: images web shop:2@sha256:.
func shopImages(ts *testscript.TestScript, _ bool, args []string) {
	s := ts.Value("shop").(*shop)
	shopUntil(ts, args[0]+" runs "+args[1], func() bool {
		n := 0
		for _, pod := range s.api.All("Pod") {
			meta := apiserver.Meta(pod)
			name, _ := meta["name"].(string)
			if !strings.HasPrefix(name, args[0]+"-") {
				continue
			}
			image, _ := pod["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)["image"].(string)
			if !strings.HasPrefix(image, args[1]) {
				return false
			}
			n++
		}
		return n > 0
	})
}

// shopWaits waits until a release waits for approval.
func shopWaits(ts *testscript.TestScript, _ bool, _ []string) {
	s := ts.Value("shop").(*shop)
	shopUntil(ts, "it waits for approval", func() bool {
		d, _ := s.Detail(s.ctx, "shop", "web")
		return len(d.View.Awaits) > 0
	})
}

// podsOf are the names of a Deployment's pods.
func (s *shop) podsOf(deployment string) (names []string) {
	for _, pod := range s.api.All("Pod") {
		if name, _ := apiserver.Meta(pod)["name"].(string); strings.HasPrefix(name, deployment+"-") {
			names = append(names, name)
		}
	}
	return names
}

// shopNone waits until a Deployment has no pods, and says so: none web-v1.
func shopNone(ts *testscript.TestScript, _ bool, args []string) {
	s := ts.Value("shop").(*shop)
	shopUntil(ts, args[0]+" has no pods", func() bool {
		status, _ := s.api.Read("Deployment", "shop", args[0])["status"].(map[string]any)
		ready := fmt.Sprint(status["readyReplicas"])
		return len(s.podsOf(args[0])) == 0 && (ready == "0" || ready == "<nil>")
	})
}

// shopMoved has the pods of a Deployment report another image by the same tag, as when
// it was moved and they were made anew: moved web-v1.
func shopMoved(ts *testscript.TestScript, _ bool, args []string) {
	s := ts.Value("shop").(*shop)
	for _, name := range s.podsOf(args[0]) {
		s.api.Edit("Pod", "shop", name, func(o map[string]any) {
			o["status"].(map[string]any)["containerStatuses"].([]any)[0].(map[string]any)["imageID"] = "shop@sha256:" + strings.Repeat("ab", 32)
		})
	}
}

// shopOwned has a field manager own the template of a Deployment: owned web argocd-controller.
func shopOwned(ts *testscript.TestScript, _ bool, args []string) {
	ts.Value("shop").(*shop).api.Edit("Deployment", "shop", args[0], func(o map[string]any) {
		apiserver.Meta(o)["managedFields"] = []any{map[string]any{
			"manager": args[1], "operation": "Apply", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
			"fieldsV1": map[string]any{"f:spec": map[string]any{"f:template": map[string]any{}}},
		}}
	})
}

func TestAQuestionIsAnsweredByYesAlone(t *testing.T) {
	for answer, goes := range map[string]bool{"y\n": true, "Yes\n": true, " yes \nno\n": true, "n\n": false, "\n": false, "": false, "yesterday\n": false, "ja\n": false} {
		var said strings.Builder
		err := confirmed(strings.NewReader(answer), &said, "Go back?")
		if (err == nil) != goes || said.String() != "Go back? [y/N] " {
			t.Errorf("%q: %v, after %q", answer, err, said.String())
		}
	}
}

// What a record says is written by others too: what is no digest is never written as one.
func TestImagesAreNamedByDigestsAlone(t *testing.T) {
	digest := "sha256:" + strings.Repeat("ab", 32)
	template := func(images ...string) map[string]any {
		var containers []any
		for i, image := range images {
			containers = append(containers, map[string]any{"name": fmt.Sprint("c", i), "image": image})
		}
		return map[string]any{"spec": map[string]any{"containers": containers}}
	}
	for _, c := range []struct {
		name  string
		image string
		known canary.Image
		want  string // empty: refused
	}{
		{"a tag gets the digest that its pods reported", "shop:1", canary.Image{Container: "c0", Reference: "shop:1", Digest: digest}, "shop:1@" + digest},
		{"a digest stays", "shop@sha256:cd", canary.Image{}, "shop@sha256:cd"},
		{"no digest is known", "shop:1", canary.Image{Container: "c0", Reference: "shop:1"}, ""},
		{"the digest is of another image", "shop:1", canary.Image{Container: "c0", Reference: "shop:2", Digest: digest}, ""},
		{"the digest is of another container", "shop:1", canary.Image{Container: "c1", Reference: "shop:1", Digest: digest}, ""},
		{"what is recorded is no digest", "shop:1", canary.Image{Container: "c0", Reference: "shop:1", Digest: "sha256:1 evil/image"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree := template(c.image)
			err := byDigest(tree, []canary.Image{c.known})
			got := containersOf(tree)[0]["image"]
			if c.want == "" && (err == nil || got != c.image) || c.want != "" && got != c.want {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestTwoTemplatesRunTheSameByDigestAndContent(t *testing.T) {
	digest := "sha256:" + strings.Repeat("ab", 32)
	known := []canary.Image{{Container: "web", Reference: "shop:1", Digest: digest}}
	template := func(version, image, value string) map[string]any {
		return map[string]any{"metadata": map[string]any{"labels": map[string]any{"version": version}}, "spec": map[string]any{"containers": []any{
			map[string]any{"name": "web", "image": image, "env": []any{map[string]any{"name": "A", "value": value}}},
		}}}
	}
	first := essence(template("v1", "shop:1", "x"), known)
	for name, other := range map[string]string{
		"in another Deployment": essence(template("v2", "shop:1", "x"), known), "named by digest": essence(template("v1", "shop:1@"+digest, "x"), nil),
	} {
		if other != first {
			t.Errorf("%s it is another:\n%s\n%s", name, other, first)
		}
	}
	for name, other := range map[string]string{
		"of another setting": essence(template("v1", "shop:1", "y"), known), "of an unknown digest": essence(template("v1", "shop:1", "x"), nil),
	} {
		if other == first {
			t.Errorf("one %s is the same", name)
		}
	}
}
