// Package guard holds back a changed pod template, for clusters whose API server
// can't do it itself: it answers an admission webhook just as the
// MutatingAdmissionPolicy of deploy/in-place does.
package guard

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"

	"serin.dev/serin/pkg/annotation"
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/topology"
)

// Change is an update of a Deployment that is asked for.
type Change struct {
	By       string // the user's name
	Old, New Deployment
}

// Deployment is what the guard looks at.
type Deployment struct {
	Metadata struct {
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec struct {
		Template json.RawMessage `json:"template"`
	} `json:"spec"`
}

// Operation is one operation of a JSON patch (RFC 6902).
type Operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// Hold returns what is to be changed in the new Deployment so that it is held back:
// nil where it need not be. serin is the user name of the controller, whose own
// writes pass. It fails where a template is no JSON.
func Hold(c Change, serin string) ([]Operation, error) {
	if c.By == serin || !guarded(c.New) {
		return nil, nil
	}
	_, marked := c.Old.Metadata.Annotations[topology.HeldKey]
	_, still := c.New.Metadata.Annotations[topology.HeldKey]
	same, err := equal(c.Old.Spec.Template, c.New.Spec.Template)
	if err != nil {
		return nil, fmt.Errorf("compare the pod templates: %w", err)
	}
	if same && (still || !marked) {
		return nil, nil
	}
	var patch []Operation
	if c.New.Metadata.Annotations == nil {
		patch = append(patch, Operation{"add", "/metadata/annotations", map[string]string{}})
	}
	return append(patch,
		Operation{"add", "/metadata/annotations/serin.dev~1held", topology.HeldValue},
		Operation{"add", "/spec/paused", true},
	), nil
}

// guarded tells whether changes of a Deployment are released in place, as far as it
// says itself. One with mistakes in its annotations is held as well: a mistake must
// hold a release, not end it.
func guarded(d Deployment) bool {
	asked, err := annotation.Parse(d.Metadata.Annotations, annotation.Vocabulary{Defaults: annotation.Defaults()})
	_ = err // of no consequence here; the controller tells it
	return asked.OptedIn && asked.Spec.Mode != canary.ModePair
}

// equal compares as JSON: the order of fields doesn't matter, and numbers keep all
// of their digits.
func equal(a, b json.RawMessage) (bool, error) {
	if bytes.Equal(a, b) {
		return true, nil
	}
	one, err := decode(a)
	if err != nil {
		return false, err
	}
	other, err := decode(b)
	return reflect.DeepEqual(one, other), err
}

func decode(text json.RawMessage) (tree any, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&tree); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return tree, nil
}
