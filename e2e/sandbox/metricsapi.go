package sandbox

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"serin.dev/serin/e2e/agent"
	"serin.dev/serin/e2e/mesh"
	"serin.dev/serin/e2e/node"
)

const (
	// metricsHost is the name the metrics API has to prove: its Service's.
	metricsHost = "node-agent.kube-system.svc"
	// frontProxy is who the API server is when it passes requests on.
	frontProxy = "front-proxy-client"
)

// metricsAPI has the API server serve metrics.k8s.io by asking the node agent.
// The Service has no selector, for the agent is no pod.
const metricsAPI = `
apiVersion: v1
kind: Service
metadata: {name: node-agent, namespace: kube-system}
spec: {ports: [{name: https, port: 443, targetPort: PORT}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: node-agent, namespace: kube-system, labels: {kubernetes.io/service-name: node-agent}}
addressType: IPv4
ports: [{name: https, port: PORT, protocol: TCP}]
endpoints: [{addresses: [ADDRESS], conditions: {ready: true}}]
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.metrics.k8s.io}
spec:
  group: metrics.k8s.io
  version: v1beta1
  service: {name: node-agent, namespace: kube-system, port: 443}
  caBundle: AUTHORITY
  groupPriorityMinimum: 100
  versionPriority: 100
`

// installMetricsAPI registers the metrics API and waits until the API server
// has found it: a group that is registered and not there disturbs everybody who
// asks which kinds there are.
func (s *Sandbox) installMetricsAPI(ctx context.Context) error {
	config, err := restConfig(s.file("install.kubeconfig"))
	if err != nil {
		return err
	}
	c, err := newClients(config)
	if err != nil {
		return err
	}
	manifests := strings.NewReplacer(
		"PORT", fmt.Sprint(agent.MetricsPort), "ADDRESS", mesh.NodeIP, "AUTHORITY", base64.StdEncoding.EncodeToString(s.ca.pem),
	).Replace(metricsAPI)
	// The namespace is made by the API server, some time after its start.
	if err := retry(ctx, func() error { return c.apply(ctx, manifests) }); err != nil {
		return err
	}
	return retry(ctx, func() error { return c.available(ctx, "v1beta1.metrics.k8s.io") })
}

// available looks whether an aggregated API answers.
func (c *clients) available(ctx context.Context, name string) error {
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService"}}
	r, err := c.resource(o)
	if err != nil {
		return err
	}
	if o, err = r.Get(ctx, name, metav1.GetOptions{}); err != nil {
		return err
	}
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	said := "nothing is known of it"
	for _, condition := range conditions {
		m, _ := condition.(map[string]any)
		if m["type"] == "Available" {
			if m["status"] == "True" {
				return nil
			}
			said = fmt.Sprint(m["message"])
		}
	}
	return fmt.Errorf("the API %s is not available: %s", name, said)
}

// SetCPU says how much CPU the ready pods of a namespace use in all, in
// thousandths of a core. That is what metrics.k8s.io answers from now on, each
// pod using an equal share, and what a HorizontalPodAutoscaler follows. Without
// it they use nothing.
func (s *Sandbox) SetCPU(namespace string, millicores int64) error {
	return s.machine.call("SetCPU", node.CPU{Namespace: namespace, Millicores: millicores})
}
