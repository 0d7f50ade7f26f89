package inplace

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/mode"
	"serin.dev/serin/pkg/route"
	"serin.dev/serin/pkg/topology"
	"serin.dev/serin/pkg/topology/topologytest"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// change is one edit of the manifests: old text, new text. Every old text must be
// there, so that no edit is lost unseen. Without an old text it is one document more.
type change [2]string

func manifests(t testing.TB, changes ...change) string {
	t.Helper()
	b, err := os.ReadFile("testdata/shop.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, c := range changes {
		if c[0] == "" {
			text += "\n---\n" + c[1]
			continue
		}
		if !strings.Contains(text, c[0]) {
			t.Fatalf("%q is not in the manifests", c[0])
		}
		text = strings.Replace(text, c[0], c[1], 1)
	}
	return text
}

// set is a ReplicaSet with its pods.
type set struct {
	of, owner string // the Deployment's name and uid
	hash      string
	template  map[string]any
	created   time.Time
	ready     int // pods, all ready
	young     int // pods that are ready at the next tick
	going     int // pods that are gone at the next tick
}

// world is an API server with the controllers that matter here. Of managedFields
// it knows that a write which changes the routes takes them from all others. Its
// deployment controller replaces one pod per tick.
type world struct {
	t       *testing.T
	now     time.Time
	docs    map[canary.ObjectKey]map[string]any
	sets    []*set
	version int
	changes int  // of documents
	broken  bool // new pods never become ready
	guard   string
	history []canary.Release
	written time.Time // of routes, by us
	log     strings.Builder
}

func newWorld(t *testing.T, changes ...change) *world {
	w := &world{t: t, now: start, docs: map[canary.ObjectKey]map[string]any{}, version: 100}
	for text := range strings.SplitSeq(manifests(t, changes...), "\n---\n") {
		doc, err := topologytest.Decode(text)
		if err != nil {
			t.Fatal(err)
		}
		w.docs[keyOf(doc)] = doc
	}
	for range 5 {
		w.tick()
	}
	return w
}

func keyOf(doc map[string]any) canary.ObjectKey {
	m := child(doc, "metadata")
	text := func(v any) string { s, _ := v.(string); return s }
	return canary.ObjectKey{Kind: text(doc["kind"]), Namespace: text(m["namespace"]), Name: text(m["name"])}
}

var (
	theDeployment = canary.ObjectKey{Kind: "Deployment", Namespace: "shop", Name: "web"}
	theCanary     = canary.ObjectKey{Kind: "Deployment", Namespace: "shop", Name: "web-canary"}
	theRoutes     = canary.ObjectKey{Kind: "VirtualService", Namespace: "shop", Name: "web"}
	ourRoutes     = canary.ObjectKey{Kind: "VirtualService", Namespace: "shop", Name: "web-serin"}
	ourRule       = canary.ObjectKey{Kind: "DestinationRule", Namespace: "shop", Name: "web-serin"}
)

// objects are what a reader of the cluster makes of the world.
func (w *world) objects() topology.Objects {
	w.t.Helper()
	o := topology.Objects{
		ClusterDomain: "cluster.local", RootNamespace: "istio-system", Namespace: "shop", Service: "web",
		History: w.history, Around: topology.Around{Guard: w.guard},
	}
	var deployments []topology.Deployment
	for _, key := range w.keys() {
		doc := w.docs[key]
		switch key.Kind {
		case "Service":
			uid, _ := child(doc, "metadata")["uid"].(string)
			o.Services = append(o.Services, topology.Service{Name: key.Name, UID: uid, Selector: map[string]string{"app": "web"}})
		case "Deployment":
			deployments = append(deployments, w.reduced(doc))
		case "VirtualService":
			created, _ := time.Parse(time.RFC3339, fmt.Sprint(child(doc, "metadata")["creationTimestamp"]))
			version, _ := child(doc, "metadata")["resourceVersion"].(string)
			o.VirtualServices = append(o.VirtualServices, topology.VirtualService{Key: key, ResourceVersion: version, Created: created, Doc: doc})
		case "DestinationRule":
			o.DestinationRules = append(o.DestinationRules, topologytest.Rule(doc))
		}
	}
	o.ServiceFound = &o.Services[0]
	for _, s := range w.sets {
		if s.of == theCanary.Name {
			o.CanaryPods += s.ready + s.young + s.going
		}
	}
	o.Deployments = topology.DeploymentsOf("web", deployments, o.Services)
	if !slices.ContainsFunc(o.Deployments, topology.OptedIn) {
		o.Around = topology.Around{} // nobody looks
	}
	return o
}

