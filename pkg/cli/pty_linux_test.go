package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openTerminal makes a pseudo-terminal of a size: the end that a program has, and
// the one at which somebody sits.
func openTerminal(t *testing.T, columns, rows uint16) (program, person *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip("this machine has no pseudo-terminals:", err)
	}
	t.Cleanup(func() { _ = person.Close() })
	fd := int(person.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}); err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = program.Close() })
	return program, person
}

// seen is what somebody saw at a terminal.
type seen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *seen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *seen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// On a terminal a release that is watched is drawn in place, no wider and no higher
// than the terminal; Ctrl-C ends it well, and leaves the cursor as it was.
func TestWatchingOnATerminal(t *testing.T) {
	const columns, rows = 72, 14
	program, person := openTerminal(t, columns, rows)
	w := newTown(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(file, fmt.Appendf(nil, kubeconfig, w.api.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, self)
	c.Args = []string{"kubectl-canary", "list", "-w", "-n", "watched"}
	c.Env = append(os.Environ(), "KUBECONFIG="+file, "HOME="+dir, "TERM=xterm-256color", "LANG=C.UTF-8", "LC_ALL=", "NO_COLOR=",
		"HTTP_PROXY=http://127.0.0.1:1", clockKey+"="+ended.Add(time.Minute).Format(time.RFC3339))
	c.Stdin, c.Stdout, c.Stderr = program, program, program
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	_ = program.Close()
	var screen seen
	over := make(chan struct{})
	go func() {
		defer close(over)
		_, _ = io.Copy(&screen, person) // ends with an error when nobody has the other end
	}()
	until := func(what string, is func(string) bool) {
		t.Helper()
		for !is(screen.String()) {
			select {
			case <-over:
				t.Fatalf("%s: it never is:\n%q", what, screen.String())
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	until("two frames are drawn", func(s string) bool { return strings.Count(s, "SERVICE") >= 2 })
	if _, err := person.WriteString("\x03"); err != nil { // Ctrl-C, as typed
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Errorf("Ctrl-C ends it with %v", err)
	}
	<-over
	text := screen.String()
	if strings.Count(text, hideCursor) != 1 || !strings.HasSuffix(text, showCursor) {
		t.Errorf("the cursor is not restored:\n%q", text)
	}
	if !strings.Contains(text, "\x1b[3A\r") || !strings.Contains(text, "\x1b[36m") {
		t.Errorf("it is not drawn in place, in colours:\n%q", text)
	}
}
