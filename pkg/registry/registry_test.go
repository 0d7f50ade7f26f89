package registry_test

import (
	"context"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	server "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/registry"
)

// world is the library's own registry server.
type world struct {
	*httptest.Server
	host string

	mu       sync.Mutex
	requests []*http.Request
	between  func(http.ResponseWriter, *http.Request) bool // answers in its place, if true
}

func serve(t *testing.T) *world {
	w := &world{}
	inner := server.New(server.Logger(log.New(io.Discard, "", 0)))
	w.Server = httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.requests = append(w.requests, r.Clone(r.Context()))
		between := w.between
		w.mu.Unlock()
		if between == nil || !between(out, r) {
			inner.ServeHTTP(out, r)
		}
	}))
	t.Cleanup(w.Close)
	w.host = strings.TrimPrefix(w.URL, "http://")
	return w
}

func (w *world) asked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.requests)
}

func (w *world) inBetween(f func(http.ResponseWriter, *http.Request) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requests, w.between = nil, f
}

func says(version, revision, created, source string) map[string]string {
	const p = "org.opencontainers.image."
	return map[string]string{p + "version": version, p + "revision": revision, p + "created": created, p + "source": source}
}

// built is an image with these labels and annotations.
func built(t *testing.T, labels, annotations map[string]string) v1.Image {
	t.Helper()
	image, err := random.Image(10, 1)
	if err == nil {
		image, err = mutate.Config(image, v1.Config{Labels: labels})
	}
	if err != nil {
		t.Fatal(err)
	}
	if annotations != nil {
		image = mutate.Annotations(image, annotations).(v1.Image)
	}
	return image
}

