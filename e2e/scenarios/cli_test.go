package scenarios

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"serin.dev/serin/e2e/scenarios/invariant"
	"serin.dev/serin/e2e/session"
)

var sessionFile = flag.String("session", "", "`file` for a drawing of what kubectl canary said")

// drawing keeps some of what was said, for the drawing.
type drawing struct{ said []session.Command }

// plugin is kubectl canary as people have it: the program itself, with a
// kubeconfig, in the scenario's namespace.
type plugin struct {
	*stage
	program string
	config  string // the controller's
	drawing *drawing
	// environment is the program's; nil: this one's.
	environment []string
}

// plugin builds the program.
func (st *stage) plugin() plugin {
	st.Helper()
	p := plugin{stage: st, program: filepath.Join(st.TempDir(), "kubectl-canary"), config: filepath.Join(st.TempDir(), "serin.yaml"), drawing: &drawing{}}
	build := exec.CommandContext(st.Context(), "go", "build", "-o", p.program, "./cmd/kubectl-canary")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		st.Fatalf("build the plugin: %v\n%s", err, out)
	}
	text := fmt.Sprintf("leaderElection: {namespace: serin-system, name: serin-%s}\nprometheus: {url: %q}\n%s", st.name, st.box.PrometheusURL(), operator) + st.script.config
	if st.script.inPlace {
		text += "inPlace: {enabled: true, settle: 1s}\n"
	}
	if err := os.WriteFile(p.config, []byte(text), 0o600); err != nil {
		st.Fatal(err)
	}
	return p
}

// says runs a verb that has to end with a code, and to say, on stdout or stderr,
// what the expressions match.
func (p plugin) says(code int, args []string, expressions ...string) string {
	p.Helper()
	args = append(args, "--namespace", p.name, "--kubeconfig", p.box.Kubeconfig(), "--config", p.config)
	c := exec.CommandContext(p.Context(), p.program, args...)
	var out bytes.Buffer
	c.Stdout, c.Stderr, c.Env = &out, &out, p.environment
	err := c.Run()
	var exit *exec.ExitError
	got := 0
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		p.Fatal(err)
	}
	if got != code {
		p.Fatalf("kubectl canary %s ends with %d, want %d:\n%s", strings.Join(args, " "), got, code, out.String())
	}
	for _, e := range expressions {
		if !regexp.MustCompile("(?m)" + e).MatchString(out.String()) {
			p.Fatalf("kubectl canary %s does not say %q:\n%s", strings.Join(args, " "), e, out.String())
		}
	}
	return out.String()
}

// draws is says, kept for the drawing.
func (p plugin) draws(args []string, expressions ...string) string {
	p.Helper()
	out := p.says(0, args, expressions...)
	if *sessionFile == "" {
		return out
	}
	var kept []string
	for line := range strings.Lines(p.coloured(args, out)) {
		if !strings.HasPrefix(line, "note:") {
			kept = append(kept, strings.TrimRight(line, "\n"))
		}
	}
	p.drawing.said = append(p.drawing.said, session.Command{Line: "kubectl canary " + strings.Join(args, " "), Output: strings.Join(kept, "\n")})
	return out
}

