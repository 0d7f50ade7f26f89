package harbor

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/gate/outside"
	"serin.dev/serin/pkg/safetext"
)

// artifact is one as API v2.0 tells it, as far as it is of use here.
type artifact struct {
	Digest     string            `json:"digest"`
	References []child           `json:"references"` // of an index: its platforms
	Overview   map[string]report `json:"scan_overview"`
	// Accessories are its own; Inherited are of the indexes in which it is, told by
	// newer versions of Harbor.
	Accessories []accessory `json:"accessories"`
	Inherited   []accessory `json:"inherited_accessories"`
}

type child struct {
	Digest string `json:"child_digest"`
}

type accessory struct {
	Type string `json:"type"`
}

// report is the summary of a scan.
type report struct {
	Status string    `json:"scan_status"`
	Ended  time.Time `json:"end_time"`
	// Complete is the share of an index's platforms that were scanned, in percent. Harbor
	// calls the scan a success as soon as one of them was. 0 where it isn't told.
	Complete int `json:"complete_percent"`
	Summary  *struct {
		Total int            `json:"total"`
		Count map[string]int `json:"summary"`
	} `json:"summary"`
}

// The states of a scan that matter; the others are on the way to one of these.
const (
	scanSucceeded = "Success"
	scanFailed    = "Error"
	scanStopped   = "Stopped"
)

// scan is the report that is understood best. There is none of what was never scanned.
func (a artifact) scan() (report, bool) {
	for _, kind := range vulnerabilityReports {
		if r, is := a.Overview[kind]; is {
			return r, true
		}
	}
	return report{}, false
}

// counts are how many vulnerabilities of each severity were found. It is false where
// the summary says that there are more than it tells.
func (r report) counts() (map[string]int, bool) {
	if r.Summary == nil {
		return nil, false
	}
	sum := 0
	for _, n := range r.Summary.Count {
		sum += n
	}
	return r.Summary.Count, sum >= r.Summary.Total
}

// signed reports whether an accessory is a signature of the sort that is asked for.
func (a artifact) signed(sort string) bool {
	wanted := map[string][]string{
		SignedAny: {"signature.cosign", "signature.notation"}, SignedCosign: {"signature.cosign"}, SignedNotary: {"signature.notation"},
	}[sort]
	is := func(b accessory) bool { return slices.Contains(wanted, b.Type) }
	return slices.ContainsFunc(a.Accessories, is) || slices.ContainsFunc(a.Inherited, is)
}

// holds reports whether the artifact is an index with this manifest.
func (a artifact) holds(digest string) bool {
	return slices.ContainsFunc(a.References, func(c child) bool { return c.Digest == digest })
}

// missing reports whether it is Harbor that says there is no such artifact. A 404 of
// something else under that address says nothing.
func missing(err error) bool {
	var refused outside.Refusal
	if !errors.As(err, &refused) || refused.Status != 404 {
		return false
	}
	var said struct {
		Errors []struct {
			Code string `json:"code"`
		} `json:"errors"`
	}
	return json.Unmarshal(refused.Body, &said) == nil && len(said.Errors) > 0 && said.Errors[0].Code == "NOT_FOUND"
}

// mend is what to do about an answer that is none.
func mend(err error) string {
	var refused outside.Refusal
	if errors.As(err, &refused) {
		switch refused.Status {
		case 401:
			return "; write the credentials of an account that Harbor knows, like a robot account, into the file"
		case 403:
			return "; give the account the permission to read artifacts of this project"
		case 404:
			return "; write the address of Harbor itself"
		}
	}
	return ""
}

// reference is an image's name in parts, and which of its versions is meant.
type reference struct {
	host, project, repository string
	tag                       string // as the template names it; may be empty
	written                   string // digest that the template names; may be empty
	runs                      string // digest that pods report; empty before they run
}

// read takes an image's name apart, as the container runtimes do: what stands before
// the first slash is a host if it looks like one. A host that the reader doesn't know
// is no mistake here.
func read(image canary.Image) reference {
	r := reference{runs: image.Digest}
	name := image.Reference
	if before, digest, is := strings.Cut(name, "@"); is {
		name, r.written = before, digest
	}
	first, rest, slash := strings.Cut(name, "/")
	if slash && (strings.ContainsAny(first, ".:") || first == "localhost") {
		r.host, name = first, rest
	}
	if at := strings.LastIndexByte(name, ':'); at >= 0 {
		name, r.tag = name[:at], name[at+1:]
	}
	r.project, r.repository, _ = strings.Cut(name, "/")
	return r
}

// valid reports whether the reference names an artifact of Harbor. What is written
// otherwise is no image, and could lead to something else in Harbor's API.
func (r reference) valid() bool {
	return !strings.Contains(r.project, "/") && outside.IsRepository(r.project) && outside.IsRepository(r.repository) &&
		(r.tag == "" || outside.IsTag(r.tag)) && (r.written == "" || outside.IsDigest(r.written)) && (r.runs == "" || outside.IsDigest(r.runs))
}

// key is the same for containers of the same image.
func (r reference) key() string {
	return strings.Join([]string{r.host, r.project, r.repository, r.tag, r.written, r.runs}, " ")
}

// which is what Harbor is asked for: the digest that runs, else what the template
// names, and then latest, as the runtimes do.
func (r reference) which() string {
	switch {
	case r.runs != "":
		return r.runs
	case r.written != "":
		return r.written
	case r.tag != "":
		return r.tag
	}
	return "latest"
}

// byTag reports whether only a tag tells what is meant.
func (r reference) byTag() bool { return r.runs == "" && r.written == "" }

// name is how the image is called in sentences: its repository and what was asked for.
func (r reference) name() string {
	which := r.which()
	if digest, is := strings.CutPrefix(which, "sha256:"); is {
		return shown(r.project + "/" + r.repository + "@" + digest[:min(len(digest), 12)])
	}
	return shown(r.project + "/" + r.repository + ":" + which)
}

// shown is a name of others in a sentence.
func shown(name string) string {
	const most = 120 // bytes
	name = safetext.Line(name)
	if len(name) <= most {
		return name
	}
	return strings.ToValidUTF8(name[:most], "") + "..."
}
