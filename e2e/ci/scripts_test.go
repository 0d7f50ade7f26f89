package ci

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
)

// quiet is a registry that keeps its log to itself.
func quiet() http.Handler { return registry.New(registry.Logger(log.New(io.Discard, "", 0))) }

// registryHost is a registry on the loopback that holds nothing yet.
func registryHost(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(quiet())
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func TestATagIsPushedOnce(t *testing.T) {
	image := registryHost(t) + "/shop/web:1.2.3"
	run(t, ".", "tag-free.sh", nil, image).want(t, 0, "is free")
	run(t, ".", "digest.sh", nil, image).want(t, 1, "answers 404")
	if err := push(image); err != nil {
		t.Fatal(err)
	}
	run(t, ".", "tag-free.sh", nil, image).want(t, 1, "is there already: raise the version")
	got := run(t, ".", "digest.sh", nil, image)
	if !regexp.MustCompile(`^` + regexp.QuoteMeta(image) + `@sha256:[0-9a-f]{64}$`).MatchString(got.out) {
		t.Errorf("the digest is %+v", got)
	}
}

func TestWhetherATagIsFreeIsNeverGuessed(t *testing.T) {
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	defer broken.Close()
	run(t, ".", "tag-free.sh", nil, strings.TrimPrefix(broken.URL, "http://")+"/web:1").want(t, 1, "answers 418: whether the tag is free is not known")
	broken.Close()
	run(t, ".", "tag-free.sh", nil, strings.TrimPrefix(broken.URL, "http://")+"/web:1").want(t, 1, "does not answer")
	run(t, ".", "tag-free.sh", nil, "shop/web:1").want(t, 1, "name the registry too")
	run(t, ".", "tag-free.sh", nil, "127.0.0.1:1/web").want(t, 1, "write the image as registry/name:tag")
	run(t, ".", "tag-free.sh", nil).want(t, 2, "usage")
}

// behindLogin is a registry that wants a token, which it gives for a password.
func behindLogin(t *testing.T) string {
	t.Helper()
	inner := quiet()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			user, password, _ := r.BasicAuth()
			if user != "robot" || password != `pass"word\` || r.URL.Query().Get("scope") != "repository:web:pull" || r.URL.Query().Get("service") != "here" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			fmt.Fprint(w, `{"token": "t0ken"}`)
			return
		}
		if r.Header.Get("Authorization") != "Bearer t0ken" {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="here"`, r.Host))
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func TestARegistryThatWantsALoginGetsOneAndNobodySeesIt(t *testing.T) {
	image := behindLogin(t) + "/web:1.0.0"
	run(t, ".", "tag-free.sh", nil, image).want(t, 1, "gives no token: are REGISTRY_USER and REGISTRY_PASSWORD right?")
	good := run(t, ".", "tag-free.sh", []string{"REGISTRY_USER=robot", `REGISTRY_PASSWORD=pass"word\`}, image)
	good.want(t, 0, "is free")
	bad := run(t, ".", "tag-free.sh", []string{"REGISTRY_USER=robot", "REGISTRY_PASSWORD=s3cret"}, image)
	bad.want(t, 1, "gives no token")
	for _, s := range []said{good, bad} {
		if text := s.out + s.errors; strings.Contains(text, "word") && strings.Contains(text, `pass"`) || strings.Contains(text, "s3cret") || strings.Contains(text, "t0ken") {
			t.Errorf("it says a secret: %s", text)
		}
	}
}

// repository is a clone with one commit.
func repository(t *testing.T) (dir string, git func(...string)) {
	t.Helper()
	dir = t.TempDir()
	git = func(args ...string) {
		t.Helper()
		c := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir, "-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main"}, args...)...)
		c.Env = append(os.Environ(), "GIT_COMMITTER_DATE=2026-03-01T12:30:00+02:00", "GIT_CONFIG_GLOBAL=/dev/null")
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	git("init", "--quiet")
	git("commit", "--quiet", "--allow-empty", "--message=one")
	return dir, git
}

