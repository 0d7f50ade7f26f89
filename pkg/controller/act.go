package controller

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/cluster"
	"serin.dev/serin/pkg/history"
	"serin.dev/serin/pkg/mode"
)

const (
	// requestTimeout bounds one request, so that a hanging webhook costs one
	// worker a few seconds and no more.
	requestTimeout = 5 * time.Second
	// urgentBudget is how long a pass insists on an urgent write before the
	// whole is looked at again.
	urgentBudget = 15 * time.Second
	// atOnce is when to look again after a write: as soon as a worker is free.
	atOnce = time.Millisecond
	// catchUp is when to look again when the informer was behind; its own event
	// usually comes sooner.
	catchUp = 500 * time.Millisecond
	// collided is when to try an urgent write again over the newer object.
	collided = 20 * time.Millisecond
	// unsettled is when to look again at the latest at what waits for people or
	// pods: not everything that may mend it is watched by Service.
	unsettled = 30 * time.Second
)

// errBehind tells that what was decided upon is no longer what is: nothing is
// wrong, and a fresh look mends it.
var errBehind = errors.New("what was read is behind the API server")

// errUnwritable tells that what was decided can't be written into what is there.
var errUnwritable = errors.New("render the routes")

// hitches is how many passes in a row may fail before people are told.
const hitches = 3

// complain tells people why their routes stay as they are, once it is more than
// a hitch: what can't be written, or what the API server refuses. An API server
// that does not answer takes no Event either.
func (c *Controller) complain(s situation, p canary.Plan, err error) {
	var refused apierrors.APIStatus
	if !errors.Is(err, errUnwritable) && !errors.As(err, &refused) {
		return
	}
	if errors.Is(err, errBehind) || c.queue.NumRequeues(s.key) < hitches {
		return
	}
	c.told.tell(s.key, s.about(p), []canary.Event{{
		Reason: canary.RoutesPending, Warning: true,
		Sentence: "The routes can't be written, which is tried again and again: " + strings.ReplaceAll(err.Error(), "\n", "; "),
	}})
}

// act does the first step of the difference: all urgent writes at once, or else
// the first write alone, and tells what happened after it has. It returns when
// to look again; an error means the same pass is to be repeated later.
func (c *Controller) act(ctx context.Context, s situation, p canary.Plan, writes []mode.Write) (time.Duration, error) {
	if urgent := only(writes, true); len(urgent) > 0 {
		return c.snap(ctx, s, p, urgent)
	}
	if err := c.record(ctx, s, p); err != nil {
		return 0, err
	}
	if len(writes) == 0 {
		c.told.tell(s.key, s.about(p), p.Tell)
		return recheck(p), nil
	}
	if err := c.fresh(ctx, s); err != nil {
		return catchUp, err
	}
	if wait := c.pace.wait(s.key, time.Now()); wait > 0 {
		return wait, nil
	}
	if err := c.write(ctx, writes[0]); err != nil {
		return catchUp, describe(writes[0], err)
	}
	c.told.tell(s.key, s.about(p), p.Tell)
	return atOnce, nil
}

// snap takes traffic away from the canary: everywhere at once, waiting for
// nothing and insisting everywhere independently.
func (c *Controller) snap(ctx context.Context, s situation, p canary.Plan, urgent []mode.Write) (time.Duration, error) {
	errs := make([]error, len(urgent))
	var wg sync.WaitGroup
	for i, w := range urgent {
		wg.Go(func() { errs[i] = c.insist(ctx, w) })
	}
	wg.Wait()
	done := 0
	for i, err := range errs {
		if err == nil {
			done++
			continue
		}
		errs[i] = describe(urgent[i], err)
	}
	if done > 0 {
		c.told.tell(s.key, s.about(p), p.Tell)
		// A release that ends in one write has no later pass to be recorded in.
		if err := c.record(ctx, s, p); err != nil {
			c.log.Warn("A release is not kept in the history", zap.Stringer("service", s.key), zap.Error(err))
		}
	}
	if done == len(urgent) {
		return atOnce, nil
	}
	return collided, errors.Join(errs...)
}

// recheck is when to look again after a pass without a write.
func recheck(p canary.Plan) time.Duration {
	waits := p.View.Phase == canary.Blocked || p.View.Phase == canary.Waiting
	if waits && (p.Recheck == 0 || p.Recheck > unsettled) {
		return unsettled
	}
	return p.Recheck
}

// insist repeats a write until it is done, until the object turns out to have
// changed, or until the budget is spent.
func (c *Controller) insist(ctx context.Context, w mode.Write) error {
	ctx, cancel := context.WithTimeout(ctx, urgentBudget)
	defer cancel()
	pause := firstRetry
	for {
		err := c.write(ctx, w)
		if err == nil || apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
			pause = min(2*pause, 2*time.Second)
		}
	}
}

