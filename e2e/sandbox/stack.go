package sandbox

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

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

// up starts everything, as much at a time as can be: what waits for what is
// the order below.
func (s *Sandbox) up(ctx context.Context) error {
	began := time.Now()
	if err := s.writeFiles(); err != nil {
		return err
	}
	// Calls to the machine know no context: its end is theirs.
	defer context.AfterFunc(ctx, s.machine.stop)()
	err := s.parallel(
		func() error { return s.start(ctx, s.prometheus()) },
		func() error { return s.start(ctx, s.etcd()) },
		func() error { return s.upAPI(ctx) },
	)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.options.Progress, "sandbox: up after %.1fs\n", time.Since(began).Seconds())
	return nil
}

// upAPI starts the API server and what works on it.
func (s *Sandbox) upAPI(ctx context.Context) error {
	if err := s.start(ctx, s.apiServer()); err != nil {
		return err
	}
	return s.parallel(
		func() error { return s.install(ctx) },
		func() error { return s.start(ctx, s.controllerManager()) },
		func() error { return s.start(ctx, s.scheduler()) },
		func() error { return s.upAgent(ctx) },
		func() error { return s.upMesh(ctx) },
	)
}

// upAgent starts the node agent, and has the API server pass requests for
// metrics.k8s.io on to it.
func (s *Sandbox) upAgent(ctx context.Context) error {
	if err := s.machine.call("Agent", s.agentConfig()); err != nil {
		return err
	}
	return s.installMetricsAPI(ctx)
}

// upMesh starts istiod and the proxies that are always there.
func (s *Sandbox) upMesh(ctx context.Context) error {
	if err := s.start(ctx, s.istiod()); err != nil {
		return err
	}
	return s.parallel(
		func() error { return s.startProxy(ctx, s.gateway) },
		func() error { return s.startProxy(ctx, s.meshClient) },
	)
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

func (s *Sandbox) startProxy(ctx context.Context, proxy func() (node.Process, error)) error {
	p, err := proxy()
	if err != nil {
		return err
	}
	return s.start(ctx, p)
}

// parallel calls all functions at once and returns the first error. That error
// ends the machine, so that nobody waits for what can no longer come.
func (s *Sandbox) parallel(functions ...func() error) error {
	var (
		all   sync.WaitGroup
		once  sync.Once
		first error
	)
	for _, f := range functions {
		all.Go(func() {
			if err := f(); err != nil {
				once.Do(func() { first = err; s.machine.stop() })
			}
		})
	}
	all.Wait()
	return first
}

func (s *Sandbox) file(name string) string { return filepath.Join(s.dir, name) }

// server is the API server's URL, the same inside and outside.
func (s *Sandbox) server() string { return "https://" + s.machine.address(apiListener) }

// writeFiles writes the certificates, kubeconfigs and configuration files.
func (s *Sandbox) writeFiles() (err error) {
	if s.ca, err = newAuthority(); err != nil {
		return err
	}
	if err := errors.Join(s.ca.files(s.dir), s.ca.aggregation(s.dir)); err != nil {
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
	if err := s.writePrometheusConfig(s.file("targets.json")); err != nil {
		return err
	}
	for name, content := range map[string]string{
		controllersFile: "[]", "audit.yaml": auditPolicy, "mesh.yaml": mesh.Config, "kubectl": s.kubectlScript(),
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

// writePrometheusConfig has Prometheus scrape what the file of targets names,
// once it reads it, and controllers that ask for it; no proxy without a file.
func (s *Sandbox) writePrometheusConfig(targets string) error {
	config, err := mesh.PrometheusConfig(s.options.ScrapeInterval, targets, s.file(controllersFile))
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.file("prometheus.yml"), config, 0o644); err != nil {
		return fmt.Errorf("write Prometheus's configuration: %w", err)
	}
	return nil
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
