package chart_test

import (
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"sigs.k8s.io/yaml"

	"serin.dev/serin/pkg/config"
)

func TestTheChartHasNoLint(t *testing.T) {
	for _, m := range lint.RunAll(folder, object{"prometheus": object{"url": "http://prometheus:9090"}}, "serin-system").Messages {
		if m.Severity > support.InfoSev {
			t.Errorf("%s: %v", m.Path, m.Err)
		}
	}
}

// Every mistake is told with what to write instead, and all of them at once.
func TestWhatIsRefused(t *testing.T) {
	const url = "prometheus: {url: 'http://prometheus:9090'}\n"
	for _, c := range []struct {
		name string
		setting
		want []string
	}{
		{"no URL", setting{}, []string{"prometheus.url is missing: set it to where your Prometheus answers"}},
		{"a value that is none", setting{values: url + "replica: 3"}, []string{"'replica' not allowed"}},
		{"a value that is none, in a section", setting{values: "prometheus: {url: 'http://a', interval: 5s}"}, []string{"'interval' not allowed"}},
		{"a mode that is none", setting{values: url + "mode: inplace"}, []string{"/mode", "'in-place'"}},
		{"a URL without its scheme", setting{values: "prometheus: {url: 'prometheus:9090'}"}, []string{"/prometheus/url", "does not match pattern"}},
		{"a number as a text", setting{values: url + "replicas: '2'"}, []string{"/replicas", "want integer"}},
		{"an account that a policy can't know", setting{values: url + "serviceAccount: {name: 'ser.in'}"}, []string{"/serviceAccount/name"}},
		{"a namespace twice", setting{values: url + "namespaces: [shop, shop]"}, []string{"/namespaces"}},
		{"in place before 1.36", setting{values: url + "mode: in-place", kubernetes: "v1.35.2"}, []string{"mode: in-place needs Kubernetes 1.36 or newer, and this is v1.35.2: set it to in-place-webhook or in-place-pause"}},
		{"a policy about routes before 1.33", setting{values: url, kubernetes: "v1.32.0"}, []string{"routesPolicy needs Kubernetes 1.33 or newer"}},
		{"two URLs", setting{values: url + "config: {prometheus: {url: 'http://other:9090'}}"}, []string{"prometheus.url is http://prometheus:9090 and config.prometheus.url is http://other:9090: take one of them away"}},
		{"a budget that holds every node", setting{values: url + "podDisruptionBudget: {minAvailable: 2}"}, []string{"podDisruptionBudget.minAvailable is 2 of 2 replicas"}},
		{"namespaces without rights", setting{values: url + "config: {namespaces: [shop]}"}, []string{"config.namespaces: set namespaces instead"}},
		{"a Lease without rights", setting{values: url + "config: {leaderElection: {namespace: elsewhere}}"}, []string{"config.leaderElection.namespace: Serin has a right on its Lease in serin-system only"}},
		{"a page that may ask nobody", setting{values: url + "config: {page: {access: reviewed}}"}, []string{"config.page.access: set page.reviewed instead"}},
		{"a webhook that nobody trusts", setting{values: url + "mode: in-place-webhook\nwebhook: {certManager: false}"}, []string{"webhook.caBundle is missing"}},
		{"all at once", setting{values: "commandBy: true\nconfig: {inPlace: {enabled: true}}", kubernetes: "v1.34.0"}, []string{"prometheus.url is missing", "commandBy needs Kubernetes 1.36", "config.inPlace.enabled: set mode instead"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := c.texts(t)
			for _, part := range c.want {
				if err == nil || !strings.Contains(err.Error(), part) {
					t.Errorf("it says %v, want %s", err, part)
				}
			}
		})
	}
}

// The schema explains every value and has the default that values.yaml has.
func TestTheSchemaAgreesWithTheValues(t *testing.T) {
	var schema, values object
	text, err := os.ReadFile(folder + "/values.schema.json")
	if err == nil {
		err = json.Unmarshal(text, &schema)
	}
	if err != nil {
		t.Fatal(err)
	}
	if text, err = os.ReadFile(folder + "/values.yaml"); err == nil {
		err = yaml.Unmarshal(text, &values)
	}
	if err != nil {
		t.Fatal(err)
	}
	delete(schema["properties"].(object), "global")
	agrees(t, "", schema, values)
}

