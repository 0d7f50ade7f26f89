package apiserver

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"serin.dev/serin/pkg/topology"
)

// Deployments does in the server what Kubernetes does with
// Deployments: it makes ReplicaSets and pods, rolls, honours a pause, writes the
// status, and collects what has lost its owner. It looks at everything once a
// second. A ReplicaSet makes one pod in a look, which is Ready at the next one; a
// pod that has to go is there for as long as Grace. Its fields are changed before
// the first Deployment is put.
type Deployments struct {
	Grace time.Duration
	// Broken are the images whose containers never become ready.
	Broken map[string]bool
	// Guarded tells that the guard is installed: a template that somebody else
	// changes is held.
	Guarded bool

	seen int64         // how often workloads had changed at the last look that changed nothing
	news chan struct{} // has something when they changed since
}

// Manage has Deployments led from now on, until the context ends.
func (s *Server) Manage(ctx context.Context) *Deployments {
	m := &Deployments{Grace: 3 * time.Second, Broken: map[string]bool{}, Guarded: true, seen: -1, news: make(chan struct{}, 1)}
	s.mu.Lock()
	s.deployments = m
	m.wake() // for what is there already
	s.mu.Unlock()
	go func() {
		for began := time.Now(); m.wait(ctx, began); {
			s.mu.Lock()
			m.look(s)
			s.mu.Unlock()
		}
	}()
	return m
}

// wait is until the next full second since the beginning, of which an hour in which
// nothing happens has none; false when the context has ended.
func (m *Deployments) wait(ctx context.Context, began time.Time) bool {
	select {
	case <-ctx.Done():
		return false
	case <-m.news:
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(time.Second - time.Since(began)%time.Second):
		return true
	}
}

// wake tells that there is something to look at.
func (m *Deployments) wake() {
	select {
	case m.news <- struct{}{}:
	default:
	}
}

// guard is the mutation of the admission policy in deploy/in-place.
func guard(held, o map[string]any) {
	before, after := StringMap(Meta(held)["annotations"]), StringMap(Meta(o)["annotations"])
	switch after["serin.dev/canary"] {
	case "", "false", "observe":
		return
	}
	if mode := after["serin.dev/mode"]; mode != "" && mode != "in-place" {
		return
	}
	spec, _ := Clone(o)["spec"].(map[string]any)
	old, _ := Clone(held)["spec"].(map[string]any)
	_, marked := after[topology.HeldKey]
	_, wasMarked := before[topology.HeldKey]
	if reflect.DeepEqual(spec["template"], old["template"]) && (!wasMarked || marked) {
		return
	}
	spec["paused"] = true
	o["spec"] = spec
	notes := map[string]any{}
	for k, v := range after {
		notes[k] = v
	}
	notes[topology.HeldKey] = topology.HeldValue
	Meta(o)["annotations"] = notes
}

// shipped is a Deployment's objects as the controllers see them.
type shipped struct {
	d    appsv1.Deployment
	sets []appsv1.ReplicaSet // by age
}

func (m *Deployments) look(s *Server) {
	if m.seen == s.concerning && !m.going(s) {
		return
	}
	before := s.concerning
	m.collect(s)
	for _, d := range typed[appsv1.Deployment](s, "Deployment", "") {
		m.lead(s, d)
	}
	if m.seen = -1; s.concerning == before {
		m.seen = before
	}
	if m.seen < 0 || m.going(s) {
		m.wake()
	}
}

// going tells that a pod is on its way out, for which only time has to pass.
func (m *Deployments) going(s *Server) bool {
	for _, o := range s.objects {
		if o.kind.name == "Pod" && Meta(o.tree)["deletionTimestamp"] != nil {
			return true
		}
	}
	return false
}

// typed are all objects of a kind that a controller owns; an empty uid asks for all.
func typed[T any, P copyable[T]](s *Server, kind, uid string) (out []T) {
	var found []*object
	for _, o := range s.objects {
		if o.kind.name == kind && (uid == "" || ownerUID(o.tree) == uid) {
			found = append(found, o)
		}
	}
	slices.SortFunc(found, func(a, b *object) int { return strings.Compare(a.path(), b.path()) })
	for _, o := range found {
		out = append(out, as[T, P](o))
	}
	return out
}

