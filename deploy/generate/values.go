package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"

	"sigs.k8s.io/yaml"
)

// value is one value of the chart, or a section of several.
type value struct {
	name    string
	comment string // in values.yaml, and the description in the schema
	def     any
	schema  object // what it may be, beside its description
	below   []value
}

type object = map[string]any

// What values may be.
var (
	boolean = object{"type": "boolean"}
	text    = object{"type": "string"}
	list    = object{"type": "array", "items": object{"type": "object"}}
	tree    = object{"type": "object"}
	texts   = object{"type": "object", "additionalProperties": object{"type": "string"}}
	words   = object{"type": "array", "items": object{"type": "string", "minLength": 1}}
	name    = object{"type": "string", "pattern": `^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?)?$`}
	label   = object{"type": "string", "pattern": `^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`}
	ports   = object{"type": "array", "items": object{"type": "integer", "minimum": 1, "maximum": 65535}, "uniqueItems": true}
)

func oneOf(all ...any) object { return object{"enum": all} }

// pod is the part of the base's Deployment that values can replace: their defaults
// are what stands there.
type pod struct {
	Spec struct {
		Replicas int
		Template struct {
			Spec struct {
				SecurityContext           object
				TopologySpreadConstraints []any
				Containers                []struct{ Resources, SecurityContext object }
			}
		}
	}
}

// values are all there are, in the order in which they are read.
func values(manifests fs.FS) ([]value, error) {
	content, err := fs.ReadFile(manifests, "base/deployment.yaml")
	var p pod
	if err == nil {
		err = yaml.Unmarshal(content, &p)
	}
	if err != nil {
		return nil, fmt.Errorf("read the defaults: %w", err)
	}
	out := needed()
	out = append(out, controller(p)...)
	out = append(out, placed(p)...)
	out = append(out, surroundings()...)
	return append(out, removal()), nil
}

// needed is what people set first.
func needed() []value {
	return []value{
		{name: "prometheus", comment: "Where Serin asks how a canary does.", below: []value{
			{name: "url", comment: "Prometheus's URL, such as http://prometheus.monitoring:9090: this alone has to be set.", def: "", schema: object{"type": "string", "pattern": "^(https?://[^ ]+)?$"}},
		}},
		{name: "image", comment: "Serin's image, which make image builds; none is published yet.", below: []value{
			{name: "repository", comment: "Its name without a tag, such as registry.example.com/serin.", def: "serin", schema: object{"type": "string", "minLength": 1}},
			{name: "tag", comment: "Its tag; empty: the chart's appVersion.", def: "", schema: text},
			{name: "digest", comment: "Its digest, such as sha256:0123...; wins over the tag.", def: "", schema: object{"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"}},
			{name: "pullPolicy", comment: "When it is pulled: Always, IfNotPresent or Never; empty: as Kubernetes does.", def: "", schema: oneOf("", "Always", "IfNotPresent", "Never")},
		}},
		{name: "imagePullSecrets", comment: "Secrets for the registry: [{name: registry}].", def: []any{}, schema: list},
		{name: "mode", comment: "What Serin releases. pair: two Deployments, told apart by subsets; it takes the fewest rights. in-place: single Deployments too (Kubernetes 1.36 or newer). in-place-webhook and in-place-pause are for older ones; docs/in-place.md says what they cost.", def: "pair", schema: oneOf("pair", "in-place", "in-place-webhook", "in-place-pause")},
		{name: "namespaces", comment: "The namespaces that Serin watches, and has rights in; none: all.", def: []any{}, schema: object{"type": "array", "items": label, "uniqueItems": true}},
	}
}

func controller(p pod) []value {
	return []value{
		{name: "config", comment: "The controller's configuration, any field of docs/config.md, over what the values above say. A mistake in it stops the new pods' start, and the old ones go on.", def: object{}, schema: tree},
		{name: "secretName", comment: "A Secret whose keys are the credentials of messages: it is mounted at /etc/serin-secrets. Empty: none.", def: "", schema: name},
		{name: "extraArgs", comment: "Further arguments, such as --log-level=debug.", def: []any{}, schema: words},
		{name: "extraVolumes", comment: "Further volumes of the pods, such as a ConfigMap with the authorities of a service.", def: []any{}, schema: list},
		{name: "extraVolumeMounts", comment: "Where those are mounted.", def: []any{}, schema: list},
		{name: "replicas", comment: "How many pods there are: one works, the others wait for its lease. With 0 nothing is released, and nothing rolled back.", def: p.Spec.Replicas, schema: object{"type": "integer", "minimum": 0, "maximum": 9}},
		{name: "podDisruptionBudget", comment: "What the draining of nodes leaves. There is none for a single replica, which would hold a node up for ever.", below: []value{
			{name: "enabled", comment: "Whether there is one.", def: true, schema: boolean},
			{name: "minAvailable", comment: "How many replicas stay.", def: 1, schema: object{"type": "integer", "minimum": 1, "maximum": 8}},
		}},
		{name: "resources", comment: "Of the container. The Go runtime's own limit follows the limit of memory.", def: p.Spec.Template.Spec.Containers[0].Resources, schema: tree},
	}
}

