package cluster

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/s2"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/topology"
)

// Prefix is that of all our annotations and labels.
const Prefix = "serin.dev/"

// ServiceLabel tells which Service a ControllerRevision of ours belongs to; as
// an annotation, which one a Deployment names.
const ServiceLabel = Prefix + "service"

// revisionAnnotation is set by the deployment controller on a Deployment and on
// the ReplicaSet of its present template.
const revisionAnnotation = "deployment.kubernetes.io/revision"

// The reduced objects. They hold what is used and nothing more: of a cluster's
// memory most would be pod templates and managed fields.
type (
	deployment struct {
		metav1.ObjectMeta
		reduced topology.Deployment
		purpose
		selector string
		revision string
		raw      []byte // the whole object, as keep makes it; nil where it is not needed
	}
	service struct {
		metav1.ObjectMeta
		reduced topology.Service
	}
	namespace struct {
		metav1.ObjectMeta
	}
	revision struct {
		metav1.ObjectMeta
		full *appsv1.ControllerRevision
	}
	// routes is a VirtualService: its JSON, decoded when it is used.
	routes struct {
		metav1.ObjectMeta
		purpose
		raw       []byte
		leads     []string // ns/name of the Services it has routes to or a state of
		states    []string // of them, those whose state it carries
		active    []string // of these, those with a rollout under way
		inPlace   []string // of these, those with a release in place
		hosts     []string
		delegates []string // ns/name of VirtualServices it delegates to
	}
	rule struct {
		metav1.ObjectMeta
		purpose
		reduced topology.DestinationRule
		target  string // ns/name of the Service its host means, or anyService
		raw     []byte // the whole object, as keep makes it; nil where it is not needed
	}
)

// purpose is, of an object that Serin made, the Service it was made for as
// ns/name; empty of all others.
type purpose string

func (p purpose) madeFor() string { return string(p) }

func purposeOf(ns string, labels map[string]string) purpose {
	if name := labels[ServiceLabel]; name != "" && labels[topology.ManagedByKey] == topology.ManagedBy {
		return purpose(ns + "/" + name)
	}
	return ""
}

// slim keeps of the metadata what the stores need.
func slim(m metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: m.Name, Namespace: m.Namespace, UID: m.UID,
		ResourceVersion: m.ResourceVersion, CreationTimestamp: m.CreationTimestamp,
	}
}

// same tells that a change is none for us, like a status update of a
// Deployment that only moves a timestamp.
func same(before, after any) bool {
	switch a := after.(type) {
	case *deployment:
		b, ok := before.(*deployment)
		if !ok || a.raw != nil || b.raw != nil {
			return false // all of it counts
		}
		return a.revision == b.revision && a.purpose == b.purpose && reflect.DeepEqual(a.reduced, b.reduced)
	case *service:
		b, ok := before.(*service)
		return ok && reflect.DeepEqual(a.reduced, b.reduced)
	case *namespace:
		b, ok := before.(*namespace)
		return ok && reflect.DeepEqual(a.Labels, b.Labels)
	}
	return false
}

func (c *Cache) reduceDeployment(o any) (any, error) {
	switch d := o.(type) {
	case *appsv1.Deployment:
		r, err := c.reduce(d)
		if err == nil && r.purpose != "" {
			r.raw, err = keep(d)
		}
		return r, err
	case *unstructured.Unstructured:
		var typed appsv1.Deployment
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(d.Object, &typed); err != nil {
			return nil, fmt.Errorf("read Deployment %s/%s: %w", d.GetNamespace(), d.GetName(), err)
		}
		r, err := c.reduce(&typed)
		if err != nil || !wholeNeeded(r.reduced) {
			return r, err
		}
		r.reduced.PauseOwner = topology.PauseOwner(d.Object)
		if r.raw, err = whole(d); err != nil {
			return nil, fmt.Errorf("keep Deployment %s/%s: %w", d.GetNamespace(), d.GetName(), err)
		}
		return r, nil
	}
	return o, nil
}

// wholeNeeded tells that a Deployment may be copied, or is a copy.
func wholeNeeded(d topology.Deployment) bool {
	return topology.OptedIn(d) || marked(d) || d.CloneOf != ""
}

