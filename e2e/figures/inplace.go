package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"serin.dev/serin/e2e/demo/shop"
	"serin.dev/serin/e2e/load"
)

const (
	singleRate     = 200 // users' requests per second
	singleReplicas = 4
	singleSteps    = "5%/5s, 100%/5s"
	// byHand is after how long somebody undoes a plain update of a bad image.
	byHand = time.Minute
)

// badImages take turns in the rollbacks: what their tags say after the version.
var badImages = []struct{ name, tag string }{
	{"nothing but errors", "_error-rate-1"},
	{"20% of errors", "_error-rate-0.2"},
}

// single is a shop of one Deployment, with users and what has become of it.
type single struct {
	*stage
	trail   shop.Trail
	text    shop.Text // the user's at rest
	tag     string    // of the image that runs
	changes []change
	began   time.Time // when users were well answered
}

// inPlace measures releases of one Deployment, and what plain updates of it
// cost its users.
func inPlace(ctx context.Context, b *bench) (string, error) {
	g, err := b.openSingle(ctx)
	if err != nil {
		return "", err
	}
	defer g.close()
	for i := range b.inPlaceRuns {
		if err := g.promote(ctx, fmt.Sprintf("g%d", i+1)); err != nil {
			return "", fmt.Errorf("promotion %d: %w", i+1, err)
		}
		if err := g.rollBack(ctx, fmt.Sprintf("b%d", i+1), i%len(badImages)); err != nil {
			return "", fmt.Errorf("rollback %d: %w", i+1, err)
		}
	}
	if err := g.withoutSerin(ctx); err != nil {
		return "", fmt.Errorf("plain updates: %w", err)
	}
	g.users.Stop()
	records := slices.DeleteFunc(g.users.Records(), func(r load.Record) bool { return r.Start.Before(g.began) })
	for i := range g.changes {
		g.changes[i].sawBad(records)
	}
	failed := failures(records, g.changes)
	text := inPlaceText(b.settings, g.changes, len(records), failed, stalled(records, g.changes))
	if n := ours(failed); len(n) > 0 {
		err = fmt.Errorf("requests failed by our doing: %s", n)
	}
	return text, err
}

// openSingle deploys the shop, sends users to it and waits until they are
// answered.
func (b *bench) openSingle(ctx context.Context) (*single, error) {
	g := &single{stage: &stage{b: b, shop: shop.Shop{Namespace: "in-place", Replicas: singleReplicas}}, tag: "v1"}
	var err error
	if g.watcher, err = g.shop.Watch(ctx, b.REST(), g.trail.See, nil); err != nil {
		return nil, err
	}
	manifest, err := g.shop.Single(g.tag, map[string]string{"canary": "true", "steps": singleSteps})
	if err != nil {
		return nil, err
	}
	if err := b.Apply(ctx, manifest); err != nil {
		return nil, err
	}
	if err := g.welcome(ctx, singleRate); err != nil {
		return nil, err
	}
	g.began = time.Now()
	return g, nil
}

// setImage runs what people type.
func (g *single) setImage(ctx context.Context, tag string) error {
	g.trail.Begin(shop.Image(tag))
	return g.kubectl(ctx, "set", "image", "deployment/web", "web="+shop.Image(tag))
}

func (g *single) kubectl(ctx context.Context, args ...string) error {
	_, _, err := g.b.Kubectl(ctx, append([]string{"--namespace", g.shop.Namespace}, args...)...)
	return err
}

// wait waits for a state that isn't measured.
func (g *single) wait(ctx context.Context, what string, wanted func(shop.State) bool) error {
	_, err := g.watcher.Wait(ctx, verdictLimit, what, wanted)
	return err
}

// release has an image released, and waits until nothing of the release is
// left and the Deployment is as wanted.
func (g *single) release(ctx context.Context, tag, ends string, course []shop.Mark, as func(shop.Deployment) bool) (change, error) {
	var err error
	if g.text, err = g.watcher.Text(ctx); err != nil {
		return change{}, err
	}
	last := g.watcher.State().Rollout
	if err := g.setImage(ctx, tag); err != nil {
		return change{}, err
	}
	err = g.wait(ctx, "the end of the release of "+tag, func(s shop.State) bool {
		over := s.Rollout != last && s.AtRest(singleReplicas) && g.trail.Passed(shop.RuleGone)
		return over && (s.Phase != ends || as(s.Beside.Web))
	})
	if err != nil {
		return change{}, err
	}
	r := change{bad: -1, ended: time.Now(), extra: g.trail.Peak() - singleReplicas}
	for _, p := range parts {
		if at := g.trail.At(p.mark); !at.IsZero() {
			r.bounds = append(r.bounds, bound{p.name, at})
		}
	}
	if s := g.watcher.State(); s.Phase != ends {
		return r, fmt.Errorf("%s is %s (%s: %s): want %s", tag, s.Phase, s.Reason, s.Message, ends)
	}
	return r, errors.Join(g.guarded(), g.trail.Order(course), g.nothingLeft(ctx))
}

func (g *single) guarded() error {
	if !g.trail.Guarded() {
		return errors.New("the guard did not hold: the Deployment had the image before it was paused")
	}
	return nil
}