// describe says what was written when it failed, and marks the failures that a
// fresh look mends.
func describe(w mode.Write, err error) error {
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		err = fmt.Errorf("%w: %w", errBehind, err)
	}
	return fmt.Errorf("write %s (%s): %w", w.Key, w.Why, err)
}

// write sends one object. The server refuses it if the object is no longer the
// one that was read; then the newer one is fetched for the next pass.
func (c *Controller) write(ctx context.Context, w mode.Write) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	result := c.options.Kube.CoreV1().RESTClient().Put().
		AbsPath(path(w.Key)).
		Param("fieldManager", mode.FieldManager).
		SetHeader("Content-Type", "application/json").
		SetHeader("Accept", "application/json").
		Body(w.Body).Do(ctx)
	err := result.Error()
	c.options.Meter.Wrote(err)
	if err == nil {
		body, _ := result.Raw()
		return c.own.remember(w.Key, body)
	}
	if apierrors.IsConflict(err) {
		c.refetch(ctx, w.Key)
	}
	return err
}

// refetch learns what stood in a write's way. Should it fail, the informer
// brings the same a little later.
func (c *Controller) refetch(ctx context.Context, k canary.ObjectKey) {
	body, err := c.options.Kube.CoreV1().RESTClient().Get().
		AbsPath(path(k)).SetHeader("Accept", "application/json").Do(ctx).Raw()
	if err == nil {
		err = c.own.remember(k, body)
	}
	if err != nil {
		c.log.Debug("An object can't be read after a conflict", zap.Stringer("object", k), zap.Error(err))
	}
}

func path(k canary.ObjectKey) string {
	return "/apis/" + cluster.Group + "/" + cluster.Version + "/namespaces/" + k.Namespace + "/virtualservices/" + k.Name
}

// fresh asks the API server itself whether what was decided upon still is the
// case; errBehind if not. Only what gives traffic, or moves none, waits for it.
func (c *Controller) fresh(ctx context.Context, s situation) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var keys []canary.ObjectKey
	for k := range s.observation.Traffic {
		keys = append(keys, k)
	}
	for _, d := range s.objects.Deployments {
		keys = append(keys, canary.ObjectKey{Kind: "Deployment", Namespace: s.key.Namespace, Name: d.Name})
	}
	stale, err := c.cache.Stale(ctx, keys)
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("%w: %w", errBehind, err)
	case err != nil:
		return err
	case stale != nil:
		return fmt.Errorf("%w: %s has another version there", errBehind, stale)
	}
	return nil
}

// record keeps a finished release, and lets the oldest go. A release that ends
// a second time gets its new result: a promotion may be rolled back later.
func (c *Controller) record(ctx context.Context, s situation, p canary.Plan) error {
	k, r := s.key, p.Record
	if r == nil || s.objects.ServiceFound == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	kept := c.cache.Revisions(k)
	owner := history.Owner{Namespace: k.Namespace, Name: k.Name, UID: s.objects.ServiceFound.UID}
	revision, err := history.Revision(*r, owner, history.Next(kept))
	if err != nil {
		return fmt.Errorf("keep release %s of %s: %w", r.Rollout, k, err)
	}
	client := c.options.Kube.AppsV1().ControllerRevisions(k.Namespace)
	_, err = client.Create(ctx, revision, metav1.CreateOptions{FieldManager: mode.FieldManager})
	if apierrors.IsAlreadyExists(err) {
		if !p.Last {
			return nil // only the informer is behind, and the record knows more than is known now
		}
		_, err = client.Patch(ctx, revision.Name, types.MergePatchType, history.Result(*r), metav1.PatchOptions{FieldManager: mode.FieldManager})
	}
	if err != nil {
		return fmt.Errorf("keep release %s of %s: %w", r.Rollout, k, err)
	}
	c.prune(ctx, k, append(kept, revision))
	return nil
}

func (c *Controller) prune(ctx context.Context, k cluster.Key, kept []*appsv1.ControllerRevision) {
	client := c.options.Kube.AppsV1().ControllerRevisions(k.Namespace)
	for _, name := range history.Prune(kept) {
		if err := client.Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			c.log.Warn("An old release stays in the history", zap.Stringer("service", k), zap.Error(err))
		}
	}
}

func only(writes []mode.Write, urgent bool) []mode.Write {
	var out []mode.Write
	for _, w := range writes {
		if w.Urgent == urgent {
			out = append(out, w)
		}
	}
	return out
}
