// Package judge turns what two versions of a service did into a verdict:
// promote, hold or roll back. It is pure: it does no I/O and never asks the
// clock, so that the same blocks always give the same verdict, live or replayed.
//
// A Case is opened with Settings for a release, is given what stable did before
// (Before), then closed Blocks in the order of time (Fold), and may be asked for
// its Verdict at any time. Read on in this order:
//
//   - block.go, settings.go, verdict.go: the words.
//   - case.go: the life of a case; ledger.go: which blocks were accepted.
//   - threshold.go: the classic mode, a limit exceeded in several checks in a row.
//   - evidence.go: the other mode, what is folded for each metric, and combine.go:
//     how it adds up, and what it rules.
//
// Evidence is wealth: what one who bet against the canary being healthy would
// have made of 1. While the canary is healthy, such a bet is fair at best, and
// the chance that it ever grows a hundredfold is one in a hundred (Ville 1939),
// however often one looks. Hence a verdict may fall at any block.
//
//   - limit.go: bets that a share of bad requests exceeds its limit.
//   - relative.go: bets that the canary is worse than stable.
//   - onset.go: bets that it began just now, and how they are spread over time.
//   - bursts.go: failures that hang together, which count less.
//   - promote.go: bets that the canary is good.
//   - metric.go, custom.go: what is known of one kind of bad request.
//   - shared.go: incidents of both versions; starved.go: requests that hang;
//     drift.go: growth that leads to a limit.
//   - baseline.go: what stable did before; confidence.go: where the truth lies.
//
// Sentences are made in threshold_words.go and evidence_words.go.
package judge
