package sandbox_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"serin.dev/serin/e2e/sandbox"
)

var virtualServices = schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1", Resource: "virtualservices"}

// TestSandbox walks through everything the sandbox promises, on one sandbox
// with its demo application.
func TestSandbox(t *testing.T) {
	s, err := sandbox.Start(t.Context(), sandbox.Options{LogDir: filepath.Join(t.ArtifactDir(), "logs"), Progress: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Apply(t.Context(), sandbox.DemoApp); err != nil {
		t.Fatal(err)
	}
	f := fixture{s}
	f.eventually(t, "the gateway serves v1", func() error { return f.answers(s.GatewayURL(), "shop.example.com", "v1") })
	f.eventually(t, "the mesh serves v1", func() error { return f.answers(s.MeshURL(), "web", "v1") })
	for _, step := range []struct {
		name string
		test func(*testing.T, fixture)
	}{
		{"the API server keeps the contract that the one in memory is checked by", testContract},
		{"weights move traffic, of gateway and mesh", testWeights},
		{"a header route reaches v2 at weight 0", testHeader},
		{"metrics have Istio's names and labels", testMetrics},
		{"a request without an endpoint is told as Istio does", testUnknownWorkload},
		{"a pod with a sidecar reports as destination", testSidecar},
		{"digests are stable per version and differ between versions", testDigests},
		{"a tag that was moved names another image for pods that pull it", testMovedTag},
		{"a crashing pod is restarted and waits longer each time", testCrash},
		{"an image that cannot be pulled keeps the pod pending", testMissingImage},
		{"deleting a pod takes none of the users' requests", testGracefulDeletion},
		{"another user has only its own rights, and is in the audit log", testUser},
		{"apply tells a conflict", testConflict},
		{"kubectl works, and says why it doesn't", testKubectl},
		{"Helm waits for what it installs, in both its ways", testHelm},
		{"a GitOps tool applies its manifests again and again", testGitOps},
		{"an autoscaler follows the CPU that pods are said to use", testAutoscaler},
		{"a quota refuses pods, and the Deployment says so", testQuota},
		{"a disruption budget refuses evictions", testDisruptionBudget},
		{"a pod that ends serves as long as it drains, and is no endpoint", testTermination},
		{"a Deployment of another one has its own subset and name, and goes with it", testOwnedDeployment},
		{"a controller runs, is killed, restarted and stopped", testController},
		{"every process can be killed and restarted", testRestart},
		{"a paused Prometheus answers again when resumed", testPause},
		{"metrics that are not scraped grow old, until they are again", testScrape},
	} {
		t.Run(step.name, func(t *testing.T) { step.test(t, f) })
	}
}

// fixture is the running sandbox with the demo application.
type fixture struct{ *sandbox.Sandbox }

// eventually waits until check succeeds.
func (f fixture) eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if err = check(); err == nil {
			return
		}
		<-time.After(50 * time.Millisecond)
	}
	t.Fatalf("%s: %v", what, err)
}

// get returns the status and the version of an answer.
func (f fixture) get(base, host string, headers ...string) (int, string, error) {
	req, err := http.NewRequest(http.MethodGet, base, nil)
	if err != nil {
		return 0, "", err
	}
	req.Host = host
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := (&http.Client{Timeout: 5 * time.Second}).Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Header.Get("X-Served-By"), err
}

func (f fixture) answers(base, host, version string, headers ...string) error {
	status, got, err := f.get(base, host, headers...)
	if err != nil {
		return err
	}
	if status != http.StatusOK || got != version {
		return fmt.Errorf("status %d by %q, want 200 by %q", status, got, version)
	}
	return nil
}

