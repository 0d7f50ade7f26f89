package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"serin.dev/serin/e2e/demo/shop"
)

// The images of the one Deployment.
var (
	single1 = version{Release: shop.Release{Version: "v1"}, tag: "v1"}
	single2 = version{
		Release: shop.Release{Version: "v2"}, tag: "v2",
		what: "is good", short: "good",
		steps: []int{5, 25, 100},
		ends:  shop.Succeeded, because: []string{"Promoted"},
	}
	single3 = version{
		Release: shop.Release{Version: "v3"}, tag: "v3_error-rate-0.2",
		what: "20% of its answers are errors", short: "20% errors",
		ends: shop.RolledBack, because: []string{"ErrorRateTooHigh", "ErrorRateWorseThanStable"},
	}
)

// singleConfig is the operator's part of it: steps for all, so that one
// annotation is enough, and proxies that are known to be quick.
const singleConfig = `
inPlace: {settle: 1s}
defaults:
  steps: 0%/5s, 5%/6s, 25%/6s, 100%/6s
`

// oneDeployment is the scene of teams who change an image.
func (s *story) oneDeployment(ctx context.Context) error {
	c := &scene{shop: shop.Shop{Namespace: "shop", Replicas: 2}, inPlace: true}
	s.screen.chapter("v1 serves everybody",
		fmt.Sprintf("One Deployment, web, runs v1. Users send %g requests per second through the gateway. One annotation asks for canaries:", s.rate),
		`  serin.dev/canary: "true"`)
	defer s.leave(c)
	err := s.open(ctx, c, single1, func(ctx context.Context) error {
		manifest, err := c.shop.Single(single1.tag, map[string]string{"canary": "true"})
		if err != nil {
			return err
		}
		return s.sandbox.Apply(ctx, manifest)
	})
	if err != nil {
		return err
	}
	s.screen.chapter("v2 is good", "It is deployed as people deploy:")
	if err := s.promoted(ctx, c, single1, single2); err != nil {
		return err
	}
	s.screen.chapter(fmt.Sprintf("v3 is bad: %s", single3.what), "Its image says so in its tag.")
	if err := s.rolledBack(ctx, c, single2, single3); err != nil {
		return err
	}
	s.screen.chapter("Back to v2", "It is what runs, so there is nothing to release.")
	return s.takenBack(ctx, c, single2)
}

// setImage runs what people type, and sees to it that the guard was there.
func (s *story) setImage(ctx context.Context, c *scene, v version) error {
	args := []string{"--namespace", c.shop.Namespace, "set", "image", "deployment/web", "web=" + shop.Image(v.tag)}
	c.trail.Begin(shop.Image(v.tag))
	s.screen.happened("$", "kubectl "+strings.Join(args, " "))
	if _, _, err := s.sandbox.Kubectl(ctx, args...); err != nil {
		return err
	}
	if err := c.passes(ctx, shop.Asked); err != nil {
		return err
	}
	if !c.trail.Guarded() {
		return fmt.Errorf("the Deployment had the image of %s before it was paused", v.Version)
	}
	return nil
}

// passes waits for a mark of the trail.
func (c *scene) passes(ctx context.Context, m shop.Mark) error {
	_, err := c.watcher.Wait(ctx, startLimit, string(m), func(shop.State) bool { return c.trail.Passed(m) })
	return err
}

// begin asks for a release and waits until it has begun. It returns its id.
func (s *story) begin(ctx context.Context, c *scene, before, v version) (rollout string, err error) {
	if c.text, err = c.watcher.Text(ctx); err != nil {
		return "", err
	}
	last := c.watcher.State().Rollout
	if err := s.setImage(ctx, c, v); err != nil {
		return "", err
	}
	c.cast.enter(v)
	if err := s.prepared(ctx, c, before, v); err != nil {
		return "", err
	}
	return c.begins(ctx, v, last)
}

// prepared tells how a release begins: nothing that serves users is touched.
func (s *story) prepared(ctx context.Context, c *scene, before, v version) error {
	s.screen.happened("Guard", "In the same request the API server has paused web: no pod of "+v.Version+" is made yet")
	for _, told := range []struct {
		shop.Mark
		word, sentence string
	}{
		{shop.Subsets, "Subsets", "DestinationRule web-serin tells the pods that run from the canary's"},
		{shop.Pinned, "Pinned", "All routes lead to the pods of " + before.Version + ", before there is one of " + v.Version},
		{shop.CanaryMade, "Pods", "Deployment web-canary is there, for as long as the release lasts"},
	} {
		if err := c.passes(ctx, told.Mark); err != nil {
			return err
		}
		s.screen.happened(told.word, told.sentence)
	}
	return nil
}

// promoted releases a good version, from what people type to the moment when
// nothing of it is left.
func (s *story) promoted(ctx context.Context, c *scene, before, v version) error {
	began := time.Now()
	rollout, err := s.begin(ctx, c, before, v)
	if err != nil {
		return err
	}
	waiting := s.rolloutStatus(ctx, c)
	if err := s.testersFirst(ctx, c, before, v); err != nil {
		return err
	}
	o, err := c.follow(ctx, v, rollout)
	if err != nil {
		return err
	}
	if err := <-waiting; err != nil {
		return err
	}
	if err := s.gone(ctx, c, shop.Promotion); err != nil {
		return err
	}
	want := c.text
	want.Deployment = strings.Replace(want.Deployment, shop.Image(before.tag), shop.Image(v.tag), 1)
	if err := c.hasText(ctx, want); err != nil {
		return err
	}
	s.screen.happened("Equal", "VirtualService web is what it was, to the byte, and Deployment web is but for its image")
	o.chapter = "one Deployment"
	return s.ended(ctx, c, o, began)
}

