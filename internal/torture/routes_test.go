package torture

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// way is where a share of the users of a VirtualService ends up.
type way struct {
	by       string // the VirtualService
	workload string // the Deployment whose pods answer
	image    string
	pods     []string
	percent  float64 // of the users that come by this VirtualService
	lost     string  // why nobody answers; empty if somebody does
}

func (w way) equal(v way) bool {
	return w.by == v.by && w.workload == v.workload && w.image == v.image && w.percent == v.percent && w.lost == v.lost && slices.Equal(w.pods, v.pods)
}

// where follows the users through every VirtualService to the pods that answer
// them, as proxies do that know everything at once.
func (o *observer) where() (ways []way) {
	if len(o.names("Pod")) == 0 {
		return nil // nothing runs yet, or any more
	}
	subsets := o.subsets()
	for _, name := range o.names("VirtualService") {
		for _, d := range destinations(o.docs[ref{"VirtualService", name}]) {
			if d.percent == 0 {
				continue
			}
			ways = append(ways, o.follow(name, d, subsets)...)
		}
	}
	return ways
}

// idlers are the ready pods that no user is sent to: they are scraped all the same.
func (o *observer) idlers(busy []way) (ways []way) {
	has := map[string]bool{}
	for _, w := range busy {
		for _, p := range w.pods {
			has[p] = true
		}
	}
	for _, name := range o.names("Pod") {
		if doc := o.docs[ref{"Pod", name}]; readyPod(doc) && !has[name] {
			ways = append(ways, way{workload: o.workloadOf(doc), image: imageOf(doc), pods: []string{name}})
		}
	}
	return ways
}

// destination is a place that users are sent to.
type destination struct {
	subset  string
	percent float64
}

// destinations are where users go that carry no header of testers, by all routes
// that they may take: the first that takes all of them is the last.
func destinations(doc map[string]any) (all []destination) {
	var taken []map[string]any
	for _, item := range list(in(doc, "spec", "http")) {
		r := tree(item)
		if forTesters(r) {
			continue
		}
		taken = append(taken, r)
		if len(list(r["match"])) == 0 {
			break
		}
	}
	for _, r := range taken {
		for _, d := range split(r) {
			d.percent /= float64(len(taken))
			all = append(all, d)
		}
	}
	return all
}

// split is how a route shares its users between the places of the Service.
func split(route map[string]any) (all []destination) {
	places := list(route["route"])
	total := 0.0
	for _, p := range places {
		total += num(tree(p)["weight"])
	}
	for _, p := range places {
		d := tree(tree(p)["destination"])
		if host := str(d["host"]); host != service && !strings.HasPrefix(host, service+".") {
			continue
		}
		percent := 100.0
		if len(places) > 1 || tree(p)["weight"] != nil && total > 0 {
			percent = num(tree(p)["weight"]) * 100 / max(total, 1)
		}
		all = append(all, destination{str(d["subset"]), percent})
	}
	return all
}

// forTesters tells that only requests with some header take the route.
func forTesters(route map[string]any) bool {
	matches := list(route["match"])
	for _, m := range matches {
		if len(tree(tree(m)["headers"])) == 0 {
			return false
		}
	}
	return len(matches) > 0
}

// subsets are the labels of each subset that some rule for the Service defines.
func (o *observer) subsets() map[string]map[string]any {
	out := map[string]map[string]any{}
	for at, doc := range o.docs {
		if at.kind != "DestinationRule" || str(in(doc, "spec", "host")) != service && !strings.HasPrefix(str(in(doc, "spec", "host")), service+".") {
			continue
		}
		for _, s := range list(in(doc, "spec", "subsets")) {
			out[str(tree(s)["name"])] = tree(tree(s)["labels"])
		}
	}
	return out
}

// follow finds the pods that answer those who are sent to a place.
func (o *observer) follow(by string, d destination, subsets map[string]map[string]any) []way {
	selector := map[string]any{}
	maps.Copy(selector, tree(in(o.docs[ref{"Service", service}], "spec", "selector")))
	if d.subset != "" {
		labels, defined := subsets[d.subset]
		if !defined {
			return []way{{by: by, percent: d.percent, lost: "subset " + d.subset + ", which no rule defines"}}
		}
		maps.Copy(selector, labels)
	}
	type of struct{ workload, image string }
	found, n := map[of][]string{}, 0
	for _, name := range o.names("Pod") {
		doc := o.docs[ref{"Pod", name}]
		if readyPod(doc) && selects(selector, tree(in(doc, "metadata", "labels"))) {
			key := of{o.workloadOf(doc), imageOf(doc)}
			found[key] = append(found[key], name)
			n++
		}
	}
	if n == 0 {
		return []way{{by: by, percent: d.percent, lost: "subset " + d.subset + ", which has no ready pod"}}
	}
	var ways []way
	for _, key := range slices.SortedFunc(maps.Keys(found), func(a, b of) int { return strings.Compare(a.workload+a.image, b.workload+b.image) }) {
		ways = append(ways, way{by: by, workload: key.workload, image: key.image, pods: found[key], percent: d.percent * float64(len(found[key])) / float64(n)})
	}
	return ways
}

