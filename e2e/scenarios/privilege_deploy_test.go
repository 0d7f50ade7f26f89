package scenarios

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"
)

// TestWhoCommands tries the component command-by on the real API server: it says
// who gave a command, and nobody else can.
func TestWhoCommands(t *testing.T) {
	if err := withGuard(); err != nil {
		t.Fatal(err)
	}
	jane, joe := shared.as(t, "jane"), shared.as(t, "joe")
	st := &stage{T: t, world: shared, name: guardNamespace}
	const name = "ordered"
	st.apply(sketch{Annotations: settings{"canary": "true"}, Template: "a"}.manifest(guardNamespace, name))
	patch := func(by dynamic.Interface, body string, sub ...string) (*unstructured.Unstructured, error) {
		text, err := yaml.YAMLToJSON([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		return by.Resource(deployments).Namespace(guardNamespace).Patch(t.Context(), name, types.MergePatchType, text, metav1.PatchOptions{}, sub...)
	}
	st.until("the API server goes by the policy", func() error {
		got, err := patch(jane, `metadata: {annotations: {serin.dev/command-by: nobody}}`)
		if err == nil && got.GetAnnotations()["serin.dev/command-by"] != "" {
			err = errors.New("a name stands without a command")
		}
		return err
	})
	for _, step := range []struct {
		what string
		by   dynamic.Interface
		body string
		sub  []string
		want string
	}{
		{"jane gives a command", jane, `metadata: {annotations: {serin.dev/command: abort}}`, nil, "jane"},
		{"joe does something else", joe, `metadata: {annotations: {owner: joe}}`, nil, "jane"},
		{"joe says that it was the boss", joe, `metadata: {annotations: {serin.dev/command-by: boss}}`, nil, "jane"},
		{"joe takes the name away", joe, `metadata: {annotations: {serin.dev/command-by: null}}`, nil, "jane"},
		{"joe gives another, in jane's name", joe, `metadata: {annotations: {serin.dev/command: pause, serin.dev/command-by: jane}}`, nil, "joe"},
		{"jane says the same", jane, `metadata: {annotations: {serin.dev/command: pause}}`, nil, "joe"},
		{"jane scales", jane, `spec: {replicas: 0}`, nil, "joe"},
		{"jane gives one by way of the status", jane, `metadata: {annotations: {serin.dev/command: "promote #1", serin.dev/command-by: joe}}`, []string{"status"}, "jane"},
		{"joe forges a name by way of the status", joe, `metadata: {annotations: {serin.dev/command-by: boss}}`, []string{"status"}, "jane"},
		{"joe takes the command away", joe, `metadata: {annotations: {serin.dev/command: null}}`, nil, ""},
		{"joe leaves a name behind", joe, `metadata: {annotations: {serin.dev/command-by: boss}}`, nil, ""},
		{"all annotations go", joe, `metadata: {annotations: null}`, nil, ""},
	} {
		got, err := patch(step.by, step.body, step.sub...)
		if err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		if by, found := got.GetAnnotations()["serin.dev/command-by"]; by != step.want || found != (step.want != "") {
			t.Errorf("%s: it says %q, want %q", step.what, by, step.want)
		}
	}
	t.Run("a Deployment comes with a command", func(t *testing.T) {
		o, err := sketch{Annotations: settings{"command": "abort", "command-by": "boss"}, Template: "a"}.object(guardNamespace, "comes-with-a-command")
		if err != nil {
			t.Fatal(err)
		}
		got, err := joe.Resource(deployments).Namespace(guardNamespace).Create(t.Context(), o, metav1.CreateOptions{DryRun: dry})
		if err != nil || got.GetAnnotations()["serin.dev/command-by"] != "joe" {
			t.Errorf("got %v, %v", got, err)
		}
	})
}

// as is somebody with all rights.
func (w world) as(t *testing.T, user string) dynamic.Interface {
	t.Helper()
	config := w.box.REST()
	config.Impersonate.UserName, config.Impersonate.Groups = user, []string{"system:masters"}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// rendered is what kustomize makes of a kustomization.
func (st *stage) rendered(folder string) string {
	st.Helper()
	file := filepath.Join(st.folder(), "all.yaml")
	st.kubectl("kustomize", folder, "--output", file)
	text, err := os.ReadFile(file)
	if err != nil {
		st.Fatal(err)
	}
	return string(text)
}

// TestAnotherNamespace renders an overlay that puts Serin elsewhere: whatever
// knows the account in full has to know it by its new name, and the API server has
// to take it all.
func TestAnotherNamespace(t *testing.T) {
	st := &stage{T: t, world: shared, name: "default"}
	for _, overlay := range []string{"base", "in-place", "in-place-webhook", "in-place-pause"} {
		t.Run(overlay, func(t *testing.T) {
			st := &stage{T: t, world: shared, name: "default"}
			text := st.rendered(st.overlay(overlay, "transformers: [DEPLOY/account]\n"))
			if n := strings.Count(text, "system:serviceaccount:serin-system:"); n != 0 {
				t.Errorf("the old name is left %d times", n)
			}
			// The guard and the promotion except it by name.
			want := map[string]int{"base": 0, "in-place": 2, "in-place-webhook": 2, "in-place-pause": 1}[overlay]
			if n := strings.Count(text, "system:serviceaccount:releases:serin'"); n != want {
				t.Errorf("the new name stands %d times, want %d:\n%s", n, want, text)
			}
			if strings.Count(text, "'^system:serviceaccount:[^:]+:serin$'") == 0 {
				t.Error("nothing bounds it")
			}
		})
	}
	t.Run("some namespaces", func(t *testing.T) {
		for _, base := range []string{"base", "in-place"} {
			bindings := onlyKind(t, st.rendered(st.overlay(base, "components: [DEPLOY/namespaced]\n")), "ClusterRoleBinding")
			if strings.Count(bindings, "kind: ClusterRoleBinding\n") != 1 || !strings.Contains(bindings, "name: serin-namespaced\n") || !strings.Contains(bindings, "namespace: releases") {
				t.Errorf("%s binds in all namespaces\n%s", base, bindings)
			}
		}
	})
	t.Run("older clusters", func(t *testing.T) {
		text := st.rendered(st.overlay("base", `patches:
- patch: |-
    $patch: delete
    apiVersion: admissionregistration.k8s.io/v1
    kind: ValidatingAdmissionPolicy
    metadata: {name: serin-routes}
- patch: |-
    $patch: delete
    apiVersion: admissionregistration.k8s.io/v1
    kind: ValidatingAdmissionPolicyBinding
    metadata: {name: serin-routes}
`))
		if strings.Contains(text, "AdmissionPolicy") || !strings.Contains(text, "kind: Deployment") {
			t.Errorf("without the policy it is\n%s", text)
		}
	})
}

// overlay writes a kustomization over a folder of deploy, in the namespace
// releases.
func (st *stage) overlay(base, more string) string {
	st.Helper()
	dir := st.folder()
	deploy, err := filepath.Abs(filepath.Join("..", "..", "deploy"))
	if err != nil {
		st.Fatal(err)
	}
	from, err := filepath.Rel(dir, deploy)
	if err != nil {
		st.Fatal(err)
	}
	text := strings.ReplaceAll("namespace: releases\nresources: [DEPLOY/"+base+"]\n"+more, "DEPLOY", from)
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o644); err != nil {
		st.Fatal(err)
	}
	return dir
}

// TestPodSecurity has the API server's own admission judge the controller's pod in
// the namespace as it is installed, which enforces the restricted standard; and
// shows that it would be refused with a bit more.
func TestPodSecurity(t *testing.T) {
	st := &stage{T: t, world: shared, name: "serin-system"}
	for _, overlay := range []string{"base", "in-place", "in-place-webhook", "in-place-pause"} {
		t.Run(overlay, func(t *testing.T) {
			d := controllerOf(t, st.rendered(filepath.Join("..", "..", "deploy", overlay)))
			if err := shared.admits(t.Context(), d.Spec.Template, nil); err != nil {
				t.Error(err)
			}
			for what, change := range map[string]func(*corev1.PodSpec){
				"it may be root":                   func(p *corev1.PodSpec) { p.SecurityContext.RunAsNonRoot = nil },
				"it has all system calls":          func(p *corev1.PodSpec) { p.SecurityContext.SeccompProfile = nil },
				"it keeps capabilities":            func(p *corev1.PodSpec) { p.Containers[0].SecurityContext.Capabilities.Drop = nil },
				"it may become more than it is":    func(p *corev1.PodSpec) { p.Containers[0].SecurityContext.AllowPrivilegeEscalation = nil },
				"it is in the host's network":      func(p *corev1.PodSpec) { p.HostNetwork = true },
				"it has a folder of the host's":    func(p *corev1.PodSpec) { p.Volumes[0].VolumeSource = hostFolder },
				"a container beside it is at will": func(p *corev1.PodSpec) { p.Containers = append(p.Containers, corev1.Container{Name: "b", Image: "b"}) },
			} {
				if err := shared.admits(t.Context(), d.Spec.Template, change); err == nil || !strings.Contains(err.Error(), `violates PodSecurity "restricted:latest"`) {
					t.Errorf("%s: got %v", what, err)
				}
			}
		})
	}
}

var hostFolder = corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}

// controllerOf is the controller's Deployment in manifests.
func controllerOf(t *testing.T, manifests string) (d appsv1.Deployment) {
	t.Helper()
	for document := range strings.SplitSeq(manifests, "\n---\n") {
		if strings.Contains("\n"+document, "\nkind: Deployment\n") {
			if err := yaml.UnmarshalStrict([]byte(document), &d); err != nil {
				t.Fatal(err)
			}
			return d
		}
	}
	t.Fatal("there is no Deployment")
	return d
}

// admits asks for a pod of the template in the controller's namespace, and has
// nothing stored.
func (w world) admits(ctx context.Context, template corev1.PodTemplateSpec, change func(*corev1.PodSpec)) error {
	pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "tried", Labels: template.Labels}, Spec: *template.Spec.DeepCopy()}
	if change != nil {
		change(&pod.Spec)
	}
	_, err := w.kube.CoreV1().Pods("serin-system").Create(ctx, &pod, metav1.CreateOptions{DryRun: dry})
	if err != nil {
		return fmt.Errorf("ask for the pod: %w", err)
	}
	return nil
}

