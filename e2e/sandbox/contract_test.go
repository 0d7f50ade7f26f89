package sandbox_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"serin.dev/serin/internal/apiserver/contract"
)

// testContract plays the suite that the API server in memory is checked by on the
// real one.
func testContract(t *testing.T, f fixture) {
	transport, err := rest.TransportFor(f.REST())
	if err != nil {
		t.Fatal(err)
	}
	server := contract.Server{
		Transport: transport, URL: f.REST().Host, Image: "contract/web:v1",
		Deny:  f.denyRoutes,
		Guard: f.guardTemplates,
		Busy:  func(t *testing.T) http.RoundTripper { return f.busyServer(t, transport) },
	}
	contract.Run(t, contract.Backend{Parallel: true, Start: func(*testing.T) contract.Server { return server }})
}

// denyRoutes installs a policy that refuses VirtualServices with a label, and waits
// until it does.
func (f fixture) denyRoutes(t *testing.T, namespace string) {
	t.Helper()
	f.apply(t, strings.NewReplacer("NAMESPACE", namespace, "LABEL", contract.DeniedLabel, "MESSAGE", contract.DeniedMessage).Replace(`
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: NAMESPACE}
spec:
  matchConstraints:
    resourceRules:
    - {apiGroups: [networking.istio.io], apiVersions: [v1], resources: [virtualservices], operations: [CREATE, UPDATE]}
  validations:
  - expression: "!('LABEL' in object.metadata.?labels.orValue({}))"
    message: MESSAGE
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: NAMESPACE}
spec:
  policyName: NAMESPACE
  validationActions: [Deny]
  matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NAMESPACE}}}
`))
	f.eventually(t, "the policy refuses", func() error {
		o := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
			"metadata": map[string]any{"name": "probe", "labels": map[string]any{contract.DeniedLabel: "yes"}},
			"spec":     map[string]any{"hosts": []any{"probe"}},
		}}
		_, err := f.trees(t).Resource(virtualServices).Namespace(namespace).Create(t.Context(), o, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil {
			return fmt.Errorf("it is let through")
		}
		return nil
	})
}

// guardTemplates installs the guard as deploy/in-place has it, for one namespace
// more, and waits until it holds.
func (f fixture) guardTemplates(t *testing.T, namespace string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "in-place", "policy", "guard.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		if strings.Contains(document, "kind: MutatingAdmissionPolicyBinding") {
			document = strings.Replace(document, "name: serin-in-place", "name: "+namespace, 1) +
				"\n  matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: " + namespace + "}}}\n"
		}
		f.apply(t, document)
	}
	f.apply(t, strings.Replace(deployment(namespace, "missing/probe:v1", "probe: probe"), "name: api-v1, ", `name: probe, annotations: {serin.dev/canary: "true"}, `, 1))
	probes := f.trees(t).Resource(appsv1.SchemeGroupVersion.WithResource("deployments")).Namespace(namespace)
	f.eventually(t, "the guard holds", func() error {
		o, err := probes.Get(t.Context(), "probe", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if err := unstructured.SetNestedField(o.Object, time.Now().String(), "spec", "template", "metadata", "annotations", "rev"); err != nil {
			return err
		}
		o, err = probes.Update(t.Context(), o, metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}})
		if err != nil {
			return err
		}
		if paused, _, _ := unstructured.NestedBool(o.Object, "spec", "paused"); !paused {
			return fmt.Errorf("a changed template is let through")
		}
		return nil
	})
}

// busyServer is the way to the server of a user for whom it has no capacity.
func (f fixture) busyServer(t *testing.T, transport http.RoundTripper) http.RoundTripper {
	t.Helper()
	const user = "contract:too-busy"
	f.apply(t, `
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: PriorityLevelConfiguration
metadata: {name: contract-none}
spec: {type: Limited, limited: {nominalConcurrencyShares: 0, lendablePercent: 0, borrowingLimitPercent: 0, limitResponse: {type: Reject}}}
---
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: FlowSchema
metadata: {name: contract-none}
spec:
  matchingPrecedence: 2
  priorityLevelConfiguration: {name: contract-none}
  rules:
  - subjects: [{kind: User, user: {name: "`+user+`"}}]
    resourceRules: [{verbs: ["*"], apiGroups: ["*"], resources: ["*"], namespaces: ["*"], clusterScope: true}]
`)
	one := func(r *http.Request) (*http.Response, error) {
		r = r.Clone(r.Context())
		r.Header.Set("Impersonate-User", user)
		return transport.RoundTrip(r)
	}
	// The server always lets one through, so that it takes several at a time.
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		for {
			var mu sync.Mutex
			var refused *http.Response
			var all sync.WaitGroup
			for range 32 {
				all.Go(func() {
					answer, err := one(r)
					if err != nil {
						return
					}
					mu.Lock()
					defer mu.Unlock()
					if answer.StatusCode == http.StatusTooManyRequests && refused == nil {
						refused = answer
						return
					}
					answer.Body.Close()
				})
			}
			all.Wait()
			if refused != nil || r.Context().Err() != nil {
				return refused, r.Context().Err()
			}
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (f fixture) trees(t *testing.T) dynamic.Interface {
	t.Helper()
	c, err := dynamic.NewForConfig(f.REST())
	if err != nil {
		t.Fatal(err)
	}
	return c
}
