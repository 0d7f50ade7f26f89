package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"serin.dev/serin/pkg/canary"
	objects "serin.dev/serin/pkg/cluster"
)

// This file carries out what rollback has shown.

// carryOut writes the template, waits for its pods, and has the traffic follow.
func (o *rollback) carryOut(ctx context.Context, s *session, r *reader, found sight, back goingBack) error {
	began := o.program.Now()
	hash, err := o.write(ctx, s.cluster, back)
	if err != nil {
		return fmt.Errorf("rollback %s: %w", found.key, err)
	}
	o.progress("Deployment %s has the pod template of %s, with images by digest", back.deployment.Name, back.version.name)
	if back.inSteps {
		s.warnUnled(ctx)
		_, err := fmt.Fprintf(o.streams.Out, "It is released like any other version: kubectl canary status %s -w\n", found.key.Name)
		return err
	}
	if back.inPlace {
		if err := o.resume(ctx, s.cluster, back.deployment.Name); err != nil {
			return fmt.Errorf("rollback %s: %w", found.key, err)
		}
	}
	ready, err := o.await(ctx, r, found, back, hash)
	if err != nil {
		return err
	}
	took := o.program.Now().Sub(began).Round(100 * time.Millisecond)
	o.progress("All pods of %s (%d) are ready and report the digests of %s, after %s", back.deployment.Name, ready.Ready, back.version.name, took)
	switch {
	case back.inPlace:
		return nil
	case back.routes:
		return o.moveRoutes(ctx, s, r, found)
	}
	return o.promote(ctx, s, r, found, back)
}

// write gives the Deployment the template, and tells its hash. Where the two take
// turns it asks for a release of it, whatever was tried before.
func (o *rollback) write(ctx context.Context, c cluster, back goingBack) (hash string, err error) {
	shown := back.deployment
	written, err := c.patchDeployment(ctx, shown.Name, func(d *appsv1.Deployment) ([]step, error) {
		if d.Generation != shown.Generation {
			return nil, fmt.Errorf("somebody changed Deployment %s while you were asked: nothing was changed, look again", d.Name)
		}
		steps := []step{{Op: "replace", Path: "/spec/template", Value: back.template}}
		if back.replicas > 0 {
			steps = append(steps, step{Op: "replace", Path: "/spec/replicas", Value: back.replicas})
		}
		if !back.routes && (!back.inPlace || back.inSteps) {
			steps = append(steps, commandStep(d.ObjectMeta, canary.CommandRetry+" #"+unique())...)
		}
		return steps, nil
	})
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(written.Spec.Template)
	if err != nil {
		return "", fmt.Errorf("read the pod template of Deployment %s: %w", shown.Name, err)
	}
	_, hash, err = objects.TemplateHash(text)
	return hash, err
}

// resume takes the guard's pause off: what runs then was judged before.
func (o *rollback) resume(ctx context.Context, c cluster, name string) error {
	_, err := c.patchDeployment(ctx, name, func(d *appsv1.Deployment) ([]step, error) {
		if !d.Spec.Paused {
			return nil, nil
		}
		return []step{{Op: "remove", Path: "/spec/paused"}}, nil
	})
	return err
}

// patchDeployment patches a Deployment as it is read, and anew where somebody else
// wrote it meanwhile; it gives it as it is then. No steps: nothing is written.
func (c cluster) patchDeployment(ctx context.Context, name string, change func(*appsv1.Deployment) ([]step, error)) (*appsv1.Deployment, error) {
	deployments := c.kube.AppsV1().Deployments(c.namespace)
	for try := 0; ; try++ {
		d, err := deployments.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil, fmt.Errorf("read Deployment %s/%s: %w", c.namespace, name, err)
		}
		steps, err := change(d)
		if err != nil || len(steps) == 0 {
			return d, err
		}
		steps = append([]step{{Op: "test", Path: "/metadata/resourceVersion", Value: d.ResourceVersion}}, steps...)
		body, err := json.Marshal(steps)
		if err != nil {
			return nil, fmt.Errorf("make a patch: %w", err)
		}
		d, err = deployments.Patch(ctx, name, types.JSONPatchType, body, metav1.PatchOptions{FieldManager: fieldManager})
		switch {
		case err == nil:
			return d, nil
		case apierrors.IsForbidden(err):
			return nil, fmt.Errorf("write Deployment %s/%s: %w; it takes the right to patch it", c.namespace, name, err)
		case try < writes && (apierrors.IsConflict(err) || apierrors.IsInvalid(err)):
			continue
		}
		return nil, fmt.Errorf("write Deployment %s/%s: %w", c.namespace, name, err)
	}
}

