package canary

// view shows a state with the reason of the moment.
func (m moment) view(s State, shown Phase, r Reason, sentence string) View {
	v := m.o.Verdict
	return View{
		Canary: m.o.Tracks.Canary, Stable: m.o.Tracks.Stable,
		Phase: shown, Step: s.Step, Steps: len(m.spec.Steps), Weight: s.Weight,
		Reason: r, Sentence: sentence, Since: s.Since, Moved: s.Reason, Started: s.Started, Rollout: s.Rollout,
		Findings: m.o.Findings,
		Verdict: VerdictView{
			Kind: string(v.Kind), Reason: string(v.Reason), Sentence: v.Sentence,
			StableRequests: v.Stable.Requests, CanaryRequests: v.Canary.Requests,
			StableErrors: v.Stable.Errors, CanaryErrors: v.Canary.Errors,
			StableRate: v.Stable.Rate, CanaryRate: v.Canary.Rate,
			StableP99: v.Stable.P99, CanaryP99: v.Canary.P99,
			Covered: v.Covered,
			Metrics: v.Metrics, Against: v.Against, For: v.For, RollbackAt: v.RollbackAt, PromoteAt: v.PromoteAt,
			More: v.More, MoreTime: v.MoreTime, Open: v.Open,
		},
	}
}
