package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Kubectl runs the real kubectl, of the API server's version, as an
// administrator, and returns what it wrote. If it exits with another code than
// 0, the error wraps an *exec.ExitError and says what it wrote to stderr.
func (s *Sandbox) Kubectl(ctx context.Context, args ...string) (stdout, stderr string, err error) {
	return s.tool(ctx, "kubectl", s.paths.Stack, append([]string{"kubectl"}, args...), args)
}

// Helm runs the real Helm as an administrator, as Kubectl does. The first call
// builds it if it is missing, in a minute or two.
func (s *Sandbox) Helm(ctx context.Context, args ...string) (stdout, stderr string, err error) {
	path, err := s.helm()
	if err != nil {
		return "", "", err
	}
	return s.tool(ctx, "helm", path, args, args)
}

// tool runs a program of people's. said is what they would have typed after its
// name.
func (s *Sandbox) tool(ctx context.Context, name, path string, args, said []string) (stdout, stderr string, err error) {
	cmd := exec.CommandContext(ctx, path, args...)
	if cmd.Env, err = s.toolEnvironment(); err != nil {
		return "", "", err
	}
	var out, trouble bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &trouble
	if err := cmd.Run(); err != nil {
		err = fmt.Errorf("%s %s: %w: %s", name, strings.Join(said, " "), err, strings.TrimSpace(trouble.String()))
		return out.String(), trouble.String(), err
	}
	return out.String(), trouble.String(), nil
}

// toolEnvironment gives tools a home of their own: they neither read what the
// user of this machine has configured nor leave anything there.
func (s *Sandbox) toolEnvironment() ([]string, error) {
	home := s.file("home")
	if err := os.MkdirAll(filepath.Join(home, "tmp"), 0o755); err != nil {
		return nil, fmt.Errorf("make a home for the tools: %w", err)
	}
	env := []string{"HOME=" + home, "TMPDIR=" + filepath.Join(home, "tmp"), "KUBECONFIG=" + s.Kubeconfig()}
	for _, variable := range environment() {
		if !strings.HasPrefix(variable, "HOME=") && !strings.HasPrefix(variable, "TMPDIR=") {
			env = append(env, variable)
		}
	}
	return env, nil
}
