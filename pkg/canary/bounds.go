package canary

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"serin.dev/serin/pkg/judge"
)

// The shortest and the longest blocks by which a release is judged: below the
// first the closing times of blocks are mostly waiting, beyond the last nobody
// waits for a verdict.
const (
	LeastWidth = time.Second
	MostWidth  = 10 * time.Minute
)

// MaxMetrics is how many of the operator's metrics a release may be judged by.
const MaxMetrics = 8

// mostWrites is above every sequence, and what every program that reads JSON can
// tell from the one after it.
const mostWrites = 1 << 53

// longest is above every duration that annotations and configuration can give.
const longest = 366 * 24 * time.Hour

var (
	nameForm    = regexp.MustCompile(`^[A-Za-z0-9._-]{0,253}$`)
	markForm    = regexp.MustCompile(`^([0-9a-f]{8})?$`)
	handledForm = regexp.MustCompile(`^[A-Za-z0-9._#-]{0,253}$`) // verb#id
	wordForm    = regexp.MustCompile(`^[A-Za-z]{0,64}$`)
)

// CheckRelease finds what in the record of a release no Serin writes. A record is
// an object that others can write too.
func CheckRelease(r Release) error { return r.Resting().check() }

// checkBounds finds numbers and names in a state that no Serin writes. Whoever may
// edit a VirtualService can write any state on it, and it is read by the process
// that serves everybody: what is out of bounds must not get to arithmetic, to a
// metric's label or to a query. What was left out is zero, and within bounds.
func (s State) checkBounds() error {
	c := checker{}
	for _, n := range []struct{ field, value string }{
		{"rollout", s.Rollout},
		{"canary.d", s.Canary.Deployment}, {"canary.s", s.Canary.Subset}, {"canary.t", s.Canary.Template}, {"canary.p", s.Canary.Pods},
		{"stable.d", s.Stable.Deployment}, {"stable.s", s.Stable.Subset}, {"stable.t", s.Stable.Template}, {"stable.p", s.Stable.Pods},
	} {
		c.need(nameForm.MatchString(n.value), "%s is %q, no name", n.field, shorten(n.value, 64))
	}
	c.need(handledForm.MatchString(s.Handled), "handled is %q, no command with an id", shorten(s.Handled, 64))
	c.need(markForm.MatchString(s.HandledOn) && markForm.MatchString(s.Beside), "handledOn is %q and beside %q, no marks", shorten(s.HandledOn, 64), shorten(s.Beside, 64))
	c.need(wordForm.MatchString(string(s.Reason)), "reason is %q, no word", shorten(string(s.Reason), 64))
	c.need(s.Width == 0 || s.Width >= LeastWidth && s.Width <= MostWidth && s.Width%time.Millisecond == 0,
		"width is %s, must be %s to %s in whole milliseconds", s.Width, LeastWidth, MostWidth)
	c.within("peak", s.Peak, 100)
	c.need(s.Sequence <= mostWrites, "seq is %d, above %d", s.Sequence, int64(mostWrites))
	c.need(s.Reverts >= 0, "reverts is %d, must be 0 or more", s.Reverts)
	c.spec(s.Spec)
	c.outside(s)
	return errors.Join(c...)
}

// most bounds for what is asked outside.
const (
	mostPods     = 1_000_000
	mostText     = 1000 // bytes of what a team wrote
	mostGates    = 16
	mostCapacity = 1000
)

