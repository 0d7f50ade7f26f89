// Package shop is the application on which releases are shown and measured on
// the sandbox: one Service with users who come in by the gateway. It has one
// Deployment, or two, blue and green, which take turns.
package shop

import (
	_ "embed"
	"fmt"
	"strings"
	"text/template"
)

// The two Deployments of a pair are web-blue and web-green; so are the
// DestinationRule's subsets, without "web-".
const (
	Blue  = "blue"
	Green = "green"
)

// What a release in place adds has these names: the controller's Deployment and
// its DestinationRule beside the user's Deployment web, and the subsets.
const (
	Web          = "web"
	WebCanary    = "web-canary"
	Rule         = "web-serin"
	StableSubset = "serin-stable"
	CanarySubset = "serin-canary"
)

// Shop is one application in a namespace of its own.
type Shop struct {
	Namespace string
	Replicas  int // of each Deployment, at least 1
}

// Release is a version of the application in one of the two Deployments.
type Release struct {
	Slot    string            // Blue or Green
	Version string            // what X-Served-By says, and the image's tag
	Env     map[string]string // how it behaves; see the package app
	// Annotations of the Deployment, without their prefix serin.dev/.
	Annotations map[string]string
}

// Deployment is the name of the release's Deployment.
func (r Release) Deployment() string { return "web-" + r.Slot }

// Image is the shop's image with a tag, which says the version and how it
// behaves: v3_error-rate-0.05.
func Image(tag string) string { return "shop/web:" + tag }

// VersionOf is what the image of a tag answers in X-Served-By.
func VersionOf(tag string) string {
	version, _, _ := strings.Cut(tag, "_")
	return version
}

// Host is the host name of the shop at the gateway.
func (s Shop) Host() string { return s.Namespace + ".example.com" }

//go:embed shop.yaml
var manifests string

var manifestTemplates = template.Must(template.New("").Parse(manifests))

// Single is a whole shop of one Deployment, as YAML: it runs the image of the
// tag and has the annotations, whose keys lack their prefix serin.dev/. All its
// routes lead to the Service, and know no subsets.
func (s Shop) Single(tag string, annotations map[string]string) (string, error) {
	if s.Replicas < 1 {
		return "", fmt.Errorf("write the manifest of %s: want a replica or more, is %d", tag, s.Replicas)
	}
	return manifest("single", struct {
		Shop
		Image       string
		Annotations map[string]string
	}{s, Image(tag), annotations})
}

// Routes is everything of a pair but the Deployments, as YAML: all users are
// routed to the blue one.
func (s Shop) Routes() (string, error) { return manifest("routes", s) }

// Manifest is the Deployment of a release, as YAML.
func (s Shop) Manifest(r Release) (string, error) {
	if s.Replicas < 1 || r.Slot != Blue && r.Slot != Green {
		return "", fmt.Errorf("write the manifest of %s: want blue or green, is %q; and a replica or more, is %d", r.Version, r.Slot, s.Replicas)
	}
	return manifest("deployment", struct {
		Shop
		Release
	}{s, r})
}

func manifest(name string, data any) (string, error) {
	var out strings.Builder
	if err := manifestTemplates.ExecuteTemplate(&out, name, data); err != nil {
		return "", fmt.Errorf("write the manifest of the %s: %w", name, err)
	}
	return out.String(), nil
}
