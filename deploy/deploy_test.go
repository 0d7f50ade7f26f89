// Package deploy_test checks the manifests: they decode strictly, and what they
// promise about rights and safety holds.
package deploy_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"serin.dev/serin/pkg/config"
)

const base = "base"

// kinds are all that may stand in the base.
var kinds = map[string]func() runtime.Object{
	"Namespace":           func() runtime.Object { return &corev1.Namespace{} },
	"ServiceAccount":      func() runtime.Object { return &corev1.ServiceAccount{} },
	"Service":             func() runtime.Object { return &corev1.Service{} },
	"ClusterRole":         func() runtime.Object { return &rbacv1.ClusterRole{} },
	"ClusterRoleBinding":  func() runtime.Object { return &rbacv1.ClusterRoleBinding{} },
	"Role":                func() runtime.Object { return &rbacv1.Role{} },
	"RoleBinding":         func() runtime.Object { return &rbacv1.RoleBinding{} },
	"Deployment":          func() runtime.Object { return &appsv1.Deployment{} },
	"PodDisruptionBudget": func() runtime.Object { return &policyv1.PodDisruptionBudget{} },
	"NetworkPolicy":       func() runtime.Object { return &networkingv1.NetworkPolicy{} },

	"ValidatingAdmissionPolicy":        func() runtime.Object { return &admissionv1.ValidatingAdmissionPolicy{} },
	"ValidatingAdmissionPolicyBinding": func() runtime.Object { return &admissionv1.ValidatingAdmissionPolicyBinding{} },
}

// kustomization is the part of kustomization.yaml that is checked here.
type kustomization struct {
	Namespace          string
	Resources          []string
	ConfigMapGenerator []struct {
		Name  string
		Files []string
	}
}

func TestEveryFileOfTheBaseIsPartOfIt(t *testing.T) {
	k := readKustomization(t)
	listed := append([]string{"kustomization.yaml"}, k.Resources...)
	for _, g := range k.ConfigMapGenerator {
		listed = append(listed, g.Files...)
	}
	files, err := filepath.Glob(filepath.Join(base, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range files {
		files[i] = filepath.Base(files[i])
	}
	slices.Sort(listed)
	if !slices.Equal(files, listed) {
		t.Errorf("the folder holds %v, kustomization.yaml lists %v", files, listed)
	}
}

func TestEverythingNamespacedIsInOneNamespace(t *testing.T) {
	k := readKustomization(t)
	for _, o := range objects(t) {
		accessor, ok := o.(interface {
			GetNamespace() string
			GetName() string
		})
		if !ok {
			t.Fatalf("%T has no metadata", o)
		}
		switch o.(type) {
		case *corev1.Namespace, *rbacv1.ClusterRole, *rbacv1.ClusterRoleBinding,
			*admissionv1.ValidatingAdmissionPolicy, *admissionv1.ValidatingAdmissionPolicyBinding:
			continue
		}
		if accessor.GetNamespace() != k.Namespace {
			t.Errorf("%T %s is in namespace %q, want %q", o, accessor.GetName(), accessor.GetNamespace(), k.Namespace)
		}
	}
}

func TestTheNamespaceEnforcesTheRestrictedStandard(t *testing.T) {
	ns := only[*corev1.Namespace](t)
	if got := ns.Labels["pod-security.kubernetes.io/enforce"]; got != "restricted" {
		t.Errorf("the namespace enforces %q", got)
	}
}

func TestTheBindingsLeadFromTheServiceAccountToTheRoles(t *testing.T) {
	account := only[*corev1.ServiceAccount](t)
	want := []rbacv1.Subject{{Kind: "ServiceAccount", Name: account.Name, Namespace: account.Namespace}}
	cluster, own := only[*rbacv1.ClusterRoleBinding](t), only[*rbacv1.RoleBinding](t)
	if !slices.Equal(cluster.Subjects, want) || cluster.RoleRef.Name != only[*rbacv1.ClusterRole](t).Name {
		t.Errorf("the ClusterRoleBinding binds %v to %v", cluster.Subjects, cluster.RoleRef)
	}
	if !slices.Equal(own.Subjects, want) || own.RoleRef.Name != only[*rbacv1.Role](t).Name {
		t.Errorf("the RoleBinding binds %v to %v", own.Subjects, own.RoleRef)
	}
	if pod := only[*appsv1.Deployment](t).Spec.Template.Spec; pod.ServiceAccountName != account.Name {
		t.Errorf("the pods run as %q", pod.ServiceAccountName)
	}
}

func TestThePodMeetsTheRestrictedStandard(t *testing.T) {
	pod := only[*appsv1.Deployment](t).Spec.Template.Spec
	if pod.HostNetwork || pod.HostPID || pod.HostIPC {
		t.Error("the pod shares a namespace with its host")
	}
	s := pod.SecurityContext
	if s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.RunAsUser == nil || *s.RunAsUser == 0 ||
		s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("the pod's securityContext is %+v", s)
	}
	for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
		s := c.SecurityContext
		if s == nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation ||
			s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem ||
			s.Capabilities == nil || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(s.Capabilities.Add) > 0 {
			t.Errorf("the securityContext of container %s is %+v", c.Name, s)
		}
		if len(c.Resources.Requests) == 0 || c.Resources.Limits.Memory().IsZero() {
			t.Errorf("container %s has no requests, or no limit of memory", c.Name)
		}
	}
	for _, v := range pod.Volumes {
		if v.ConfigMap == nil {
			t.Errorf("volume %s is no ConfigMap", v.Name)
		}
	}
}