// copyable is a pointer to an object's type.
type copyable[T any] interface {
	*T
	DeepCopyInto(*T)
}

// as is a typed copy of an object. What was read of its JSON is kept with it.
func as[T any, P copyable[T]](o *object) (out T) {
	read, known := o.typed.(P)
	if !known {
		read = new(T)
		if err := json.Unmarshal(o.text, read); err != nil {
			panic(err)
		}
		o.typed = read
	}
	read.DeepCopyInto(&out)
	return out
}

// Convert makes a tree of a typed object, or the other way round.
func Convert[T any](from any) (out T) {
	text, err := json.Marshal(from)
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		panic(err)
	}
	return out
}

func ownerUID(o map[string]any) string {
	refs, _ := Meta(o)["ownerReferences"].([]any)
	for _, r := range refs {
		ref, _ := r.(map[string]any)
		uid, _ := ref["uid"].(string)
		return uid
	}
	return ""
}

// keep stores a typed object as it is.
func (s *Server) keep(kind string, typed any) {
	o := Convert[map[string]any](typed)
	o["kind"], o["apiVersion"] = kind, APIVersions[kind]
	s.store(targetOf(o), o)
}

// collect removes what has lost its owner, and pods whose time to go is over.
func (m *Deployments) collect(s *Server) {
	known := map[any]bool{}
	for _, o := range s.objects {
		known[Meta(o.tree)["uid"]] = true
	}
	for _, path := range sortedPaths(s.objects) {
		o := s.objects[path]
		uid := ownerUID(o.tree)
		switch orphan := uid != "" && !known[uid]; {
		case o.kind.name == "Pod":
			if !orphan && Meta(o.tree)["deletionTimestamp"] == nil {
				continue
			}
			p := as[corev1.Pod](o)
			if p.DeletionTimestamp != nil && time.Since(p.DeletionTimestamp.Time) >= m.Grace {
				s.remove(o.target)
			} else if orphan {
				s.terminate(p)
			}
		case orphan:
			s.remove(o.target)
		}
	}
}

// terminate tells a pod to go. Until it has gone it is there, and not ready.
func (s *Server) terminate(p corev1.Pod) {
	if p.DeletionTimestamp == nil {
		now := metav1.Now()
		p.DeletionTimestamp = &now
		s.keep("Pod", p)
	}
}

// lead is one look at a Deployment.
func (m *Deployments) lead(s *Server, d appsv1.Deployment) {
	v := &shipped{d: d, sets: typed[appsv1.ReplicaSet](s, "ReplicaSet", string(d.UID))}
	slices.SortStableFunc(v.sets, func(a, b appsv1.ReplicaSet) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	for i := range v.sets {
		m.pods(s, &v.sets[i])
	}
	present := v.present(s, !d.Spec.Paused)
	switch {
	case d.Spec.Paused:
		v.scale(s)
	case present != nil:
		v.roll(s, present)
	}
	v.writeStatus(s)
}

// pods makes and removes the pods of a ReplicaSet, one in a look, and writes its
// status.
func (m *Deployments) pods(s *Server, set *appsv1.ReplicaSet) {
	var staying []corev1.Pod
	for _, p := range typed[corev1.Pod](s, "Pod", string(set.UID)) {
		if p.DeletionTimestamp == nil {
			staying = append(staying, p)
		}
	}
	for i, p := range staying {
		if !podReady(p) && !m.Broken[p.Spec.Containers[0].Image] {
			staying[i] = ready(p)
			s.keep("Pod", staying[i])
		}
	}
	switch wanted := int(*set.Spec.Replicas); {
	case len(staying) < wanted:
		p := podOf(s, set)
		s.keep("Pod", p)
		staying = append(staying, p)
	case len(staying) > wanted:
		i := max(0, slices.IndexFunc(staying, func(p corev1.Pod) bool { return !podReady(p) }))
		s.terminate(staying[i])
		staying = slices.Delete(staying, i, i+1)
	}
	status := appsv1.ReplicaSetStatus{Replicas: int32(len(staying)), ObservedGeneration: set.Generation}
	for _, p := range staying {
		if podReady(p) {
			status.ReadyReplicas++
			status.AvailableReplicas++
		}
	}
	if !reflect.DeepEqual(set.Status, status) {
		set.Status = status
		s.keep("ReplicaSet", *set)
	}
}

func podOf(s *Server, set *appsv1.ReplicaSet) corev1.Pod {
	p := corev1.Pod{Spec: set.Spec.Template.Spec}
	p.Namespace, p.Name = set.Namespace, fmt.Sprintf("%s-%d", set.Name, s.version)
	p.Labels = set.Spec.Template.Labels
	p.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(set, appsv1.SchemeGroupVersion.WithKind("ReplicaSet"))}
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse}}
	for _, c := range p.Spec.Containers {
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{Name: c.Name, Image: c.Image, ImageID: imageID(c.Image)})
	}
	return p
}

