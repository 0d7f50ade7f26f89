package scenarios

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"serin.dev/serin/e2e/load"
)

// A rollback is verified by looking: at the endpoints, the smoke checks and the series
// of stable, and at the team's own program.
func verifiedRollback(t *testing.T, name string) {
	gate, config := gatekeeping(t, name, "127.0.0.1:19811")
	gate.says(t, "after-rollback", "wait", "The orders are compared")
	st := open(t, name, script{config: config, sidecars: true, tolerates: by("v2", "")})
	st.release("25%/10m, 100%", settings{"ERROR_RATE": "1"}, settings{"smoke": "GET /healthz contains ok", "gates": "data@after-rollback"})
	st.reachesPhase("RollingBack")
	st.settles(st.users, "v1")
	gate.says(t, "after-rollback", "allow", "All orders have invoices")
	st.reachesPhase("RolledBack")
	st.toldOf("RollbackVerified", "endpoints", "smoke checks pass", "series go on", "gates after a rollback allow")
	st.close("v1", "v1")
}

// What fails is named, and the routes stay where users are served.
func unverifiedRollback(t *testing.T, name string) {
	gate, config := gatekeeping(t, name, "127.0.0.1:19812")
	gate.says(t, "after-rollback", "deny", "412 orders have no invoice")
	st := open(t, name, script{config: config, tolerates: by("v2", "")})
	st.release("25%/10m, 100%", settings{"ERROR_RATE": "1"}, settings{"gates": "data@after-rollback"})
	st.reachesPhase("RolledBack")
	st.toldOf("RollbackUnverified", "412 orders have no invoice")
	st.close("v1", "v1")
}

// A version that its smoke checks refuse never gets a user.
func smokeRefuses(t *testing.T, name string) {
	st := open(t, name, script{})
	st.release(quick, settings{"STATUS": "500"}, settings{"smoke": "GET /healthz; GET /orders 200 contains v2"})
	s := st.reachesPhase("RolledBack")
	if s.Reason != "SmokeFailed" {
		t.Errorf("it went back because of %s: %s", s.Reason, s.Message)
	}
	st.toldOf("SmokeFailed", "GET /orders", "500")
	st.onlyBy("v1", st.users.Records())
	// What passes them is released.
	st.release(quick, settings{"AGAIN": "1"}, settings{"smoke": "GET /healthz; GET /orders 200 contains v2"})
	st.another(s, "Succeeded")
	st.close("v2", "v2")
}

// A person's yes before the first user and before everybody, and whose it was.
func approvals(t *testing.T, name string) {
	st := open(t, name, script{})
	st.release(quick, nil, settings{"approval": "test, promotion"})
	st.toldOf("AwaitingApproval", "Step 1 (10%) waits for approval")
	st.onlyBy("v1", st.answered(st.users, 50))
	st.command("approve #1")
	st.reachesWeight(50)
	st.toldOf("Approved", "Step 1 (10%) was approved")
	st.toldOf("AwaitingApproval", "Step 3 (100%) waits for approval")
	st.command("approve #2")
	st.reachesPhase("Succeeded")
	st.close("v2", "v2")
}

// A gate that can't be reached holds, one that says wait holds, one that denies ends
// the release; a rollback that a person orders is asked about.
func gates(t *testing.T, name string) {
	gate, config := gatekeeping(t, name, "127.0.0.1:19813")
	st := open(t, name, script{config: config})
	st.release(long, nil, settings{"gates": "data@before-start+before-step+before-promotion+before-rollback"})
	st.toldOf("GateUnreachable", "can't be reached")
	gate.says(t, "before-start", "allow", "")
	gate.says(t, "before-step", "wait", "The migration runs")
	st.toldOf("AwaitingGate", "the gate data does not let the release go on yet")
	st.onlyBy("v1", st.answered(st.users, 50))
	gate.says(t, "before-step", "allow", "")
	st.reachesWeight(25)
	gate.says(t, "before-rollback", "deny", "The migration can't be undone")
	st.command("rollback #1")
	st.toldOf("CommandIgnored", "The migration can't be undone")
	gate.says(t, "before-promotion", "deny", "The schema is not there yet")
	st.command("promote #2")
	s := st.reachesPhase("RolledBack")
	if s.Reason != "GateDenied" {
		t.Errorf("it went back because of %s: %s", s.Reason, s.Message)
	}
	st.close("v1", "v1")
}

// Outside of its hours nothing is released; within them it goes on.
func releaseHours(t *testing.T, name string) {
	day := func(in time.Duration) string { return time.Now().UTC().Add(in).Format("Mon") }
	config := fmt.Sprintf("gates: {never: {type: window, open: %q, zone: UTC}, now: {type: window, open: %q, zone: UTC}}\n",
		day(72*time.Hour)+" 09:00-16:00", day(-24*time.Hour)+" 00:00-24:00, "+day(0)+" 00:00-24:00, "+day(24*time.Hour)+" 00:00-24:00")
	st := open(t, name, script{config: config})
	st.release(quick, nil, settings{"gates": "never"})
	st.toldOf("AwaitingGate", "never")
	st.onlyBy("v1", st.answered(st.users, 50))
	st.release(quick, nil, settings{"gates": "now"})
	st.reachesPhase("Succeeded")
	st.close("v2", "v2")
}

