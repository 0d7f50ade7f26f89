package annotation

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/judge"
)

// Bounds of values. A whole spec has to fit into the state on a VirtualService.
const (
	maxValue    = 512
	maxSteps    = 20
	maxMirrors  = 3
	minBake     = time.Second
	maxBake     = 7 * day
	maxDeadline = 30 * day
	minP99      = time.Millisecond
	maxP99      = time.Hour
	maxRatio    = 100.0
)

const day = 24 * time.Hour

// What the key canary may say.
const (
	yes     = "true"
	no      = "false"
	observe = "observe"
)

func parseCanary(value string, _ *draft) []fault {
	if value != yes && value != no && value != observe {
		return one("is none of the choices", `write "true" to opt in, "observe" to only have releases judged, or "false" to opt out`)
	}
	return nil
}

func parseJudge(value string, d *draft) []fault {
	modes := []string{string(judge.ModeEvidence), string(judge.ModeThreshold)}
	if !slices.Contains(modes, value) {
		return one("is none of the choices", meant(value, modes, "write evidence or threshold"))
	}
	d.spec.Rules.Mode = judge.Mode(value)
	return nil
}

// step is a step as written: a bake of 0 stands for the common one.
type step struct {
	weight int
	bake   time.Duration
	mirror int
}

// String is the step as people write it, without its bake.
func (s step) String() string {
	if s.mirror > 0 {
		return fmt.Sprintf("mirror %d%%", s.mirror)
	}
	return fmt.Sprintf("%d%%", s.weight)
}

func resolve(written []step, bake time.Duration) (steps []canary.Step, test time.Duration) {
	for _, s := range written {
		if s.bake == 0 {
			s.bake = bake
		}
		if s.weight == 0 && s.mirror == 0 {
			test = s.bake
			continue
		}
		steps = append(steps, canary.Step{Weight: s.weight, Bake: s.bake, Mirror: s.mirror})
	}
	return steps, test
}

const (
	stepsMend  = `write ascending shares, like "5%, 25%, 100%" or "5%/10m, 100%"`
	mirrorMend = `write at most 3 ascending shares of copies before all users' shares, like "mirror 10%/5m, 5%, 100%"`
)

func parseSteps(value string, d *draft) []fault {
	parts := list(value)
	if len(parts) > maxSteps {
		return one(fmt.Sprintf("has %d steps, at most %d are allowed", len(parts), maxSteps), stepsMend)
	}
	var faults []fault
	steps := make([]step, 0, len(parts))
	for _, part := range parts {
		s, wrong := parseStep(part)
		faults = append(faults, wrong...)
		if wrong == nil {
			steps = append(steps, s)
		}
	}
	if faults == nil {
		faults = order(steps)
	}
	if faults == nil {
		d.steps = steps
	}
	return faults
}

var wholePercent = regexp.MustCompile(`^[0-9]{1,3}%$`)

func parseStep(part string) (step, []fault) {
	share, bake, timed := strings.Cut(part, "/")
	share, bake = strings.TrimSpace(share), strings.TrimSpace(bake)
	mend := stepsMend
	copied, isMirror := strings.CutPrefix(share, "mirror ")
	if isMirror {
		share, mend = strings.TrimSpace(copied), mirrorMend
	}
	if !wholePercent.MatchString(share) {
		return step{}, one(fmt.Sprintf("has the step %q, which is no whole percent", part), mend)
	}
	percent, _ := strconv.Atoi(strings.TrimSuffix(share, "%"))
	s := step{weight: percent}
	if isMirror {
		s = step{mirror: percent}
	}
	switch {
	case percent > 100:
		return step{}, one(fmt.Sprintf("has the step %q above 100%%", part), mend)
	case isMirror && percent == 0:
		return step{}, one(fmt.Sprintf("has the step %q, which copies nothing", part), mend)
	case !timed:
		return s, nil
	}
	t, err := Duration(bake, minBake, maxBake)
	if err != nil {
		return step{}, one(fmt.Sprintf("has the step %q, whose bake %s", part, err), `write a bake like "10m" behind the slash`)
	}
	s.bake = t
	return s, nil
}