// whole is an object as JSON. Who owns which field of it is left out: it is more
// than half of many, and nothing is made of it here.
func whole(u *unstructured.Unstructured) ([]byte, error) {
	tree := maps.Clone(u.Object)
	if m, ok := tree["metadata"].(map[string]any); ok {
		m = maps.Clone(m)
		delete(m, "managedFields")
		tree["metadata"] = m
	}
	return keep(tree)
}

func (c *Cache) reduce(d *appsv1.Deployment) (*deployment, error) {
	selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil {
		return nil, fmt.Errorf("read the selector of Deployment %s/%s: %w", d.Namespace, d.Name, err)
	}
	hash, err := templateHash(&d.Spec.Template)
	if err != nil {
		return nil, fmt.Errorf("hash the pod template of Deployment %s/%s: %w", d.Namespace, d.Name, err)
	}
	unlabelled := d.Spec.Template
	unlabelled.Labels = nil
	content, err := templateHash(&unlabelled)
	if err != nil {
		return nil, fmt.Errorf("hash the pod template of Deployment %s/%s: %w", d.Namespace, d.Name, err)
	}
	wanted := 1 // what the API server defaults to
	if d.Spec.Replicas != nil {
		wanted = int(*d.Spec.Replicas)
	}
	observed := d.Status.ObservedGeneration >= d.Generation
	s := d.Status
	r := topology.Deployment{
		Name: d.Name, UID: string(d.UID), Created: d.CreationTimestamp.Time,
		Annotations:    c.annotationsOf(d),
		TemplateLabels: d.Spec.Template.Labels,
		TemplateHash:   hash,
		Content:        content,
		Images:         imagesOf(&d.Spec.Template),
		PortNames:      portNames(&d.Spec.Template),
		Replicas:       wanted,
		Ready:          int(s.ReadyReplicas),
		Complete: observed && wanted >= 1 && int(s.UpdatedReplicas) == wanted &&
			int(s.AvailableReplicas) == wanted && int(s.Replicas) == wanted,
		Observed: observed,
		Paused:   d.Spec.Paused,
		CloneOf:  cloneOf(d),
	}
	r.Held = r.Paused && (marked(r) || c.options.Guard == GuardPause && c.options.InPlace && topology.OptedIn(r))
	if r.CloneOf != "" {
		r.CloneTemplate = d.Annotations[topology.TemplateKey]
	}
	return &deployment{
		ObjectMeta: slim(d.ObjectMeta),
		purpose:    purposeOf(d.Namespace, d.Labels),
		selector:   selector.String(),
		revision:   d.Annotations[revisionAnnotation],
		reduced:    r,
	}, nil
}

// annotationsOf are a Deployment's own annotations, as it is to be read.
func (c *Cache) annotationsOf(d *appsv1.Deployment) map[string]string {
	found := ours(d.Annotations)
	if c.options.Asking != d.Namespace+"/"+d.Name || topology.OptedIn(topology.Deployment{Annotations: found}) {
		return found
	}
	if found == nil {
		found = map[string]string{}
	}
	found[topology.OptInKey] = "true"
	return found
}

// marked tells that the guard has marked a Deployment.
func marked(d topology.Deployment) bool {
	_, found := d.Annotations[topology.HeldKey]
	return found
}

// cloneOf names the Deployment whose canary this one is; empty for all that we
// did not make.
func cloneOf(d *appsv1.Deployment) string {
	owner := metav1.GetControllerOf(d)
	if owner == nil || owner.Kind != "Deployment" || purposeOf(d.Namespace, d.Labels) == "" || d.Labels[topology.TrackKey] != topology.TrackCanary {
		return ""
	}
	return owner.Name
}

// handOut is the Deployment as the pure rooms take it, its document a fresh tree
// each time.
func (d *deployment) handOut() (topology.Deployment, error) {
	out := d.reduced
	out.ResourceVersion = d.ResourceVersion
	var err error
	if out.Doc, err = decode(d.raw); err != nil {
		return out, fmt.Errorf("decode Deployment %s/%s: %w", d.Namespace, d.Name, err)
	}
	return out, nil
}

