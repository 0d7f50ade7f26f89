package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/scheme"
)

// podsPerTrack is how many pods each Deployment has.
const podsPerTrack = 10

// unit is a Service with what belongs to it: one Deployment, and while it is
// released another.
type unit struct {
	number          int
	namespace, name string
}

func (u unit) stable() string { return u.name + "-blue" }
func (u unit) canary() string { return u.name + "-green" }
func (u unit) key() string    { return u.namespace + "/" + u.name }

func units(deployments, namespaces int) []unit {
	all := make([]unit, deployments)
	for i := range all {
		all[i] = unit{number: i, namespace: fmt.Sprintf("team-%03d", i%namespaces), name: fmt.Sprintf("app-%05d", i)}
	}
	return all
}

// maker makes objects, and the bytes that the API server keeps of them.
type maker struct {
	born  time.Time
	steps string
	codec *protobuf.Serializer
}

func newMaker(steps string) *maker {
	return &maker{
		born: time.Now().Add(-time.Hour).Truncate(time.Second), steps: steps,
		codec: protobuf.NewSerializer(scheme.Scheme, scheme.Scheme),
	}
}

// uid is an object's, the same each time.
func uid(kind, namespace, name string) types.UID {
	s := sha256.Sum256([]byte(kind + "/" + namespace + "/" + name))
	return types.UID(fmt.Sprintf("%x-%x-%x-%x-%x", s[:4], s[4:6], s[6:8], s[8:10], s[10:16]))
}

func (m *maker) meta(kind, namespace, name string, labels map[string]string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: namespace, Name: name, UID: uid(kind, namespace, name), Generation: 1, Labels: labels,
		CreationTimestamp: metav1.NewTime(m.born),
	}
}

// owned are the fields that somebody manages, as long as they usually are.
func owned(manager, text string) []metav1.ManagedFieldsEntry {
	at := metav1.Now()
	return []metav1.ManagedFieldsEntry{{
		Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: "v1", Time: &at,
		FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(text),
	}}
}

const (
	deploymentFields = `{"f:metadata":{"f:annotations":{".":{},"f:serin.dev/canary":{},"f:serin.dev/steps":{}},"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:progressDeadlineSeconds":{},"f:replicas":{},"f:revisionHistoryLimit":{},"f:selector":{},"f:strategy":{"f:rollingUpdate":{".":{},"f:maxSurge":{},"f:maxUnavailable":{}},"f:type":{}},"f:template":{"f:metadata":{"f:labels":{".":{},"f:app":{},"f:slot":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"app\"}":{".":{},"f:env":{},"f:image":{},"f:imagePullPolicy":{},"f:name":{},"f:ports":{},"f:readinessProbe":{},"f:resources":{".":{},"f:limits":{},"f:requests":{}},"f:terminationMessagePath":{},"f:terminationMessagePolicy":{}}},"f:dnsPolicy":{},"f:restartPolicy":{},"f:schedulerName":{},"f:securityContext":{},"f:terminationGracePeriodSeconds":{}}}}}`
	podFields        = `{"f:metadata":{"f:annotations":{},"f:generateName":{},"f:labels":{".":{},"f:app":{},"f:pod-template-hash":{},"f:slot":{}},"f:ownerReferences":{".":{},"k:{\"uid\":\"d9607e19-f88f-11e6-a518-42010a800195\"}":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"app\"}":{".":{},"f:env":{},"f:image":{},"f:imagePullPolicy":{},"f:name":{},"f:ports":{},"f:resources":{}},"k:{\"name\":\"istio-proxy\"}":{".":{},"f:args":{},"f:env":{},"f:image":{},"f:name":{},"f:ports":{},"f:readinessProbe":{},"f:resources":{},"f:securityContext":{},"f:volumeMounts":{}}},"f:dnsPolicy":{},"f:enableServiceLinks":{},"f:restartPolicy":{},"f:schedulerName":{},"f:securityContext":{},"f:terminationGracePeriodSeconds":{},"f:volumes":{}},"f:status":{"f:conditions":{},"f:containerStatuses":{},"f:hostIP":{},"f:phase":{},"f:podIP":{},"f:podIPs":{},"f:startTime":{}}}`
)

func (m *maker) template(u unit, slot string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": u.name, "slot": slot}},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyAlways, DNSPolicy: corev1.DNSClusterFirst, SchedulerName: "default-scheduler",
			TerminationGracePeriodSeconds: new(int64(30)), SecurityContext: &corev1.PodSecurityContext{},
			Containers: []corev1.Container{container("app", "registry.example/"+u.name+":"+slot, 8)},
		},
	}
}

