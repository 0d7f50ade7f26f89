package installs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"serin.dev/serin/e2e/load"
	"serin.dev/serin/e2e/sandbox"
)

// namespaces are Serin's own, as docs/install.md has it, and one with an application
// of a single Deployment.
const namespaces = `
apiVersion: v1
kind: Namespace
metadata: {name: serin-system, labels: {pod-security.kubernetes.io/enforce: restricted}}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec:
  hosts: [shop.example.com]
  gateways: [istio-system/gateway]
  http:
  - timeout: 9s
    route: [{destination: {host: web}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "shop/web:v1", ports: [{containerPort: 8080}]}]}
`

func TestTheAPIServerTakesWhatTheChartRenders(t *testing.T) {
	if err := box.Apply(t.Context(), namespaces); err != nil {
		t.Fatal(err)
	}
	for _, flags := range [][]string{
		{}, {"--values=" + chart + "/values-high-availability.yaml"},
		{"--set=mode=in-place", "--set=namespaces={shop,default}", "--set=page.reviewed=true"},
		{"--set=mode=in-place-webhook", "--set=namespaces={shop}", "--set=dashboards.enabled=true"},
		{"--set=mode=in-place-pause", "--set=commandBy=true", "--set=networkPolicy.denyOthers=true"},
		{"--set=image.pullPolicy=Always", "--set=imagePullSecrets[0].name=registry", "--set=priorityClassName=system-cluster-critical", "--set=nodeSelector.disk=ssd", "--set=labels.team=release", "--set=annotations.team=release"},
	} {
		t.Run(strings.Join(flags, " "), func(t *testing.T) {
			args := append([]string{chart, "--set=prometheus.url=http://prometheus.istio-system:9090"}, flags...)
			if said := helm(t, append([]string{"lint", "--strict"}, args...)...); !strings.Contains(said, "0 chart(s) failed") {
				t.Error(said)
			}
			rendered := helm(t, append([]string{"template", "serin", "--kube-version=v1.36.3"}, args...)...)
			file := filepath.Join(t.TempDir(), "all.yaml")
			known, pods := knownOf(t, rendered)
			if err := os.WriteFile(file, []byte(known), 0o600); err != nil {
				t.Fatal(err)
			}
			if n := len(strings.Split(strings.TrimSpace(kubectl(t, "apply", "--dry-run=server", "--filename="+file)), "\n")); n < 19 {
				t.Errorf("%d objects are taken", n)
			}
			for name, spec := range pods {
				admitted(t, name, spec)
			}
		})
	}
}

// knownOf are the objects of kinds that the sandbox knows, and the templates of pods
// among them. It lacks the Prometheus Operator's and cert-manager's.
func knownOf(t *testing.T, rendered string) (known string, pods map[string]corev1.PodTemplateSpec) {
	t.Helper()
	pods = map[string]corev1.PodTemplateSpec{}
	var out []string
	for document := range strings.SplitSeq(rendered, "\n---\n") {
		var o struct {
			APIVersion, Kind string
			Spec             struct{ Template corev1.PodTemplateSpec }
		}
		if err := yaml.Unmarshal([]byte(document), &o); err != nil {
			// Its spec has another template, or none.
			o.Kind = ""
		}
		if o.Kind == "Deployment" || o.Kind == "Job" {
			pods[strings.ToLower(o.Kind)] = o.Spec.Template
		}
		if !strings.HasPrefix(o.APIVersion, "cert-manager.io/") {
			out = append(out, document)
		}
	}
	if len(pods) != 2 {
		t.Fatalf("it has %d templates of pods, want the controller's and the hook's", len(pods))
	}
	return strings.Join(out, "\n---\n"), pods
}

// admitted asks for the pod in a namespace that enforces the restricted standard; and
// shows that one that keeps a capability is refused there.
func admitted(t *testing.T, name string, template corev1.PodTemplateSpec) {
	t.Helper()
	ask := func() error {
		pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: template.Labels}, Spec: template.Spec}
		_, err := kube.CoreV1().Pods(home).Create(t.Context(), &pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	if err := ask(); err != nil {
		t.Errorf("the pod of the %s: %v", name, err)
	}
	template.Spec.Containers[0].SecurityContext.Capabilities = nil
	if err := ask(); err == nil || !strings.Contains(err.Error(), `violates PodSecurity "restricted:latest"`) {
		t.Errorf("the pod of the %s with capabilities: %v", name, err)
	}
}

