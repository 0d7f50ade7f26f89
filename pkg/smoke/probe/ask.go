package probe

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/smoke"
)

// Ask runs a team's smoke checks: on the canary's pods, and after a rollback on
// stable's. A check that fails denies, also where a pod's port refused the connection
// for as long as a check may take: the pod is Ready, so that users would find the same.
// Where there is no pod, or no connection for another reason than that, nothing is known
// of the version, and the release waits.
func (p *Prober) Ask(ctx context.Context, q canary.Question, s canary.Subject) canary.Answer {
	party := s.Canary
	if q.Stage == canary.AfterRollback {
		party = s.Stable
	}
	checks, mistakes := smoke.Parse(s.Smoke)
	if len(mistakes) > 0 {
		return wait("The smoke checks can't be read: %s", mistakes[0].Error())
	}
	targets, all := targetsOf(party)
	if len(targets) == 0 {
		return wait("No ready pod of %s has an address to run the smoke checks on", party.Deployment)
	}
	host := ""
	if p.options.Domain != "" {
		host = s.Service + "." + s.Namespace + ".svc." + p.options.Domain
	}
	results, failed, err := p.Run(ctx, Batch{Checks: checks, Targets: targets, Host: host, Rollout: q.Rollout})
	if err != nil {
		return wait("The smoke checks didn't run: %v", err)
	}
	return answer(results, failed, len(targets), all)
}

func wait(format string, args ...any) canary.Answer {
	return canary.Answer{Said: canary.Wait, Unreached: true, At: time.Now(), Sentence: fmt.Sprintf(format, args...)}
}

// targetsOf are the pods that are asked, and how many there are.
func targetsOf(party canary.Party) (targets []Target, all int) {
	for i, address := range party.Addresses {
		if at, err := netip.ParseAddrPort(address); err != nil || at.Port() == 0 {
			continue
		}
		t := Target{Pod: address, Address: address}
		if len(party.Pods) == len(party.Addresses) {
			t.Pod = party.Pods[i]
		}
		targets = append(targets, t)
	}
	slices.SortFunc(targets, func(a, b Target) int { return strings.Compare(a.Pod, b.Pod) })
	return targets[:min(len(targets), MaxPods)], len(targets)
}

// answer is what results come to; failed is the first that failed, -1 where none did.
func answer(results []canary.Check, failed, pods, all int) canary.Answer {
	passed := 0
	for _, r := range results {
		if r.Passed {
			passed++
		}
	}
	on := fmt.Sprintf("on %d pods", pods)
	switch {
	case all > pods:
		on = fmt.Sprintf("on %d of %d pods", pods, all)
	case pods == 1:
		on = "on 1 pod"
	}
	a := canary.Answer{Said: canary.Allow, At: time.Now(), Checks: results, Sentence: fmt.Sprintf("All %d smoke checks passed, %s", passed, on)}
	if passed == 1 {
		a.Sentence = "The smoke check passed, " + on
	}
	if failed >= 0 {
		a.Said = canary.Deny
		a.Sentence = fmt.Sprintf("Smoke check failed: %s: %s (%d of %d passed)", results[failed].Name, results[failed].Sentence, passed, len(results))
	}
	return a
}
