package shop

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// The phases the controller's state goes through.
const (
	Testing     = "Testing"
	Progressing = "Progressing"
	Promoting   = "Promoting" // in place only, as the next
	Finishing   = "Finishing"
	Succeeded   = "Succeeded"
	RollingBack = "RollingBack"
	RolledBack  = "RolledBack"
)

// State is where the rollout stands, with the routes and what stands beside
// them. While a release is under way, and of a pair also after it, it is read
// from the VirtualService; at rest it is what the history has of the last one.
type State struct {
	Rollout string    `json:"rollout"` // empty: none is known
	Phase   string    `json:"phase"`
	Step    int       `json:"step"`
	Reason  string    `json:"reason"`
	Message string    `json:"message"`
	Started time.Time `json:"started"`
	Since   time.Time `json:"since"`
	InPlace bool      `json:"inPlace"`
	Canary  struct {
		Subset string `json:"s"`
	} `json:"canary"`

	// Carried tells that the VirtualService carries the state.
	Carried bool `json:"-"`
	// Shares are the subsets' shares of the users' requests, in percent. Without
	// a subset the share is the Service's as a whole.
	Shares map[string]int `json:"-"`
	// HeaderTo is the subset the header route leads to; empty without one.
	HeaderTo string `json:"-"`
	// Routes is the VirtualService's resourceVersion.
	Routes Version `json:"-"`

	Beside Beside `json:"-"`
}

// Version is an object's resourceVersion. All objects of the sandbox are in one
// etcd, so it orders the writes of all of them.
type Version uint64

// Beside is what stands beside the routes of a shop of one Deployment.
type Beside struct {
	Web, Canary Deployment
	Rule        Version  // of the DestinationRule of the controller; 0: there is none
	Pods        []string // names of all, of those that are ending too; sorted
	CanaryPods  int      // how many of them are a canary's
	// PodsGone and RuleGone are when the last pod of a canary and the rule were
	// deleted; 0: never yet.
	PodsGone, RuleGone Version
}

// Deployment is one of the two Deployments of a release in place.
type Deployment struct {
	Version Version // 0: there is none
	Image   string
	Paused  bool
	Held    string // what the guard's mark says; empty without the mark
	Ready   int
}

// AtRest tells that nothing of a release is left: no state on the routes, no
// canary and no pod of it, no rule.
func (s State) AtRest(replicas int) bool {
	b := s.Beside
	return !s.Carried && s.Shares[""] == 100 && b.Canary.Version == 0 && b.Rule == 0 && len(b.Pods) == replicas
}

// world is all objects of a shop by kind and name.
type world struct {
	objects            map[schema.GroupVersionResource]map[string]*unstructured.Unstructured
	podsGone, ruleGone Version
}

func newWorld() *world {
	return &world{objects: map[schema.GroupVersionResource]map[string]*unstructured.Unstructured{}}
}

func (w *world) put(resource schema.GroupVersionResource, o *unstructured.Unstructured) {
	if w.objects[resource] == nil {
		w.objects[resource] = map[string]*unstructured.Unstructured{}
	}
	w.objects[resource][o.GetName()] = o
}

// drop takes an object out, whose resourceVersion is that of its deletion.
func (w *world) drop(resource schema.GroupVersionResource, o *unstructured.Unstructured) {
	delete(w.objects[resource], o.GetName())
	switch {
	case resource == pods && ofCanary(o):
		w.podsGone = max(w.podsGone, versionOf(o))
	case resource == destinationRules && o.GetName() == Rule:
		w.ruleGone = versionOf(o)
	}
}

// ofCanary tells a pod of a canary's from the user's own.
func ofCanary(pod *unstructured.Unstructured) bool {
	return pod.GetLabels()["serin.dev/track"] == "canary"
}

