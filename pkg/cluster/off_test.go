package cluster

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"serin.dev/serin/pkg/topology"
)

// A release that was under way when in-place mode was switched off still knows
// which pods may have the users back.
func TestSwitchedOffInMidReleaseWhatRunsIsKnown(t *testing.T) {
	cache, s := inPlaceCache(t, Options{})
	s.lay(t, setOf("aaa", "web:1", "1", 2, 2, time.Hour))
	s.objects[podsPath+ofWeb+",serin.dev/track=canary"] = corev1.PodList{}
	held := single(t, all(paused, annotated(topology.HeldKey, topology.HeldValue), withImage("web:2")))
	fill(t, cache.deployments, cache.reduceDeployment, held)
	fill(t, cache.deployments, cache.reduceDeployment, single(t, canaryOf("web")))
	o, err := cache.Objects(t.Context(), shopWeb)
	if err != nil {
		t.Fatal(err)
	}
	if d, _ := topology.ByName(o, "web"); len(d.Sets) != 1 || d.Sets[0].Ready != 2 || d.Sets[0].TemplateHash == d.TemplateHash {
		t.Errorf("%+v", d)
	}
}
