package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/topology"
)

const (
	// aroundFor is how long what counts pods in a namespace is believed.
	aroundFor = 30 * time.Second
	// guardFor is how long a guard that was found is believed; one that was not is
	// looked for again as soon as anything else of a namespace.
	guardFor = 5 * time.Minute
	// guardName is that of the guard's objects, as deploy/in-place names them.
	guardName = "serin-in-place"
)

// surroundings knows what bears on releases in place, namespace by namespace.
type surroundings struct {
	mu      sync.Mutex
	around  map[string]dated
	guard   string
	guardAt time.Time
}

type dated struct {
	at     time.Time
	around topology.Around
}

func (s *surroundings) init() { s.around = map[string]dated{} }

// aroundOf reads what bears on the releases in place of a namespace: the guard
// wherever a Deployment asks for releases, all else where one is held.
func (c *Cache) aroundOf(ctx context.Context, ns string, deployments []topology.Deployment) (topology.Around, error) {
	if !c.options.InPlace {
		return topology.Around{Guard: topology.GuardOff}, nil
	}
	if !slices.ContainsFunc(deployments, topology.OptedIn) {
		return topology.Around{}, nil
	}
	guard := c.guard(ctx)
	held := func(d topology.Deployment) bool { return d.Held && topology.ModeOf(d) != canary.ModePair }
	if !slices.ContainsFunc(deployments, held) {
		return topology.Around{Guard: guard}, nil
	}
	around, err := c.aroundIn(ctx, ns)
	around.Guard = guard
	return around, err
}

// aroundIn reads what counts pods in a namespace, at most every 30 seconds.
func (c *Cache) aroundIn(ctx context.Context, ns string) (topology.Around, error) {
	s, now := &c.around, time.Now()
	s.mu.Lock()
	maps.DeleteFunc(s.around, func(_ string, d dated) bool { return now.Sub(d.at) >= aroundFor })
	known, found := s.around[ns]
	s.mu.Unlock()
	if found {
		return known.around, nil
	}
	ctx, cancel := context.WithTimeout(ctx, liveReadTimeout)
	defer cancel()
	out, err := c.readAround(ctx, ns)
	if err != nil {
		return out, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.around[ns] = dated{now, out}
	return out, nil
}

func (c *Cache) readAround(ctx context.Context, ns string) (out topology.Around, _ error) {
	autoscalers, err := c.options.Kube.AutoscalingV2().HorizontalPodAutoscalers(ns).List(ctx, metav1.ListOptions{})
	if err := c.lenient(err, "HorizontalPodAutoscalers", ns); err != nil {
		return out, err
	}
	for _, a := range autoscalers.Items {
		if t := a.Spec.ScaleTargetRef; t.Kind == "Deployment" {
			out.Autoscalers = append(out.Autoscalers, topology.Counter{Key: canary.ObjectKey{Kind: "HorizontalPodAutoscaler", Namespace: ns, Name: a.Name}, Target: t.Name})
		}
	}
	budgets, err := c.options.Kube.PolicyV1().PodDisruptionBudgets(ns).List(ctx, metav1.ListOptions{})
	if err := c.lenient(err, "PodDisruptionBudgets", ns); err != nil {
		return out, err
	}
	for _, b := range budgets.Items {
		if selector := plainSelector(b.Spec.Selector); len(selector) > 0 {
			out.Budgets = append(out.Budgets, topology.Counter{
				Key: canary.ObjectKey{Kind: "PodDisruptionBudget", Namespace: ns, Name: b.Name}, Selector: selector,
				Fixed: b.Spec.MaxUnavailable != nil && b.Spec.MaxUnavailable.Type == intstr.Int,
			})
		}
	}
	quotas, err := c.options.Kube.CoreV1().ResourceQuotas(ns).List(ctx, metav1.ListOptions{})
	if err := c.lenient(err, "ResourceQuotas", ns); err != nil {
		return out, err
	}
	for i := range quotas.Items {
		if q := &quotas.Items[i]; len(q.Spec.Scopes) == 0 && q.Spec.ScopeSelector == nil {
			out.Quotas = append(out.Quotas, topology.Quota{Key: canary.ObjectKey{Kind: "ResourceQuota", Namespace: ns, Name: q.Name}, Left: leftBy(q)})
		}
	}
	return out, nil
}

// lenient lets a list pass that is not allowed or that no server has: what is
// found in it are warnings, which then are left out.
func (c *Cache) lenient(err error, what, ns string) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsForbidden(err), apierrors.IsNotFound(err):
		c.options.Logger.Debug("A kind can't be read, and findings about it are left out", zap.String("kind", what), zap.String("namespace", ns), zap.Error(err))
		return nil
	}
	return fmt.Errorf("list the %s of namespace %s: %w", what, ns, err)
}

