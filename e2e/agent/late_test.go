package agent

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"serin.dev/serin/e2e/mesh"
)

func TestLateness(t *testing.T) {
	tests := []struct {
		name string
		env  []string
		want time.Duration
		err  string
	}{
		{"a plain pod's statistics are not late", nil, 0, ""},
		{"a variable says how late they are", []string{"VERSION", "v2", "STATS_LATENCY", "400ms"}, 400 * time.Millisecond, ""},
		{"what is no duration is refused", []string{"STATS_LATENCY", "late"}, 0, `STATS_LATENCY is "late"`},
		{"nobody is early", []string{"STATS_LATENCY", "-1s"}, 0, `STATS_LATENCY is "-1s"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{*container1("web:v1"), *container1("web:v1", tt.env...)}}}
			got, err := lateness(pod)
			if got != tt.want || (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestLateStatisticsAreTheTargets(t *testing.T) {
	stats := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "statistics of "+r.URL.Path)
	}))
	defer stats.Close()
	at := mesh.Target{Address: stats.Listener.Addr().String(), Labels: map[string]string{"pod": "web-1"}}
	late, stop, err := serveLate(t.Context(), at, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if late.Address == at.Address || late.Labels["pod"] != "web-1" {
		t.Errorf("to be scraped is %+v", late)
	}
	resp, err := http.Get("http://" + late.Address + "/stats/prometheus")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "statistics of /stats/prometheus" {
		t.Errorf("got %q, %v", body, err)
	}
	stop()
	if resp, err := http.Get("http://" + late.Address + "/"); err == nil {
		resp.Body.Close()
		t.Error("it answers though it was stopped")
	}
}
