package gitops_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	lua "github.com/yuin/gopher-lua"
	"sigs.k8s.io/yaml"

	"serin.dev/serin/e2e/gitops"
)

const examples = "../../examples/gitops"

const inGit = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, labels: {team: shop}}
spec: {hosts: [shop.example.com], http: [{route: [{destination: {host: web, subset: v1}, weight: 100}]}]}
`

const inRelease = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, resourceVersion: "7", annotations: {serin.dev/state.web: '{"phase":"Progressing"}', other: x}}
spec:
  hosts: [old.example.com]
  http: [{name: serin-canary, route: [{destination: {host: web, subset: v2}}]}, {route: [{destination: {host: web, subset: v1}, weight: 75}, {destination: {host: web, subset: v2}, weight: 25}]}]
`

func doc(t *testing.T, text string) (out map[string]any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func rules(t *testing.T, file string, partial bool) []gitops.Rule {
	t.Helper()
	r, err := gitops.Rules(examples+"/argocd/"+file, partial)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func written(t *testing.T, r []gitops.Rule, git, live string) string {
	t.Helper()
	target, err := gitops.Target(r, doc(t, git), doc(t, live))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(target)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestARouteOfSerinsIsWrittenAsItIs(t *testing.T) {
	for file, partial := range map[string]bool{"application.yaml": false, "only-during-releases.yaml": true} {
		got := written(t, rules(t, file, partial), inGit, inRelease)
		for _, want := range []string{`"weight":75`, `"serin-canary"`, `"serin.dev/state.web"`, `"shop.example.com"`, `"team":"shop"`} {
			if !strings.Contains(got, want) {
				t.Errorf("%s: a sync writes no %s:\n%s", file, want, got)
			}
		}
		if strings.Contains(got, `"other"`) {
			t.Errorf("%s: more is kept than is ignored:\n%s", file, got)
		}
	}
}

func TestWithoutTheRulesTheOldWeightsAreWritten(t *testing.T) {
	if got := written(t, nil, inGit, inRelease); !strings.Contains(got, `"weight":100`) || strings.Contains(got, "serin") {
		t.Errorf("a sync writes %s", got)
	}
}

func TestAtRestRoutesOfGitAreWrittenWhereTheyAreLeftDuringReleasesOnly(t *testing.T) {
	atRest := strings.ReplaceAll(inGit, "weight: 100", "weight: 90")
	for file, want := range map[string]string{"application.yaml": `"weight":90`, "only-during-releases.yaml": `"weight":100`} {
		if got := written(t, rules(t, file, file != "application.yaml"), inGit, atRest); !strings.Contains(got, want) {
			t.Errorf("%s: at rest a sync does not write %s:\n%s", file, want, got)
		}
	}
}

func TestWhatArgoShowsDuringARelease(t *testing.T) {
	git := strings.ReplaceAll(inGit, "{team: shop}", "{}")
	live := strings.ReplaceAll(inRelease, "old.example.com", "shop.example.com")
	for file, want := range map[string]bool{"application.yaml": true, "only-during-releases.yaml": false} {
		got, err := gitops.InSync(rules(t, file, file != "application.yaml"), doc(t, git), doc(t, live))
		if err != nil || got != want {
			t.Errorf("%s: in sync is %v, %v, want %v", file, got, err, want)
		}
	}
	if got, _ := gitops.InSync(rules(t, "application.yaml", false), doc(t, inGit), doc(t, live)); got {
		t.Error("a label that Git has and the cluster has not is no difference")
	}
}

func TestRulesThatAreNotRespectedAreNone(t *testing.T) {
	text, err := os.ReadFile(examples + "/argocd/application.yaml")
	if err != nil {
		t.Fatal(err)
	}
	file := t.TempDir() + "/a.yaml"
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(text), "- RespectIgnoreDifferences=true", "- Prune=true")), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := gitops.Rules(file, false); err != nil || r != nil {
		t.Errorf("%v, %v", r, err)
	}
}

func TestAnExpressionThatIsNoneIsAnError(t *testing.T) {
	for _, e := range []string{".spec[", "error(\"x\")"} {
		r := []gitops.Rule{{Group: "networking.istio.io", Kind: "VirtualService", Expressions: []string{e}}}
		if _, err := gitops.Target(r, doc(t, inGit), doc(t, inRelease)); err == nil {
			t.Errorf("%s passes", e)
		}
	}
}

func TestAHeldDeploymentStaysHeld(t *testing.T) {
	const git = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 2}\n"
	const live = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, annotations: {serin.dev/held: x}}\nspec: {replicas: 3, paused: true}\n"
	got := written(t, rules(t, "application.yaml", false), git, live)
	if !strings.Contains(got, `"paused":true`) || !strings.Contains(got, `"serin.dev/held":"x"`) || !strings.Contains(got, `"replicas":2`) {
		t.Errorf("a sync writes %s", got)
	}
}