func (g *single) nothingLeft(ctx context.Context) error {
	left, err := g.watcher.Left(ctx)
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("still there: %s", strings.Join(left, ", "))
	}
	return err
}

// promote releases a good image.
func (g *single) promote(ctx context.Context, tag string) error {
	r, err := g.release(ctx, tag, shop.Succeeded, shop.Promotion, free)
	if err != nil {
		return err
	}
	g.text.Deployment = strings.Replace(g.text.Deployment, shop.Image(g.tag), shop.Image(tag), 1)
	g.tag = tag
	g.note(r, promoted)
	return g.unchanged(ctx)
}

func free(d shop.Deployment) bool { return !d.Paused && d.Held == "" }
func kept(d shop.Deployment) bool { return d.Paused && d.Held != "" }

// note keeps a change.
func (g *single) note(r change, end string) {
	r.end = end
	say("%s %s after %s, %d extra pods", g.trail.Image(), end, r.length("").Round(time.Millisecond), r.extra)
	g.changes = append(g.changes, r)
}

// unchanged compares what there is with what the user wrote.
func (g *single) unchanged(ctx context.Context) error {
	is, err := g.watcher.Text(ctx)
	if err != nil {
		return err
	}
	if is != g.text {
		return fmt.Errorf("at rest there is\n%s%s\ninstead of\n%s%s", is.VirtualService, is.Deployment, g.text.VirtualService, g.text.Deployment)
	}
	return nil
}

// rollBack releases a bad image, which is rolled back, and takes it back.
func (g *single) rollBack(ctx context.Context, version string, bad int) error {
	r, err := g.release(ctx, version+badImages[bad].tag, shop.RolledBack, shop.Rollback, kept)
	if err != nil {
		return err
	}
	r.bad = bad
	g.note(r, rolledBack)
	is, err := g.watcher.Text(ctx)
	if err != nil {
		return err
	}
	if is.VirtualService != g.text.VirtualService {
		return fmt.Errorf("after the rollback the VirtualService is\n%s\ninstead of\n%s", is.VirtualService, g.text.VirtualService)
	}
	return g.takeBack(ctx)
}

// takeBack writes the image that runs, of which nothing is to be released.
func (g *single) takeBack(ctx context.Context) error {
	before := g.watcher.State()
	if err := g.setImage(ctx, g.tag); err != nil {
		return err
	}
	err := g.wait(ctx, "the guard to let the Deployment go", func(s shop.State) bool { return g.trail.Passed(shop.Asked) && free(s.Beside.Web) })
	if err != nil {
		return err
	}
	if after := g.watcher.State(); after.Rollout != before.Rollout || !slices.Equal(after.Beside.Pods, before.Beside.Pods) {
		return errors.New("a release began with the image that runs, or pods were replaced")
	}
	return errors.Join(g.guarded(), g.unchanged(ctx))
}

// withoutSerin opts the Deployment out and updates it as Kubernetes does.
func (g *single) withoutSerin(ctx context.Context) error {
	if err := g.kubectl(ctx, "annotate", "deployment", "web", "serin.dev/canary-"); err != nil {
		return err
	}
	for i := range max(1, g.b.inPlaceRuns/4) {
		if err := g.update(ctx, fmt.Sprintf("p%d", i+1)); err != nil {
			return err
		}
	}
	for i := range max(1, g.b.inPlaceRuns/10) {
		if err := g.updateBadly(ctx, fmt.Sprintf("u%d%s", i+1, badImages[0].tag)); err != nil {
			return err
		}
	}
	return nil
}

// update waits until the Deployment is updated and the pods before are gone.
func (g *single) update(ctx context.Context, tag string) error {
	if err := g.setImage(ctx, tag); err != nil {
		return err
	}
	if err := g.settled(ctx); err != nil {
		return err
	}
	g.note(g.updated(time.Now()), plain)
	g.tag = tag
	return nil
}

func (g *single) updated(ended time.Time) change {
	return change{bad: -1, bounds: []bound{{plain, g.trail.At(shop.Asked)}}, ended: ended, extra: g.trail.Peak() - singleReplicas}
}

// settled waits for the end of an update, and of the pods before it.
func (g *single) settled(ctx context.Context) error {
	if err := g.kubectl(ctx, "rollout", "status", "deployment/web", "--timeout", settleLimit.String()); err != nil {
		return err
	}
	return g.wait(ctx, "the end of the pods before", func(s shop.State) bool { return len(s.Beside.Pods) == singleReplicas })
}

// updateBadly updates to an image whose pods are ready and answer nothing but
// errors, until somebody undoes it.
func (g *single) updateBadly(ctx context.Context, tag string) error {
	if err := g.setImage(ctx, tag); err != nil {
		return err
	}
	if err := pause(ctx, byHand); err != nil {
		return err
	}
	if err := g.kubectl(ctx, "rollout", "undo", "deployment/web"); err != nil {
		return err
	}
	if err := g.settled(ctx); err != nil {
		return err
	}
	r := g.updated(time.Now())
	r.bad = 0
	g.note(r, undone)
	return nil
}
