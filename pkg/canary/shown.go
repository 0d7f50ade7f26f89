package canary

import (
	"fmt"
	"strconv"
	"strings"
)

// This file holds the words that are the same wherever a View is shown.

// Share is what a step gives the canary, as people write it in an annotation: 25%, or
// mirror 10%.
func (s StepView) Share() string {
	if s.Mirror > 0 {
		return fmt.Sprintf("mirror %d%%", s.Mirror)
	}
	return fmt.Sprintf("%d%%", s.Weight)
}

// StepWords names a step, 1-based, with its share where that is known: step 2 (25%).
// 0 is the start.
func (v View) StepWords(step int) string {
	switch {
	case step == 0:
		return "the start"
	case step > len(v.Path) || step < 0:
		return fmt.Sprintf("step %d", step)
	}
	return fmt.Sprintf("step %d (%s)", step, v.Path[step-1].Share())
}

// AwaitedWords names who or what is waited for: the gate hours, approval of step 2 (25%).
func (v View) AwaitedWords(a Awaited) string {
	switch QuestionKind(a.Kind) {
	case AwaitApproval:
		return "approval of " + v.StepWords(a.Step)
	case AskGate:
		return "the gate " + a.Name
	case AskSmoke:
		return "the smoke checks"
	case AskAlerts:
		return "Alertmanager"
	case AskEndpoints:
		return "the Service's endpoints"
	case AskSeries:
		return "stable's series"
	}
	return a.Kind
}

// AwaitedWhy is what was said of what is waited for, beside its name; empty where the
// View's own sentence says it, or where there is no more to say.
func (v View) AwaitedWhy(a Awaited) string {
	step := v.StepWords(a.Step)
	plain := a.Kind == AwaitApproval && strings.HasPrefix(a.Sentence, "S"+step[1:]+" waits for approval")
	if plain || strings.Contains(v.Sentence, a.Sentence) {
		return ""
	}
	return a.Sentence
}

// AwaitsApproval tells that a person's yes is all, or a part of what is waited for.
func (v View) AwaitsApproval() bool {
	for _, a := range v.Awaits {
		if a.Kind == AwaitApproval {
			return true
		}
	}
	return false
}

// LeftWords says what became of the version that users have left: it still gets
// requests, or may be removed. Empty where nothing is known.
func (v View) LeftWords() string {
	switch {
	case v.Residual > 0:
		return fmt.Sprintf("%s still gets %s requests/s, though no route leads to it: it must not be scaled down yet", v.ResidualOf, rate(v.Residual))
	case v.Removable != "":
		return v.Removable + " gets no requests any more: it may be scaled down or removed"
	}
	return ""
}

// rate is a number of requests per second as people write it: 0.42, 120.
func rate(perSecond float64) string {
	if perSecond >= 10 {
		return strconv.FormatFloat(perSecond, 'f', 0, 64)
	}
	return strconv.FormatFloat(max(perSecond, 0.01), 'g', 2, 64)
}

// shortDigest is how much of a digest is shown to tell images apart, in hex digits.
const shortDigest = 12

// Name is the image as the pod template names it, without a digest.
func (i Image) Name() string {
	name, _, _ := strings.Cut(i.Reference, "@")
	return name
}

// ShortDigest is the beginning of the digest that pods report, or that the template
// names; empty where there is none.
func (i Image) ShortDigest() string {
	digest := i.Digest
	if digest == "" {
		_, digest, _ = strings.Cut(i.Reference, "@")
	}
	if _, hex, found := strings.Cut(digest, ":"); found {
		digest = hex
	}
	return digest[:min(len(digest), shortDigest)]
}

// Words are the image with what is known of it: shop/web:1.4.2, 9f2b6c1d0e4a,
// revision ab12cd3. The registry, and a version that the tag says already, are left out.
func (i Image) Words() string {
	name := i.Name()
	if host, rest, found := strings.Cut(name, "/"); found && (strings.ContainsAny(host, ".:") || host == "localhost") {
		name = rest
	}
	parts := []string{name}
	add := func(head, text string) {
		if text != "" {
			parts = append(parts, head+text)
		}
	}
	add("", i.ShortDigest())
	if tag := name[strings.LastIndexAny(name, ":/")+1:]; strings.TrimPrefix(tag, "v") != strings.TrimPrefix(i.Version, "v") {
		add("version ", i.Version)
	}
	revision := i.Revision
	if len(revision) == 40 && strings.Trim(revision, "0123456789abcdef") == "" {
		revision = revision[:shortDigest] // of git
	}
	add("revision ", revision)
	return strings.Join(parts, ", ")
}
