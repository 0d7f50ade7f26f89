package cli

import (
	"fmt"
	"strings"
)

// The exit codes. Exits says what they mean.
const (
	exitDone         = 0
	exitFailed       = 1
	exitUsage        = 2
	exitRolledBack   = 3
	exitInconclusive = 4
	exitTimeout      = 5
	exitBlocked      = 6
	exitNothing      = 7
	exitNotCanary    = 8
	exitSuperseded   = 9
	exitPartial      = 10
)

// Exit is an exit code and its meaning.
type Exit struct {
	Code    int
	Name    string
	Verbs   string // that end with it; empty: all
	Meaning string // a sentence, Markdown
}

// Exits are all exit codes. The documentation is made of them.
func Exits() []Exit {
	return []Exit{
		{exitDone, "done", "", "Done. Of `wait`: the version was promoted."},
		{exitFailed, "error", "", "The cluster, Serin or Prometheus could not be asked, refused, or know nothing; or something that is needed is missing (`lint`, `check`)."},
		{exitUsage, "usage", "", "The command line is wrong."},
		{exitRolledBack, "rolled back", "wait", "The version was rolled back, now or when it was tried before."},
		{exitInconclusive, "inconclusive", "wait", "A step's deadline passed without a verdict, and a person has to decide."},
		{exitTimeout, "timeout", "wait, abort, opt-out, orders", "It was not over within `--timeout`. Nothing was taken back: the release goes on."},
		{exitBlocked, "blocked", "wait", "Something has to be mended before the release can begin or go on, and was not within `--blocked-after`."},
		{exitNothing, "nothing to release", "wait", "This pod template is the one that users have already, or Kubernetes updates it plainly: there is no canary release to wait for."},
		{exitNotCanary, "not a canary", "wait", "The Deployment does not ask for canary releases."},
		{exitSuperseded, "superseded", "wait", "Another pod template was applied before this one was promoted."},
		{exitPartial, "partial", "explain", "Explained, but data is missing."},
	}
}

// ExitTable is the table of exit codes for the documentation, in Markdown.
func ExitTable() string {
	var b strings.Builder
	b.WriteString("| Code | Name | Verbs | Meaning |\n|---|---|---|---|\n")
	for _, e := range Exits() {
		verbs := e.Verbs
		if verbs == "" {
			verbs = "all"
		}
		fmt.Fprintf(&b, "| %d | %s | %s | %s |\n", e.Code, e.Name, verbs, e.Meaning)
	}
	return b.String()
}

// containsWord tells whether a list with commas has a word.
func containsWord(list, word string) bool {
	for part := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(part) == word {
			return true
		}
	}
	return false
}