// state reads all of it.
func (w *world) state() State {
	s := State{Shares: map[string]int{}}
	if vs := w.objects[virtualServices][Web]; vs != nil {
		s = readState(vs)
	}
	if s.Carried = s.Rollout != ""; !s.Carried {
		s.remember(slices.Collect(maps.Values(w.objects[revisions])))
	}
	s.Beside = Beside{
		Web: readDeployment(w.objects[deployments][Web]), Canary: readDeployment(w.objects[deployments][WebCanary]),
		Pods: slices.Sorted(maps.Keys(w.objects[pods])), PodsGone: w.podsGone, RuleGone: w.ruleGone,
	}
	for _, pod := range w.objects[pods] {
		if ofCanary(pod) {
			s.Beside.CanaryPods++
		}
	}
	if rule := w.objects[destinationRules][Rule]; rule != nil {
		s.Beside.Rule = versionOf(rule)
	}
	return s
}

func versionOf(o *unstructured.Unstructured) Version {
	v, err := strconv.ParseUint(o.GetResourceVersion(), 10, 64)
	if err != nil {
		return 0 // the sandbox's are numbers
	}
	return Version(v)
}

func readDeployment(o *unstructured.Unstructured) Deployment {
	if o == nil {
		return Deployment{}
	}
	d := Deployment{Version: versionOf(o), Held: o.GetAnnotations()["serin.dev/held"]}
	d.Paused, _, _ = unstructured.NestedBool(o.Object, "spec", "paused")
	ready, _, _ := unstructured.NestedInt64(o.Object, "status", "readyReplicas")
	d.Ready = int(ready)
	containers, _, _ := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
	for _, c := range containers {
		d.Image, _, _ = unstructured.NestedString(c.(map[string]any), "image")
	}
	return d
}

// readState reads a VirtualService of a shop, which has one route for the
// users. What can't be read is left empty, for others may write it too.
func readState(vs *unstructured.Unstructured) State {
	s := State{Shares: map[string]int{}, Routes: versionOf(vs)}
	if text := vs.GetAnnotations()["serin.dev/state.web"]; text != "" {
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			s.Message = fmt.Sprintf("the state is unreadable: %v", err)
		}
	}
	routes, _, _ := unstructured.NestedSlice(vs.Object, "spec", "http")
	for _, r := range routes {
		route, _ := r.(map[string]any)
		destinations, _, _ := unstructured.NestedSlice(route, "route")
		for _, d := range destinations {
			destination, _ := d.(map[string]any)
			subset, _, _ := unstructured.NestedString(destination, "destination", "subset")
			if _, matches := route["match"]; matches {
				s.HeaderTo = subset
				continue
			}
			weight, written, _ := unstructured.NestedInt64(destination, "weight")
			if !written && len(destinations) == 1 {
				weight = 100
			}
			s.Shares[subset] = int(weight)
		}
	}
	return s
}

// remember reads the newest of the history's records of releases that ended.
func (s *State) remember(records []*unstructured.Unstructured) {
	var newest *unstructured.Unstructured
	for _, r := range records {
		ended := r.GetAnnotations()["serin.dev/outcome"] != "UnderWay"
		if ended && (newest == nil || number(r) > number(newest)) {
			newest = r
		}
	}
	if newest == nil {
		return
	}
	text := func(key string) string { v, _, _ := unstructured.NestedString(newest.Object, "data", key); return v }
	said := newest.GetAnnotations()
	s.Rollout, s.Phase, s.Reason, s.Message = text("rollout"), said["serin.dev/outcome"], said["serin.dev/reason"], said["serin.dev/message"]
	s.InPlace, _, _ = unstructured.NestedBool(newest.Object, "data", "inPlace")
	s.Started, _ = time.Parse(time.RFC3339Nano, text("started"))
	s.Since, _ = time.Parse(time.RFC3339Nano, said["serin.dev/ended"])
}

func number(revision *unstructured.Unstructured) int64 {
	n, _, _ := unstructured.NestedInt64(revision.Object, "revision")
	return n
}
