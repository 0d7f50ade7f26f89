// Package topologytest makes topology.Objects from manifests, for tests.
package topologytest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/topology"
)

// Load reads YAML documents as the objects around the Service namespace/service.
// A Deployment's status may be left out: it then is complete, all pods ready. What
// bears on a release in place is read too, but for its ReplicaSets, pods and quotas.
func Load(t testing.TB, namespace, service, manifests string) topology.Objects {
	t.Helper()
	o := topology.Objects{
		ClusterDomain: "cluster.local", RootNamespace: "istio-system",
		Namespace: namespace, Service: service,
	}
	var deployments []topology.Deployment
	sets := map[string][]topology.ReplicaSet{}
	for i, text := range strings.Split(manifests, "\n---\n") {
		if strings.TrimSpace(text) == "" {
			continue
		}
		doc, err := Decode(text)
		if err != nil {
			t.Fatalf("document %d: %v", i, err)
		}
		switch key := keyOf(doc); key.Kind {
		case "Namespace":
			if key.Name == namespace {
				o.NamespaceLabels = strs(doc, "metadata", "labels")
			}
		case "Service":
			if key.Namespace == namespace {
				o.Services = append(o.Services, serviceOf(doc))
			}
		case "Deployment":
			if key.Namespace == namespace {
				deployments = append(deployments, Deployment(t, doc))
			}
		case "ReplicaSet":
			if key.Namespace == namespace {
				owner := owner(doc)
				sets[owner] = append(sets[owner], replicaSet(t, doc))
			}
		case "VirtualService":
			o.VirtualServices = append(o.VirtualServices, topology.VirtualService{
				Key: key, ResourceVersion: str(doc, "metadata", "resourceVersion"), Created: created(t, doc), Doc: doc,
			})
		case "DestinationRule":
			o.DestinationRules = append(o.DestinationRules, Rule(doc))
		case "HorizontalPodAutoscaler", "PodDisruptionBudget":
			count(&o.Around, key, doc)
		default:
			t.Fatalf("document %d: kind %q", i, key.Kind)
		}
	}
	for _, s := range o.Services {
		if s.Name == service {
			o.ServiceFound = &s
		}
	}
	for i := range deployments {
		run(&deployments[i], sets[deployments[i].Name])
		if d := deployments[i]; d.CloneOf != "" {
			o.CanaryPods += d.Ready
		}
	}
	o.Deployments = topology.DeploymentsOf(service, deployments, o.Services)
	return o
}

// Decode reads one YAML document as the API's clients do: integers as int64.
func Decode(text string) (map[string]any, error) {
	j, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("read YAML: %w", err)
	}
	return DecodeJSON(j)
}

// DecodeJSON reads one JSON document as the API's clients do: integers as int64.
func DecodeJSON(j []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(j))
	d.UseNumber()
	var doc map[string]any
	if err := d.Decode(&doc); err != nil {
		return nil, fmt.Errorf("read JSON: %w", err)
	}
	numbers(doc)
	return doc, nil
}

func numbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, item := range v {
			v[key] = numbers(item)
		}
	case []any:
		for i, item := range v {
			v[i] = numbers(item)
		}
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, err := v.Float64()
		if err != nil {
			return math.NaN()
		}
		return f
	}
	return v
}

func keyOf(doc map[string]any) canary.ObjectKey {
	return canary.ObjectKey{Kind: str(doc, "kind"), Namespace: str(doc, "metadata", "namespace"), Name: str(doc, "metadata", "name")}
}

// Deployment is a Deployment as the cluster's reader reduces it.
func Deployment(t testing.TB, doc map[string]any) topology.Deployment {
	t.Helper()
	d := topology.Deployment{
		Name: str(doc, "metadata", "name"), Created: created(t, doc), ReplicaSetAt: created(t, doc),
		Annotations:    strs(doc, "metadata", "annotations"),
		TemplateLabels: strs(doc, "spec", "template", "metadata", "labels"),
		TemplateHash:   Hash(t, at(doc, "spec", "template")),
		Replicas:       1,
	}
	if n, ok := at(doc, "spec", "replicas").(int64); ok {
		d.Replicas = int(n)
	}
	d.Ready = d.Replicas
	if n, ok := at(doc, "status", "readyReplicas").(int64); ok {
		d.Ready = int(n)
	}
	d.Complete = d.Ready == d.Replicas && d.Ready > 0
	d.Paused, _ = at(doc, "spec", "paused").(bool)
	_, marked := d.Annotations[topology.HeldKey]
	d.Held, d.Observed = d.Paused && marked, true
	d.ResourceVersion, d.UID = str(doc, "metadata", "resourceVersion"), str(doc, "metadata", "uid")
	d.CloneOf = cloneOf(doc)
	if d.CloneOf != "" {
		d.CloneTemplate = d.Annotations["serin.dev/template"]
	}
	if topology.OptedIn(d) || marked || d.CloneOf != "" {
		d.Doc, d.PauseOwner = doc, topology.PauseOwner(doc)
	}
	return d
}

// Hash tells pod templates apart.
func Hash(t testing.TB, template any) string {
	t.Helper()
	text, err := json.Marshal(template)
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256(text)
	return hex.EncodeToString(hash[:5])
}