// order demands ascending weights that end at 100, and ascending mirrors before them;
// testers may come before those.
func order(steps []step) []fault {
	var faults []fault
	mirrors := 0
	for i, here := range steps {
		if here.mirror > 0 {
			mirrors++
		}
		if i == 0 {
			continue
		}
		before, mend := steps[i-1], stepsMend
		if here.mirror > 0 {
			mend = mirrorMend
		}
		switch {
		case here.mirror > 0 && (before.weight > 0 || before.mirror >= here.mirror),
			here.mirror == 0 && before.mirror > 0 && here.weight == 0,
			here.mirror == 0 && before.mirror == 0 && here.weight <= before.weight:
			faults = append(faults, fault{fmt.Sprintf("goes from %s to %s", before, here), mend})
		}
	}
	if mirrors > maxMirrors {
		faults = append(faults, fault{fmt.Sprintf("has %d steps of copies", mirrors), mirrorMend})
	}
	if last := steps[len(steps)-1]; last.weight != 100 {
		faults = append(faults, fault{fmt.Sprintf("ends at %s", last), `add "100%" as the last step`})
	}
	return faults
}

func parseBake(value string, d *draft) []fault {
	return parseDuration(value, minBake, maxBake, "10m", &d.bake)
}

func parseStepDeadline(value string, d *draft) []fault {
	return parseDuration(value, minBake, maxDeadline, "30m", &d.spec.StepDeadline)
}

const p99Mend = `write a limit like "500ms", or one that also compares with stable, like "500ms, 1.5x"`

func parseMaxP99(value string, d *draft) []fault {
	parts := list(value)
	if _, isRatio := Number(parts[0], "x"); isRatio && len(parts) == 1 {
		return one("compares with stable and has no limit", p99Mend)
	}
	if len(parts) > 2 {
		return one("has more than a limit and a multiple", p99Mend)
	}
	limit, err := Duration(parts[0], minP99, maxP99)
	var faults []fault
	if err != nil {
		faults = append(faults, fault{err.Error(), p99Mend})
	}
	ratio, wrong := multiple(parts[1:], p99Mend)
	faults = append(faults, wrong...)
	if faults == nil {
		l := &d.spec.Limits
		l.P99, l.P99Ratio, l.DefaultP99 = limit, ratio, false
	}
	return faults
}

// multiple reads how many times stable's value is the most; 0 where it isn't given.
func multiple(parts []string, mend string) (float64, []fault) {
	if len(parts) == 0 {
		return 0, nil
	}
	ratio, ok := Number(parts[0], "x")
	switch {
	case !ok:
		return 0, one(fmt.Sprintf("has the multiple %q, which is no number of times", parts[0]), mend)
	case ratio < 1 || ratio > maxRatio:
		return 0, one(fmt.Sprintf("has the multiple %s, which is not between 1x and %gx", parts[0], maxRatio), mend)
	}
	return ratio, nil
}

func parseDuration(value string, least, most time.Duration, example string, into *time.Duration) []fault {
	t, err := Duration(value, least, most)
	if err != nil {
		return one(err.Error(), fmt.Sprintf("write for example %q", example))
	}
	*into = t
	return nil
}

var days = regexp.MustCompile(`^([0-9]{1,5})d(.*)$`)

// Duration reads Go's durations, and whole days before them: 1d12h. The error
// says what is wrong as the rest of a sentence: "has no unit (...)".
func Duration(value string, least, most time.Duration) (time.Duration, error) {
	rest, total := value, time.Duration(0)
	if m := days.FindStringSubmatch(value); m != nil {
		n, _ := strconv.Atoi(m[1])
		total, rest = time.Duration(n)*day, m[2]
	}
	if rest != "" {
		t, err := time.ParseDuration(rest)
		switch {
		case err != nil && decimal.MatchString(value):
			return 0, fmt.Errorf("has no unit (ms, s, m, h or d)")
		case err != nil || strings.ContainsAny(rest, "+-") && total > 0:
			return 0, fmt.Errorf("is no duration")
		}
		total += t
	}
	if total < least || total > most {
		return 0, fmt.Errorf("is not between %s and %s", show(least), show(most))
	}
	return total, nil
}

// show writes a duration as people do: 1d12h, 30m, 500ms.
func show(t time.Duration) string {
	n, rest := t/day, t%day
	switch {
	case n > 0 && rest == 0:
		return fmt.Sprintf("%dd", n)
	case n > 0:
		return fmt.Sprintf("%dd%s", n, show(rest))
	}
	return judge.Duration(rest)
}

