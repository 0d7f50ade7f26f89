package scenarios

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"serin.dev/serin/e2e/build"
	"serin.dev/serin/e2e/scenarios/invariant"
)

// digestOf is an image of the sandbox by a digest, as digest.sh prints it.
func digestOf(tag string) string {
	return "registry.example.com/shop/web:" + tag + "@sha256:" + strings.Repeat("0123456789abcdef", 4)
}

// pipeline runs the scripts of examples/ci as a pipeline does.
type pipeline struct {
	*stage
	bin       string // a folder with kubectl, the plugin and Helm
	variables []string
}

func (st *stage) pipeline() pipeline {
	st.Helper()
	bin := st.folder()
	plugin := exec.CommandContext(st.Context(), "go", "build", "-o", filepath.Join(bin, "kubectl-canary"), "./cmd/kubectl-canary")
	plugin.Dir = "../.."
	if out, err := plugin.CombinedOutput(); err != nil {
		st.Fatalf("build the plugin: %v\n%s", err, out)
	}
	helm, err := build.Helm(st.Context(), io.Discard)
	if err != nil {
		st.Fatal(err)
	}
	// kubectl as it is, found by its name: with flags of a wrapper before a plugin's
	// name it would refuse the plugin.
	text := fmt.Sprintf("#!/bin/sh\nexec %q kubectl \"$@\"\n", filepath.Join(filepath.Dir(helm), "stack"))
	if err := os.WriteFile(filepath.Join(bin, "kubectl"), []byte(text), 0o755); err != nil {
		st.Fatal(err)
	}
	if err := os.Symlink(helm, filepath.Join(bin, "helm")); err != nil {
		st.Fatal(err)
	}
	config := filepath.Join(bin, "serin.yaml")
	text = fmt.Sprintf("leaderElection: {namespace: serin-system, name: serin-%s}\nprometheus: {url: %q}\n%s", st.name, st.box.PrometheusURL(), operator)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		st.Fatal(err)
	}
	return pipeline{stage: st, bin: bin, variables: []string{
		"CANARY_FLAGS=--config=" + config,
		"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + bin, "TMPDIR=" + bin,
		"KUBECONFIG=" + st.box.Kubeconfig(), "NAMESPACE=" + st.name, "DEPLOYMENT=web",
	}}
}

// script runs a script, which has to end with a code and to say something; it
// returns what it printed.
func (p pipeline) script(code int, text, name string, variables ...string) string {
	p.Helper()
	path, err := filepath.Abs("../../examples/ci/scripts/" + name)
	if err != nil {
		p.Fatal(err)
	}
	c := exec.CommandContext(p.Context(), path)
	var out, trouble bytes.Buffer
	c.Dir, c.Stdout, c.Stderr, c.Env = p.bin, &out, &trouble, append(p.variables, variables...)
	got := 0
	var exit *exec.ExitError
	switch err := c.Run(); {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		p.Fatal(err)
	}
	if said := out.String() + trouble.String(); got != code || !strings.Contains(said, text) {
		p.Fatalf("%s ends with %d, want %d and %q:\n%s", name, got, code, text, said)
	}
	return strings.TrimSpace(out.String())
}

// deploys deploys a version by digest, and returns what was before.
func (p pipeline) deploys(tag string, variables ...string) string {
	p.Helper()
	return p.script(0, "asks for "+digestOf(tag), "deploy.sh", append(variables, "IMAGE_BY_DIGEST="+digestOf(tag))...)
}

// gate is the query of the example's gate, asked about this scenario by the gateway,
// for its pods have no proxies of their own.
func (p pipeline) gate() string {
	p.Helper()
	text, err := os.ReadFile("../../examples/ci/github/release.yml")
	if err != nil {
		p.Fatal(err)
	}
	var w struct {
		Jobs map[string]struct {
			Steps []struct {
				Env map[string]any `json:"env"`
			} `json:"steps"`
		} `json:"jobs"`
	}
	if err := yaml.Unmarshal(text, &w); err != nil {
		p.Fatal(err)
	}
	for _, s := range w.Jobs["gates"].Steps {
		if q, has := s.Env["QUERY"].(string); has {
			return strings.NewReplacer("${{ vars.NAMESPACE }}", p.name, "${{ vars.DEPLOYMENT }}", "web", `"destination"`, `"source"`, "[5m]", "[1m]").Replace(q)
		}
	}
	p.Fatal("the example has no gate")
	return ""
}

