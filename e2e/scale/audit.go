package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// entry is a request of the controller's, as the API server logs it.
type entry struct {
	AuditID, Verb, Stage string
	ObjectRef            struct{ Resource, Namespace, Name string }
	RequestURI           string
	ResponseStatus       struct{ Code int }
	Received             time.Time `json:"requestReceivedTimestamp"`
	Done                 time.Time `json:"stageTimestamp"`
}

// requests are the controller's requests that came from since to before until;
// a watch counts once, when it begins.
func (p *plane) requests(since, until time.Time) ([]entry, error) {
	f, err := os.Open(p.file("audit.log"))
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 4<<20)
	var all []entry
	seen := map[string]bool{}
	for lines.Scan() {
		var e entry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			continue // the line that is being written
		}
		if e.Received.Before(since) || !e.Received.Before(until) || seen[e.AuditID] {
			continue
		}
		seen[e.AuditID] = true
		all = append(all, e)
	}
	return all, lines.Err()
}

// tally counts requests by what they do.
func tally(all []entry) map[string]int {
	counts := map[string]int{}
	for _, e := range all {
		counts[e.Verb+" "+e.ObjectRef.Resource]++
	}
	return counts
}

// told lists what was counted, most first.
func told(counts map[string]int) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(-cmp.Compare(counts[a], counts[b]), strings.Compare(a, b))
	})
	var parts []string
	for _, name := range names {
		parts = append(parts, fmt.Sprintf("%d %s", counts[name], name))
	}
	return strings.Join(parts, ", ")
}

// firstWrites are, by namespace/name, when the first write of a VirtualService
// since a time was acknowledged.
func firstWrites(all []entry, since time.Time) map[string]time.Time {
	out := map[string]time.Time{}
	for _, e := range all {
		key := e.ObjectRef.Namespace + "/" + e.ObjectRef.Name
		if e.Verb != "update" || e.ObjectRef.Resource != "virtualservices" || e.ResponseStatus.Code != 200 || e.Done.Before(since) {
			continue
		}
		if at, some := out[key]; !some || e.Done.Before(at) {
			out[key] = e.Done
		}
	}
	return out
}