// setRoutes replaces spec.http of a VirtualService.
func (f fixture) setRoutes(t *testing.T, name, http string) {
	t.Helper()
	c, err := dynamic.NewForConfig(f.REST())
	if err != nil {
		t.Fatal(err)
	}
	patch := []byte(`{"spec":{"http":` + http + `}}`)
	_, err = c.Resource(virtualServices).Namespace("shop").Patch(t.Context(), name, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

func split(v1, v2 int) string {
	return fmt.Sprintf(`[{"route":[{"destination":{"host":"web","subset":"v1"},"weight":%d},{"destination":{"host":"web","subset":"v2"},"weight":%d}]}]`, v1, v2)
}

func testWeights(t *testing.T, f fixture) {
	f.setRoutes(t, "web", split(0, 100))
	f.setRoutes(t, "web-mesh", split(0, 100))
	f.eventually(t, "the gateway follows", func() error { return f.answers(f.GatewayURL(), "shop.example.com", "v2") })
	f.eventually(t, "the mesh follows", func() error { return f.answers(f.MeshURL(), "web", "v2") })
	f.setRoutes(t, "web", split(100, 0))
	f.setRoutes(t, "web-mesh", split(100, 0))
	f.eventually(t, "the gateway follows back", func() error { return f.answers(f.GatewayURL(), "shop.example.com", "v1") })
	f.eventually(t, "the mesh follows back", func() error { return f.answers(f.MeshURL(), "web", "v1") })
}

func testHeader(t *testing.T, f fixture) {
	header := `{"match":[{"headers":{"x-app-version":{"exact":"canary"}}}],"route":[{"destination":{"host":"web","subset":"v2"}}]}`
	f.setRoutes(t, "web", "["+header+","+strings.TrimPrefix(split(100, 0), "["))
	f.eventually(t, "the header reaches v2", func() error {
		return f.answers(f.GatewayURL(), "shop.example.com", "v2", "X-App-Version", "canary")
	})
	for range 20 {
		if err := f.answers(f.GatewayURL(), "shop.example.com", "v1"); err != nil {
			t.Fatal("without the header: ", err)
		}
	}
}

// sample is one series of an instant query.
type sample struct {
	Metric map[string]string
	Value  [2]any
}

func (f fixture) query(t *testing.T, q string) []sample {
	t.Helper()
	resp, err := http.Get(f.PrometheusURL() + "/api/v1/query?query=" + url.QueryEscape(q))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Data struct{ Result []sample }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return answer.Data.Result
}

// seen waits until the query has a result and returns its first series.
func (f fixture) seen(t *testing.T, q string) sample {
	t.Helper()
	var found []sample
	f.eventually(t, q, func() error {
		if found = f.query(t, q); len(found) == 0 {
			return fmt.Errorf("no series")
		}
		return nil
	})
	return found[0]
}

func testMetrics(t *testing.T, f fixture) {
	got := f.seen(t, `istio_requests_total{destination_workload="web-v2",pod="istio-ingressgateway"}`).Metric
	want := map[string]string{
		"__name__": "istio_requests_total", "job": "envoy-stats", "instance": "10.244.0.2:15000",
		"reporter": "source", "namespace": "istio-system", "pod": "istio-ingressgateway",
		"source_workload": "istio-ingressgateway", "source_workload_namespace": "istio-system",
		"destination_workload": "web-v2", "destination_workload_namespace": "shop",
		"destination_canonical_service": "web", "destination_canonical_revision": "v2", "destination_version": "v2",
		"destination_service": "web.shop.svc.cluster.local", "destination_service_name": "web", "destination_service_namespace": "shop",
		"response_code": "200", "response_flags": "-", "request_protocol": "http", "connection_security_policy": "unknown",
	}
	if !maps.Equal(got, want) {
		t.Errorf("labels\n%v\nwant\n%v", got, want)
	}
	for _, q := range []string{
		`istio_request_duration_milliseconds_bucket{destination_workload="web-v1",le=~"2500(.0)?"}`,
		`istio_request_duration_milliseconds_sum{destination_workload="web-v1"}`,
		`istio_request_duration_milliseconds_count{destination_workload="web-v1",pod="mesh-client"}`,
	} {
		f.seen(t, q)
	}
}

func testUnknownWorkload(t *testing.T, f fixture) {
	nowhere := `[{"match":[{"uri":{"prefix":"/nowhere"}}],"route":[{"destination":{"host":"web","subset":"none"}}]},` + strings.TrimPrefix(split(100, 0), "[")
	f.setRoutes(t, "web", nowhere)
	f.eventually(t, "a subset that does not exist", func() error {
		status, _, err := f.get(f.GatewayURL()+"/nowhere", "shop.example.com")
		if err == nil && status != http.StatusServiceUnavailable {
			err = fmt.Errorf("status %d", status)
		}
		return err
	})
	got := f.seen(t, `istio_requests_total{response_flags="NC"}`).Metric
	if got["destination_workload"] != "unknown" || got["destination_service"] != "unknown" {
		t.Errorf("labels %v", got)
	}
	f.setRoutes(t, "web", split(100, 0))
}

// deployment is a manifest of one pod in its own namespace, with a Service.
func deployment(namespace, image, labels string, env ...string) string {
	var e strings.Builder
	for i := 0; i < len(env); i += 2 {
		fmt.Fprintf(&e, "{name: %s, value: %q},", env[i], env[i+1])
	}
	return fmt.Sprintf(`
apiVersion: v1
kind: Namespace
metadata: {name: %[1]s}
---
apiVersion: v1
kind: Service
metadata: {name: api, namespace: %[1]s}
spec: {selector: {app: api}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: api-v1, namespace: %[1]s}
spec:
  replicas: 1
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api, %[3]s}}
    spec:
      containers:
      - {name: api, image: %[2]q, ports: [{containerPort: 8080}], env: [%[4]s]}
`, namespace, image, labels, e.String())
}

func (f fixture) apply(t *testing.T, yaml string) {
	t.Helper()
	if err := f.Apply(t.Context(), yaml); err != nil {
		t.Fatal(err)
	}
}

func testSidecar(t *testing.T, f fixture) {
	f.apply(t, deployment("inside", "inside/api:v1", `version: v1, sidecar.istio.io/inject: "true"`, "VERSION", "v1"))
	f.eventually(t, "the pod answers through both proxies", func() error { return f.answers(f.MeshURL(), "api.inside", "v1") })
	got := f.seen(t, `istio_requests_total{reporter="destination",destination_workload="api-v1"}`).Metric
	for label, want := range map[string]string{
		"destination_service": "api.inside.svc.cluster.local", "destination_service_name": "api", "destination_workload_namespace": "inside",
		"destination_version": "v1", "response_code": "200", "namespace": "inside", "connection_security_policy": "none",
	} {
		if got[label] != want {
			t.Errorf("label %s is %q, want %q", label, got[label], want)
		}
	}
	if !strings.HasPrefix(got["pod"], "api-v1-") {
		t.Errorf("pod is %q", got["pod"])
	}
}

// pods returns the pods of a namespace that have a label.
func (f fixture) pods(t *testing.T, namespace, selector string) *corev1.PodList {
	t.Helper()
	c, err := kubernetes.NewForConfig(f.REST())
	if err != nil {
		t.Fatal(err)
	}
	l, err := c.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func testDigests(t *testing.T, f fixture) {
	digests := map[string]map[string]bool{"v1": {}, "v2": {}}
	for version := range digests {
		for _, p := range f.pods(t, "shop", "version="+version).Items {
			digests[version][p.Status.ContainerStatuses[0].ImageID] = true
		}
		if len(digests[version]) != 1 {
			t.Errorf("%s has digests %v, want one", version, digests[version])
		}
	}
	if maps.Equal(digests["v1"], digests["v2"]) {
		t.Errorf("both versions have digest %v", digests["v1"])
	}
}

func testMovedTag(t *testing.T, f fixture) {
	for _, policy := range []string{"Always", "IfNotPresent"} {
		namespace := "moved-" + strings.ToLower(policy)
		f.apply(t, strings.Replace(deployment(namespace, namespace+"/api:v1", "version: v1"), "{name: api, image:", "{name: api, imagePullPolicy: "+policy+", image:", 1))
		only := func(than types.UID) (found corev1.Pod) {
			f.eventually(t, "another pod is ready", func() error {
				pods := f.pods(t, namespace, "app=api").Items
				if len(pods) != 1 || pods[0].UID == than || len(pods[0].Status.ContainerStatuses) == 0 || !pods[0].Status.ContainerStatuses[0].Ready {
					return fmt.Errorf("%d pods", len(pods))
				}
				found = pods[0]
				return nil
			})
			return found
		}
		first := only("")
		if err := f.MoveTag(namespace+"/api:v1", "v1_build-2"); err != nil {
			t.Fatal(err)
		}
		f.kubectl(t, "--namespace="+namespace, "delete", "pod", first.Name)
		second := only(first.UID)
		was, is := first.Status.ContainerStatuses[0].ImageID, second.Status.ContainerStatuses[0].ImageID
		if moved := was != is; moved != (policy == "Always") {
			t.Errorf("with the pull policy %s it was %s and is %s", policy, was, is)
		}
	}
	if err := f.MoveTag("moved/api", "v2"); err == nil || !strings.Contains(err.Error(), "only a tag can be moved") {
		t.Errorf("a name without a tag: %v", err)
	}
}

func testCrash(t *testing.T, f fixture) {
	f.apply(t, deployment("crashing", "crashing/api:v1", "version: v1", "CRASH_AFTER", "100ms"))
	f.eventually(t, "two restarts", func() error {
		for _, p := range f.pods(t, "crashing", "app=api").Items {
			c := p.Status.ContainerStatuses
			if len(c) == 1 && c[0].RestartCount >= 2 && c[0].LastTerminationState.Terminated.ExitCode == 1 && c[0].State.Waiting != nil && c[0].State.Waiting.Reason == "CrashLoopBackOff" {
				return nil
			}
		}
		return fmt.Errorf("not yet")
	})
}

func testMissingImage(t *testing.T, f fixture) {
	f.apply(t, deployment("missing", "missing/api:v1", "version: v1"))
	f.eventually(t, "the pod waits", func() error {
		for _, p := range f.pods(t, "missing", "app=api").Items {
			c := p.Status.ContainerStatuses
			if p.Status.Phase == "Pending" && len(c) == 1 && c[0].State.Waiting != nil && c[0].State.Waiting.Reason == "ImagePullBackOff" {
				return nil
			}
		}
		return fmt.Errorf("not yet")
	})
}

func testGracefulDeletion(t *testing.T, f fixture) {
	gone := f.pods(t, "shop", "version=v1").Items[0]
	c, err := kubernetes.NewForConfig(f.REST())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.CoreV1().Pods("shop").Delete(t.Context(), gone.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	f.eventually(t, "the pod is gone and another one is ready", func() error {
		if err := f.answers(f.GatewayURL(), "shop.example.com", "v1"); err != nil {
			t.Fatal(err)
		}
		ready := 0
		for _, p := range f.pods(t, "shop", "version=v1").Items {
			if p.Name == gone.Name {
				return fmt.Errorf("%s is still there", gone.Name)
			}
			if len(p.Status.ContainerStatuses) == 1 && p.Status.ContainerStatuses[0].Ready {
				ready++
			}
		}
		if ready != 2 {
			return fmt.Errorf("%d pods are ready", ready)
		}
		return nil
	})
}

func testUser(t *testing.T, f fixture) {
	path, err := f.KubeconfigFor("system:serviceaccount:shop:reader")
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	list := func() error {
		_, err := c.Resource(virtualServices).Namespace("shop").List(t.Context(), metav1.ListOptions{})
		return err
	}
	if err := list(); !apierrors.IsForbidden(err) {
		t.Errorf("without a role: %v, want forbidden", err)
	}
	f.apply(t, `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: shop}
rules: [{apiGroups: [networking.istio.io], resources: [virtualservices], verbs: [list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: reader, namespace: shop}]
`)
	f.eventually(t, "the role holds", list)
	log, err := os.ReadFile(f.AuditLog())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(log, []byte(`"system:serviceaccount:shop:reader"`)) {
		t.Error("the audit log lacks the user")
	}
	if bytes.Contains(log, []byte(`"username":"sandbox:`)) {
		t.Error("the audit log has the sandbox's own components")
	}
}

func testConflict(t *testing.T, f fixture) {
	c, err := dynamic.NewForConfig(f.REST())
	if err != nil {
		t.Fatal(err)
	}
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": map[string]any{"name": "web", "namespace": "shop"},
		"spec": map[string]any{"hosts": []any{"shop.example.com"}},
	}}
	_, err = c.Resource(virtualServices).Namespace("shop").Apply(t.Context(), "web", o, metav1.ApplyOptions{FieldManager: "other", Force: true})
	if err != nil {
		t.Fatal(err)
	}
	err = f.Apply(t.Context(), strings.ReplaceAll(sandbox.DemoApp, "shop.example.com", "new.example.com"))
	if !apierrors.IsConflict(err) {
		t.Errorf("error %v, want a conflict", err)
	}
}

func testController(t *testing.T, f fixture) {
	c, err := f.StartController("--leader-elect=false")
	if err != nil {
		t.Fatal(err)
	}
	healthy := func() error {
		resp, err := http.Get(c.MetricsURL + "/healthz")
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s", resp.Status)
		}
		return nil
	}
	f.eventually(t, "it is healthy", healthy)
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("after a kill: %v", err)
	}
	if err := c.Restart(); err != nil {
		t.Fatal(err)
	}
	f.eventually(t, "it is healthy again", healthy)
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
}