func replicaSet(t testing.TB, doc map[string]any) topology.ReplicaSet {
	t.Helper()
	template, _ := at(doc, "spec", "template").(map[string]any)
	if labels, ok := at(template, "metadata", "labels").(map[string]any); ok {
		delete(labels, "pod-template-hash")
	}
	s := topology.ReplicaSet{
		Name: str(doc, "metadata", "name"), Hash: str(doc, "metadata", "labels", "pod-template-hash"),
		TemplateHash: Hash(t, at(doc, "spec", "template")), Created: created(t, doc), Replicas: 1,
		Template: template,
	}
	if n, ok := at(doc, "spec", "replicas").(int64); ok {
		s.Replicas = int(n)
	}
	s.Ready = s.Replicas
	if n, ok := at(doc, "status", "readyReplicas").(int64); ok {
		s.Ready = int(n)
	}
	return s
}

// run gives a Deployment its ReplicaSets, newest first.
func run(d *topology.Deployment, sets []topology.ReplicaSet) {
	if len(sets) == 0 {
		return
	}
	slices.SortFunc(sets, func(a, b topology.ReplicaSet) int { return b.Created.Compare(a.Created) })
	d.Sets, d.Ready, d.ReplicaSetAt = sets, 0, time.Time{}
	for _, s := range sets {
		d.Ready += s.Ready
		if s.TemplateHash == d.TemplateHash {
			d.ReplicaSetAt = s.Created
		}
	}
	d.Complete = len(sets) == 1 && sets[0].TemplateHash == d.TemplateHash && d.Ready == d.Replicas && d.Ready > 0
}

// owner is the name of the first owner of an object.
func owner(doc map[string]any) string {
	owners, _ := at(doc, "metadata", "ownerReferences").([]any)
	if len(owners) == 0 {
		return ""
	}
	first, _ := owners[0].(map[string]any)
	return str(first, "name")
}

// cloneOf names the Deployment whose canary this one is, if we made it.
func cloneOf(doc map[string]any) string {
	owners, _ := at(doc, "metadata", "ownerReferences").([]any)
	labels := strs(doc, "metadata", "labels")
	if labels[topology.ManagedByKey] != topology.ManagedBy || labels[topology.TrackKey] != topology.TrackCanary {
		return ""
	}
	for _, item := range owners {
		if owner, ok := item.(map[string]any); ok && owner["kind"] == "Deployment" && owner["controller"] == true {
			return str(owner, "name")
		}
	}
	return ""
}

// count adds an object that counts pods.
func count(to *topology.Around, key canary.ObjectKey, doc map[string]any) {
	if key.Kind == "HorizontalPodAutoscaler" {
		to.Autoscalers = append(to.Autoscalers, topology.Counter{Key: key, Target: str(doc, "spec", "scaleTargetRef", "name")})
		return
	}
	_, fixed := at(doc, "spec", "maxUnavailable").(int64)
	to.Budgets = append(to.Budgets, topology.Counter{Key: key, Selector: strs(doc, "spec", "selector", "matchLabels"), Fixed: fixed})
}

// serviceOf reads a Service. Its streams are the ports named tcp.
func serviceOf(doc map[string]any) topology.Service {
	s := topology.Service{
		Name: str(doc, "metadata", "name"), UID: str(doc, "metadata", "uid"), Selector: strs(doc, "spec", "selector"),
		Headless: str(doc, "spec", "clusterIP") == "None", Type: str(doc, "spec", "type"),
	}
	ports, _ := at(doc, "spec", "ports").([]any)
	for _, item := range ports {
		port, _ := item.(map[string]any)
		name := str(port, "name")
		s.Ports = append(s.Ports, name)
		if protocol, _, _ := strings.Cut(name, "-"); protocol == "tcp" {
			s.Streams = append(s.Streams, name)
		}
	}
	return s
}

// Rule is a DestinationRule as the cluster's reader reduces it.
func Rule(doc map[string]any) topology.DestinationRule {
	r := topology.DestinationRule{
		Key: keyOf(doc), Host: str(doc, "spec", "host"), Selected: at(doc, "spec", "workloadSelector") != nil,
		ResourceVersion: str(doc, "metadata", "resourceVersion"), Doc: doc,
	}
	if to, ok := at(doc, "spec", "exportTo").([]any); ok {
		for _, item := range to {
			r.ExportTo = append(r.ExportTo, fmt.Sprint(item))
		}
	}
	subsets, _ := at(doc, "spec", "subsets").([]any)
	for _, item := range subsets {
		if s, ok := item.(map[string]any); ok {
			r.Subsets = append(r.Subsets, topology.Subset{Name: str(s, "name"), Labels: strs(s, "labels")})
		}
	}
	return r
}

func created(t testing.TB, doc map[string]any) time.Time {
	t.Helper()
	text := str(doc, "metadata", "creationTimestamp")
	if text == "" {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func at(doc map[string]any, path ...string) any {
	var node any = doc
	for _, key := range path {
		m, _ := node.(map[string]any)
		node = m[key]
	}
	return node
}

func str(doc map[string]any, path ...string) string {
	s, _ := at(doc, path...).(string)
	return s
}

func strs(doc map[string]any, path ...string) map[string]string {
	m, _ := at(doc, path...).(map[string]any)
	out := make(map[string]string, len(m))
	for key, value := range m {
		out[key] = fmt.Sprint(value)
	}
	return out
}
