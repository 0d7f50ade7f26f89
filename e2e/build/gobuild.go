package build

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// goTarget is one call of `go build`.
type goTarget struct {
	what     string   // for people: what is being built
	dir      string   // where the go command runs
	packages []string // what is built
	output   string   // a file, or a folder with a trailing separator
	flags    []string
	env      []string // besides the environment of this process
	count    bool     // tell how many packages there are and how many are done
}

// goBuild runs the call and tells its progress. What the compiler says becomes
// part of the error.
func (b *builder) goBuild(ctx context.Context, t goTarget) error {
	if _, err := exec.LookPath("go"); err != nil {
		return fmt.Errorf("build %s: the go command is missing from PATH: install Go from https://go.dev/dl", t.what)
	}
	p := newProgress(b.out, t.what)
	defer p.stop()
	if t.count {
		n, err := b.countPackages(ctx, t, p)
		if err != nil {
			return err
		}
		p.begin(n)
	}
	args := append([]string{"build", "-v", "-buildvcs=false", "-o", t.output}, t.flags...)
	said, err := b.runGo(ctx, t, p.line, append(args, t.packages...)...)
	if err != nil {
		return fmt.Errorf("build %s: %w%s", t.what, err, explain(said))
	}
	return nil
}

// countPackages lists what has to be compiled, which also downloads the
// modules that are missing.
func (b *builder) countPackages(ctx context.Context, t goTarget, p *progress) (int, error) {
	args := append([]string{"list", "-deps", "-f", "{{if .Stale}}{{.ImportPath}}{{end}}"}, tagsOf(t.flags)...)
	n := 0
	said, err := b.runGo(ctx, t, p.line, append(args, t.packages...)...)
	if err != nil {
		return 0, fmt.Errorf("download the modules of %s: %w%s", t.what, err, explain(said))
	}
	for line := range strings.Lines(said) {
		if !strings.HasPrefix(line, "go: ") {
			n++
		}
	}
	return n, nil
}

// tagsOf picks the flags that `go list` shares with `go build`.
func tagsOf(flags []string) []string {
	var tags []string
	for _, f := range flags {
		if strings.HasPrefix(f, "-tags") || strings.HasPrefix(f, "-gcflags") {
			tags = append(tags, f)
		}
	}
	return tags
}

// runGo runs the go command, hands each line it says on to tell, and returns
// all of them.
func (b *builder) runGo(ctx context.Context, t goTarget, tell func(string), args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = t.dir
	cmd.Env = append(os.Environ(), t.env...)
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	var said bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			said.WriteString(lines.Text() + "\n")
			tell(lines.Text())
		}
		_, _ = io.Copy(io.Discard, r) // a line beyond all measure must not block the go command
	}()
	err := cmd.Run()
	_ = w.Close()
	<-done
	if ctx.Err() != nil {
		return said.String(), errors.New("interrupted")
	}
	return said.String(), err
}

// hints tell what to do about what the go command or pip may say.
var hints = []struct{ says, mend string }{
	{"no space left on device", "the disk is full: the first build needs about 7 GB, of which GOCACHE takes 4; set GOCACHE, GOMODCACHE, GOTMPDIR and SERIN_CACHE to a larger disk"},
	{"no such host", "no network, or no name service: the first build downloads modules (see GOPROXY) and Envoy (see pip's settings)"},
	{"dial tcp", "the network cannot be reached: the first build downloads modules (see GOPROXY) and Envoy (see pip's settings)"},
	{"signal: killed", "a compiler was killed, most likely for lack of memory: 8 GB are enough; GOFLAGS=-p=1 halves the need"},
	{"requires go >=", "this Go is too old: install the version that go.mod asks for"},
	{"No module named pip", "pip is missing: install it (Debian and Ubuntu: apt install python3-pip)"},
	{"No matching distribution", "there is no Envoy for this machine on the package index: Linux on x86_64 and arm64 have one"},
}

// explain adds to an error what was said last, without the lines of progress,
// and a hint if there is one.
func explain(said string) string {
	var lines []string
	for line := range strings.Lines(said) {
		line = strings.TrimSuffix(line, "\n")
		if strings.ContainsAny(line, " :") && !strings.HasPrefix(line, "go: downloading") {
			lines = append(lines, line)
		}
	}
	lines = lines[max(0, len(lines)-20):]
	text := ""
	if len(lines) > 0 {
		text = "\n" + strings.Join(lines, "\n")
	}
	for _, h := range hints {
		if strings.Contains(said, h.says) {
			return text + "\n" + h.mend
		}
	}
	return text
}