// placed is about where pods are and what they may.
func placed(p pod) []value {
	t := p.Spec.Template.Spec
	return []value{
		{name: "topologySpreadConstraints", comment: "How the replicas are spread.", def: t.TopologySpreadConstraints, schema: list},
		{name: "nodeSelector", comment: "Labels of the nodes for the pods, those of the hook too.", def: object{}, schema: texts},
		{name: "tolerations", comment: "Taints of nodes that the pods bear, those of the hook too.", def: []any{}, schema: list},
		{name: "affinity", comment: "Of the pods.", def: object{}, schema: tree},
		{name: "priorityClassName", comment: "Of the pods; empty: the cluster's default.", def: "", schema: name},
		{name: "podSecurityContext", comment: "Of the pods, those of the hook too. As it is, it meets the restricted standard.", def: t.SecurityContext, schema: tree},
		{name: "securityContext", comment: "Of the containers, likewise.", def: t.Containers[0].SecurityContext, schema: tree},
		{name: "labels", comment: "Further labels of all objects.", def: object{}, schema: texts},
		{name: "annotations", comment: "Further annotations of all objects.", def: object{}, schema: texts},
		{name: "podLabels", comment: "Further labels of the pods.", def: object{}, schema: texts},
		{name: "podAnnotations", comment: "Further annotations of the pods.", def: object{}, schema: texts},
		{name: "serviceAccount", comment: "Who Serin is to the API server.", below: []value{
			{name: "create", comment: "Whether the chart makes it. One that is made elsewhere must be in the release's namespace.", def: true, schema: boolean},
			{name: "name", comment: "Its name. The policies that bound Serin know it by this, in whichever namespace.", def: "serin", schema: label},
			{name: "annotations", comment: "Further annotations of it.", def: object{}, schema: texts},
		}},
	}
}

// surroundings are the objects beside the controller.
func surroundings() []value {
	more := value{name: "labels", comment: "Further labels, such as those by which it is found.", def: object{}, schema: texts}
	return []value{
		{name: "routesPolicy", comment: "Whether a policy bounds what Serin writes to routes. It takes Kubernetes 1.33 or newer; false is for older ones.", def: true, schema: boolean},
		{name: "commandBy", comment: "Whether the API server notes who gave an order (Kubernetes 1.36 or newer). With mode in-place it always does.", def: false, schema: boolean},
		{name: "webhook", comment: "The guard of mode in-place-webhook.", below: []value{
			{name: "certManager", comment: "Whether cert-manager makes its certificate.", def: true, schema: boolean},
			{name: "secretName", comment: "The Secret with tls.crt and tls.key for the name serin-webhook.NAMESPACE.svc; without cert-manager you make it.", def: "serin-webhook", schema: object{"type": "string", "minLength": 1}},
			{name: "caBundle", comment: "Without cert-manager: the certificate of who signed that one, base64 of PEM.", def: "", schema: object{"type": "string", "pattern": "^[A-Za-z0-9+/=]*$"}},
		}},
		{name: "page", comment: "The controller's own page. As it is, kubectl port-forward reaches it; docs/page.md says more.", below: []value{
			{name: "reviewed", comment: "Whether it is served in the cluster, to who brings a token of it, by the Service serin-page.", def: false, schema: boolean},
			{name: "certManager", comment: "Whether cert-manager makes its certificate.", def: true, schema: boolean},
			{name: "secretName", comment: "The Secret with tls.crt and tls.key for the name serin-page.NAMESPACE.svc; without cert-manager you make it.", def: "serin-page", schema: object{"type": "string", "minLength": 1}},
		}},
		{name: "networkPolicy", comment: "Who reaches Serin, and whom it reaches.", below: []value{
			{name: "enabled", comment: "Whether Serin's pods are closed but for what they need.", def: true, schema: boolean},
			{name: "denyOthers", comment: "Whether all other pods of the namespace are closed too. Only for a namespace that is Serin's alone.", def: false, schema: boolean},
			{name: "prometheus", comment: "How Prometheus's pods are reached. Empty: found out from prometheus.url.", below: []value{
				{name: "to", comment: "Peers, as in a NetworkPolicy: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]. Empty: the namespace in a URL like http://NAME.NAMESPACE or http://NAME.NAMESPACE.svc, otherwise any address.", def: []any{}, schema: list},
				{name: "ports", comment: "Ports of the pods, not of the Service. Empty: the URL's, and 9090.", def: []any{}, schema: ports},
			}},
			{name: "ingress", comment: "Further rules for who comes in.", def: []any{}, schema: list},
			{name: "egress", comment: "Further rules for what is reached, such as a mail server. Port 443 is open already.", def: []any{}, schema: list},
		}},
		{name: "serviceMonitor", comment: "Serin's own metrics, for the Prometheus Operator.", below: []value{
			{name: "enabled", comment: "Whether there is one.", def: false, schema: boolean}, more,
			{name: "interval", comment: "How often Serin is scraped.", def: "15s", schema: object{"type": "string", "pattern": "^[0-9]+(ms|s|m)$"}},
		}},
		{name: "rules", comment: "Recording and alerting rules, for the Prometheus Operator.", below: []value{
			{name: "enabled", comment: "Whether there are any.", def: false, schema: boolean}, more,
		}},
		{name: "dashboards", comment: "Grafana's dashboards, in a ConfigMap that its sidecar finds.", below: []value{
			{name: "enabled", comment: "Whether there are any.", def: false, schema: boolean},
			{name: "namespace", comment: "Where Grafana's sidecar looks; empty: the release's.", def: "", schema: name},
			{name: "labels", comment: "The labels by which it finds them.", def: object{"grafana_dashboard": "1"}, schema: texts},
		}},
	}
}