// push returns the digest.
func (w *world) push(t *testing.T, image v1.Image) string {
	t.Helper()
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(w.repository(t).Digest(digest.String()), image); err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

func (w *world) pushIndex(t *testing.T, index v1.ImageIndex) string {
	t.Helper()
	digest, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(w.repository(t).Digest(digest.String()), index); err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

func (w *world) repository(t *testing.T) name.Repository {
	t.Helper()
	r, err := name.NewRepository(w.host + "/shop/web")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func reader(t *testing.T, w *world, change ...func(*registry.Options)) *registry.Reader {
	t.Helper()
	o := registry.Options{Hosts: []string{w.host}, Insecure: []string{w.host}}
	for _, c := range change {
		c(&o)
	}
	r, err := registry.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func ask(r *registry.Reader, images ...canary.Image) canary.Answer {
	return r.Ask(context.Background(), canary.Question{Kind: canary.AskImages}, canary.Subject{Canary: canary.Party{Images: images}})
}

func (w *world) image(digest string) canary.Image {
	return canary.Image{Container: "web", Reference: w.host + "/shop/web:v2", Digest: digest, Version: "of the template"}
}

const created = "2026-03-01T10:00:00Z"

func TestWhatImagesSayOfThemselves(t *testing.T) {
	w := serve(t)
	labels := says("1.4.2", "8d3f1c", created, "https://git.example.com/shop/web")
	single := w.push(t, built(t, labels, nil))
	annotated := w.push(t, built(t, says("24.04", "", created, ""), says("1.4.3", "", "", "")))
	nothing := w.push(t, built(t, nil, nil))
	long := w.push(t, built(t, says(strings.Repeat("é", 200), "a\u202eb\x1b[31m\nc", "yesterday", strings.Repeat("x", 1000)), nil))

	platforms := func(annotations map[string]string, all ...mutate.IndexAddendum) string {
		return w.pushIndex(t, mutate.Annotations(mutate.AppendManifests(empty.Index, all...), annotations).(v1.ImageIndex))
	}
	of := func(os, architecture string, image v1.Image) mutate.IndexAddendum {
		return mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: os, Architecture: architecture}}}
	}
	attested := platforms(nil, of("unknown", "unknown", built(t, says("no image", "", "", ""), nil)), of("linux", "arm64", built(t, says("arm", "", "", ""), nil)), of("linux", "amd64", built(t, labels, nil)))
	foreign := platforms(nil, of("unknown", "unknown", built(t, says("no image", "", "", ""), nil)), of("linux", "arm64", built(t, labels, nil)))
	above := platforms(says("2.0.0", "", "", ""), of("linux", "amd64", built(t, labels, nil)))
	hollow := platforms(says("3.0.0", "", "", ""))

	full := canary.Image{Version: "1.4.2", Revision: "8d3f1c", Created: created, Source: "https://git.example.com/shop/web"}
	for name, c := range map[string]struct {
		digest string
		want   canary.Image
	}{
		"labels":                                   {single, full},
		"an annotation stands above a label":       {annotated, canary.Image{Version: "1.4.3", Created: created}},
		"nothing":                                  {nothing, canary.Image{}},
		"an index: the usual platform":             {attested, full},
		"an index without the usual platform":      {foreign, full},
		"an index's annotation stands above":       {above, canary.Image{Version: "2.0.0", Revision: "8d3f1c", Created: created, Source: "https://git.example.com/shop/web"}},
		"an index of nothing":                      {hollow, canary.Image{Version: "3.0.0"}},
		"what is long or would steer the terminal": {long, canary.Image{Version: strings.Repeat("é", 50) + "...", Revision: `a\u202eb\x1b[31m\nc`, Source: strings.Repeat("x", 200) + "..."}},
	} {
		t.Run(name, func(t *testing.T) {
			a := ask(reader(t, w), w.image(c.digest))
			c.want.Container, c.want.Reference, c.want.Digest = "web", w.host+"/shop/web:v2", c.digest
			if a.Said != canary.Allow || a.Unreached || len(a.Images) != 1 || a.Images[0] != c.want {
				t.Errorf("got %+v\nwant %+v", a, c.want)
			}
		})
	}
}

func TestWhatIsKnownIsNotAskedAgain(t *testing.T) {
	w := serve(t)
	digest := w.push(t, built(t, says("1.4.2", "", "", ""), nil))
	r := reader(t, w)
	w.inBetween(nil)
	ask(r, w.image(digest))
	first := w.asked()
	for range 10 {
		if a := ask(r, w.image(digest), w.image(digest)); a.Images[1].Version != "1.4.2" {
			t.Errorf("got %+v", a)
		}
	}
	if first == 0 || w.asked() != first {
		t.Errorf("asked %d times, then %d", first, w.asked())
	}
}

// A registry that does not answer is left alone for a while.
func TestAFailureIsRemembered(t *testing.T) {
	w := serve(t)
	digest := w.push(t, built(t, nil, nil))
	w.inBetween(func(out http.ResponseWriter, _ *http.Request) bool {
		out.WriteHeader(http.StatusInternalServerError)
		return true
	})
	r := reader(t, w)
	first := ask(r, w.image(digest))
	n := w.asked()
	second := ask(r, w.image(digest))
	if !first.Unreached || first.Said != canary.Wait || second.Sentence != first.Sentence || w.asked() != n {
		t.Errorf("got %+v, then %+v after %d requests", first, second, w.asked()-n)
	}
}

func TestWhatCannotBeRead(t *testing.T) {
	w := serve(t)
	digest := w.push(t, built(t, says("1.4.2", "", "", ""), nil))
	missing := "sha256:" + strings.Repeat("0", 64)
	answer := func(status int, body string) func(http.ResponseWriter, *http.Request) bool {
		return func(out http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/v2/" {
				return false
			}
			out.WriteHeader(status)
			fmt.Fprint(out, body)
			return true
		}
	}
	for name, c := range map[string]struct {
		between  func(http.ResponseWriter, *http.Request) bool
		digest   string
		sentence string
	}{
		"no such image":      {nil, missing, "the registry answers 404 Not Found; it has no such image"},
		"too few rights":     {answer(403, `{"errors":[{"code":"DENIED"}]}`), digest, "the registry answers 403 Forbidden; write credentials that may pull it into the file"},
		"broken":             {answer(502, "<html>"), digest, "the registry answers 502 Bad Gateway"},
		"another content":    {answer(200, `{"schemaVersion":2}`), digest, "manifest digest"},
		"content that lasts": {answer(200, strings.Repeat("x", 5<<20)), digest, "manifest digest"},
	} {
		t.Run(name, func(t *testing.T) {
			w.inBetween(c.between)
			a := ask(reader(t, w), w.image(c.digest))
			if a.Said != canary.Wait || !a.Unreached || !strings.Contains(a.Sentence, c.sentence) || a.Images[0].Version != "" || a.Images[0].Digest != c.digest {
				t.Errorf("got %+v", a)
			}
		})
	}
}