func (w *world) keys() []canary.ObjectKey {
	return slices.SortedFunc(maps.Keys(w.docs), func(a, b canary.ObjectKey) int { return strings.Compare(a.String(), b.String()) })
}

func (w *world) text(doc map[string]any) string {
	b, err := yaml.Marshal(doc)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(b)
}

func (w *world) reduced(doc map[string]any) topology.Deployment {
	d := topologytest.Deployment(w.t, doc)
	d.Ready, d.Complete = 0, false
	for _, s := range slices.Backward(w.sets) {
		if s.owner != d.UID || s.ready+s.young == 0 {
			continue
		}
		hash := topologytest.Hash(w.t, s.template)
		d.Ready += s.ready
		pods := make([]topology.Pod, s.ready+s.young)
		for i := range pods {
			pods[i] = topology.Pod{Name: fmt.Sprintf("%s-%s-%d", s.of, s.hash, i), Ready: i < s.ready, Digests: []string{"sha256:" + s.hash}}
		}
		d.Sets = append(d.Sets, topology.ReplicaSet{
			Name: s.of + "-" + s.hash, Hash: s.hash, TemplateHash: hash, Created: s.created,
			Replicas: s.ready + s.young, Ready: s.ready, Pods: pods, Template: s.template,
		})
		if hash == d.TemplateHash {
			d.Pods, d.ReplicaSetAt = pods, s.created
			d.Complete = s.ready == d.Replicas && s.ready > 0
		}
	}
	d.Complete = d.Complete && len(d.Sets) == 1
	return d
}

// tick is what the cluster's controllers do in a while.
func (w *world) tick() {
	for _, s := range w.sets {
		s.going = 0
		if !w.broken {
			s.ready, s.young = s.ready+s.young, 0
		}
	}
	for _, key := range w.keys() {
		if key.Kind == "Deployment" {
			w.control(w.docs[key])
		}
	}
	for _, s := range w.sets {
		if doc := w.docs[canary.ObjectKey{Kind: "Deployment", Namespace: "shop", Name: s.of}]; child(doc, "metadata")["uid"] != s.owner {
			s.ready, s.young, s.going = 0, 0, s.ready+s.young
		}
	}
	w.sets = slices.DeleteFunc(w.sets, func(s *set) bool { return s.ready+s.young+s.going == 0 })
}

// control is the deployment controller.
func (w *world) control(doc map[string]any) {
	metadata, spec := child(doc, "metadata"), child(doc, "spec")
	name, uid := metadata["name"].(string), metadata["uid"].(string)
	for _, item := range list(metadata, "ownerReferences") {
		if owner, found := w.docs[theDeployment]; !found || child(owner, "metadata")["uid"] != object(item)["uid"] {
			delete(w.docs, keyOf(doc))
			return
		}
	}
	wanted, template := int(spec["replicas"].(int64)), child(spec, "template")
	own := slices.DeleteFunc(slices.Clone(w.sets), func(s *set) bool { return s.owner != uid })
	i := slices.IndexFunc(own, func(s *set) bool { return route.Equal(s.template, template) })
	switch {
	case spec["paused"] == true && len(own) > 0:
		w.scale(own[0], wanted) // the one that has pods
		return
	case spec["paused"] == true:
		return
	case i < 0:
		fresh := &set{of: name, owner: uid, hash: topologytest.Hash(w.t, template)[:5], template: route.Clone(template), created: w.now}
		w.sets, own, i = append(w.sets, fresh), append(own, fresh), len(own)
	}
	present := own[i]
	if len(own) == 1 {
		w.scale(present, wanted)
		return
	}
	if present.ready+present.young < wanted {
		present.young++
	}
	for _, old := range own {
		if old != present && old.ready > 0 && old.ready+present.ready > wanted-1 && present.ready > 0 {
			old.ready--
			old.going++
			break
		}
	}
}

func (w *world) scale(s *set, wanted int) {
	if there := s.ready + s.young; there < wanted {
		s.young += wanted - there
	} else if there > wanted {
		s.going += there - wanted
		s.ready, s.young = min(s.ready, wanted), max(0, wanted-s.ready)
	}
}