var decimal = regexp.MustCompile(`^[0-9]{1,4}(\.[0-9]{1,4})?$`)

const errorRateMend = `write a limit like "1%", or one that also compares with stable, like "1%, 2x"`

func parseMaxErrorRate(value string, d *draft) []fault {
	parts := list(value)
	if len(parts) > 2 {
		return one("has more than a limit and a multiple", errorRateMend)
	}
	var faults []fault
	percent, ok := Number(parts[0], "%")
	switch {
	case !ok:
		faults = append(faults, fault{fmt.Sprintf("has the limit %q, which is no percentage", parts[0]), errorRateMend})
	case percent <= 0 || percent >= 100:
		faults = append(faults, fault{fmt.Sprintf("has the limit %s, which is not between 0%% and 100%%", parts[0]), errorRateMend})
	}
	ratio, wrong := multiple(parts[1:], errorRateMend)
	faults = append(faults, wrong...)
	if faults == nil {
		l := &d.spec.Limits
		l.ErrorRate, l.ErrorRatio, l.DefaultErrorRate = percent/100, ratio, false
	}
	return faults
}

// Number reads a plain decimal with its unit behind it, like 1.5x or 99.95%: at most
// four digits before and four after the point.
func Number(text, unit string) (float64, bool) {
	digits, found := strings.CutSuffix(text, unit)
	digits = strings.TrimSpace(digits)
	if !found || !decimal.MatchString(digits) {
		return 0, false
	}
	n, err := strconv.ParseFloat(digits, 64)
	return n, err == nil
}

func parseOnInconclusive(value string, d *draft) []fault {
	choices := []string{canary.Proceed, canary.HoldInconclusive, canary.RollBack}
	if !slices.Contains(choices, value) {
		return one("is none of the choices", meant(value, choices, "write proceed, hold or rollback"))
	}
	d.spec.OnInconclusive = value
	return nil
}

func parseSticky(value string, d *draft) []fault {
	choices := []string{canary.StickyCookie, "none"}
	if !slices.Contains(choices, value) {
		return one("is none of the choices", meant(value, choices, "write cookie or none"))
	}
	d.spec.Sticky = ""
	if value == canary.StickyCookie {
		d.spec.Sticky = canary.StickyCookie
	}
	return nil
}

func parseMode(value string, d *draft) []fault {
	choices := []string{canary.ModePair, canary.ModeInPlace}
	if !slices.Contains(choices, value) {
		return one("is none of the choices", meant(value, choices, "write pair or in-place, or take the key away to have it discovered"))
	}
	d.spec.Mode = value
	return nil
}

func parseOnRollback(value string, d *draft) []fault {
	choices := []string{canary.KeepTemplate, canary.RestoreTemplate}
	if !slices.Contains(choices, value) {
		return one("is none of the choices", meant(value, choices, "write keep or restore"))
	}
	d.spec.OnRollback = value
	return nil
}

const incidentMend = `write hold or rollback, with a time before it if you like: "30m, hold"`

func parseOnSharedIncident(value string, d *draft) []fault {
	parts := list(value)
	if len(parts) > 2 {
		return one("has more than a time and what happens then", incidentMend)
	}
	p := canary.Patience{Wait: d.spec.SharedIncident.Wait, Then: parts[len(parts)-1]}
	choices := []string{canary.HoldInconclusive, canary.RollBack}
	var faults []fault
	if !slices.Contains(choices, p.Then) {
		faults = append(faults, fault{fmt.Sprintf("ends with %q, which is none of the choices", p.Then), meant(p.Then, choices, incidentMend)})
	}
	if len(parts) == 2 {
		wait, err := Duration(parts[0], minBake, maxDeadline)
		if err != nil {
			faults = append(faults, fault{fmt.Sprintf("has the time %q, which %s", parts[0], err), incidentMend})
		}
		p.Wait = wait
	}
	if faults == nil {
		d.spec.SharedIncident = p
	}
	return faults
}

// meant is a mend that names the nearest choice, if one is near.
func meant(value string, choices []string, otherwise string) string {
	if near := canary.Suggest(value, choices); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return otherwise
}

// list splits at commas and trims; it always has at least one part.
func list(value string) []string {
	parts := strings.Split(value, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}
