package torture

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"serin.dev/serin/internal/apiserver"
)

// behindFor is for how long a list that is behind is all that is told.
const behindFor = 10 * time.Second

// listBehind answers a watch that begins with a list as a server does whose cache
// is behind: with the objects as they were some versions ago, and after a while with
// everything since.
func (x *wire) listBehind(r *http.Request) (*http.Response, error) {
	query := r.URL.Query()
	seen, _ := strconv.ParseInt(query.Get("resourceVersion"), 10, 64) // nothing older is told to who has seen this
	version, objects := x.w.before(x.stale, seen)
	var initial bytes.Buffer
	selector, err := labels.Parse(query.Get("labelSelector"))
	if err != nil {
		return nil, err
	}
	kind := kindOf(path.Base(r.URL.Path))
	for _, key := range slices.Sorted(maps.Keys(objects)) {
		c := objects[key]
		if c.Kind == kind && c.Object != nil && selector.Matches(labels.Set(apiserver.StringMap(in(c.Object, "metadata", "labels")))) {
			initial.WriteString(`{"type":"ADDED","object":` + text(c.Object) + "}\n")
		}
	}
	initial.WriteString(`{"type":"BOOKMARK","object":{"kind":"` + kind + `","apiVersion":"` + apiserver.APIVersions[kind] +
		`","metadata":{"resourceVersion":"` + version + `","annotations":{"k8s.io/initial-events-end":"true"}}}}` + "\n")
	for _, key := range []string{"sendInitialEvents", "resourceVersionMatch"} {
		query.Del(key)
	}
	query.Set("resourceVersion", version)
	later := r.Clone(r.Context())
	later.URL.RawQuery = query.Encode()
	response, err := x.w.api.RoundTrip(later)
	if err != nil || response.StatusCode != http.StatusOK {
		return response, err
	}
	rest := &behind{ctx: r.Context(), body: response.Body, until: time.After(behindFor), closed: make(chan struct{})}
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(&initial, rest), rest}
	return response, nil
}

// before is everything as it was some changes ago, but not before a version that
// was seen, with the version of then.
func (w *world) before(changes int, seen int64) (version string, objects map[string]apiserver.Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	objects = map[string]apiserver.Change{}
	last := int64(0)
	for i, c := range w.log {
		if i >= max(1, len(w.log)-changes) && c.Version > seen {
			break
		}
		objects[c.Kind+"/"+c.Namespace+"/"+c.Name] = c
		last = c.Version
	}
	return strconv.FormatInt(last, 10), objects
}

func kindOf(resource string) string {
	for kind := range apiserver.APIVersions {
		if plural := strings.ToLower(kind); plural+"s" == resource || strings.TrimSuffix(plural, "y")+"ies" == resource {
			return kind
		}
	}
	return ""
}

// behind is a watch of which nothing is told for a while.
type behind struct {
	ctx    context.Context //nolint:containedctx // a body's life is its request's
	body   io.ReadCloser
	until  <-chan time.Time
	once   sync.Once
	closed chan struct{}
	told   bool
}

func (b *behind) Read(p []byte) (int, error) {
	if !b.told {
		select {
		case <-b.until:
			b.told = true
		case <-b.closed:
			return 0, io.EOF
		case <-b.ctx.Done():
			return 0, b.ctx.Err()
		}
	}
	return b.body.Read(p)
}

func (b *behind) Close() error {
	b.once.Do(func() { close(b.closed) })
	return b.body.Close()
}