// imageID is an image as a kubelet reports it: by the digest of what it pulled.
// One that is named by its digest has that.
func imageID(image string) string {
	tagged, digest, named := strings.Cut(image, "@")
	name, _, _ := strings.Cut(tagged, ":")
	if named {
		return name + "@" + digest
	}
	return fmt.Sprintf("%s@sha256:%x", name, sha256.Sum256([]byte(image)))
}

func podReady(p corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

func ready(p corev1.Pod) corev1.Pod {
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	return p
}

// present is the ReplicaSet of the Deployment's template; it gets the highest
// revision, whether it runs or not. Without one, and if create says so, it is made.
func (v *shipped) present(s *Server, create bool) *appsv1.ReplicaSet {
	highest, found := 0, -1
	for i := range v.sets {
		if sameTemplate(v.sets[i].Spec.Template, v.d.Spec.Template) {
			found = i
		} else {
			highest = max(highest, revisionOf(v.sets[i].Annotations))
		}
	}
	switch {
	case found >= 0 && revisionOf(v.sets[found].Annotations) <= highest:
		v.sets[found].Annotations[RevisionKey] = strconv.Itoa(highest + 1)
		s.keep("ReplicaSet", v.sets[found])
	case found < 0 && create:
		v.sets = append(v.sets, setOf(v.d, highest+1))
		found = len(v.sets) - 1
		s.keep("ReplicaSet", v.sets[found])
		v.sets[found] = as[appsv1.ReplicaSet](s.objects[named("ReplicaSet", v.d.Namespace, v.sets[found].Name).path()])
	}
	if found < 0 {
		return nil
	}
	return &v.sets[found]
}

func revisionOf(annotations map[string]string) int {
	n, _ := strconv.Atoi(annotations[RevisionKey])
	return n
}

func sameTemplate(ofSet, wanted corev1.PodTemplateSpec) bool {
	labels := maps.Clone(ofSet.Labels)
	delete(labels, appsv1.DefaultDeploymentUniqueLabelKey)
	ofSet.Labels = labels
	return reflect.DeepEqual(ofSet, wanted)
}

// setOf is a new ReplicaSet of a Deployment's template, without a pod yet.
func setOf(d appsv1.Deployment, revision int) appsv1.ReplicaSet {
	text, err := json.Marshal(d.Spec.Template)
	if err != nil {
		panic(err)
	}
	sum := fnv.New32a()
	_, _ = sum.Write(text)
	hash := fmt.Sprintf("%x", sum.Sum32())
	none := int32(0)
	set := appsv1.ReplicaSet{Spec: appsv1.ReplicaSetSpec{Replicas: &none, Selector: d.Spec.Selector.DeepCopy(), Template: *d.Spec.Template.DeepCopy()}}
	set.Namespace, set.Name = d.Namespace, d.Name+"-"+hash
	set.Spec.Template.Labels[appsv1.DefaultDeploymentUniqueLabelKey] = hash
	set.Labels = set.Spec.Template.Labels
	set.Annotations = map[string]string{RevisionKey: strconv.Itoa(revision)}
	set.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(&d, appsv1.SchemeGroupVersion.WithKind("Deployment"))}
	return set
}