// plainSelector is a selector as labels; expressions that are not one value of one
// label can't be said so and are left out.
func plainSelector(s *metav1.LabelSelector) map[string]string {
	if s == nil {
		return nil
	}
	out := maps.Clone(s.MatchLabels)
	if out == nil {
		out = map[string]string{}
	}
	for _, e := range s.MatchExpressions {
		if e.Operator == metav1.LabelSelectorOpIn && len(e.Values) == 1 {
			out[e.Key] = e.Values[0]
		}
	}
	return out
}

// leftBy is what a quota leaves of what a pod may ask for.
func leftBy(q *corev1.ResourceQuota) map[string]int64 {
	hard, used := q.Status.Hard, q.Status.Used
	if len(hard) == 0 { // nobody has counted yet
		hard = q.Spec.Hard
	}
	plain := func(v resource.Quantity) int64 { return v.Value() }
	thousandths := func(v resource.Quantity) int64 { return v.MilliValue() }
	out := map[string]int64{}
	for _, of := range []struct {
		name  string
		keys  []corev1.ResourceName // two names of the same
		count func(resource.Quantity) int64
	}{
		{"pods", []corev1.ResourceName{corev1.ResourcePods, "count/pods"}, plain},
		{"requests.cpu", []corev1.ResourceName{corev1.ResourceRequestsCPU, corev1.ResourceCPU}, thousandths},
		{"requests.memory", []corev1.ResourceName{corev1.ResourceRequestsMemory, corev1.ResourceMemory}, plain},
		{"limits.cpu", []corev1.ResourceName{corev1.ResourceLimitsCPU}, thousandths},
		{"limits.memory", []corev1.ResourceName{corev1.ResourceLimitsMemory}, plain},
	} {
		out[of.name] = -1
		for _, key := range of.keys {
			limit, limited := hard[key]
			if !limited {
				continue
			}
			rest := max(0, of.count(limit)-of.count(used[key]))
			if out[of.name] < 0 || rest < out[of.name] {
				out[of.name] = rest
			}
		}
	}
	return out
}

// guard tells what holds changed templates back. It is one for the whole cluster,
// and asked about by one worker while the others wait for its answer.
func (c *Cache) guard(ctx context.Context) string {
	if c.options.Guard == GuardPause {
		return topology.GuardPause
	}
	s, now := &c.around, time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	believed := aroundFor
	if s.guard == topology.GuardThere {
		believed = guardFor
	}
	if !s.guardAt.IsZero() && now.Sub(s.guardAt) < believed {
		return s.guard
	}
	ctx, cancel := context.WithTimeout(ctx, liveReadTimeout)
	defer cancel()
	there, err := c.guardThere(ctx)
	s.guardAt = now
	switch {
	case err != nil:
		c.options.Logger.Debug("Whether the guard of in-place mode is there can't be read", zap.Error(err))
		if s.guard != topology.GuardThere { // a hitch is no news of a guard that was there
			s.guard = topology.GuardUnknown
		}
	case there:
		s.guard = topology.GuardThere
	default:
		s.guard = topology.GuardAbsent
	}
	return s.guard
}

// guardThere looks for the guard's objects: the policy, in the versions that
// servers have it in, with a binding, for without one it does nothing; or the
// webhook.
func (c *Cache) guardThere(ctx context.Context) (bool, error) {
	if c.options.Guard == GuardWebhook {
		hook, err := c.guardObject(ctx, "v1", "mutatingwebhookconfigurations")
		return hook != nil, err
	}
	for _, version := range []string{"v1", "v1beta1"} {
		policy, err := c.guardObject(ctx, version, "mutatingadmissionpolicies")
		if err != nil {
			return false, err
		}
		if policy == nil {
			continue
		}
		binding, err := c.guardObject(ctx, version, "mutatingadmissionpolicybindings")
		if err != nil || binding == nil {
			return false, err
		}
		name, _, _ := unstructured.NestedString(binding.Object, "spec", "policyName")
		return name == guardName, nil
	}
	return false, nil
}

// guardObject reads one of the guard's objects; nil if it, or its kind, is not there.
func (c *Cache) guardObject(ctx context.Context, version, plural string) (*unstructured.Unstructured, error) {
	kind := schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: version, Resource: plural}
	found, err := c.options.Dynamic.Resource(kind).Get(ctx, guardName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil //nolint:nilnil // not there is an answer
	case err != nil:
		return nil, fmt.Errorf("read %s %s: %w", plural, guardName, err)
	}
	return found, nil
}