func TestAnAnswerWithoutAnEndIsCutOff(t *testing.T) {
	w := serve(t)
	var sent atomic.Int64
	w.inBetween(func(out http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/v2/" {
			return false
		}
		for block := make([]byte, 64<<10); ; sent.Add(int64(len(block))) {
			if _, err := out.Write(block); err != nil {
				return true
			}
		}
	})
	a := ask(reader(t, w), w.image("sha256:"+strings.Repeat("0", 64)))
	if !a.Unreached || sent.Load() > 64<<20 { // what is under way in buffers is far less
		t.Errorf("got %+v after %d bytes", a, sent.Load())
	}
}

func TestNobodyIsWaitedForLongerThanWasSaid(t *testing.T) {
	w := serve(t)
	w.inBetween(func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true })
	a := ask(reader(t, w, func(o *registry.Options) { o.Timeout = 50 * time.Millisecond }), w.image("sha256:"+strings.Repeat("0", 64)))
	if !a.Unreached || !strings.Contains(a.Sentence, "no answer within 50ms") {
		t.Errorf("got %+v", a)
	}
}

// Who writes a name into a pod template must not decide whom Serin connects to.
func TestWhoMayBeAsked(t *testing.T) {
	allowed, other := serve(t), serve(t)
	digest := "sha256:" + strings.Repeat("0", 64)
	r := reader(t, allowed)
	for name, reference := range map[string]string{
		"another host":               other.host + "/shop/web:v2",
		"another host in a digest":   other.host + "/shop/web@" + digest,
		"no name":                    "http://" + other.host + "/shop/web",
		"a user before the host":     allowed.host + "@" + other.host + "/shop/web",
		"nothing":                    "",
		"a name without a host":      "nginx",
		"a path out of the registry": allowed.host + "/../../x:v1",
	} {
		t.Run(name, func(t *testing.T) {
			a := ask(r, canary.Image{Container: "web", Reference: reference, Digest: digest})
			if a.Said != canary.Allow || len(a.Images) != 1 || a.Images[0].Reference != reference {
				t.Errorf("got %+v", a)
			}
		})
	}
	if allowed.asked()+other.asked() != 0 {
		t.Errorf("asked %v %v", allowed.requests, other.requests)
	}
}

func TestARegistryIsNotAskedInTheClear(t *testing.T) {
	w := serve(t)
	a := ask(reader(t, w, func(o *registry.Options) { o.Insecure = nil }), w.image("sha256:"+strings.Repeat("0", 64)))
	if !a.Unreached || w.asked() != 0 {
		t.Errorf("got %+v after %d requests", a, w.asked())
	}
}

func TestByTheDigestOfTheTemplateBeforePodsRun(t *testing.T) {
	w := serve(t)
	digest := w.push(t, built(t, says("1.4.2", "", "", ""), nil))
	a := ask(reader(t, w), canary.Image{Container: "web", Reference: w.host + "/shop/web:v2@" + digest})
	if a.Said != canary.Allow || a.Images[0].Version != "1.4.2" {
		t.Errorf("got %+v", a)
	}
	a = ask(reader(t, w), canary.Image{Container: "web", Reference: w.host + "/shop/web:v2"})
	if a.Said != canary.Wait || a.Unreached || !strings.Contains(a.Sentence, "is known when its pods run") {
		t.Errorf("got %+v", a)
	}
}

