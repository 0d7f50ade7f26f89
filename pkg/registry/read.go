package registry

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"serin.dev/serin/pkg/gate/outside"
)

// read asks the registry. What a manifest is annotated with stands above the labels of
// its configuration: an image inherits the labels of the image that it was built from,
// and where nobody set them anew they tell of that.
func (r *Reader) read(ctx context.Context, digest name.Digest) (facts, error) {
	auth, err := credentials(r.o.DockerConfig, digest.RegistryStr(), digest.RepositoryStr())
	if err != nil {
		return facts{}, err
	}
	options := []remote.Option{
		remote.WithContext(ctx), remote.WithAuth(auth), remote.WithTransport(r.transport), remote.WithUserAgent("serin"), remote.WithJobs(1),
		remote.WithRetryBackoff(remote.Backoff{Duration: 100 * time.Millisecond, Steps: 1}), // it is asked again later
	}
	descriptor, err := remote.Get(digest, options...)
	if err != nil {
		return facts{}, plain(err)
	}
	var above map[string]string // what an index says of all its platforms
	if descriptor.MediaType.IsIndex() {
		var index v1.IndexManifest
		if err := json.Unmarshal(descriptor.Manifest, &index); err != nil {
			return facts{}, errors.New("its index is not the JSON that was expected")
		}
		above = index.Annotations
		child, found := platform(index)
		if !found {
			return told(above), nil
		}
		if descriptor, err = remote.Get(digest.Digest(child.String()), options...); err != nil {
			return facts{}, plain(err)
		}
	}
	if !descriptor.MediaType.IsImage() {
		return told(above), nil
	}
	img, err := descriptor.Image()
	if err != nil {
		return facts{}, plain(err)
	}
	manifest, err := img.Manifest()
	if err != nil {
		return facts{}, plain(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		return facts{}, plain(err)
	}
	return told(manifest.Annotations, above, config.Config.Labels), nil
}

// platform is one image of an index: of Linux on amd64, else the first of a platform.
// They are built together, and say the same. Attestations have no platform.
func platform(index v1.IndexManifest) (v1.Hash, bool) {
	var of []v1.Descriptor
	for _, d := range index.Manifests {
		if d.MediaType.IsImage() && (d.Platform == nil || d.Platform.OS != "unknown") {
			of = append(of, d)
		}
	}
	if len(of) == 0 {
		return v1.Hash{}, false
	}
	usual := slices.IndexFunc(of, func(d v1.Descriptor) bool {
		return d.Platform != nil && d.Platform.OS == "linux" && d.Platform.Architecture == "amd64"
	})
	return of[max(usual, 0)].Digest, true
}

// told takes each fact from the first that says it.
func told(sources ...map[string]string) facts {
	say := func(key string, most int) string {
		for _, s := range sources {
			if value := strings.TrimSpace(s["org.opencontainers.image."+key]); value != "" {
				return line(value, most)
			}
		}
		return ""
	}
	f := facts{version: say("version", 100), revision: say("revision", 100), created: say("created", 40), source: say("source", 200)}
	if _, err := time.Parse(time.RFC3339, f.created); err != nil {
		f.created = "" // it is to be a time, and is shown as one
	}
	return f
}

// plain is an error of the library in the words of the registry.
func plain(err error) error {
	var refused *transport.Error
	if !errors.As(err, &refused) {
		return err
	}
	sentence := fmt.Sprintf("the registry answers %d %s", refused.StatusCode, http.StatusText(refused.StatusCode))
	switch refused.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		sentence += "; write credentials that may pull it into the file"
	case http.StatusNotFound:
		sentence += "; it has no such image"
	}
	return errors.New(sentence)
}

// maxConfig bounds the file of credentials, in bytes.
const maxConfig = 1 << 20

// credentials are those of a registry in the file, and of several those whose path is the
// longest that the repository begins with; anonymous where it has none.
func credentials(file, host, repository string) (authn.Authenticator, error) {
	if file == "" {
		return authn.Anonymous, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read the credentials: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConfig))
	if err != nil {
		return nil, fmt.Errorf("read the credentials: %w", err)
	}
	var config struct {
		Auths map[string]struct {
			Auth          string `json:"auth"`
			Username      string `json:"username"`
			Password      string `json:"password"`
			IdentityToken string `json:"identitytoken"`
			RegistryToken string `json:"registrytoken"`
		} `json:"auths"`
	}
	if json.Unmarshal(text, &config) != nil { // the error would quote what stands there
		return nil, fmt.Errorf("read the credentials: %s is no configuration of docker", file)
	}
	key, found := nearest(slices.Sorted(maps.Keys(config.Auths)), host, repository)
	if !found {
		return authn.Anonymous, nil
	}
	a := config.Auths[key]
	c := authn.AuthConfig{Username: a.Username, Password: a.Password, IdentityToken: a.IdentityToken, RegistryToken: a.RegistryToken}
	if a.Auth != "" {
		both, err := base64.StdEncoding.DecodeString(a.Auth)
		user, password, is := strings.Cut(string(both), ":")
		if err != nil || !is {
			return nil, fmt.Errorf("read the credentials: what %s says of %s is no user:password in base64", file, host)
		}
		c.Username, c.Password = user, strings.TrimRight(password, "\x00")
	}
	return authn.FromConfig(c), nil
}

// nearest is the key of docker's configuration that is meant for a repository.
func nearest(keys []string, host, repository string) (best string, found bool) {
	longest := -1
	for _, key := range keys {
		_, path, _ := strings.Cut(bareKey(key), "/")
		if path = strings.Trim(path, "/"); path == "v1" || path == "v2" { // of the protocol, and no repository
			path = ""
		}
		if registry(key) == host && len(path) > longest && (path == "" || strings.HasPrefix(repository+"/", path+"/")) {
			best, longest = key, len(path)
		}
	}
	return best, longest >= 0
}

// bareKey is a key without the scheme that some write before it.
func bareKey(key string) string {
	return strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
}

// registry is the host that a key of docker's configuration means; those of Docker Hub
// have always been URLs.
func registry(key string) string {
	host, _, _ := strings.Cut(bareKey(key), "/")
	r, err := name.NewRegistry(host)
	if err != nil {
		return ""
	}
	return r.Name()
}

// maxAnswer bounds each answer: manifests and configurations of images are far smaller.
const maxAnswer = 4 << 20

// guard is what every request goes through, also those that a registry leads to: it is
// by https, unless the operator said otherwise of that host, and its answer is bounded.
type guard struct {
	http.RoundTripper
	insecure []string
}

func newTransport(o Options) (http.RoundTripper, error) {
	own := http.DefaultTransport.(*http.Transport).Clone()
	own.MaxConnsPerHost = 4
	own.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CA != "" {
		pool, err := outside.Authorities(o.CA)
		if err != nil {
			return nil, err
		}
		own.TLSClientConfig.RootCAs = pool
	}
	return guard{own, o.Insecure}, nil
}

// RoundTrip sends a request, if it may be sent.
func (g guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" && !slices.Contains(g.insecure, r.URL.Host) {
		return nil, fmt.Errorf("%s is not asked by http; name it under insecure where the network can be trusted", r.URL.Host)
	}
	response, err := g.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	response.Body = capped{io.LimitReader(response.Body, maxAnswer), response.Body}
	return response, nil
}

type capped struct {
	io.Reader
	io.Closer
}
