package deploy_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"serin.dev/serin/pkg/config"
	"serin.dev/serin/pkg/topology"
)

const inPlace = "in-place"

// parts are the components of in-place mode, and the kinds in each.
var parts = map[string]map[string]func() runtime.Object{
	"rights": {
		"ClusterRole":                      func() runtime.Object { return &rbacv1.ClusterRole{} },
		"ClusterRoleBinding":               func() runtime.Object { return &rbacv1.ClusterRoleBinding{} },
		"ValidatingAdmissionPolicy":        func() runtime.Object { return &admissionv1.ValidatingAdmissionPolicy{} },
		"ValidatingAdmissionPolicyBinding": func() runtime.Object { return &admissionv1.ValidatingAdmissionPolicyBinding{} },
	},
	"policy": {
		"MutatingAdmissionPolicy":        func() runtime.Object { return &admissionv1.MutatingAdmissionPolicy{} },
		"MutatingAdmissionPolicyBinding": func() runtime.Object { return &admissionv1.MutatingAdmissionPolicyBinding{} },
	},
	"webhook": {
		"MutatingWebhookConfiguration": func() runtime.Object { return &admissionv1.MutatingWebhookConfiguration{} },
		"Service":                      func() runtime.Object { return &corev1.Service{} },
		"Issuer":                       func() runtime.Object { return &unstructured.Unstructured{} },
		"Certificate":                  func() runtime.Object { return &unstructured.Unstructured{} },
	},
	"pause": {},
}

// overlays are what is applied, and the components that make it.
var overlays = map[string][]string{
	"in-place":         {"rights", "policy", "../command-by"},
	"in-place-webhook": {"../in-place/rights", "../in-place/webhook"},
	"in-place-pause":   {"../in-place/rights", "../in-place/pause"},
}

// component is the part of a kustomization that is checked here.
type component struct {
	Kind                  string
	Resources, Components []string
	Patches               []struct{ Patch string }
}

func readComponent(t *testing.T, folder ...string) (c component) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append(folder, "kustomization.yaml")...))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestEveryOverlayIsTheBaseAndItsComponents(t *testing.T) {
	for folder, components := range overlays {
		k := readComponent(t, folder)
		if k.Kind != "Kustomization" || !slices.Equal(k.Resources, []string{"../base"}) || !slices.Equal(k.Components, components) {
			t.Errorf("%s is %+v", folder, k)
		}
	}
}

