package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"serin.dev/serin/pkg/topology"
)

const (
	// liveReadTimeout bounds a read that a worker waits for.
	liveReadTimeout = 3 * time.Second
	// unsettledFor is how long the pods of a Deployment that is not complete
	// are believed: a container may begin to crash without a change of it.
	unsettledFor = 15 * time.Second
)

// podCache knows the pods of the Deployments that matter, and of no others: a
// cluster may have a hundred thousand. Services with a rollout under way are
// watched; for the rest a list is taken when the Deployment changed.
type podCache struct {
	kube    kubernetes.Interface
	dynamic dynamic.Interface
	changed func(Key)

	mu      sync.Mutex
	ctx     context.Context // of run; nil before
	wg      sync.WaitGroup
	watches map[Key]*podWatch
	sets    map[types.UID]replicaSets // by Deployment
	lists   map[types.UID]podList     // by Deployment
}

// replicaSets are those of a Deployment, as read for it in a version.
type replicaSets struct {
	revision, version string
	present           replicaSet // that of the present template; no uid: there is none
	// running are those with pods or wanted ones, newest first; only where the
	// Deployment is updated in place, which inPlace tells.
	running []replicaSet
	inPlace bool
}

type replicaSet struct {
	uid          types.UID
	created      time.Time
	name, hash   string // the hash is its pods' label
	template     string // hash of its template without that label
	raw          []byte // the template; nil where it is that of the Deployment
	wanted, pods int
	ready        int
}

type podList struct {
	version string // of the Deployment it was read for
	at      time.Time
	pods    map[types.UID][]topology.Pod // by ReplicaSet
}

// podWatch has one listener, and so shares its informer with nobody: with a
// thousand rollouts what sharing takes would be a tenth of all memory.
type podWatch struct {
	store    cache.Store
	informer cache.Controller
	selector string
	stop     context.CancelFunc
}

// pod is a reduced pod in a watch.
type pod struct {
	metav1.ObjectMeta
	owner   types.UID
	canary  bool // it has the label that pods of our canaries have
	reduced topology.Pod
}

func (p *podCache) init(o Options) {
	p.kube, p.dynamic = o.Kube, o.Dynamic
	p.changed = func(Key) {}
	p.watches = map[Key]*podWatch{}
	p.sets = map[types.UID]replicaSets{}
	p.lists = map[types.UID]podList{}
}

// run lets watches start, and ends them all with ctx.
func (p *podCache) run(ctx context.Context) {
	p.mu.Lock()
	p.ctx = ctx
	p.mu.Unlock()
	<-ctx.Done()
	p.mu.Lock()
	clear(p.watches)
	p.mu.Unlock()
	p.wg.Wait()
}

// Follow watches the pods of a Service while a rollout is under way, and stops
// when told so. It is cheap to call when nothing changes.
func (c *Cache) Follow(k Key, on bool) {
	s, ok := get[*service](c.services, k.Namespace, k.Name)
	if !ok || len(s.reduced.Selector) == 0 {
		on = false
	}
	selector := ""
	if on {
		selector = labels.SelectorFromSet(s.reduced.Selector).String()
	}
	c.pods.follow(k, selector)
}

func (p *podCache) follow(k Key, selector string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.watches[k]
	if w != nil && w.selector != selector {
		w.stop()
		delete(p.watches, k)
		w = nil
	}
	if w != nil || selector == "" || p.ctx == nil || p.ctx.Err() != nil {
		return
	}
	w = p.watch(k, selector)
	p.watches[k] = w
	ctx, stop := context.WithCancel(p.ctx)
	w.stop = stop
	p.wg.Go(func() { w.informer.RunWithContext(ctx) })
}

// watch lists the pods and then watches them. A watch that begins with all of them is
// made of all pods of the cluster: with 100,000 each one takes the API server 50 ms of a
// core and 3 MB, and after a start a thousand are begun. A list goes through those of
// the namespace.
func (p *podCache) watch(k Key, selector string) *podWatch {
	lw := unwatched{cache.NewFilteredListWatchFromClient(p.kube.CoreV1().RESTClient(), "pods", k.Namespace,
		func(o *metav1.ListOptions) {
			o.LabelSelector = selector
			if o.ResourceVersion == "0" {
				o.ResourceVersion = "" // as they are, and not as some API server remembers them
			}
		})}
	store, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: lw, ObjectType: &corev1.Pod{}, Transform: reducePod,
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { p.changed(k) },
			UpdateFunc: func(any, any) { p.changed(k) },
			DeleteFunc: func(any) { p.changed(k) },
		},
	})
	return &podWatch{store: store, informer: informer, selector: selector}
}

// fill reads when the ReplicaSet of a Deployment's present template was made, and
// its pods, from the watch of the Service if there is one; and, where the
// Deployment is updated in place, all ReplicaSets that run.
func (p *podCache) fill(ctx context.Context, k Key, d *deployment, inPlace bool, out *topology.Deployment) error {
	if !d.reduced.Observed && !inPlace && d.revision == "" {
		return nil // it has no ReplicaSet yet
	}
	sets, err := p.replicaSetsOf(ctx, d, inPlace)
	if err != nil {
		return err
	}
	var owners []types.UID
	// An annotation is a generation, too, that the deployment controller has yet to see.
	// The revision is of this template all the same, unless the template is another.
	if sets.present.uid != "" && (d.reduced.Observed || sets.present.template == d.reduced.TemplateHash) {
		out.ReplicaSetAt = sets.present.created
		owners = append(owners, sets.present.uid)
	}
	for _, s := range sets.running {
		owners = append(owners, s.uid)
	}
	if len(owners) == 0 {
		return nil
	}
	pods, err := p.podsOf(ctx, k, d, owners)
	if !out.ReplicaSetAt.IsZero() {
		out.Pods = pods[sets.present.uid]
	}
	var unread error
	out.Sets, unread = describeSets(sets.running, pods, out.Doc)
	return errors.Join(err, unread)
}

