// Package docs has nothing but the tests of the documents: that what they link to
// is there, and that the commands which they tell people to type exist.
package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"serin.dev/serin/pkg/cli"
)

// documents are all that people read, with their texts.
func documents(t *testing.T) map[string]string {
	t.Helper()
	files := []string{"../README.md", "../CONTRIBUTING.md", "../e2e/README.md"}
	for _, pattern := range []string{"*.md", "../examples/*/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	out := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		out[file] = string(text)
	}
	if len(out) < 20 {
		t.Fatalf("only %d documents are found", len(out))
	}
	return out
}

var (
	fence   = regexp.MustCompile("(?ms)^[ \t]*(```+|~~~+)([a-z]*)[^\n]*\n(.*?)^[ \t]*```+[ \t]*$")
	linked  = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#{1,6} +(.+)$`)
	marks   = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	inCode  = regexp.MustCompile("`([^`\n]+)`")
)

// anchors are those of a document, as GitHub makes them of its headings.
func anchors(text string) map[string]bool {
	out, times := map[string]bool{}, map[string]int{}
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		title := regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`).ReplaceAllString(m[1], "$1")
		slug := strings.ReplaceAll(marks.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), ""), " ", "-")
		if n := times[slug]; n > 0 {
			out[slug+"-"+string(rune('0'+n))] = true
		} else {
			out[slug] = true
		}
		times[slug]++
	}
	return out
}

// broken are the links of a document that lead nowhere.
func broken(file, text string) (bad []string) {
	for _, m := range linked.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		target := m[1]
		if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
			continue
		}
		path, anchor, _ := strings.Cut(target, "#")
		there := text
		if path != "" {
			full := filepath.Join(filepath.Dir(file), path)
			if _, err := os.Stat(full); err != nil {
				bad = append(bad, target)
				continue
			}
			if anchor == "" || !strings.HasSuffix(path, ".md") {
				continue
			}
			content, err := os.ReadFile(full)
			if err != nil {
				bad = append(bad, target)
				continue
			}
			there = string(content)
		}
		if anchor != "" && !anchors(there)[anchor] {
			bad = append(bad, target)
		}
	}
	return bad
}

func TestEveryLinkLeadsSomewhere(t *testing.T) {
	for file, text := range documents(t) {
		for _, target := range broken(file, text) {
			t.Errorf("%s links to %s, which is not there", file, target)
		}
	}
}

func TestALinkToNowhereIsNoticed(t *testing.T) {
	const text = "# One `two`\n\n[a](none.md) [b](#nothing) [c](#one-two) [d](annotations.md#none) [e](annotations.md#orders) [f](https://example.com/x)\n\n```sh\n# no heading [g](no.md)\n```\n[h](#no-heading-g)\n"
	got := broken("x.md", text)
	if want := []string{"none.md", "#nothing", "annotations.md#none", "#no-heading-g"}; !slices.Equal(got, want) {
		t.Errorf("noticed %v, want %v", got, want)
	}
}

// typed are the lines of a text that people are to type: in blocks of commands and
// between back ticks.
func typed(text string) (lines []string) {
	for _, m := range fence.FindAllStringSubmatch(text, -1) {
		if m[2] == "sh" || m[2] == "console" {
			body := strings.ReplaceAll(m[3], "\\\n", " ")
			lines = append(lines, strings.Split(body, "\n")...)
		}
	}
	for _, m := range inCode.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		lines = append(lines, m[1])
	}
	return lines
}

var (
	canaryCall = regexp.MustCompile(`kubectl(?:-| +)canary((?: +[^\s|;&()#]+)*)`)
	misplaced  = regexp.MustCompile(`kubectl +-\S+(?: +\S+)? +canary\b`)
)

// unknown are the commands of a text that the plugin does not know.
func unknown(root *cobra.Command, text string) (bad []string) {
	for _, line := range typed(text) {
		if misplaced.MatchString(line) {
			bad = append(bad, line+": kubectl takes no flags before a plugin's name")
		}
		for _, m := range canaryCall.FindAllStringSubmatch(line, -1) {
			words := strings.Fields(m[1])
			if len(words) == 0 || strings.ToUpper(words[0]) == words[0] || strings.ContainsAny(words[0][:1], "-/") {
				continue // the command itself, a VERB in its place, or its file
			}
			if why := misfit(root, words); why != "" {
				bad = append(bad, strings.TrimSpace(line)+": "+why)
			}
		}
	}
	return bad
}

// misfit says why words are no call of the plugin.
func misfit(root *cobra.Command, words []string) string {
	if slices.Contains([]string{"completion", "__complete", "help"}, words[0]) {
		return "" // cobra's own
	}
	verb, _, err := root.Find(words[:1])
	if err != nil || verb == root {
		return "there is no verb " + words[0]
	}
	for _, w := range words[1:] {
		name, _, _ := strings.Cut(strings.TrimRight(w, ",.:'\""), "=")
		switch {
		case name == "--help":
		case strings.HasPrefix(name, "--"):
			if verb.Flag(name[2:]) == nil {
				return "there is no flag " + name
			}
		case strings.HasPrefix(name, "-") && len(name) == 2:
			if verb.Flags().ShorthandLookup(name[1:]) == nil && verb.InheritedFlags().ShorthandLookup(name[1:]) == nil {
				return "there is no flag " + name
			}
		}
	}
	return ""
}

func plugin() *cobra.Command {
	return cli.Command(genericiooptions.NewTestIOStreamsDiscard(), cli.Program{})
}

func TestEveryCommandExists(t *testing.T) {
	calls := 0
	for file, text := range documents(t) {
		for _, why := range unknown(plugin(), text) {
			t.Errorf("%s: %s", file, why)
		}
		calls += len(canaryCall.FindAllString(text, -1))
	}
	if calls < 50 {
		t.Errorf("only %d calls are found", calls)
	}
}

func TestACommandThatDoesNotExistIsNoticed(t *testing.T) {
	const text = "Type `kubectl canary stauts web`, `kubectl canary VERB` or `kubectl canary list -A -w`.\n\n```sh\nkubectl canary wait web --tmeout 1h   # long\nkubectl canary status web -z\nkubectl -n shop canary list\nkubectl canary status web -n shop | less -R\n```\n"
	got := strings.Join(unknown(plugin(), text), "\n")
	for _, want := range []string{"no verb stauts", "no flag --tmeout", "no flag -z", "no flags before a plugin"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not noticed: %s", want, got)
		}
	}
	if n := strings.Count(got, "\n"); n != 3 {
		t.Errorf("more is noticed than is wrong:\n%s", got)
	}
}

// Every document is in the book's contents.
func TestEveryDocumentIsInTheContents(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if file != "README.md" && !strings.Contains(string(text), "]("+file) {
			t.Errorf("%s is not in the contents", file)
		}
	}
}
