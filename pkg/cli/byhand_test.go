package cli

import (
	"encoding/json"
	"net/http"
	"path"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// ledByHand is a Service whose release people lead.
type ledByHand struct {
	deployments, sets, services, routes, rules []any
}

// byHand are Services web and idle: a quarter of web's traffic was given to
// web-v2 when the second step of the other releases began, none of idle's.
func byHand(namespace string) ledByHand {
	var l ledByHand
	for _, app := range []string{"web", "idle"} {
		l.services = append(l.services, corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: app},
			Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": app}, Ports: []corev1.ServicePort{{Name: "http", Port: 80}}},
		})
		for _, version := range []string{"v1", "v2"} {
			d, set := workload(namespace, app, version)
			l.deployments, l.sets = append(l.deployments, d), append(l.sets, set)
		}
		l.rules = append(l.rules, map[string]any{
			"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": map[string]any{"namespace": namespace, "name": app},
			"spec": map[string]any{"host": app, "subsets": []any{
				map[string]any{"name": "v1", "labels": map[string]any{"version": "v1"}},
				map[string]any{"name": "v2", "labels": map[string]any{"version": "v2"}},
			}},
		})
		weight := map[string]int{"web": 25, "idle": 0}[app]
		to := func(subset string, weight int) any {
			return map[string]any{"destination": map[string]any{"host": app, "subset": subset}, "weight": weight}
		}
		l.routes = append(l.routes, map[string]any{
			"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
			"metadata": map[string]any{"namespace": namespace, "name": app, "managedFields": []any{map[string]any{
				"manager": "kubectl-edit", "operation": "Update", "time": second.Format(time.RFC3339), "fieldsType": "FieldsV1",
				"apiVersion": "networking.istio.io/v1", "fieldsV1": map[string]any{"f:spec": map[string]any{"f:http": map[string]any{}}},
			}}},
			"spec": map[string]any{"hosts": []any{app}, "http": []any{map[string]any{"route": []any{to("v1", 100-weight), to("v2", weight)}}}},
		})
	}
	return l
}

// workload is one version of an application, its pods complete, and its ReplicaSet.
func workload(namespace, app, version string) (appsv1.Deployment, appsv1.ReplicaSet) {
	labels := map[string]string{"app": app, "version": version}
	selector, two := &metav1.LabelSelector{MatchLabels: labels}, int32(2)
	d := appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: app + "-" + version, UID: types.UID(app + version), CreationTimestamp: metav1.NewTime(began),
			Annotations: map[string]string{"deployment.kubernetes.io/revision": "1"},
		},
		Spec: appsv1.DeploymentSpec{Replicas: &two, Selector: selector, Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: app, Image: app + ":" + version}}},
		}},
		Status: appsv1.DeploymentStatus{Replicas: 2, UpdatedReplicas: 2, AvailableReplicas: 2, ReadyReplicas: 2},
	}
	if version == "v2" {
		d.Annotations["serin.dev/canary"] = "observe"
	}
	owner := true
	return d, appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: d.Name + "-1", UID: types.UID("set of " + d.Name), CreationTimestamp: metav1.NewTime(began),
		Labels: labels, Annotations: map[string]string{"deployment.kubernetes.io/revision": "1"},
		OwnerReferences: []metav1.OwnerReference{{Kind: "Deployment", Name: d.Name, UID: d.UID, Controller: &owner}},
	}}
}

// list answers a list, or a watch of what never changes.
func (w *town) list(out http.ResponseWriter, r *http.Request, kind, version string, items []any) {
	out.Header().Set("Content-Type", "application/json")
	fail := func(code int, reason metav1.StatusReason) {
		out.WriteHeader(code)
		_ = json.NewEncoder(out).Encode(metav1.Status{
			TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
			Code: int32(code), Reason: reason, Message: path.Base(r.URL.Path) + " is not for you",
		})
	}
	_, hidden := w.hidden.Load(path.Base(r.URL.Path))
	query := r.URL.Query()
	switch {
	case hidden:
		fail(http.StatusForbidden, metav1.StatusReasonForbidden)
	case query.Get("sendInitialEvents") != "": // a server that knows lists and watches alone
		fail(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid)
	case query.Get("watch") != "":
		out.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(out).Flush()
		<-r.Context().Done()
	default:
		_ = json.NewEncoder(out).Encode(map[string]any{
			"kind": kind + "List", "apiVersion": version, "metadata": map[string]any{"resourceVersion": "1"}, "items": append([]any{}, items...),
		})
	}
}
