package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"serin.dev/serin/e2e/gitops"
	"serin.dev/serin/e2e/scenarios/invariant"
)

// ways are those in which a GitOps tool may write an object, by kubectl.
var ways = [][]string{
	{"apply"},
	{"apply", "--server-side"},
	{"apply", "--server-side", "--force-conflicts"},
	{"replace"},
}

// argo is a GitOps tool that goes by the rules of the examples, and writes what Git
// holds again and again, each time in another way.
type argo struct {
	*stage
	rules  []gitops.Rule
	folder string
	stop   func()

	mu      sync.Mutex
	git     []map[string]any
	written map[string]int // by way, how often an object was
	trouble []string
}

// ignoring are the rules of an example.
func (st *stage) ignoring(file string, partial bool) []gitops.Rule {
	st.Helper()
	rules, err := gitops.Rules("../../examples/gitops/argocd/"+file, partial)
	if err != nil || len(rules) == 0 {
		st.Fatalf("%d rules, %v", len(rules), err)
	}
	return rules
}

// argo begins to sync the manifests by rules, until the scenario ends.
func (st *stage) argo(rules []gitops.Rule, manifests ...string) *argo {
	st.Helper()
	a := &argo{stage: st, rules: rules, folder: st.folder(), written: map[string]int{}}
	a.commit(manifests...)
	ctx, cancel := context.WithCancel(st.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.work(ctx)
	}()
	a.stop = func() { cancel(); <-done }
	st.Cleanup(a.stop)
	return a
}

