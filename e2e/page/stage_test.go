package page

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"serin.dev/serin/e2e/build"
	"serin.dev/serin/e2e/demo/shop"
	"serin.dev/serin/e2e/load"
	"serin.dev/serin/e2e/page/browser"
	"serin.dev/serin/e2e/sandbox"
	"serin.dev/serin/pkg/canary"
)

// stage is the real stack with a shop of two Deployments that take turns, users, the
// controller with the rights it has in a cluster, and the plugin's page.
type stage struct {
	*testing.T
	box        *sandbox.Sandbox
	shop       shop.Shop
	controller *sandbox.Controller
	page       string // address of the plugin's page, good once
}

// config is a controller's whose verdicts come soon.
const config = "namespaces: [page]\n"

func setUp(t *testing.T) *stage {
	t.Helper()
	box, err := sandbox.Start(t.Context(), sandbox.Options{ScrapeInterval: time.Second, Progress: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := box.Close(); err != nil {
			t.Error(err)
		}
	})
	st := &stage{T: t, box: box, shop: shop.Shop{Namespace: "page", Replicas: 1}}
	if st.controller, err = shop.StartController(t.Context(), box, shop.Setup{Deploy: "base", Config: config}); err != nil {
		t.Fatal(err)
	}
	routes, err := st.shop.Routes()
	if err != nil {
		t.Fatal(err)
	}
	st.apply(routes)
	st.deploy(shop.Release{Slot: shop.Blue, Version: "v1"})
	st.box.Kubectl(t.Context(), "--namespace", "page", "rollout", "status", "deployment/web-blue", "--timeout=60s")
	users, err := load.Start(context.WithoutCancel(t.Context()), load.Options{URL: box.GatewayURL(), Host: st.shop.Host(), Rate: 100, Duration: 20 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(users.Stop)
	st.page = st.startUI()
	return st
}

func (st *stage) apply(manifests string) {
	st.Helper()
	if err := st.box.Apply(st.Context(), manifests); err != nil {
		st.Fatal(err)
	}
}

func (st *stage) deploy(r shop.Release) {
	st.Helper()
	manifest, err := st.shop.Manifest(r)
	if err != nil {
		st.Fatal(err)
	}
	st.apply(manifest)
}

// release deploys a version with steps to the idle Deployment.
func (st *stage) release(slot, version, steps string, env map[string]string) {
	st.Helper()
	st.deploy(shop.Release{Slot: slot, Version: version, Env: env, Annotations: map[string]string{"canary": "true", "mode": "pair", "steps": steps}})
}

// startUI builds the plugin, starts kubectl canary ui, and returns the address that it
// prints.
func (st *stage) startUI() string {
	st.Helper()
	root, err := build.Root()
	if err != nil {
		st.Fatal(err)
	}
	plugin := filepath.Join(st.TempDir(), "kubectl-canary")
	making := exec.CommandContext(st.Context(), "go", "build", "-o", plugin, "./cmd/kubectl-canary")
	making.Dir = root
	if said, err := making.CombinedOutput(); err != nil {
		st.Fatalf("build the plugin: %v\n%s", err, said)
	}
	ctx, stop := context.WithCancel(context.Background())
	ui := exec.CommandContext(ctx, plugin, "ui", "-n", "page", "--kubeconfig", st.box.Kubeconfig(), "--controller", st.controller.PageURL, "--prometheus", st.box.PrometheusURL())
	ui.Stderr = os.Stderr
	out, err := ui.StdoutPipe()
	if err != nil {
		st.Fatal(err)
	}
	if err := ui.Start(); err != nil {
		st.Fatal(err)
	}
	st.Cleanup(func() {
		stop()
		_ = ui.Wait() // it was ended
	})
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		st.Fatalf("kubectl canary ui prints no address: %v", lines.Err())
	}
	return lines.Text()
}

// api is what the controller answers about the shop.
func (st *stage) api() (d canary.Detail) {
	st.Helper()
	answer, err := http.Get(st.controller.PageURL + "/api/v1/rollouts/page/web")
	if err != nil {
		st.Fatal(err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(&d); err != nil && err != io.EOF {
		st.Fatal(err)
	}
	return d
}

// phase is a condition: the page shows the phase in these words.
func phase(words string) string {
	return fmt.Sprintf(`document.querySelector("#head .badge")?.textContent === %q`, words)
}

func shows(text string) string {
	return fmt.Sprintf(`document.body.innerText.includes(%q)`, text)
}

func TestReleasesAsTheyHappen(t *testing.T) {
	st := setUp(t)
	b := open(t, browser.Desktop)
	b.visit(st.page)
	b.until("the token lets in", `location.search === "" && document.querySelector("h1")?.textContent === "Rollouts"`)
	if bad := ask[string](b, `document.cookie`); bad != "" {
		t.Errorf("scripts can read the cookie %q", bad)
	}
	st.promotion(b)
	st.rollback(b)
	st.abort(b)
	st.lostConnection()
}

// promotion: a good version, step by step, without the page being loaded again.
func (st *stage) promotion(b *tab) {
	st.release(shop.Green, "v2", "10%/6s, 50%/6s, 100%/6s", nil)
	b.until("a rollout is in the list", `!!document.querySelector("a[href='rollouts/page/web']")`)
	b.click(`a[href='rollouts/page/web']`)
	b.until("it is the rollout's page", `document.title.startsWith("page/web")`)
	ask[bool](b, `window.loadedOnce = true`)
	for _, weight := range []int{10, 50, 100} {
		b.until(fmt.Sprintf("the canary has %d%%", weight), fmt.Sprintf(`document.querySelector(".traffic .weight")?.textContent === "%d%%"`, weight))
	}
	b.until("there are charts", `document.querySelectorAll("#charts svg path.canary").length === 3`)
	b.picture("promotion")
	b.until("it succeeded", phase("Succeeded"))
	b.until("it is in the history", shows("Promoted"))
	b.picture("succeeded")
	if !ask[bool](b, `window.loadedOnce === true`) {
		st.Error("the page was loaded again")
	}
	st.sameSentence(b)
}

// sameSentence compares what the page says with what the controller answers.
func (st *stage) sameSentence(b *tab) {
	st.Helper()
	v := st.api().View
	if shown := ask[string](b, `document.querySelector(".sentence").textContent`); shown != v.Sentence {
		st.Errorf("the page says %q, and the controller %q", shown, v.Sentence)
	}
	if !ask[bool](b, shows(string(v.Reason))) {
		st.Errorf("the page doesn't name the reason %s", v.Reason)
	}
}

// rollback: a version that answers nothing but errors.
func (st *stage) rollback(b *tab) {
	st.release(shop.Blue, "v3", "10%/20s, 100%/20s", map[string]string{"ERROR_RATE": "1"})
	b.until("the canary has 10%", `document.querySelector(".traffic .weight")?.textContent === "10%"`)
	b.until("it is rolled back", phase("Rolled back"))
	b.until("the evidence is told", `document.querySelector("#evidence .gauge.bad svg")?.getAttribute("aria-valuenow") === "100" || document.body.innerText.includes("ErrorRateTooHigh")`)
	b.until("the rollback is told", `[...document.querySelectorAll("#timeline .badge.bad")].some(b => b.textContent === "ErrorRateTooHigh")`)
	b.picture("rolled-back")
	st.sameSentence(b)
}

// abort: somebody has seen enough, and says so by the button.
func (st *stage) abort(b *tab) {
	st.release(shop.Blue, "v4", "10%/10m, 100%/10m", nil)
	b.until("the canary has 10%", `document.querySelector(".traffic .weight")?.textContent === "10%"`)
	b.until("there is a button", `!!document.querySelector("button[popovertarget='ask-abort']")`)
	b.click(`button[popovertarget="ask-abort"]`)
	b.until("it asks back", `document.getElementById("ask-abort").checkVisibility()`)
	b.picture("abort")
	b.click(`#ask-abort button.danger`)
	b.until("what came of it is told", `!!document.querySelector(".note.good")`)
	b.until("it is rolled back", phase("Rolled back"))
	b.picture("aborted")
	out, _, err := st.box.Kubectl(st.Context(), "--namespace", "page", "get", "virtualservice", "web", "-o", "jsonpath={.spec.http[*].route[*].weight}")
	if err != nil {
		st.Fatal(err)
	}
	for weight := range strings.FieldsSeq(out) {
		if weight != "0" && weight != "100" {
			st.Errorf("the weights are %s", out)
		}
	}
	if v := st.api().View; v.Reason != canary.AbortedByCommand || v.Weight != 0 {
		st.Errorf("the controller says %s at %d%%", v.Reason, v.Weight)
	}
}

// lostConnection: the controller's own page, while the controller is away.
func (st *stage) lostConnection() {
	st.Helper()
	b := open(st.T, browser.Phone)
	b.visit(st.controller.PageURL + "/rollouts/page/web")
	b.until("it is live", `document.getElementById("link").textContent === "Live"`)
	sentence := ask[string](b, `document.querySelector(".sentence").textContent`)
	if n := ask[int](b, `document.querySelectorAll("form[method=post]").length`); n > 0 {
		st.Errorf("the controller's page has %d buttons, and the controller may give no command", n)
	}
	if err := st.controller.Kill(); err != nil {
		st.Fatal(err)
	}
	b.until("the connection is lost", `/^Connection lost, shown is the state of \d\d:\d\d:\d\d UTC/.test(document.getElementById("link").textContent)`)
	if still := ask[string](b, `document.querySelector(".sentence").textContent`); still != sentence {
		st.Errorf("it still shows %q, and showed %q", still, sentence)
	}
	b.picture("lost")
	if err := st.controller.Restart(); err != nil {
		st.Fatal(err)
	}
	b.until("it is live again", `document.getElementById("link").textContent === "Live"`)
	b.until("it shows the rollout again", phase("Rolled back"))
}
