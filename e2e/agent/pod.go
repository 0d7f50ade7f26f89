package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// retryEvery is how long to wait before the API server is asked again, while
// it is away.
const retryEvery = 250 * time.Millisecond

// pod runs one pod.
type pod struct {
	agent      *Agent
	spec       *corev1.Pod // as first seen; what the agent honours is immutable
	ip         string
	containers []*container
	sidecar    *sidecar // nil without
	changed    chan struct{}

	endOnce sync.Once
	ending  chan struct{} // closed when the pod has to end
	mu      sync.Mutex
	grace   time.Duration // how long its end may take
}

func newPod(a *Agent, spec *corev1.Pod, ip string) *pod {
	p := &pod{agent: a, spec: spec, ip: ip, changed: make(chan struct{}, 1), ending: make(chan struct{})}
	for i := range spec.Spec.Containers {
		p.containers = append(p.containers, newContainer(p, &spec.Spec.Containers[i]))
	}
	if injected(spec) {
		p.sidecar = newSidecar(p)
	}
	return p
}

// injected tells whether the pod wants a sidecar.
func injected(spec *corev1.Pod) bool { return spec.Labels[injectLabel] == "true" }

func graceOf(o *corev1.Pod) time.Duration {
	if s := o.DeletionGracePeriodSeconds; s != nil {
		return time.Duration(*s) * time.Second
	}
	return 30 * time.Second
}

// end begins the pod's end.
func (p *pod) end(grace time.Duration) {
	p.mu.Lock()
	p.grace = grace
	p.mu.Unlock()
	p.endOnce.Do(func() { close(p.ending) })
}

// run runs the pod until it has ended, and then takes it off the API server.
func (p *pod) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	for _, c := range p.containers {
		running.Go(func() { c.run(ctx) })
	}
	if p.sidecar != nil {
		running.Go(func() { p.sidecar.run(ctx) })
	}
	go p.report(ctx)
	p.touch()
	select {
	case <-ctx.Done():
	case <-p.ending:
	}
	p.stopContainers()
	cancel()
	running.Wait()
	p.remove(context.WithoutCancel(ctx))
}

// stopContainers asks all containers to end and kills those that have not
// within the grace period.
func (p *pod) stopContainers() {
	p.mu.Lock()
	grace := p.grace
	p.mu.Unlock()
	var stopping sync.WaitGroup
	for _, c := range p.containers {
		stopping.Go(func() { c.stop(grace) })
	}
	stopping.Wait()
}

// touch has the status reported.
func (p *pod) touch() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// report keeps the pod's status at the API server up to date.
func (p *pod) report(ctx context.Context) {
	last := p.spec.Status
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.changed:
		}
		next := p.status(last, metav1.Now())
		if reflect.DeepEqual(last, next) {
			continue
		}
		if err := p.write(ctx, next); err != nil {
			if ctx.Err() != nil || apierrors.IsNotFound(err) {
				return
			}
			fmt.Fprintf(os.Stderr, "agent: status of %s/%s: %v\n", p.spec.Namespace, p.spec.Name, err)
			time.AfterFunc(retryEvery, p.touch)
			continue
		}
		last = next
	}
}

func (p *pod) status(last corev1.PodStatus, now metav1.Time) corev1.PodStatus {
	states := make([]containerState, len(p.containers))
	for i, c := range p.containers {
		states[i] = c.current()
	}
	return podStatus(last, p.ip, states, p.sidecar == nil || p.sidecar.isReady(), now)
}

// write replaces the status. The UID keeps it from reaching another pod that
// has got the same name.
func (p *pod) write(ctx context.Context, s corev1.PodStatus) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": p.spec.UID}, "status": s})
	if err != nil {
		return err
	}
	_, err = p.agent.client.CoreV1().Pods(p.spec.Namespace).Patch(ctx, p.spec.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}

// remove takes the pod off the API server, however long that is away.
func (p *pod) remove(ctx context.Context) {
	options := metav1.DeleteOptions{GracePeriodSeconds: new(int64(0)), Preconditions: metav1.NewUIDPreconditions(string(p.spec.UID))}
	for {
		err := p.agent.client.CoreV1().Pods(p.spec.Namespace).Delete(ctx, p.spec.Name, options)
		if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return
		}
		sleep(ctx, retryEvery)
	}
}