// keep makes an object small: ten thousand are held, and few looked at. It is S2
// over JSON, to a third of it.
func keep(tree any) ([]byte, error) {
	text, err := json.Marshal(tree)
	if err != nil {
		return nil, err
	}
	return bytes.Clone(s2.EncodeBetter(nil, text)), nil
}

// decode reads a kept object; nil for one that was not kept.
func decode(raw []byte) (map[string]any, error) {
	if raw == nil {
		return nil, nil //nolint:nilnil // what was not kept is no fault
	}
	text, err := s2.Decode(nil, raw)
	if err != nil {
		return nil, err
	}
	var doc map[string]any
	err = utiljson.Unmarshal(text, &doc)
	return doc, err
}

// templateHash is the identity of a version: ten hex digits over the canonical
// JSON (encoding/json sorts maps) of its pod template.
func templateHash(t *corev1.PodTemplateSpec) (string, error) {
	text, err := json.Marshal(t)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])[:10], nil
}

func imagesOf(t *corev1.PodTemplateSpec) []canary.Image {
	var containers []topology.Container
	for _, c := range slices.Concat(t.Spec.Containers, t.Spec.InitContainers) {
		containers = append(containers, topology.Container{Name: c.Name, Image: c.Image})
	}
	return topology.Images(containers, t.Annotations, t.Labels)
}

func portNames(t *corev1.PodTemplateSpec) map[string]int {
	var out map[string]int
	for _, c := range t.Spec.Containers {
		for _, p := range c.Ports {
			if p.Name == "" {
				continue
			}
			if out == nil {
				out = map[string]int{}
			}
			out[p.Name] = int(p.ContainerPort)
		}
	}
	return out
}

// ours keeps our own annotations.
func ours(annotations map[string]string) map[string]string {
	var out map[string]string
	for k, v := range annotations {
		if strings.HasPrefix(k, Prefix) {
			if out == nil {
				out = map[string]string{}
			}
			out[k] = v
		}
	}
	return out
}

// target is where pods take what comes for a port of a Service.
func target(p corev1.ServicePort) string {
	if to := p.TargetPort.String(); to != "" && to != "0" {
		return to
	}
	return strconv.Itoa(int(p.Port))
}

func reduceService(o any) (any, error) {
	s, ok := o.(*corev1.Service)
	if !ok {
		return o, nil
	}
	r := topology.Service{
		Name: s.Name, UID: string(s.UID), Selector: s.Spec.Selector,
		Headless: s.Spec.ClusterIP == corev1.ClusterIPNone,
		Type:     string(s.Spec.Type),
	}
	for _, p := range s.Spec.Ports {
		name := p.Name
		if name == "" {
			name = fmt.Sprintf("%d/%s", p.Port, p.Protocol)
		}
		r.Ports = append(r.Ports, name)
		switch {
		case streams(p):
			r.Streams = append(r.Streams, name)
		case r.Target == "":
			r.Target = target(p)
		}
	}
	return &service{ObjectMeta: slim(s.ObjectMeta), reduced: r}, nil
}

func reduceNamespace(o any) (any, error) {
	n, ok := o.(*corev1.Namespace)
	if !ok {
		return o, nil
	}
	m := slim(n.ObjectMeta)
	m.Labels = n.Labels
	return &namespace{ObjectMeta: m}, nil
}

func reduceRevision(o any) (any, error) {
	r, ok := o.(*appsv1.ControllerRevision)
	if !ok {
		return o, nil
	}
	m := slim(r.ObjectMeta)
	m.Labels = map[string]string{ServiceLabel: r.Labels[ServiceLabel]}
	full := r.DeepCopy()
	full.ManagedFields = nil
	full.Data.Raw = withoutSnapshot(full.Data.Raw)
	return &revision{ObjectMeta: m, full: full}, nil
}

// withoutSnapshot is a record's data without what was there before its release: that
// is for people, and most of it.
func withoutSnapshot(text []byte) []byte {
	var parts map[string]json.RawMessage
	if json.Unmarshal(text, &parts) != nil || parts["before"] == nil {
		return text
	}
	delete(parts, "before")
	short, err := json.Marshal(parts)
	if err != nil {
		return text
	}
	return short
}

