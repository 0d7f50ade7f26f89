package agent

import (
	"context"
	"fmt"
	"os"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"serin.dev/serin/e2e/mesh"
)

// heartbeatEvery is how often the node's lease is renewed.
const heartbeatEvery = 10 * time.Second

// register makes the node, and makes it schedulable: the API server gives each
// new node a taint that elsewhere the node controller takes away.
func (a *Agent) register(ctx context.Context) error {
	if _, err := a.client.CoreV1().Nodes().Create(ctx, nodeObject(metav1.Now()), metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("register the node: %w", err)
	}
	_, err := a.client.CoreV1().Nodes().Patch(ctx, NodeName, types.MergePatchType, []byte(`{"spec":{"taints":null}}`), metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("make the node schedulable: %w", err)
	}
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: NodeName, Namespace: corev1.NamespaceNodeLease},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: new(NodeName), LeaseDurationSeconds: new(int32(40)), RenewTime: new(metav1.NowMicro())},
	}
	leases := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: corev1.NamespaceNodeLease}}
	// The API server makes this namespace too, some time after its start.
	_, _ = a.client.CoreV1().Namespaces().Create(ctx, leases, metav1.CreateOptions{})
	if _, err := a.client.CoordinationV1().Leases(corev1.NamespaceNodeLease).Create(ctx, lease, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("make the node's lease: %w", err)
	}
	return nil
}

// nodeObject is a node with room for any pod: what the pods really use is up
// to the machine.
func nodeObject(now metav1.Time) *corev1.Node {
	room := corev1.ResourceList{
		corev1.ResourceCPU:              resource.MustParse("1000"),
		corev1.ResourceMemory:           resource.MustParse("4Ti"),
		corev1.ResourceEphemeralStorage: resource.MustParse("4Ti"),
		corev1.ResourcePods:             resource.MustParse("10000"),
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: NodeName, Labels: map[string]string{
			corev1.LabelHostname: NodeName, corev1.LabelOSStable: "linux",
		}},
		Status: corev1.NodeStatus{
			Capacity: room, Allocatable: room,
			Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: mesh.NodeIP}, {Type: corev1.NodeHostName, Address: NodeName}},
			Conditions: []corev1.NodeCondition{{
				Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "AgentReady", Message: "pods run as local processes",
				LastHeartbeatTime: now, LastTransitionTime: now,
			}},
			DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: MetricsPort}},
			NodeInfo:        corev1.NodeSystemInfo{KubeletVersion: "v1.36.3", OperatingSystem: "linux", ContainerRuntimeVersion: "processes://1"},
		},
	}
}

// heartbeat renews the node's lease.
func (a *Agent) heartbeat(ctx context.Context) {
	tick := time.NewTicker(heartbeatEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			patch := fmt.Appendf(nil, `{"spec":{"renewTime":%q}}`, now.UTC().Format(metav1.RFC3339Micro))
			_, err := a.client.CoordinationV1().Leases(corev1.NamespaceNodeLease).Patch(ctx, NodeName, types.MergePatchType, patch, metav1.PatchOptions{})
			if err != nil && ctx.Err() == nil {
				fmt.Fprintln(os.Stderr, "agent: renew the node's lease:", err)
			}
		}
	}
}