// pipelines plays the example's pipelines with one Deployment: promoted, looked at,
// rolled back by Serin, and taken back by the pipeline in mid-release and afterwards.
func pipelines(t *testing.T, name string) {
	st := openShop(t, name, shop{steps: "0%/5s, 50%/2s, 100%/2s", tolerates: by("v3")})
	p := st.pipeline()
	gateway, host := st.entry()
	testers := []string{"HEALTH_URL=" + gateway + "/health", "HOST_HEADER=" + host, "HEALTH_HEADER=x-app-version: canary", "IN_A_ROW=2"}

	p.script(1, "deploy by digest", "deploy.sh", "IMAGE_BY_DIGEST=shop/web:v2")
	p.script(1, "has no container app", "deploy.sh", "IMAGE_BY_DIGEST="+digestOf("v2"), "CONTAINER=app")
	if before := p.deploys("v2"); before != "shop/web:v1" {
		t.Errorf("before it was %q", before)
	}
	p.script(0, "is well, 2 times in a row", "health.sh", append(testers, "HEALTH_EXPECT=v2")...)
	p.script(0, "web is promoted", "wait.sh", "TIMEOUT=4m")
	p.script(0, "is well", "health.sh", append(testers, "HEALTH_HEADER=", "HEALTH_EXPECT=v2")...)
	prometheus := []string{"PROMETHEUS_URL=" + st.box.PrometheusURL(), "AT_MOST=0.01", "WITHIN=60"}
	p.script(0, "kept", "prometheus-gate.sh", append(prometheus, "QUERY="+p.gate())...)
	p.script(1, "there is no data", "prometheus-gate.sh", append(prometheus, "QUERY=none_such", "WITHIN=0")...)
	st.ends(1, "Succeeded")
	p.script(0, "nothing to release", "wait.sh")
	p.script(7, "exit code 7", "wait.sh", "NOTHING=fail")

	p.badOnes()
	p.takenBack()
	st.closeShop("v1", false)
}

// badOnes are versions that don't get through.
func (p pipeline) badOnes() {
	p.Helper()
	const bad = "v3_error-rate-1"
	before := p.deploys(bad)
	p.script(3, "exit code 3", "wait.sh", "TIMEOUT=4m")
	p.ends(2, "RolledBack")
	p.script(2, "set PREVIOUS_IMAGE", "rollback.sh")
	p.script(0, "somebody else deployed", "rollback.sh", "PREVIOUS_IMAGE="+before, "IMAGE_BY_DIGEST="+strings.ReplaceAll(digestOf("v9"), "0123", "9999"))
	p.script(0, "asks for it again", "rollback.sh", "PREVIOUS_IMAGE="+before, "IMAGE_BY_DIGEST="+digestOf(bad))
	p.told("LetGo")
	p.until("the Deployment asks for what runs", func() error { return p.plain(false) })

	// The pipeline gives up, and takes back what is under way.
	p.kubectl("annotate", "deployment", "web", "--overwrite", "serin.dev/steps=50%/20m, 100%/2s")
	before = p.deploys("v4")
	p.reachesWeight(50)
	p.script(5, "exit code 5", "wait.sh", "TIMEOUT=2s")
	p.script(0, "is aborted: all routes", "rollback.sh", "PREVIOUS_IMAGE="+before)
	p.ends(3, "RolledBack")
	p.until("the Deployment asks for what runs", func() error { return p.plain(false) })
	p.script(0, "nothing is taken back", "rollback.sh", "PREVIOUS_IMAGE="+before)
}

