package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"serin.dev/serin/e2e/mesh"
)

// injectLabel is Istio's label on pods that want a sidecar.
const injectLabel = "sidecar.istio.io/inject"

// sidecarName is the name of the Sidecar resource for the injected pods of a
// namespace.
const sidecarName = "injected"

var sidecars = schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1", Resource: "sidecars"}

// sidecar is the Envoy in front of a pod. There is no iptables to divert
// traffic with: Envoy itself listens on the pod's ports, as a Sidecar resource
// tells it, and the application on others.
type sidecar struct {
	pod   *pod
	proxy mesh.Proxy

	mu    sync.Mutex
	ready bool
}

func newSidecar(p *pod) *sidecar {
	return &sidecar{pod: p, proxy: mesh.Proxy{
		Sidecar: true, IP: p.ip, Name: p.spec.Name, Namespace: p.spec.Namespace, Labels: p.spec.Labels,
	}}
}

func (s *sidecar) isReady() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ready
}

// run runs the proxy until ctx ends, that is until the application has ended.
func (s *sidecar) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := s.once(ctx); err != nil && ctx.Err() == nil {
			fmt.Fprintf(os.Stderr, "agent: sidecar of %s/%s: %v\n", s.pod.spec.Namespace, s.pod.spec.Name, err)
		}
		sleep(ctx, retryEvery)
	}
}

func (s *sidecar) once(ctx context.Context) error {
	if err := s.ensureResource(ctx); err != nil {
		return err
	}
	cmd, err := s.launch(ctx)
	if err != nil {
		return err
	}
	target, stop, err := s.target(ctx)
	if err != nil {
		return errors.Join(err, cmd.Cancel(), cmd.Wait())
	}
	defer stop()
	s.pod.agent.setTarget(s.pod.spec.UID, &target)
	defer s.pod.agent.setTarget(s.pod.spec.UID, nil)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer s.setReady(false)
	for !s.isReady() {
		s.setReady(s.listens(ctx))
		select {
		case err := <-ended:
			return err
		case <-time.After(eagerPeriod):
		}
	}
	return <-ended
}

// target is where the proxy's statistics are scraped, until stopped.
func (s *sidecar) target(ctx context.Context) (t mesh.Target, stop func(), err error) {
	t = s.proxy.Destination(workloadOf(s.pod.spec), s.serviceName(ctx))
	most, err := lateness(s.pod.spec)
	if err != nil || most == 0 {
		return t, func() {}, err
	}
	return serveLate(ctx, t, most)
}

func (s *sidecar) setReady(ready bool) {
	s.mu.Lock()
	changed := s.ready != ready
	s.ready = ready
	s.mu.Unlock()
	if changed {
		s.pod.touch()
	}
}

// listens tells whether the proxy has got its listeners from istiod.
func (s *sidecar) listens(ctx context.Context) bool {
	for _, port := range s.ports() {
		if !connects(ctx, fmt.Sprintf("%s:%d", s.proxy.IP, port), time.Second) {
			return false
		}
	}
	return true
}

func (s *sidecar) ports() []int {
	var ports []int
	for i := range s.pod.spec.Spec.Containers {
		ports = append(ports, listenPorts(&s.pod.spec.Spec.Containers[i])...)
	}
	return ports
}

func (s *sidecar) launch(ctx context.Context) (*exec.Cmd, error) {
	bootstrap, err := s.proxy.Bootstrap()
	if err != nil {
		return nil, err
	}
	a, name := s.pod.agent, fmt.Sprintf("%s_%s_istio-proxy", s.proxy.Namespace, s.proxy.Name)
	file := filepath.Join(a.Dir, name+".json")
	if err := os.WriteFile(file, bootstrap, 0o644); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(filepath.Join(a.LogDir, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.CommandContext(ctx, a.Envoy, mesh.EnvoyArgs(file)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Env, cmd.Stdout, cmd.Stderr = []string{}, log, log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return cmd, nil
}

// ensureResource makes the Sidecar resource that has the proxies of this
// namespace listen on the ports of their pods.
func (s *sidecar) ensureResource(ctx context.Context) error {
	var ingress []any
	for _, port := range s.ports() {
		ingress = append(ingress, map[string]any{
			"port":            map[string]any{"number": int64(port), "protocol": "HTTP", "name": fmt.Sprintf("http-%d", port)},
			"captureMode":     "NONE",
			"defaultEndpoint": fmt.Sprintf("0.0.0.0:%d", port+behindSidecar),
		})
	}
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "networking.istio.io/v1", "kind": "Sidecar",
		"metadata": map[string]any{"name": sidecarName, "namespace": s.proxy.Namespace},
		"spec": map[string]any{
			"workloadSelector": map[string]any{"labels": map[string]any{injectLabel: "true"}},
			"ingress":          ingress,
			"egress":           []any{map[string]any{"hosts": []any{"./*"}}},
		},
	}}
	_, err := s.pod.agent.dynamic.Resource(sidecars).Namespace(s.proxy.Namespace).Create(ctx, o, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("make the Sidecar resource: %w", err)
	}
	return nil
}

// serviceName is the name of the Service the pod belongs to, the oldest if
// there are several, "unknown" if there is none.
func (s *sidecar) serviceName(ctx context.Context) string {
	services, err := s.pod.agent.client.CoreV1().Services(s.proxy.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "unknown"
	}
	var oldest *corev1.Service
	for i := range services.Items {
		o := &services.Items[i]
		selects := len(o.Spec.Selector) > 0 && labels.SelectorFromSet(o.Spec.Selector).Matches(labels.Set(s.proxy.Labels))
		if selects && (oldest == nil || o.CreationTimestamp.Before(&oldest.CreationTimestamp)) {
			oldest = o
		}
	}
	if oldest == nil {
		return "unknown"
	}
	return oldest.Name
}
