package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"serin.dev/serin/e2e/agent"
	"serin.dev/serin/e2e/mesh"
	"serin.dev/serin/e2e/node"
)

// gatewayProxy and clientProxy are the two Envoys that are always there.
var (
	gatewayProxy = mesh.Proxy{
		IP: mesh.GatewayIP, Name: "istio-ingressgateway", Namespace: "istio-system",
		Labels: map[string]string{"istio": "ingressgateway", "app": "istio-ingressgateway"},
	}
	clientProxy = mesh.Proxy{
		Sidecar: true, IP: mesh.ClientIP, Name: "mesh-client", Namespace: "shop", Labels: map[string]string{"app": "mesh-client"},
	}
)

// program is a process out of the stack's binary.
func (s *Sandbox) program(name, ready string, args ...string) node.Process {
	return node.Process{Name: name, Path: s.paths.Stack, Args: append([]string{name}, args...), Ready: ready, OK: true}
}

const etcdURL = "http://127.0.0.1:2379"

func (s *Sandbox) etcd() node.Process {
	return s.program("etcd", etcdURL+"/health",
		"--data-dir="+s.file("etcd"),
		"--listen-client-urls="+etcdURL, "--advertise-client-urls="+etcdURL, "--listen-peer-urls=http://127.0.0.1:2380",
		"--unsafe-no-fsync", // the data is of no use after a power failure
		"--log-level=warn",
	)
}