// await waits until all pods of the Deployment are of the template, ready, and report
// the digests that were recorded.
func (o *rollback) await(ctx context.Context, r *reader, found sight, back goingBack, hash string) (canary.Track, error) {
	told := ""
	last, err := o.until(ctx, r, found, o.timeout, func(s sight) bool {
		d, _ := byName(s, back.deployment.Name)
		t := s.track(back.deployment.Name)
		line := fmt.Sprintf("%d of %d pods of %s are ready", t.Ready, d.Replicas, d.Name)
		if t.Problem != "" {
			line += " (" + t.Problem + ")"
		}
		if d.TemplateHash != hash || !d.Observed {
			line = "Kubernetes has not seen the new template yet"
		} else if !d.Complete {
			line = "being updated: " + line
		}
		if line != told {
			told = line
			o.progress("%s", line)
		}
		return d.TemplateHash == hash && d.Complete && len(unreported(t.Images, back.template)) == 0
	})
	t := last.track(back.deployment.Name)
	if errors.Is(err, errTooLate) {
		why := told
		if d, _ := byName(last, back.deployment.Name); d.TemplateHash == hash && d.Complete {
			why = "its pods are ready, but do not report the digest of " + strings.Join(unreported(t.Images, back.template), ", ") + ": not verified"
		}
		return t, ending{exitTimeout, fmt.Sprintf("rollback %s: the template of %s is written, and not carried out within %s: %s. Kubernetes goes on with it", found.key, back.version.name, o.timeout, why)}
	}
	return t, err
}

// unreported are the containers of a template whose pods do not report the digest by
// which the template names their image. Of containers that run and end before the
// others the kubelet's word is not waited for.
func unreported(reported []canary.Image, template map[string]any) (names []string) {
	spec, _ := template["spec"].(map[string]any)
	list, _ := spec["containers"].([]any)
	for _, item := range list {
		c, _ := item.(map[string]any)
		name, _ := c["name"].(string)
		reference, _ := c["image"].(string)
		_, digest, _ := strings.Cut(reference, "@")
		found := false
		for _, i := range reported {
			found = found || i.Container == name && i.Digest == digest
		}
		if !found {
			names = append(names, name)
		}
	}
	return names
}

// moveRoutes has Serin give the traffic back to the version before.
func (o *rollback) moveRoutes(ctx context.Context, s *session, r *reader, found sight) error {
	ready, err := r.look(ctx, found.key)
	if err != nil {
		return err
	}
	w, already, err := ready.prepare(canary.CommandRollback)
	if err != nil || already != "" {
		return err
	}
	records := len(ready.observation.History)
	if err := s.cluster.command(ctx, w); err != nil {
		return err
	}
	s.warnUnled(ctx)
	return o.confirm(ctx, r, ready, w, records)
}

// promote gives the release that begins all traffic, over the steps between.
func (o *rollback) promote(ctx context.Context, s *session, r *reader, found sight, back goingBack) error {
	s.warnUnled(ctx)
	last, err := o.until(ctx, r, found, o.timeout, func(s sight) bool {
		if s.state.Rollout == found.state.Rollout || !s.state.Phase.Active() || s.state.Canary.Deployment != back.deployment.Name {
			return false
		}
		_, _, err := s.prepare(canary.CommandPromote)
		return err == nil
	})
	if errors.Is(err, errTooLate) {
		return ending{exitTimeout, fmt.Sprintf("rollback %s: %s runs %s, and the traffic could not follow within %s: %s", found.key, back.deployment.Name, back.version.name, o.timeout, last.view().Sentence)}
	}
	if err != nil {
		return err
	}
	w, already, err := last.prepare(canary.CommandPromote)
	if err != nil || already != "" {
		return err
	}
	records := len(last.observation.History)
	if err := s.cluster.command(ctx, w); err != nil {
		return err
	}
	promotion := order{tool: o.tool, verb: canary.CommandPromote, timeout: o.timeout}
	return promotion.confirm(ctx, r, last, w, records)
}
