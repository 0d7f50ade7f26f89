package mode

import (
	"errors"
	"strings"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/topology"
)

// operation is one of a JSON patch (RFC 6902).
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// patchOf is a patch of a Deployment as JSON, or nothing when there is nothing to
// change. It is refused when the Deployment is no longer the one that was read.
func patchOf(namespace string, d topology.Deployment, why canary.Reason, changes []operation) ([]Write, error) {
	if len(changes) == 0 {
		return nil, nil
	}
	test := operation{"test", "/metadata/resourceVersion", d.ResourceVersion}
	body, err := Body(append([]operation{test}, changes...))
	if err != nil {
		return nil, err
	}
	key := canary.ObjectKey{Kind: "Deployment", Namespace: namespace, Name: d.Name}
	return []Write{{Verb: Patch, Key: key, ResourceVersion: d.ResourceVersion, Body: body, Why: why}}, nil
}

// RenderScale gives the write by which a Deployment gets a number of replicas;
// none when it has them.
func RenderScale(namespace string, d topology.Deployment, replicas int, why canary.Reason) ([]Write, error) {
	if d.Replicas == replicas {
		return nil, nil
	}
	return patchOf(namespace, d, why, []operation{{"replace", "/spec/replicas", replicas}})
}

// RenderDeployment gives the write by which the user's Deployment becomes what p
// orders; none when it is. Nothing is ever written but the pause, the guard's
// mark, and, to restore it, the template. running is the pod template that runs,
// nil when nobody knows.
func RenderDeployment(p canary.Plan, namespace string, d topology.Deployment, running *topology.ReplicaSet) ([]Write, error) {
	if p.Place == nil {
		return nil, nil
	}
	var changes []operation
	switch order := p.Place.Deployment; order {
	case canary.Pause:
		if !d.Paused {
			changes = []operation{{"add", "/spec/paused", true}}
			if len(d.Annotations) > 0 { // else there is no place for a mark
				changes = append(changes, operation{"add", markPath, topology.PausedValue})
			}
		}
	case canary.Restore:
		if running == nil || running.Template == nil {
			return nil, errors.New("restore the template: no ReplicaSet is known that runs alone; write the old template by hand")
		}
		if running.TemplateHash != d.TemplateHash {
			changes = []operation{{"replace", "/spec/template", running.Template}}
		}
		changes = append(changes, released(d, p.Next)...)
	case canary.Resume:
		changes = released(d, p.Next)
	default:
		promoting := d.Annotations[topology.HeldKey] == topology.PromotingValue
		if (!d.Paused || promoting) && !p.Next.Phase.Active() {
			changes = unmarked(d)
		}
	}
	return patchOf(namespace, d, p.View.Reason, changes)
}

// released takes the pause off, and the mark too once the release is over. While
// it is promoted the mark says so, that nobody changes the template meanwhile; of
// an update that a person let go the mark is left alone.
func released(d topology.Deployment, next canary.State) (changes []operation) {
	if d.Paused {
		changes = []operation{{Op: "remove", Path: "/spec/paused"}}
	}
	switch {
	case !next.Phase.Active():
		return append(changes, unmarked(d)...)
	case next.Phase == canary.Promoting && !next.Plain && d.Annotations[topology.HeldKey] != topology.PromotingValue && len(d.Annotations) > 0:
		return append(changes, operation{"add", markPath, topology.PromotingValue})
	}
	return changes
}

func unmarked(d topology.Deployment) []operation {
	if _, found := d.Annotations[topology.HeldKey]; !found {
		return nil
	}
	return []operation{{Op: "remove", Path: markPath}}
}

// markPath is the mark's JSON pointer (RFC 6901).
var markPath = "/metadata/annotations/" + strings.ReplaceAll(topology.HeldKey, "/", "~1")
