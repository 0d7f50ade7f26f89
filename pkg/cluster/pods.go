package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
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
	changed func(Key)

	mu      sync.Mutex
	ctx     context.Context // of run; nil before
	wg      sync.WaitGroup
	watches map[Key]*podWatch
	sets    map[types.UID]replicaSet // by Deployment
	lists   map[types.UID]podList    // by Deployment
}

// replicaSet is that of a Deployment's present template.
type replicaSet struct {
	revision string
	uid      types.UID
	created  time.Time
}

type podList struct {
	version string // of the Deployment it was read for
	at      time.Time
	pods    []topology.Pod
}

type podWatch struct {
	informer cache.SharedIndexInformer
	selector string
	stop     context.CancelFunc
}

// pod is a reduced pod in a watch.
type pod struct {
	metav1.ObjectMeta
	owner   types.UID
	reduced topology.Pod
}

func (p *podCache) init(kube kubernetes.Interface) {
	p.kube = kube
	p.changed = func(Key) {}
	p.watches = map[Key]*podWatch{}
	p.sets = map[types.UID]replicaSet{}
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

func (p *podCache) watch(k Key, selector string) *podWatch {
	lw := cache.NewFilteredListWatchFromClient(p.kube.CoreV1().RESTClient(), "pods", k.Namespace,
		func(o *metav1.ListOptions) { o.LabelSelector = selector })
	informer := cache.NewSharedIndexInformer(lw, &corev1.Pod{}, 0, cache.Indexers{})
	// Neither can fail before the informer runs.
	_ = informer.SetTransform(reducePod)
	_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { p.changed(k) },
		UpdateFunc: func(any, any) { p.changed(k) },
		DeleteFunc: func(any) { p.changed(k) },
	})
	return &podWatch{informer: informer, selector: selector}
}

// of gives when the ReplicaSet of a Deployment's present template was made, and
// its pods, from the watch of the Service if there is one.
func (p *podCache) of(ctx context.Context, k Key, d *deployment) (time.Time, []topology.Pod, error) {
	if !d.observed {
		return time.Time{}, nil, nil // the ReplicaSet of this template isn't made yet
	}
	rs, err := p.replicaSetOf(ctx, d)
	if err != nil || rs.uid == "" {
		return time.Time{}, nil, err
	}
	p.mu.Lock()
	w := p.watches[k]
	p.mu.Unlock()
	if w != nil && w.informer.HasSynced() {
		return rs.created, owned(w.informer.GetStore().List(), rs.uid), nil
	}
	pods, err := p.listOf(ctx, d, rs)
	return rs.created, pods, err
}

func owned(objects []any, owner types.UID) []topology.Pod {
	var out []topology.Pod
	for _, o := range objects {
		if p, ok := o.(*pod); ok && p.owner == owner {
			out = append(out, p.reduced)
		}
	}
	sortPods(out)
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

// replicaSetOf finds the ReplicaSet of the present template: both carry the
// same revision.
func (p *podCache) replicaSetOf(ctx context.Context, d *deployment) (replicaSet, error) {
	p.mu.Lock()
	known := p.sets[d.UID]
	p.mu.Unlock()
	if known.uid != "" && known.revision == d.revision {
		return known, nil
	}
	ctx, cancel := context.WithTimeout(ctx, liveReadTimeout)
	defer cancel()
	sets, err := p.kube.AppsV1().ReplicaSets(d.Namespace).List(ctx, metav1.ListOptions{LabelSelector: d.selector})
	if err != nil {
		return replicaSet{}, fmt.Errorf("list the ReplicaSets of Deployment %s/%s: %w", d.Namespace, d.Name, err)
	}
	for _, s := range sets.Items {
		if ownedBy(&s, d.UID) && s.Annotations[revisionAnnotation] == d.revision {
			found := replicaSet{revision: d.revision, uid: s.UID, created: s.CreationTimestamp.Time}
			p.mu.Lock()
			p.sets[d.UID] = found
			p.mu.Unlock()
			return found, nil
		}
	}
	return replicaSet{}, nil
}

func ownedBy(s *appsv1.ReplicaSet, uid types.UID) bool {
	owner := metav1.GetControllerOf(s)
	return owner != nil && owner.UID == uid
}

// listOf reads the pods once for every version of the Deployment.
func (p *podCache) listOf(ctx context.Context, d *deployment, rs replicaSet) ([]topology.Pod, error) {
	p.mu.Lock()
	known := p.lists[d.UID]
	p.mu.Unlock()
	if known.version == d.ResourceVersion && (d.reduced.Complete || time.Since(known.at) < unsettledFor) {
		return known.pods, nil
	}
	ctx, cancel := context.WithTimeout(ctx, liveReadTimeout)
	defer cancel()
	all, err := p.kube.CoreV1().Pods(d.Namespace).List(ctx, metav1.ListOptions{LabelSelector: d.selector})
	if err != nil {
		return nil, fmt.Errorf("list the pods of Deployment %s/%s: %w", d.Namespace, d.Name, err)
	}
	var out []topology.Pod
	for i := range all.Items {
		if owner := metav1.GetControllerOf(&all.Items[i]); owner != nil && owner.UID == rs.uid {
			out = append(out, describe(&all.Items[i]))
		}
	}
	sortPods(out)
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
	r := &pod{ObjectMeta: slim(p.ObjectMeta), reduced: describe(p)}
	if owner := metav1.GetControllerOf(p); owner != nil {
		r.owner = owner.UID
	}
	return r, nil
}

// describe reduces a pod. A pod that is being deleted counts as not ready.
func describe(p *corev1.Pod) topology.Pod {
	out := topology.Pod{Name: p.Name}
	for _, c := range p.Status.Conditions {
		switch {
		case c.Type == corev1.PodReady:
			out.Ready = c.Status == corev1.ConditionTrue && p.DeletionTimestamp == nil
		case c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse:
			out.Waiting, out.Message = c.Reason, c.Message
		}
	}
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		out.Restarts += int(c.RestartCount)
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