// deploy is a person or a tool that changes the Deployment; the guard marks it in
// the same request.
func (w *world) deploy(image string) {
	w.change(theDeployment, func(doc map[string]any) {
		containers := list(child(child(child(doc, "spec"), "template"), "spec"), "containers")
		object(containers[0])["image"] = image
		annotations := child(child(doc, "metadata"), "annotations")
		if annotations["serin.dev/canary"] != nil && w.guard != topology.GuardPause {
			child(doc, "spec")["paused"], annotations[topology.HeldKey] = true, topology.HeldValue
		}
	})
}

// change is a write of somebody else.
func (w *world) change(key canary.ObjectKey, f func(doc map[string]any)) {
	doc := route.Clone(w.docs[key])
	f(doc)
	w.store(key, doc, "kubectl-edit")
}

func (w *world) store(key canary.ObjectKey, doc map[string]any, manager string) {
	w.version++
	metadata := child(doc, "metadata")
	metadata["resourceVersion"] = strconv.Itoa(w.version)
	if key.Kind == "VirtualService" {
		w.owned(w.docs[key], doc, manager)
	}
	w.docs[key] = doc
	w.changes++
}

// owned does what the API server does to managedFields.
func (w *world) owned(before, after map[string]any, manager string) {
	metadata := child(after, "metadata")
	if !route.Equal(child(before, "spec"), child(after, "spec")) {
		kept := []any{}
		for _, e := range mode.ManagedFields(after) {
			e = route.Clone(e)
			delete(child(child(e, "fieldsV1"), "f:spec"), "f:http")
			if e["manager"] != manager {
				kept = append(kept, e)
			}
		}
		metadata["managedFields"] = append(kept, map[string]any{
			"manager": manager, "operation": "Update", "time": w.now.Format(time.RFC3339),
			"fieldsV1": map[string]any{"f:spec": map[string]any{"f:http": map[string]any{}}},
		})
	}
	if items := list(metadata, "managedFields"); len(items) == 1 && len(object(items[0])) == 0 {
		delete(metadata, "managedFields")
	}
}

// apply is the API server's answer to one write.
func (w *world) apply(write mode.Write) {
	w.t.Helper()
	have, exists := w.docs[write.Key]
	version, _ := child(have, "metadata")["resourceVersion"].(string)
	switch {
	case write.Verb == mode.Create && exists:
		w.t.Fatalf("create %s: it exists", write.Key)
	case write.Verb != mode.Create && (!exists || write.ResourceVersion != version):
		w.t.Fatalf("%s %s: conflict: %q is not %q", write.Verb, write.Key, write.ResourceVersion, version)
	}
	w.allowed(write, have)
	if write.Key.Kind == "VirtualService" {
		w.written = w.now
	}
	switch write.Verb {
	case mode.Delete:
		delete(w.docs, write.Key)
		w.changes++
		w.note(write, nil)
	case mode.Patch:
		doc := w.patched(have, write)
		w.note(write, doc)
		w.store(write.Key, doc, mode.FieldManager)
	default:
		doc, err := topologytest.DecodeJSON(write.Body)
		if err != nil {
			w.t.Fatal(err)
		}
		metadata := child(doc, "metadata")
		if write.Verb == mode.Update && metadata["resourceVersion"] != version || write.Verb == mode.Create && metadata["resourceVersion"] != nil {
			w.t.Fatalf("%s %s: the body is of version %v", write.Verb, write.Key, metadata["resourceVersion"])
		}
		w.note(write, doc)
		if write.Verb == mode.Create {
			metadata["uid"] = fmt.Sprintf("uid-%d", w.version)
			metadata["creationTimestamp"] = w.now.Format(time.RFC3339)
		}
		w.store(write.Key, doc, mode.FieldManager)
	}
}

// allowed refuses what is not ours to write, as the cluster's own policies do: we
// make, change and delete what is labelled as ours, edit the routes of the
// user's VirtualServices, and of the user's Deployment nothing but the pause, the
// mark and the template.
func (w *world) allowed(write mode.Write, have map[string]any) {
	w.t.Helper()
	doc := have
	if write.Verb == mode.Create {
		doc, _ = topologytest.DecodeJSON(write.Body)
		if len(list(child(doc, "metadata"), "ownerReferences")) != 1 {
			w.t.Fatalf("create %s: nobody owns it", write.Key)
		}
	}
	ours := topology.Ours(doc, "web")
	theirs := write.Verb == mode.Update && write.Key.Kind == "VirtualService"
	if write.Verb == mode.Patch && !ours {
		theirs = true
		wrapped, _ := topologytest.DecodeJSON([]byte(`{"all":` + string(write.Body) + `}`))
		for i, item := range list(wrapped, "all") {
			path := object(item)["path"]
			theirs = theirs && (path == "/metadata/resourceVersion") == (i == 0) &&
				slices.Contains([]any{"/metadata/resourceVersion", "/spec/paused", "/spec/template", "/metadata/annotations/serin.dev~1held"}, path)
		}
	}
	if write.Key.Namespace != "shop" || !ours && !theirs {
		w.t.Fatalf("%s %s is not ours to do: %s", write.Verb, write.Key, write.Body)
	}
}