func container(name, image string, variables int) corev1.Container {
	c := corev1.Container{
		Name: name, Image: image, ImagePullPolicy: corev1.PullIfNotPresent,
		TerminationMessagePath: "/dev/termination-log", TerminationMessagePolicy: corev1.TerminationMessageReadFile,
		Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080, Protocol: corev1.ProtocolTCP}},
		ReadinessProbe: &corev1.Probe{
			ProbeHandler:   corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromInt32(8080), Scheme: "HTTP"}},
			TimeoutSeconds: 1, PeriodSeconds: 10, SuccessThreshold: 1, FailureThreshold: 3,
		},
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{"cpu": resource.MustParse("100m"), "memory": resource.MustParse("128Mi")},
			Limits:   corev1.ResourceList{"memory": resource.MustParse("256Mi")},
		},
	}
	for i := range variables {
		c.Env = append(c.Env, corev1.EnvVar{Name: fmt.Sprintf("SETTING_%02d", i), Value: fmt.Sprintf("a value of %s, as they are, %d", name, i)})
	}
	return c
}

func (m *maker) deployment(u unit, slot string, born time.Time) *appsv1.Deployment {
	name := u.name + "-" + slot
	meta := m.meta("Deployment", u.namespace, name, map[string]string{"app": u.name})
	meta.CreationTimestamp = metav1.NewTime(born)
	meta.Annotations = map[string]string{
		"deployment.kubernetes.io/revision": "1", "serin.dev/canary": "true", "serin.dev/steps": m.steps, "serin.dev/step-deadline": "12h",
	}
	meta.ManagedFields = owned("kubectl", deploymentFields)
	return &appsv1.Deployment{
		TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}, ObjectMeta: meta,
		Spec: appsv1.DeploymentSpec{
			Replicas: new(int32(podsPerTrack)), RevisionHistoryLimit: new(int32(10)), ProgressDeadlineSeconds: new(int32(600)),
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": u.name, "slot": slot}},
			Template: m.template(u, slot),
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType, RollingUpdate: &appsv1.RollingUpdateDeployment{
				MaxSurge: new(intstr.FromString("25%")), MaxUnavailable: new(intstr.FromString("25%")),
			}},
		},
		Status: appsv1.DeploymentStatus{
			ObservedGeneration: 1, Replicas: podsPerTrack, UpdatedReplicas: podsPerTrack, ReadyReplicas: podsPerTrack, AvailableReplicas: podsPerTrack,
			Conditions: []appsv1.DeploymentCondition{
				{Type: appsv1.DeploymentAvailable, Status: corev1.ConditionTrue, Reason: "MinimumReplicasAvailable", LastUpdateTime: metav1.NewTime(born), LastTransitionTime: metav1.NewTime(born)},
				{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionTrue, Reason: "NewReplicaSetAvailable", LastUpdateTime: metav1.NewTime(born), LastTransitionTime: metav1.NewTime(born)},
			},
		},
	}
}

// hash is that of a pod template, as the deployment controller's label.
func hash(u unit, slot string) string { return string(uid("template", u.name, slot)[:8]) }

func owner(kind, namespace, name string) []metav1.OwnerReference {
	return []metav1.OwnerReference{{
		APIVersion: "apps/v1", Kind: kind, Name: name, UID: uid(kind, namespace, name), Controller: new(true), BlockOwnerDeletion: new(true),
	}}
}

func (m *maker) replicaSet(u unit, slot string, born time.Time) *appsv1.ReplicaSet {
	name := u.name + "-" + slot
	template := m.template(u, slot)
	template.Labels["pod-template-hash"] = hash(u, slot)
	meta := m.meta("ReplicaSet", u.namespace, name+"-"+hash(u, slot), template.Labels)
	meta.CreationTimestamp = metav1.NewTime(born)
	meta.OwnerReferences = owner("Deployment", u.namespace, name)
	meta.Annotations = map[string]string{"deployment.kubernetes.io/revision": "1"}
	meta.ManagedFields = owned("kube-controller-manager", deploymentFields)
	return &appsv1.ReplicaSet{
		TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "ReplicaSet"}, ObjectMeta: meta,
		Spec:   appsv1.ReplicaSetSpec{Replicas: new(int32(podsPerTrack)), Selector: &metav1.LabelSelector{MatchLabels: template.Labels}, Template: template},
		Status: appsv1.ReplicaSetStatus{ObservedGeneration: 1, Replicas: podsPerTrack, FullyLabeledReplicas: podsPerTrack, ReadyReplicas: podsPerTrack, AvailableReplicas: podsPerTrack},
	}
}

func podName(u unit, slot string, n int) string {
	return fmt.Sprintf("%s-%s-%s-%s", u.name, slot, hash(u, slot), uid("pod", u.name+slot, fmt.Sprint(n))[:5])
}

