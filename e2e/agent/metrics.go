package agent

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"

	"serin.dev/serin/e2e/mesh"
)

// MetricsPort is where the agent serves metrics.k8s.io, and forwards ports as a
// kubelet does, at the node's address.
const MetricsPort = 10250

// MetricsAPI are the files, PEM, by which the agent and the API server know
// each other there.
type MetricsAPI struct {
	Certificate, Key string // the agent's
	ClientCA         string // who signed the API server's certificate
}

// metricsPath is the group and version that is served.
const metricsPath = "/apis/metrics.k8s.io/v1beta1"

// metricsWindow is the time a sample is said to cover. The autoscaler leaves
// out a pod whose sample began before it was ready.
const metricsWindow = time.Second

// SetCPU says how much CPU the ready pods of a namespace use in all, in
// thousandths of a core, from now on. Each is told to use an equal share, as
// pods do that stand behind one Service: more of them use no more in all.
// Without it they are told to use nothing.
func (a *Agent) SetCPU(namespace string, millicores int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cpu[namespace] = millicores
}

// serveMetrics serves metrics.k8s.io until ctx ends, to the API server only,
// which passes on what it was asked for.
func (a *Agent) serveMetrics(ctx context.Context) error {
	config, err := a.Metrics.tls()
	if err != nil {
		return err
	}
	address := net.JoinHostPort(mesh.NodeIP, strconv.Itoa(MetricsPort))
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("serve the metrics API: %w", err)
	}
	server := &http.Server{Handler: a.handler(), TLSConfig: config, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	go func() { _ = server.ServeTLS(l, "", "") }() // until it is closed
	return nil
}

func (m MetricsAPI) tls() (*tls.Config, error) {
	own, err := tls.LoadX509KeyPair(m.Certificate, m.Key)
	if err != nil {
		return nil, fmt.Errorf("read the certificate of the metrics API: %w", err)
	}
	ca, err := os.ReadFile(m.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("read who signs the clients of the metrics API: %w", err)
	}
	clients := x509.NewCertPool()
	if !clients.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("read who signs the clients of the metrics API: %s holds no certificate", m.ClientCA)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{own}, ClientCAs: clients,
		ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12,
	}, nil
}

func (a *Agent) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/portForward/{namespace}/{name}", a.forward)
	mux.HandleFunc("GET "+metricsPath, func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, metricsResources) })
	mux.HandleFunc("GET "+metricsPath+"/pods", a.listMetrics)
	mux.HandleFunc("GET "+metricsPath+"/namespaces/{namespace}/pods", a.listMetrics)
	mux.HandleFunc("GET "+metricsPath+"/namespaces/{namespace}/pods/{name}", a.getMetrics)
	return mux
}

// metricsResources are the kinds that are served.
var metricsResources = metav1.APIResourceList{
	TypeMeta:     metav1.TypeMeta{APIVersion: "v1", Kind: "APIResourceList"},
	GroupVersion: metricsv1beta1.SchemeGroupVersion.String(),
	APIResources: []metav1.APIResource{{Name: "pods", Namespaced: true, Kind: "PodMetrics", Verbs: metav1.Verbs{"get", "list"}}},
}

func (a *Agent) listMetrics(w http.ResponseWriter, r *http.Request) {
	selector, err := labels.Parse(r.FormValue("labelSelector"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	list := metricsv1beta1.PodMetricsList{Items: []metricsv1beta1.PodMetrics{}}
	list.APIVersion, list.Kind = metricsv1beta1.SchemeGroupVersion.String(), "PodMetricsList"
	for _, m := range a.podMetrics(time.Now()) {
		if in := r.PathValue("namespace"); (in == "" || in == m.Namespace) && selector.Matches(labels.Set(m.Labels)) {
			list.Items = append(list.Items, m)
		}
	}
	answerJSON(w, list)
}

func (a *Agent) getMetrics(w http.ResponseWriter, r *http.Request) {
	for _, m := range a.podMetrics(time.Now()) {
		if m.Namespace == r.PathValue("namespace") && m.Name == r.PathValue("name") {
			answerJSON(w, m)
			return
		}
	}
	http.Error(w, "no such pod runs", http.StatusNotFound)
}

func answerJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // whoever asked may be gone
}

// podMetrics are the metrics of all pods that run, by name.
func (a *Agent) podMetrics(now time.Time) []metricsv1beta1.PodMetrics {
	a.mu.Lock()
	defer a.mu.Unlock()
	serving := map[string]int64{} // pods, by namespace
	for _, p := range a.pods {
		if p.serves() {
			serving[p.spec.Namespace]++
		}
	}
	var out []metricsv1beta1.PodMetrics
	for _, p := range a.pods {
		var share int64
		if p.serves() {
			share = a.cpu[p.spec.Namespace] / serving[p.spec.Namespace]
		}
		if m := p.metrics(share, now); len(m.Containers) > 0 {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b metricsv1beta1.PodMetrics) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// serves tells whether all containers are ready and the pod has not to end.
func (p *pod) serves() bool {
	select {
	case <-p.ending:
		return false
	default:
	}
	for _, c := range p.containers {
		if s := c.current(); !s.ready || s.waiting != "" {
			return false
		}
	}
	return true
}

// metrics are those of the pod's containers that run: the first one is told to
// use all of the CPU, in thousandths of a core.
func (p *pod) metrics(millicores int64, now time.Time) metricsv1beta1.PodMetrics {
	m := metricsv1beta1.PodMetrics{
		TypeMeta:   metav1.TypeMeta{APIVersion: metricsv1beta1.SchemeGroupVersion.String(), Kind: "PodMetrics"},
		ObjectMeta: metav1.ObjectMeta{Name: p.spec.Name, Namespace: p.spec.Namespace, Labels: p.spec.Labels, CreationTimestamp: metav1.NewTime(now)},
		Timestamp:  metav1.NewTime(now), Window: metav1.Duration{Duration: metricsWindow},
	}
	for i, c := range p.containers {
		if c.current().waiting != "" {
			continue
		}
		use := resource.NewMilliQuantity(0, resource.DecimalSI)
		if i == 0 {
			use.SetMilli(millicores)
		}
		m.Containers = append(m.Containers, metricsv1beta1.ContainerMetrics{
			Name: c.spec.Name, Usage: corev1.ResourceList{corev1.ResourceCPU: *use},
		})
	}
	return m
}