func (c *Cache) reduceRoutes(o any) (any, error) {
	u, ok := o.(*unstructured.Unstructured)
	if !ok {
		return o, nil
	}
	raw, err := keep(u.Object)
	if err != nil {
		return nil, fmt.Errorf("keep VirtualService %s/%s: %w", u.GetNamespace(), u.GetName(), err)
	}
	ns := u.GetNamespace()
	r := &routes{ObjectMeta: slimTree(u), purpose: purposeOf(ns, u.GetLabels()), raw: raw}
	for _, ref := range topology.RoutesTo(u.Object, ns, c.options.ClusterDomain) {
		r.leads = append(r.leads, ref.Namespace+"/"+ref.Name)
	}
	for _, name := range topology.StateServices(u.Object) {
		r.states = append(r.states, ns+"/"+name)
		s, err := canary.DecodeState(u.GetAnnotations()[canary.StatePrefix+name])
		if err == nil && s.Phase.Active() {
			r.active = append(r.active, ns+"/"+name)
		}
		if err == nil && s.InPlace {
			r.inPlace = append(r.inPlace, ns+"/"+name)
		}
	}
	r.leads = unique(append(r.leads, r.states...))
	r.hosts, r.delegates = hostsOf(u.Object), delegatesOf(u.Object, ns)
	return r, nil
}

// decode gives the VirtualService as the pure rooms take it, a fresh tree each
// time.
func (r *routes) decode() (topology.VirtualService, error) {
	doc, err := decode(r.raw)
	if err != nil {
		return topology.VirtualService{}, fmt.Errorf("decode VirtualService %s/%s: %w", r.Namespace, r.Name, err)
	}
	return topology.VirtualService{
		Key:             canary.ObjectKey{Kind: "VirtualService", Namespace: r.Namespace, Name: r.Name},
		ResourceVersion: r.ResourceVersion,
		Created:         r.CreationTimestamp.Time,
		Doc:             doc,
	}, nil
}

func (c *Cache) reduceRule(o any) (any, error) {
	u, ok := o.(*unstructured.Unstructured)
	if !ok {
		return o, nil
	}
	host, _, _ := unstructured.NestedString(u.Object, "spec", "host")
	exportTo, _, _ := unstructured.NestedStringSlice(u.Object, "spec", "exportTo")
	subsets, _, _ := unstructured.NestedSlice(u.Object, "spec", "subsets")
	r := topology.DestinationRule{
		Key:  canary.ObjectKey{Kind: "DestinationRule", Namespace: u.GetNamespace(), Name: u.GetName()},
		Host: host, ExportTo: exportTo,
	}
	_, r.Selected, _ = unstructured.NestedFieldNoCopy(u.Object, "spec", "workloadSelector")
	for _, s := range subsets {
		tree, _ := s.(map[string]any)
		name, _, _ := unstructured.NestedString(tree, "name")
		labels, _, _ := unstructured.NestedStringMap(tree, "labels")
		r.Subsets = append(r.Subsets, topology.Subset{Name: name, Labels: labels})
	}
	kept := &rule{
		ObjectMeta: slimTree(u), purpose: purposeOf(u.GetNamespace(), u.GetLabels()), reduced: r,
		target: serviceOf(host, u.GetNamespace(), c.options.ClusterDomain),
	}
	if c.options.InPlace || kept.purpose != "" {
		var err error
		if kept.raw, err = whole(u); err != nil {
			return nil, fmt.Errorf("keep DestinationRule %s/%s: %w", u.GetNamespace(), u.GetName(), err)
		}
	}
	return kept, nil
}

// handOut is the rule as the pure rooms take it, its document a fresh tree each
// time.
func (r *rule) handOut() (topology.DestinationRule, error) {
	out := r.reduced
	out.ResourceVersion = r.ResourceVersion
	var err error
	if out.Doc, err = decode(r.raw); err != nil {
		return out, fmt.Errorf("decode DestinationRule %s/%s: %w", r.Namespace, r.Name, err)
	}
	return out, nil
}

func slimTree(u *unstructured.Unstructured) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: u.GetName(), Namespace: u.GetNamespace(), UID: u.GetUID(),
		ResourceVersion: u.GetResourceVersion(), CreationTimestamp: u.GetCreationTimestamp(),
	}
}

// unique sorts and drops repetitions.
func unique(s []string) []string {
	slices.Sort(s)
	return slices.Compact(s)
}