func TestTheVersionIsSemVerAndSortsBetweenTags(t *testing.T) {
	dir, git := repository(t)
	is := func(expression string) {
		t.Helper()
		if s := run(t, dir, "version.sh", nil); s.code != 0 || !regexp.MustCompile("^"+expression+"$").MatchString(s.out) {
			t.Errorf("the version is %+v, want %s", s, expression)
		}
	}
	is(`0\.0\.0-dev\.1\.g[0-9a-f]{7}`)
	git("tag", "v1.2.3")
	is(`1\.2\.3`)
	git("commit", "--quiet", "--allow-empty", "--message=two")
	git("commit", "--quiet", "--allow-empty", "--message=three")
	is(`1\.2\.4-dev\.2\.g[0-9a-f]{7}`)
	git("tag", "v2.0.0-rc.1")
	is(`2\.0\.0-rc\.1`)
	git("commit", "--quiet", "--allow-empty", "--message=four")
	is(`2\.0\.0-rc\.1\.dev\.1\.g[0-9a-f]{7}`)
	git("tag", "v2.0.0.1")
	run(t, dir, "version.sh", nil).want(t, 1, "is no SemVer")
}

func TestAnImageIsNotBuiltOfFilesThatNobodyCommitted(t *testing.T) {
	dir, git := repository(t)
	if err := os.WriteFile(filepath.Join(dir, "a"), []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	git("add", "a")
	run(t, dir, "version.sh", nil).want(t, 1, "commit them first")
}

// withDocker is a folder for PATH in which this program is docker.
func withDocker(t *testing.T) (variables []string, told string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(self, filepath.Join(bin, "docker")); err != nil {
		t.Fatal(err)
	}
	told = filepath.Join(bin, "told")
	return []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "DOCKER_LOG=" + told}, told
}

func TestAnImageIsBuiltLabelledPushedAndNamedByDigest(t *testing.T) {
	dir, git := repository(t)
	git("tag", "v1.2.3")
	variables, told := withDocker(t)
	image := registryHost(t) + "/shop/web"
	run(t, dir, "image.sh", variables).want(t, 2, "set IMAGE SOURCE")
	variables = append(variables, "IMAGE="+image, "SOURCE=https://git.example.com/shop/web")

	first := run(t, dir, "image.sh", variables)
	if first.code != 0 || !strings.HasPrefix(first.out, image+":1.2.3@sha256:") || strings.Contains(first.out, "\n") {
		t.Fatalf("it says %+v", first)
	}
	text, err := os.ReadFile(told)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`org\.opencontainers\.image\.version=1\.2\.3`, `org\.opencontainers\.image\.revision=[0-9a-f]{40}`,
		`org\.opencontainers\.image\.created=2026-03-01T10:30:00Z`, `org\.opencontainers\.image\.source=https://git\.example\.com/shop/web`,
	} {
		if !regexp.MustCompile(`(?m)^--label\n` + want + `$`).Match(text) {
			t.Errorf("docker is not told the label %s:\n%s", want, text)
		}
	}
	// The same commit again: nothing is built, nothing is pushed.
	if err := os.Remove(told); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "image.sh", variables).want(t, 1, "is there already")
	if _, err := os.Stat(told); err == nil {
		t.Error("docker is used for a tag that is taken")
	}
}