// rolloutStatus runs what pipelines wait with, and tells when it is over. Its
// end has to come after the update of the Deployment.
func (s *story) rolloutStatus(ctx context.Context, c *scene) <-chan error {
	ended := make(chan error, 1)
	go func() {
		out, _, err := s.sandbox.Kubectl(ctx, "--namespace", c.shop.Namespace, "rollout", "status", "deployment/web", "--timeout", releaseLimit.String())
		if err == nil && !c.trail.Passed(shop.Updating) {
			err = fmt.Errorf("kubectl rollout status ended before the Deployment was updated: %s", out)
		}
		if err == nil {
			lines := strings.Split(strings.TrimSpace(out), "\n")
			s.screen.happened("Waited", "kubectl rollout status, which has waited since then, says: "+lines[len(lines)-1])
		}
		ended <- err
	}()
	return ended
}

// gone waits until nothing of a release is left, and looks at the order in
// which all of it came and went.
func (s *story) gone(ctx context.Context, c *scene, course []shop.Mark) error {
	state, err := c.watcher.Wait(ctx, startLimit, "the end of what the release has added", func(now shop.State) bool {
		return now.AtRest(c.shop.Replicas) && c.trail.Passed(course[len(course)-1])
	})
	if err != nil {
		return err
	}
	if err := c.trail.Order(course); err != nil {
		return err
	}
	left, err := c.watcher.Left(ctx)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		return fmt.Errorf("still there: %s", strings.Join(left, ", "))
	}
	s.screen.happened("Gone", fmt.Sprintf("web-canary, its pods and web-serin. The %d pods of web are all there is", len(state.Beside.Pods)))
	c.cast.alone()
	return nil
}

// hasText waits until the guard lets the Deployment go, and compares what is
// there with what the user has written.
func (c *scene) hasText(ctx context.Context, want shop.Text) error {
	_, err := c.watcher.Wait(ctx, startLimit, "the guard's mark to go", func(now shop.State) bool {
		return !now.Beside.Web.Paused && now.Beside.Web.Held == ""
	})
	if err != nil {
		return err
	}
	is, err := c.watcher.Text(ctx)
	if err != nil {
		return err
	}
	return differences(want, is)
}

// differences tells what differs between two texts of the user's.
func differences(was, is shop.Text) error {
	var errs []error
	if is.VirtualService != was.VirtualService {
		errs = append(errs, fmt.Errorf("the VirtualService was\n%s\nand is\n%s", was.VirtualService, is.VirtualService))
	}
	if is.Deployment != was.Deployment {
		errs = append(errs, fmt.Errorf("the Deployment was\n%s\nand is\n%s", was.Deployment, is.Deployment))
	}
	return errors.Join(errs...)
}

// rolledBack releases a bad version, which is snapped back. The Deployment stays
// as it was written.
func (s *story) rolledBack(ctx context.Context, c *scene, before, v version) error {
	began := time.Now()
	rollout, err := s.begin(ctx, c, before, v)
	if err != nil {
		return err
	}
	o, err := c.follow(ctx, v, rollout)
	if err != nil {
		return err
	}
	if err := s.gone(ctx, c, shop.Rollback); err != nil {
		return err
	}
	is, err := c.watcher.Text(ctx)
	if err != nil {
		return err
	}
	is.Deployment = c.text.Deployment // which is another, as follows
	if err := differences(c.text, is); err != nil {
		return err
	}
	web := c.watcher.State().Beside.Web
	if web.Image != shop.Image(v.tag) || !web.Paused || web.Held == "" {
		return fmt.Errorf("after the rollback the Deployment has the image %s, paused is %v, and the mark says %q: want it as it was written, paused and marked", web.Image, web.Paused, web.Held)
	}
	if err := c.tells(ctx, "Deployment web", "RollbackVerified", "stays paused"); err != nil {
		return err
	}
	s.screen.happened("Kept", fmt.Sprintf("web asks for %s as before, and stays paused; its pods are those of %s, and its Events say how to take it back", v.Version, before.Version))
	o.chapter = "one Deployment"
	return s.ended(ctx, c, o, began)
}

// takenBack writes the image that ran before the last release, and runs: none
// begins, and no pod is touched.
func (s *story) takenBack(ctx context.Context, c *scene, v version) error {
	was := c.watcher.State()
	if err := s.setImage(ctx, c, v); err != nil {
		return err
	}
	if err := c.hasText(ctx, c.text); err != nil {
		return err
	}
	if err := pause(ctx, 2*time.Second); err != nil { // a release would begin now
		return err
	}
	is := c.watcher.State()
	if is.Carried || is.Rollout != was.Rollout || is.Beside.Rule != 0 || !slices.Equal(is.Beside.Pods, was.Beside.Pods) {
		return fmt.Errorf("writing what runs was to change nothing: release %s before and %s after, pods %q before and %q after", was.Rollout, is.Rollout, was.Beside.Pods, is.Beside.Pods)
	}
	s.screen.happened("Nothing", "No release began, and no pod was replaced; web is a plain Deployment again")
	return nil
}