// TestInstallUpgradeUninstall goes all the way: a release is promoted by the rights
// that the chart gives; the next one is under way while Serin is upgraded, and while it
// is uninstalled, and nothing of it is left.
func TestInstallUpgradeUninstall(t *testing.T) {
	if err := box.Apply(t.Context(), namespaces); err != nil {
		t.Fatal(err)
	}
	// Pods of no node: nobody could run their image.
	flags := []string{
		"serin", chart, "--set=prometheus.url=" + box.PrometheusURL(), "--set=mode=in-place", "--set=nodeSelector.runs=nowhere",
		"--set=config.inPlace.settle=1s",
	}
	said := helm(t, append([]string{"install", "--create-namespace"}, flags...)...)
	for _, part := range []string{"(mode in-place)", "kubectl canary check", "serin.dev/canary=true", "docs/install.md"} {
		if !strings.Contains(said, part) {
			t.Errorf("the notes don't say %q:\n%s", part, said)
		}
	}
	before := kubectl(t, "--namespace=shop", "get", "virtualservice", "web", "--output=jsonpath={.spec}")
	running := start(t)
	until(t, "v1 serves", func() error { return served(t.Context()) })
	users, err := load.Start(context.WithoutCancel(t.Context()), load.Options{URL: box.GatewayURL(), Host: "shop.example.com", Rate: 100, Duration: 10 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(users.Stop)

	kubectl(t, "--namespace=shop", "annotate", "deployment/web", "serin.dev/canary=true", "serin.dev/steps=50%/2s, 100%/2s")
	kubectl(t, "--namespace=shop", "set", "image", "deployment/web", "web=shop/web:v2")
	canary(t, 0, "", "wait", "web", "--namespace=shop", "--timeout=3m")

	kubectl(t, "--namespace=shop", "annotate", "--overwrite", "deployment/web", "serin.dev/steps=50%/20m, 100%/2s")
	kubectl(t, "--namespace=shop", "set", "image", "deployment/web", "web=shop/web:v3")
	until(t, "the next release is at 50%", func() error { return at(t, 50) })
	rollout := releaseOf(t)

	// Changed while a release is under way: its weight stays, and Serin goes on.
	first := configuration(t)
	helm(t, append(append([]string{"upgrade"}, flags...), "--set=config.defaults.bake=3m")...)
	if now := configuration(t); now == first || !strings.Contains(now, "bake: 3m") {
		t.Fatalf("the upgrade changed nothing: %s", now)
	}
	if err := running.Stop(); err != nil {
		t.Error(err)
	}
	start(t)
	if err := at(t, 50); err != nil || releaseOf(t) != rollout {
		t.Errorf("the release was %s at 50%%, and is %s (%v)", rollout, releaseOf(t), err)
	}

	// Serin can't take its things away: nothing is uninstalled.
	gone := uninstall(t)
	endJob(t, batchv1.JobFailureTarget, batchv1.JobFailed)
	if err := <-gone; err == nil {
		t.Error("it is uninstalled although the hook failed")
	}
	if err := at(t, 50); err != nil {
		t.Errorf("the release: %v", err)
	}
	kubectl(t, "--namespace="+home, "get", "deployment/serin")

	gone = uninstall(t)
	job := hook(t)
	account := "system:serviceaccount:" + home + ":" + job.Spec.Template.Spec.ServiceAccountName
	c := job.Spec.Template.Spec.Containers[0]
	if len(job.Spec.Template.Spec.Containers) != 1 || !slices.Equal(c.Command, []string{"/kubectl-canary"}) {
		t.Fatalf("the hook runs %v of %d containers", c.Command, len(job.Spec.Template.Spec.Containers))
	}
	if said := canary(t, 0, account, c.Args...); !strings.Contains(said, "shop/web is opted out: nothing of Serin's is left.") || strings.Contains(said, "note:") {
		t.Errorf("the hook says %s", said)
	}
	endJob(t, batchv1.JobSuccessCriteriaMet, batchv1.JobComplete)
	if err := <-gone; err != nil {
		t.Error(err)
	}
	if after := kubectl(t, "--namespace=shop", "get", "virtualservice", "web", "--output=jsonpath={.spec}"); after != before {
		t.Errorf("the routes were\n%s\nand are\n%s", before, after)
	}
	nothingLeft(t)
	users.Stop()
	for _, r := range users.Records() {
		if r.Bad() {
			t.Fatalf("a user got %d by %q: %s %s", r.Status, r.Version, r.Error, r.Said)
		}
	}
}

// start runs the controller as the chart has it.
func start(t *testing.T) *sandbox.Controller {
	t.Helper()
	d, err := kube.AppsV1().Deployments(home).Get(t.Context(), "serin", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "serin.yaml")
	if err := os.WriteFile(file, []byte(configuration(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := box.KubeconfigFor("system:serviceaccount:" + home + ":" + d.Spec.Template.Spec.ServiceAccountName)
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"--kubeconfig=" + kubeconfig}
	for _, arg := range d.Spec.Template.Spec.Containers[0].Args {
		args = append(args, strings.Replace(arg, "/etc/serin/serin.yaml", file, 1))
	}
	running, err := box.StartController(args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if text, err := os.ReadFile(running.LogPath); t.Failed() && err == nil {
			t.Logf("the controller's log:\n%s", text[max(0, len(text)-8<<10):])
		}
	})
	until(t, "it leads", func() error {
		return ready(t.Context(), running.MetricsURL)
	})
	return running
}

func configuration(t *testing.T) string {
	t.Helper()
	c, err := kube.CoreV1().ConfigMaps(home).Get(t.Context(), "serin", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return c.Data["serin.yaml"]
}

// canary runs the command as somebody, the administrator with "", which has to end
// with a code.
func canary(t *testing.T, code int, as string, args ...string) string {
	t.Helper()
	kubeconfig, err := box.Kubeconfig(), error(nil)
	if as != "" {
		kubeconfig, err = box.KubeconfigFor(as)
	}
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), program, args...)
	c.Env = []string{"KUBECONFIG=" + kubeconfig, "HOME=/nonexistent", "PATH=" + os.Getenv("PATH")}
	out, err := c.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == code || err == nil && code == 0 {
		return string(out)
	}
	t.Fatalf("kubectl canary %s: %v\n%s", strings.Join(args, " "), err, out)
	return ""
}

// at tells whether the release under way has a weight.
func at(t *testing.T, weight int) error {
	t.Helper()
	text := kubectl(t, "--namespace=shop", "get", "virtualservice", "web", "--output=jsonpath={.spec.http[*].route[*].weight}")
	if want := fmt.Sprint(weight); !slices.Contains(strings.Fields(text), want) {
		return fmt.Errorf("the weights are %q", text)
	}
	return nil
}

// releaseOf is the id of the release under way.
func releaseOf(t *testing.T) string {
	t.Helper()
	var state struct{ Rollout string }
	text := kubectl(t, "--namespace=shop", "get", "virtualservice", "web", `--output=jsonpath={.metadata.annotations.serin\.dev/state\.web}`)
	if err := yaml.Unmarshal([]byte(text), &state); err != nil || state.Rollout == "" {
		t.Fatalf("the state is %q: %v", text, err)
	}
	return state.Rollout
}

// uninstall begins to; how it ended comes later.
func uninstall(t *testing.T) <-chan error {
	t.Helper()
	ended := make(chan error, 1)
	go func() {
		_, _, err := box.Helm(t.Context(), "uninstall", "serin", "--namespace="+home, "--wait", "--timeout=3m")
		ended <- err
	}()
	return ended
}

// hook waits for the hook's Job.
func hook(t *testing.T) (job *batchv1.Job) {
	t.Helper()
	until(t, "the hook begins", func() (err error) {
		job, err = kube.BatchV1().Jobs(home).Get(t.Context(), "serin-opt-out", metav1.GetOptions{})
		if err == nil && len(job.Status.Conditions) > 0 {
			err = errors.New("it is the one before")
		}
		return err
	})
	return job
}

// endJob tells the API server how the Job ended, as its controller would.
func endJob(t *testing.T, conditions ...batchv1.JobConditionType) {
	t.Helper()
	job, now := hook(t), metav1.Now()
	job.Status.StartTime = &now
	if slices.Contains(conditions, batchv1.JobComplete) {
		job.Status.CompletionTime, job.Status.Succeeded = &now, 1
	} else {
		job.Status.Failed = 1
	}
	job.Status.UncountedTerminatedPods = &batchv1.UncountedTerminatedPods{}
	for _, c := range conditions {
		job.Status.Conditions = append(job.Status.Conditions, batchv1.JobCondition{Type: c, Status: corev1.ConditionTrue, LastTransitionTime: now, Reason: "Played"})
	}
	if _, err := kube.BatchV1().Jobs(home).UpdateStatus(t.Context(), job, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// nothingLeft looks for all that Serin and the chart add.
func nothingLeft(t *testing.T) {
	t.Helper()
	kinds := "deployments,configmaps,services,serviceaccounts,networkpolicies,poddisruptionbudgets,jobs,roles,rolebindings,clusterroles,clusterrolebindings," +
		"validatingadmissionpolicies,validatingadmissionpolicybindings,mutatingadmissionpolicies,mutatingadmissionpolicybindings,virtualservices,destinationrules"
	for _, label := range []string{"app.kubernetes.io/part-of=serin", "app.kubernetes.io/managed-by=serin"} {
		until(t, "nothing has the label "+label, func() error {
			if left := kubectl(t, "get", kinds, "--all-namespaces", "--selector="+label, "--output=name"); strings.TrimSpace(left) != "" {
				return errors.New(left)
			}
			return nil
		})
	}
	d, err := kube.AppsV1().Deployments("shop").Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if d.Spec.Paused || slices.ContainsFunc(slices.Collect(maps.Keys(d.Annotations)), func(key string) bool { return key == "serin.dev/held" || key == "serin.dev/canary" }) {
		t.Errorf("the Deployment is left with %v, paused: %v", d.Annotations, d.Spec.Paused)
	}
	if _, err := kube.CoreV1().ServiceAccounts(home).Get(t.Context(), "serin-opt-out", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the hook's account is left: %v", err)
	}
}

// served asks once, as users do.
func served(ctx context.Context) error {
	return answers(ctx, box.GatewayURL(), "shop.example.com")
}

func ready(ctx context.Context, url string) error {
	return answers(ctx, url+"/readyz", "")
}

func answers(ctx context.Context, url, host string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	req.Host = host
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}