func TestEveryFileOfAComponentIsPartOfIt(t *testing.T) {
	for part := range parts {
		files, err := filepath.Glob(filepath.Join(inPlace, part, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for i := range files {
			files[i] = filepath.Base(files[i])
		}
		k := readComponent(t, inPlace, part)
		listed := slices.Sorted(slices.Values(append(k.Resources, "kustomization.yaml")))
		if k.Kind != "Component" || !slices.Equal(files, listed) {
			t.Errorf("the %s %s holds %v, and lists %v", k.Kind, part, files, listed)
		}
	}
}

// Each guard is switched on by the flag with its own name, and by nothing else.
func TestEveryGuardSwitchesItselfOn(t *testing.T) {
	for part, guard := range map[string]string{"policy": config.GuardPolicy, "webhook": config.GuardWebhook, "pause": config.GuardPause} {
		k := readComponent(t, inPlace, part)
		if len(k.Patches) == 0 {
			t.Fatalf("%s has no patch", part)
		}
		var operations []struct {
			Op, Path string
			Value    any
		}
		if err := yaml.UnmarshalStrict([]byte(k.Patches[0].Patch), &operations); err != nil {
			t.Fatal(err)
		}
		if first := operations[0]; first.Op != "add" || first.Path != "/spec/template/spec/containers/0/args/-" || first.Value != "--in-place="+guard {
			t.Errorf("%s: %+v", part, first)
		}
	}
	if k := readComponent(t, inPlace, "rights"); len(k.Patches) > 0 {
		t.Error("the rights alone switch something on")
	}
}

// one is the one object of its kind in a component, by its name.
func one[T runtime.Object](t *testing.T, part, name string) T {
	t.Helper()
	for _, file := range readComponent(t, inPlace, part).Resources {
		for _, o := range decode(t, filepath.Join(inPlace, part, file), parts[part]) {
			named, is := o.(interface{ GetName() string })
			if o, ok := o.(T); ok && is && named.GetName() == name {
				return o
			}
		}
	}
	var kind T
	t.Fatalf("%s has no %T %s", part, kind, name)
	return kind
}

func TestInPlaceTheRightsAreBoundToTheController(t *testing.T) {
	role := one[*rbacv1.ClusterRole](t, "rights", "serin-in-place")
	for _, r := range role.Rules {
		if slices.Contains(r.APIGroups, "admissionregistration.k8s.io") && !slices.Equal(r.ResourceNames, []string{"serin-in-place"}) {
			t.Errorf("it may read the policies %v", r.ResourceNames)
		}
	}
	binding := one[*rbacv1.ClusterRoleBinding](t, "rights", "serin-in-place")
	if !slices.Equal(binding.Subjects, only[*rbacv1.ClusterRoleBinding](t).Subjects) || binding.RoleRef.Name != role.Name {
		t.Errorf("it binds %v to %v", binding.Subjects, binding.RoleRef)
	}
}

// self is the controller's name, as the API server knows it.
func self(t *testing.T) string {
	account := only[*corev1.ServiceAccount](t)
	return "system:serviceaccount:" + account.Namespace + ":" + account.Name
}

func TestTheGuardKnowsTheControllerAndItsMark(t *testing.T) {
	guard := one[*admissionv1.MutatingAdmissionPolicy](t, "policy", "serin-in-place")
	conditions := map[string]string{}
	for _, c := range guard.Spec.MatchConditions {
		conditions[c.Name] = c.Expression
	}
	if got, want := conditions["not-by-serin"], "request.userInfo.username != '"+self(t)+"'"; got != want {
		t.Errorf("it knows the controller by %s, want %s", got, want)
	}
	mutation := guard.Spec.Mutations[0].ApplyConfiguration.Expression
	if want := "{'" + topology.HeldKey + "': '" + topology.HeldValue + "'}"; !strings.Contains(mutation, want) {
		t.Errorf("it writes %s, want %s in it", mutation, want)
	}
	if *guard.Spec.FailurePolicy != admissionv1.Ignore {
		t.Error("a guard that fails would keep people from deploying")
	}
	if b := one[*admissionv1.MutatingAdmissionPolicyBinding](t, "policy", "serin-in-place"); b.Spec.PolicyName != guard.Name || b.Spec.MatchResources != nil {
		t.Errorf("it stands by %+v", b.Spec)
	}
}

func TestTheWebhookIsAskedWhatThePolicyLooksAt(t *testing.T) {
	policy := one[*admissionv1.MutatingAdmissionPolicy](t, "policy", "serin-in-place").Spec
	hook := one[*admissionv1.MutatingWebhookConfiguration](t, "webhook", "serin-in-place").Webhooks[0]
	if !slices.Equal(hook.MatchConditions, policy.MatchConditions) {
		t.Errorf("the webhook's conditions are %v, the policy's %v", hook.MatchConditions, policy.MatchConditions)
	}
	rule := policy.MatchConstraints.ResourceRules[0].RuleWithOperations
	if got := hook.Rules[0]; !slices.Equal(got.Resources, rule.Resources) || !slices.Equal(got.Operations, rule.Operations) || !slices.Equal(got.APIGroups, rule.APIGroups) {
		t.Errorf("it is asked about %+v, the policy looks at %+v", got, rule)
	}
	if *hook.FailurePolicy != admissionv1.Ignore || *hook.TimeoutSeconds != 2 || *hook.SideEffects != admissionv1.SideEffectClassNone {
		t.Errorf("an outage of it would be felt: %+v", hook)
	}
}

// The names and numbers that lead from the API server to the webhook.
func TestTheWebhookIsFound(t *testing.T) {
	service := one[*corev1.Service](t, "webhook", "serin-webhook")
	to := one[*admissionv1.MutatingWebhookConfiguration](t, "webhook", "serin-in-place").Webhooks[0].ClientConfig.Service
	if to.Name != service.Name || to.Namespace != service.Namespace || *to.Port != service.Spec.Ports[0].Port || *to.Path != "/guard" {
		t.Errorf("the webhook is at %+v, the Service is %+v", to, service.Spec)
	}
	if !maps.Equal(service.Spec.Selector, only[*corev1.Service](t).Spec.Selector) {
		t.Errorf("the Service selects %v", service.Spec.Selector)
	}
	certificate := one[*unstructured.Unstructured](t, "webhook", "serin-webhook")
	secret, _, _ := unstructured.NestedString(certificate.Object, "spec", "secretName")
	if names, _, _ := unstructured.NestedStringSlice(certificate.Object, "spec", "dnsNames"); !slices.Contains(names, service.Name+"."+service.Namespace+".svc") {
		t.Errorf("the certificate is for %v", names)
	}
	patch := readComponent(t, inPlace, "webhook").Patches[0].Patch
	w := config.Default().InPlace.Webhook
	for _, part := range []string{"containerPort: " + strings.TrimPrefix(w.Listen, ":"), "name: " + service.Spec.Ports[0].TargetPort.String(), "secretName: " + secret, "mountPath: " + filepath.Dir(w.Certificate), "mountPath: " + filepath.Dir(w.Key)} {
		if !strings.Contains(patch, part) {
			t.Errorf("the patch lacks %s:\n%s", part, patch)
		}
	}
}

func TestAPromotionIsKnownByItsMark(t *testing.T) {
	p := one[*admissionv1.ValidatingAdmissionPolicy](t, "rights", "serin-promoting")
	var conditions []string
	for _, c := range p.Spec.MatchConditions {
		conditions = append(conditions, c.Expression)
	}
	text := strings.Join(conditions, "\n")
	for _, part := range []string{"'" + self(t) + "'", "'" + topology.HeldKey + "'", "'" + topology.PromotingValue + "'"} {
		if !strings.Contains(text, part) {
			t.Errorf("its conditions lack %s:\n%s", part, text)
		}
	}
}

// What bounds the controller must not be passed over, and is about nobody else.
func TestTheControllersWritesAreBounded(t *testing.T) {
	p := one[*admissionv1.ValidatingAdmissionPolicy](t, "rights", "serin-own-writes")
	expectBounds(t, p)
	bounded := map[string]bool{}
	for _, r := range p.Spec.MatchConstraints.ResourceRules {
		for _, resource := range r.Resources {
			bounded[r.APIGroups[0]+"/"+resource] = slices.Contains(r.Operations, admissionv1.Create) && slices.Contains(r.Operations, admissionv1.Update) && slices.Contains(r.Operations, admissionv1.Delete)
		}
	}
	for resource, verbs := range rights(t, one[*rbacv1.ClusterRole](t, "rights", "serin-in-place").Rules) {
		if slices.Contains(verbs, "delete") && !bounded[resource] {
			t.Errorf("%s may be written without bounds", resource)
		}
	}
	for _, name := range []string{"serin-own-writes", "serin-promoting"} {
		b := one[*admissionv1.ValidatingAdmissionPolicyBinding](t, "rights", name)
		if b.Spec.PolicyName != name || !slices.Equal(b.Spec.ValidationActions, []admissionv1.ValidationAction{admissionv1.Deny}) {
			t.Errorf("%s is bound by %+v", name, b.Spec)
		}
	}
}
