// Package topology finds out, from plain copies of the cluster's objects, who
// routes to whom: which VirtualServices lead to a Service, which subset is
// stable, which canary, and what stands in the way. It is pure.
package topology

import (
	"time"

	"serin.dev/serin/pkg/canary"
)

// Objects are the objects around one Service, as read. The reader makes them;
// nothing here is a client's type.
type Objects struct {
	ClusterDomain string // "cluster.local"
	Namespace     string // the Service's
	Service       string
	ServiceFound  *Service  // nil: no such Service
	Services      []Service // all of the namespace, for "did you mean" and claims

	// Deployments are those that DeploymentsOf picks.
	Deployments []Deployment
	// VirtualServices are, of every watched namespace, those that lead to the
	// Service, or to another one that selects its Deployments' pods, or carry
	// their state; and those that have a host in common with one of these or
	// delegate to one.
	VirtualServices  []VirtualService
	DestinationRules []DestinationRule // of every watched namespace, whose host may mean the Service
	NamespaceLabels  map[string]string // the Service's namespace's
	History          []canary.Release  // newest first
	RootNamespace    string            // Istio's, "istio-system"
}

// Service is a Kubernetes Service.
type Service struct {
	Name, UID string
	Selector  map[string]string
	Ports     []string // names or "number/protocol", for findings
	Headless  bool
}

// Deployment is a Kubernetes Deployment, reduced.
type Deployment struct {
	Name, UID      string
	Created        time.Time
	Annotations    map[string]string // serin.dev/ ones only
	TemplateLabels map[string]string
	TemplateHash   string    // hash of spec.template
	Replicas       int       // wanted
	Ready          int       // status.readyReplicas
	Complete       bool      // observedGeneration current, updated = available = replicas >= 1
	ReplicaSetAt   time.Time // creation of the ReplicaSet of the present template; zero if unknown
	Pods           []Pod     // of the present template; only read for tracks of active rollouts or candidates
}

// Pod is a pod, reduced.
type Pod struct {
	Name     string
	Ready    bool
	Restarts int
	Waiting  string   // reason of a waiting container: CrashLoopBackOff, ImagePullBackOff, ...
	Message  string   // its message, or the pod's unschedulable condition
	Digests  []string // image digests
}

// VirtualService is an Istio VirtualService.
type VirtualService struct {
	Key             canary.ObjectKey
	ResourceVersion string
	Created         time.Time
	// Doc is the whole object as a JSON tree (float64/int64 numbers as decoded
	// by k8s.io/apimachinery's unstructured JSON: int64 for integers). Shared:
	// never modified, copy before an edit.
	Doc map[string]any
}

// DestinationRule is an Istio DestinationRule, reduced.
type DestinationRule struct {
	Key      canary.ObjectKey
	Host     string
	ExportTo []string
	Subsets  []Subset
}

// Subset is a named set of labels of a host.
type Subset struct {
	Name   string
	Labels map[string]string
}
