package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/topology"
)

// hashLabel is the label by which the deployment controller tells the pods of one
// ReplicaSet from another's.
const hashLabel = appsv1.DefaultDeploymentUniqueLabelKey

// updatedInPlace picks, of the Deployments of one Service, those that are or may
// be updated in place: whoever asks for it or is alone, who is held, and who has a
// canary of ours. With a canary it is read also where in-place mode was switched
// off meanwhile: who may have the users back must be known.
func (c *Cache) updatedInPlace(all []*deployment) map[string]bool {
	out := map[string]bool{}
	users := 0
	for _, d := range all {
		if d.reduced.CloneOf == "" {
			users++
		}
	}
	for _, d := range all {
		r := d.reduced
		switch {
		case r.CloneOf != "":
			out[r.CloneOf] = true
		case !c.options.InPlace:
		case marked(r):
			out[r.Name] = true
		case topology.OptedIn(r) && !topology.Observed(r):
			mode := topology.ModeOf(r)
			out[r.Name] = out[r.Name] || mode == canary.ModeInPlace || mode != canary.ModePair && users == 1
		}
	}
	return out
}

// replicaSetsOf reads a Deployment's ReplicaSets. That of the present template has
// the Deployment's revision. Which of them run is another matter: the revision of
// a paused Deployment is that of the template it asks for, if it ever had it.
func (p *podCache) replicaSetsOf(ctx context.Context, d *deployment, inPlace bool) (replicaSets, error) {
	p.mu.Lock()
	known := p.sets[d.UID]
	p.mu.Unlock()
	if fits(&known, d, inPlace) {
		return known, nil
	}
	ctx, cancel := context.WithTimeout(ctx, liveReadTimeout)
	defer cancel()
	listed, err := p.kube.AppsV1().ReplicaSets(d.Namespace).List(ctx, metav1.ListOptions{LabelSelector: d.selector})
	if err != nil {
		return replicaSets{}, fmt.Errorf("list the ReplicaSets of Deployment %s/%s: %w", d.Namespace, d.Name, err)
	}
	found := replicaSets{revision: d.revision, version: d.ResourceVersion, inPlace: inPlace}
	for i := range listed.Items {
		if owner := metav1.GetControllerOf(&listed.Items[i]); owner == nil || owner.UID != d.UID {
			continue
		}
		s, err := reduceSet(&listed.Items[i])
		if err != nil {
			return replicaSets{}, err
		}
		if listed.Items[i].Annotations[revisionAnnotation] == d.revision && (!d.reduced.Paused || !inPlace || s.template == d.reduced.TemplateHash) {
			found.present = s
		}
		if inPlace && (s.wanted > 0 || s.pods > 0) {
			found.running = append(found.running, s)
		}
	}
	slices.SortFunc(found.running, func(a, b replicaSet) int {
		return cmp.Or(b.created.Compare(a.created), cmp.Compare(a.name, b.name))
	})
	if err := p.readTemplates(ctx, d, known.running, found.running); err != nil {
		return replicaSets{}, err
	}
	p.mu.Lock()
	p.sets[d.UID] = found
	p.mu.Unlock()
	return found, nil
}

// fits tells that what is known of a Deployment's ReplicaSets is true of this
// version of it. Of one that is at rest only the numbers change, as it does
// itself; they are put right.
func fits(known *replicaSets, d *deployment, inPlace bool) bool {
	if !inPlace {
		return known.present.uid != "" && known.revision == d.revision
	}
	if !known.inPlace || known.revision != d.revision {
		return false
	}
	if known.version == d.ResourceVersion {
		return true
	}
	atRest := d.reduced.Complete && !d.reduced.Paused && len(known.running) == 1 && known.running[0].uid == known.present.uid
	if atRest {
		known.running = slices.Clone(known.running)
		known.running[0].wanted, known.running[0].ready = d.reduced.Replicas, d.reduced.Ready
	}
	return atRest
}