// takenBack goes back after a promotion: the version before is released.
func (p pipeline) takenBack() {
	p.Helper()
	p.kubectl("annotate", "deployment", "web", "--overwrite", "serin.dev/steps="+soon)
	p.script(0, "web is promoted", "rollback.sh", "PREVIOUS_IMAGE=shop/web:v1", "TIMEOUT=4m")
	p.ends(4, "Succeeded")

	// The other ways to deploy ask for the same: what runs, by another name.
	folder := filepath.Join(p.folder(), "shop")
	p.write(filepath.Join(folder, "web.yaml"), p.manifest("v1"))
	p.write(filepath.Join(folder, "kustomization.yaml"), "resources: [web.yaml]\n")
	p.deploys("v1", "DEPLOY_BY=kustomize", "KUSTOMIZATION="+folder, "IMAGE=shop/web")
	p.is(digestOf("v1"))
	if left, err := os.ReadDir(filepath.Dir(folder)); err != nil || len(left) != 1 {
		p.Errorf("beside the folder there is %v, %v", left, err)
	}
	p.script(0, "web is promoted", "wait.sh", "TIMEOUT=4m")
	p.ends(5, "Succeeded")
}

// write writes a file and its folder.
func (p pipeline) write(file, text string) {
	p.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		p.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		p.Fatal(err)
	}
}

// is fails unless the Deployment asks for an image.
func (p pipeline) is(image string) {
	p.Helper()
	if d := p.deployed("web"); d == nil || d.Spec.Template.Spec.Containers[0].Image != image {
		p.Fatalf("the Deployment asks for %v, want %s", d, image)
	}
}

// chartByDigest is a chart as people have it, whose image may have a digest.
const chartByDigest = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web, annotations: {serin.dev/canary: "false"}}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: "{{ .Values.image.repository }}:{{ .Values.image.tag }}{{ with .Values.image.digest }}@{{ . }}{{ end }}"
        ports: [{containerPort: 8080}]
`

// pipelinesOfOthers: a chart is deployed by digest, a Deployment that is no canary
// is noticed, and a pair is taken back.
func pipelinesOfOthers(t *testing.T, name string) {
	st := open(t, name, script{jumps: true})
	p := st.pipeline()
	p.variables = append(p.variables, "DEPLOYMENT=web-v1")
	p.script(8, "exit code 8", "wait.sh")

	chart, other := filepath.Join(st.folder(), "shop"), name+"-chart"
	p.write(filepath.Join(chart, "Chart.yaml"), "apiVersion: v2\nname: shop\nversion: 1.0.0\n")
	p.write(filepath.Join(chart, "values.yaml"), "image: {repository: shop/web, tag: v1, digest: \"\"}\n")
	p.write(filepath.Join(chart, "templates", "web.yaml"), chartByDigest)
	if _, _, err := st.box.Helm(st.Context(), "install", "web", chart, "--namespace", other, "--create-namespace"); err != nil {
		t.Fatal(err)
	}
	helm := p
	helm.stage = &stage{T: t, world: st.world, name: other}
	before := helm.deploys("v2", "DEPLOY_BY=helm", "RELEASE=web", "CHART="+chart, "NAMESPACE="+other, "DEPLOYMENT=web")
	if before != "shop/web:v1" {
		t.Errorf("before it was %q", before)
	}
	helm.is(digestOf("v2"))
	t.Cleanup(func() {
		if _, _, err := st.box.Kubectl(context.WithoutCancel(t.Context()), "delete", "namespace", other, "--wait=false"); err != nil {
			t.Error(err)
		}
	})

	// Two Deployments that take turns.
	p.variables = append(p.variables, "DEPLOYMENT=web-v2", "CONTAINER=web")
	st.release("50%/2s, 100%/2s", nil)
	p.script(0, "web-v2 is promoted", "wait.sh", "TIMEOUT=4m")
	p.script(0, "all traffic goes back to web-v1", "rollback.sh", "PREVIOUS_IMAGE=shop/web:v0")
	st.reaches("it went back", func(s invariant.State) bool { return s.Phase == "RolledBack" })
	p.script(0, "users are on the version before already", "rollback.sh", "PREVIOUS_IMAGE=shop/web:v0")
	st.close("v1", "v1")
}
