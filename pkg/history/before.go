package history

import (
	"encoding/json"
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"

	"serin.dev/serin/pkg/canary"
)

// The bounds of what a record keeps, in bytes of JSON. All of it together stays well
// below the 1 MiB that an object should have at most.
const (
	maxTemplate   = 128 << 10 // each of the two pod templates
	maxRoutes     = 256 << 10 // all VirtualServices
	maxRules      = 64 << 10  // all DestinationRules
	maxReferences = 200       // ConfigMaps, and Secrets
	maxContainers = 64        // of a track, whose images are kept
)

// Before is what was there before a release wrote anything.
type Before struct {
	// Template is the pod template that was released, and StableTemplate the one that
	// ran: whole, as JSON. Empty where they could not be read, or are too large.
	Template       json.RawMessage `json:"template,omitempty"`
	StableTemplate json.RawMessage `json:"stableTemplate,omitempty"`
	Routes         []Document      `json:"routes,omitempty"` // VirtualServices that lead to the Service
	Rules          []Document      `json:"rules,omitempty"`  // DestinationRules of its host
	// Config are the ConfigMaps that one of the templates names, by name.
	Config []Config `json:"config,omitempty"`
	// Secrets are the names of those that one of the templates names. They are never read.
	Secrets []string `json:"secrets,omitempty"`
	// Lacks says in sentences what is not kept, and why.
	Lacks []string `json:"lacks,omitempty"`
}

// Document is an object's spec, as JSON.
type Document struct {
	Namespace string          `json:"namespace"`
	Name      string          `json:"name"`
	Spec      json.RawMessage `json:"spec"`
}

// Config is a ConfigMap as it was.
type Config struct {
	Name string `json:"name"`
	// Hash is of its content, as HashConfig; empty where it was not read.
	Hash string `json:"hash,omitempty"`
	// Absent tells that there was none of the name.
	Absent bool `json:"absent,omitempty"`
}

// bounded is what fits, with what was left out.
func (b Before) bounded() Before {
	b.Lacks = append([]string(nil), b.Lacks...)
	for _, t := range []struct {
		what string
		text *json.RawMessage
	}{{"the pod template", &b.Template}, {"stable's pod template", &b.StableTemplate}} {
		if len(*t.text) > maxTemplate {
			b.Lacks = append(b.Lacks, fmt.Sprintf("%s is not kept: it has %d KiB, at most %d are kept", t.what, len(*t.text)>>10, maxTemplate>>10))
			*t.text = nil
		}
	}
	b.Routes = b.fitting("VirtualService", b.Routes, maxRoutes)
	b.Rules = b.fitting("DestinationRule", b.Rules, maxRules)
	if n := len(b.Config); n > maxReferences {
		b.Config = b.Config[:maxReferences]
		b.Lacks = append(b.Lacks, fmt.Sprintf("of %d ConfigMaps %d are kept", n, maxReferences))
	}
	if n := len(b.Secrets); n > maxReferences {
		b.Secrets = b.Secrets[:maxReferences]
		b.Lacks = append(b.Lacks, fmt.Sprintf("of the names of %d Secrets %d are kept", n, maxReferences))
	}
	return b
}

// fitting are the documents that fit, those that come first.
func (b *Before) fitting(kind string, all []Document, most int) (kept []Document) {
	for _, d := range all {
		if len(d.Spec) > most {
			b.Lacks = append(b.Lacks, fmt.Sprintf("%s %s/%s is not kept: it has %d KiB, and there is room for %d", kind, d.Namespace, d.Name, len(d.Spec)>>10, most>>10))
			continue
		}
		most -= len(d.Spec)
		kept = append(kept, d)
	}
	return kept
}

// ErrNoSnapshot tells that a release was recorded without what was there before it.
var ErrNoSnapshot = errors.New("only how it ended was recorded, and not what was there before it began")

// Snapshot is what a revision keeps of what was there before its release, and which
// version was stable then. The error is ErrNoSnapshot where nobody recorded it, or
// says why the data can't be read.
func Snapshot(revision *appsv1.ControllerRevision) (before Before, stable canary.Side, err error) {
	d, err := dataOf(revision)
	if err != nil {
		return Before{}, canary.Side{}, fmt.Errorf("read ControllerRevision %s/%s: %w", revision.Namespace, revision.Name, err)
	}
	if d.Before == nil {
		return Before{}, d.Stable, ErrNoSnapshot
	}
	return *d.Before, d.Stable, nil
}
