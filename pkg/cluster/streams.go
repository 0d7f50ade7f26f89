package cluster

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// streams tells that Istio does not read a port as HTTP, by its rules of protocol
// selection (istio.io, Traffic Management, Protocol Selection): by appProtocol, or
// else by what stands before the first dash of the port's name. A port that says
// nothing, or nothing Istio knows, is looked at request by request and may be HTTP.
func streams(p corev1.ServicePort) bool {
	if p.Protocol != corev1.ProtocolTCP && p.Protocol != "" {
		return true
	}
	name := p.Name
	if p.AppProtocol != nil {
		name = *p.AppProtocol
	}
	name = strings.ToLower(name)
	if name == "kubernetes.io/wss" { // WebSocket over TLS, which is not opened
		return true
	}
	protocol, _, _ := strings.Cut(name, "-")
	switch {
	case slices.Contains([]string{"http", "http2", "http_proxy", "grpc", "kubernetes.io/h2c", "kubernetes.io/ws"}, protocol):
		return false
	case slices.Contains([]string{"tcp", "tls", "https", "udp", "mongo", "mysql", "redis", "hbone"}, protocol):
		return true
	}
	// Protocols in which the server speaks first can't be looked at; Istio knows
	// them by their ports: SMTP, DNS, MySQL, MongoDB.
	return slices.Contains([]int32{25, 53, 3306, 27017}, p.Port)
}