func testRestart(t *testing.T, f fixture) {
	for _, name := range []string{
		"prometheus", "gateway", "mesh-client", "istiod", "kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd",
	} {
		if err := f.Kill(name); err != nil {
			t.Fatal(err)
		}
		if err := f.Restart(name); err != nil {
			t.Fatal(err)
		}
	}
	f.eventually(t, "routes are written and followed again", func() error {
		f.setRoutes(t, "web", split(0, 100))
		return f.answers(f.GatewayURL(), "shop.example.com", "v2")
	})
	f.seen(t, `istio_requests_total{destination_workload="web-v2"}`)
	if err := f.Kill("nothing"); err == nil || !strings.Contains(err.Error(), `"nothing"`) {
		t.Errorf("killing what is not there: %v", err)
	}
}

func testPause(t *testing.T, f fixture) {
	if err := f.Pause("prometheus"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.PrometheusURL()+"/-/ready", nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := http.DefaultClient.Do(req); err == nil {
		resp.Body.Close()
		t.Error("the paused Prometheus answers")
	}
	if err := f.Resume("prometheus"); err != nil {
		t.Fatal(err)
	}
	f.eventually(t, "it answers again", func() error {
		resp, err := http.Get(f.PrometheusURL() + "/-/ready")
		if err == nil {
			resp.Body.Close()
		}
		return err
	})
}

func testScrape(t *testing.T, f fixture) {
	const age = `time() - max(timestamp(up{job="envoy-stats"}))`
	f.seen(t, age+" < 2")
	if err := f.Scrape(false); err != nil {
		t.Fatal(err)
	}
	f.seen(t, age+" > 3")
	if err := f.Scrape(true); err != nil {
		t.Fatal(err)
	}
	f.seen(t, age+" < 2")
}

// TestNothingIsLeftBehind kills the program that runs a sandbox, in all ways,
// and looks for its processes.
func TestNothingIsLeftBehind(t *testing.T) {
	program := filepath.Join(t.TempDir(), "sandbox")
	if out, err := exec.Command("go", "build", "-o", program, "../cmd/sandbox").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, end := range []struct {
		name   string
		signal os.Signal
	}{{"after Ctrl-C", os.Interrupt}, {"after kill -9", os.Kill}} {
		t.Run(end.name, func(t *testing.T) {
			cmd := exec.Command(program)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			cmd.Stderr = t.Output()
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			dir := runFolder(t, out)
			if n := len(processesOf(t, dir)); n < 8 {
				t.Errorf("%d processes run, want 8 or more", n)
			}
			cmd.Process.Signal(end.signal)
			cmd.Wait()
			for deadline := time.Now().Add(10 * time.Second); ; <-time.After(10 * time.Millisecond) {
				left := processesOf(t, dir)
				if len(left) == 0 {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("processes left: %s", left)
				}
			}
		})
	}
}

// runFolder reads what the sandbox says until it is up, and returns the folder
// its processes have in their arguments.
func runFolder(t *testing.T, out io.Reader) string {
	lines, dir := bufio.NewScanner(out), ""
	for lines.Scan() {
		t.Log(lines.Text())
		if _, path, ok := strings.Cut(lines.Text(), "export KUBECONFIG="); ok {
			dir = filepath.Dir(path)
		}
		if strings.HasPrefix(lines.Text(), "Ctrl-C") {
			return dir
		}
	}
	t.Fatal("the sandbox did not come up")
	return ""
}

// processesOf returns the command lines of the processes that have the folder
// among their arguments.
func processesOf(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && bytes.Contains(b, []byte(dir)) {
			found = append(found, string(bytes.ReplaceAll(b, []byte{0}, []byte(" "))))
		}
	}
	return found
}
