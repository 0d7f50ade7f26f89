package cluster

import (
	"context"
	"fmt"
	"strings"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"serin.dev/serin/pkg/canary"
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

// AskEndpoints answers whether stable's ready pods are ready endpoints of the Service,
// so that its users reach them.
func AskEndpoints(kube kubernetes.Interface) func(context.Context, canary.Question, canary.Subject) canary.Answer {
	return func(ctx context.Context, _ canary.Question, s canary.Subject) canary.Answer {
		k := Key{Namespace: s.Namespace, Name: s.Service}
		ready, err := Endpoints(ctx, kube, k)
		if err != nil {
			return canary.Answer{Said: canary.Wait, Unreached: true, Sentence: "The endpoints of the Service can't be read: " + err.Error()}
		}
		var behind []string
		for _, pod := range s.Stable.Pods {
			if !ready[pod] {
				behind = append(behind, pod)
			}
		}
		check := canary.Check{Name: "endpoints of " + s.Service, Passed: len(behind) == 0 && len(s.Stable.Pods) > 0,
			Sentence: fmt.Sprintf("%d of %d ready pods of %s are ready endpoints", len(s.Stable.Pods)-len(behind), len(s.Stable.Pods), s.Stable.Deployment)}
		switch {
		case len(s.Stable.Pods) == 0:
			check.Sentence = s.Stable.Deployment + " has no ready pod with an address"
			return canary.Answer{Said: canary.Deny, Sentence: check.Sentence, Checks: []canary.Check{check}}
		case len(behind) > 0:
			return canary.Answer{Said: canary.Deny, Checks: []canary.Check{check},
				Sentence: fmt.Sprintf("%s is ready, and no ready endpoint of Service %s", strings.Join(behind[:min(3, len(behind))], ", "), s.Service)}
		}
		return canary.Answer{Said: canary.Allow, Sentence: check.Sentence, Checks: []canary.Check{check}}
	}
}
