package agent

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"
)

// withPod gives the agent a pod with one container in this state.
func withPod(a *Agent, namespace, name string, s containerState) *pod {
	spec := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(namespace + name), Labels: map[string]string{"name": name}}}
	spec.Spec.Containers = []corev1.Container{{Name: "web"}}
	p := newPod(a, spec, "10.244.1.1")
	p.containers[0].state = s
	a.pods[spec.UID] = p
	return p
}

func TestMetricsOfPods(t *testing.T) {
	a := &Agent{pods: map[types.UID]*pod{}, cpu: map[string]int64{}}
	withPod(a, "shop", "one", containerState{ready: true})
	withPod(a, "shop", "two", containerState{ready: true})
	withPod(a, "shop", "starting", containerState{})
	withPod(a, "shop", "crashed", containerState{waiting: "CrashLoopBackOff"})
	withPod(a, "shop", "ending", containerState{ready: true}).end(0)
	withPod(a, "other", "three", containerState{ready: true})
	a.SetCPU("shop", 700)
	for _, tt := range []struct {
		name, path string
		status     int
		want       map[string]int64 // thousandths of a core, by pod
	}{
		{"what a namespace uses is shared by its ready pods", "/namespaces/shop/pods", 200, map[string]int64{"one": 350, "two": 350, "starting": 0, "ending": 0}},
		{"a namespace of which nothing was said uses nothing", "/namespaces/other/pods", 200, map[string]int64{"three": 0}},
		{"pods are selected by label", "/namespaces/shop/pods?labelSelector=name+in+(two,crashed)", 200, map[string]int64{"two": 350}},
		{"all namespaces", "/pods", 200, map[string]int64{"one": 350, "two": 350, "starting": 0, "ending": 0, "three": 0}},
		{"a namespace without pods", "/namespaces/none/pods", 200, map[string]int64{}},
		{"a selector that is none", "/pods?labelSelector=name+in", 400, nil},
		{"a pod", "/namespaces/shop/pods/one", 200, nil},
		{"a pod that does not run", "/namespaces/shop/pods/crashed", 404, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			a.handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, metricsPath+tt.path, http.NoBody))
			if w.Code != tt.status {
				t.Fatalf("status %d, want %d: %s", w.Code, tt.status, w.Body)
			}
			if tt.want != nil {
				sameUse(t, w.Body.Bytes(), tt.want)
			}
		})
	}
}

func sameUse(t *testing.T, answer []byte, want map[string]int64) {
	t.Helper()
	var list metricsv1beta1.PodMetricsList
	if err := json.Unmarshal(answer, &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != len(want) {
		t.Errorf("%d pods, want %d: %s", len(list.Items), len(want), answer)
	}
	for _, m := range list.Items {
		if got := m.Containers[0].Usage.Cpu().MilliValue(); got != want[m.Name] {
			t.Errorf("%s uses %dm, want %dm", m.Name, got, want[m.Name])
		}
	}
}
