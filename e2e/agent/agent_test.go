package agent

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func container1(image string, env ...string) *corev1.Container {
	c := &corev1.Container{Name: "web", Image: image, Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}}
	for i := 0; i < len(env); i += 2 {
		c.Env = append(c.Env, corev1.EnvVar{Name: env[i], Value: env[i+1]})
	}
	return c
}

func TestImageID(t *testing.T) {
	v1 := imageID("app", container1("registry:5000/shop/web:v1", "VERSION", "v1", "LATENCY", "5ms"))
	if !strings.HasPrefix(v1, "registry:5000/shop/web@sha256:") || len(v1) != len("registry:5000/shop/web@sha256:")+64 {
		t.Errorf("image id %s", v1)
	}
	tests := []struct {
		name    string
		program string
		c       *corev1.Container
		same    bool
	}{
		{"the same container", "app", container1("registry:5000/shop/web:v1", "VERSION", "v1", "LATENCY", "5ms"), true},
		{"its variables in another order", "app", container1("registry:5000/shop/web:v1", "LATENCY", "5ms", "VERSION", "v1"), true},
		{"another tag", "app", container1("registry:5000/shop/web:v2", "VERSION", "v1", "LATENCY", "5ms"), false},
		{"another variable", "app", container1("registry:5000/shop/web:v1", "VERSION", "v1", "LATENCY", "6ms"), false},
		{"another program", "app2", container1("registry:5000/shop/web:v1", "VERSION", "v1", "LATENCY", "5ms"), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := imageID(tt.program, tt.c); (got == v1) != tt.same {
				t.Errorf("image id %s, that of the first %s", got, v1)
			}
		})
	}
}

func TestAnImageThatIsNamedByItsDigestHasThatOne(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("ab", 32)
	if got := imageID("app", container1("registry:5000/shop/web:v1"+digest, "VERSION", "v2")); got != "registry:5000/shop/web"+digest {
		t.Errorf("image id %s", got)
	}
}

func TestImageIDIgnoresWhatDiffersBetweenPods(t *testing.T) {
	c := container1("web:v1")
	plain := imageID("app", c)
	c.Env = []corev1.EnvVar{{Name: "POD", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}}}
	if got := imageID("app", c); got != plain {
		t.Errorf("image id %s, want %s", got, plain)
	}
}

func TestContainerEnv(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-1", Namespace: "shop", Labels: map[string]string{"version": "v2"}}}
	c := container1("web:v2", "VERSION", "v2")
	c.Ports = append(c.Ports, corev1.ContainerPort{ContainerPort: 9090}, corev1.ContainerPort{ContainerPort: 53, Protocol: corev1.ProtocolUDP})
	c.Env = append(c.Env, corev1.EnvVar{Name: "LABEL", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels['version']"}}})
	got, err := containerEnv(pod, c, "10.244.1.1")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"VERSION=v2", "LABEL=v2", "POD_IP=10.244.1.1", "LISTEN=10.244.1.1:8080,10.244.1.1:9090"} {
		if !slices.Contains(got, want) {
			t.Errorf("%q lacks %s", got, want)
		}
	}
	pod.Labels[injectLabel] = "true"
	got, err = containerEnv(pod, c, "10.244.1.1")
	if err != nil || !slices.Contains(got, "LISTEN=10.244.1.1:18080,10.244.1.1:19090") {
		t.Errorf("behind a sidecar: %q, %v", got, err)
	}
	c.Env = append(c.Env, corev1.EnvVar{Name: "SECRET", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{}}})
	if _, err := containerEnv(pod, c, "10.244.1.1"); err == nil || !strings.Contains(err.Error(), "env SECRET") {
		t.Errorf("a secret: %v", err)
	}
}

func TestTheVersionIsTheImagesTagUnlessItIsSaid(t *testing.T) {
	for _, tt := range []struct {
		name string
		c    *corev1.Container
		want string
	}{
		{"a tag", container1("registry:5000/shop/web:v3"), "v3"},
		{"a tag and a digest", container1("shop/web:v3@sha256:00"), "v3"},
		{"no tag", container1("registry:5000/shop/web"), ""},
		{"a variable", container1("shop/web:v3", "VERSION", "blue"), "blue"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			environment, err := containerEnv(&corev1.Pod{}, tt.c, "10.244.1.1")
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, e := range environment { // as a process reads it: the last one counts
				if value, ok := strings.CutPrefix(e, "VERSION="); ok {
					got = value
				}
			}
			if got != tt.want {
				t.Errorf("version %q, want %q", got, tt.want)
			}
		})
	}
}

