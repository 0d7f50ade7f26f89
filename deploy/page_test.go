package deploy_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"serin.dev/serin/pkg/config"
)

// pageKinds are all that may stand in the page's component.
var pageKinds = map[string]func() runtime.Object{
	"ClusterRole":        func() runtime.Object { return &rbacv1.ClusterRole{} },
	"ClusterRoleBinding": func() runtime.Object { return &rbacv1.ClusterRoleBinding{} },
	"Service":            func() runtime.Object { return &corev1.Service{} },
	"Issuer":             func() runtime.Object { return &unstructured.Unstructured{} },
	"Certificate":        func() runtime.Object { return &unstructured.Unstructured{} },
}

func TestThePageMayAskForReviewsAndNothingElse(t *testing.T) {
	objects := decode(t, filepath.Join("page", "rbac.yaml"), pageKinds)
	role, binding := objects[0].(*rbacv1.ClusterRole), objects[1].(*rbacv1.ClusterRoleBinding)
	want := map[string]string{"authentication.k8s.io/tokenreviews": "create", "authorization.k8s.io/subjectaccessreviews": "create"}
	got := rights(t, role.Rules)
	for resource, verbs := range got {
		if strings.Join(verbs, " ") != want[resource] {
			t.Errorf("it may %v %s", verbs, resource)
		}
	}
	if len(got) != len(want) {
		t.Errorf("it may %v", got)
	}
	account := only[*corev1.ServiceAccount](t)
	if s := binding.Subjects; len(s) != 1 || s[0].Name != account.Name || s[0].Namespace != account.Namespace || binding.RoleRef.Name != role.Name {
		t.Errorf("bound is %+v to %+v", s, binding.RoleRef)
	}
}

func TestThePageIsReachedByItsServiceOverTLS(t *testing.T) {
	k := readComponent(t, "page")
	if want := []string{"rbac.yaml", "service.yaml", "certificate.yaml"}; k.Kind != "Component" || !slices.Equal(k.Resources, want) {
		t.Fatalf("it is %+v", k)
	}
	service := decode(t, filepath.Join("page", "service.yaml"), pageKinds)[0].(*corev1.Service)
	if d := only[*appsv1.Deployment](t); !selects(service.Spec.Selector, d) {
		t.Error("the Service doesn't select the controller's pods")
	}
	port := service.Spec.Ports[0].TargetPort.String()
	for i, part := range []string{"{name: " + port + ", containerPort: 9092}", "ports: [{port: " + port + ", protocol: TCP}]"} {
		if !strings.Contains(k.Patches[i].Patch, part) {
			t.Errorf("patch %d lacks %s", i, part)
		}
	}
	certificate := decode(t, filepath.Join("page", "certificate.yaml"), pageKinds)[1].(*unstructured.Unstructured)
	secret, _, _ := unstructured.NestedString(certificate.Object, "spec", "secretName")
	names, _, _ := unstructured.NestedStringSlice(certificate.Object, "spec", "dnsNames")
	if !strings.Contains(k.Patches[0].Patch, "secretName: "+secret+",") || !slices.Contains(names, service.Name+"."+service.Namespace+".svc") {
		t.Errorf("the certificate is %s for %v", secret, names)
	}
}

// The file that the document shows for it is one that the controller takes.
func TestThePagesConfigurationIsRead(t *testing.T) {
	text := string(read(t, filepath.Join("..", "..", "docs", "page.md")))
	_, rest, _ := strings.Cut(text, "and in `serin.yaml`:\n\n```yaml\n")
	file, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("it shows none")
	}
	c, err := config.Load(strings.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	mount := filepath.Dir(c.Page.Certificate)
	if c.Page.Access != config.AccessReviewed || c.Page.Listen != ":9092" || !strings.Contains(readComponent(t, "page").Patches[0].Patch, "mountPath: "+mount+",") {
		t.Errorf("it says %+v", c.Page)
	}
}