func TestCredentials(t *testing.T) {
	w := serve(t)
	digest := w.push(t, built(t, says("1.4.2", "", "", ""), nil))
	auth := base64.StdEncoding.EncodeToString([]byte("serin:s3cret"))
	w.inBetween(func(out http.ResponseWriter, r *http.Request) bool {
		if user, password, _ := r.BasicAuth(); user == "serin" && password == "s3cret" {
			return false
		}
		out.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
		out.WriteHeader(http.StatusUnauthorized)
		return true
	})
	for name, c := range map[string]struct{ config, failure string }{
		"as docker login writes it": {`{"auths":{"` + w.host + `":{"auth":"` + auth + `"}}}`, ""},
		"with a URL as its key":     {`{"auths":{"http://` + w.host + `/v2/":{"auth":"` + auth + `"}}}`, ""},
		"with user and password":    {`{"auths":{"` + w.host + `":{"username":"serin","password":"s3cret"}}}`, ""},
		"the nearest of several": {`{"auths":{"` + w.host + `":{"auth":"c2VyaW46b2xk"},"` + w.host + `/other":{"auth":"c2VyaW46b2xk"},"` +
			w.host + `/sho":{"auth":"c2VyaW46b2xk"},"` + w.host + `/shop":{"auth":"` + auth + `"}}}`, ""},
		"of another path":            {`{"auths":{"` + w.host + `/other":{"auth":"` + auth + `"}}}`, "the registry answers 401"},
		"of another registry":        {`{"auths":{"registry.example.com":{"auth":"` + auth + `"}}}`, "the registry answers 401"},
		"with a helper":              {`{"auths":{"` + w.host + `":{}},"credsStore":"evil"}`, "the registry answers 401"},
		"wrong":                      {`{"auths":{"` + w.host + `":{"auth":"c2VyaW46b2xk"}}}`, "the registry answers 401"},
		"no base64":                  {`{"auths":{"` + w.host + `":{"auth":"s3cret!"}}}`, "is no user:password in base64"},
		"no JSON":                    {`s3cret`, "is no configuration of docker"},
		"an error that would say it": {`{"auths":"s3cret"}`, "is no configuration of docker"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "config.json")
			if err := os.WriteFile(file, []byte(c.config), 0o600); err != nil {
				t.Fatal(err)
			}
			a := ask(reader(t, w, func(o *registry.Options) { o.DockerConfig = file }), w.image(digest))
			if (c.failure == "") != (a.Images[0].Version == "1.4.2") || !strings.Contains(a.Sentence, c.failure) || strings.Contains(a.Sentence, "s3cret") {
				t.Errorf("got %+v", a)
			}
		})
	}
	t.Run("a file that is not there", func(t *testing.T) {
		a := ask(reader(t, w, func(o *registry.Options) { o.DockerConfig = "/nowhere/config.json" }), w.image(digest))
		if !a.Unreached || !strings.Contains(a.Sentence, "/nowhere/config.json") {
			t.Errorf("got %+v", a)
		}
	})
}

// A registry may lead to another host for content, which must not see the credentials,
// nor be spoken to in the clear.
func TestWhereARegistryLeads(t *testing.T) {
	var led []*http.Request
	storage := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { led = append(led, r) }))
	defer storage.Close()
	w := serve(t)
	digest := w.push(t, built(t, nil, nil))
	w.inBetween(func(out http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/blobs/") {
			http.Redirect(out, r, storage.URL+"/x", http.StatusTemporaryRedirect)
			return true
		}
		return false
	})
	if a := ask(reader(t, w), w.image(digest)); !a.Unreached || len(led) != 0 {
		t.Errorf("got %+v, led to %v", a, led)
	}
}

func TestAuthoritiesOfAFile(t *testing.T) {
	secure := httptest.NewTLSServer(server.New(server.Logger(log.New(io.Discard, "", 0))))
	defer secure.Close()
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	host := strings.TrimPrefix(secure.URL, "https://")
	for file, want := range map[string]string{ca: "404 Not Found; it has no such image", "": "certificate"} {
		r, err := registry.New(registry.Options{Hosts: []string{host}, CA: file})
		if err != nil {
			t.Fatal(err)
		}
		a := ask(r, canary.Image{Reference: host + "/shop/web", Digest: "sha256:" + strings.Repeat("0", 64)})
		if !strings.Contains(a.Sentence, want) {
			t.Errorf("with %q: %+v", file, a)
		}
	}
}

func TestOptionsAreRefusedWhole(t *testing.T) {
	_, err := registry.New(registry.Options{Hosts: []string{"https://registry.example.com", "ok.example.com"}, Insecure: []string{"other.example.com"}, CA: "/nowhere/ca.pem"})
	for _, want := range []string{`hosts has "https://registry.example.com", which is no host`, `insecure has "other.example.com", which is not among hosts`, "/nowhere/ca.pem"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	if _, err := registry.New(registry.Options{}); err == nil || !strings.Contains(err.Error(), "no host is allowed") {
		t.Errorf("got %v", err)
	}
	if _, err := registry.New(registry.Options{Hosts: []string{name.DefaultRegistry}}); err != nil {
		t.Error(err)
	}
}