func TestOneReplicaIsLeftWhenNodesAreDrained(t *testing.T) {
	d, budget := only[*appsv1.Deployment](t), only[*policyv1.PodDisruptionBudget](t)
	if *d.Spec.Replicas < 2 || budget.Spec.MinAvailable.IntValue() != 1 {
		t.Errorf("%d replicas, of which %s stay", *d.Spec.Replicas, budget.Spec.MinAvailable)
	}
	if !selects(budget.Spec.Selector.MatchLabels, d) || !selects(only[*corev1.Service](t).Spec.Selector, d) {
		t.Error("the budget or the Service selects other pods than the Deployment's")
	}
}

func TestTheConfigurationIsValidAndIsTheOneThatIsMounted(t *testing.T) {
	k := readKustomization(t)
	if len(k.ConfigMapGenerator) != 1 || len(k.ConfigMapGenerator[0].Files) != 1 {
		t.Fatalf("want one ConfigMap of one file, got %+v", k.ConfigMapGenerator)
	}
	file := k.ConfigMapGenerator[0].Files[0]
	text := read(t, file)
	c, err := config.Load(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if c.LeaderElection.Namespace != k.Namespace {
		t.Errorf("the Lease is in %q, where there is no right on it", c.LeaderElection.Namespace)
	}
	pod := only[*appsv1.Deployment](t).Spec.Template.Spec
	mount := pod.Containers[0].VolumeMounts[0]
	if pod.Volumes[0].ConfigMap.Name != k.ConfigMapGenerator[0].Name || pod.Volumes[0].Name != mount.Name {
		t.Errorf("volume %+v, mount %+v", pod.Volumes[0], mount)
	}
	if want := "--config=" + mount.MountPath + "/" + file; !slices.Contains(pod.Containers[0].Args, want) {
		t.Errorf("the arguments are %v, want %s", pod.Containers[0].Args, want)
	}
}

// rights are the verbs, sorted, by group/resource.
func rights(t *testing.T, rules []rbacv1.PolicyRule) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for _, r := range rules {
		if len(r.NonResourceURLs) > 0 {
			t.Errorf("a rule names URLs: %v", r.NonResourceURLs)
		}
		for _, group := range r.APIGroups {
			for _, resource := range r.Resources {
				all[group+"/"+resource] = append(all[group+"/"+resource], r.Verbs...)
			}
		}
	}
	for resource := range all {
		slices.Sort(all[resource])
	}
	return all
}

func selects(selector map[string]string, d *appsv1.Deployment) bool {
	for k, v := range selector {
		if d.Spec.Template.Labels[k] != v {
			return false
		}
	}
	return len(selector) > 0
}

// only is the one object of its kind.
func only[T runtime.Object](t *testing.T) T {
	t.Helper()
	var found []T
	for _, o := range objects(t) {
		if o, ok := o.(T); ok {
			found = append(found, o)
		}
	}
	if len(found) != 1 {
		var kind T
		t.Fatalf("want one %T, got %d", kind, len(found))
	}
	return found[0]
}

// objects are all objects of the base.
func objects(t *testing.T) []runtime.Object {
	t.Helper()
	var all []runtime.Object
	for _, file := range readKustomization(t).Resources {
		all = append(all, decode(t, filepath.Join(base, file), kinds)...)
	}
	return all
}

// decode reads a file's objects strictly. Only the kinds that are expected may
// stand in it.
func decode(t *testing.T, file string, expected map[string]func() runtime.Object) []runtime.Object {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []runtime.Object
	for doc := range strings.SplitSeq(string(text), "\n---\n") {
		var meta struct{ Kind string }
		if err := yaml.Unmarshal([]byte(doc), &meta); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		empty, known := expected[meta.Kind]
		if !known {
			t.Fatalf("%s: kind %q is not expected here", file, meta.Kind)
		}
		o := empty()
		if err := yaml.UnmarshalStrict([]byte(doc), o); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, o)
	}
	return all
}

func readKustomization(t *testing.T) (k kustomization) {
	t.Helper()
	if err := yaml.Unmarshal(read(t, "kustomization.yaml"), &k); err != nil {
		t.Fatal(err)
	}
	return k
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(base, name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}
