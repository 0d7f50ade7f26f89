package cluster

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"serin.dev/serin/pkg/canary"
)

// AskScaling answers whether stable may shrink while the canary has its traffic, so
// that a rollback would land on fewer pods than it has now: Deny when an autoscaler of
// it goes below them. It is asked once in a release.
func AskScaling(kube kubernetes.Interface) func(context.Context, canary.Question, canary.Subject) canary.Answer {
	return func(ctx context.Context, _ canary.Question, s canary.Subject) canary.Answer {
		ctx, cancel := context.WithTimeout(ctx, liveReadTimeout)
		defer cancel()
		all, err := kube.AutoscalingV2().HorizontalPodAutoscalers(s.Namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return canary.Answer{Said: canary.Wait, Unreached: true, Sentence: "The autoscalers can't be read: " + err.Error()}
		}
		for _, a := range all.Items {
			least := 1 // what the API server defaults to
			if a.Spec.MinReplicas != nil {
				least = int(*a.Spec.MinReplicas)
			}
			if to := a.Spec.ScaleTargetRef; to.Kind == "Deployment" && to.Name == s.Stable.Deployment && least < s.Stable.Ready {
				return canary.Answer{Said: canary.Deny, Sentence: fmt.Sprintf(
					"HorizontalPodAutoscaler %s/%s may shrink %s to %d while the canary has the traffic, and a rollback would land on these; it has %d ready pods now. Give it a minReplicas of %d while a release lasts",
					a.Namespace, a.Name, to.Name, least, s.Stable.Ready, s.Stable.Ready)}
			}
		}
		return canary.Answer{Said: canary.Allow, Sentence: "No autoscaler shrinks " + s.Stable.Deployment}
	}
}
