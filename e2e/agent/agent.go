// Package agent is the sandbox's kubelet: it runs the pods bound to its node
// as local processes and tells the API server how they are. Every container is
// the demo application, whatever its image; an image whose name begins with
// "missing/" cannot be pulled, and a tag names another image once it was moved.
//
// Of a pod it honours: environment values and field references, container
// ports, HTTP and TCP readiness probes, the pull policy, the grace period, and the
// label sidecar.istio.io/inject. Liveness and startup probes, hooks, volumes,
// resources and restart policies other than Always it does not. Ports are
// forwarded to the loopback that all pods share.
package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"

	"serin.dev/serin/e2e/mesh"
)

// NodeName is the name of the only node.
const NodeName = "local"

// Config is what the agent needs to know.
type Config struct {
	Kubeconfig  string
	App         string        // the program every container runs
	Envoy       string        // for the sidecars
	Dir         string        // where it keeps its files
	LogDir      string        // where the output of containers goes, a file each
	TargetsFile string        // where Prometheus reads the proxies from
	Targets     []mesh.Target // proxies that are always there
	Metrics     MetricsAPI
}

// Agent runs pods.
type Agent struct {
	Config
	client    kubernetes.Interface
	dynamic   dynamic.Interface
	appDigest string
	images    images

	mu      sync.Mutex
	pods    map[types.UID]*pod
	nextIP  netip.Addr
	targets map[types.UID]mesh.Target
	cpu     map[string]int64 // by namespace: what its ready pods use in all, in thousandths of a core
}

// New reads the configuration and makes an agent that has yet to be run.
func New(c Config) (*Agent, error) {
	config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read the agent's kubeconfig: %w", err)
	}
	config.QPS = -1 // one node, one agent: nobody to be fair to
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make the agent's client: %w", err)
	}
	dyn, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make the agent's client: %w", err)
	}
	app, err := os.ReadFile(c.App)
	if err != nil {
		return nil, fmt.Errorf("read the demo application: %w", err)
	}
	sum := sha256.Sum256(app)
	return &Agent{
		Config: c, client: client, dynamic: dyn, appDigest: hex.EncodeToString(sum[:]),
		pods: map[types.UID]*pod{}, targets: map[types.UID]mesh.Target{}, cpu: map[string]int64{},
		nextIP: netip.MustParseAddr("10.244.1.1"),
	}, nil
}

// Run registers the node and runs its pods until ctx ends. It calls ready once
// pods can be bound.
func (a *Agent) Run(ctx context.Context, ready func()) error {
	if err := os.MkdirAll(a.LogDir, 0o755); err != nil {
		return fmt.Errorf("make the folder of the pods' logs: %w", err)
	}
	if err := a.writeTargets(); err != nil {
		return err
	}
	if err := a.register(ctx); err != nil {
		return err
	}
	go a.heartbeat(ctx)
	if err := a.serveMetrics(ctx); err != nil {
		return err
	}
	informer := a.watchPods(ctx)
	go informer.RunWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return ctx.Err()
	}
	ready()
	<-ctx.Done()
	return nil
}

// watchPods calls observe and forget for the pods of this node.
func (a *Agent) watchPods(ctx context.Context) cache.Controller {
	mine := fields.OneTermEqualSelector("spec.nodeName", NodeName)
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: cache.NewListWatchFromClient(a.client.CoreV1().RESTClient(), "pods", corev1.NamespaceAll, mine),
		ObjectType:    &corev1.Pod{},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { a.observe(ctx, o.(*corev1.Pod)) },
			UpdateFunc: func(_, o any) { a.observe(ctx, o.(*corev1.Pod)) },
			DeleteFunc: func(o any) {
				if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
					o = gone.Obj
				}
				a.forget(o.(*corev1.Pod))
			},
		},
	})
	return informer
}

// observe starts a pod that is new and stops one that is being deleted.
func (a *Agent) observe(ctx context.Context, o *corev1.Pod) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.pods[o.UID]
	if p == nil {
		p = newPod(a, o, a.nextIP.String())
		a.nextIP = a.nextIP.Next()
		a.pods[o.UID] = p
		go p.run(ctx)
	}
	if o.DeletionTimestamp != nil {
		p.end(graceOf(o))
	}
}

// forget kills a pod that is gone from the API server.
func (a *Agent) forget(o *corev1.Pod) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if p := a.pods[o.UID]; p != nil {
		delete(a.pods, o.UID)
		p.end(0)
	}
}

// setTarget tells Prometheus about the sidecar of a pod; nil takes it away.
func (a *Agent) setTarget(uid types.UID, t *mesh.Target) {
	a.mu.Lock()
	if t != nil {
		a.targets[uid] = *t
	} else {
		delete(a.targets, uid)
	}
	a.mu.Unlock()
	if err := a.writeTargets(); err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
	}
}

// writeTargets replaces the file of targets as a whole: Prometheus may read it
// at any moment.
func (a *Agent) writeTargets() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	targets := append([]mesh.Target(nil), a.Targets...)
	for _, t := range a.targets {
		targets = append(targets, t)
	}
	b, err := mesh.TargetsFile(targets)
	if err != nil {
		return err
	}
	part := filepath.Join(filepath.Dir(a.TargetsFile), ".targets.part")
	if err := os.WriteFile(part, b, 0o644); err != nil {
		return fmt.Errorf("write Prometheus's targets: %w", err)
	}
	if err := os.Rename(part, a.TargetsFile); err != nil {
		return fmt.Errorf("write Prometheus's targets: %w", err)
	}
	return nil
}
