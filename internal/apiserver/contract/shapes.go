package contract

import (
	_ "embed"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Shapes are those of all requests that the suite makes. The suite's own test keeps
// the list.
//
//go:embed testdata/shapes.txt
var shapes string

// Shapes are the shapes of all requests that the suite makes, one a line.
func Shapes() []string { return strings.Split(strings.TrimSpace(shapes), "\n") }

// Recorder keeps the shapes of requests.
type Recorder struct {
	mu   sync.Mutex
	seen map[string]bool
}

// Through is a way to a server on which the shapes of all requests are kept.
func (r *Recorder) Through(to http.RoundTripper) http.RoundTripper {
	return recording{r, to}
}

type recording struct {
	*Recorder
	to http.RoundTripper
}

// RoundTrip passes a request on.
func (r recording) RoundTrip(request *http.Request) (*http.Response, error) {
	r.mu.Lock()
	if r.seen == nil {
		r.seen = map[string]bool{}
	}
	r.seen[Shape(request)] = true
	r.mu.Unlock()
	return r.to.RoundTrip(request)
}

// Shapes are those that were seen, sorted.
func (r *Recorder) Shapes() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.seen))
}

// Uncovered are those of the shapes that no request of the suite has.
func Uncovered(shapes []string) (out []string) {
	covered := map[string]bool{}
	for _, s := range Shapes() {
		covered[s] = true
	}
	for _, s := range shapes {
		if !covered[s] {
			out = append(out, s)
		}
	}
	return out
}

// Shape is what kind of request one is: its verb, its path without names, the names
// of its parameters, the type of its body, and what it takes for an answer.
func Shape(r *http.Request) string {
	params := slices.Sorted(maps.Keys(r.URL.Query()))
	content := ""
	if r.Header.Get("Content-Type") != "" && r.Body != nil {
		content, _, _ = mime.ParseMediaType(r.Header.Get("Content-Type"))
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s ?%s [%s] accepts %s",
		r.Method, withoutNames(r.URL.Path), strings.Join(params, "&"), content, r.Header.Get("Accept")))
}

// withoutNames is a path like /api/v1/namespaces/{namespace}/pods/{name}.
func withoutNames(path string) string {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	n := 2 // api/v1
	if parts[0] == "apis" {
		n = 3
	}
	rest := parts[min(n, len(parts)):]
	if len(rest) > 2 && rest[0] == "namespaces" {
		rest[1], rest = "{namespace}", rest[2:]
	}
	if len(rest) > 1 {
		rest[1] = "{name}"
	}
	return "/" + strings.Join(parts, "/")
}
