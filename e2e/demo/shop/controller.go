package shop

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"serin.dev/serin/e2e/build"
	"serin.dev/serin/e2e/sandbox"
)

// ControllerUser is the user name the API server knows the controller by: the
// service account of deploy/base.
const ControllerUser = "system:serviceaccount:serin-system:serin"

// StartController installs the rights of deploy/base and starts the controller
// with them and no others, configured as there. It returns when the controller
// is ready.
func StartController(ctx context.Context, s *sandbox.Sandbox) (*sandbox.Controller, error) {
	root, err := build.Root()
	if err != nil {
		return nil, err
	}
	base := filepath.Join(root, "deploy", "base")
	for _, name := range []string{"namespace.yaml", "serviceaccount.yaml", "rbac.yaml"} {
		content, err := os.ReadFile(filepath.Join(base, name))
		if err != nil {
			return nil, fmt.Errorf("read the controller's rights: %w", err)
		}
		if err := s.Apply(ctx, string(content)); err != nil {
			return nil, err
		}
	}
	kubeconfig, err := s.KubeconfigFor(ControllerUser)
	if err != nil {
		return nil, err
	}
	c, err := s.StartController("--kubeconfig", kubeconfig, "--config", filepath.Join(base, "serin.yaml"))
	if err != nil {
		return nil, err
	}
	return c, ready(ctx, c)
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
