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
		switch {
		case key.Default == annotation.Discovered:
			fmt.Fprintf(&b, "  # %s: %q\n", key.Name, key.Example)
		case key.Binding || key.Name == "judge": // judge.mode says it already
			fmt.Fprintf(&b, "  # %s: %q\n", key.Name, key.Default)
		default:
			fmt.Fprintf(&b, "  %s: %q\n", key.Name, key.Default)
		}
	}
	b.WriteString(metricsExample)
	b.WriteString(gatesExample)
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
			if sections[i] == "notify" {
				b.WriteString(channelsExample)
			}
		}
		indent := strings.Repeat("  ", len(sections))
		comment(&b, indent, s.explain)
		fmt.Fprintf(&b, "%s%s: %s\n", indent, parts[len(parts)-1], s.value)
		open = sections
	}
	return b.String()
}

const metricsExample = `
# Metrics of your own, beside errors and latency, which annotations name: serin.dev/metrics:
# "checkout-success >= 99%, queue-depth <= 100". A share of events has the counter of all (total)
# and that of the good or of the bad ones, each without rate() around it; a plain number has gauge
# alone. {{namespace}}, {{service}}, {{workload}} (the Deployment), {{track}} (stable or canary)
# and, after =~, {{pods}} stand for those of the release.
metrics: {}
#  checkout-success:
#    description: Orders that were paid
#    good: checkout_orders_total{namespace="{{namespace}}", pod=~"{{pods}}", result="paid"}
#    total: checkout_orders_total{namespace="{{namespace}}", pod=~"{{pods}}"}
#  queue-depth:
#    description: Jobs that wait
#    gauge: worker_queue_depth{namespace="{{namespace}}", pod=~"{{pods}}"}
`

const gatesExample = `
# Gates: whom releases ask whether they may go on, which annotations name: serin.dev/gates:
# "hours, security, migration@before-start+before-rollback". at: when one is asked where annotations
# don't say, of before-start, before-step, before-promotion, before-rollback and after-rollback.
# docs/gates.md shows every type.
gates: {}
#  hours:
#    type: window
#    open: Mon-Thu 09:00-16:00, Fri 09:00-12:00
#    zone: Europe/Berlin
#    closed: ["2026-12-24..2027-01-02"]
#  migration:
#    type: webhook
#    at: [before-start, before-rollback]
#    url: https://gates.example.com/migration
#    credentials: /etc/serin-secrets/migration-key
#  security:
#    type: harbor
#    url: https://harbor.example.com
#    credentials: /etc/serin-secrets/harbor
#    critical: 0
#    high: 3 else approval
#    signed: cosign
#  freeze:
#    type: alertmanager
#    matchers: alertname="ReleaseFreeze"
`

const channelsExample = `  # Where people are told of releases, which annotations name: serin.dev/notify: "team-shop, ops".
  # Secrets are in files, which are read again when they change. docs/messages.md shows every type.
  channels: {}
  #  team-shop:
  #    type: slack
  #    channel: "#shop"
  #    credentials: /etc/serin-secrets/slack-token
  #    kinds: [started, held, rolled-back, promoted, attention]
  #    mention: here
  #  ops:
  #    type: alertmanager
  #    url: http://alertmanager.monitoring:9093
  #    plaintext: true
  #    severity: warning
`

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
