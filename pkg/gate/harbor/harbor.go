// Package harbor is a gate: it asks Harbor (API v2.0) for the images of a release, by
// digest, and says whether they were scanned, how many vulnerabilities were found, and
// whether they are signed.
package harbor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/gate/outside"
)

// The severities of Harbor's reports that may be limited, from the worst.
const (
	Critical = "Critical"
	High     = "High"
	Medium   = "Medium"
	Low      = "Low"
)

// Severities are all that may be limited, from the worst.
var Severities = []string{Critical, High, Medium, Low}

// What signatures are asked for.
const (
	SignedNot    = "none"     // they are not looked at
	SignedAny    = "any"      // by cosign or Notation
	SignedCosign = "cosign"   // by cosign
	SignedNotary = "notation" // by Notation
)

// Limit is the greatest number of vulnerabilities of one severity.
type Limit struct {
	Severity string // one of Severities
	Most     int    // >= 0
	// Beyond is what is said where there are more: canary.Deny, or canary.Approve for a
	// person to decide. Empty is Deny.
	Beyond canary.AnswerKind
}

// Options say where Harbor is and what is asked of images.
type Options struct {
	URL         string        // of Harbor itself, like https://harbor.example.com
	Credentials string        // file with user:password, as of a robot account; empty: none
	CA          string        // file with certificates in PEM; empty: the system's
	Plaintext   bool          // credentials may be sent by http
	Timeout     time.Duration // of one request; 0 is outside.DefaultTimeout
	// Registries are the hosts by which images name this Harbor; empty: the URL's.
	Registries []string
	Limits     []Limit // at most one of each severity
	// Scanned asks for a finished scan also where there is no limit.
	Scanned bool
	// MaxAge is the greatest age of a scan, > 0; 0: any.
	MaxAge time.Duration
	Signed string // SignedNot, SignedAny, SignedCosign or SignedNotary; empty is SignedNot
	// Transport sends the requests; nil makes one.
	Transport http.RoundTripper
}

// Gate asks one Harbor. It may be used by many at once.
type Gate struct {
	o      Options
	base   string
	client *outside.Client
}

// New makes a gate. The error joins all mistakes in the options.
func New(o Options) (*Gate, error) {
	base, err := outside.Base("the URL of Harbor", o.URL)
	mistakes := []error{err}
	client, err := outside.New(outside.Options{Credentials: o.Credentials, CA: o.CA, Plaintext: o.Plaintext, Timeout: o.Timeout, Transport: o.Transport})
	mistakes = append(mistakes, err)
	if o.Signed == "" {
		o.Signed = SignedNot
	}
	if len(o.Registries) == 0 {
		if u, err := url.Parse(o.URL); err == nil {
			o.Registries = []string{u.Host}
		}
	}
	mistakes = append(mistakes, o.wrong()...)
	if err := errors.Join(mistakes...); err != nil {
		return nil, fmt.Errorf("use Harbor: %w", err)
	}
	return &Gate{o: o, base: base, client: client}, nil
}

// wrong finds all that is wrong with what is asked of images.
func (o Options) wrong() []error {
	var mistakes []error
	fail := func(format string, args ...any) { mistakes = append(mistakes, fmt.Errorf(format, args...)) }
	seen := map[string]bool{}
	for _, l := range o.Limits {
		switch {
		case !slices.Contains(Severities, l.Severity):
			fail("there is no severity %q; known are %s", l.Severity, strings.Join(Severities, ", "))
		case seen[l.Severity]:
			fail("the severity %s has two limits; write one", l.Severity)
		case l.Most < 0:
			fail("the limit of the severity %s is below 0; write how many are allowed", l.Severity)
		case l.Beyond != "" && l.Beyond != canary.Deny && l.Beyond != canary.Approve:
			fail("beyond the limit of the severity %s nothing can be said but deny or approve, not %q", l.Severity, l.Beyond)
		}
		seen[l.Severity] = true
	}
	if !slices.Contains([]string{SignedNot, SignedAny, SignedCosign, SignedNotary}, o.Signed) {
		fail("there is no signature %q; write %s, %s, %s or %s", o.Signed, SignedNot, SignedAny, SignedCosign, SignedNotary)
	}
	if o.MaxAge < 0 {
		fail("the greatest age of a scan is below 0; write how old it may be")
	}
	if len(o.Limits) == 0 && !o.Scanned && o.MaxAge == 0 && o.Signed == SignedNot {
		fail("nothing is asked of images; limit a severity, or ask for a scan or a signature")
	}
	return mistakes
}

