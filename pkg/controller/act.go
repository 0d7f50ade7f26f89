package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/cluster"
	"serin.dev/serin/pkg/history"
	"serin.dev/serin/pkg/mode"
)

const (
	// requestTimeout bounds one request, so that a hanging webhook costs one
	// worker a few seconds and no more.
	requestTimeout = 5 * time.Second
	// largeTimeout bounds one request with a large object, of which the API server
	// takes 2 to 5 ms for each route.
	largeTimeout = 30 * time.Second
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
	c.told.tell(s.key, s.about(p), p.View, []canary.Event{{
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
	c.progress.settled(s.key)
	c.begin(ctx, s)
	if err := c.confirmLoss(ctx, s, p); err != nil {
		return catchUp, err
	}
	if err := c.record(ctx, s, p); err != nil {
		return 0, err
	}
	if p.Record != nil && (p.Next.InPlace || p.Clean) && s.objects.ServiceFound != nil && !kept(s.observation.History, p.Record.Rollout) {
		return catchUp, nil // what comes next takes the state away: the record has to be seen before
	}
	if len(writes) == 0 {
		c.told.tell(s.key, s.about(p), p.View, p.Tell)
		return recheck(p), nil
	}
	if err := c.fresh(ctx, s); err != nil {
		return catchUp, err
	}
	if wait := c.pace.wait(s.key, time.Now()); wait > 0 {
		return wait, nil
	}
	if writes[0].Key.Kind == virtualService {
		defer c.own.wrote(s.key)
	}
	if p.Next.Phase.Active() && p.Next.Rollout != s.state.Rollout {
		c.begun.seen(s, p.Next.Rollout)
	}
	if err := c.write(ctx, writes[0]); err != nil {
		return catchUp, describe(writes[0], err)
	}
	c.told.tell(s.key, s.about(p), p.View, p.Tell)
	return atOnce, nil
}

func kept(all []canary.Release, rollout string) bool {
	return slices.ContainsFunc(all, func(r canary.Release) bool { return r.Rollout == rollout })
}

// snap takes traffic away from the canary: everywhere at once, waiting for
// nothing and insisting everywhere independently.
func (c *Controller) snap(ctx context.Context, s situation, p canary.Plan, urgent []mode.Write) (time.Duration, error) {
	if slices.Contains(ofObjects, p.Next.Reason) && p.Next.Reason != s.state.Reason {
		if err := c.fresh(ctx, s); errors.Is(err, errBehind) {
			return catchUp, err
		}
	}
	if p.Next.Phase == canary.RollingBack || p.Next.Phase == canary.RolledBack {
		c.progress.retreating(s.key, c.causeOf(s, time.Now()))
	}
	errs := make([]error, len(urgent))
	var wg sync.WaitGroup
	for i, w := range urgent {
		wg.Go(func() { errs[i] = c.insist(ctx, w) })
	}
	wg.Wait()
	c.own.wrote(s.key)
	if !slices.ContainsFunc(errs, func(err error) bool { return err != nil }) {
		c.progress.settled(s.key)
	}
	done := 0
	for i, err := range errs {
		if err == nil {
			done++
			continue
		}
		errs[i] = describe(urgent[i], err)
	}
	if done > 0 {
		c.told.tell(s.key, s.about(p), p.View, p.Tell)
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
	ctx, cancel := context.WithTimeout(ctx, max(urgentBudget, writingTime(w)))
	defer cancel()
	pause := firstRetry
	for {
		err := c.write(ctx, w)
		if err == nil || behind(w, err) {
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
	if behind(w, err) {
		err = fmt.Errorf("%w: %w", errBehind, err)
	}
	return fmt.Errorf("%s %s (%s): %w", w.Verb, w.Key, w.Why, err)
}

// behind tells that a write was refused because the object is no longer, or not
// yet, the one it was made for.
func behind(w mode.Write, err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsNotFound(err) || apierrors.IsAlreadyExists(err) ||
		w.Verb == mode.Patch && unpatched(err)
}

// unpatched tells that a JSON patch does not fit the object, as when its test of
// the resourceVersion fails. The API server answers as to an object that is not
// valid, but names no object: it never came to make one.
func unpatched(err error) bool {
	var refused apierrors.APIStatus
	if !apierrors.IsInvalid(err) || !errors.As(err, &refused) {
		return false
	}
	details := refused.Status().Details
	return details == nil || details.Kind == "" && details.Name == ""
}

// writingTime is how long a write may take: a second more for each 32 KiB, for a write
// that is given up on before the API server can have done it never ends.
func writingTime(w mode.Write) time.Duration {
	return min(requestTimeout+time.Duration(len(w.Body))*time.Second/(32<<10), largeTimeout)
}

// write sends one object. The server refuses it if the object is no longer the
// one that was read; then the newer one is fetched for the next pass.
func (c *Controller) write(ctx context.Context, w mode.Write) error {
	if l := c.options.Elect; l != nil && l.renewed.at(time.Now(), l.Duration) {
		return errLeaseOver
	}
	ctx, cancel := context.WithTimeout(ctx, writingTime(w))
	defer cancel()
	request, err := c.request(w)
	if err != nil {
		return err
	}
	began := time.Now()
	result := request.SetHeader("Accept", "application/json").Do(ctx)
	err = result.Error()
	c.options.Meter.Wrote(w.Verb, w.Key.Kind, time.Since(began), err)
	switch {
	case w.Key.Kind != virtualService:
		return err
	case err == nil && w.Verb == mode.Delete:
		c.own.removed(w.Key, w.ResourceVersion)
	case err == nil:
		body, _ := result.Raw()
		return c.own.remember(w.Key, body)
	case behind(w, err) && !apierrors.IsNotFound(err):
		c.refetch(ctx, w.Key)
	}
	return err
}

// request is a write as the API server takes it.
func (c *Controller) request(w mode.Write) (*rest.Request, error) {
	collection, err := collection(w.Key)
	if err != nil {
		return nil, err
	}
	object := collection + "/" + w.Key.Name
	client := c.options.Kube.CoreV1().RESTClient()
	var r *rest.Request
	kind, body := "application/json", w.Body
	switch w.Verb {
	case mode.Update:
		r = client.Put().AbsPath(object)
	case mode.Create:
		r = client.Post().AbsPath(collection)
	case mode.Patch:
		r = client.Patch(types.JSONPatchType).AbsPath(object)
		kind = string(types.JSONPatchType)
	case mode.Delete:
		// What was read may have been replaced by another of the same name.
		if body, err = json.Marshal(metav1.DeleteOptions{
			TypeMeta:          metav1.TypeMeta{APIVersion: "v1", Kind: "DeleteOptions"},
			Preconditions:     &metav1.Preconditions{ResourceVersion: &w.ResourceVersion},
			PropagationPolicy: new(metav1.DeletePropagationBackground),
		}); err != nil {
			return nil, err
		}
		return client.Delete().AbsPath(object).SetHeader("Content-Type", kind).Body(body), nil
	default:
		return nil, fmt.Errorf("there is no verb %q", w.Verb)
	}
	return r.Param("fieldManager", mode.FieldManager).SetHeader("Content-Type", kind).Body(body), nil
}

// refetch learns what stood in a write's way. Should it fail, the informer
// brings the same a little later.
func (c *Controller) refetch(ctx context.Context, k canary.ObjectKey) {
	objects, err := collection(k)
	var body []byte
	if err == nil {
		body, err = c.options.Kube.CoreV1().RESTClient().Get().
			AbsPath(objects+"/"+k.Name).SetHeader("Accept", "application/json").Do(ctx).Raw()
	}
	if err == nil {
		err = c.own.remember(k, body)
	}
	if err != nil {
		c.log.Debug("An object can't be read after a conflict", zap.Stringer("object", k), zap.Error(err))
	}
}

const virtualService = "VirtualService"

// collections are the kinds that are written, and where their objects are.
var collections = map[string]schema.GroupVersionResource{
	virtualService:    {Group: cluster.Group, Version: cluster.Version, Resource: "virtualservices"},
	"DestinationRule": {Group: cluster.Group, Version: cluster.Version, Resource: "destinationrules"},
	"Deployment":      appsv1.SchemeGroupVersion.WithResource("deployments"),
}

func collection(k canary.ObjectKey) (string, error) {
	kind, known := collections[k.Kind]
	if !known {
		return "", fmt.Errorf("no %s is ever written", k.Kind)
	}
	return "/apis/" + kind.Group + "/" + kind.Version + "/namespaces/" + k.Namespace + "/" + kind.Resource, nil
}

// fresh asks the API server itself whether what was decided upon still is the
// case; errBehind if not. Only what gives traffic, or moves none, waits for it.
func (c *Controller) fresh(ctx context.Context, s situation) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	read := map[canary.ObjectKey]string{}
	for _, v := range s.objects.VirtualServices {
		if _, leads := s.observation.Traffic[v.Key]; leads {
			read[v.Key] = v.ResourceVersion
		}
	}
	for _, d := range s.objects.Deployments {
		read[canary.ObjectKey{Kind: "Deployment", Namespace: s.key.Namespace, Name: d.Name}] = d.ResourceVersion
	}
	if c.options.InPlace { // subsets come and go then
		for _, r := range s.objects.DestinationRules {
			read[r.Key] = r.ResourceVersion
		}
	}
	stale, err := c.cache.Stale(ctx, read)
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

// record keeps the end of a release, and lets the oldest go. A release that ends
// a second time gets its new result: a promotion may be rolled back later.
func (c *Controller) record(ctx context.Context, s situation, p canary.Plan) error {
	k, r := s.key, p.Record
	if r == nil || s.objects.ServiceFound == nil || recorded(s.observation.History, *r) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	kept := c.cache.Revisions(k)
	owner := history.Owner{Namespace: k.Namespace, Name: k.Name, UID: s.objects.ServiceFound.UID}
	if c.recordOf(k, owner.UID, r.Rollout) == nil {
		revision, err := history.Revision(*r, owner, history.Next(kept))
		if err != nil {
			return fmt.Errorf("keep release %s of %s: %w", r.Rollout, k, err)
		}
		client := c.options.Kube.AppsV1().ControllerRevisions(k.Namespace)
		_, err = client.Create(ctx, revision, metav1.CreateOptions{FieldManager: mode.FieldManager})
		if err == nil {
			c.prune(ctx, k, append(kept, revision))
			return nil
		}
		if !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("keep release %s of %s: %w", r.Rollout, k, err)
		}
	}
	if err := c.amend(ctx, k, *r, p.Last); err != nil {
		return fmt.Errorf("keep release %s of %s: %w", r.Rollout, k, err)
	}
	c.prune(ctx, k, withEnd(kept, *r, owner))
	return nil
}

// amend gives a release that is recorded the end that it came to, unless it has that
// one: the informer may only be behind. An end that is recorded is only replaced by
// the last write of a release, for the record may know more than is known now, or
// where somebody made it unreadable: nothing begins before the end is recorded.
func (c *Controller) amend(ctx context.Context, k cluster.Key, r canary.Release, last bool) error {
	held, err := c.options.Kube.AppsV1().ControllerRevisions(k.Namespace).Get(ctx, history.Name(k.Name, r.Rollout), metav1.GetOptions{})
	if err != nil {
		return err
	}
	kept, unreadable := history.Releases([]*appsv1.ControllerRevision{held})
	if unreadable == nil && (recorded(kept, r) || !last && !history.UnderWay(held)) {
		return nil
	}
	if _, _, err := history.Snapshot(held); err != nil && !errors.Is(err, history.ErrNoSnapshot) {
		return err // its data can't be changed
	}
	return c.annotateRecord(ctx, k, held.Name, history.Result(r, held))
}

// recorded tells that a release is kept with this end already: several passes may
// end it, one write in each.
func recorded(all []canary.Release, r canary.Release) bool {
	return slices.ContainsFunc(all, func(k canary.Release) bool {
		return k.Rollout == r.Rollout && k.Outcome == r.Outcome && k.Reason == r.Reason && k.Handled == r.Handled
	})
}

// withEnd are the records with that of a release as it is now that it is over: what was
// read may be of while it was under way.
func withEnd(kept []*appsv1.ControllerRevision, r canary.Release, owner history.Owner) []*appsv1.ControllerRevision {
	out := slices.Clone(kept)
	for i, revision := range out {
		if revision.Name != history.Name(owner.Name, r.Rollout) {
			continue
		}
		if ended, err := history.Revision(r, owner, revision.Revision); err == nil {
			out[i] = ended
		}
	}
	return out
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
