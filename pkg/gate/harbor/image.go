package harbor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"serin.dev/serin/pkg/canary"
)

// image looks at one: its scan, each limit, its signature.
func (g *Gate) image(ctx context.Context, r reference) []finding {
	name := r.name()
	if !r.valid() {
		return []finding{{said: canary.Deny, check: canary.Check{Name: name, Sentence: name + " is no project and repository of Harbor with a tag or a digest"}}}
	}
	a, err := g.artifact(ctx, r, r.which())
	if err != nil {
		return []finding{unread(name, err)}
	}
	var note string
	if r.byTag() {
		note = fmt.Sprintf(" (%s is %s now; a tag can move, a digest can't)", name, short(a.Digest))
	}
	var all []finding
	if len(g.o.Limits) > 0 || g.o.Scanned || g.o.MaxAge > 0 {
		all = append(all, g.scanned(a, name)...)
	}
	if g.o.Signed != SignedNot {
		all = append(all, g.signature(ctx, r, a, name))
	}
	for i := range all {
		all[i].check.Sentence += note
	}
	return all
}

func unread(name string, err error) finding {
	if missing(err) {
		return finding{said: canary.Deny, check: canary.Check{
			Name: name, Sentence: fmt.Sprintf("Harbor has no %s; push it there, and deploy what was pushed", name),
		}}
	}
	return finding{said: canary.Wait, away: true, check: canary.Check{
		Name: name, Sentence: fmt.Sprintf("Harbor can't be asked for %s: %s%s", name, err, mend(err)),
	}}
}

// scanned looks at the scan, and then at each limit.
func (g *Gate) scanned(a artifact, name string) []finding {
	check := canary.Check{Name: name + " is scanned"}
	wait := func(format string, args ...any) []finding {
		check.Sentence = fmt.Sprintf(format, args...)
		return []finding{{said: canary.Wait, check: check}}
	}
	scan, is := a.scan()
	switch {
	case !is:
		return wait("Harbor has not scanned %s; start a scan, or let the project scan what is pushed", name)
	case scan.Status == scanFailed, scan.Status == scanStopped:
		return wait("The scan of %s ended without a report (%s); start another in Harbor", name, scan.Status)
	case scan.Status != scanSucceeded:
		return wait("Harbor is still scanning %s (%s)", name, shown(scan.Status))
	case scan.Complete > 0 && scan.Complete < 100:
		return wait("Harbor has scanned %d%% of %s alone; the scan of one of its platforms failed, start another", scan.Complete, name)
	case scan.Ended.IsZero():
		return wait("Harbor does not tell when it scanned %s; scan it again", name)
	}
	counts, complete := scan.counts()
	if !complete {
		return wait("Harbor's report on %s does not tell how severe all vulnerabilities are; scan it again", name)
	}
	if age := time.Since(scan.Ended); g.o.MaxAge > 0 && age > g.o.MaxAge {
		return wait("The scan of %s ended at %s, longer than %s ago; scan it again", name, scan.Ended.UTC().Format("2006-01-02 15:04 UTC"), days(g.o.MaxAge))
	}
	check.Passed, check.Sentence = true, fmt.Sprintf("%s was scanned at %s", name, scan.Ended.UTC().Format("2006-01-02 15:04 UTC"))
	all := []finding{{said: canary.Allow, check: check}}
	for _, l := range g.o.Limits {
		all = append(all, l.look(counts, name))
	}
	return all
}

// look compares what was found with a limit.
func (l Limit) look(counts map[string]int, name string) finding {
	severity := strings.ToLower(l.Severity)
	found := counts[l.Severity]
	f := finding{said: canary.Allow, check: canary.Check{
		Name: fmt.Sprintf("%s: %s vulnerabilities", name, severity), Passed: found <= l.Most,
		Sentence: fmt.Sprintf("%s has %d %s vulnerabilities, at most %d are allowed", name, found, severity, l.Most),
	}}
	if found == 1 {
		f.check.Sentence = fmt.Sprintf("%s has 1 %s vulnerability, at most %d are allowed", name, severity, l.Most)
	}
	switch {
	case f.check.Passed:
	case l.Beyond == canary.Approve:
		f.said = canary.Approve
		f.check.Sentence += " without approval"
	default:
		f.said = canary.Deny
	}
	return f
}

// signature looks for one on the artifact, and on the index of which it is a platform:
// who signs an index signs all that is in it, and pods may report either digest.
func (g *Gate) signature(ctx context.Context, r reference, a artifact, name string) finding {
	check := canary.Check{Name: name + " is signed"}
	by := ""
	if g.o.Signed != SignedAny {
		by = " by " + g.o.Signed
	}
	signed := a.signed(g.o.Signed)
	if !signed {
		index, err := g.index(ctx, r, a)
		if err != nil {
			return unread(name, err)
		}
		signed = index.signed(g.o.Signed)
	}
	if !signed {
		check.Sentence = fmt.Sprintf("%s is not signed%s; sign it, with the signature beside it in Harbor", name, by)
		return finding{said: canary.Deny, check: check}
	}
	check.Passed, check.Sentence = true, fmt.Sprintf("%s is signed%s", name, by)
	return finding{said: canary.Allow, check: check}
}

// index is the artifact that the template names, if the one that runs is a platform of
// it; else it is nothing. A tag that was moved or deleted since names no index of it.
func (g *Gate) index(ctx context.Context, r reference, a artifact) (artifact, error) {
	named := r.written
	if named == "" {
		named = r.tag
	}
	if r.runs == "" || named == "" || named == r.runs {
		return artifact{}, nil
	}
	index, err := g.artifact(ctx, r, named)
	switch {
	case missing(err):
		return artifact{}, nil
	case err != nil:
		return artifact{}, err
	case !index.holds(a.Digest):
		return artifact{}, nil
	}
	return index, nil
}

// short is a digest as people read it.
func short(digest string) string {
	const most = len("sha256:") + 12
	return shown(digest[:min(len(digest), most)])
}

// days is a duration in days where it has no less.
func days(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= day && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	return d.String()
}
