package cluster

import (
	"context"
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"

	"serin.dev/serin/pkg/canary"
)

// This file reads objects whole, as they are on the API server: what a cache has no
// room for.

// Template is the pod template of a Deployment as it is now, as JSON, and its hash as
// in canary.Track.Template. It is read as a plain tree: a client's type knows only the
// fields of its own time.
func (c *Cache) Template(ctx context.Context, ns, name string) (text json.RawMessage, hash string, err error) {
	kind := appsv1.SchemeGroupVersion.WithResource("deployments")
	d, err := c.options.Dynamic.Resource(kind).Namespace(ns).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, "", fmt.Errorf("read Deployment %s/%s: %w", ns, name, err)
	}
	template, _, err := unstructured.NestedFieldNoCopy(d.Object, "spec", "template")
	if err == nil {
		text, err = json.Marshal(template)
	}
	if err == nil {
		_, hash, err = TemplateHash(text)
	}
	return text, hash, err
}

// TemplateHash is the hash of a pod template that is JSON, as in canary.Track.Template.
func TemplateHash(text []byte) (t corev1.PodTemplateSpec, hash string, err error) {
	if err := json.Unmarshal(text, &t); err != nil {
		return t, "", fmt.Errorf("read a pod template: %w", err)
	}
	hash, err = templateHash(&t)
	return t, hash, err
}

// RuleSpec is the spec of a DestinationRule as it is now, as JSON.
func (c *Cache) RuleSpec(ctx context.Context, k canary.ObjectKey) (json.RawMessage, error) {
	// A list, for no more than that is granted where the user's rules are only read.
	only := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, k.Name).String()}
	list, err := c.options.Dynamic.Resource(istioKind("destinationrules")).Namespace(k.Namespace).List(ctx, only)
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", k, err)
	case len(list.Items) != 1:
		return nil, fmt.Errorf("read %s: it is gone", k)
	}
	return json.Marshal(list.Items[0].Object["spec"])
}

// ConfigMap is a ConfigMap as it is now. None is watched.
func (c *Cache) ConfigMap(ctx context.Context, ns, name string) (*corev1.ConfigMap, error) {
	return c.options.Kube.CoreV1().ConfigMaps(ns).Get(ctx, name, metav1.GetOptions{})
}
