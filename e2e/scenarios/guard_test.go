package scenarios

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/yaml"

	"serin.dev/serin/pkg/topology"
)

// guardNamespace is where the guard and the policies are tried. Serin's account
// has all rights there, so that what is refused is refused by a policy.
const guardNamespace = "guard"

// guardedLabel is on the namespaces whose Deployments the guard holds. The other
// scenarios go on without it.
const guardedLabel = "serin-scenario-guarded"

// guardFiles are the parts of deploy/in-place that the API server has to know.
var guardFiles = []string{"rights/rbac.yaml", "rights/promoting.yaml", "rights/own-writes.yaml", "policy/guard.yaml", "../command-by/command-by.yaml"}

// withGuard gives the controller its rights for releases in place, and has
// Deployments held in all namespaces that carry guardedLabel. It returns when the
// API server goes by all of it.
var withGuard = sync.OnceValue(func() error {
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	for _, name := range guardFiles {
		text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "in-place", name))
		if err != nil {
			return fmt.Errorf("install the guard: %w", err)
		}
		for document := range strings.SplitSeq(string(text), "\n---\n") {
			if strings.Contains(document, "kind: MutatingAdmissionPolicyBinding") {
				document += fmt.Sprintf("\n  matchResources: {namespaceSelector: {matchLabels: {%s: \"true\"}}}\n", guardedLabel)
			}
			if err := shared.box.Apply(ctx, document); err != nil {
				return fmt.Errorf("install the guard: %w", err)
			}
		}
	}
	return shared.guardWorks(ctx)
})

// guardWorks waits until the policies hold and refuse: the API server takes a
// moment to know them.
func (w world) guardWorks(ctx context.Context) error {
	if err := w.box.Apply(ctx, strings.ReplaceAll(guardPlatform, "NAMESPACE", guardNamespace)); err != nil {
		return err
	}
	g, err := w.guarded()
	if err != nil {
		return err
	}
	const probe = "probe"
	if err := w.box.Apply(ctx, sketch{Annotations: settings{"canary": "true"}, Template: "a"}.manifest(guardNamespace, probe)); err != nil {
		return err
	}
	for {
		held, err := g.people.Resource(deployments).Namespace(guardNamespace).Patch(ctx, probe, types.MergePatchType,
			[]byte(`{"spec":{"template":{"metadata":{"annotations":{"rev":"b"}}}}}`), dryPatch)
		if err != nil {
			return fmt.Errorf("wait for the guard: %w", err)
		}
		refused := g.try(ctx, attempt{do: "delete", what: deployments, name: probe})
		if paused, _, _ := unstructured.NestedBool(held.Object, "spec", "paused"); paused && refused != nil && strings.Contains(refused.Error(), "serin-own-writes") {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the guard: %w; a changed template gives %v, and a delete by Serin %s", ctx.Err(), held.Object["spec"], fmt.Sprint(refused))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

const guardPlatform = `
apiVersion: v1
kind: Namespace
metadata: {name: NAMESPACE, labels: {` + guardedLabel + `: "true"}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: serin-may-all, namespace: NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: serin, namespace: serin-system}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: NAMESPACE}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
`

var (
	deployments      = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	services         = schema.GroupVersionResource{Version: "v1", Resource: "services"}
	destinationRules = schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1", Resource: "destinationrules"}

	// dry is the option by which everything is asked for, and nothing is stored:
	// admission is the same.
	dry      = []string{metav1.DryRunAll}
	dryPatch = metav1.PatchOptions{DryRun: dry}
)

// guardTest asks the API server as people do, and as Serin does.
type guardTest struct{ people, serin dynamic.Interface }

func (w world) guarded() (guardTest, error) { return w.asSerin(w.kubeconfig) }

func (w world) asSerin(kubeconfig string) (guardTest, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return guardTest{}, err
	}
	config.QPS = -1
	serin, err := dynamic.NewForConfig(config)
	return guardTest{people: w.trees, serin: serin}, err
}

// TestGuard tries what deploy/in-place brings on the real API server.
func TestGuard(t *testing.T) {
	if err := withGuard(); err != nil {
		t.Fatal(err)
	}
	g, err := shared.guarded()
	if err != nil {
		t.Fatal(err)
	}
	st := &stage{T: t, world: shared, name: guardNamespace}
	st.apply(guardFixtures)
	st.apply(g.owned(t))
	t.Run("the overlays", overlays)
	t.Run("held or not", g.holds)
	t.Run("by kubectl", heldByKubectl)
	t.Run("what Serin may write", g.allows)
	t.Run("what Serin may not write", g.refuses)
	t.Run("a promotion", g.promotes)
	t.Run("the webhook", byWebhook)
}

// overlays has the API server take what deploy/ offers, and stores nothing.
func overlays(t *testing.T) {
	st := &stage{T: t, world: shared, name: "serin-system"}
	deploy := filepath.Join("..", "..", "deploy")
	for folder, flag := range map[string]string{"in-place": "--in-place=policy", "in-place-webhook": "--in-place=webhook", "in-place-pause": "--in-place=pause"} {
		file := filepath.Join(t.TempDir(), folder+".yaml")
		st.kubectl("kustomize", filepath.Join(deploy, folder), "--output", file)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), "- "+flag+"\n"); n != 1 {
			t.Errorf("%s has %d times %s", folder, n, flag)
		}
		if folder != "in-place-webhook" { // it needs the kinds of cert-manager
			st.kubectl("apply", "--dry-run=server", "--filename", file)
		}
	}
}

