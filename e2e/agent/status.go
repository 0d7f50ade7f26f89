package agent

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"serin.dev/serin/e2e/mesh"
)

// containerState is how a container is.
type containerState struct {
	name, image      string
	imageID          string // of the process that runs or ran last; empty before the first
	waiting, message string // why there is no process; empty while there is one
	since            metav1.Time
	ready            bool
	restarts         int32
	last             *corev1.ContainerStateTerminated
}

// started tells that the process of an image runs since now.
func (s *containerState) started(now metav1.Time, imageID string) {
	s.imageID, s.waiting, s.message, s.since, s.ready = imageID, "", "", now, false
	if s.last != nil {
		s.restarts++
	}
}

// crashed tells how the process ended, and that it is started again: at once,
// or after a wait.
func (s *containerState) crashed(end corev1.ContainerStateTerminated, waits bool) {
	s.last, s.ready = &end, false
	if waits {
		s.waiting, s.message = "CrashLoopBackOff", "the container ended and waits to be started again"
	}
}

func (s containerState) status() corev1.ContainerStatus {
	running := s.waiting == ""
	c := corev1.ContainerStatus{
		Name: s.name, Image: s.image, ImageID: s.imageID, Ready: s.ready && running, Started: &running, RestartCount: s.restarts,
	}
	if running {
		c.State.Running = &corev1.ContainerStateRunning{StartedAt: s.since}
	} else {
		c.State.Waiting = &corev1.ContainerStateWaiting{Reason: s.waiting, Message: s.message}
	}
	if s.last != nil {
		c.LastTerminationState.Terminated = s.last
	}
	return c
}

// podStatus is the status of a pod whose status was last, from the states of
// its containers and whether its proxy is ready.
func podStatus(last corev1.PodStatus, ip string, containers []containerState, proxyReady bool, now metav1.Time) corev1.PodStatus {
	s := *last.DeepCopy()
	s.Phase = corev1.PodRunning
	s.HostIP, s.HostIPs = mesh.NodeIP, []corev1.HostIP{{IP: mesh.NodeIP}}
	s.PodIP, s.PodIPs = ip, []corev1.PodIP{{IP: ip}}
	if s.StartTime == nil {
		s.StartTime = &now
	}
	s.ContainerStatuses = nil
	ready := proxyReady
	for _, c := range containers {
		s.ContainerStatuses = append(s.ContainerStatuses, c.status())
		ready = ready && c.ready && c.waiting == ""
		if c.waiting != "" && c.last == nil {
			s.Phase = corev1.PodPending // it has never run
		}
	}
	set := func(t corev1.PodConditionType, holds bool) { s.Conditions = withCondition(s.Conditions, t, holds, now) }
	set(corev1.PodScheduled, true)
	set(corev1.PodReadyToStartContainers, true)
	set(corev1.PodInitialized, true)
	set(corev1.ContainersReady, ready)
	set(corev1.PodReady, ready)
	return s
}

// withCondition sets a condition; its transition time changes only with its
// status.
func withCondition(conditions []corev1.PodCondition, t corev1.PodConditionType, holds bool, now metav1.Time) []corev1.PodCondition {
	status, reason := corev1.ConditionTrue, ""
	if !holds {
		status, reason = corev1.ConditionFalse, "ContainersNotReady"
	}
	for i := range conditions {
		if c := &conditions[i]; c.Type == t {
			if c.Status != status {
				c.Status, c.Reason, c.LastTransitionTime = status, reason, now
			}
			return conditions
		}
	}
	return append(conditions, corev1.PodCondition{Type: t, Status: status, Reason: reason, LastTransitionTime: now})
}
