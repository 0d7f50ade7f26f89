package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// Markdown is the reference of all verbs for the documentation.
func Markdown() string {
	root := newRoot(genericiooptions.NewTestIOStreamsDiscard(), Program{})
	var b strings.Builder
	b.WriteString("| Verb | |\n|---|---|\n")
	verbs := root.Commands()
	for _, c := range verbs {
		if documented(c) {
			fmt.Fprintf(&b, "| [`%s`](#%s) | %s |\n", c.Name(), c.Name(), c.Short)
		}
	}
	for _, c := range verbs {
		if documented(c) {
			document(&b, c)
		}
	}
	b.WriteString("\n### Flags of all verbs\n\nBeside those by which kubectl finds a cluster (`--context`, `--namespace`, `--kubeconfig`, `--as` and the others):\n\n")
	flags(&b, root.PersistentFlags(), func(f *pflag.Flag) bool {
		switch f.Name {
		case "serin-namespace", "controller", "prometheus", "config":
			return true
		}
		return false
	})
	return b.String()
}

// documented are our own verbs: cobra adds two of its own.
func documented(c *cobra.Command) bool { return c.Name() != "help" && c.Name() != "completion" }

func document(b *strings.Builder, c *cobra.Command) {
	fmt.Fprintf(b, "\n### %s\n\n%s.\n\n```\nkubectl canary %s\n```\n", c.Name(), c.Short, c.Use)
	if c.Long != "" {
		text, _, _ := strings.Cut(c.Long, "\nExit codes:")
		fmt.Fprintf(b, "\n%s\n", strings.TrimSpace(text))
	}
	if c.Example != "" {
		fmt.Fprintf(b, "\n```sh\n%s\n```\n", unindented(c.Example))
	}
	if c.LocalNonPersistentFlags().HasAvailableFlags() {
		b.WriteString("\n")
		flags(b, c.LocalNonPersistentFlags(), func(f *pflag.Flag) bool { return f.Name != "help" })
	}
}

func unindented(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(line, "  ")
	}
	return strings.Join(lines, "\n")
}

// flags is a table of flags.
func flags(b *strings.Builder, set *pflag.FlagSet, which func(*pflag.Flag) bool) {
	head := "| Flag | Default | |\n|---|---|---|\n"
	set.VisitAll(func(f *pflag.Flag) {
		if !which(f) {
			return
		}
		b.WriteString(head)
		head = ""
		kind, usage := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		if kind != "" {
			name += " " + strings.ToUpper(kind)
		}
		value := "`" + f.DefValue + "`"
		if f.DefValue == "" || f.DefValue == "false" || f.DefValue == "0" {
			value = ""
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", name, value, strings.ReplaceAll(usage, "|", `\|`))
	})
}