// An alert that began after the release ends it; one from before only holds.
func alertEnds(t *testing.T, name string) {
	gate, _ := gatekeeping(t, name, "127.0.0.1:19814")
	gate.alerts(t, name, "OldTrouble")
	st := open(t, name, script{config: "alertmanager: {urls: [\"http://127.0.0.1:19814\"], interval: 1s}\n"})
	st.release(long, nil)
	st.toldOf("AlertActive", "alerts are active")
	st.onlyBy("v1", st.answered(st.users, 50))
	gate.alerts(t, name)
	st.reachesWeight(25)
	gate.alerts(t, name, "OrdersFail")
	s := st.reachesPhase("RolledBack")
	if s.Reason != "AlertBegan" {
		t.Errorf("it went back because of %s: %s", s.Reason, s.Message)
	}
	st.toldOf("AlertBegan", "OrdersFail", "Orders fail")
	st.close("v1", "v1")
}

// The weight goes where the pods carry it, and on when there are more.
func capacity(t *testing.T, name string) {
	st := open(t, name, script{})
	st.kubectl("scale", "deployment/web-v1", "--replicas=4")
	st.kubectl("rollout", "status", "deployment/web-v1", "--timeout=2m")
	st.release("50%/2s, 100%/2s", nil, settings{"capacity": "1x"})
	st.reachesWeight(25)
	st.until("it says why", func() error {
		body, err := get(st.Context(), st.controller.MetricsURL+"/metrics")
		if err == nil && !containsAll(body, []string{`reason="CapacityShort"`}) {
			err = errors.New("it does not")
		}
		return err
	})
	st.kubectl("scale", "deployment/web-v2", "--replicas=4")
	st.reachesWeight(50)
	st.reachesPhase("Succeeded")
	st.close("v2", "v2")
}

// A container that ends again and again is a breach before Kubernetes calls it a
// crash loop.
func restarting(t *testing.T, name string) {
	st := open(t, name, script{tolerates: by("v2", "")})
	st.release("25%/10m, 100%", settings{"CRASH_AFTER": "6s"}, settings{"max-restarts": "1"})
	s := st.reachesPhase("RolledBack")
	switch s.Reason { // whatever is seen first
	case "CanaryRestarting", "CanaryUnavailable", "CanaryStarved", "ErrorRateTooHigh":
	default:
		t.Errorf("it went back because of %s: %s", s.Reason, s.Message)
	}
	st.close("v1", "v1")
}

// An image without a name that stays is not released.
func unnamedImage(t *testing.T, name string) {
	st := open(t, name, script{})
	st.release(quick, settings{"VERSION": "latest"})
	st.toldOf("ImageWithoutName", "has the tag latest")
	st.onlyBy("v1", st.answered(st.users, 50))
	st.release(quick, nil)
	st.reachesPhase("Succeeded")
	st.close("v2", "v2")
}

// What already runs is no release: the same images by digest, in the same template.
// Another setting is one.
func sameVersion(t *testing.T, name string) {
	st := open(t, name, script{})
	st.release(quick, settings{"VERSION": "v1"})
	st.told("SameVersion")
	st.onlyBy("v1", st.answered(st.users, 50))
	st.release(quick, settings{"VERSION": "v1", "LATENCY": "1ms"})
	st.reachesPhase("Succeeded")
	st.close("v2", "v1")
}

// Stable's autoscaler would take the pods away on which a rollback lands: that is told.
func stableShrinks(t *testing.T, name string) {
	st := open(t, name, script{more: fmt.Sprintf(`
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web-v1, namespace: %s}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web-v1}
  minReplicas: 1
  maxReplicas: 4
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}]
`, name)})
	st.kubectl("scale", "deployment/web-v1", "--replicas=2")
	st.kubectl("rollout", "status", "deployment/web-v1", "--timeout=2m")
	st.release(quick, nil)
	st.toldOf("AutoscalerShrinksStable", "web-v1", "to 1")
	st.reachesPhase("Succeeded")
	st.close("v2", "v2")
}

// Clients that bypass the routes still reach a version after a rollback: that is told
// until it is over.
func residualTraffic(t *testing.T, name string) {
	st := open(t, name, script{sidecars: true, tolerates: by("v2", "")})
	st.release(long, nil)
	st.reachesWeight(25)
	st.arrives("v2")
	bypass := st.load(load.Options{Rate: 5, URL: st.box.MeshURL(), Host: "web." + name}) // where no route leads to the Service
	st.answered(bypass, 10)
	st.command("abort")
	st.reachesPhase("RolledBack")
	st.toldOf("RollbackUnverified", "still answers requests")
	st.toldOf("ResidualTraffic", "must not be scaled down yet")
	bypass.Stop()
	st.toldOf("TrafficGone", "web-v2 gets no requests any more")
	st.close("v1", "v1")
}

// The old stable is called removable when no traffic has reached it for a minute.
func removable(t *testing.T, name string) {
	st := open(t, name, script{})
	st.release(quick, nil)
	st.reachesPhase("Succeeded")
	st.toldOf("TrafficGone", "web-v1 gets no requests any more")
	st.close("v2", "v2")
}
