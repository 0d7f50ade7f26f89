package apiserver

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/labels"
)

const (
	// kept is how many changes of a kind watches can go back.
	kept = 256
	// eventsLast is for how long Events are kept.
	eventsLast = time.Hour
)

// object is one version of an object. It never changes.
type object struct {
	target
	tree    map[string]any
	text    []byte // JSON of it
	labels  labels.Set
	version int64
	typed   any // what was read of the JSON, by who leads Deployments; nil before
}

func newObject(t target, tree map[string]any, version int64) *object {
	Meta(tree)["resourceVersion"] = strconv.FormatInt(version, 10)
	text, err := json.Marshal(tree)
	if err != nil {
		panic(err) // it was JSON
	}
	return &object{target: t, tree: tree, text: text, labels: StringMap(Meta(tree)["labels"]), version: version}
}

// change is what happened to one object.
type change struct {
	version     int64
	before, now *object // before is nil for a new one; now of a deleted one is what it was last
	deleted     bool
}

// history is what happened to the objects of a kind.
type history struct {
	changes []change
	// forgotten is the version of the last change that is no longer known.
	forgotten int64
}

// store gives the object its next version and tells the watches. What changes
// nothing is not stored and has no new version.
func (s *Server) store(t target, o map[string]any) *object {
	m := Meta(o)
	held, exists := s.objects[t.path()]
	if exists {
		old := Meta(held.tree)
		m["uid"], m["creationTimestamp"] = old["uid"], old["creationTimestamp"]
	}
	m["namespace"], m["name"] = t.namespace, t.name
	if t.namespace == "" {
		delete(m, "namespace")
	}
	if m["uid"] == nil {
		m["uid"] = fmt.Sprintf("uid-%d", s.version+1)
	}
	if m["creationTimestamp"] == nil {
		m["creationTimestamp"] = time.Now().UTC().Format(time.RFC3339)
	}
	if exists {
		m["resourceVersion"] = Meta(held.tree)["resourceVersion"]
		if reflect.DeepEqual(o, held.tree) {
			return held
		}
	}
	s.version++
	now := newObject(t, o, s.version)
	s.objects[t.path()] = now
	s.show(t, now.tree)
	s.publish(change{version: s.version, before: held, now: now})
	if t.kind.name == "Event" {
		s.forgetEvents()
	}
	return now
}

func (s *Server) remove(t target) {
	held, ok := s.objects[t.path()]
	if !ok {
		return
	}
	s.version++
	delete(s.objects, t.path())
	s.show(t, nil)
	s.publish(change{version: s.version, before: held, now: held.at(s.version), deleted: true})
}

// show tells who looks at every version of one more; nil is a removal.
func (s *Server) show(t target, o map[string]any) {
	if s.Seen != nil {
		s.Seen(Change{Kind: t.kind.name, Namespace: t.namespace, Name: t.name, Version: s.version, Object: o, By: s.by})
	}
}

// at is the object as another version of it.
func (o *object) at(version int64) *object {
	return newObject(o.target, Clone(o.tree), version)
}

// forgetEvents removes the Events whose time is over.
func (s *Server) forgetEvents() {
	for _, path := range sortedPaths(s.objects) {
		o := s.objects[path]
		text, _ := Meta(o.tree)["creationTimestamp"].(string)
		made, err := time.Parse(time.RFC3339, text)
		if o.kind.name == "Event" && err == nil && time.Since(made) > eventsLast {
			s.remove(o.target)
		}
	}
}

// workloads are the kinds of which every change concerns who leads Deployments; of
// the others they have to know what comes and goes.
var workloads = []string{"Deployment", "ReplicaSet", "Pod"}

// publish keeps a change for the watches, and wakes those that are concerned.
func (s *Server) publish(c change) {
	k := c.now.kind
	if c.before == nil || c.deleted || slices.Contains(workloads, k.name) {
		s.concerning++
		if s.deployments != nil {
			s.deployments.wake()
		}
	}
	h := s.past[k]
	if h == nil {
		h = &history{}
		s.past[k] = h
	}
	h.changes = append(h.changes, c)
	if len(h.changes) >= 2*kept {
		h.forget(len(h.changes) - kept)
	}
	s.wake(k)
}

// forget drops the n oldest changes.
func (h *history) forget(n int) {
	if n == 0 {
		return
	}
	h.forgotten = h.changes[n-1].version
	h.changes = append([]change(nil), h.changes[n:]...)
}

// Compact forgets all that happened: a watch that wants to go on from before gets
// told that it is too old, 410, and so does one that has not been told all yet.
func (s *Server) Compact() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range kinds {
		if h := s.past[&kinds[i]]; h != nil {
			h.changes, h.forgotten = nil, s.version
		} else {
			s.past[&kinds[i]] = &history{forgotten: s.version}
		}
		s.wake(&kinds[i])
	}
}
