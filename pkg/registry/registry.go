// Package registry reads what images say of themselves, by digest: the OCI labels and
// annotations org.opencontainers.image.{version,revision,created,source}. It is only
// shown: no release waits for it.
package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/gate/outside"
	"serin.dev/serin/pkg/safetext"
)

// Options say which registries may be asked, and how.
type Options struct {
	// Hosts are the registries that may be asked, as images name them, like
	// registry.example.com:5000. Others are not: who writes an image into a template
	// would decide whom Serin connects to.
	Hosts []string
	// DockerConfig is a file with credentials as docker login writes it, and as the
	// Secrets that pods pull with hold it; empty: none are sent. It is read for each
	// request. Helpers that it names are not run.
	DockerConfig string
	CA           string // file with certificates in PEM that are trusted beside the system's
	// Insecure are hosts of Hosts that are asked by http.
	Insecure []string
	Timeout  time.Duration // of all requests for an image; 0 is outside.DefaultTimeout
}

const (
	// maxKnown bounds how many images are remembered; what a digest names never changes.
	maxKnown = 2000
	// again is how long after a failure an image is not asked for.
	again = time.Minute
)

// Reader reads from registries. It may be used by many at once.
type Reader struct {
	o         Options
	transport http.RoundTripper

	mu    sync.Mutex
	known map[string]entry // by repository and digest
}

// entry is what a registry said, or why it did not.
type entry struct {
	at    time.Time
	facts facts
	err   error
}

// facts are what an image says of itself.
type facts struct{ version, revision, created, source string }

// New makes a reader. The error joins all mistakes in the options.
func New(o Options) (*Reader, error) {
	var mistakes []error
	hosts := func(what string, all []string) []string {
		var out []string
		for _, host := range all {
			r, err := name.NewRegistry(host, name.StrictValidation)
			if err != nil {
				mistakes = append(mistakes, fmt.Errorf("%s has %q, which is no host; write it as images name it, like registry.example.com", what, host))
				continue
			}
			out = append(out, r.Name())
		}
		return out
	}
	o.Hosts, o.Insecure = hosts("hosts", o.Hosts), hosts("insecure", o.Insecure)
	for _, host := range o.Insecure {
		if !slices.Contains(o.Hosts, host) {
			mistakes = append(mistakes, fmt.Errorf("insecure has %q, which is not among hosts; write it there too", host))
		}
	}
	if len(o.Hosts) == 0 && len(mistakes) == 0 {
		mistakes = append(mistakes, errors.New("no host is allowed; write those that images come from, like registry.example.com"))
	}
	if o.Timeout <= 0 {
		o.Timeout = outside.DefaultTimeout
	}
	transport, err := newTransport(o)
	mistakes = append(mistakes, err)
	if err := errors.Join(mistakes...); err != nil {
		return nil, fmt.Errorf("use registries: %w", err)
	}
	return &Reader{o: o, transport: transport, known: map[string]entry{}}, nil
}

// Ask answers canary.AskImages: the canary's images, with what their registries know
// of them and nothing else. It is Allow, or Wait while not all is known that may be
// asked for; the images hold what is.
func (r *Reader) Ask(ctx context.Context, _ canary.Question, s canary.Subject) canary.Answer {
	a := canary.Answer{Said: canary.Allow, Sentence: "What the registries know of the images is shown"}
	for _, image := range s.Canary.Images {
		out := canary.Image{Container: image.Container, Reference: image.Reference, Digest: image.Digest}
		f, err := r.look(ctx, image)
		switch {
		case errors.Is(err, errNotAllowed):
		case errors.Is(err, errNoDigest):
			if a.Said == canary.Allow {
				a.Said, a.Sentence = canary.Wait, "The digest of "+line(image.Reference, 120)+" is known when its pods run"
			}
		case err != nil:
			a.Said, a.Unreached, a.Sentence = canary.Wait, true, fmt.Sprintf("What is known of %s can't be read: %s", line(image.Reference, 120), line(err.Error(), 200))
		default:
			out.Version, out.Revision, out.Created, out.Source = f.version, f.revision, f.created, f.source
		}
		a.Images = append(a.Images, out)
	}
	a.At = time.Now()
	return a
}

var (
	errNotAllowed = errors.New("this registry may not be asked")
	errNoDigest   = errors.New("no digest is known")
)

// look is what is known of an image, from memory or from its registry.
func (r *Reader) look(ctx context.Context, image canary.Image) (facts, error) {
	digest, err := r.digest(image)
	if err != nil {
		return facts{}, err
	}
	key := digest.String()
	r.mu.Lock()
	e, is := r.known[key]
	r.mu.Unlock()
	if is && (e.err == nil || time.Since(e.at) < again) {
		return e.facts, e.err
	}
	ctx, cancel := context.WithTimeout(ctx, r.o.Timeout)
	defer cancel()
	f, err := r.read(ctx, digest)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("no answer within %s", r.o.Timeout)
	}
	r.remember(key, entry{at: time.Now(), facts: f, err: err})
	return f, err
}

// remember makes room by forgetting what was read the longest ago.
func (r *Reader) remember(key string, e entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, is := r.known[key]; !is && len(r.known) >= maxKnown {
		oldest := ""
		for k, other := range r.known {
			if oldest == "" || cmp.Compare(other.at.UnixNano(), r.known[oldest].at.UnixNano()) < 0 {
				oldest = k
			}
		}
		delete(r.known, oldest)
	}
	r.known[key] = e
}

// digest is the image that runs, in the repository that the template names, if its
// registry may be asked.
func (r *Reader) digest(image canary.Image) (name.Digest, error) {
	var options []name.Option
	reference, err := name.ParseReference(image.Reference)
	if err != nil {
		return name.Digest{}, errNotAllowed // what is no name has no registry
	}
	host := reference.Context().RegistryStr()
	if !slices.Contains(r.o.Hosts, host) || !outside.IsRepository(reference.Context().RepositoryStr()) {
		return name.Digest{}, errNotAllowed
	}
	if slices.Contains(r.o.Insecure, host) {
		options = append(options, name.Insecure)
	}
	which := image.Digest
	if written, is := reference.(name.Digest); is && which == "" {
		which = written.DigestStr()
	}
	if which == "" {
		return name.Digest{}, errNoDigest
	}
	if !outside.IsDigest(which) {
		return name.Digest{}, errNoDigest
	}
	return name.NewDigest(reference.Context().Name()+"@"+which, options...)
}

// line is text of others as one line of at most so many bytes.
func line(text string, most int) string {
	text = safetext.Line(text)
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}
