package node

import (
	"os/exec"
	"syscall"
	"testing"
)

func TestAStoppedProcessIsWaitedFor(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid, done := cmd.Process.Pid, make(chan struct{})
	go func() {
		_ = cmd.Wait() // it is killed
		close(done)
	}()
	for range 3 { // each stop is told anew
		if stopped, err := hasStopped(pid); stopped || err != nil {
			t.Fatalf("it has stopped before it was told to: %v, %v", stopped, err)
		}
		if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		if err := AwaitStopped(pid, done); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := AwaitStopped(pid, done); err != nil {
		t.Errorf("an ended process is waited for: %v", err)
	}
}
