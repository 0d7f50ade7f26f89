package mesh

import _ "embed"

// Manifests are the objects the sandbox installs besides Istio's CRDs, YAML.
//
//go:embed manifests.yaml
var Manifests string

// Gateway is the ingress gateway, as VirtualServices name it.
const Gateway = "istio-system/gateway"

// Config is istiod's mesh configuration, YAML.
const Config = `defaultProviders: {metrics: []}
enableAutoMtls: false
ingressControllerMode: "OFF"
rootNamespace: istio-system
`

// IstiodEnv are the environment variables that let istiod run outside a
// cluster, for one, without certificates; and send upstream Envoys only what
// they understand (PILOT_...).
var IstiodEnv = []string{
	"PILOT_CERT_PROVIDER=none",
	"ENABLE_CA_SERVER=false",
	"XDS_AUTH=false",
	"ENABLE_DEBUG_ENDPOINT_AUTH=false",
	"ENABLE_LEADER_ELECTION=false",
	"INJECTION_WEBHOOK_CONFIG_NAME=",
	"VALIDATION_WEBHOOK_CONFIG_NAME=",
	"POD_NAME=istiod-0",
	"POD_NAMESPACE=istio-system",
	"PILOT_ENABLE_METADATA_EXCHANGE=false",
	"PILOT_ENABLE_ALPN_FILTER=false",
	"PILOT_DISABLE_MX_ALPN=true",
}