// TestNetworkPolicies has the API server take them as they are rendered.
func TestNetworkPolicies(t *testing.T) {
	st := &stage{T: t, world: shared, name: "serin-system"}
	for overlay, ports := range map[string]int{"base": 1, "in-place-webhook": 2} {
		file := filepath.Join(st.folder(), "all.yaml")
		if err := os.WriteFile(file, []byte(onlyKind(t, st.rendered(filepath.Join("..", "..", "deploy", overlay)), "NetworkPolicy")), 0o644); err != nil {
			t.Fatal(err)
		}
		var got struct {
			Items []struct {
				Metadata struct{ Name string }
				Spec     struct{ Ingress, Egress []any }
			}
		}
		if err := json.Unmarshal([]byte(st.kubectl("apply", "--dry-run=server", "--output=json", "--filename", file)), &got); err != nil {
			t.Fatal(err)
		}
		if len(got.Items) != 2 || len(got.Items[0].Spec.Ingress)+len(got.Items[0].Spec.Egress) != 0 || len(got.Items[1].Spec.Ingress) != ports || len(got.Items[1].Spec.Egress) != 3 {
			t.Errorf("%s has %+v", overlay, got)
		}
	}
}

// onlyKind are the objects of a kind in manifests.
func onlyKind(t *testing.T, manifests, kind string) string {
	t.Helper()
	var out []string
	for document := range strings.SplitSeq(manifests, "\n---\n") {
		if strings.Contains("\n"+document, "\nkind: "+kind+"\n") {
			out = append(out, document)
		}
	}
	return strings.Join(out, "\n---\n")
}