func reduceSet(s *appsv1.ReplicaSet) (replicaSet, error) {
	template := s.Spec.Template.DeepCopy()
	label := template.Labels[hashLabel]
	delete(template.Labels, hashLabel)
	hash, err := templateHash(template)
	if err != nil {
		return replicaSet{}, fmt.Errorf("hash the pod template of ReplicaSet %s/%s: %w", s.Namespace, s.Name, err)
	}
	wanted := 1 // what the API server defaults to
	if s.Spec.Replicas != nil {
		wanted = int(*s.Spec.Replicas)
	}
	return replicaSet{
		uid: s.UID, created: s.CreationTimestamp.Time, name: s.Name, hash: label, template: hash,
		wanted: wanted, pods: int(s.Status.Replicas), ready: int(s.Status.ReadyReplicas),
	}, nil
}

// readTemplates reads the templates of those that run another one than the
// Deployment asks for: whole, for they may be put back. What is known of before
// need not be read again.
func (p *podCache) readTemplates(ctx context.Context, d *deployment, known, running []replicaSet) error {
	kept := map[types.UID][]byte{}
	for _, s := range known {
		kept[s.uid] = s.raw
	}
	client := p.dynamic.Resource(appsv1.SchemeGroupVersion.WithResource("replicasets")).Namespace(d.Namespace)
	for i := range running {
		s := &running[i]
		if s.raw = kept[s.uid]; s.raw != nil || s.template == d.reduced.TemplateHash {
			continue
		}
		u, err := client.Get(ctx, s.name, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("read ReplicaSet %s/%s: %w", d.Namespace, s.name, err)
		}
		template, _, _ := unstructured.NestedMap(u.Object, "spec", "template")
		unstructured.RemoveNestedField(template, "metadata", "labels", hashLabel)
		if s.raw, err = keep(template); err != nil {
			return fmt.Errorf("keep the template of ReplicaSet %s/%s: %w", d.Namespace, s.name, err)
		}
	}
	return nil
}

// describeSets gives ReplicaSets as the pure rooms take them. doc is the
// Deployment they are of; its template is that of those that name no other.
func describeSets(running []replicaSet, pods map[types.UID][]topology.Pod, doc map[string]any) (out []topology.ReplicaSet, err error) {
	var errs []error
	for _, s := range running {
		template, err := decode(s.raw)
		if err != nil {
			errs = append(errs, fmt.Errorf("decode the template of ReplicaSet %s: %w", s.name, err))
		}
		if template == nil {
			spec, _ := doc["spec"].(map[string]any)
			template, _ = spec["template"].(map[string]any)
		}
		out = append(out, topology.ReplicaSet{
			Name: s.name, Hash: s.hash, TemplateHash: s.template, Created: s.created,
			Replicas: s.wanted, Ready: s.ready, Pods: pods[s.uid], Template: template,
		})
	}
	return out, errors.Join(errs...)
}

// canaryPods counts the pods of canaries that were made for a Service, with those
// that are going: from the watch, or else live. Where nothing of ours is about
// there are none, and nobody is asked.
func (c *Cache) canaryPods(ctx context.Context, k Key, s *topology.Service) (int, error) {
	if !c.left(k) && len(list[*routes](c.routes, byInPlace, k.String())) == 0 {
		return 0, nil
	}
	if pods, synced := c.pods.watched(k); synced {
		n := 0
		for _, p := range pods {
			if p.canary {
				n++
			}
		}
		return n, nil
	}
	selector, known := c.podsOfService(k, s)
	if !known {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, liveReadTimeout)
	defer cancel()
	found, err := c.options.Kube.CoreV1().Pods(k.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: selector + "," + topology.TrackKey + "=" + topology.TrackCanary})
	if err != nil {
		return 0, fmt.Errorf("count the canary's pods of Service %s: %w", k, err)
	}
	return len(found.Items), nil
}

// podsOfService selects the pods behind a Service; where that is gone, those of
// its Deployments. False when there is nobody whose pods they could be.
func (c *Cache) podsOfService(k Key, s *topology.Service) (selector string, known bool) {
	if s != nil && len(s.Selector) > 0 {
		return labels.SelectorFromSet(s.Selector).String(), true
	}
	for _, d := range c.deploymentsOf(k) {
		if d.reduced.CloneOf != "" || topology.OptedIn(d.reduced) || marked(d.reduced) {
			return d.selector, true
		}
	}
	return "", false
}
