package torture

import (
	"encoding/json"
	"regexp"
	"time"
)

var stamp = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`)

// shift moves every time that is stored, but for leases, and all that Prometheus
// knows.
func (w *world) shift(by time.Duration) {
	for _, kind := range []string{"VirtualService", "DestinationRule", "Deployment", "ReplicaSet", "Pod", "ControllerRevision"} {
		for _, o := range w.api.All(kind) {
			before := text(o)
			after := stamp.ReplaceAllStringFunc(before, func(at string) string {
				t, err := time.Parse(time.RFC3339Nano, at)
				if err != nil {
					return at
				}
				return t.Add(by).Format(time.RFC3339Nano)
			})
			var moved map[string]any
			if err := json.Unmarshal([]byte(after), &moved); err != nil {
				panic(err) // it was JSON
			}
			w.api.Put(moved)
		}
	}
}
