package torture

import (
	"encoding/json"
	"regexp"
	"time"
)

var stamp = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`)

// shift moves every time that is stored, but for leases. Prometheus goes by a clock
// that is right, and knows what it knew. When a pod is told to go is left alone: Kubernetes goes by that, whose
// clock is right.
func (w *world) shift(by time.Duration) {
	for _, kind := range []string{"VirtualService", "DestinationRule", "Deployment", "ReplicaSet", "Pod", "ControllerRevision"} {
		for _, o := range w.api.All(kind) {
			name, _ := in(o, "metadata", "name").(string)
			w.api.Edit(kind, namespace, name, func(o map[string]any) { move(o, by) })
		}
	}
}

// move moves all times in an object.
func move(o map[string]any, by time.Duration) {
	goes := in(o, "metadata", "deletionTimestamp")
	after := stamp.ReplaceAllStringFunc(text(o), func(at string) string {
		t, err := time.Parse(time.RFC3339Nano, at)
		if err != nil {
			return at
		}
		return t.Add(by).Format(time.RFC3339Nano)
	})
	clear(o)
	if err := json.Unmarshal([]byte(after), &o); err != nil {
		panic(err) // it was JSON
	}
	if goes != nil {
		tree(o["metadata"])["deletionTimestamp"] = goes
	}
}
