// Package ci tries the pipelines of examples/ci: what their files say, and what
// their scripts do, against a registry, an HTTP server and a docker of its own. The
// scripts that need a cluster are played in scenarios.
package ci

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

const (
	folder  = "../../examples/ci"
	scripts = folder + "/scripts"
)

// TestMain also is the docker of the scripts: it writes down what it is told, and
// pushes some image.
func TestMain(m *testing.M) {
	if log := os.Getenv("DOCKER_LOG"); log != "" {
		if err := docker(log, os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func docker(log string, args []string) error {
	f, err := os.OpenFile(log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := fmt.Fprintln(f, strings.Join(args, "\n")); err != nil {
		return err
	}
	if args[0] != "push" {
		return nil
	}
	return push(args[1])
}

// push pushes some image.
func push(target string) error {
	ref, err := name.NewTag(target)
	if err != nil {
		return err
	}
	image, err := random.Image(64, 1)
	if err != nil {
		return err
	}
	return remote.Write(ref, image)
}

// said is what came of a script.
type said struct {
	code        int
	out, errors string
}

// run runs a script in a folder, with these variables and no other but PATH.
func run(t *testing.T, dir, script string, variables []string, args ...string) said {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(scripts, script))
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), path, args...)
	var out, trouble bytes.Buffer
	c.Dir, c.Stdout, c.Stderr = dir, &out, &trouble
	c.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TMPDIR=" + t.TempDir()}, variables...)
	s := said{}
	var exit *exec.ExitError
	if err := c.Run(); errors.As(err, &exit) {
		s.code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	s.out, s.errors = strings.TrimSpace(out.String()), trouble.String()
	return s
}

// want fails unless a script ended with a code and said something.
func (s said) want(t *testing.T, code int, text string) {
	t.Helper()
	if s.code != code || !strings.Contains(s.out+"\n"+s.errors, text) {
		t.Errorf("it ends with %d and says\n%s%s\nwant %d and %q", s.code, s.out, s.errors, code, text)
	}
}
