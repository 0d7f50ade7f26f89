package cli

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"serin.dev/serin/pkg/config"
)

// The manifests say by flags of the controller what is released in place: they win
// over its file, here as there.
func TestTheControllersFlagsWinOverItsFile(t *testing.T) {
	meta := metav1.ObjectMeta{Namespace: "serin-system", Name: "serin", Labels: map[string]string{"app.kubernetes.io/name": "serin"}}
	mounted := corev1.Volume{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "serin"}}}}
	for name, c := range map[string]struct {
		flags []string
		file  string
		want  config.InPlace
		url   string
	}{
		"the file alone":        {nil, "inPlace: {enabled: true, guard: pause}\nprometheus: {url: 'http://a'}", config.InPlace{Enabled: true, Guard: config.GuardPause}, "http://a"},
		"a flag for the guard":  {[]string{"--in-place=policy"}, "inPlace: {guard: pause}\nprometheus: {url: 'http://a'}", config.InPlace{Enabled: true, Guard: config.GuardPolicy}, "http://a"},
		"a flag for Prometheus": {[]string{"--prometheus-url", "http://b"}, "prometheus: {url: 'http://a'}", config.InPlace{Guard: config.GuardPolicy}, "http://b"},
	} {
		t.Run(name, func(t *testing.T) {
			d := &appsv1.Deployment{ObjectMeta: meta}
			d.Spec.Template.Spec.Volumes = []corev1.Volume{mounted}
			d.Spec.Template.Spec.Containers = []corev1.Container{{
				Name: "serin", Args: append([]string{"--config=/etc/serin/serin.yaml"}, c.flags...),
				VolumeMounts: []corev1.VolumeMount{{Name: "config", MountPath: "/etc/serin"}},
			}}
			file := &corev1.ConfigMap{ObjectMeta: meta, Data: map[string]string{"serin.yaml": c.file}}
			got, err := cluster{kube: fake.NewClientset(d, file)}.configInUse(t.Context(), "serin-system")
			if err != nil {
				t.Fatal(err)
			}
			c.want.Webhook = got.InPlace.Webhook
			if got.InPlace != c.want || got.Prometheus.URL != c.url {
				t.Errorf("it is %+v at %s", got.InPlace, got.Prometheus.URL)
			}
		})
	}
}