func selects(selector, labels map[string]any) bool {
	for key, value := range selector {
		if labels[key] != value {
			return false
		}
	}
	return true
}

func readyPod(doc map[string]any) bool {
	if in(doc, "metadata", "deletionTimestamp") != nil {
		return false
	}
	for _, c := range list(in(doc, "status", "conditions")) {
		if tree(c)["type"] == "Ready" && tree(c)["status"] == "True" {
			return true
		}
	}
	return false
}

// imageOf is the tag of a pod's image.
func imageOf(doc map[string]any) string {
	for _, c := range list(in(doc, "spec", "containers")) {
		return strings.TrimPrefix(str(tree(c)["image"]), repository)
	}
	return ""
}

// workloadOf is the Deployment of a pod, as proxies name it in their metrics.
func (o *observer) workloadOf(pod map[string]any) string {
	for _, r := range list(in(pod, "metadata", "ownerReferences")) {
		set := o.docs[ref{"ReplicaSet", str(tree(r)["name"])}]
		for _, r := range list(in(set, "metadata", "ownerReferences")) {
			return str(tree(r)["name"])
		}
	}
	return ""
}

// stateOf reads the state that a VirtualService carries.
func stateOf(doc map[string]any) (s state, found bool) {
	written, there := in(doc, "metadata", "annotations", statePrefix+service).(string)
	if !there {
		return state{}, false
	}
	err := json.Unmarshal([]byte(written), &s)
	return s, err == nil
}

func headerRoutes(doc map[string]any) (n int) {
	for _, r := range list(in(doc, "spec", "http")) {
		if isHeaderRoute(tree(r)) {
			n++
		}
	}
	return n
}

func isHeaderRoute(r map[string]any) bool { return strings.HasPrefix(str(r["name"]), headerPrefix) }

// share is the canary's share in one route of users.
type share struct {
	route   int
	percent float64
	total   float64 // of the weights of the versions' places
}

// shares are those of all routes that lead users to the Service's two versions.
func (o *observer) shares(doc map[string]any) (all []share) {
	canarys := o.rules.subsets()[1]
	if s, found := stateOf(doc); found {
		canarys = s.Canary.Subset // the two take turns
	}
	for i, item := range list(in(doc, "spec", "http")) {
		r := tree(item)
		if isHeaderRoute(r) || forTesters(r) {
			continue
		}
		total, canary, found := 0.0, 0.0, false
		places := list(r["route"])
		for _, p := range places {
			subset := str(in(p, "destination", "subset"))
			if !slices.Contains(o.rules.subsets(), subset) {
				continue
			}
			found = true
			weight := num(tree(p)["weight"])
			if len(places) == 1 && tree(p)["weight"] == nil {
				weight = 100
			}
			total += weight
			if subset == canarys {
				canary += weight
			}
		}
		if found && total > 0 {
			all = append(all, share{i, canary * 100 / total, total})
		}
	}
	return all
}

// foreign is a VirtualService without what is Serin's to change: its header
// routes and annotations, how the weights are shared between the two versions, and
// in place by which subset the Service is named. The weights' sum stays.
func (o *observer) foreign(doc map[string]any) string {
	notes := map[string]any{}
	for key, value := range tree(in(doc, "metadata", "annotations")) {
		if !strings.HasPrefix(key, statePrefix) {
			notes[key] = value
		}
	}
	var kept []any
	for _, item := range list(in(doc, "spec", "http")) {
		if r := tree(item); !isHeaderRoute(r) {
			kept = append(kept, with(r, "route", o.merged(list(r["route"]))))
		}
	}
	metadata := map[string]any{"annotations": notes, "labels": in(doc, "metadata", "labels"), "name": in(doc, "metadata", "name")}
	return text([]any{with(tree(doc["spec"]), "http", kept), metadata})
}

// merged makes one place of those that are the two versions.
func (o *observer) merged(places []any) []any {
	out := []any{}
	var both map[string]any
	total := 0.0
	for _, item := range places {
		p := tree(item)
		d := tree(p["destination"])
		host := str(d["host"])
		is := host == service || strings.HasPrefix(host, service+".")
		if !is || !o.rules.InPlace && !slices.Contains(o.rules.subsets(), str(d["subset"])) {
			out = append(out, p)
			continue
		}
		if len(places) == 1 && p["weight"] == nil {
			total += 100
		}
		total += num(p["weight"])
		if both == nil {
			both = with(p, "destination", with(d, "subset", nil))
			out = append(out, nil)
		}
	}
	for i, p := range out {
		if p == nil {
			out[i] = with(both, "weight", fmt.Sprint(total))
		}
	}
	return out
}
