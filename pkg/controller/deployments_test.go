package controller

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"time"

	"serin.dev/serin/internal/apiserver"
)

// single stores one Deployment with a Service and, at the next looks, its pods.
func (w *world) single(replicas int, annotations map[string]any) {
	labels := map[string]any{"app": "web"}
	w.api.Put(map[string]any{
		"kind": "Deployment", "apiVersion": "apps/v1",
		"metadata": map[string]any{"namespace": "shop", "name": "web", "annotations": annotations},
		"spec": map[string]any{
			"replicas": replicas, "selector": map[string]any{"matchLabels": labels},
			"template": map[string]any{
				"metadata": map[string]any{"labels": labels},
				"spec":     map[string]any{"containers": []any{map[string]any{"name": "web", "image": "one"}}},
			},
		},
	})
	w.until(time.Minute, "all pods ready", func() bool { return w.status("web").ReadyReplicas == int32(replicas) })
}

// setImage is a user's kubectl set image.
func (w *world) setImage(image string) {
	w.api.Edit("Deployment", "shop", "web", func(o map[string]any) {
		spec, _ := o["spec"].(map[string]any)
		template, _ := spec["template"].(map[string]any)
		template["spec"] = map[string]any{"containers": []any{map[string]any{"name": "web", "image": image}}}
	})
}

// set changes a field of the Deployment's spec.
func (w *world) set(field string, value any) {
	w.api.Edit("Deployment", "shop", "web", func(o map[string]any) {
		spec, _ := o["spec"].(map[string]any)
		spec[field] = value
	})
}

func (w *world) status(name string) appsv1.DeploymentStatus {
	return apiserver.Convert[appsv1.Deployment](w.api.Read("Deployment", "shop", name)).Status
}

// updated tells that all pods are of the present template, and ready.
func (w *world) updated() bool {
	d := apiserver.Convert[appsv1.Deployment](w.api.Read("Deployment", "shop", "web"))
	s := d.Status
	return s.ObservedGeneration == d.Generation && s.Replicas == *d.Spec.Replicas && s.UpdatedReplicas == s.Replicas && s.AvailableReplicas == s.Replicas
}

// images are how many pods there are of each image, with those that are going.
func (w *world) images() map[string]int {
	out := map[string]int{}
	for _, o := range w.api.All("Pod") {
		out[apiserver.Convert[corev1.Pod](o).Spec.Containers[0].Image]++
	}
	return out
}
