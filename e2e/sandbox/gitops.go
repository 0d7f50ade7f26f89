package sandbox

import (
	"cmp"
	"context"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// GitOpsOptions are all optional.
type GitOpsOptions struct {
	Manager string        // field manager; default "argocd-controller"
	Every   time.Duration // between two rounds; default 2s
	// Force takes fields over from other managers, as Argo CD and Flux do.
	// Without it such an object is left as it is, and counted as a conflict.
	Force bool
}

// GitOps is a GitOps tool at work: it server-side applies the same manifests
// again and again, whatever anybody else has made of the objects.
type GitOps struct {
	options GitOpsOptions
	clients *clients
	cancel  context.CancelFunc
	done    chan struct{}

	mu        sync.Mutex
	manifests []*unstructured.Unstructured
	counts    GitOpsCounts
}

// GitOpsCounts is what came of the objects that were applied.
type GitOpsCounts struct {
	Rounds    int // over all manifests
	Applied   int // objects
	Conflicts int // objects with fields of other managers
	Refused   int // objects that were refused for other reasons
	LastError error
}

// StartGitOps begins to apply manifests as an administrator, at once and then
// until ctx ends or Stop.
func (s *Sandbox) StartGitOps(ctx context.Context, manifests string, o GitOpsOptions) (*GitOps, error) {
	o.Manager, o.Every = cmp.Or(o.Manager, "argocd-controller"), cmp.Or(o.Every, 2*time.Second)
	ctx, cancel := context.WithCancel(ctx)
	g := &GitOps{options: o, clients: s.clients, cancel: cancel, done: make(chan struct{})}
	if err := g.Commit(manifests); err != nil {
		cancel()
		return nil, err
	}
	go g.run(ctx)
	return g, nil
}

// Commit replaces the manifests, from the next round on. What is no longer
// among them is left as it is.
func (g *GitOps) Commit(manifests string) error {
	objects, err := parse([]byte(manifests))
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.manifests = objects
	return nil
}

// Counts is what has come of it so far.
func (g *GitOps) Counts() GitOpsCounts {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.counts
}

// Stop ends the loop and waits for its end.
func (g *GitOps) Stop() {
	g.cancel()
	<-g.done
}

func (g *GitOps) run(ctx context.Context) {
	defer close(g.done)
	tick := time.NewTicker(g.options.Every)
	defer tick.Stop()
	for {
		g.round(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// round applies each object once.
func (g *GitOps) round(ctx context.Context) {
	g.mu.Lock()
	objects := g.manifests
	g.mu.Unlock()
	for _, o := range objects {
		err := g.clients.applyOne(ctx, o.DeepCopy(), metav1.ApplyOptions{FieldManager: g.options.Manager, Force: g.options.Force})
		if ctx.Err() != nil {
			return // what came of this one is not known
		}
		g.count(err)
	}
	g.mu.Lock()
	g.counts.Rounds++
	g.mu.Unlock()
}

func (g *GitOps) count(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case err == nil:
		g.counts.Applied++
		return
	case apierrors.IsConflict(err):
		g.counts.Conflicts++
	default:
		g.counts.Refused++
	}
	g.counts.LastError = err
}
