package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/explain"
	"serin.dev/serin/pkg/history"
	"serin.dev/serin/pkg/mode"
	"serin.dev/serin/pkg/topology"
)

var (
	routes = schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1", Resource: "virtualservices"}
	rules  = schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1", Resource: "destinationrules"}
)

// Requests per second to the API server, and at once: one command asks little,
// and waits for nothing but answers.
const (
	requestsPerSecond = 50
	requestsAtOnce    = 100
)

// cluster reads what is known of releases in one namespace.
type cluster struct {
	rest      *rest.Config
	kube      kubernetes.Interface
	trees     dynamic.Interface
	namespace string
}

// connect finds the cluster as kubectl does. Nothing is asked yet.
func (t *tool) connect() (cluster, error) {
	config, err := t.cluster.ToRESTConfig()
	if err != nil {
		return cluster{}, fmt.Errorf("find the cluster: %w; name a file with --kubeconfig, or a context with --context", err)
	}
	config.UserAgent = "kubectl-canary/" + t.version()
	config.QPS, config.Burst = requestsPerSecond, requestsAtOnce
	config.WarningHandler = rest.NoWarnings{}
	namespace, _, err := t.cluster.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return cluster{}, fmt.Errorf("find the namespace: %w; name it with --namespace", err)
	}
	c := cluster{rest: config, namespace: namespace}
	if c.kube, err = kubernetes.NewForConfig(config); err != nil {
		return cluster{}, fmt.Errorf("make a client for the API server: %w", err)
	}
	if c.trees, err = dynamic.NewForConfig(config); err != nil {
		return cluster{}, fmt.Errorf("make a client for the API server: %w", err)
	}
	return c, nil
}

// known is all that is known of releases in the namespace, by Service, without
// those that are only observed.
func (c cluster) known(ctx context.Context, routes []topology.VirtualService) ([]explain.Known, error) {
	revisions, err := c.revisions(ctx)
	if err != nil {
		return nil, err
	}
	services := map[string]bool{}
	for _, vs := range routes {
		for _, name := range released(vs) {
			services[name] = true
		}
	}
	for name := range revisions {
		services[name] = true
	}
	var all []explain.Known
	for name := range services {
		k := explain.Known{Namespace: c.namespace, Service: name}
		k.State, k.Newer, _ = mode.FindState(topology.Objects{Namespace: c.namespace, Service: name, VirtualServices: routes})
		// A record that can't be read stands in nobody's way.
		k.History, _ = history.Releases(revisions[name])
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b explain.Known) int { return strings.Compare(a.Service, b.Service) })
	return all, nil
}

func (c cluster) routes(ctx context.Context) ([]topology.VirtualService, error) {
	list, err := c.trees.Resource(routes).Namespace(c.namespace).List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("read VirtualServices: this cluster has none in version %s/%s: is it the right one, with Istio 1.22 or newer? %w", routes.Group, routes.Version, err)
	}
	if err != nil {
		return nil, fmt.Errorf("read the VirtualServices of namespace %s: %w", c.namespace, err)
	}
	var out []topology.VirtualService
	for _, item := range list.Items {
		out = append(out, topology.VirtualService{
			Key: canary.ObjectKey{Kind: "VirtualService", Namespace: item.GetNamespace(), Name: item.GetName()},
			Doc: item.Object,
		})
	}
	return out, nil
}

// released are the Services whose state a VirtualService carries.
func released(vs topology.VirtualService) []string {
	metadata, _ := vs.Doc["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	var names []string
	for key := range annotations {
		if name, is := strings.CutPrefix(key, canary.StatePrefix); is {
			names = append(names, name)
		}
	}
	return names
}

// revisions are the records of finished releases, by Service.
func (c cluster) revisions(ctx context.Context) (map[string][]*appsv1.ControllerRevision, error) {
	list, err := c.kube.AppsV1().ControllerRevisions(c.namespace).List(ctx, metav1.ListOptions{LabelSelector: history.ServiceLabel})
	if err != nil {
		return nil, fmt.Errorf("read the history of releases, ControllerRevisions of namespace %s: %w", c.namespace, err)
	}
	out := map[string][]*appsv1.ControllerRevision{}
	for i := range list.Items {
		name := list.Items[i].Labels[history.ServiceLabel]
		out[name] = append(out[name], &list.Items[i])
	}
	return out, nil
}
