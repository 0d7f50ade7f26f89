package apiserver

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestEveryVersionOfEveryObjectIsShownWithItsWriter(t *testing.T) {
	s := New()
	var got []string
	s.Seen = func(c Change) {
		got = append(got, fmt.Sprintf("%s %s/%s gone=%v api=%v", c.Kind, c.Namespace, c.Name, c.Object == nil, c.By != nil))
	}
	s.Put(map[string]any{"kind": "Service", "apiVersion": "v1", "metadata": map[string]any{"namespace": "shop", "name": "web"}})
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://api/api/v1/namespaces/shop/services", strings.NewReader(`{"metadata":{"name":"api"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.RoundTrip(request); err != nil {
		t.Fatal(err)
	}
	s.Delete("Service", "shop", "web")
	want := []string{
		"Service shop/web gone=false api=false",
		"Service shop/api gone=false api=true",
		"Service shop/web gone=true api=false",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
