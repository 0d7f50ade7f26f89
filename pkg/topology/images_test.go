package topology

import (
	"slices"
	"testing"

	"serin.dev/serin/pkg/canary"
)

func TestAddressesAreOfReadyPodsOnThePortOfTheService(t *testing.T) {
	pods := []Pod{
		{Name: "b", Ready: true, IP: "10.0.0.2"}, {Name: "a", Ready: true, IP: "fd00::1"},
		{Name: "c", IP: "10.0.0.3"}, {Name: "d", Ready: true},
	}
	for name, c := range map[string]struct {
		target           string
		addresses, names []string
	}{
		"by number":               {"8080", []string{"[fd00::1]:8080", "10.0.0.2:8080"}, []string{"a", "b"}},
		"by a container's name":   {"http", []string{"[fd00::1]:9000", "10.0.0.2:9000"}, []string{"a", "b"}},
		"by a name nobody has":    {"web", nil, nil},
		"of a Service without it": {"", nil, nil},
	} {
		o := Objects{ServiceFound: &Service{Target: c.target}}
		addresses, names := Addresses(o, Deployment{PortNames: map[string]int{"http": 9000}}, pods)
		if !slices.Equal(addresses, c.addresses) || !slices.Equal(names, c.names) {
			t.Errorf("%s: %v of %v, want %v of %v", name, addresses, names, c.addresses, c.names)
		}
	}
}

func TestDigestsAreReadHoweverARuntimeWritesThem(t *testing.T) {
	const digest = "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	for id, want := range map[string]string{
		digest:                                 digest,
		"shop/web@" + digest:                   digest,
		"docker-pullable://shop/web@" + digest: digest,
		"sha256:0011":                          "",
		"":                                     "",
	} {
		if got := Digest(id); got != want {
			t.Errorf("of %q it is %q", id, got)
		}
	}
}

func TestWhatATemplateSaysOfItsImages(t *testing.T) {
	got := TemplateImages(map[string]any{
		"metadata": map[string]any{
			"labels":      map[string]any{"app.kubernetes.io/version": "1.4.2"},
			"annotations": map[string]any{"org.opencontainers.image.revision": "0a1b2c3"},
		},
		"spec": map[string]any{
			"containers":     []any{map[string]any{"name": "web", "image": "shop/web:v1"}},
			"initContainers": []any{map[string]any{"name": "init", "image": "shop/init:v1"}},
		},
	})
	want := []canary.Image{{Container: "web", Reference: "shop/web:v1", Version: "1.4.2", Revision: "0a1b2c3"}, {Container: "init", Reference: "shop/init:v1"}}
	if !slices.Equal(got, want) {
		t.Errorf("they are %+v", got)
	}
}
