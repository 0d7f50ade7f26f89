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
	// CanaryPods is how many pods of canary Deployments of ours there are, with
	// those that are going.
	CanaryPods int
	// VirtualServices are, of every watched namespace, those that lead to the
	// Service, or to another one that selects its Deployments' pods, or carry
	// their state; and those that have a host in common with one of these or
	// delegate to one.
	VirtualServices  []VirtualService
	DestinationRules []DestinationRule // of every watched namespace, whose host may mean the Service
	NamespaceLabels  map[string]string // the Service's namespace's
	History          []canary.Release  // newest first
	Around           Around
	RootNamespace    string // Istio's, "istio-system"
}

// Service is a Kubernetes Service.
type Service struct {
	Name, UID string
	Selector  map[string]string
	Ports     []string // names or "number/protocol", for findings
	Headless  bool
	Type      string   // ClusterIP, NodePort, LoadBalancer, ExternalName
	Streams   []string // of Ports those that are not HTTP by name or appProtocol, as Istio reads them
	// Target is where pods take the requests of the first port that is HTTP: a number, or
	// the name of a container's port. Empty: no port is HTTP.
	Target string
}

// Around is what of a namespace bears on a Deployment that is updated in place.
// It is only read where a release in place may begin.
type Around struct {
	Autoscalers []Counter // HorizontalPodAutoscalers
	Budgets     []Counter // PodDisruptionBudgets
	Quotas      []Quota
	// Guard tells what holds a changed template back; see the constants.
	Guard string
}

// What may be known of the guard.
const (
	GuardUnknown = ""       // not looked at
	GuardThere   = "there"  // installed and bound
	GuardAbsent  = "absent" // not installed
	GuardOff     = "off"    // the operator has not switched in-place mode on
	GuardPause   = "pause"  // a standing pause: none is needed
)

// Counter is an object that counts pods by labels.
type Counter struct {
	Key      canary.ObjectKey
	Selector map[string]string // of a budget
	Fixed    bool              // of a budget: it allows a number of pods to be away, however many there are
	Target   string            // of an autoscaler: the Deployment's name
}

// Quota is what a ResourceQuota leaves, for what a pod asks for; -1: no limit.
type Quota struct {
	Key  canary.ObjectKey
	Left map[string]int64 // "pods", "requests.cpu" (thousandths), "requests.memory" (bytes), "limits.cpu", "limits.memory"
}

// Deployment is a Kubernetes Deployment, reduced.
type Deployment struct {
	Name, UID      string
	Created        time.Time
	Annotations    map[string]string // serin.dev/ ones only
	TemplateLabels map[string]string
	TemplateHash   string         // hash of spec.template
	Content        string         // hash of spec.template without its labels
	Images         []canary.Image // of spec.template, without digests
	PortNames      map[string]int // of its containers' named ports, their numbers
	Replicas       int            // wanted
	Ready          int            // status.readyReplicas
	Complete       bool           // observedGeneration current, updated = available = replicas >= 1
	ReplicaSetAt   time.Time      // creation of the ReplicaSet of the present template; zero if unknown
	Pods           []Pod          // of the present template; only read for tracks of active rollouts or candidates

	ResourceVersion string
	Observed        bool // the status speaks of the present spec
	Paused          bool // spec.paused
	// Held tells that it was the guard that paused it, by its mark; with a standing
	// pause any pause is.
	Held bool
	// PauseOwner is the field manager whose server-side apply names spec.paused;
	// empty: none does.
	PauseOwner string
	// CloneOf names the Deployment whose canary this is; empty for the user's own.
	CloneOf string
	// CloneTemplate is the hash of the template that a canary was made of.
	CloneTemplate string
	// Doc is the whole object as a JSON tree, of opted-in Deployments and canaries;
	// nil of others. Shared: never modified.
	Doc map[string]any
	// Sets are its ReplicaSets with pods, newest first; only of opted-in
	// Deployments, and only where in-place mode is switched on.
	Sets []ReplicaSet
}

// ReplicaSet is a ReplicaSet of a Deployment, reduced.
type ReplicaSet struct {
	Name         string
	Hash         string // pod-template-hash of its pods
	TemplateHash string // as Deployment.TemplateHash, of its template without that label
	Created      time.Time
	Replicas     int // wanted
	Ready        int
	Pods         []Pod
	Template     map[string]any // as a JSON tree, without the label pod-template-hash
}

// Pod is a pod, reduced.
type Pod struct {
	Name     string
	Ready    bool
	Since    time.Time // when it became ready, to the second; zero when it isn't
	Restarts int
	Waiting  string   // reason of a waiting container: CrashLoopBackOff, ImagePullBackOff, ...
	Message  string   // its message, or the pod's unschedulable condition
	Digests  []string // image digests
	Killed   int      // containers that were last ended for want of memory
	IP       string   // empty until it has one
	// Images are the digests by container, like sha256:...; nil where none is reported.
	Images map[string]string
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
	Selected bool // it has a workloadSelector: only some clients go by it

	ResourceVersion string
	// Doc is the whole object as a JSON tree. Shared: never modified.
	Doc map[string]any
}

// Subset is a named set of labels of a host.
type Subset struct {
	Name   string
	Labels map[string]string
}