// podsOf gives the pods of ReplicaSets.
func (p *podCache) podsOf(ctx context.Context, k Key, d *deployment, owners []types.UID) (map[types.UID][]topology.Pod, error) {
	if all, synced := p.watched(k); synced {
		p.mu.Lock()
		delete(p.lists, d.UID) // what was listed until then
		p.mu.Unlock()
		return ownedBy(owners, all), nil
	}
	return p.listOf(ctx, d, owners)
}

// watched are the pods of a Service whose watch has read them all.
func (p *podCache) watched(k Key) (pods []*pod, synced bool) {
	p.mu.Lock()
	w := p.watches[k]
	p.mu.Unlock()
	if w == nil || !w.informer.HasSynced() {
		return nil, false
	}
	for _, o := range w.store.List() {
		if reduced, ok := o.(*pod); ok {
			pods = append(pods, reduced)
		}
	}
	return pods, true
}

// ownedBy picks the pods of owners, each of which has an entry.
func ownedBy(owners []types.UID, all []*pod) map[types.UID][]topology.Pod {
	out := map[types.UID][]topology.Pod{}
	for _, uid := range owners {
		out[uid] = nil
	}
	for _, one := range all {
		if _, wanted := out[one.owner]; wanted {
			out[one.owner] = append(out[one.owner], one.reduced)
		}
	}
	for _, pods := range out {
		sortPods(pods)
	}
	return out
}

func sortPods(pods []topology.Pod) {
	slices.SortFunc(pods, func(a, b topology.Pod) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
}

// listOf reads the pods once for every version of the Deployment.
func (p *podCache) listOf(ctx context.Context, d *deployment, owners []types.UID) (map[types.UID][]topology.Pod, error) {
	p.mu.Lock()
	known := p.lists[d.UID]
	p.mu.Unlock()
	asked := !slices.ContainsFunc(owners, func(uid types.UID) bool { _, ok := known.pods[uid]; return !ok })
	if asked && known.version == d.ResourceVersion && (d.reduced.Complete || time.Since(known.at) < unsettledFor) {
		return known.pods, nil
	}
	ctx, cancel := context.WithTimeout(ctx, liveReadTimeout)
	defer cancel()
	found, err := p.kube.CoreV1().Pods(d.Namespace).List(ctx, metav1.ListOptions{LabelSelector: d.selector})
	if err != nil {
		return nil, fmt.Errorf("list the pods of Deployment %s/%s: %w", d.Namespace, d.Name, err)
	}
	all := make([]*pod, 0, len(found.Items))
	for i := range found.Items {
		all = append(all, reduced(&found.Items[i]))
	}
	out := ownedBy(owners, all)
	p.mu.Lock()
	p.lists[d.UID] = podList{version: d.ResourceVersion, at: time.Now(), pods: out}
	p.mu.Unlock()
	return out, nil
}

// forget drops what is known of a Deployment that is gone.
func (p *podCache) forget(uid types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.sets, uid)
	delete(p.lists, uid)
}

func reducePod(o any) (any, error) {
	p, ok := o.(*corev1.Pod)
	if !ok {
		return o, nil
	}
	return reduced(p), nil
}

func reduced(p *corev1.Pod) *pod {
	r := &pod{ObjectMeta: slim(p.ObjectMeta), canary: p.Labels[topology.TrackKey] == topology.TrackCanary, reduced: describe(p)}
	if owner := metav1.GetControllerOf(p); owner != nil {
		r.owner = owner.UID
	}
	return r
}

// describe reduces a pod. A pod that is being deleted counts as not ready.
func describe(p *corev1.Pod) topology.Pod {
	out := topology.Pod{Name: p.Name, IP: p.Status.PodIP}
	for _, c := range p.Status.Conditions {
		switch {
		case c.Type == corev1.PodReady:
			if out.Ready = c.Status == corev1.ConditionTrue && p.DeletionTimestamp == nil; out.Ready {
				out.Since = c.LastTransitionTime.Time
			}
		case c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse:
			out.Waiting, out.Message = c.Reason, c.Message
		}
	}
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		out.Restarts += int(c.RestartCount)
		if ended := c.LastTerminationState.Terminated; ended != nil && ended.Reason == "OOMKilled" {
			out.Killed++
		}
		if digest := topology.Digest(c.ImageID); digest != "" {
			if out.Images == nil {
				out.Images = map[string]string{}
			}
			out.Images[c.Name] = digest
		}
		if c.State.Waiting != nil && (out.Waiting == "" || c.State.Waiting.Reason == "CrashLoopBackOff") {
			out.Waiting, out.Message = c.State.Waiting.Reason, c.State.Waiting.Message
		}
	}
	for _, c := range p.Status.ContainerStatuses {
		if c.ImageID != "" {
			out.Digests = append(out.Digests, c.ImageID)
		}
	}
	out.Digests = unique(out.Digests)
	return out
}
