package scenarios

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"serin.dev/serin/e2e/scenarios/invariant"
)

// subsets are those of the application's DestinationRule.
var subsets = invariant.Subsets{"v1", "v2"}

// settings are environment variables of the application, or annotations
// without their prefix.
type settings map[string]string

// plus returns the settings with others over them.
func (s settings) plus(more settings) settings {
	out := maps.Clone(s)
	if out == nil {
		out = settings{}
	}
	maps.Copy(out, more)
	return out
}

// deployment is web-v1 or web-v2, by the subset it is for. Its environment
// says which version it runs and how that behaves.
type deployment struct {
	subset      string
	replicas    int    // 0 means one
	image       string // without a tag, which is the version; default: shop/web
	pull        string // policy; default: the API server's
	sidecar     bool
	env         settings
	annotations settings
}

func (d deployment) manifest(namespace string) string {
	var env, annotations strings.Builder
	e := settings{"VERSION": d.subset}.plus(d.env)
	for _, key := range slices.Sorted(maps.Keys(e)) {
		fmt.Fprintf(&env, "{name: %s, value: %q}, ", key, e[key])
	}
	for _, key := range slices.Sorted(maps.Keys(d.annotations)) {
		fmt.Fprintf(&annotations, "serin.dev/%s: %q, ", key, d.annotations[key])
	}
	inject, pull := "", ""
	if d.sidecar {
		inject = `, sidecar.istio.io/inject: "true"`
	}
	if d.pull != "" {
		pull = ", imagePullPolicy: " + d.pull
	}
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: web-%[2]s, namespace: %[1]s, annotations: {%[3]s}}
spec:
  replicas: %[4]d
  selector: {matchLabels: {app: web, version: %[2]s}}
  template:
    metadata: {labels: {app: web, version: %[2]s%[7]s}}
    spec:
      containers:
      - {name: web, image: "%[8]s:%[5]s"%[9]s, ports: [{containerPort: 8080}], env: [%[6]s]}
`, namespace, d.subset, annotations.String(), max(1, d.replicas), e["VERSION"], env.String(), inject, cmp.Or(d.image, "shop/web"), pull)
}

// platform is all of the application but its Deployments and routes.
const platform = `
apiVersion: v1
kind: Namespace
metadata: {name: NAMESPACE}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: NAMESPACE}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: NAMESPACE}
spec:
  host: web
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
`

// split gives both versions their weights explicitly.
func split(v1, v2 int) string {
	return fmt.Sprintf(`
  - route:
    - {destination: {host: web, subset: v1}, weight: %d}
    - {destination: {host: web, subset: v2}, weight: %d}
`, v1, v2)
}

// gateway is the VirtualService web, for the users who come in at the gateway.
func gateway(namespace, routes string) string {
	return fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: %[1]s}
spec:
  hosts: [%[1]s.example.com]
  gateways: [istio-system/gateway]
  http:%[2]s`, namespace, routes)
}

// mesh is the VirtualService web-mesh, for clients in the mesh.
func mesh(namespace, routes string) string {
	return fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web-mesh, namespace: %s}
spec:
  hosts: [web]
  http:%s`, namespace, routes)
}