// finding is what one look at one image came to.
type finding struct {
	check canary.Check
	said  canary.AnswerKind
	away  bool // nobody answered
}

// rank is how much an answer weighs among those to one question: what forbids stands
// above what is not known yet, and this above what a person may decide.
func (f finding) rank() int {
	return slices.Index([]canary.AnswerKind{canary.Allow, canary.Approve, canary.Wait, canary.Deny}, f.said)
}

// Ask looks at all images of the canary that are in this Harbor. It denies where one
// may not be released, or where none is in it; it waits where Harbor or its scanner
// has not said yet.
func (g *Gate) Ask(ctx context.Context, _ canary.Question, s canary.Subject) canary.Answer {
	var all []finding
	ours := 0
	known := map[string]bool{} // containers may share an image
	for _, image := range s.Canary.Images {
		reference := read(image)
		if !slices.Contains(g.o.Registries, reference.host) {
			all = append(all, ignored(image, g.o.Registries))
			continue
		}
		ours++
		if !known[reference.key()] {
			all = append(all, g.image(ctx, reference)...)
		}
		known[reference.key()] = true
	}
	if ours == 0 {
		all = append(all, g.none(s))
	}
	return answer(all)
}

// answer brings together what was found. Its sentence is of the first of the worst.
func answer(all []finding) canary.Answer {
	worst := slices.MaxFunc(all, func(a, b finding) int { return a.rank() - b.rank() })
	a := canary.Answer{Said: worst.said, Sentence: worst.check.Sentence, At: time.Now()}
	more := -1
	for _, f := range all {
		a.Checks = append(a.Checks, f.check)
		if f.said == worst.said && f.said != canary.Allow {
			more++
		}
	}
	// A gate that was not reached is told as such only if nothing else keeps the release.
	a.Unreached = worst.said == canary.Wait && worst.away
	switch {
	case worst.said == canary.Allow:
		a.Sentence = "Harbor has nothing against the images of this release"
	case more > 0:
		a.Sentence += fmt.Sprintf("; and %d more", more)
	}
	return a
}

func ignored(image canary.Image, registries []string) finding {
	name := shown(image.Reference)
	return finding{said: canary.Allow, check: canary.Check{
		Name: name + " is of this Harbor", Passed: true,
		Sentence: fmt.Sprintf("%s is not in %s, and not looked at", name, strings.Join(registries, " or ")),
	}}
}

// none is said where no image is of this Harbor: that nothing was found in what was not
// looked at is no pass.
func (g *Gate) none(s canary.Subject) finding {
	sentence := fmt.Sprintf("No image of this release is in %s; deploy from there, or take the gate away, or add the registry under registries in the configuration of Serin", strings.Join(g.o.Registries, " or "))
	if len(s.Canary.Images) == 0 {
		sentence = "The images of this release are not known yet"
		return finding{said: canary.Wait, check: canary.Check{Name: "images", Sentence: sentence}}
	}
	return finding{said: canary.Deny, check: canary.Check{Name: "images", Sentence: sentence}}
}

// maxArtifact bounds what Harbor says of one artifact, in bytes; an index with hundreds
// of platforms and accessories stays below.
const maxArtifact = 4 << 20

// vulnerabilityReports are the kinds of reports that are understood, the better first.
var vulnerabilityReports = []string{
	"application/vnd.security.vulnerability.report; version=1.1",
	"application/vnd.scanner.adapter.vuln.report.harbor+json; version=1.0",
}

// artifact asks for one by digest or tag.
func (g *Gate) artifact(ctx context.Context, r reference, which string) (artifact, error) {
	// A name with slashes is one element of the path, and Harbor takes it encoded twice.
	address := fmt.Sprintf("%s/api/v2.0/projects/%s/repositories/%s/artifacts/%s?with_tag=false&with_scan_overview=true&with_accessory=true&with_inherited_accessory=true",
		g.base, url.PathEscape(r.project), url.PathEscape(url.PathEscape(r.repository)), url.PathEscape(which))
	var a artifact
	err := g.client.Get(ctx, address, map[string]string{"X-Accept-Vulnerabilities": strings.Join(vulnerabilityReports, ", ")}, maxArtifact, &a)
	if err == nil && a.Digest == "" {
		err = errors.New("read the answer: it tells no digest")
	}
	if err == nil && outside.IsDigest(which) && a.Digest != which {
		err = fmt.Errorf("read the answer: it tells of the artifact %s", short(a.Digest))
	}
	return a, err
}
