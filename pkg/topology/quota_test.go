package topology

import (
	"fmt"
	"testing"
)

func TestQuantity(t *testing.T) {
	for _, c := range []struct {
		resource string
		written  any
		want     int64
	}{
		{"requests.cpu", "100m", 100},
		{"requests.cpu", "0.1", 100},
		{"requests.cpu", "1.1", 1100},
		{"requests.cpu", "2", 2000},
		{"requests.cpu", int64(2), 2000},
		{"requests.cpu", 0.25, 250},
		{"requests.cpu", "1k", 1_000_000},
		{"requests.cpu", "100u", 1}, // rounded up, as Kubernetes does
		{"requests.memory", "128Mi", 128 << 20},
		{"requests.memory", "1.5Gi", 3 << 29},
		{"requests.memory", "1G", 1_000_000_000},
		{"requests.memory", "1e3", 1000},
		{"requests.memory", "128974848", 128974848},
		{"requests.memory", "128974848000m", 128974848},
		{"requests.memory", "64 Mi", 0},
		{"requests.memory", "-1Mi", 0},
		{"requests.memory", "many", 0},
		{"requests.memory", "", 0},
		{"requests.memory", nil, 0},
		{"requests.memory", "inf", 0},
	} {
		t.Run(fmt.Sprintf("%s %v", c.resource, c.written), func(t *testing.T) {
			if got := quantity(c.resource, c.written); got != c.want {
				t.Errorf("read as %d, want %d", got, c.want)
			}
		})
	}
}

func FuzzQuantity(f *testing.F) {
	for _, text := range []string{"100m", "1.5Gi", "1e3", "12E", "nan", "0x1p-2", "9e999"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, resource := range []string{"requests.cpu", "limits.memory"} {
			if n := quantity(resource, text); n < 0 {
				t.Errorf("%s %q is %d", resource, text, n)
			}
		}
	})
}

func container(resources map[string]any) map[string]any {
	return map[string]any{"resources": resources}
}

func asks(kind, cpu, memory string) map[string]any {
	return map[string]any{kind: map[string]any{"cpu": cpu, "memory": memory}}
}

// always is a container that runs beside those that follow.
func always(c map[string]any) map[string]any {
	c["restartPolicy"] = "Always"
	return c
}

func TestPodDemand(t *testing.T) {
	type pod struct{ before, containers []any }
	for _, c := range []struct {
		name string
		pod  pod
		want string
	}{
		{"nothing is asked for", pod{containers: []any{container(nil)}}, "map[pods:1]"},
		{"containers ask together",
			pod{containers: []any{container(asks("requests", "100m", "1Ki")), container(asks("requests", "50m", "1Ki"))}},
			"map[pods:1 requests.cpu:150 requests.memory:2048]"},
		{"a limit is a request too",
			pod{containers: []any{container(asks("limits", "1", "1Ki"))}},
			"map[limits.cpu:1000 limits.memory:1024 pods:1 requests.cpu:1000 requests.memory:1024]"},
		{"what runs before counts where it asks for more",
			pod{before: []any{container(asks("requests", "500m", "1Ki"))}, containers: []any{container(asks("requests", "100m", "2Ki"))}},
			"map[pods:1 requests.cpu:500 requests.memory:2048]"},
		{"what starts before and runs on counts beside the others",
			pod{before: []any{always(container(asks("requests", "500m", "1Ki")))}, containers: []any{container(asks("requests", "100m", "2Ki"))}},
			"map[pods:1 requests.cpu:600 requests.memory:3072]"},
		{"and beside what comes after it",
			pod{before: []any{always(container(asks("requests", "500m", "1Ki"))), container(asks("requests", "300m", "1Ki"))}, containers: []any{container(asks("requests", "100m", "2Ki"))}},
			"map[pods:1 requests.cpu:800 requests.memory:3072]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			template := map[string]any{"spec": map[string]any{"initContainers": c.pod.before, "containers": c.pod.containers}}
			demand := podDemand(template)
			for name, n := range demand {
				if n == 0 {
					delete(demand, name)
				}
			}
			if got := fmt.Sprint(demand); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestSurge(t *testing.T) {
	for _, c := range []struct {
		name     string
		strategy map[string]any
		want     int
	}{
		{"a quarter where nothing is written, rounded up", nil, 3},
		{"a number", map[string]any{"rollingUpdate": map[string]any{"maxSurge": int64(2)}}, 2},
		{"a part, rounded up", map[string]any{"rollingUpdate": map[string]any{"maxSurge": "50%"}}, 5},
		{"none where pods go before others come", map[string]any{"type": "Recreate"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := Deployment{Replicas: 9, Doc: map[string]any{"spec": map[string]any{"strategy": c.strategy}}}
			if got := surge(d); got != c.want {
				t.Errorf("%d pods, want %d", got, c.want)
			}
		})
	}
}