func TestTheHealthOfARelease(t *testing.T) {
	text, err := os.ReadFile(examples + "/argocd/health.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Data map[string]string `json:"data"`
	}
	if err := yaml.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	const key = "networking.istio.io_VirtualService"
	script, open := config.Data["resource.customizations.health."+key], config.Data["resource.customizations.useOpenLibs."+key] == "true"
	state := func(phase string) string { return `{"v":1,"phase":"` + phase + `","weight":25,"reason":"StepStarted"}` }
	cases := []struct {
		name        string
		annotations map[string]string
		want, says  string
	}{
		{"no annotations", nil, "Healthy", ""},
		{"annotations of others", map[string]string{"a": `{"phase":"RolledBack"}`}, "Healthy", ""},
		{"it moves", map[string]string{"serin.dev/state.web": state("Progressing")}, "Progressing", "canary release of web: Progressing at 25%, StepStarted"},
		{"it goes back", map[string]string{"serin.dev/state.web": state("RollingBack")}, "Progressing", "RollingBack"},
		{"a person is asked", map[string]string{"serin.dev/state.web": state("Inconclusive")}, "Suspended", "Inconclusive"},
		{"it went back", map[string]string{"serin.dev/state.web": state("RolledBack")}, "Degraded", "RolledBack"},
		{"it is promoted", map[string]string{"serin.dev/state.web": state("Succeeded")}, "Healthy", "Succeeded"},
		{"two Services, one is worse", map[string]string{"serin.dev/state.a-b": state("Succeeded"), "serin.dev/state.web": state("Paused")}, "Suspended", "of web"},
		{"nothing that can be read", map[string]string{"serin.dev/state.web": "?"}, "Healthy", ""},
	}
	for _, c := range cases {
		status, message := health(t, script, open, c.annotations)
		if status != c.want || !strings.Contains(message, c.says) {
			t.Errorf("%s: %s %q, want %s %q", c.name, status, message, c.want, c.says)
		}
	}
}

// health runs a script as Argo CD does: of Lua's libraries it has few, unless open.
func health(t *testing.T, script string, open bool, annotations map[string]string) (status, message string) {
	t.Helper()
	l := lua.NewState(lua.Options{SkipOpenLibs: !open})
	defer l.Close()
	if !open {
		lua.OpenBase(l)
		lua.OpenTable(l)
	}
	object, metadata := l.NewTable(), l.NewTable()
	object.RawSetString("metadata", metadata)
	if annotations != nil {
		table := l.NewTable()
		for key, value := range annotations {
			table.RawSetString(key, lua.LString(value))
		}
		metadata.RawSetString("annotations", table)
	}
	l.SetGlobal("obj", object)
	if err := l.DoString(script); err != nil {
		t.Fatal(err)
	}
	result, is := l.Get(-1).(*lua.LTable)
	if !is {
		t.Fatalf("the script returns %v", l.Get(-1))
	}
	return result.RawGetString("status").String(), result.RawGetString("message").String()
}
