package annotation

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"serin.dev/serin/pkg/canary"
)

// none is what keys say that switch something off.
const none = "none"

const approvalMend = `write none, every-step, or one or both of "test, promotion"`

// parseApproval reads whose approval a release waits for. Every-step is all there is,
// so that the others say nothing beside it.
func parseApproval(value string, d *draft) []fault {
	if value == none {
		d.spec.Approval = nil
		return nil
	}
	choices := []string{canary.ApproveTest, canary.ApproveSteps, canary.ApprovePromotion}
	points := list(value)
	var faults []fault
	for i, point := range points {
		switch {
		case point == none:
			faults = append(faults, fault{`has "none" beside others`, "write it alone, or take it away"})
		case !slices.Contains(choices, point):
			faults = append(faults, fault{fmt.Sprintf("has %q, which is none of the choices", shorten(point)), meant(point, choices, approvalMend)})
		case slices.Contains(points[:i], point):
			faults = append(faults, fault{fmt.Sprintf("has %q twice", point), "write each once"})
		}
	}
	if faults != nil {
		return faults
	}
	d.spec.Approval = slices.DeleteFunc(choices, func(choice string) bool { return !slices.Contains(points, choice) })
	if slices.Contains(points, canary.ApproveSteps) {
		d.spec.Approval = []string{canary.ApproveSteps}
	}
	return nil
}

const tagsMend = `write named, semver, any, or a regular expression for the whole tag, like "regex:v[0-9]+"`

func parseTags(value string, d *draft) []fault {
	if pattern, is := strings.CutPrefix(value, canary.TagsRegex); is {
		pattern = strings.TrimSpace(pattern)
		d.spec.Tags = canary.TagsRegex + pattern
		return checkPattern(pattern, `write an RE2 expression for the whole tag, like "regex:v[0-9]+"`)
	}
	choices := map[string]string{"any": "", canary.TagsNamed: canary.TagsNamed, canary.TagsSemVer: canary.TagsSemVer}
	tags, is := choices[value]
	if !is {
		return one("is none of the choices", meant(value, []string{canary.TagsNamed, canary.TagsSemVer, "any"}, tagsMend))
	}
	d.spec.Tags = tags
	return nil
}

// Bounds of capacity, in the traffic of one stable pod.
const (
	minCapacity = 0.1
	maxCapacity = 100.0
)

func parseCapacity(value string, d *draft) []fault {
	const mend = `write how many times a stable pod's traffic, like "2x", or none`
	if value == none {
		d.spec.Capacity = 0
		return nil
	}
	times, ok := Number(value, "x")
	switch {
	case !ok:
		return one("is no number of times", mend)
	case times < minCapacity || times > maxCapacity:
		return one(fmt.Sprintf("is not between %gx and %gx", minCapacity, maxCapacity), mend)
	}
	d.spec.Capacity = times
	return nil
}

// mostRestarts is far above what anybody would call a release that goes well.
const mostRestarts = 1000

var wholeNumber = regexp.MustCompile(`^[0-9]{1,6}$`)

func parseMaxRestarts(value string, d *draft) []fault {
	if value == none {
		d.spec.MaxRestarts = 0
		return nil
	}
	restarts, err := strconv.Atoi(value)
	if err != nil || !wholeNumber.MatchString(value) || restarts < 1 || restarts > mostRestarts {
		return one(fmt.Sprintf("is no whole number from 1 to %d", mostRestarts), `write the count of restarts that ends a release, like "3", or none`)
	}
	d.spec.MaxRestarts = restarts
	return nil
}