// sketch is a Deployment as pkg/guard/testdata/cases.yaml writes it.
type sketch struct {
	Annotations, Foreign settings
	Template, Mark       string
	Paused               bool
	Replicas             int
}

var marks = map[string]string{"held": topology.HeldValue, "promoting": topology.PromotingValue}

// manifest is a Deployment whose pods find no node: none has to run here.
func (s sketch) manifest(namespace, name string) string {
	annotations := map[string]string{}
	for key, value := range s.Annotations {
		annotations["serin.dev/"+key] = value
	}
	for key, value := range s.Foreign {
		annotations[key] = value
	}
	if s.Mark != "" {
		annotations[topology.HeldKey] = marks[s.Mark]
	}
	metadata := map[string]any{"name": name, "namespace": namespace}
	if len(annotations) > 0 {
		metadata["annotations"] = annotations
	}
	labels := map[string]any{"app": name}
	spec := map[string]any{
		"replicas": s.Replicas, "selector": map[string]any{"matchLabels": labels},
		"template": map[string]any{
			"metadata": map[string]any{"labels": labels, "annotations": map[string]any{"rev": s.Template}},
			"spec": map[string]any{
				"nodeSelector": map[string]any{"none": "such"},
				"containers":   []any{map[string]any{"name": "web", "image": "shop/web:" + s.Template}},
			},
		},
	}
	if s.Paused {
		spec["paused"] = true
	}
	text, err := yaml.Marshal(map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})
	if err != nil {
		panic(err) // of maps and strings
	}
	return string(text)
}

func (s sketch) object(namespace, name string) (*unstructured.Unstructured, error) {
	o := &unstructured.Unstructured{}
	return o, yaml.Unmarshal([]byte(s.manifest(namespace, name)), &o.Object)
}

// holds plays the updates by which the webhook is tested, too.
func (g guardTest) holds(t *testing.T) { g.play(t, guardNamespace) }

// play asks for the updates of pkg/guard's cases in a namespace, one after another.
func (g guardTest) play(t *testing.T, namespace string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "pkg", "guard", "testdata", "cases.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name, By string
		Old, New sketch
		Held     bool
	}
	if err := yaml.UnmarshalStrict(text, &cases); err != nil || len(cases) == 0 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	for i, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			name := fmt.Sprintf("case-%d", i)
			if err := shared.box.Apply(t.Context(), c.Old.manifest(namespace, name)); err != nil {
				t.Fatal(err)
			}
			client := g.people
			if c.By == "serin" {
				client = g.serin
			}
			sent, err := c.New.object(namespace, name)
			if err != nil {
				t.Fatal(err)
			}
			var got *unstructured.Unstructured
			err = retry.RetryOnConflict(retry.DefaultBackoff, func() error {
				if err := asWritten(t.Context(), g.people, sent); err != nil {
					return err
				}
				got, err = client.Resource(deployments).Namespace(namespace).Update(t.Context(), sent, metav1.UpdateOptions{DryRun: dry})
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			want := c.New
			if c.Held {
				want.Paused, want.Mark = true, "held"
			}
			expectHeld(t, got, want.Paused, marks[want.Mark])
		})
	}
}

