package sandbox

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"serin.dev/serin/e2e/agent"
	"serin.dev/serin/e2e/mesh"
	"serin.dev/serin/e2e/node"
)

// The users the sandbox's own components are. They do not appear in the audit
// log.
const (
	installUser = "sandbox:install"
	agentUser   = "sandbox:agent"
	istiodUser  = "sandbox:istiod"
	kcmUser     = "system:kube-controller-manager"
	schedUser   = "system:kube-scheduler"
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

// up starts everything, as much at a time as can be: what waits for what is
// the order below.
func (s *Sandbox) up(ctx context.Context) error {
	began := time.Now()
	if err := s.writeFiles(); err != nil {
		return err
	}
	err := parallel(
		func() error { return s.start(ctx, s.prometheus()) },
		func() error { return s.start(ctx, s.etcd()) },
		func() error {
			if err := s.start(ctx, s.apiServer()); err != nil {
				return err
			}
			return parallel(
				func() error { return s.install(ctx) },
				func() error { return s.start(ctx, s.controllerManager()) },
				func() error { return s.start(ctx, s.scheduler()) },
				func() error { return s.machine.call("Agent", s.agentConfig()) },
				func() error {
					if err := s.start(ctx, s.istiod()); err != nil {
						return err
					}
					return parallel(
						func() error { return s.startProxy(ctx, "gateway", gatewayProxy, s.gatewayReady()) },
						func() error { return s.startProxy(ctx, "mesh-client", clientProxy, adminReady(clientProxy)) },
					)
				},
			)
		},
	)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.options.Progress, "sandbox: up after %.1fs\n", time.Since(began).Seconds())
	return nil
}

// start starts a process, waits until it is ready, and tells.
func (s *Sandbox) start(ctx context.Context, p node.Process) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	began := time.Now()
	p.Log = filepath.Join(s.logs, p.Name+".log")
	if p.Env == nil {
		p.Env = environment()
	}
	if err := s.machine.call("Start", p); err != nil {
		return err
	}
	fmt.Fprintf(s.options.Progress, "sandbox: %s is ready after %.1fs\n", p.Name, time.Since(began).Seconds())
	return nil
}

// parallel calls all functions at once and returns the first error in order.
func parallel(functions ...func() error) error {
	errs := make([]error, len(functions))
	var all sync.WaitGroup
	for i, f := range functions {
		all.Go(func() { errs[i] = f() })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Sandbox) file(name string) string { return filepath.Join(s.dir, name) }

// server is the API server's URL, the same inside and outside.
func (s *Sandbox) server() string { return "https://" + s.machine.address(apiListener) }

// writeFiles writes the certificates, kubeconfigs and configuration files.
func (s *Sandbox) writeFiles() (err error) {
	if s.ca, err = newAuthority(); err != nil {
		return err
	}
	if err := s.ca.files(s.dir); err != nil {
		return err
	}
	for name, user := range map[string]string{
		"kubeconfig": "admin", "install.kubeconfig": installUser, "agent.kubeconfig": agentUser,
		"istiod.kubeconfig": istiodUser, "controller-manager.kubeconfig": kcmUser, "scheduler.kubeconfig": schedUser,
	} {
		if err := s.ca.kubeconfig(s.file(name), s.server(), user, masters); err != nil {
			return err
		}
	}
	prometheus, err := mesh.PrometheusConfig(s.options.ScrapeInterval, s.file("targets.json"))
	if err != nil {
		return err
	}
	for name, content := range map[string]string{
		"audit.yaml": auditPolicy, "mesh.yaml": mesh.Config, "prometheus.yml": string(prometheus), "kubectl": s.kubectlScript(),
	} {
		mode := os.FileMode(0o644)
		if name == "kubectl" {
			mode = 0o755
		}
		if err := os.WriteFile(s.file(name), []byte(content), mode); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	if s.rest, err = restConfig(s.Kubeconfig()); err != nil {
		return err
	}
	s.clients, err = newClients(s.rest)
	return err
}

// auditPolicy logs every request but those of the sandbox's own components.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: ["` + installUser + `", "` + agentUser + `", "` + istiodUser + `", "` + kcmUser + `", "` + schedUser + `",
    "system:apiserver", "system:anonymous"]
- level: Metadata
`

// kubectlScript is a kubectl for this sandbox, with a cache of its own.
func (s *Sandbox) kubectlScript() string {
	return fmt.Sprintf("#!/bin/sh\nexec %q kubectl --kubeconfig=%q --cache-dir=%q \"$@\"\n", s.paths.Stack, s.Kubeconfig(), s.file("kubectl-cache"))
}

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

// gatewayReady is answered once the gateway's listener has come from istiod.
func (s *Sandbox) gatewayReady() node.Process {
	return node.Process{Ready: fmt.Sprintf("http://%s:%d/", mesh.GatewayIP, mesh.GatewayPort)}
}

// adminReady is answered once the proxy has its configuration from istiod.
func adminReady(p mesh.Proxy) node.Process {
	return node.Process{Ready: fmt.Sprintf("http://%s:%d/ready", p.IP, mesh.AdminPort), OK: true}
}

// startProxy starts an Envoy; ready holds how to tell that it is ready.
func (s *Sandbox) startProxy(ctx context.Context, name string, proxy mesh.Proxy, ready node.Process) error {
	bootstrap, err := proxy.Bootstrap()
	if err != nil {
		return err
	}
	file := s.file(name + ".json")
	if err := os.WriteFile(file, bootstrap, 0o644); err != nil {
		return fmt.Errorf("write the bootstrap of %s: %w", name, err)
	}
	return s.start(ctx, node.Process{Name: name, Path: s.paths.Envoy, Args: mesh.EnvoyArgs(file), Ready: ready.Ready, OK: ready.OK})
}

func (s *Sandbox) agentConfig() agent.Config {
	return agent.Config{
		Kubeconfig: s.file("agent.kubeconfig"), App: s.paths.App, Envoy: s.paths.Envoy, Dir: s.dir,
		LogDir: filepath.Join(s.logs, "pods"), TargetsFile: s.file("targets.json"),
		Targets: []mesh.Target{gatewayProxy.Source("istio-ingressgateway"), clientProxy.Source("mesh-client")},
	}
}

// KubeconfigFor writes a kubeconfig for another user, known to the API server
// by a client certificate, and returns its path. A service account is a user
// too: system:serviceaccount:<namespace>:<name>, in the groups
// system:serviceaccounts and system:serviceaccounts:<namespace>, which are
// added.
func (s *Sandbox) KubeconfigFor(user string, groups ...string) (string, error) {
	if account, ok := strings.CutPrefix(user, "system:serviceaccount:"); ok {
		namespace, _, _ := strings.Cut(account, ":")
		groups = append(groups, "system:serviceaccounts", "system:serviceaccounts:"+namespace)
	}
	slices.Sort(groups)
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q", user, groups))
	path := s.file("user-" + hex.EncodeToString(sum[:8]) + ".kubeconfig")
	if err := s.ca.kubeconfig(path, s.server(), user, groups...); err != nil {
		return "", err
	}
	return path, nil
}