func agrees(t *testing.T, at string, schema, values object) {
	t.Helper()
	properties := schema["properties"].(object)
	if len(properties) != len(values) || schema["additionalProperties"] != false {
		t.Errorf("%q has %d values, and %d in the schema, which allows others: %v", at, len(values), len(properties), schema["additionalProperties"])
	}
	for key, property := range properties {
		p := property.(object)
		if text, _ := p["description"].(string); len(text) < 10 {
			t.Errorf("%s.%s is not explained", at, key)
		}
		if p["properties"] != nil {
			agrees(t, at+"."+key, p, values[key].(object))
		} else if !reflect.DeepEqual(p["default"], values[key]) {
			t.Errorf("%s.%s is %v, and %v in the schema", at, key, values[key], p["default"])
		}
	}
}

// Whatever docs/config.md shows can be written under config, and means the same there.
func TestTheConfigurationIsTakenAsItIs(t *testing.T) {
	example := regexp.MustCompile(`(?m)^  # ([a-z0-9-]+: ".*")$`).ReplaceAllString(config.Example(), "  $1")
	var tree object
	if err := yaml.Unmarshal([]byte(example), &tree); err != nil {
		t.Fatal(err)
	}
	if n := len(tree["defaults"].(object)); n < 12 {
		t.Fatalf("%d annotations are among the defaults", n)
	}
	values, err := yaml.Marshal(object{"config": tree})
	if err != nil {
		t.Fatal(err)
	}
	chart, _ := setting{values: string(values)}.objects(t)
	data := chart["ConfigMap serin-system/serin"]["data"].(object)
	got, want := configured(t, data["serin.yaml"].(string)), configured(t, example)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("it means\n%+v\nwant\n%+v", got, want)
	}
}

// What an operator adds is taken, and wins over the chart's own.
func TestTheConfigurationWins(t *testing.T) {
	chart, _ := setting{values: `
prometheus: {url: 'http://prometheus:9090'}
page: {reviewed: true}
config:
  listen: ":9000"
  prometheus: {interval: 30s}
  page: {hosts: [serin.example.com]}
  notify:
    channels: {ops: {type: slack, channel: "#ops", credentials: /etc/serin-secrets/slack}}
    default: [ops]
secretName: serin-secrets
`}.objects(t)
	c := configured(t, chart["ConfigMap serin-system/serin"]["data"].(object)["serin.yaml"].(string))
	if c.Prometheus.URL != "http://prometheus:9090" || c.Prometheus.Interval.String() != "30s" || len(c.Notify.Channels) != 1 || c.Page.Access != config.AccessReviewed || len(c.Page.Hosts) != 1 {
		t.Errorf("it is %+v", c)
	}
	text, err := yaml.Marshal(chart["Deployment serin-system/serin"])
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"containerPort: 9000", "mountPath: /etc/serin-secrets", "secretName: serin-secrets"} {
		if !strings.Contains(string(text), part) {
			t.Errorf("the Deployment has no %s:\n%s", part, text)
		}
	}
}

// A changed configuration restarts the controller; nothing else does.
func TestTheChecksumFollowsTheConfiguration(t *testing.T) {
	sum := func(more string) any {
		chart, _ := setting{values: "prometheus: {url: 'http://prometheus:9090'}\n" + more}.objects(t)
		return chart["Deployment serin-system/serin"]["spec"].(object)["template"].(object)["metadata"].(object)["annotations"].(object)["checksum/config"]
	}
	if sum("") == sum("config: {judge: {mode: threshold}}") || sum("") != sum("replicas: 3") {
		t.Error("the checksum is of something else")
	}
}

func TestWherePrometheusIsReached(t *testing.T) {
	for url, want := range map[string]string{
		"http://prometheus.monitoring:9090":               "monitoring 9090",
		"http://prometheus-server.monitoring.svc":         "monitoring 80 9090",
		"http://p.monitoring.svc.cluster.local:9090/path": "monitoring 9090",
		"https://thanos.monitoring.svc:10902":             "monitoring 10902 9090",
		"https://prometheus.example.com":                  "anywhere 443 9090",
		"http://10.1.2.3:9090":                            "anywhere 9090",
		"http://prometheus:9090":                          "anywhere 9090",
	} {
		chart, _ := setting{values: "prometheus: {url: '" + url + "'}"}.objects(t)
		egress := chart["NetworkPolicy serin-system/serin"]["spec"].(object)["egress"].([]any)
		rule, got := egress[len(egress)-1].(object), "anywhere"
		if to, is := rule["to"].([]any); is {
			got = to[0].(object)["namespaceSelector"].(object)["matchLabels"].(object)["kubernetes.io/metadata.name"].(string)
		}
		for _, p := range rule["ports"].([]any) {
			text, err := json.Marshal(p.(object)["port"])
			if err != nil {
				t.Fatal(err)
			}
			got += " " + string(text)
		}
		if got != want {
			t.Errorf("%s is reached by %s, want %s", url, got, want)
		}
	}
}

