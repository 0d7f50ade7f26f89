package chart_test

import (
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// fromBase are values for what deploy/base has and the chart's defaults leave to the
// user: the URL, and the namespace closed to others.
const fromBase = "prometheus: {url: 'http://prometheus.istio-system:9090'}\nnetworkPolicy: {denyOthers: true}\n"

// like is one setting, said to both.
type like struct {
	name          string
	values        string // YAML, over fromBase
	namespace     string
	kustomization string
	files         map[string]string
}

const gone = "- patch: |-\n    $patch: delete\n    apiVersion: %s\n    kind: %s\n    metadata: {name: %s, namespace: %s}\n"

func without(apiVersion, kind string, names ...string) string {
	var b strings.Builder
	for _, n := range names {
		text := fmt.Sprintf(gone, apiVersion, kind, n, "serin-system")
		if !strings.HasPrefix(apiVersion, "networking") && !strings.HasPrefix(apiVersion, "policy") && !strings.HasPrefix(apiVersion, "monitoring") {
			text = strings.Replace(text, ", namespace: serin-system", "", 1)
		}
		b.WriteString(text)
	}
	return b.String()
}

// elsewhere is a configuration that replaces the base's.
func elsewhere(url, namespace string) string {
	return fmt.Sprintf("prometheus: {url: %q}\nleaderElection: {namespace: %s}\n", url, namespace)
}

const pageReviewed = `prometheus: {url: "http://prometheus.istio-system:9090"}
leaderElection: {namespace: serin-system}
page: {listen: ":9092", access: reviewed, certificate: /etc/serin-page/tls.crt, key: /etc/serin-page/tls.key}
`

const replaced = "configMapGenerator: [{name: serin, behavior: replace, files: [serin.yaml]}]\n"

// chosen is the overlay for chosen namespaces over another base, with the lines that
// are commented out.
func chosen(t *testing.T, base string) string {
	t.Helper()
	text, err := os.ReadFile(deploy + "/chosen-namespaces/kustomization.yaml")
	if err != nil {
		t.Fatal(err)
	}
	out := regexp.MustCompile(`(?m)^# (- |  target)`).ReplaceAllString(string(text), "$1")
	return strings.Replace(out, "- ../base\n", "- ../"+base+"\n", 1)
}

// beside are the files of a folder of deploy.
func beside(t *testing.T, name string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(deploy + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, e := range entries {
		text, err := os.ReadFile(deploy + "/" + name + "/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = string(text)
	}
	return out
}

func over(base, more string) string { return "resources: [../" + base + "]\n" + more }

func matrix(t *testing.T) []like {
	policies := "admissionregistration.k8s.io/v1"
	available, err := os.ReadFile(folder + "/values-high-availability.yaml")
	if err != nil {
		t.Fatal(err)
	}
	digest := "sha256:" + strings.Repeat("0f", 32)
	elsewhereWebhook := `patches:
- target: {kind: MutatingWebhookConfiguration}
  patch: |-
    - {op: replace, path: /metadata/annotations/cert-manager.io~1inject-ca-from, value: releases/serin-webhook}
- target: {kind: Certificate}
  patch: |-
    - {op: replace, path: /spec/dnsNames/0, value: serin-webhook.releases.svc}
`
	all := []like{
		{name: "as it is", kustomization: over("base", "")},
		{name: "in place, by the API server", values: "mode: in-place", kustomization: over("in-place", "")},
		{name: "in place, by the webhook", values: "mode: in-place-webhook", kustomization: over("in-place-webhook", "")},
		{name: "in place, by the pause", values: "mode: in-place-pause", kustomization: over("in-place-pause", "")},
		{name: "chosen namespaces", values: "namespaces: [shop, blog]", kustomization: over("chosen-namespaces", "")},
		{name: "high availability", values: string(available), kustomization: over("base", "components: [../high-availability]\n")},
		{name: "high availability in place", values: "mode: in-place\n" + string(available), kustomization: over("in-place", "components: [../high-availability]\n")},
		{name: "a single replica has no budget", values: "replicas: 1", kustomization: over("base", "replicas: [{name: serin, count: 1}]\npatches:\n"+without("policy/v1", "PodDisruptionBudget", "serin"))},
		{name: "an open network", values: "networkPolicy: {enabled: false}", kustomization: over("base", "patches:\n"+without("networking.k8s.io/v1", "NetworkPolicy", "serin", "default-deny"))},
		{name: "no policy about routes", values: "routesPolicy: false", kustomization: over("base", "patches:\n"+without(policies, "ValidatingAdmissionPolicy", "serin-routes")+without(policies, "ValidatingAdmissionPolicyBinding", "serin-routes"))},
		{name: "who gave an order", values: "commandBy: true", kustomization: over("base", "components: [../command-by]\n")},
		{name: "metrics and rules for the Operator", values: "serviceMonitor: {enabled: true}\nrules: {enabled: true}", kustomization: "resources: [../base, ../prometheus]\n"},
		{name: "metrics alone", values: "serviceMonitor: {enabled: true}", kustomization: "resources: [../base, ../prometheus]\npatches:\n" + without("monitoring.coreos.com/v1", "PrometheusRule", "serin")},
		{name: "rules alone", values: "rules: {enabled: true}", kustomization: "resources: [../base, ../prometheus]\npatches:\n" + without("monitoring.coreos.com/v1", "ServiceMonitor", "serin")},
		{name: "dashboards", values: "dashboards: {enabled: true, namespace: monitoring}", kustomization: "resources: [../base, ../grafana]\n"},
		{name: "a page for who brings a token", values: "page: {reviewed: true}", files: map[string]string{"serin.yaml": pageReviewed}, kustomization: over("base", "namespace: serin-system\ncomponents: [../page]\n"+replaced)},
		{name: "a page in place, by the webhook", values: "page: {reviewed: true}\nmode: in-place-webhook", files: map[string]string{"serin.yaml": pageReviewed}, kustomization: over("in-place-webhook", "namespace: serin-system\ncomponents: [../page]\n"+replaced)},
		{name: "an image of one's own", values: "image: {repository: registry.example.com:5000/serin, tag: v1}", kustomization: over("base", "images: [{name: serin, newName: 'registry.example.com:5000/serin', newTag: v1}]\n")},
		{name: "an image by its digest", values: "image: {repository: registry.example.com/serin, tag: v1, digest: '" + digest + "'}", kustomization: over("base", "images: [{name: serin, newName: registry.example.com/serin, digest: '"+digest+"'}]\n")},
		{name: "Prometheus elsewhere", values: "prometheus: {url: 'http://prometheus.monitoring.svc:9090'}", files: map[string]string{"serin.yaml": elsewhere("http://prometheus.monitoring.svc:9090", "serin-system")}, kustomization: over("base", `namespace: serin-system
patches:
- target: {kind: NetworkPolicy, name: serin}
  patch: |-
    - {op: replace, path: /spec/egress/2/to/0/namespaceSelector/matchLabels/kubernetes.io~1metadata.name, value: monitoring}
`+replaced)},
	}
	for _, base := range []string{"base", "in-place", "in-place-webhook", "in-place-pause"} {
		mode := strings.Replace(base, "base", "pair", 1)
		more := ""
		if base == "in-place-webhook" {
			more = elsewhereWebhook
		}
		all = append(all, like{
			name: base + " in another namespace", values: "mode: " + mode, namespace: "releases",
			files:         map[string]string{"serin.yaml": elsewhere("http://prometheus.istio-system:9090", "releases")},
			kustomization: over(base, "namespace: releases\ntransformers: [../account]\n"+more+replaced),
		})
		if base != "base" {
			all = append(all, like{name: "chosen namespaces, " + base, values: "namespaces: [shop, blog]\nmode: " + mode, kustomization: chosen(t, base), files: beside(t, "chosen-namespaces")})
		}
	}
	return all
}

// The chart and kustomize give the same objects, whatever is chosen.
func TestTheChartIsWhatKustomizeMakes(t *testing.T) {
	for _, c := range matrix(t) {
		t.Run(c.name, func(t *testing.T) {
			chart, _ := setting{values: merged(t, fromBase, c.values), namespace: c.namespace}.objects(t)
			for _, difference := range differences(bare(t, chart), bare(t, kustomized(t, c.kustomization, c.files))) {
				t.Error(difference)
			}
		})
	}
}

// merged are values over others.
func merged(t *testing.T, below, above string) string {
	t.Helper()
	var a, b object
	if err := yaml.Unmarshal([]byte(below), &a); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(above), &b); err != nil {
		t.Fatal(err)
	}
	text, err := yaml.Marshal(put(a, b))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func put(a, b object) object {
	for key, value := range b {
		below, is := a[key].(object)
		above, too := value.(object)
		if is && too {
			value = put(below, above)
		}
		a[key] = value
	}
	return a
}

// differences of the chart from kustomize, one line each.
func differences(chart, kustomize map[string]object) []string {
	var out []string
	ids := maps.Clone(chart)
	maps.Copy(ids, kustomize)
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		switch a, b := chart[id], kustomize[id]; {
		case a == nil:
			out = append(out, id+": the chart has none")
		case b == nil:
			out = append(out, id+": kustomize has none")
		default:
			out = append(out, unlike(id, a, b)...)
		}
	}
	return out
}

func unlike(at string, a, b any) []string {
	x, isX := a.(object)
	y, isY := b.(object)
	if isX && isY {
		var out []string
		keys := maps.Clone(x)
		maps.Copy(keys, y)
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			out = append(out, unlike(at+"."+key, x[key], y[key])...)
		}
		return out
	}
	l, isL := a.([]any)
	m, isM := b.([]any)
	if isL && isM && len(l) == len(m) {
		var out []string
		for i := range l {
			out = append(out, unlike(fmt.Sprintf("%s[%d]", at, i), l[i], m[i])...)
		}
		return out
	}
	if text, is := b.(string); is {
		// Where kustomize folds a line, it leaves an empty one.
		b = strings.ReplaceAll(text, "\n\n", "\n")
	}
	if text, is := a.(string); is {
		a = strings.ReplaceAll(text, "\n\n", "\n")
	}
	if reflect.DeepEqual(a, b) {
		return nil
	}
	return []string{fmt.Sprintf("%s: the chart has %v, kustomize %v", at, a, b)}
}

// The comparison finds what a slip in a template would do.
func TestTheComparisonFindsADifference(t *testing.T) {
	whole := func() map[string]object { return bare(t, kustomized(t, over("base", ""), nil)) }
	if found := differences(whole(), whole()); len(found) > 0 {
		t.Fatalf("nothing differs, and it says %v", found)
	}
	for name, c := range map[string]struct {
		slip func(map[string]object)
		want string
	}{
		"a verb more": {func(all map[string]object) {
			rule := all["ClusterRole /serin"]["rules"].([]any)[0].(object)
			rule["verbs"] = append(rule["verbs"].([]any), "delete")
		}, "ClusterRole /serin.rules[0].verbs: "},
		"a policy that is lost":           {func(all map[string]object) { delete(all, "ValidatingAdmissionPolicy /serin-routes") }, "ValidatingAdmissionPolicy /serin-routes: the chart has none"},
		"an object that is not elsewhere": {func(all map[string]object) { all["Secret x/y"] = object{} }, "Secret x/y: kustomize has none"},
		"a label that is lost": {func(all map[string]object) {
			delete(all["Service serin-system/serin"]["metadata"].(object)["labels"].(object), "app.kubernetes.io/part-of")
		}, "Service serin-system/serin.metadata.labels.app.kubernetes.io/part-of: "},
		"another interval": {func(all map[string]object) {
			all["ConfigMap serin-system/serin"]["data"] = configured(t, "prometheus: {interval: 30s}")
		}, "ConfigMap serin-system/serin.data: "},
	} {
		t.Run(name, func(t *testing.T) {
			slipped := whole()
			c.slip(slipped)
			if found := differences(slipped, whole()); len(found) != 1 || !strings.HasPrefix(found[0], c.want) {
				t.Errorf("it says %v, want %s", found, c.want)
			}
		})
	}
}

// What the defaults leave out of the base: to close a namespace that may be shared.
func TestTheDefaultsCloseNobodyElsesPods(t *testing.T) {
	chart, _ := setting{values: "prometheus: {url: 'http://prometheus.istio-system:9090'}"}.objects(t)
	found := differences(bare(t, chart), bare(t, kustomized(t, over("base", ""), nil)))
	if want := []string{"NetworkPolicy serin-system/default-deny: the chart has none"}; !slices.Equal(found, want) {
		t.Errorf("it differs by %v", found)
	}
}