// asWritten gives what is sent the version of the object that is there, and the
// annotation that the deployment controller may have added to it meanwhile.
func asWritten(ctx context.Context, client dynamic.Interface, sent *unstructured.Unstructured) error {
	const revision = "deployment.kubernetes.io/revision"
	there, err := client.Resource(deployments).Namespace(sent.GetNamespace()).Get(ctx, sent.GetName(), metav1.GetOptions{})
	if err != nil {
		return err
	}
	sent.SetResourceVersion(there.GetResourceVersion())
	if value, found := there.GetAnnotations()[revision]; found {
		annotations := maps.Clone(sent.GetAnnotations())
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[revision] = value
		sent.SetAnnotations(annotations)
	}
	return nil
}

// expectHeld compares what the guard may have changed, and tells whether it is so.
func expectHeld(t *testing.T, d *unstructured.Unstructured, paused bool, mark string) bool {
	t.Helper()
	got, _, _ := unstructured.NestedBool(d.Object, "spec", "paused")
	text := d.GetAnnotations()[topology.HeldKey]
	as := got == paused && text == mark
	if !as {
		t.Errorf("paused %v with the mark %q, want %v with %q", got, text, paused, mark)
	}
	return as
}

// heldByKubectl changes one Deployment as people and tools do, one way after
// another.
func heldByKubectl(t *testing.T) {
	st := &stage{T: t, world: shared, name: guardNamespace}
	at := func(template string) string {
		file := filepath.Join(t.TempDir(), "web.yaml")
		text := sketch{Annotations: settings{"canary": "true"}, Template: template}.manifest(guardNamespace, "by-kubectl")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	const name = "deployment/by-kubectl"
	st.kubectl("apply", "--filename", at("v1"))
	for _, step := range []struct {
		what   string
		args   []string
		paused bool
		mark   string
	}{
		{"the same applied again", []string{"apply", "--filename", at("v1")}, false, ""},
		{"another image", []string{"set", "image", name, "web=shop/web:v2"}, true, "held"},
		{"scaled", []string{"scale", name, "--replicas=2"}, true, "held"},
		{"annotated", []string{"annotate", name, "serin.dev/bake=1m"}, true, "held"},
		{"another template applied", []string{"apply", "--filename", at("v3")}, true, "held"},
		{"applied again", []string{"apply", "--filename", at("v3")}, true, "held"},
		{"replaced by the same", []string{"replace", "--filename", at("v3")}, true, "held"},
		{"replaced by another", []string{"replace", "--filename", at("v4")}, true, "held"},
		{"replaced by it a second time", []string{"replace", "--filename", at("v4")}, true, "held"},
		{"resumed by hand", []string{"rollout", "resume", name}, false, "held"},
		{"scaled after that", []string{"scale", name, "--replicas=1"}, false, "held"},
		{"restarted after that", []string{"rollout", "restart", name}, true, "held"},
		{"applied by a GitOps tool", []string{"apply", "--server-side", "--force-conflicts", "--field-manager=argocd-controller", "--filename", at("v5")}, true, "held"},
		{"applied by it again", []string{"apply", "--server-side", "--field-manager=argocd-controller", "--filename", at("v5")}, true, "held"},
		{"resumed by hand again", []string{"rollout", "resume", name}, false, "held"},
		{"applied by the GitOps tool after that", []string{"apply", "--server-side", "--field-manager=argocd-controller", "--filename", at("v5")}, false, "held"},
		{"changed by the GitOps tool", []string{"apply", "--server-side", "--field-manager=argocd-controller", "--filename", at("v6")}, true, "held"},
		{"opted out", []string{"annotate", name, "--overwrite", "serin.dev/canary=false"}, true, "held"},
		{"resumed", []string{"rollout", "resume", name}, false, "held"},
		{"changed when opted out", []string{"set", "image", name, "web=shop/web:v7"}, false, "held"},
	} {
		st.kubectl(step.args...)
		got, err := st.trees.Resource(deployments).Namespace(st.name).Get(t.Context(), "by-kubectl", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if !expectHeld(t, got, step.paused, marks[step.mark]) {
			t.Fatal(step.what)
		}
	}
}

// guardFixtures are a user's objects.
var guardFixtures = strings.Join([]string{
	sketch{Annotations: settings{"canary": "true"}, Template: "a"}.manifest(guardNamespace, "web"),
	sketch{Annotations: settings{"canary": "true"}, Template: "b", Paused: true, Mark: "held"}.manifest(guardNamespace, "held"),
	sketch{Annotations: settings{"canary": "true", "on-rollback": "keep"}, Template: "b", Paused: true, Mark: "held"}.manifest(guardNamespace, "kept"),
	sketch{Annotations: settings{"canary": "true"}, Template: "b", Mark: "promoting"}.manifest(guardNamespace, "promoting"),
	sketch{Annotations: settings{"canary": "false"}, Template: "b", Paused: true, Mark: "held"}.manifest(guardNamespace, "out"),
	sketch{Template: "b", Paused: true, Mark: "held"}.manifest(guardNamespace, "leaving"),
	sketch{Template: "a", Paused: true}.manifest(guardNamespace, "other"),
	ruleOf("web", "", ""),
	routeOf("web", "", ""),
}, "\n---\n")

// owned are Serin's own objects beside them. Their owners are the real ones:
// otherwise they would be collected as garbage.
func (g guardTest) owned(t *testing.T) string {
	t.Helper()
	uid := func(what schema.GroupVersionResource) string {
		owner, err := g.people.Resource(what).Namespace(guardNamespace).Get(t.Context(), "web", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return string(owner.GetUID())
	}
	text := strings.Join([]string{canaryOf("web-canary", mark{}), ruleOf("web-serin", ourLabel, serviceOwner), routeOf("web-serin", ourLabel, serviceOwner)}, "\n---\n")
	return strings.NewReplacer(serviceUID, uid(services), webUID, uid(deployments)).Replace(text)
}

const (
	ourLabel     = `app.kubernetes.io/managed-by: serin, serin.dev/service: web`
	serviceUID   = "9c5d7e61-2b7e-4a4e-9a3d-0a6f9f6a1c01"
	webUID       = "9c5d7e61-2b7e-4a4e-9a3d-0a6f9f6a1c02"
	serviceOwner = `{apiVersion: v1, kind: Service, name: web, uid: ` + serviceUID + `}`
	webOwner     = `{apiVersion: apps/v1, kind: Deployment, name: web, uid: ` + webUID + `, controller: true}`
)

// mark is how a canary may differ from one that Serin makes: what is not empty is
// written instead.
type mark struct{ labels, owner, selector string }

func canaryOf(name string, m mark) string {
	or := func(written, otherwise string) string {
		if written == "" {
			return otherwise
		}
		return written
	}
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: %s, namespace: %s, labels: {%s}, ownerReferences: [%s]}
spec:
  replicas: 1
  selector: {matchLabels: {app: web%s}}
  template:
    metadata: {labels: {app: web, serin.dev/track: canary}}
    spec: {nodeSelector: {none: such}, containers: [{name: web, image: "shop/web:b"}]}
`, name, guardNamespace, or(m.labels, ourLabel), or(m.owner, webOwner), or(m.selector, ", serin.dev/track: canary"))
}

func ruleOf(name, labels, owner string) string {
	return fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: %s, namespace: %s, labels: {%s}, ownerReferences: [%s]}
spec: {host: web, subsets: [{name: serin-canary, labels: {serin.dev/track: canary}}]}
`, name, guardNamespace, labels, owner)
}

func routeOf(name, labels, owner string) string {
	return fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: %s, namespace: %s, labels: {%s}, ownerReferences: [%s]}
spec: {hosts: [web], http: [{route: [{destination: {host: web}}]}]}
`, name, guardNamespace, labels, owner)
}

// attempt is a write that is asked for as Serin.
type attempt struct {
	do   string // create, patch (a JSON merge patch) or delete
	what schema.GroupVersionResource
	name string
	body string // YAML
}

// try asks for it, and has nothing stored.
func (g guardTest) try(ctx context.Context, a attempt) error {
	client := g.serin.Resource(a.what).Namespace(guardNamespace)
	switch a.do {
	case "delete":
		return client.Delete(ctx, a.name, metav1.DeleteOptions{DryRun: dry})
	case "patch":
		body, err := yaml.YAMLToJSON([]byte(a.body))
		if err != nil {
			return err
		}
		_, err = client.Patch(ctx, a.name, types.MergePatchType, body, dryPatch)
		return err
	}
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(a.body), &o.Object); err != nil {
		return err
	}
	_, err := client.Create(ctx, o, metav1.CreateOptions{DryRun: dry})
	return err
}

const markPromoting = `metadata: {annotations: {serin.dev/held: "` + topology.PromotingValue + `"}}`

// allows tries what Serin has to write in a release in place.
func (g guardTest) allows(t *testing.T) {
	for name, a := range map[string]attempt{
		"it makes a canary":                          {"create", deployments, "", canaryOf("new-canary", mark{})},
		"it scales its canary":                       {"patch", deployments, "web-canary", `spec: {replicas: 3}`},
		"it annotates its canary":                    {"patch", deployments, "web-canary", `metadata: {annotations: {serin.dev/template: abc}}`},
		"it removes its canary":                      {"delete", deployments, "web-canary", ""},
		"it makes subsets":                           {"create", destinationRules, "", ruleOf("new-serin", ourLabel, serviceOwner)},
		"it changes its subsets":                     {"patch", destinationRules, "web-serin", `spec: {subsets: [{name: serin-canary, labels: {a: b}}]}`},
		"it removes its subsets":                     {"delete", destinationRules, "web-serin", ""},
		"it makes a route":                           {"create", virtualServices, "", routeOf("new-serin", ourLabel, serviceOwner)},
		"it changes its route":                       {"patch", virtualServices, "web-serin", `spec: {http: [{route: [{destination: {host: web, subset: a}}]}]}`},
		"it removes its route":                       {"delete", virtualServices, "web-serin", ""},
		"it changes a user's routes, with its state": {"patch", virtualServices, "web", `{metadata: {annotations: {serin.dev/state.web: "{}"}}, spec: {http: [{route: [{destination: {host: web, subset: a}}]}]}}`},
		"it resumes what is held":                    {"patch", deployments, "held", markPromoting + "\nspec: {paused: false}"},
		"it takes its mark off":                      {"patch", deployments, "promoting", `metadata: {annotations: {serin.dev/held: null}}`},
		"it puts a template back":                    {"patch", deployments, "held", markPromoting + "\nspec: {paused: false, template: {metadata: {annotations: {rev: a}}}}"},
		"it resumes what opted out":                  {"patch", deployments, "out", `{metadata: {annotations: {serin.dev/held: null}}, spec: {paused: null}}`},
		"it resumes what opted out without a word":   {"patch", deployments, "leaving", `{metadata: {annotations: {serin.dev/held: null}}, spec: {paused: null}}`},
		"it pauses what is always paused":            {"patch", deployments, "web", `{metadata: {annotations: {serin.dev/held: x}}, spec: {paused: true}}`},
	} {
		t.Run(name, func(t *testing.T) {
			if err := g.try(t.Context(), a); err != nil {
				t.Error(err)
			}
		})
	}
}

// refuses tries what Serin has the rights for and must not do.
func (g guardTest) refuses(t *testing.T) {
	const (
		own       = "Serin creates and deletes its own objects only"
		canary    = "Serin's own Deployments are canaries"
		identity  = "Serin changes no labels, owners or finalizers"
		rules     = "Serin writes its own DestinationRules only"
		optedIn   = "Serin writes Deployments that are opted in, or still held, only"
		fields    = "Serin writes the pause, and no other field"
		notes     = "Serin writes its own mark, and no other annotation"
		forOwner  = "Serin's own routes and subsets are for the Service that owns them, in the mesh"
		templates = "Serin puts a template back only in a paused Deployment"
	)
	for name, c := range map[string]struct {
		attempt
		want string
	}{
		"a Deployment without its label":          {attempt{"create", deployments, "", canaryOf("new", mark{labels: "a: b"})}, own},
		"a Deployment of another tool":            {attempt{"create", deployments, "", canaryOf("new", mark{labels: "app.kubernetes.io/managed-by: Helm"})}, own},
		"a Deployment that nobody owns":           {attempt{"create", deployments, "", canaryOf("new", mark{owner: " "})}, own},
		"a Deployment that a Service owns":        {attempt{"create", deployments, "", canaryOf("new", mark{owner: serviceOwner})}, own},
		"a Deployment that nobody controls":       {attempt{"create", deployments, "", canaryOf("new", mark{owner: strings.Replace(webOwner, "true", "false", 1)})}, own},
		"a canary that selects the user's pods":   {attempt{"create", deployments, "", canaryOf("new", mark{selector: " "})}, canary},
		"a user's Deployment is deleted":          {attempt{"delete", deployments, "web", ""}, own},
		"a user's DestinationRule is deleted":     {attempt{"delete", destinationRules, "web", ""}, own},
		"a user's VirtualService is deleted":      {attempt{"delete", virtualServices, "web", ""}, own},
		"a DestinationRule without its label":     {attempt{"create", destinationRules, "", ruleOf("new", "", serviceOwner)}, own},
		"an annotation comes, and is empty":       {attempt{"patch", deployments, "held", `metadata: {annotations: {serin.dev/mode: ""}}`}, notes},
		"its route takes another host":            {attempt{"create", virtualServices, "", strings.Replace(routeOf("new", ourLabel, serviceOwner), "hosts: [web]", "hosts: [web, bank]", 1)}, forOwner},
		"its route takes all hosts":               {attempt{"create", virtualServices, "", strings.Replace(routeOf("new", ourLabel, serviceOwner), "hosts: [web]", `hosts: ["*"]`, 1)}, forOwner},
		"its route takes another namespace's":     {attempt{"create", virtualServices, "", strings.Replace(routeOf("new", ourLabel, serviceOwner), "hosts: [web]", "hosts: [web.bank.svc.cluster.local]", 1)}, forOwner},
		"its route is of a gateway":               {attempt{"create", virtualServices, "", strings.Replace(routeOf("new", ourLabel, serviceOwner), "hosts: [web]", "hosts: [web], gateways: [mesh, istio-system/gateway]", 1)}, forOwner},
		"its route leads to another host":         {attempt{"create", virtualServices, "", strings.Replace(routeOf("new", ourLabel, serviceOwner), "{host: web}", "{host: bank}", 1)}, forOwner},
		"its subsets are of another host":         {attempt{"create", destinationRules, "", strings.Replace(ruleOf("new", ourLabel, serviceOwner), "host: web", "host: bank", 1)}, forOwner},
		"its subsets become those of all hosts":   {attempt{"patch", destinationRules, "web-serin", `spec: {host: "*.svc.cluster.local"}`}, forOwner},
		"a Deployment leaves its canary mode":     {attempt{"patch", deployments, "web", `metadata: {annotations: {serin.dev/mode: pair}}`}, notes},
		"a DestinationRule that nobody owns":      {attempt{"create", destinationRules, "", ruleOf("new", ourLabel, "")}, own},
		"a user's DestinationRule is changed":     {attempt{"patch", destinationRules, "web", `spec: {host: other}`}, rules},
		"a VirtualService without its label":      {attempt{"create", virtualServices, "", routeOf("new", "", serviceOwner)}, own},
		"a VirtualService that nobody owns":       {attempt{"create", virtualServices, "", routeOf("new", ourLabel, "")}, own},
		"a user's VirtualService becomes its own": {attempt{"patch", virtualServices, "web", `metadata: {labels: {` + ourLabel + `}}`}, identity},
		"a user's VirtualService gets an owner":   {attempt{"patch", virtualServices, "web", `metadata: {ownerReferences: [` + serviceOwner + `]}`}, identity},
		"a canary is given away":                  {attempt{"patch", deployments, "web-canary", `metadata: {ownerReferences: []}`}, identity},
		"a user's Deployment becomes its own":     {attempt{"patch", deployments, "web", `metadata: {labels: {` + ourLabel + `}, ownerReferences: [` + webOwner + `]}`}, identity},
		"a Deployment is kept from going":         {attempt{"patch", deployments, "web", `metadata: {finalizers: [serin.dev/stay]}`}, identity},
		"another Deployment is resumed":           {attempt{"patch", deployments, "other", `spec: {paused: false}`}, optedIn},
		"a user's Deployment is scaled":           {attempt{"patch", deployments, "web", `spec: {replicas: 5}`}, fields},
		"a field is added":                        {attempt{"patch", deployments, "held", `spec: {paused: false, minReadySeconds: 5}`}, fields},
		"the strategy is changed":                 {attempt{"patch", deployments, "web", `spec: {strategy: {rollingUpdate: null, type: Recreate}}`}, fields},
		"a Deployment is opted out":               {attempt{"patch", deployments, "web", `metadata: {annotations: {serin.dev/canary: null}}`}, notes},
		"an order is given":                       {attempt{"patch", deployments, "web", `metadata: {annotations: {serin.dev/command: abort}}`}, notes},
		"a template is changed at rest":           {attempt{"patch", deployments, "web", `spec: {template: {metadata: {annotations: {rev: z}}}}`}, templates},
		"a template is changed in a promotion":    {attempt{"patch", deployments, "promoting", `spec: {template: {metadata: {annotations: {rev: z}}}}`}, templates},
		"a template is put back that shall stay":  {attempt{"patch", deployments, "kept", `spec: {template: {metadata: {annotations: {rev: a}}}}`}, templates},
	} {
		t.Run(name, func(t *testing.T) {
			err := g.try(t.Context(), c.attempt)
			// The API server tells one of those that refuse.
			by := err != nil && (strings.Contains(err.Error(), "'serin-own-writes'") || strings.Contains(err.Error(), "'serin-routes'"))
			if !by || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

// promotes tries a Deployment that is being promoted.
func (g guardTest) promotes(t *testing.T) {
	const another = `spec: {template: {metadata: {annotations: {rev: z}}}}`
	for _, c := range []struct {
		name, body string
		refused    bool
		mark       string
	}{
		{"another template is refused", another, true, ""},
		{"another template without the mark is refused", `metadata: {annotations: {serin.dev/held: null}}` + "\n" + another, true, ""},
		{"scaling passes", `spec: {replicas: 2}`, false, "promoting"},
		{"an order passes", `metadata: {annotations: {serin.dev/command: abort}}`, false, "promoting"},
		{"the same template passes", `spec: {template: {metadata: {annotations: {rev: b}}}}`, false, "promoting"},
		{"taking the mark off ends it", `metadata: {annotations: {serin.dev/held: null}}`, false, "held"},
		{"opting out with another template passes", `metadata: {annotations: {serin.dev/canary: null}}` + "\n" + another, false, "promoting"},
	} {
		t.Run(c.name, func(t *testing.T) {
			body, err := yaml.YAMLToJSON([]byte(c.body))
			if err != nil {
				t.Fatal(err)
			}
			got, err := g.people.Resource(deployments).Namespace(guardNamespace).Patch(t.Context(), "promoting", types.MergePatchType, body, dryPatch)
			switch {
			case c.refused && (err == nil || !strings.Contains(err.Error(), "promoting is being promoted, and its pod template can be changed again when that is done; try again in a minute")):
				t.Errorf("got %v, want it refused with a sentence", err)
			case c.refused:
			case err != nil:
				t.Error(err)
			default:
				expectHeld(t, got, c.mark == "held", marks[c.mark])
			}
		})
	}
}

// byWebhook has the API server ask Serin's webhook, where no policy holds
// anything. The controller has a name that no condition of the webhook's knows, so
// that it is itself that lets its own writes through.
func byWebhook(t *testing.T) {
	const namespace = "guard-webhook"
	st := &stage{T: t, world: shared, name: namespace}
	st.apply(strings.NewReplacer(guardedLabel, "held-by-a-webhook", "NAMESPACE", namespace).Replace(guardPlatform) + `---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: guard-webhook}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: serin, namespace: ` + namespace + `}]
