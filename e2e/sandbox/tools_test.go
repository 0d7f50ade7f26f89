package sandbox_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"serin.dev/serin/e2e/sandbox"
)

// client is the administrator's.
func (f fixture) client(t *testing.T) kubernetes.Interface {
	t.Helper()
	c, err := kubernetes.NewForConfig(f.REST())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// kubectl returns what it says.
func (f fixture) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, _, err := f.Kubectl(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// says waits until kubectl says exactly this.
func (f fixture) says(t *testing.T, want string, args ...string) {
	t.Helper()
	f.eventually(t, "kubectl "+strings.Join(args, " "), func() error {
		out, _, err := f.Kubectl(t.Context(), args...)
		if err == nil && out != want {
			err = fmt.Errorf("it says %q, want %q", out, want)
		}
		return err
	})
}

func testKubectl(t *testing.T, f fixture) {
	if out := f.kubectl(t, "version", "--output=json"); strings.Count(out, `"gitVersion": "v1.36.3"`) != 2 {
		t.Errorf("client and server are not both v1.36.3: %s", out)
	}
	out, err := exec.CommandContext(t.Context(), f.KubectlPath(), "--namespace=shop", "get", "deployment", "web-v1", "--output=jsonpath={.metadata.name}").CombinedOutput()
	if err != nil || string(out) != "web-v1" {
		t.Errorf("the one for people: %v: %s", err, out)
	}
	_, stderr, err := f.Kubectl(t.Context(), "--namespace=shop", "get", "deployment", "nothing")
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(err.Error(), "kubectl --namespace=shop get deployment nothing") || !strings.Contains(stderr, "NotFound") {
		t.Errorf("what is not there: %v", err)
	}
}

// chart writes a chart of one Deployment, whose image is a value.
func chart(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"Chart.yaml":  "apiVersion: v2\nname: api\nversion: 1.0.0\n",
		"values.yaml": "image: helm/api:v1\n",
		"templates/deployment.yaml": `
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: {{.Release.Namespace}}}
spec:
  replicas: 1
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api}}
    spec: {containers: [{name: api, image: {{.Values.image}}, ports: [{containerPort: 8080}]}]}
`,
	} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func testHelm(t *testing.T, f fixture) {
	dir := chart(t)
	helm := func(args ...string) error {
		out, _, err := f.Helm(t.Context(), append(args, "--namespace=helm", "api", dir)...)
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return err
	}
	if err := helm("install", "--create-namespace", "--wait=watcher"); err != nil {
		t.Fatal(err)
	}
	for _, waiter := range []string{"watcher", "legacy"} {
		image := "helm/api:" + waiter
		if err := helm("upgrade", "--wait="+waiter, "--set=image="+image); err != nil {
			t.Fatal(err)
		}
		f.says(t, image+" 1", "--namespace=helm", "get", "deployment", "api", "--output=jsonpath={.spec.template.spec.containers[0].image} {.status.updatedReplicas}")
		if err := helm("upgrade", "--wait="+waiter, "--set=image=missing/api:v3", "--timeout=2s"); err == nil {
			t.Errorf("the waiter %s did not wait for a pod that never comes", waiter)
		}
	}
}

func testGitOps(t *testing.T, f fixture) {
	manifest := func(cleared, colour string) string {
		return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: gitops, namespace: shop}\ndata: {cleared: %q, colour: %q}\n", cleared, colour)
	}
	start := func(o sandbox.GitOpsOptions) *sandbox.GitOps {
		o.Every = 50 * time.Millisecond
		g, err := f.StartGitOps(t.Context(), manifest("no", "red"), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(g.Stop)
		return g
	}
	data := func(want string) {
		f.says(t, want, "--namespace=shop", "get", "configmap", "gitops", "--output=jsonpath={.data.colour}")
	}
	polite := start(sandbox.GitOpsOptions{Manager: "polite"})
	f.eventually(t, "it has applied", func() error {
		if c := polite.Counts(); c.Applied < 2 || c.Conflicts+c.Refused > 0 {
			return fmt.Errorf("counts %+v", c)
		}
		return nil
	})
	f.kubectl(t, "--namespace=shop", "patch", "configmap", "gitops", "--type=merge", `--patch={"data":{"colour":"blue"}}`)
	f.eventually(t, "the conflict is counted", func() error {
		if c := polite.Counts(); c.Conflicts == 0 || !apierrors.IsConflict(c.LastError) {
			return fmt.Errorf("counts %+v", c)
		}
		return nil
	})
	polite.Stop()
	data("blue")
	forceful := start(sandbox.GitOpsOptions{Force: true})
	data("red")
	if err := forceful.Commit(manifest("no", "green")); err != nil {
		t.Fatal(err)
	}
	data("green")
	forceful.Stop()
	if c := forceful.Counts(); c.Conflicts+c.Refused > 0 || c.Rounds == 0 {
		t.Errorf("counts %+v", c)
	}
	f.kubectl(t, "--namespace=shop", "patch", "configmap", "gitops", "--type=merge", `--patch={"data":{"colour":"blue"}}`)
	if err := forceful.Commit("a: [1"); err == nil {
		t.Error("a manifest that does not parse was taken")
	}
	data("blue")
}

func testAutoscaler(t *testing.T, f fixture) {
	f.apply(t, deployment("busy", "busy/api:v1", "version: v1")+`
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: api, namespace: busy}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: api-v1}
  minReplicas: 1
  maxReplicas: 5
  metrics: [{type: Resource, resource: {name: cpu, target: {type: AverageValue, averageValue: 200m}}}]
`)
	replicas := func(want string) {
		f.says(t, want, "--namespace=busy", "get", "deployment", "api-v1", "--output=jsonpath={.spec.replicas} {.status.readyReplicas}")
	}
	replicas("1 1")
	if err := f.SetCPU("busy", 600); err != nil {
		t.Fatal(err)
	}
	replicas("3 3")
	if top := f.kubectl(t, "top", "pods", "--namespace=busy", "--no-headers"); strings.Count(top, " 200m ") != 3 {
		t.Errorf("kubectl top says\n%s\nwant three pods with 200m each", top)
	}
	if err := f.SetCPU("busy", 150); err != nil {
		t.Fatal(err)
	}
	replicas("1 1")
}

func testQuota(t *testing.T, f fixture) {
	f.apply(t, `
apiVersion: v1
kind: Namespace
metadata: {name: narrow}
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: pods, namespace: narrow}
spec: {hard: {pods: "1"}}
`)
	f.says(t, "0", "--namespace=narrow", "get", "resourcequota", "pods", "--output=jsonpath={.status.used.pods}")
	f.apply(t, deployment("narrow", "narrow/api:v1", "version: v1"))
	f.says(t, "1", "--namespace=narrow", "get", "deployment", "api-v1", "--output=jsonpath={.status.readyReplicas}")
	f.kubectl(t, "--namespace=narrow", "scale", "deployment", "api-v1", "--replicas=2")
	f.says(t, "FailedCreate", "--namespace=narrow", "get", "deployment", "api-v1", `--output=jsonpath={.status.conditions[?(@.type=="ReplicaFailure")].reason}`)
	f.says(t, "1", "--namespace=narrow", "get", "resourcequota", "pods", "--output=jsonpath={.status.used.pods}")
}

func testDisruptionBudget(t *testing.T, f fixture) {
	f.apply(t, deployment("steady", "steady/api:v1", "version: v1")+`
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: api, namespace: steady}
spec: {minAvailable: 1, selector: {matchLabels: {app: api}}}
`)
	f.says(t, "1 0", "--namespace=steady", "get", "pdb", "api", "--output=jsonpath={.status.currentHealthy} {.status.disruptionsAllowed}")
	pod := f.pods(t, "steady", "app=api").Items[0]
	err := f.client(t).CoreV1().Pods("steady").EvictV1(t.Context(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: pod.Name}})
	if !apierrors.IsTooManyRequests(err) {
		t.Errorf("the eviction: %v, want it refused", err)
	}
}

// endpoint is what the EndpointSlices say of a pod, nil if nothing.
func (f fixture) endpoint(t *testing.T, pod corev1.Pod) *discoveryv1.EndpointConditions {
	t.Helper()
	slices, err := f.client(t).DiscoveryV1().EndpointSlices(pod.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range slices.Items {
		for _, e := range s.Endpoints {
			if e.TargetRef != nil && e.TargetRef.UID == pod.UID {
				return &e.Conditions
			}
		}
	}
	return nil
}

func testTermination(t *testing.T, f fixture) {
	for _, tt := range []struct {
		name, drain string
		grace       int64
		lasts       bool // until the scenario has had its look
	}{
		{"a pod that drains", "1h", 3600, true},
		{"a pod that ends at once", "0s", 3600, false},
		{"a pod that drains beyond its grace period", "1h", 1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			namespace := "ending-" + strings.ReplaceAll(t.Name()[strings.LastIndexByte(t.Name(), '/')+1:], "_", "-")
			f.apply(t, deployment(namespace, "ending/api:v1", "version: v1", "DRAIN", tt.drain))
			f.says(t, "1", "--namespace="+namespace, "get", "deployment", "api-v1", "--output=jsonpath={.status.readyReplicas}")
			pod := f.pods(t, namespace, "app=api").Items[0]
			pods := f.client(t).CoreV1().Pods(namespace)
			if err := pods.Delete(t.Context(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &tt.grace}); err != nil {
				t.Fatal(err)
			}
			if tt.lasts {
				f.eventually(t, "the endpoint is terminating, and serves", func() error {
					if c := f.endpoint(t, pod); c == nil || *c.Ready || !*c.Serving || !*c.Terminating {
						return fmt.Errorf("conditions %+v", c)
					}
					return nil
				})
				if err := pods.Delete(t.Context(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}); err != nil {
					t.Fatal(err)
				}
			}
			f.eventually(t, "the pod is gone, and its endpoint", func() error {
				if _, err := pods.Get(t.Context(), pod.Name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
					return errors.Join(errors.New("the pod is there"), err)
				}
				if c := f.endpoint(t, pod); c != nil {
					return fmt.Errorf("the endpoint: %+v", c)
				}
				return nil
			})
		})
	}
}

// twins are two Deployments behind one Service, whose selectors overlap; the
// second belongs to the first.
const twins = `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: NAME
  namespace: twins
  ownerReferences: [OWNER]
spec:
  replicas: 1
  selector: {matchLabels: {app: api, LABEL}}
  template:
    metadata: {labels: {app: api, LABEL}}
    spec: {containers: [{name: api, image: "twins/NAME:v1", ports: [{containerPort: 8080}], env: [{name: VERSION, value: NAME}]}]}
`

func twin(name, label, owner string) string {
	return strings.NewReplacer("NAME", name, ", LABEL", label, "OWNER", owner).Replace(twins)
}

func testOwnedDeployment(t *testing.T, f fixture) {
	f.apply(t, `
apiVersion: v1
kind: Namespace
metadata: {name: twins}
---
apiVersion: v1
kind: Service
metadata: {name: api, namespace: twins}
spec: {selector: {app: api}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: own, namespace: twins}
spec: {host: api, trafficPolicy: {connectionPool: {http: {http1MaxPendingRequests: 500}}}}
`+"---"+twin("api", "", ""))
	f.eventually(t, "the first one answers", func() error { return f.answers(f.MeshURL(), "api.twins", "api") })
	owner := f.kubectl(t, "--namespace=twins", "get", "deployment", "api", "--output=jsonpath={.metadata.uid}")
	f.apply(t, twin("api-canary", ", track: canary", "{apiVersion: apps/v1, kind: Deployment, name: api, controller: true, uid: "+owner+"}"))
	f.says(t, "1 1", "--namespace=twins", "get", "deployments", "--output=jsonpath={.items[*].status.readyReplicas}")
	hash := f.pods(t, "twins", "app=api,!track").Items[0].Labels["pod-template-hash"]
	// Another rule for the same host, and then the routes that use it, while
	// both proxies run.
	f.apply(t, fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: ours, namespace: twins}
spec:
  host: api
  subsets:
  - {name: stable, labels: {pod-template-hash: %q}}
  - {name: canary, labels: {track: canary}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: ours, namespace: twins}
spec:
  hosts: [twins.example.com, api]
  gateways: [istio-system/gateway, mesh]
  http:
  - match: [{headers: {track: {exact: canary}}}]
    route: [{destination: {host: api, subset: canary}}]
  - route: [{destination: {host: api, subset: stable}}]
`, hash))
	for url, host := range map[string]string{f.GatewayURL(): "twins.example.com", f.MeshURL(): "api.twins"} {
		for version, header := range map[string]string{"api": "none", "api-canary": "canary"} {
			f.eventually(t, host+" leads to "+version, func() error { return f.answers(url, host, version, "Track", header) })
		}
	}
	for _, workload := range []string{"api", "api-canary"} {
		f.seen(t, `istio_requests_total{pod="istio-ingressgateway",destination_service="api.twins.svc.cluster.local",destination_workload="`+workload+`"}`)
	}
	f.kubectl(t, "--namespace=twins", "delete", "deployment", "api", "--wait=false")
	f.says(t, "", "--namespace=twins", "get", "deployments,replicasets,pods", "--output=jsonpath={.items[*].metadata.name}")
}