func podNames(u unit, slot string) []string {
	var names []string
	for n := range podsPerTrack {
		names = append(names, podName(u, slot, n))
	}
	return names
}

func (m *maker) pod(u unit, slot string, n int, born time.Time) *corev1.Pod {
	set := u.name + "-" + slot + "-" + hash(u, slot)
	meta := m.meta("Pod", u.namespace, podName(u, slot, n), map[string]string{"app": u.name, "slot": slot, "pod-template-hash": hash(u, slot)})
	meta.CreationTimestamp = metav1.NewTime(born)
	meta.GenerateName, meta.OwnerReferences = set+"-", owner("ReplicaSet", u.namespace, set)
	meta.ManagedFields = owned("kubelet", podFields)
	spec := m.template(u, slot).Spec
	spec.NodeName, spec.ServiceAccountName = fmt.Sprintf("node-%03d", u.number%500), "default"
	spec.Containers = append(spec.Containers, container("istio-proxy", "docker.io/istio/proxyv2:1.30.0", 24))
	at := metav1.NewTime(born)
	status := corev1.PodStatus{Phase: corev1.PodRunning, HostIP: "10.0.0.1", PodIP: u.podAddress(n), StartTime: &at, QOSClass: corev1.PodQOSBurstable}
	for _, kind := range []corev1.PodConditionType{corev1.PodScheduled, corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady} {
		status.Conditions = append(status.Conditions, corev1.PodCondition{Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: at})
	}
	for _, c := range spec.Containers {
		status.ContainerStatuses = append(status.ContainerStatuses, corev1.ContainerStatus{
			Name: c.Name, Ready: true, Started: new(true), Image: c.Image, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: at}},
			ImageID:     c.Image + "@sha256:" + fmt.Sprintf("%064x", u.number),
			ContainerID: "containerd://" + fmt.Sprintf("%064x", n),
		})
	}
	return &corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: meta, Spec: spec, Status: status}
}

func (u unit) podAddress(n int) string {
	return fmt.Sprintf("10.%d.%d.%d", u.number>>8, u.number&255, n+1)
}

// endpoints are those of the Service that are a version's pods.
func (m *maker) endpoints(u unit, slot string, born time.Time) *discoveryv1.EndpointSlice {
	meta := m.meta("EndpointSlice", u.namespace, u.name+"-"+slot, map[string]string{
		"app": u.name, discoveryv1.LabelServiceName: u.name, discoveryv1.LabelManagedBy: "endpointslice-controller.k8s.io",
	})
	meta.CreationTimestamp = metav1.NewTime(born)
	slice := &discoveryv1.EndpointSlice{
		TypeMeta: metav1.TypeMeta{APIVersion: "discovery.k8s.io/v1", Kind: "EndpointSlice"}, ObjectMeta: meta, AddressType: discoveryv1.AddressTypeIPv4,
		Ports: []discoveryv1.EndpointPort{{Name: new("http"), Port: new(int32(8080)), Protocol: new(corev1.ProtocolTCP)}},
	}
	for n := range podsPerTrack {
		name := podName(u, slot, n)
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{u.podAddress(n)}, Conditions: discoveryv1.EndpointConditions{Ready: new(true), Serving: new(true), Terminating: new(false)},
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: u.namespace, Name: name, UID: uid("Pod", u.namespace, name)},
		})
	}
	return slice
}

func (u unit) address() string { return fmt.Sprintf("10.96.%d.%d", 1+u.number/250, 1+u.number%250) }

// taken is the mark of a Service's address, without which the API server finds
// that something is wrong with it.
func (m *maker) taken(u unit) *networkingv1.IPAddress {
	meta := m.meta("IPAddress", "", u.address(), map[string]string{
		networkingv1.LabelIPAddressFamily: "IPv4", networkingv1.LabelManagedBy: "ipallocator.k8s.io",
	})
	return &networkingv1.IPAddress{
		TypeMeta: metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "IPAddress"}, ObjectMeta: meta,
		Spec: networkingv1.IPAddressSpec{ParentRef: &networkingv1.ParentReference{Resource: "services", Namespace: u.namespace, Name: u.name}},
	}
}

func (m *maker) service(u unit) *corev1.Service {
	ip := u.address()
	return &corev1.Service{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Service"}, ObjectMeta: m.meta("Service", u.namespace, u.name, map[string]string{"app": u.name}),
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeClusterIP, Selector: map[string]string{"app": u.name}, SessionAffinity: corev1.ServiceAffinityNone,
			ClusterIP: ip, ClusterIPs: []string{ip}, IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol},
			IPFamilyPolicy: new(corev1.IPFamilyPolicySingleStack), InternalTrafficPolicy: new(corev1.ServiceInternalTrafficPolicyCluster),
			Ports: []corev1.ServicePort{{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromInt32(8080)}},
		},
	}
}

