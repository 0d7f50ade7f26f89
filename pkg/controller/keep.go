package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/cluster"
	"serin.dev/serin/pkg/history"
	"serin.dev/serin/pkg/mode"
	"serin.dev/serin/pkg/topology"
)

const (
	// keepTime bounds what the record of a beginning may hold a pass up.
	keepTime = 3 * time.Second
	// keepAgain is when to try again what failed.
	keepAgain = 30 * time.Second
)

// beginnings remembers what was there before releases wrote anything, until it is
// recorded, and what was recorded, until the informer has seen it.
type beginnings struct {
	mu  sync.Mutex
	all map[cluster.Key]beginning
}

type beginning struct {
	rollout        string
	known          bool // routes and rules are those before the first write
	routes         []topology.VirtualService
	rules          []topology.DestinationRule
	images, record pause
}

// pause is what was done or tried, and when it may be tried again.
type pause struct {
	done  string
	until time.Time
}

func newBeginnings() *beginnings { return &beginnings{all: map[cluster.Key]beginning{}} }

// seen remembers what a release is about to change.
func (b *beginnings) seen(s situation, rollout string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all[s.key] = beginning{rollout: rollout, known: true, routes: s.objects.VirtualServices, rules: s.objects.DestinationRules}
}

// of is what is remembered of a rollout.
func (b *beginnings) of(k cluster.Key, rollout string) beginning {
	b.mu.Lock()
	defer b.mu.Unlock()
	if one := b.all[k]; one.rollout == rollout {
		return one
	}
	return beginning{rollout: rollout}
}

func (b *beginnings) put(k cluster.Key, one beginning) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all[k] = one
}

func (b *beginnings) forget(k cluster.Key) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.all, k)
}

// begin records a release under way that is not recorded yet, and what its pods run
// once they tell. It never holds a release up for long, and fails none: a release
// whose beginning is not recorded is when it ends.
func (c *Controller) begin(ctx context.Context, s situation) {
	if !s.state.Phase.Active() || s.state.Phase == canary.RollingBack || s.objects.ServiceFound == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, keepTime)
	defer cancel()
	held := c.recordOf(s.key, s.objects.ServiceFound.UID, s.state.Rollout)
	one := c.begun.of(s.key, s.state.Rollout)
	r := canary.BegunRelease(s.state, s.observation.Tracks)
	now := time.Now()
	switch {
	case held == nil && one.record.done == "" && !now.Before(one.record.until):
		one.record = pause{done: s.state.Rollout}
		if err := c.recordBeginning(ctx, s, r, one); err != nil {
			one.record = pause{until: now.Add(keepAgain)}
			c.log.Warn("The beginning of a release is not kept in the history", zap.Stringer("service", s.key), zap.Error(err))
			break
		}
		one.routes, one.rules = nil, nil
	case held != nil && history.UnderWay(held):
		one.routes, one.rules = nil, nil
		patch := history.Images(r, held)
		if patch == nil || string(patch) == one.images.done || now.Before(one.images.until) {
			break
		}
		one.images = pause{done: string(patch)}
		if err := c.annotateRecord(ctx, s.key, held.Name, patch); err != nil {
			one.images = pause{until: now.Add(keepAgain)}
			c.log.Warn("The images of a release are not kept in the history", zap.Stringer("service", s.key), zap.Error(err))
		}
	}
	c.begun.put(s.key, one)
}

// confirmLoss fails unless a state that is to be recorded as lost is: it may be that
// only the informer has not seen it, or not seen the object that was made for it.
func (c *Controller) confirmLoss(ctx context.Context, s situation, p canary.Plan) error {
	if p.Record == nil || p.Record.Reason != canary.StateLost {
		return nil
	}
	if err := c.fresh(ctx, s); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	carrier, err := c.cache.Carrier(ctx, s.key, p.Record.Rollout)
	if err == nil && carrier != nil {
		err = fmt.Errorf("%w: %s carries the state", errBehind, carrier)
	}
	return err
}

// recordOf is the record of a rollout, as the informer has it; nil without one.
func (c *Controller) recordOf(k cluster.Key, service, rollout string) *appsv1.ControllerRevision {
	name := history.Name(k.Name, rollout)
	for _, r := range history.Of(service, c.cache.Revisions(k)) {
		if r.Name == name {
			return r
		}
	}
	return nil
}

func (c *Controller) recordBeginning(ctx context.Context, s situation, r canary.Release, one beginning) error {
	owner := history.Owner{Namespace: s.key.Namespace, Name: s.key.Name, UID: s.objects.ServiceFound.UID}
	revision, err := history.Begin(r, c.before(ctx, s, one), owner, history.Next(c.cache.Revisions(s.key)))
	if err != nil {
		return err
	}
	_, err = c.options.Kube.AppsV1().ControllerRevisions(s.key.Namespace).Create(ctx, revision, metav1.CreateOptions{FieldManager: mode.FieldManager})
	if apierrors.IsAlreadyExists(err) {
		return nil // only the informer is behind
	}
	return err
}