func TestHealthIsSeveralGoodAnswersOfTheRightVersion(t *testing.T) {
	var asked atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		switch {
		case r.Header.Get("X-App-Version") == "canary":
			w.Header().Set("X-Served-By", "v2")
		case r.URL.Path == "/bad":
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer s.Close()
	run(t, ".", "health.sh", nil).want(t, 2, "set HEALTH_URL")
	canary := []string{"HEALTH_URL=" + s.URL + "/health", "HEALTH_EXPECT=v2", "IN_A_ROW=2", "WITHIN=60"}
	asked.Store(0)
	run(t, ".", "health.sh", append(canary, "HEALTH_HEADER=x-app-version: canary")).want(t, 0, "well, 2 times in a row")
	if n := asked.Load(); n != 2 {
		t.Errorf("asked %d times", n)
	}
	run(t, ".", "health.sh", append(canary, "WITHIN=0")).want(t, 1, `it answers, but not with "v2"`)
	run(t, ".", "health.sh", []string{"HEALTH_URL=" + s.URL + "/bad", "WITHIN=0"}).want(t, 1, "503")
	s.Close()
	run(t, ".", "health.sh", []string{"HEALTH_URL=" + s.URL, "WITHIN=0"}).want(t, 1, "is not well within 0 s")
}

func TestOneNumberOfPrometheusIsNeededForAPass(t *testing.T) {
	cases := []struct {
		name, answer, at, want string
		code                   int
	}{
		{"kept", `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"0.009"]}]}}`, "0.01", "kept", 0},
		{"exactly the limit", `{"status":"success","data":{"resultType":"scalar","result":[1,"0.01"]}}`, "0.01", "kept", 0},
		{"above", `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"0.02"]}]}}`, "0.01", "it is 0.02, at most 0.01", 1},
		{"infinite", `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"+Inf"]}]}}`, "0.01", "it is +Inf", 1},
		{"no requests", `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"NaN"]}]}}`, "0.01", "no number", 1},
		{"no data", `{"status":"success","data":{"resultType":"vector","result":[]}}`, "0.01", "there is no data", 1},
		{"two numbers", `{"status":"success","data":{"resultType":"vector","result":[{"value":[1,"0"]},{"value":[1,"0"]}]}}`, "0.01", "there are 2 numbers", 1},
		{"a matrix", `{"status":"success","data":{"resultType":"matrix","result":[{"values":[[1,"0"]]}]}}`, "0.01", "does not answer as it should", 1},
		{"an error", `{"status":"error","error":"parse error"}`, "0.01", "Prometheus says: parse error", 1},
		{"a web page", `<html>`, "0.01", "does not answer as it should", 1},
		{"nothing", ``, "0.01", "does not answer as it should", 1},
		{"a limit that is none", ``, "1%", "a number is needed", 2},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.FormValue("query") == "up" && r.Header.Get("Authorization") == "Bearer t0ken" {
					fmt.Fprint(w, c.answer)
				}
			}))
			defer s.Close()
			got := run(t, ".", "prometheus-gate.sh", []string{"PROMETHEUS_URL=" + s.URL + "/", "QUERY=up", "AT_MOST=" + c.at, "PROMETHEUS_TOKEN=t0ken"})
			got.want(t, c.code, c.want)
			if strings.Contains(got.out+got.errors, "t0ken") {
				t.Error("it says the token")
			}
		})
	}
}

func TestAKubeconfigIsForItsOwnerAlone(t *testing.T) {
	s := run(t, ".", "kubeconfig.sh", []string{"KUBECONFIG_TEXT=apiVersion: v1"})
	file := strings.TrimPrefix(s.out, "KUBECONFIG=")
	info, err := os.Stat(file)
	if err != nil {
		t.Fatalf("%+v: %v", s, err)
	}
	if info.Mode().Perm() != 0o600 || strings.Contains(s.out+s.errors, "apiVersion") {
		t.Errorf("%s, and it says %+v", info.Mode(), s)
	}
}

func TestThePluginIsBuiltOfTheRevisionThatIsNamed(t *testing.T) {
	dir, git := repository(t)
	for file, text := range map[string]string{
		"go.mod":                     "module example.com/m\n\ngo 1.26.0\n",
		"cmd/kubectl-canary/main.go": "package main\n\nvar version string\n\nfunc main() { println(version) }\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	git("add", ".")
	git("commit", "--quiet", "--message=two")
	git("tag", "v9")
	bin := filepath.Join(t.TempDir(), "bin")
	cache, err := exec.CommandContext(t.Context(), "go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	settings := []string{"SERIN_SOURCE=" + dir, "SERIN_REVISION=v9", "GOCACHE=" + strings.TrimSpace(string(cache))}
	run(t, ".", "plugin.sh", settings, bin).want(t, 0, "kubectl-canary of v9")
	out, err := exec.CommandContext(t.Context(), filepath.Join(bin, "kubectl-canary")).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "v9" {
		t.Errorf("%q, %v", out, err)
	}
}
