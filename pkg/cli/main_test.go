package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// clockKey names the variable by which a script sets the clock; unset it is the
// real one.
const clockKey = "TEST_CLOCK"

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"kubectl-canary": func() {
		now := time.Now
		if clock := os.Getenv(clockKey); clock != "" {
			at, err := time.Parse(time.RFC3339, clock)
			if err != nil {
				panic(err)
			}
			now = func() time.Time { return at }
		}
		os.Exit(Main(Program{Now: now}))
	}})
}

const kubeconfig = `apiVersion: v1
kind: Config
current-context: town
contexts: [{name: town, context: {cluster: town, user: me, namespace: shop}}]
clusters: [{name: town, cluster: {server: %q}}]
users: [{name: me, user: {token: t}}]
`

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			w := newTown(t)
			e.Values["town"] = w
			file := filepath.Join(e.WorkDir, "kubeconfig")
			e.Setenv("KUBECONFIG", file)
			e.Setenv("PROMETHEUS", w.prometheus.URL)
			e.Setenv(clockKey, ended.Add(time.Minute).Format(time.RFC3339))
			e.Setenv("TZ", "UTC")
			// Names of the cluster are looked up nowhere.
			e.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
			return os.WriteFile(file, fmt.Appendf(nil, kubeconfig, w.api.URL), 0o600)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":  exits,
			"forget": forget,
			"forbid": forbid,
			"allow":  allow,
		},
	})
}

// exits runs a program that ends with an exit code: exits 3 kubectl-canary ...
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGUMENTS")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		code = exit.ExitCode()
	}
	if code != want {
		ts.Fatalf("the exit code is %d, want %d", code, want)
	}
}

// forget takes what was before the second step out of Prometheus.
func forget(ts *testscript.TestScript, _ bool, args []string) {
	w := ts.Value("town").(*town)
	w.knowFrom(second)
	if len(args) > 0 {
		w.knowFrom(ended.Add(time.Hour))
	}
}

// forbid takes the right to list resources, or, without any, to reach Services
// through the API server.
func forbid(ts *testscript.TestScript, _ bool, args []string) {
	w := ts.Value("town").(*town)
	if len(args) == 0 {
		w.forbidden.Store(true)
	}
	for _, resource := range args {
		w.hidden.Store(resource, true)
	}
}

// allow gives back what forbid took.
func allow(ts *testscript.TestScript, _ bool, args []string) {
	for _, resource := range args {
		ts.Value("town").(*town).hidden.Delete(resource)
	}
}
