package shop

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"serin.dev/serin/e2e/build"
	"serin.dev/serin/e2e/sandbox"
)

// controllerNamespace is where deploy/base installs the controller.
const controllerNamespace = "serin-system"

// Controller says how the controller is started.
type Controller struct {
	// Account is the service account it works as; default: serin, that of
	// deploy/base. Another one gets the same rights.
	Account string
	// Namespaces it watches; default: all.
	Namespaces []string
}

// Start installs the rights of deploy/base and starts the controller with
// them and no others. It returns when the controller is ready.
func (c Controller) Start(ctx context.Context, s *sandbox.Sandbox) (*sandbox.Controller, error) {
	if c.Account == "" {
		c.Account = "serin"
	}
	if err := c.grant(ctx, s); err != nil {
		return nil, err
	}
	kubeconfig, err := s.KubeconfigFor(c.User())
	if err != nil {
		return nil, err
	}
	file := filepath.Join(s.LogDir(), c.Account+".yaml")
	if err := os.WriteFile(file, []byte(c.config()), 0o644); err != nil {
		return nil, fmt.Errorf("write the controller's configuration: %w", err)
	}
	args := []string{"--kubeconfig", kubeconfig, "--config", file}
	if len(c.Namespaces) > 0 {
		args = append(args, "--namespaces", strings.Join(c.Namespaces, ","))
	}
	started, err := s.StartController(args...)
	if err != nil {
		return nil, err
	}
	return started, ready(ctx, started)
}

// User is the user name the API server knows the controller by.
func (c Controller) User() string {
	return "system:serviceaccount:" + controllerNamespace + ":" + c.Account
}

// grant applies what deploy/base installs of rights.
func (c Controller) grant(ctx context.Context, s *sandbox.Sandbox) error {
	root, err := build.Root()
	if err != nil {
		return err
	}
	for _, name := range []string{"namespace.yaml", "serviceaccount.yaml", "rbac.yaml"} {
		content, err := os.ReadFile(filepath.Join(root, "deploy", "base", name))
		if err != nil {
			return fmt.Errorf("read the controller's rights: %w", err)
		}
		if err := s.Apply(ctx, string(content)); err != nil {
			return err
		}
	}
	if c.Account == "serin" {
		return nil
	}
	return s.Apply(ctx, strings.ReplaceAll(sameRights, "ACCOUNT", c.Account))
}

const sameRights = `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: ACCOUNT}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: serin}
subjects:
- {kind: ServiceAccount, name: ACCOUNT, namespace: serin-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: ACCOUNT, namespace: serin-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: serin-leader}
subjects:
- {kind: ServiceAccount, name: ACCOUNT, namespace: serin-system}
`

// config is the configuration file: as in deploy/base, and the defaults.
func (c Controller) config() string {
	return fmt.Sprintf("leaderElection:\n  namespace: %s\n  name: %s\n", controllerNamespace, c.Account)
}

// ready waits until the controller says that it is.
func ready(ctx context.Context, c *sandbox.Controller) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.MetricsURL+"/readyz", nil)
	if err != nil {
		return err
	}
	for {
		resp, err := http.DefaultClient.Do(request)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the controller to be ready: %w; see %s", context.Cause(ctx), c.LogPath)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