// seat gives the controller a pod, to which ports can be forwarded: it is a process
// here, on the same loopback as all pods.
func (p plugin) seat() {
	p.Helper()
	lease, err := p.kube.CoordinationV1().Leases("serin-system").Get(p.Context(), "serin-"+p.name, metav1.GetOptions{})
	if err != nil {
		p.Fatal(err)
	}
	host, _, _ := strings.Cut(*lease.Spec.HolderIdentity, "_")
	pods := p.kube.CoreV1().Pods("serin-system")
	_, err = pods.Create(p.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: host, Labels: map[string]string{"sidecar.istio.io/inject": "false"}},
		Spec: corev1.PodSpec{
			SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: new(true), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
			Containers: []corev1.Container{{Name: "serin", Image: "serin", SecurityContext: &corev1.SecurityContext{
				AllowPrivilegeEscalation: new(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			}}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { _ = pods.Delete(context.WithoutCancel(p.Context()), host, metav1.DeleteOptions{}) })
	p.until("the controller's pod runs", func() error {
		pod, err := pods.Get(p.Context(), host, metav1.GetOptions{})
		if err == nil && pod.Status.Phase != corev1.PodRunning {
			err = fmt.Errorf("it is %s", pod.Status.Phase)
		}
		return err
	})
}

// coloured is what a verb that only looks says in colours; of others what it said.
func (p plugin) coloured(args []string, said string) string {
	p.Helper()
	if args[0] != "list" && args[0] != "status" {
		return said
	}
	c := p
	c.environment = append(os.Environ(), "CLICOLOR_FORCE=1", "COLUMNS=96")
	return c.says(0, args)
}

// draw writes the drawing, if it is asked for.
func (p plugin) draw() {
	p.Helper()
	if *sessionFile == "" {
		return
	}
	text := strings.ReplaceAll(session.SVG("kubectl canary shows a release and takes it back", p.drawing.said), p.name+"/", "shop/")
	text = strings.ReplaceAll(text, " -n "+p.name, " -n shop")
	if err := os.WriteFile(*sessionFile, []byte(text), 0o644); err != nil {
		p.Fatal(err)
	}
}

// judges waits until the judge has that many of the canary's requests at this step.
func (p plugin) judges(least int) {
	p.Helper()
	count := regexp.MustCompile(`"canaryRequests": (\d+)`)
	p.until("the judge has requests of the canary", func() error {
		found := count.FindStringSubmatch(p.says(0, []string{"status", "web", "-o", "json"}))
		if found == nil {
			return errors.New("it has none")
		}
		if n, err := strconv.Atoi(found[1]); err != nil || n < least {
			return fmt.Errorf("it has %s", found[1])
		}
		return nil
	})
}

// commandLine plays the verbs against the real API server and the real controller.
func commandLine(t *testing.T, name string) {
	st := open(t, name, script{jumps: true, page: "127.0.0.1:9092"})
	p := st.plugin()
	p.says(8, []string{"wait", "web-v1"}, "does not ask for canary releases")
	// The controller is a process here, and no pod of a Deployment.
	p.says(1, []string{"check"}, "^Kubernetes +ok", "^Istio's VirtualServices +ok", "^Serin +missing +no Deployment", "^A leader +ok", "^Prometheus +ok",
		"^Metric of requests +ok", "^Metric of latency +ok", "^You may give orders +ok")

	st.release("5%/20m, 25%/20m, 100%/2s", nil)
	st.reachesWeight(5)
	p.says(0, []string{"lint", "web-v2"}, "Nothing is in the way")
	p.says(0, []string{"list", "-A", "-o", "json"}, `"phase": "Progressing"`, "^note: the controller's live figures are not shown ")
	p.says(0, []string{"status", "web"}, "^"+name+"/web  ", "^Progressing  step 1 of 3, 5%", "^Next ")
	p.seat()
	st.answered(st.users, 300)
	p.draws([]string{"list"}, `^web +web-v2 +Progressing +1/3 .* 5%`)
	p.says(0, []string{"plan", "web-v2"}, "^Step 3 of 3: 100%")
	p.says(0, []string{"pause", "web"}, "is Paused at 5%")
	p.says(0, []string{"resume", "web"}, "is Progressing at 5%")
	p.says(0, []string{"skip", "web"}, "is Progressing at 25%")
	p.judges(200)
	if out := p.draws([]string{"status", "web"}, "step 2 of 3, 25%", "^Traffic +requests/s", "roll back +"); strings.Contains(out, "note:") {
		t.Errorf("the controller's own figures are not shown:\n%s", out)
	}
	p.says(5, []string{"wait", "web-v2", "--timeout", "2s"}, "Progressing 25% ", "The release goes on")
	p.says(0, []string{"promote", "web"}, "is Progressing at 100%")
	p.says(0, []string{"wait", "web-v2", "--timeout", "2m"}, "web-v2 is promoted")
	st.reachesPhase("Succeeded")
	p.says(7, []string{"wait", "web-v2", "--nothing-after", "1s"}, "nothing to release")
	p.says(0, []string{"rollback", "web"}, "all traffic goes back to web-v1")
	st.reachesPhase("RolledBack")
	p.says(0, []string{"history", "web"}, `^web +1 +\S+ .* RolledBack +100% .* no: it was rolled back \(RolledBackByCommand\)$`)

	before := st.versions.state()
	p.says(0, []string{"retry", "web"}, `is (Testing|Progressing) at \d+% after `)
	st.reaches("another release has 5%", func(s invariant.State) bool { return s.Rollout != before.Rollout && s.Weight == 5 })
	p.draws([]string{"abort", "web"}, `all routes \(VirtualService web\) are at stable after`)
	p.draw()
	st.reachesPhase("RolledBack")
	p.says(3, []string{"wait", "web-v2", "--nothing-after", "1s"}, "was rolled back before")
	st.close("v1", "v1")
}