// outside checks what came with what is asked outside.
func (c *checker) outside(s State) {
	spec := s.Spec
	c.need(len(s.Approvals) <= MaxApprovals, "approvals are %d, at most %d are kept", len(s.Approvals), MaxApprovals)
	for _, a := range s.Approvals {
		c.need(a.Step >= 0 && a.Step <= 100 && len(a.By) <= maxApprover, "an approval is of step %d by %q", a.Step, shorten(a.By, maxApprover))
	}
	c.within("base.r", s.Base.Ready, mostPods)
	c.within("base.x", s.Base.Restarts, mostPods)
	c.within("base.k", s.Base.Killed, mostPods)
	c.need(len(s.Base.Images) <= lengthOfIdentity, "base.i is %q, no mark of ours", shorten(s.Base.Images, 64))
	c.need(len(s.Unverified) <= MaxMessageBytes, "unverified has %d bytes, at most %d", len(s.Unverified), MaxMessageBytes)
	for _, whose := range spec.Approval {
		c.need(slices.Contains([]string{ApproveTest, ApproveSteps, ApprovePromotion}, whose), "approval is %q, none of ours", shorten(whose, 64))
	}
	c.need(len(spec.Gates) <= mostGates, "gates are %d, at most %d are asked", len(spec.Gates), mostGates)
	for _, g := range spec.Gates {
		c.need(g.Name != "" && nameForm.MatchString(g.Name), "gate %q is no name", shorten(g.Name, 64))
		for _, stage := range g.Stages {
			c.need(slices.Contains(GateStages, stage), "gate %s is asked at %q, no moment of a release", shorten(g.Name, 64), shorten(string(stage), 64))
		}
	}
	c.need(len(spec.Smoke) <= MaxSmokeBytes, "smoke has %d bytes, at most %d", len(spec.Smoke), MaxSmokeBytes)
	c.need(len(spec.Alerts) <= mostText && len(spec.Tags) <= mostText, "alerts has %d and tags %d bytes, at most %d each", len(spec.Alerts), len(spec.Tags), mostText)
	c.need(spec.Capacity >= 0 && spec.Capacity <= mostCapacity, "capacity is %v, must be 0 to %d", spec.Capacity, mostCapacity)
	c.within("restarts", spec.MaxRestarts, mostPods)
	c.need(spec.Sticky == "" || spec.Sticky == StickyCookie, "sticky is %q, none of ours", shorten(spec.Sticky, 64))
	for i, step := range spec.Steps {
		c.within(fmt.Sprintf("step %d's mirror", i+1), step.Mirror, 100)
	}
}

// checker gathers mistakes.
type checker []error

func (c *checker) need(holds bool, format string, args ...any) {
	if !holds {
		*c = append(*c, fmt.Errorf(format, args...))
	}
}

func (c *checker) within(field string, n, most int) {
	c.need(n >= 0 && n <= most, "%s is %d, must be 0 to %d", field, n, most)
}

func (c *checker) lasts(field string, d time.Duration) {
	c.need(d >= 0 && d <= longest, "%s is %s, must be 0 to %s", field, d, longest)
}

// share needs a number from 0 to 1.
func (c *checker) share(field string, x float64) {
	c.need(x >= 0 && x <= 1, "%s is %v, must be 0 to 1", field, x)
}

func (c *checker) spec(s Spec) {
	for i, step := range s.Steps {
		c.within(fmt.Sprintf("step %d's weight", i+1), step.Weight, 100)
		c.lasts(fmt.Sprintf("step %d's bake", i+1), step.Bake)
	}
	c.lasts("test", s.Test)
	c.lasts("stepDeadline", s.StepDeadline)
	c.lasts("settle", s.Settle)
	c.lasts("sharedIncident.wait", s.SharedIncident.Wait)
	c.need(len(s.Custom) <= MaxMetrics, "custom has %d metrics, at most %d are judged", len(s.Custom), MaxMetrics)
	c.limits(s.Limits)
	c.rules(s.Rules)
}

func (c *checker) limits(l judge.Limits) {
	c.share("limits.errorRate", l.ErrorRate)
	c.lasts("limits.p99", l.P99)
	c.need(l.ErrorRatio >= 0, "limits.errorRatio is %v, must be 0 or more", l.ErrorRatio)
	c.need(l.P99Ratio >= 0, "limits.p99Ratio is %v, must be 0 or more", l.P99Ratio)
}

func (c *checker) rules(r judge.Rules) {
	c.share("rules.levels.alpha", r.Levels.Alpha)
	c.share("rules.levels.beta", r.Levels.Beta)
	c.share("rules.levels.floor", r.Levels.Floor)
	c.need(r.Levels.Rho >= 0, "rules.levels.rho is %v, must be 0 or more", r.Levels.Rho)
	c.need(r.Levels.Kappa >= 0, "rules.levels.kappa is %v, must be 0 or more", r.Levels.Kappa)
	c.need(r.Threshold.Checks >= 0 && r.Threshold.Requests >= 0, "rules.threshold is %+v, must be 0 or more", r.Threshold)
}
