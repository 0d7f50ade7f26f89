// Package shop is the application on which releases are shown and measured on
// the sandbox: one Service with two Deployments, blue and green, which take
// turns, and users who come in by the gateway.
package shop

import (
	_ "embed"
	"fmt"
	"strings"
	"text/template"
)

// The two Deployments of a shop are web-blue and web-green; so are the
// DestinationRule's subsets, without "web-".
const (
	Blue  = "blue"
	Green = "green"
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

// Host is the host name of the shop at the gateway.
func (s Shop) Host() string { return s.Namespace + ".example.com" }

//go:embed shop.yaml
var manifests string

var manifestTemplates = template.Must(template.New("").Parse(manifests))

// Routes is everything but the Deployments, as YAML: all users are routed to
// the blue one.
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
