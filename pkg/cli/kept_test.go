package cli

import (
	"fmt"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"serin.dev/serin/internal/apiserver"
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