// tree is an Istio object.
func (m *maker) tree(u unit, kind string, spec map[string]any) map[string]any {
	return map[string]any{
		"apiVersion": "networking.istio.io/v1", "kind": kind, "spec": spec,
		"metadata": map[string]any{
			"namespace": u.namespace, "name": u.name, "uid": string(uid(kind, u.namespace, u.name)), "generation": 1,
			"creationTimestamp": m.born.UTC().Format(time.RFC3339), "labels": map[string]any{"app": u.name},
			"managedFields": []any{map[string]any{
				"manager": "kubectl", "operation": "Update", "apiVersion": "networking.istio.io/v1", "time": m.born.UTC().Format(time.RFC3339),
				"fieldsType": "FieldsV1", "fieldsV1": json.RawMessage(`{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{".":{},"f:gateways":{},"f:host":{},"f:hosts":{},"f:http":{},"f:subsets":{}}}`),
			}},
		},
	}
}

func (m *maker) rule(u unit) map[string]any {
	subset := func(name string) any {
		return map[string]any{"name": name, "labels": map[string]any{"slot": name}}
	}
	return m.tree(u, "DestinationRule", map[string]any{"host": u.name, "subsets": []any{subset("blue"), subset("green")}})
}

// routes are five: four by path and one for the rest, each split.
func (m *maker) routes(u unit) map[string]any {
	var http []any
	for _, path := range []string{"/api/orders", "/api/baskets", "/api/customers", "/static", ""} {
		route := map[string]any{
			"timeout": "15s", "retries": map[string]any{"attempts": 2, "perTryTimeout": "5s", "retryOn": "connect-failure,refused-stream"},
			"route": []any{
				map[string]any{"destination": map[string]any{"host": u.name, "subset": "blue", "port": map[string]any{"number": 80}}, "weight": 100},
				map[string]any{"destination": map[string]any{"host": u.name, "subset": "green", "port": map[string]any{"number": 80}}, "weight": 0},
			},
		}
		if path != "" {
			route["name"], route["match"] = path[1:], []any{map[string]any{"uri": map[string]any{"prefix": path}}}
		}
		http = append(http, route)
	}
	return m.tree(u, "VirtualService", map[string]any{
		"hosts": []any{u.name, u.name + "." + u.namespace + ".example"}, "gateways": []any{"istio-system/gateway", "mesh"}, "http": http,
	})
}

// kept is an object as the API server keeps it.
func (m *maker) kept(folder, namespace, name string, o any) record {
	r := record{Key: []byte("/registry/" + folder + "/" + namespace + "/" + name)}
	if typed, ok := o.(runtime.Object); ok {
		var out bytes.Buffer
		must(m.codec.Encode(typed, &out))
		r.Value = out.Bytes()
		return r
	}
	var err error
	r.Value, err = json.Marshal(o)
	must(err)
	return r
}

// must is for what can't fail: these objects are all of this file.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// version is one version of a unit: a Deployment with all that runs of it.
func (m *maker) version(u unit, slot string, born time.Time, give func(record)) {
	for n := range podsPerTrack {
		give(m.kept("pods", u.namespace, podName(u, slot, n), m.pod(u, slot, n, born)))
	}
	give(m.kept("endpointslices", u.namespace, u.name+"-"+slot, m.endpoints(u, slot, born)))
	set := m.replicaSet(u, slot, born)
	give(m.kept("replicasets", u.namespace, set.Name, set))
	give(m.kept("deployments", u.namespace, u.name+"-"+slot, m.deployment(u, slot, born)))
}

// around is what is there whether a unit is released or not.
func (m *maker) around(u unit, give func(record)) {
	address := m.kept("ipaddresses", "", u.address(), m.taken(u))
	address.Key = []byte("/registry/ipaddresses/" + u.address())
	give(address)
	give(m.kept("services/specs", u.namespace, u.name, m.service(u)))
	give(m.kept("networking.istio.io/destinationrules", u.namespace, u.name, m.rule(u)))
	give(m.kept("networking.istio.io/virtualservices", u.namespace, u.name, m.routes(u)))
}

// space is a unit's namespace.
func (m *maker) space(name string) record {
	n := &corev1.Namespace{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: m.meta("Namespace", "", name, map[string]string{"kubernetes.io/metadata.name": name, "istio-injection": "enabled"}),
		Spec: corev1.NamespaceSpec{Finalizers: []corev1.FinalizerName{corev1.FinalizerKubernetes}}, Status: corev1.NamespaceStatus{Phase: corev1.NamespaceActive},
	}
	n.Generation = 0
	r := m.kept("namespaces", "", name, n)
	r.Key = []byte("/registry/namespaces/" + name)
	return r
}
