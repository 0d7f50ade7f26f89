package shop

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// Text is what the user has written, as YAML and read from the API server now:
// the whole VirtualService, and the Deployment's labels, annotations and spec.
// What the API server and the Deployment controller keep count of is left out.
type Text struct{ VirtualService, Deployment string }

// counted are the fields of the metadata by which the API server counts.
var counted = []string{"resourceVersion", "generation", "managedFields"}

// revisionKey is the Deployment controller's.
const revisionKey = "deployment.kubernetes.io/revision"

// Text reads it.
func (w *Watcher) Text(ctx context.Context) (Text, error) {
	vs, err := w.client.Resource(virtualServices).Namespace(w.shop.Namespace).Get(ctx, Web, metav1.GetOptions{})
	if err != nil {
		return Text{}, fmt.Errorf("read the VirtualService: %w", err)
	}
	d, err := w.client.Resource(deployments).Namespace(w.shop.Namespace).Get(ctx, Web, metav1.GetOptions{})
	if err != nil {
		return Text{}, fmt.Errorf("read the Deployment: %w", err)
	}
	for _, key := range counted {
		unstructured.RemoveNestedField(vs.Object, "metadata", key)
		unstructured.RemoveNestedField(d.Object, "metadata", key)
	}
	unstructured.RemoveNestedField(d.Object, "metadata", "annotations", revisionKey)
	delete(d.Object, "status")
	var t Text
	if t.VirtualService, err = written(vs); err != nil {
		return t, err
	}
	t.Deployment, err = written(d)
	return t, err
}

func written(o *unstructured.Unstructured) (string, error) {
	text, err := yaml.Marshal(o.Object)
	if err != nil {
		return "", fmt.Errorf("write %s %s: %w", o.GetKind(), o.GetName(), err)
	}
	return string(text), nil
}

// Left names what there still is of the controller's in the namespace, but for
// its history: objects with its label, pods of a canary, and fields of the
// VirtualService that are its own.
func (w *Watcher) Left(ctx context.Context) ([]string, error) {
	var left []string
	for resource, selector := range map[schema.GroupVersionResource]string{
		virtualServices: "app.kubernetes.io/managed-by=serin", destinationRules: "app.kubernetes.io/managed-by=serin",
		deployments: "app.kubernetes.io/managed-by=serin", pods: "serin.dev/track",
	} {
		list, err := w.client.Resource(resource).Namespace(w.shop.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
		if err != nil {
			return nil, fmt.Errorf("list what is left: %w", err)
		}
		for _, o := range list.Items {
			left = append(left, o.GetKind()+" "+o.GetName())
		}
	}
	vs, err := w.client.Resource(virtualServices).Namespace(w.shop.Namespace).Get(ctx, Web, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read the VirtualService: %w", err)
	}
	for _, m := range vs.GetManagedFields() {
		if m.Manager == "serin" {
			left = append(left, "an entry in the VirtualService's managedFields")
		}
	}
	return left, nil
}