func removal() value {
	return value{name: "optOut", comment: "What helm uninstall does first: every Deployment is opted out, and nothing goes before all users are on stable and nothing of Serin's is left.", below: []value{
		{name: "enabled", comment: "Whether it does. Without it, opt out yourself before.", def: true, schema: boolean},
		{name: "timeout", comment: "How long it may take, within helm's own --timeout of 5m. When it is over, nothing is uninstalled.", def: "4m", schema: object{"type": "string", "pattern": "^[0-9]+(s|m)$"}},
	}}
}

// valuesFile is values.yaml.
func valuesFile(all []value) (string, error) {
	var b strings.Builder
	b.WriteString("# The chart's values. Only prometheus.url has to be set.\n# Written by: go run ./deploy/generate\n")
	for _, v := range all {
		b.WriteString("\n")
		if err := v.write(&b, ""); err != nil {
			return "", err
		}
	}
	return b.String(), nil
}

// widest is as wide as a line of a comment becomes.
const widest = 88

func (v value) write(b *strings.Builder, indent string) error {
	line := indent + "#"
	for word := range strings.FieldsSeq(v.comment) {
		if len(line)+1+len(word) > widest {
			b.WriteString(line + "\n")
			line = indent + "#"
		}
		line += " " + word
	}
	b.WriteString(line + "\n" + indent + v.name + ":")
	if v.below != nil {
		b.WriteString("\n")
		for _, w := range v.below {
			if err := w.write(b, indent+"  "); err != nil {
				return err
			}
		}
		return nil
	}
	content, err := yaml.Marshal(v.def)
	if err != nil {
		return fmt.Errorf("write the value %s: %w", v.name, err)
	}
	if out := strings.TrimSuffix(string(content), "\n"); isBlock(v.def) {
		b.WriteString("\n" + indent + "  " + strings.ReplaceAll(out, "\n", "\n"+indent+"  ") + "\n")
	} else {
		b.WriteString(" " + out + "\n")
	}
	return nil
}

// isBlock tells what is written below its name.
func isBlock(def any) bool {
	switch def := def.(type) {
	case object:
		return len(def) > 0
	case []any:
		return len(def) > 0
	}
	return false
}

// highAvailability is the values file that says what the component of that name does.
func highAvailability(manifests fs.FS) (string, error) {
	var k struct {
		Patches []struct{ Patch string }
	}
	content, err := fs.ReadFile(manifests, "high-availability/kustomization.yaml")
	if err == nil {
		err = yaml.Unmarshal(content, &k)
	}
	found := object{}
	for _, p := range k.Patches {
		var changes []struct {
			Path  string
			Value any
		}
		if err == nil {
			err = yaml.Unmarshal([]byte(p.Patch), &changes)
		}
		for _, c := range changes {
			found[c.Path] = c.Value
		}
	}
	spread, is := found["/spec/template/spec/topologySpreadConstraints"]
	if err != nil || !is || len(found) != 3 {
		return "", fmt.Errorf("read what high availability is, of %v: %w", found, err)
	}
	out, err := yaml.Marshal(object{
		"replicas": found["/spec/replicas"], "topologySpreadConstraints": spread,
		"podDisruptionBudget": object{"minAvailable": found["/spec/minAvailable"]},
	})
	return "# A third replica, and no two on one node: helm install -f this file.\n# Written from deploy/high-availability by: go run ./deploy/generate\n" + string(out), err
}

// schemaFile is values.schema.json: no other value than these is
// taken, so that a slip in a name is told.
func schemaFile(all []value) (string, error) {
	root := value{below: all}.described()
	root["$schema"], root["title"] = "http://json-schema.org/draft-07/schema#", "Values of the chart serin"
	root["properties"].(object)["global"] = object{"type": "object", "description": "Of a chart that this one is part of; nothing in it is read."}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(root); err != nil {
		return "", fmt.Errorf("write the schema: %w", err)
	}
	return b.String(), nil
}

func (v value) described() object {
	out := object{}
	for key, s := range v.schema {
		out[key] = s
	}
	if v.comment != "" {
		out["description"] = v.comment
	}
	if v.below == nil {
		out["default"] = v.def
		return out
	}
	properties := object{}
	for _, w := range v.below {
		properties[w.name] = w.described()
	}
	out["type"], out["properties"], out["additionalProperties"] = "object", properties, false
	return out
}