`)
	var err error
	if st.kubeconfig, err = st.box.KubeconfigFor("system:serviceaccount:" + namespace + ":serin"); err != nil {
		t.Fatal(err)
	}
	authority, url := st.serveWebhook()
	hooks := st.trees.Resource(schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "mutatingwebhookconfigurations"})
	if _, err := hooks.Create(t.Context(), webhookAt(t, namespace, url, authority), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := hooks.Delete(context.Background(), "guard-webhook", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
		if err := st.controller.Stop(); err != nil {
			t.Error(err)
		}
	})
	st.apply(sketch{Annotations: settings{"canary": "true"}, Template: "a"}.manifest(namespace, "probe"))
	st.until("the API server asks the webhook", func() error {
		held, err := st.trees.Resource(deployments).Namespace(namespace).Patch(t.Context(), "probe", types.MergePatchType,
			[]byte(`{"spec":{"template":{"metadata":{"annotations":{"rev":"b"}}}}}`), dryPatch)
		if err == nil && held.GetAnnotations()[topology.HeldKey] == "" {
			err = errors.New("it is not held")
		}
		return err
	})
	g, err := st.asSerin(st.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	g.play(t, namespace)
}

// serveWebhook starts a controller that is the guard, and returns the certificate
// to trust and where it is asked.
func (st *stage) serveWebhook() (authority []byte, url string) {
	st.Helper()
	dir := st.TempDir()
	certificate, key := selfSigned(st.T)
	config := fmt.Sprintf("inPlace: {enabled: true, guard: webhook, webhook: {listen: '127.0.0.1:0', certificate: %[1]s/tls.crt, key: %[1]s/tls.key}}\n", dir)
	for name, content := range map[string][]byte{"tls.crt": certificate, "tls.key": key, "serin.yaml": []byte(config)} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			st.Fatal(err)
		}
	}
	var err error
	st.controller, err = st.box.StartController("--kubeconfig="+st.kubeconfig, "--config="+dir+"/serin.yaml", "--namespaces="+st.name, "--leader-elect=false")
	if err != nil {
		st.Fatal(err)
	}
	listens := regexp.MustCompile(`The guard's webhook listens","listen":"([^"]+)"`)
	st.until("the webhook listens", func() error {
		text, err := os.ReadFile(st.controller.LogPath)
		if err != nil {
			return err
		}
		at := listens.FindSubmatch(text)
		if at == nil {
			return fmt.Errorf("the log says %s", text)
		}
		url = "https://" + string(at[1]) + "/guard"
		return nil
	})
	return certificate, url
}

// webhookAt is the webhook of deploy/in-place, for one namespace, and asked by
// address: there is no Service of the controller here.
func webhookAt(t *testing.T, namespace, url string, authority []byte) *unstructured.Unstructured {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "in-place", "webhook", "webhook.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	document, _, _ := strings.Cut(string(text), "\n---\n")
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(document), &o.Object); err != nil {
		t.Fatal(err)
	}
	hook := o.Object["webhooks"].([]any)[0].(map[string]any)
	hook["clientConfig"] = map[string]any{"url": url, "caBundle": base64.StdEncoding.EncodeToString(authority)}
	hook["namespaceSelector"] = map[string]any{"matchLabels": map[string]any{"kubernetes.io/metadata.name": namespace}}
	o.SetName(namespace)
	return o
}

// selfSigned is a certificate for 127.0.0.1 and its key, PEM.
func selfSigned(t *testing.T) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "guard"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text})
}
