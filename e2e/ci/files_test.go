package ci

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mvdan.cc/sh/v3/syntax"
	"sigs.k8s.io/yaml"
)

func TestTheScriptsAreStrictPOSIXShell(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(scripts, "*.sh"))
	if err != nil || len(files) < 10 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if why := unfit(file, string(text), info.Mode().Perm()&0o111 != 0); why != "" {
			t.Errorf("%s: %s", file, why)
		}
	}
}

// unfit says why a script is none of ours; empty if it is.
func unfit(file, text string, executable bool) string {
	if _, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(text), file); err != nil {
		return err.Error()
	}
	sourced := strings.HasPrefix(text, "# shellcheck shell=sh\n")
	switch {
	case sourced && executable:
		return "it is sourced, not run: take the executable bit off"
	case sourced:
		return ""
	case !strings.HasPrefix(text, "#!/bin/sh\n"):
		return "it does not begin with #!/bin/sh"
	case !strings.Contains(text, "\nset -eu\n"):
		return "it goes on after errors: set -eu is missing"
	case !executable:
		return "it can't be run: chmod +x"
	case regexp.MustCompile(`(?m)^\s*set -[a-z]*x`).MatchString(text):
		return "set -x shows secrets"
	}
	return ""
}

func TestAScriptThatIsUnfitIsNoticed(t *testing.T) {
	for name, text := range map[string]string{
		"no shell is named":       "set -eu\n",
		"errors are passed over":  "#!/bin/sh\necho\n",
		"arrays are no POSIX":     "#!/bin/sh\nset -eu\na=(1 2)\n",
		"secrets would be shown":  "#!/bin/sh\nset -eu\nset -x\n",
		"it ends in mid-sentence": "#!/bin/sh\nset -eu\nif true; then\n",
	} {
		if unfit("x.sh", text, true) == "" {
			t.Errorf("%s, and it passes", name)
		}
	}
	if why := unfit("x.sh", "#!/bin/sh\nset -eu\n", false); why == "" {
		t.Error("it is not executable, and it passes")
	}
}

// callsOf are the scripts that a text runs.
func callsOf(text string) (names []string) {
	for _, m := range regexp.MustCompile(`ci/scripts/([a-z-]+\.sh)`).FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	return names
}

// lone are lines of a step that do more than call a script and keep what it says.
func lone(step string) (lines []string) {
	plain := regexp.MustCompile(`^(ci/scripts/[a-z-]+\.sh( .*)?|[a-z_]+=\$\(ci/scripts/[a-z-]+\.sh\)|printf '[^']*' .* >>? ?\S+|export [A-Z_]+="[^"]*")$`)
	for line := range strings.Lines(step) {
		if line = strings.TrimSpace(line); line != "" && !plain.MatchString(line) {
			lines = append(lines, line)
		}
	}
	return lines
}

// workflow is the part of a GitHub workflow that is checked.
type workflow struct {
	Permissions map[string]string `json:"permissions"`
	Jobs        map[string]job    `json:"jobs"`
}

type job struct {
	Permissions map[string]string `json:"permissions"`
	Timeout     int               `json:"timeout-minutes"`
	Needs       any               `json:"needs"`
	If          string            `json:"if"`
	Steps       []struct {
		Uses string         `json:"uses"`
		Run  string         `json:"run"`
		With map[string]any `json:"with"`
	} `json:"steps"`
}

func TestTheWorkflowOfGitHub(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(folder, "github", "release.yml"))
	if err != nil {
		t.Fatal(err)
	}
	w := workflow{}
	if err := yaml.Unmarshal(text, &w); err != nil {
		t.Fatal(err)
	}
	for _, why := range faults(w) {
		t.Error(why)
	}
	if len(w.Jobs) != 7 || !strings.Contains(w.Jobs["rollback"].If, "always()") {
		t.Errorf("the jobs are %v", w.Jobs)
	}
}

