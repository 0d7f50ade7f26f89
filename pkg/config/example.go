package config

import (
	"fmt"
	"strings"

	"serin.dev/serin/pkg/annotation"
)

// Example is a file that holds every field with its default and its meaning.
func Example() string {
	var b strings.Builder
	comment(&b, "", "What a Deployment's annotations don't say, in the same words. Annotations win.")
	b.WriteString(defaultsPath + ":\n")
	for _, key := range defaultable() {
		comment(&b, "  ", key.Meaning)
		if key.Default == annotation.Discovered {
			fmt.Fprintf(&b, "  # %s: %q\n", key.Name, key.Example)
			continue
		}
		fmt.Fprintf(&b, "  %s: %q\n", key.Name, key.Default)
	}
	var open []string
	for _, s := range settings {
		parts := strings.Split(s.path, ".")
		sections := parts[:len(parts)-1]
		same := shared(open, sections)
		if same == 0 {
			b.WriteString("\n")
		}
		for i := same; i < len(sections); i++ {
			fmt.Fprintf(&b, "%s%s:\n", strings.Repeat("  ", i), sections[i])
		}
		indent := strings.Repeat("  ", len(sections))
		comment(&b, indent, s.explain)
		fmt.Fprintf(&b, "%s%s: %s\n", indent, parts[len(parts)-1], s.value)
		open = sections
	}
	return b.String()
}

// shared is how many sections two paths have in common.
func shared(a, b []string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// comment writes text in lines of readable length.
func comment(b *strings.Builder, indent, text string) {
	const width = 96
	line := indent + "#"
	for _, word := range strings.Fields(text) {
		if len(line)+1+len(word) > width {
			b.WriteString(line + "\n")
			line = indent + "#"
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
}
