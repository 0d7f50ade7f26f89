package annotation

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"serin.dev/serin/pkg/canary"
)

const (
	maxLabel           = 63
	maxSubdomain       = 253
	maxVirtualServices = 16
)

var (
	label     = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	subdomain = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)
	commandID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
)

func isLabel(name string) bool { return len(name) <= maxLabel && label.MatchString(name) }

func parseService(value string, d *draft) []fault {
	if first, _, dotted := strings.Cut(value, "."); dotted && isLabel(first) {
		return one("is a host name", fmt.Sprintf("write the Service's name alone, %q; it is of the Deployment's namespace", first))
	}
	if !isLabel(value) {
		return one("is no name of a Service", `write a name of lower-case letters, digits and "-", like "web"`)
	}
	d.spec.Service = value
	return nil
}

func parseVirtualServices(value string, d *draft) []fault {
	const mend = `write names, comma-separated, like "web, web-gateway"`
	names := list(value)
	if len(names) > maxVirtualServices {
		return one(fmt.Sprintf("has %d names, at most %d are allowed", len(names), maxVirtualServices), mend)
	}
	var faults []fault
	for i, name := range names {
		switch {
		case len(name) > maxSubdomain || !subdomain.MatchString(name):
			faults = append(faults, fault{fmt.Sprintf("has %q, which is no name of a VirtualService", shorten(name)), mend})
		case slices.Contains(names[:i], name):
			faults = append(faults, fault{fmt.Sprintf("has %q twice", name), "write each name once"})
		}
	}
	if faults == nil {
		d.spec.VirtualServices = names
	}
	return faults
}

func parseStableSubset(value string, d *draft) []fault {
	return parseSubset(value, &d.spec.StableSubset)
}

func parseCanarySubset(value string, d *draft) []fault {
	return parseSubset(value, &d.spec.CanarySubset)
}

func parseSubset(value string, into *string) []fault {
	if !isLabel(value) {
		return one("is no name of a subset", `write a name of lower-case letters, digits and "-", like "v2"`)
	}
	*into = value
	return nil
}

// Levels hold while they stand, verbs act once and so need an id.
var (
	levels = []string{canary.CommandAbort, canary.CommandPause}
	verbs  = []string{canary.CommandPromote, canary.CommandResume, canary.CommandRetry, canary.CommandSkip, canary.CommandApprove, canary.CommandRollback}
)

func parseCommand(value string, d *draft) []fault {
	verb, id, withID := strings.Cut(value, "#")
	verb = strings.TrimSpace(verb)
	level := slices.Contains(levels, verb)
	switch {
	case level && withID:
		return one("has an id, though it is in force as long as it stands", fmt.Sprintf("write %q", verb))
	case level:
		d.command = &canary.Command{Verb: verb}
		return nil
	case !slices.Contains(verbs, verb):
		return one("is no command of this release", meant(verb, slices.Concat(levels, verbs),
			"write abort, pause, or one of promote, resume, retry, skip, approve and rollback with an id, like "+`"promote #1"`))
	case !withID:
		return one("has no id, so nobody could tell it from an order already carried out", fmt.Sprintf("write %q, with a new id each time", verb+" #1"))
	case !commandID.MatchString(id):
		return one(`has an id that is not 1 to 64 letters, digits, ".", "_" or "-"`, fmt.Sprintf("write for example %q", verb+" #1"))
	}
	d.command = &canary.Command{Verb: verb, ID: id}
	return nil
}

// person is a user's name as it can stand in a sentence. Nothing goes by it, so that
// no name is a mistake: what is not to be printed is left out, and the end of a name
// longer than most.
func person(name string) string {
	const most = 100 // bytes; the longest name of a ServiceAccount is longer, and rare
	name = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, ""))
	return strings.TrimSpace(shortenTo(name, most))
}