func (c *Controller) annotateRecord(ctx context.Context, k cluster.Key, name string, patch []byte) error {
	_, err := c.options.Kube.AppsV1().ControllerRevisions(k.Namespace).
		Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: mode.FieldManager})
	return err
}

// before is what was there before the release, with what of it is not known.
func (c *Controller) before(ctx context.Context, s situation, one beginning) history.Before {
	var b history.Before
	lacks := func(format string, args ...any) { b.Lacks = append(b.Lacks, fmt.Sprintf(format, args...)) }
	if !one.known {
		lacks("the VirtualServices and DestinationRules are not kept: Serin was restarted, or the API server did not answer, just when the release began")
	}
	for _, v := range one.routes {
		spec, err := json.Marshal(v.Doc["spec"])
		if err != nil {
			lacks("%s is not kept: %v", v.Key, err)
			continue
		}
		b.Routes = append(b.Routes, history.Document{Namespace: v.Key.Namespace, Name: v.Key.Name, Spec: spec})
	}
	for _, r := range one.rules {
		if topology.Ours(r.Doc, s.key.Name) {
			continue // made for this very release
		}
		spec, err := c.ruleSpec(ctx, r)
		if err != nil {
			lacks("%s is not kept: %v", r.Key, err)
			continue
		}
		b.Rules = append(b.Rules, history.Document{Namespace: r.Key.Namespace, Name: r.Key.Name, Spec: spec})
	}
	var templates []corev1.PodTemplateSpec
	for _, t := range []struct {
		what string
		into *json.RawMessage
		side canary.Side
	}{{"the pod template", &b.Template, s.state.Canary}, {"stable's pod template", &b.StableTemplate, s.state.Stable}} {
		text, err := c.templateOf(ctx, s, t.side)
		if err != nil {
			lacks("%s is not kept: %v", t.what, err)
			continue
		}
		*t.into = text
		if template, _, err := cluster.TemplateHash(text); err == nil {
			templates = append(templates, template)
		}
	}
	c.references(ctx, s.key.Namespace, templates, &b)
	return b
}

// ruleSpec is a DestinationRule's spec: as it was read, or as it is.
func (c *Controller) ruleSpec(ctx context.Context, r topology.DestinationRule) (json.RawMessage, error) {
	if r.Doc == nil {
		return c.cache.RuleSpec(ctx, r.Key)
	}
	return json.Marshal(r.Doc["spec"])
}

// templateOf is the pod template of a track, as JSON. In place it is the Deployment's or
// that of a ReplicaSet; of a pair it is read.
func (c *Controller) templateOf(ctx context.Context, s situation, side canary.Side) (json.RawMessage, error) {
	if !s.state.InPlace {
		text, hash, err := c.cache.Template(ctx, s.key.Namespace, side.Deployment)
		return text, another(side, hash, err)
	}
	for _, tree := range templatesIn(s.objects) {
		text, err := json.Marshal(tree)
		if err != nil {
			continue
		}
		if _, hash, err := cluster.TemplateHash(text); err == nil && hash == side.Template {
			return text, nil
		}
	}
	return nil, another(side, "", nil)
}

// templatesIn are the pod templates of the user's Deployments and of what runs.
func templatesIn(o topology.Objects) (trees []any) {
	for _, d := range topology.UsersOwn(o) {
		if spec, is := d.Doc["spec"].(map[string]any); is {
			trees = append(trees, spec["template"])
		}
		for _, set := range d.Sets {
			trees = append(trees, set.Template)
		}
	}
	return trees
}

// another fails where a template is not that of a track.
func another(side canary.Side, hash string, err error) error {
	if err == nil && hash != side.Template {
		return fmt.Errorf("another is asked for by Deployment %s by now", side.Deployment)
	}
	return err
}

// references are the ConfigMaps that templates name, by hash, and the names of Secrets.
func (c *Controller) references(ctx context.Context, namespace string, templates []corev1.PodTemplateSpec, b *history.Before) {
	var configMaps []string
	for _, t := range templates {
		maps, secrets := history.References(t)
		configMaps, b.Secrets = append(configMaps, maps...), append(b.Secrets, secrets...)
	}
	slices.Sort(configMaps)
	slices.Sort(b.Secrets)
	b.Secrets = slices.Compact(b.Secrets)
	unread := ""
	for _, name := range slices.Compact(configMaps) {
		one := history.Config{Name: name}
		if unread == "" {
			found, err := c.cache.ConfigMap(ctx, namespace, name)
			switch {
			case err == nil:
				one.Hash = history.HashConfig(found)
			case apierrors.IsNotFound(err):
				one.Absent = true
			default: // nor would the others be
				unread = err.Error()
			}
		}
		b.Config = append(b.Config, one)
	}
	if unread != "" {
		b.Lacks = append(b.Lacks, "of ConfigMaps only the names are kept: "+unread)
	}
}