func (s *Sandbox) apiServer() node.Process {
	_, port, _ := strings.Cut(s.machine.address(apiListener), ":")
	return s.program("kube-apiserver", s.server()+"/readyz",
		"--etcd-servers="+etcdURL,
		"--bind-address=127.0.0.1", "--secure-port="+port,
		"--tls-cert-file="+s.file("server.crt"), "--tls-private-key-file="+s.file("server.key"),
		"--client-ca-file="+s.file("ca.crt"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+s.file("sa.pub"), "--service-account-signing-key-file="+s.file("sa.key"),
		"--authorization-mode=RBAC",
		"--service-cluster-ip-range=10.96.0.0/16",
		"--advertise-address="+mesh.NodeIP, "--endpoint-reconciler-type=none",
		// Pods have no use for tokens, and would wait for their service account.
		"--disable-admission-plugins=ServiceAccount",
		// To the metrics API by its endpoints: nobody serves cluster IPs here.
		"--enable-aggregator-routing=true",
		"--proxy-client-cert-file="+s.file("front-proxy.crt"), "--proxy-client-key-file="+s.file("front-proxy.key"),
		"--requestheader-client-ca-file="+s.file("front-proxy-ca.crt"), "--requestheader-allowed-names="+frontProxy,
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		// Ports are forwarded by the node agent, at the address by which it has a certificate.
		"--kubelet-preferred-address-types=InternalIP", "--kubelet-certificate-authority="+s.file("ca.crt"),
		"--kubelet-client-certificate="+s.file("front-proxy.crt"), "--kubelet-client-key="+s.file("front-proxy.key"),
		"--audit-policy-file="+s.file("audit.yaml"), "--audit-log-path="+s.AuditLog(),
	)
}

func (s *Sandbox) controllerManager() node.Process {
	controllers := []string{
		"deployment-controller", "replicaset-controller", "endpointslice-controller", "namespace-controller",
		"serviceaccount-controller", "garbage-collector-controller", "horizontal-pod-autoscaler-controller",
		"disruption-controller", "resourcequota-controller",
	}
	return s.program("kube-controller-manager", "https://127.0.0.1:10257/healthz",
		"--kubeconfig="+s.file("controller-manager.kubeconfig"),
		"--controllers="+strings.Join(controllers, ","),
		"--leader-elect=false", "--bind-address=127.0.0.1",
		"--service-account-private-key-file="+s.file("sa.key"),
		"--kube-api-qps=1000", "--kube-api-burst=1000",
		// Autoscaling in seconds instead of minutes.
		"--horizontal-pod-autoscaler-sync-period=1s",
		"--horizontal-pod-autoscaler-downscale-stabilization=5s",
		"--horizontal-pod-autoscaler-initial-readiness-delay=1s",
		"--horizontal-pod-autoscaler-cpu-initialization-period=1s",
	)
}

func (s *Sandbox) scheduler() node.Process {
	return s.program("kube-scheduler", "https://127.0.0.1:10259/healthz",
		"--kubeconfig="+s.file("scheduler.kubeconfig"), "--leader-elect=false", "--bind-address=127.0.0.1",
		"--kube-api-qps=1000", "--kube-api-burst=1000",
	)
}

func (s *Sandbox) istiod() node.Process {
	p := s.program("pilot-discovery", "http://127.0.0.1:8080/ready",
		"discovery", "--kubeconfig="+s.file("istiod.kubeconfig"), "--meshConfig="+s.file("mesh.yaml"),
		"--httpAddr=127.0.0.1:8080", fmt.Sprintf("--grpcAddr=%s:%d", mesh.XDSAddress, mesh.XDSPort),
		"--secureGRPCAddr=", "--httpsAddr=", "--monitoringAddr=127.0.0.1:15014", "--ctrlz_port=0",
	)
	p.Name, p.Env = "istiod", append(environment(), mesh.IstiodEnv...)
	return p
}

func (s *Sandbox) prometheus() node.Process {
	return node.Process{
		Name: "prometheus", Path: s.paths.Prometheus, Ready: s.PrometheusURL() + "/-/ready", OK: true,
		Args: []string{
			"--config.file=" + s.file("prometheus.yml"), "--storage.tsdb.path=" + s.file("tsdb"),
			"--web.listen-address=" + s.machine.address(prometheusListener),
			fmt.Sprintf("--storage.tsdb.retention.time=%ds", int(s.options.Retention.Seconds())),
			"--log.level=warn",
		},
	}
}

// proxy is an Envoy; its bootstrap file is written. It is ready when the URL is
// answered, with 200 if ok.
func (s *Sandbox) proxy(name string, p mesh.Proxy, ready string, ok bool) (node.Process, error) {
	bootstrap, err := p.Bootstrap()
	if err != nil {
		return node.Process{}, err
	}
	file := s.file(name + ".json")
	if err := os.WriteFile(file, bootstrap, 0o644); err != nil {
		return node.Process{}, fmt.Errorf("write the bootstrap of %s: %w", name, err)
	}
	return node.Process{Name: name, Path: s.paths.Envoy, Args: mesh.EnvoyArgs(file), Ready: ready, OK: ok}, nil
}

// gateway is ready once its listener has come from istiod; without routes it
// answers 404.
func (s *Sandbox) gateway() (node.Process, error) {
	return s.proxy("gateway", gatewayProxy, fmt.Sprintf("http://%s:%d/", mesh.GatewayIP, mesh.GatewayPort), false)
}

// meshClient is ready once it has its configuration from istiod.
func (s *Sandbox) meshClient() (node.Process, error) {
	return s.proxy("mesh-client", clientProxy, fmt.Sprintf("http://%s:%d/ready", mesh.ClientIP, mesh.AdminPort), true)
}

func (s *Sandbox) agentConfig() agent.Config {
	return agent.Config{
		Kubeconfig: s.file("agent.kubeconfig"), App: s.paths.App, Envoy: s.paths.Envoy, Dir: s.dir,
		LogDir: filepath.Join(s.logs, "pods"), TargetsFile: s.file("targets.json"),
		Metrics: agent.MetricsAPI{
			Certificate: s.file("metrics.crt"), Key: s.file("metrics.key"), ClientCA: s.file("front-proxy-ca.crt"),
		},
		Targets: []mesh.Target{gatewayProxy.Source("istio-ingressgateway"), clientProxy.Source("mesh-client")},
	}
}