func TestAnImageSaysByItsTagHowItBehaves(t *testing.T) {
	for image, want := range map[string][]string{
		"shop/web:v2":                             {"VERSION=v2"},
		"shop/web:v3_error-rate-0.05":             {"VERSION=v3", "ERROR_RATE=0.05"},
		"web:v4_slow-rate-0.1_slow-latency-250ms": {"VERSION=v4", "SLOW_RATE=0.1", "SLOW_LATENCY=250ms"},
		"shop/web:v1.2-rc1_beta":                  {"VERSION=v1.2-rc1"},
		"registry:5000/shop/web":                  {"VERSION="},
	} {
		if got := imageEnv(image); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", image, got, want)
		}
	}
}

func TestPodStatus(t *testing.T) {
	now := metav1.NewTime(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	ended := corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error"}
	tests := []struct {
		name  string
		c     containerState
		proxy bool
		phase corev1.PodPhase
		ready corev1.ConditionStatus
	}{
		{"a container that is created", containerState{waiting: "ContainerCreating"}, true, corev1.PodPending, corev1.ConditionFalse},
		{"a container that runs and is not ready", containerState{}, true, corev1.PodRunning, corev1.ConditionFalse},
		{"a container that is ready", containerState{ready: true}, true, corev1.PodRunning, corev1.ConditionTrue},
		{"a container that is ready behind a proxy that is not", containerState{ready: true}, false, corev1.PodRunning, corev1.ConditionFalse},
		{"a container that crashed", containerState{waiting: "CrashLoopBackOff", last: &ended}, true, corev1.PodRunning, corev1.ConditionFalse},
		{"a container without an image", containerState{waiting: "ImagePullBackOff"}, true, corev1.PodPending, corev1.ConditionFalse},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := podStatus(corev1.PodStatus{}, "10.244.1.1", []containerState{tt.c}, tt.proxy, now)
			if s.Phase != tt.phase || condition(s, corev1.PodReady).Status != tt.ready {
				t.Errorf("phase %s, ready %s", s.Phase, condition(s, corev1.PodReady).Status)
			}
		})
	}
}

func TestConditionsKeepTheTimeOfTheirTransition(t *testing.T) {
	first := metav1.NewTime(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	later := metav1.NewTime(first.Add(time.Minute))
	s := podStatus(corev1.PodStatus{}, "10.244.1.1", []containerState{{ready: true}}, true, first)
	s = podStatus(s, "10.244.1.1", []containerState{{ready: true, restarts: 1}}, true, later)
	if got := condition(s, corev1.PodReady).LastTransitionTime; !got.Equal(&first) {
		t.Errorf("still ready: %s", got)
	}
	s = podStatus(s, "10.244.1.1", []containerState{{}}, true, later)
	if got := condition(s, corev1.PodReady).LastTransitionTime; !got.Equal(&later) {
		t.Errorf("no longer ready: %s", got)
	}
}

func condition(s corev1.PodStatus, t corev1.PodConditionType) corev1.PodCondition {
	for _, c := range s.Conditions {
		if c.Type == t {
			return c
		}
	}
	return corev1.PodCondition{}
}

func TestRestartsAreCounted(t *testing.T) {
	s := containerState{waiting: "ContainerCreating"}
	for range 3 {
		s.started(metav1.Now(), "web@sha256:1")
		s.ready = true
		s.crashed(corev1.ContainerStateTerminated{ExitCode: 1}, true)
	}
	s.started(metav1.Now(), "web@sha256:2")
	if c := s.status(); c.RestartCount != 3 || c.Ready || c.State.Running == nil || c.LastTerminationState.Terminated.ExitCode != 1 || c.ImageID != "web@sha256:2" {
		t.Errorf("status %+v", c)
	}
}

func TestWorkload(t *testing.T) {
	owned := func(kind, name, hash string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Name: "pod", Labels: map[string]string{"pod-template-hash": hash},
			OwnerReferences: []metav1.OwnerReference{{Kind: kind, Name: name, Controller: new(true)}},
		}}
	}
	for want, pod := range map[string]*corev1.Pod{
		"web-v2": owned("ReplicaSet", "web-v2-6f9c", "6f9c"),
		"db":     owned("StatefulSet", "db", ""),
		"pod":    {ObjectMeta: metav1.ObjectMeta{Name: "pod"}},
	} {
		if got := workloadOf(pod); got != want {
			t.Errorf("workload %s, want %s", got, want)
		}
	}
}

func TestReadinessProbeOfANamedPort(t *testing.T) {
	c := container1("web:v1")
	if got := namedPort(c, "http"); got != 8080 {
		t.Errorf("http is %d", got)
	}
	if got := namedPort(c, "9000"); got != 9000 {
		t.Errorf("9000 is %d", got)
	}
	if got := namedPort(c, "grpc"); got != 0 {
		t.Errorf("grpc is %d", got)
	}
}