// faults are what a workflow must not be.
func faults(w workflow) (all []string) {
	if w.Permissions == nil || len(w.Permissions) > 0 {
		all = append(all, "permissions of the whole workflow: write permissions: {}")
	}
	for name, j := range w.Jobs {
		want := map[string]string{"contents": "read"}
		if name == "image" {
			want["packages"] = "write"
		}
		if fmt.Sprint(j.Permissions) != fmt.Sprint(want) {
			all = append(all, fmt.Sprintf("%s may %v, want %v", name, j.Permissions, want))
		}
		if j.Timeout == 0 {
			all = append(all, name+" has no timeout-minutes")
		}
		for _, s := range j.Steps {
			if s.Uses != "" && !regexp.MustCompile(`^actions/[a-z-]+@(v\d+|[0-9a-f]{40})$`).MatchString(s.Uses) {
				all = append(all, fmt.Sprintf("%s uses %s, which is not pinned or not GitHub's own", name, s.Uses))
			}
			if strings.HasPrefix(s.Uses, "actions/checkout@") && s.With["persist-credentials"] != false {
				all = append(all, name+" leaves credentials in the checkout")
			}
			for _, line := range lone(s.Run) {
				all = append(all, fmt.Sprintf("%s: %q belongs in a script", name, line))
			}
			if strings.Contains(s.Run, "${{") {
				all = append(all, name+" pastes an expression into a script: pass it by env")
			}
			all = append(all, absent(s.Run)...)
		}
	}
	slices.Sort(all)
	return all
}

// absent are the scripts that are called and are not there.
func absent(text string) (all []string) {
	for _, name := range callsOf(text) {
		if _, err := os.Stat(filepath.Join(scripts, name)); err != nil {
			all = append(all, "there is no script "+name)
		}
	}
	return all
}

func TestAWorkflowThatIsCarelessIsNoticed(t *testing.T) {
	const careless = `
permissions: {contents: write}
jobs:
  image:
    permissions: {contents: write}
    steps:
    - uses: actions/checkout@v4
    - uses: somebody/tool@main
    - run: docker build -t ${{ github.event.head_commit.message }} .
    - run: ci/scripts/none.sh
`
	w := workflow{}
	if err := yaml.Unmarshal([]byte(careless), &w); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(faults(w), "\n")
	for _, want := range []string{"whole workflow", "image may", "no timeout", "somebody/tool", "credentials", "belongs in a script", "pastes an expression", "no script none.sh"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not noticed:\n%s", want, got)
		}
	}
}

func TestThePipelineOfGitLab(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(folder, "gitlab", ".gitlab-ci.yml"))
	if err != nil {
		t.Fatal(err)
	}
	pipeline := map[string]any{}
	if err := yaml.Unmarshal(text, &pipeline); err != nil {
		t.Fatal(err)
	}
	stages, jobs := pipeline["stages"].([]any), 0
	for name, value := range pipeline {
		j, is := value.(map[string]any)
		if !is || name == "variables" || name == "workflow" {
			continue
		}
		if stage, has := j["stage"]; has {
			jobs++
			if !slices.Contains(stages, stage) {
				t.Errorf("%s is in the stage %v, which there is not", name, stage)
			}
		}
		for _, part := range []string{"script", "before_script"} {
			lines, _ := j[part].([]any)
			for _, line := range lines {
				if l := fmt.Sprint(line); len(lone(l)) > 0 && !strings.HasPrefix(l, "export PATH=") {
					t.Errorf("%s: %q belongs in a script", name, line)
				}
			}
		}
		needed(t, pipeline, name, j)
	}
	for _, why := range absent(string(text)) {
		t.Error(why)
	}
	if jobs != 7 {
		t.Errorf("%d jobs and templates have a stage, want 7", jobs)
	}
}

// needed fails where a job needs or extends one that there is not.
func needed(t *testing.T, pipeline map[string]any, name string, j map[string]any) {
	t.Helper()
	needs, _ := j["needs"].([]any)
	for _, n := range needs {
		if other := n.(map[string]any)["job"].(string); pipeline[other] == nil {
			t.Errorf("%s needs %s, which there is not", name, other)
		}
	}
	if other, has := j["extends"].(string); has && pipeline[other] == nil {
		t.Errorf("%s extends %s, which there is not", name, other)
	}
}

// Both pipelines run the same scripts, and every script is run by one or by another.
func TestEveryScriptIsUsed(t *testing.T) {
	var all bytes.Buffer
	for _, file := range []string{"github/release.yml", "gitlab/.gitlab-ci.yml"} {
		text, err := os.ReadFile(filepath.Join(folder, file))
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	files, err := filepath.Glob(filepath.Join(scripts, "*.sh"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	for _, file := range files {
		if base := filepath.Base(file); !strings.Contains(all.String(), "scripts/"+base) && !strings.Contains(all.String(), "$here/"+base) {
			t.Errorf("nobody runs %s", base)
		}
	}
}
