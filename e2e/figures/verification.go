package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"serin.dev/serin/e2e/demo/shop"
)

// verified is how a rollback is verified, beside the canary's traffic.
type verified struct {
	name, namespace string
	annotations     map[string]string
}

var verifications = []verified{
	{"endpoints and series, as always", "always", nil},
	{"and three smoke checks on stable", "smoke", map[string]string{"smoke": "GET /healthz; GET / 200; GET /orders 200"}},
}

// verification measures how long it takes from the routes' way back until a rollback
// is called verified, and what each question of it took.
func verification(ctx context.Context, b *bench) (string, error) {
	out := fmt.Sprintf("\n| rollbacks at 25%% of %d requests/s, scraped every %s, %d each: least / median / greatest | routes back to verified |\n|---|---|\n", releaseRate, b.scrape, b.runs)
	for _, v := range verifications {
		var all []float64
		for _, namespace := range numbered("verify-"+v.namespace, b.runs) {
			took, err := b.rollBack(ctx, namespace, v.annotations)
			if err != nil {
				return "", err
			}
			say("%s: verified after %.1f s", namespace, took)
			all = append(all, took)
		}
		out += fmt.Sprintf("| %s | %s |\n", v.name, spread(all, seconds, func(took float64) float64 { return took }))
	}
	took, err := b.questions(ctx)
	return out + "\n| question, answered | mean time |\n|---|---|\n" + took, err
}

// rollBack orders a release back, and returns the seconds from the write of the
// routes until it is over.
func (b *bench) rollBack(ctx context.Context, namespace string, more map[string]string) (float64, error) {
	g, err := b.open(ctx, namespace, releaseRate)
	if err != nil {
		return 0, err
	}
	defer g.close()
	annotations := map[string]string{"canary": "true", "steps": "25%/20m, 100%"}
	for key, value := range more {
		annotations[key] = value
	}
	r := shop.Release{Slot: shop.Green, Version: "v2", Annotations: annotations}
	if err := g.deploy(ctx, r); err != nil {
		return 0, err
	}
	if _, err := g.watcher.Wait(ctx, settleLimit, "25% in "+namespace, func(s shop.State) bool { return s.Phase == "Progressing" }); err != nil {
		return 0, err
	}
	if err := pause(ctx, 5*b.scrape); err != nil { // the canary has been scraped
		return 0, err
	}
	annotations["command"] = "abort"
	if err := g.deploy(ctx, r); err != nil {
		return 0, err
	}
	back, err := g.until(ctx, shop.RollingBack)
	if err != nil {
		return 0, err
	}
	end, err := g.until(ctx, shop.RolledBack)
	return end.Since.Sub(back.Since).Seconds(), err
}

var sampleForm = regexp.MustCompile(`(?m)^serin_question_duration_seconds_(sum|count)\{kind="(\w+)"\} (\S+)$`)

// questions are the mean times of the questions that were answered.
func (b *bench) questions(ctx context.Context) (string, error) {
	text, err := fetch(ctx, b.controller.MetricsURL+"/metrics")
	if err != nil {
		return "", err
	}
	sums, counts := map[string]float64{}, map[string]float64{}
	var kinds []string
	for _, found := range sampleForm.FindAllStringSubmatch(text, -1) {
		value, err := strconv.ParseFloat(found[3], 64)
		if err != nil {
			return "", err
		}
		if found[1] == "count" {
			counts[found[2]] = value
			kinds = append(kinds, found[2])
			continue
		}
		sums[found[2]] = value
	}
	slices.Sort(kinds)
	var out strings.Builder
	for _, kind := range kinds {
		fmt.Fprintf(&out, "| %s, %.0f times | %.1f ms |\n", kind, counts[kind], 1000*sums[kind]/counts[kind])
	}
	return out.String(), nil
}