// The Go runtime's limit follows that of the container.
func TestTheMemoryLimit(t *testing.T) {
	for limit, want := range map[string]any{"512Mi": "450MiB", "1Gi": "901MiB", "1000000000": nil} {
		chart, _ := setting{values: "prometheus: {url: 'http://a'}\nresources: {limits: {memory: '" + limit + "'}}"}.objects(t)
		c := chart["Deployment serin-system/serin"]["spec"].(object)["template"].(object)["spec"].(object)["containers"].([]any)[0].(object)
		var got any
		if env, is := c["env"].([]any); is {
			got = env[0].(object)["value"]
		}
		if got != want {
			t.Errorf("%s gives %v, want %v", limit, got, want)
		}
	}
}

// The hook goes with its rights, and can be left out.
func TestTheHook(t *testing.T) {
	const url = "prometheus: {url: 'http://prometheus:9090'}\n"
	_, hooks := setting{values: url + "namespaces: [shop, blog]\nimage: {tag: v7}\npriorityClassName: high\ntolerations: [{key: a}]"}.objects(t)
	for id, o := range hooks {
		annotations := o["metadata"].(object)["annotations"].(object)
		if annotations["helm.sh/hook"] != "pre-delete" || annotations["helm.sh/hook-delete-policy"] != "before-hook-creation,hook-succeeded" {
			t.Errorf("%s has %v", id, annotations)
		}
		if first := annotations["helm.sh/hook-weight"] == "-10"; first == strings.HasPrefix(id, "Job ") {
			t.Errorf("%s comes at %v", id, annotations["helm.sh/hook-weight"])
		}
	}
	pod := hooks["Job serin-system/serin-opt-out"]["spec"].(object)["template"].(object)["spec"].(object)
	containers := pod["containers"].([]any)
	if len(containers) != 2 || pod["priorityClassName"] != "high" || pod["tolerations"] == nil || containers[0].(object)["image"] != "serin:v7" {
		t.Errorf("the hook's pod is %v", pod)
	}
	for i, namespace := range []string{"shop", "blog"} {
		if args := containers[i].(object)["args"].([]any); args[2] != "--namespace="+namespace {
			t.Errorf("container %d is called with %v", i, args)
		}
		if hooks["RoleBinding "+namespace+"/serin-opt-out"] == nil {
			t.Errorf("it has no rights in %s", namespace)
		}
	}
	if hooks["ClusterRoleBinding /serin-opt-out"] != nil {
		t.Error("it has rights everywhere")
	}
	if _, hooks = (setting{values: url + "optOut: {enabled: false}"}).objects(t); len(hooks) > 0 {
		t.Errorf("it is switched off, and there are %v", hooks)
	}
}

// What one gives for all objects, all objects have.
func TestLabelsAndAnnotationsOfAll(t *testing.T) {
	objects, hooks := setting{values: `
prometheus: {url: 'http://prometheus:9090'}
mode: in-place-webhook
namespaces: [shop]
page: {reviewed: true}
commandBy: true
serviceMonitor: {enabled: true, labels: {release: prometheus}}
rules: {enabled: true, labels: {release: prometheus}}
dashboards: {enabled: true}
labels: {team: releases, app.kubernetes.io/name: other}
annotations: {owner: releases}
`}.objects(t)
	for _, all := range []map[string]object{objects, hooks} {
		for id, o := range all {
			metadata := o["metadata"].(object)
			labels, _ := metadata["labels"].(object)
			annotations, _ := metadata["annotations"].(object)
			if labels["team"] != "releases" || labels["app.kubernetes.io/name"] != "serin" || annotations["owner"] != "releases" {
				t.Errorf("%s has %v and %v", id, labels, annotations)
			}
			if kind := o["kind"]; (kind == "ServiceMonitor" || kind == "PrometheusRule") && labels["release"] != "prometheus" {
				t.Errorf("%s has %v", id, labels)
			}
		}
	}
}
