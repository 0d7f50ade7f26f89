package mesh

import (
	"encoding/json"
	"fmt"
	"time"

	"sigs.k8s.io/yaml"
)

// Target is one Envoy as Prometheus scrapes it: an address and the labels its
// series get. The labels say who reports; what is reported comes from Envoy.
type Target struct {
	Address string
	Labels  map[string]string
}

// Source is the target of a proxy that reports requests it sends on, as
// gateways and clients do (reporter="source").
func (p Proxy) Source(workload string) Target {
	return p.target("source", map[string]string{
		"source_workload": workload, "source_workload_namespace": p.Namespace,
		"connection_security_policy": "unknown",
	})
}

// Destination is the target of a proxy in front of a workload, which reports
// the requests that workload gets (reporter="destination"). service is the
// name of the Service the workload belongs to, "unknown" if there is none.
func (p Proxy) Destination(workload, service string) Target {
	return p.target("destination", map[string]string{
		// Who sent it is told by a metadata exchange that upstream Envoy lacks.
		"source_workload": "unknown", "source_workload_namespace": "unknown",
		"connection_security_policy":     "none",
		"destination_workload":           workload,
		"destination_workload_namespace": p.Namespace,
		"destination_canonical_service":  p.canonicalService(workload),
		"destination_canonical_revision": p.revision(),
		"destination_version":            p.revision(),
		"destination_service":            service + "." + p.Namespace + ".svc.cluster.local",
		"destination_service_name":       service,
		"destination_service_namespace":  p.Namespace,
	})
}

func (p Proxy) target(reporter string, labels map[string]string) Target {
	labels["reporter"] = reporter
	labels["namespace"], labels["pod"] = p.Namespace, p.Name
	return Target{Address: fmt.Sprintf("%s:%d", p.IP, AdminPort), Labels: labels}
}

// revision is Istio's canonical revision of the workload.
func (p Proxy) revision() string {
	return firstOf(p.Labels, "latest", "service.istio.io/canonical-revision", "app.kubernetes.io/version", "version")
}

func (p Proxy) canonicalService(workload string) string {
	return firstOf(p.Labels, workload, "service.istio.io/canonical-name", "app.kubernetes.io/name", "app")
}

func firstOf(labels map[string]string, missing string, keys ...string) string {
	for _, k := range keys {
		if v := labels[k]; v != "" {
			return v
		}
	}
	return missing
}

// TargetsFile is the content of the file Prometheus reads its targets from; it
// takes changes in at once.
func TargetsFile(targets []Target) ([]byte, error) {
	groups := []any{}
	for _, t := range targets {
		groups = append(groups, object{"targets": []string{t.Address}, "labels": t.Labels})
	}
	b, err := json.Marshal(groups)
	if err != nil {
		return nil, fmt.Errorf("write Prometheus's targets: %w", err)
	}
	return b, nil
}

// PrometheusConfig scrapes the proxies in a file of targets at the interval,
// and stores what they count as Istio's standard metrics. Those in a file of
// controllers are scraped as they show themselves. Without a file there is no such
// job at all: a job whose file becomes empty would keep its targets.
func PrometheusConfig(interval time.Duration, targetsFile, controllersFile string) ([]byte, error) {
	every := fmt.Sprintf("%dms", interval.Milliseconds())
	doc := object{
		"global": object{"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
	}
	var jobs []any
	if targetsFile != "" {
		jobs = append(jobs, object{
			"job_name":               "envoy-stats",
			"metrics_path":           "/stats/prometheus",
			"file_sd_configs":        []any{object{"files": []string{targetsFile}}},
			"metric_relabel_configs": relabelings(),
		})
	}
	if controllersFile != "" {
		// Their labels namespace and service are of what they tell of.
		jobs = append(jobs, object{
			"job_name": "serin", "honor_labels": true,
			"file_sd_configs": []any{object{"files": []string{controllersFile}}},
		})
	}
	if jobs != nil {
		doc["scrape_configs"] = jobs
	}
	b, err := yaml.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("write Prometheus's configuration: %w", err)
	}
	return b, nil
}

// relabelings turn the statistics of upstream Envoy's access logger, whose
// tags are set in telemetry.yaml, into the labels that Istio's proxies report.
func relabelings() []object {
	workload := "([^;]*);([^;]*);([^;]*);([^;]*);(.*)" // workload; namespace; canonical service; revision; cluster
	cluster := `outbound\|\d+\|[^|]*\|(.*)`
	service := `outbound\|\d+\|[^|]*\|([^.]*)\.([^.]*)\..*`
	set := func(source, regex, target, replacement string) object {
		return object{"source_labels": []string{source}, "regex": regex, "target_label": target, "replacement": replacement}
	}
	rules := []object{
		set("__name__", "envoy_istio_(istio_.*)", "__name__", "$1"),
		{"source_labels": []string{"__name__"}, "regex": "istio_.*", "action": "keep"},
	}
	// A request that reached no workload: Istio says "unknown" for who it was
	// meant for, and keeps the service where a cluster was chosen.
	for _, target := range []string{
		"destination_workload", "destination_workload_namespace", "destination_canonical_service", "destination_canonical_revision",
		"destination_version", "destination_service", "destination_service_name", "destination_service_namespace",
	} {
		rules = append(rules, object{
			"source_labels": []string{"reporter", "upstream_workload"}, "regex": "source;.*", "target_label": target, "replacement": "unknown",
		})
	}
	return append(rules,
		set("upstream_workload", workload, "destination_workload", "$1"),
		set("upstream_workload", workload, "destination_workload_namespace", "$2"),
		set("upstream_workload", workload, "destination_canonical_service", "$3"),
		set("upstream_workload", workload, "destination_canonical_revision", "$4"),
		set("upstream_workload", workload, "destination_version", "$4"),
		set("upstream_cluster", cluster, "destination_service", "$1"),
		set("upstream_cluster", service, "destination_service_name", "$1"),
		set("upstream_cluster", service, "destination_service_namespace", "$2"),
		set("grpc_response_status", "-", "grpc_response_status", ""),
		set("grpc_response_status", `\d+`, "request_protocol", "grpc"),
		object{"regex": "upstream_workload|upstream_cluster", "action": "labeldrop"},
	)
}
