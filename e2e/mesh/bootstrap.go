// Package mesh holds what makes Envoy, istiod and Prometheus work together
// outside a cluster: Envoy's bootstrap, Istio's settings, and the rules that
// turn upstream Envoy's statistics into Istio's standard metrics. It is pure.
package mesh

import (
	"encoding/json"
	"fmt"
)

// Addresses inside the sandbox's network namespace. The whole of PodCIDR is
// local there.
const (
	PodCIDR     = "10.244.0.0/16"
	NodeIP      = "10.244.0.1"
	GatewayIP   = "10.244.0.2"
	ClientIP    = "10.244.0.3" // the mesh client's
	GatewayPort = 8081
	ClientPort  = 80 // the port of the services it reaches
	AdminPort   = 15000
	XDSAddress  = "127.0.0.1"
	XDSPort     = 15010
)

// version is what proxies tell istiod they are.
const version = "1.31.0"

// Proxy is one Envoy.
type Proxy struct {
	Sidecar   bool // else a gateway
	IP        string
	Name      string // of the pod
	Namespace string
	Labels    map[string]string // of the pod; istiod selects by them
}

// buckets are those of Istio's request duration histogram, in milliseconds.
var buckets = []float64{
	0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000,
	30000, 60000, 300000, 600000, 1800000, 3600000,
}

type object = map[string]any

// Bootstrap is the proxy's configuration file, JSON: who it is, where istiod
// is, and how statistics are kept. All else comes from istiod.
func (p Proxy) Bootstrap() ([]byte, error) {
	ads := object{"ads": object{}, "resource_api_version": "V3"}
	doc := object{
		"node":  p.node(),
		"admin": object{"address": socket(p.IP, AdminPort)},
		"dynamic_resources": object{
			"ads_config": object{
				"api_type": "DELTA_GRPC", "transport_api_version": "V3",
				"grpc_services": []any{object{"envoy_grpc": object{"cluster_name": "xds-grpc", "retry_policy": object{
					// istiod comes back within a second where scenarios restart it.
					"retry_back_off": object{"base_interval": "0.1s", "max_interval": "0.5s"},
				}}}},
			},
			"cds_config": ads, "lds_config": ads,
		},
		"static_resources": object{"clusters": []any{xdsCluster()}},
		// Histograms are merged when they are asked for, so that a scrape
		// sees all requests that have ended.
		"stats_flush_on_admin": true,
		"stats_config": object{"histogram_bucket_settings": []any{
			object{"match": object{"prefix": "istio"}, "buckets": buckets},
		}},
		"layered_runtime": object{"layers": []any{
			object{"name": "static", "static_layer": object{
				"envoy.deprecated_features:envoy.config.listener.v3.Listener.hidden_envoy_deprecated_use_original_dst": true,
				"re2.max_program_size.error_level": 32768,
			}},
			object{"name": "admin", "admin_layer": object{}},
		}},
	}
	b, err := json.MarshalIndent(doc, "", " ")
	if err != nil {
		return nil, fmt.Errorf("bootstrap of proxy %s/%s: %w", p.Namespace, p.Name, err)
	}
	return b, nil
}

// node is how istiod knows the proxy.
func (p Proxy) node() object {
	kind, metadata := "router", object{
		"NAMESPACE": p.Namespace, "LABELS": p.Labels, "CLUSTER_ID": "Kubernetes",
		"ISTIO_VERSION": version, "PROXY_CONFIG": object{},
	}
	if p.Sidecar {
		kind = "sidecar"
		metadata["INTERCEPTION_MODE"] = "NONE"
	}
	return object{
		"id":       fmt.Sprintf("%s~%s~%s.%s~%s.svc.cluster.local", kind, p.IP, p.Name, p.Namespace, p.Namespace),
		"cluster":  p.Name + "." + p.Namespace,
		"metadata": metadata,
	}
}

func xdsCluster() object {
	const http = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
	return object{
		"name": "xds-grpc", "type": "STATIC", "connect_timeout": "1s",
		"typed_extension_protocol_options": object{http: object{
			"@type": "type.googleapis.com/" + http, "explicit_http_config": object{"http2_protocol_options": object{}},
		}},
		"load_assignment": object{"cluster_name": "xds-grpc", "endpoints": []any{
			object{"lb_endpoints": []any{object{"endpoint": object{"address": socket(XDSAddress, XDSPort)}}}},
		}},
		// A dead istiod is noticed even where its connection stays open.
		"upstream_connection_options": object{"tcp_keepalive": object{"keepalive_time": 10}},
	}
}

func socket(ip string, port int) object {
	return object{"socket_address": object{"address": ip, "port_value": port}}
}

// EnvoyArgs are the arguments to run Envoy on a bootstrap file with. The base
// id keeps several Envoys of one machine apart.
func EnvoyArgs(bootstrap string) []string {
	return []string{"-c", bootstrap, "--concurrency", "1", "--log-level", "warning", "--use-dynamic-base-id"}
}