func resize(s *Server, set *appsv1.ReplicaSet, replicas int) {
	if int(*set.Spec.Replicas) != replicas {
		*set.Spec.Replicas = int32(replicas)
		s.keep("ReplicaSet", *set)
	}
}

// scale is all that a paused Deployment does: the one ReplicaSet that runs follows.
func (v *shipped) scale(s *Server) {
	var running []*appsv1.ReplicaSet
	for i := range v.sets {
		if *v.sets[i].Spec.Replicas > 0 {
			running = append(running, &v.sets[i])
		}
	}
	if len(running) == 0 && len(v.sets) > 0 {
		running = append(running, &v.sets[len(v.sets)-1])
	}
	if len(running) == 1 {
		resize(s, running[0], int(*v.d.Spec.Replicas))
	}
}

// roll brings the pods from the old ReplicaSets to the present one, within what
// the strategy allows: by default a quarter more and a quarter less.
func (v *shipped) roll(s *Server, present *appsv1.ReplicaSet) {
	wanted, total, available := int(*v.d.Spec.Replicas), 0, 0
	for _, set := range v.sets {
		total += int(*set.Spec.Replicas)
		available += int(set.Status.AvailableReplicas)
	}
	surge, unavailable := v.limits(wanted)
	have := int(*present.Spec.Replicas)
	if next := min(wanted, have+max(0, wanted+surge-total)); next != have {
		resize(s, present, next)
		return
	}
	least := wanted - unavailable
	spare := total - least - (have - int(present.Status.AvailableReplicas))
	for _, healthy := range []bool{false, true} {
		for i := range v.sets {
			set := &v.sets[i]
			if set.Name == present.Name || spare <= 0 {
				continue
			}
			most := int(*set.Spec.Replicas) - int(set.Status.AvailableReplicas)
			if healthy {
				most = min(int(*set.Spec.Replicas), available-least)
			}
			less := max(0, min(spare, most))
			spare -= less
			if healthy {
				available -= less
			}
			resize(s, set, int(*set.Spec.Replicas)-less)
		}
	}
}

func (v *shipped) limits(wanted int) (surge, unavailable int) {
	more, less := intstr.FromString("25%"), intstr.FromString("25%")
	if r := v.d.Spec.Strategy.RollingUpdate; r != nil {
		more, less = *r.MaxSurge, *r.MaxUnavailable
	}
	surge, _ = intstr.GetScaledValueFromIntOrPercent(&more, wanted, true)
	unavailable, _ = intstr.GetScaledValueFromIntOrPercent(&less, wanted, false)
	if surge == 0 && unavailable == 0 {
		unavailable = 1
	}
	return surge, unavailable
}

// writeStatus tells what runs. What is updated are the pods of the template's own
// ReplicaSet: none, while a new template is held.
func (v *shipped) writeStatus(s *Server) {
	status := appsv1.DeploymentStatus{ObservedGeneration: v.d.Generation}
	revision := ""
	for _, set := range v.sets {
		status.Replicas += set.Status.Replicas
		status.ReadyReplicas += set.Status.ReadyReplicas
		status.AvailableReplicas += set.Status.AvailableReplicas
		if sameTemplate(set.Spec.Template, v.d.Spec.Template) {
			status.UpdatedReplicas, revision = set.Status.Replicas, set.Annotations[RevisionKey]
		}
	}
	status.UnavailableReplicas = max(0, *v.d.Spec.Replicas-status.AvailableReplicas)
	t := named("Deployment", v.d.Namespace, v.d.Name)
	held := s.objects[t.path()]
	notes, _ := Meta(held.tree)["annotations"].(map[string]any)
	if revision != "" && notes[RevisionKey] != revision { // a write of its own, which counts as one of the user's
		o := Clone(held.tree)
		noted := StringMap(Meta(o)["annotations"])
		noted[RevisionKey] = revision
		Meta(o)["annotations"] = Convert[map[string]any](noted)
		s.admit(t, held, o, false)
		held = s.store(t, o)
	}
	if reflect.DeepEqual(v.d.Status, status) {
		return
	}
	o := Clone(held.tree)
	o["status"] = Convert[map[string]any](status)
	s.store(t, o)
}