// patched is a document after a JSON patch, as far as ours go.
func (w *world) patched(have map[string]any, write mode.Write) map[string]any {
	w.t.Helper()
	doc := route.Clone(have)
	wrapped, err := topologytest.DecodeJSON([]byte(`{"all":` + string(write.Body) + `}`))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, item := range list(wrapped, "all") {
		op := object(item)
		path := strings.Split(strings.TrimPrefix(op["path"].(string), "/"), "/")
		node := doc
		for _, key := range path[:len(path)-1] {
			if node = child(node, strings.ReplaceAll(key, "~1", "/")); node == nil {
				w.t.Fatalf("patch: no %s", op["path"])
			}
		}
		last := strings.ReplaceAll(path[len(path)-1], "~1", "/")
		_, found := node[last]
		switch {
		case op["op"] != "add" && !found:
			w.t.Fatalf("patch: no %s to %s", op["path"], op["op"])
		case op["op"] == "test" && node[last] != op["value"]:
			w.t.Fatalf("patch: %s is %v", op["path"], node[last])
		case op["op"] == "remove":
			delete(node, last)
		case op["op"] != "test":
			node[last] = op["value"]
		}
	}
	return doc
}

// note logs a write as a person would look at it.
func (w *world) note(write mode.Write, doc map[string]any) {
	urgent := ""
	if write.Urgent {
		urgent = ", urgent"
	}
	fmt.Fprintf(&w.log, "%s %s %s%s\n", write.Verb, write.Key, write.Why, urgent)
	show := func(text string) {
		for line := range strings.Lines(text) {
			w.log.WriteString("  | " + line)
		}
	}
	switch {
	case write.Verb == mode.Delete:
	case write.Verb == mode.Patch:
		ops, _, _ := strings.Cut(strings.TrimSuffix(string(write.Body[1:]), "]"), "\n")
		for _, op := range strings.SplitAfter(ops, "},") {
			show(strings.TrimSuffix(op, ",") + "\n")
		}
	case write.Key.Kind == "VirtualService":
		if s, found, err := mode.CopyOn(topology.VirtualService{Doc: doc}, "web"); found && err == nil {
			fmt.Fprintf(&w.log, "  state %s seq %d %s weight %d marks %v\n", s.Rollout, s.Sequence, s.Phase, s.Weight, s.Marks)
		} else {
			fmt.Fprintf(&w.log, "  no state %v\n", err)
		}
		bare := route.Clone(doc)
		for _, ours := range []string{"managedFields", "annotations", "resourceVersion", "creationTimestamp"} {
			delete(child(bare, "metadata"), ours)
		}
		show(w.text(bare))
	default:
		show(w.text(doc))
	}
}

// turn renders a plan and does its first step: all urgent writes, or else the first.
func (w *world) turn(p canary.Plan) (wrote bool) {
	w.t.Helper()
	writes, err := Render(p, w.objects(), w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	for i, write := range writes {
		if i == 0 || write.Urgent {
			w.apply(write)
		}
	}
	return len(writes) > 0
}

// do turns until nothing is left to write.
func (w *world) do(title string, p canary.Plan) {
	w.t.Helper()
	fmt.Fprintf(&w.log, "# %s\n", title)
	for range 12 {
		if !w.turn(p) {
			return
		}
		w.now = w.now.Add(time.Second)
		w.tick()
	}
	w.t.Fatalf("%s: there is always something to write\n%s", title, w.log.String())
}

// users are the documents as their owners wrote them.
func (w *world) users() map[canary.ObjectKey]string {
	out := map[canary.ObjectKey]string{}
	for key, doc := range w.docs {
		bare := route.Clone(doc)
		metadata := child(bare, "metadata")
		delete(metadata, "resourceVersion")
		for _, e := range mode.ManagedFields(bare) {
			if e["manager"] == mode.FieldManager {
				w.t.Errorf("%s: the API server still takes it for ours", key)
			}
		}
		delete(metadata, "managedFields")
		body, err := mode.Body(bare)
		if err != nil {
			w.t.Fatal(err)
		}
		out[key] = string(body)
	}
	return out
}
