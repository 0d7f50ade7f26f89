package cluster

import (
	"context"
	"fmt"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Endpoints tells of each pod behind a Service whether it is ready there, by the
// Service's EndpointSlices: read live, once, for they change with every pod of the
// cluster. Errors are the API server's.
func Endpoints(ctx context.Context, kube kubernetes.Interface, k Key) (map[string]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, liveReadTimeout)
	defer cancel()
	slices, err := kube.DiscoveryV1().EndpointSlices(k.Namespace).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + k.Name})
	if err != nil {
		return nil, fmt.Errorf("list the EndpointSlices of Service %s: %w", k, err)
	}
	ready := map[string]bool{}
	for _, slice := range slices.Items {
		for _, e := range slice.Endpoints {
			if e.TargetRef == nil || e.TargetRef.Kind != "Pod" {
				continue
			}
			// Who says nothing is to be taken for ready.
			ready[e.TargetRef.Name] = ready[e.TargetRef.Name] || e.Conditions.Ready == nil || *e.Conditions.Ready
		}
	}
	return ready, nil
}
