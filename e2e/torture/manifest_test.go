package torture

// NAMESPACE stands for the shop's, SUBSET for that of a Deployment, TAG for the
// image's, which says how a version behaves.

const platform = `
apiVersion: v1
kind: Namespace
metadata: {name: NAMESPACE}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: NAMESPACE}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
`

const rule = `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: NAMESPACE}
spec:
  host: web
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
`

// pairOf is one of two Deployments, which take turns. No answer is too slow: the
// machine may be busy. Stable is compared with what ran in the same Deployment in
// the hour before, bad versions too, so that some steps end by their deadline.
const pairOf = `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web-SUBSET
  namespace: NAMESPACE
  annotations: {serin.dev/canary: "true", serin.dev/mode: pair, serin.dev/steps: "STEPS", serin.dev/step-deadline: 30s, serin.dev/max-p99: "1m, 100x"}
spec:
  replicas: 1
  selector: {matchLabels: {app: web, version: SUBSET}}
  template:
    metadata: {labels: {app: web, version: SUBSET}}
    spec:
      containers: [{name: web, image: "shop/web:TAG", ports: [{containerPort: 8080}]}]
`

// single is released in place.
const single = `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: NAMESPACE
  annotations: {serin.dev/canary: "true", serin.dev/steps: "STEPS", serin.dev/max-p99: "1m, 100x"}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: "shop/web:TAG", ports: [{containerPort: 8080}]}]
`

// The routes of a pair, and of one Deployment whose people know of no canary.
const (
	pairAtGateway = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: NAMESPACE}
spec:
  hosts: [NAMESPACE.example.com]
  gateways: [istio-system/gateway]
  http:
  - name: basket
    match: [{uri: {prefix: /basket}}]
    retries: {attempts: 2}
    route:
    - {destination: {host: web, subset: v1}, weight: 100}
    - {destination: {host: web, subset: v2}, weight: 0}
  - route:
    - {destination: {host: web, subset: v1}, weight: 100}
    - {destination: {host: web, subset: v2}, weight: 0}
`
	pairInMesh = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web-mesh, namespace: NAMESPACE}
spec:
  hosts: [web]
  http:
  - route:
    - {destination: {host: web, subset: v1}, weight: 100}
    - {destination: {host: web, subset: v2}, weight: 0}
`
	singleAtGateway = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: NAMESPACE}
spec:
  hosts: [NAMESPACE.example.com]
  gateways: [istio-system/gateway]
  http:
  - timeout: 60s
    route: [{destination: {host: web}}]
`
	singleInMesh = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web-mesh, namespace: NAMESPACE}
spec:
  hosts: [web]
  http:
  - match: [{uri: {prefix: /api}}]
    retries: {attempts: 2}
    route: [{destination: {host: web.NAMESPACE.svc.cluster.local, port: {number: 80}}}]
  - route: [{destination: {host: web}, weight: 100}]
`
)
