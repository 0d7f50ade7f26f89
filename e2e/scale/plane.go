package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"serin.dev/serin/e2e/build"
)

// controllerUser is the user name the API server knows the controller by: the
// service account of deploy/base.
const controllerUser = "system:serviceaccount:serin-system:serin"

const (
	adminToken      = "scale-admin"
	controllerToken = "scale-controller"
)

// plane is a real etcd and a real API server, and nothing else.
type plane struct {
	dir     string
	paths   build.Paths
	etcdURL string
	address string // of the API server
	started []*process
}

// process is a program that runs.
type process struct {
	cmd   *exec.Cmd
	done  chan struct{}
	ended error // once done
}

func (p *process) alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// kill ends it however it is.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}

// newPlane starts etcd alone: what is to be there is put into it first.
func newPlane(ctx context.Context, paths build.Paths) (*plane, error) {
	dir, err := os.MkdirTemp("", "serin-scale-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for this run: %w", err)
	}
	p := &plane{dir: dir, paths: paths}
	client, peer, err := twoAddresses(ctx)
	if err != nil {
		return p, err
	}
	p.etcdURL = "http://" + client
	err = p.start(ctx, "etcd", p.etcdURL+"/health",
		"--data-dir="+p.file("etcd"), "--listen-client-urls="+p.etcdURL, "--advertise-client-urls="+p.etcdURL,
		"--listen-peer-urls=http://"+peer, "--unsafe-no-fsync", "--log-level=warn",
		"--quota-backend-bytes=8589934592", "--max-txn-ops=1024", "--max-request-bytes=33554432")
	return p, err
}

func twoAddresses(ctx context.Context) (one, two string, err error) {
	one, err1 := freeAddress(ctx)
	two, err2 := freeAddress(ctx)
	return one, two, errors.Join(err1, err2)
}

// freeAddress is a port of the loopback address that nobody listens on.
func freeAddress(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}

func (p *plane) file(name string) string { return filepath.Join(p.dir, name) }

// auditPolicy logs what the controller does, and nobody else.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  users: ["` + controllerUser + `"]
- level: None
`

// startAPIServer starts the API server over what etcd holds.
func (p *plane) startAPIServer(ctx context.Context) error {
	address, err := freeAddress(ctx)
	if err != nil {
		return err
	}
	p.address = address
	_, port, _ := strings.Cut(address, ":")
	if err := p.writeKeys(); err != nil {
		return err
	}
	if err := p.start(ctx, "kube-apiserver", "https://"+address+"/readyz",
		"--etcd-servers="+p.etcdURL, "--bind-address=127.0.0.1", "--secure-port="+port, "--cert-dir="+p.file("certificates"),
		"--token-auth-file="+p.file("tokens.csv"), "--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+p.file("accounts.key"), "--service-account-signing-key-file="+p.file("accounts.key"),
		"--service-cluster-ip-range=10.96.0.0/16", "--endpoint-reconciler-type=none",
		"--disable-admission-plugins=ServiceAccount",
		"--audit-policy-file="+p.file("audit.yaml"), "--audit-log-path="+p.file("audit.log"),
	); err != nil {
		return err
	}
	for name, token := range map[string]string{"admin.kubeconfig": adminToken} {
		if err := p.kubeconfig(name, p.address, token); err != nil {
			return err
		}
	}
	return nil
}

func (p *plane) writeKeys() error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	tokens := adminToken + ",admin,admin,system:masters\n" +
		controllerToken + "," + controllerUser + `,serin,"system:serviceaccounts,system:serviceaccounts:serin-system"` + "\n"
	for name, content := range map[string][]byte{
		"tokens.csv": []byte(tokens), "audit.yaml": []byte(auditPolicy),
		"accounts.key": pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}),
	} {
		if err := os.WriteFile(p.file(name), content, 0o600); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return nil
}

// kubeconfig writes one that leads to an address in front of the API server.
func (p *plane) kubeconfig(name, address, token string) error {
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: scale
contexts: [{name: scale, context: {cluster: scale, user: scale}}]
clusters: [{name: scale, cluster: {server: "https://%s", certificate-authority: %q}}]
users: [{name: scale, user: {token: %q}}]
`, address, filepath.Join(p.file("certificates"), "apiserver.crt"), token)
	if err := os.WriteFile(p.file(name), []byte(text), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// start starts a program of the stack and waits until it is ready.
func (p *plane) start(ctx context.Context, name, ready string, args ...string) error {
	started, err := p.launch(ctx, name, p.paths.Stack, nil, append([]string{name}, args...)...)
	if err != nil {
		return err
	}
	p.started = append(p.started, started)
	return p.waitReady(ctx, started, name, ready)
}

// launch starts a program whose output goes to a file of its name. It ends with
// this process.
func (p *plane) launch(ctx context.Context, name, path string, env []string, args ...string) (*process, error) {
	out, err := os.OpenFile(p.file(name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer func() { _ = out.Close() }()
	cmd := exec.CommandContext(context.WithoutCancel(ctx), path, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir, "TMPDIR=" + p.dir}, env...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	started := &process{cmd: cmd, done: make(chan struct{})}
	go func() {
		started.ended = cmd.Wait()
		close(started.done)
	}()
	return started, nil
}

// readyLimit is how long a program may take to start; with a full etcd the API
// server reads all of it first.
const readyLimit = 10 * time.Minute

func (p *plane) waitReady(ctx context.Context, started *process, name, url string) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true, // whether it answers is the question, not who it is
	}}
	for {
		if answers(ctx, client, url) {
			return nil
		}
		select {
		case <-started.done:
			return fmt.Errorf("%s has ended: %w; see %s", name, started.ended, p.file(name+".log"))
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w; see %s", name, context.Cause(ctx), p.file(name+".log"))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func answers(ctx context.Context, client *http.Client, url string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// kubectl runs the real kubectl as an administrator.
func (p *plane) kubectl(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, p.paths.Stack, append([]string{"kubectl", "--kubeconfig", p.file("admin.kubeconfig")}, args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir, "TMPDIR=" + p.dir}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// close ends everything and removes the files, but for those of a run that
// failed.
func (p *plane) close(failed bool) {
	for i := len(p.started) - 1; i >= 0; i-- {
		p.started[i].kill()
	}
	if failed {
		say("the files of this run are in %s", p.dir)
		return
	}
	_ = os.RemoveAll(p.dir)
}