// commit replaces what Git holds.
func (a *argo) commit(manifests ...string) {
	a.Helper()
	var git []map[string]any
	for _, m := range manifests {
		doc := map[string]any{}
		if err := yaml.Unmarshal([]byte(m), &doc); err != nil {
			a.Fatal(err)
		}
		git = append(git, doc)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.git = git
}

func (a *argo) work(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		a.mu.Lock()
		git := a.git
		a.mu.Unlock()
		way := ways[n%len(ways)]
		for _, doc := range git {
			a.count(ctx, way, a.sync(ctx, a.rules, "argocd-controller", way, doc))
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (a *argo) count(ctx context.Context, way []string, err error) {
	if ctx.Err() != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case err == nil:
		a.written[strings.Join(way, " ")]++
	case strings.Contains(err.Error(), "the object has been modified"):
		// It was read before somebody else wrote: the next round reads anew.
	case strings.Contains(err.Error(), "conflict") && len(way) == 2:
		// Who doesn't force, leaves fields to whoever has them.
	default:
		a.trouble = append(a.trouble, err.Error())
	}
}

var kinds = map[any]schema.GroupVersionResource{
	"VirtualService": virtualServices,
	"Deployment":     {Group: "apps", Version: "v1", Resource: "deployments"},
}

// sync writes an object in one way: what Git says, but for what the rules leave to
// the cluster. It is of the version that was read: Argo CD has the moment between
// the two, in which it may write over a step; Serin then sets that again.
func (a *argo) sync(ctx context.Context, rules []gitops.Rule, manager string, way []string, git map[string]any) error {
	name := git["metadata"].(map[string]any)["name"].(string)
	live, err := a.trees.Resource(kinds[git["kind"]]).Namespace(a.name).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	target, err := gitops.Target(rules, git, live.Object)
	if err != nil {
		return err
	}
	target["metadata"].(map[string]any)["resourceVersion"] = live.GetResourceVersion()
	text, err := json.Marshal(target)
	if err != nil {
		return err
	}
	file := filepath.Join(a.folder, "object.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return err
	}
	args := append([]string{"--namespace", a.name}, way...)
	version, _, err := a.box.Kubectl(ctx, append(args, "--field-manager="+manager, "--filename="+file, "--output=jsonpath={.metadata.resourceVersion}")...)
	if err == nil && git["kind"] == "VirtualService" {
		a.versions.byHand(version)
		a.beside(live, version)
	}
	return err
}

// beside marks what kubectl wrote on the way to a version: when it goes from one way
// of applying to another, it first writes whose the fields are, and nothing else.
func (a *argo) beside(before *unstructured.Unstructured, version string) {
	from, _ := strconv.Atoi(before.GetResourceVersion())
	to, _ := strconv.Atoi(version)
	versions, _ := a.versions.all()
	for _, v := range versions {
		o := unstructured.Unstructured{Object: v.Doc}
		if at, _ := strconv.Atoi(o.GetResourceVersion()); v.Name == before.GetName() && from < at && at < to && reflect.DeepEqual(v.Doc["spec"], before.Object["spec"]) {
			a.versions.byHand(o.GetResourceVersion())
		}
	}
}

// rounds waits until every way was gone so often more.
func (a *argo) rounds(more int) {
	a.Helper()
	before := a.counts()
	a.until(fmt.Sprintf("%d more syncs in every way", more), func() error {
		now := a.counts()
		for _, way := range ways {
			if key := strings.Join(way, " "); now[key] < before[key]+more {
				return fmt.Errorf("%s: %d, was %d", key, now[key], before[key])
			}
		}
		return nil
	})
}

func (a *argo) counts() map[string]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := map[string]int{}
	for key, n := range a.written {
		out[key] = n
	}
	return out
}

// peaceful fails if the tool and Serin were in each other's way.
func (a *argo) peaceful() {
	a.Helper()
	a.mu.Lock()
	trouble := a.trouble
	a.mu.Unlock()
	for _, why := range trouble {
		a.Error(why)
	}
	for _, reason := range []string{"GitOpsRevertReapplied", "RevertedByGitOps", "GitOpsRevertLeft", "PausedByPerson", "RaiseUndone", "MovedByPerson"} {
		if notes, err := a.notes(reason); err != nil || len(notes) > 0 {
			a.Errorf("%s is told: %v, %v", reason, notes, err)
		}
	}
}

// gitOpsPair: a pair is released while Argo CD syncs its VirtualService without
// end, and stays promoted. Flux, once it has made the object, writes nothing. The
// same write by a tool without rules undoes the promotion, which shows that they are
// why; Serin sets that again.
func gitOpsPair(t *testing.T, name string) {
	st := open(t, name, script{})
	manifest := gateway(name, split(100, 0))
	a := st.argo(st.ignoring("application.yaml", false), manifest)
	a.rounds(1)
	st.release("25%/3s, 50%/3s, 100%/3s", nil)
	st.reachesWeight(50)
	a.rounds(1)
	st.reachesPhase("Succeeded")
	a.rounds(2)
	a.peaceful()
	if git := st.flux(manifest); !gitops.LeftAlone(git) {
		t.Errorf("Flux writes %v", git)
	}
	state := st.versions.state()
	if state.Phase != "Succeeded" || state.Weight != 100 {
		t.Errorf("the state is %+v", state)
	}

	a.stop()
	bare := map[string]any{}
	if err := yaml.Unmarshal([]byte(manifest), &bare); err != nil {
		t.Fatal(err)
	}
	st.until("a tool without rules writes", func() error {
		return a.sync(t.Context(), nil, "kustomize-controller", ways[2], bare)
	})
	st.told("GitOpsRevertReapplied")
	st.reaches("it is promoted again", func(s invariant.State) bool { return s.Sequence > state.Sequence && s.Weight == 100 })
	st.close("v2", "v2")
}

// flux is a manifest as the example's Kustomization makes it for Flux.
func (st *stage) flux(manifest string) map[string]any {
	st.Helper()
	text, err := os.ReadFile("../../examples/gitops/flux/shop.yaml")
	if err != nil {
		st.Fatal(err)
	}
	_, second, _ := strings.Cut(string(text), "\n---\n")
	var k struct {
		Spec struct {
			Patches []any `json:"patches"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal([]byte(second), &k); err != nil {
		st.Fatal(err)
	}
	folder := st.folder()
	kustomization, err := yaml.Marshal(map[string]any{"resources": []string{"object.yaml"}, "patches": k.Spec.Patches})
	if err != nil {
		st.Fatal(err)
	}
	for file, content := range map[string]string{"object.yaml": manifest, "kustomization.yaml": string(kustomization)} {
		if err := os.WriteFile(filepath.Join(folder, file), []byte(content), 0o600); err != nil {
			st.Fatal(err)
		}
	}
	out, _, err := st.box.Kubectl(st.Context(), "kustomize", folder)
	if err != nil {
		st.Fatal(err)
	}
	git := map[string]any{}
	if err := yaml.Unmarshal([]byte(out), &git); err != nil {
		st.Fatal(err)
	}
	return git
}

// gitOpsEveryWay: one Deployment is released in place by a commit, while Argo CD
// syncs it and its routes in every way it has. It leaves the routes alone during
// the release only: at rest a route that is changed in Git is applied.
func gitOpsEveryWay(t *testing.T, name string) {
	st := openShop(t, name, shop{steps: "25%/3s, 50%/3s, 100%/3s"})
	routes := strings.ReplaceAll(atGateway, "NAMESPACE", name)
	rules := st.ignoring("only-during-releases.yaml", true)
	for _, r := range st.ignoring("application.yaml", false) {
		if r.Kind == "Deployment" {
			rules = append(rules, r)
		}
	}
	a := st.argo(rules, routes)
	a.commit(routes, st.manifest("v2"))
	st.reachesWeight(25)
	a.rounds(1)
	st.ends(1, "Succeeded")
	a.rounds(1)
	a.peaceful()
	a.commit(strings.ReplaceAll(routes, "timeout: 9s", "timeout: 8s"), st.manifest("v2"))
	st.until("the route of Git is there", func() error {
		live, err := st.trees.Resource(virtualServices).Namespace(name).Get(t.Context(), "web", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if text, _ := json.Marshal(live.Object["spec"]); !strings.Contains(string(text), `"timeout":"8s"`) {
			return fmt.Errorf("it is %s", text)
		}
		return nil
	})
	a.owned()
	st.closeShop("v2", false)
}

// owned ends the syncs; what Git says of the VirtualService is what the user wrote.
func (a *argo) owned() {
	a.Helper()
	a.stop()
	live, err := a.trees.Resource(virtualServices).Namespace(a.name).Get(a.Context(), "web", metav1.GetOptions{})
	if err != nil {
		a.Fatal(err)
	}
	a.versions.byHand(live.GetResourceVersion())
}
