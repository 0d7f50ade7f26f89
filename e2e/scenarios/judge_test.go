package scenarios

import (
	"strings"
	"testing"

	"serin.dev/serin/e2e/load"
	"serin.dev/serin/e2e/scenarios/invariant"
)

// A step that no bad version outlives: it goes back long before.
const bad = "5%/10m, 100%"

func allErrors(t *testing.T, name string) {
	st := open(t, name, script{tolerates: by("v2")})
	st.release(bad, settings{"ERROR_RATE": "1"})
	st.goesBack("ErrorRateTooHigh", "ErrorRateWorseThanStable")
}

func someErrors(t *testing.T, name string) {
	st := open(t, name, script{tolerates: by("v2")})
	st.release("25%/10m, 100%", settings{"ERROR_RATE": "0.2"})
	st.goesBack("ErrorRateTooHigh", "ErrorRateWorseThanStable")
}

func errorsOfFivePercent(t *testing.T, name string) {
	st := open(t, name, script{tolerates: by("v2")})
	st.release("25%/10m, 100%", settings{"ERROR_RATE": "0.05"})
	st.goesBack("ErrorRateTooHigh", "ErrorRateWorseThanStable")
}

// errorsOfTwoPercent is clearly bad and hard to see: it takes hundreds of
// requests.
func errorsOfTwoPercent(t *testing.T, name string) {
	st := open(t, name, script{tolerates: by("v2"), rate: 200})
	st.release("50%/10m, 100%", settings{"ERROR_RATE": "0.02"})
	st.goesBack("ErrorRateTooHigh", "ErrorRateWorseThanStable")
}

// errorsByThreshold is judged the classic way.
func errorsByThreshold(t *testing.T, name string) {
	st := open(t, name, script{tolerates: by("v2")})
	st.release("25%/10m, 100%", settings{"ERROR_RATE": "0.2"}, settings{"judge": "threshold"})
	st.goesBack("ErrorRateTooHigh")
}

func slow(t *testing.T, name string) {
	st := open(t, name, script{})
	st.release("25%/10m, 100%", settings{"SLOW_RATE": "0.2", "SLOW_LATENCY": "1500ms"}, settings{"max-p99": "500ms"})
	st.goesBack("LatencyTooHigh", "LatencyWorseThanStable")
}

// slowerThanStable keeps its limit, and is many times slower than stable.
func slowerThanStable(t *testing.T, name string) {
	st := open(t, name, script{})
	st.release("25%/10m, 100%", settings{"SLOW_RATE": "0.2", "SLOW_LATENCY": "700ms"}, settings{"max-p99": "10s, 3x"})
	st.goesBack("LatencyWorseThanStable")
}

// lateErrors pass the first look: the version does well for half a minute.
func lateErrors(t *testing.T, name string) {
	st := open(t, name, script{tolerates: by("v2")})
	st.release("25%/10m, 100%", settings{"ERROR_RATE": "0.5", "ERROR_SERVED": "30s"})
	st.reachesWeight(25)
	st.arrives("v2")
	st.goesBack("ErrorRateTooHigh", "ErrorRateWorseThanStable")
	if records := by("v2"); st.count(records) < 500 {
		t.Errorf("the version answered %d requests, want more than come in half a minute", st.count(records))
	}
}

// count counts the users' requests that are such.
func (st *stage) count(such func(load.Record) bool) int {
	n := 0
	for _, r := range st.users.Records() {
		if such(r) {
			n++
		}
	}
	return n
}

// deadAtOnce gives a dead version all users in its first step: there is nobody
// left to compare it with.
func deadAtOnce(t *testing.T, name string) {
	st := open(t, name, script{tolerates: by("v2")})
	st.release("100%/10m", settings{"ERROR_RATE": "1"})
	st.goesBack("ErrorRateTooHigh")
}

// beyondTheTimeout is slower than its route allows. Only the gateway knows: to
// the version's own proxies the clients have left.
func beyondTheTimeout(t *testing.T, name string) {
	st := open(t, name, script{sidecars: true, tolerates: by("v2", ""), routes: `
  - timeout: 500ms
    route:
    - {destination: {host: web, subset: v1}, weight: 100}
    - {destination: {host: web, subset: v2}, weight: 0}
`})
	st.release("25%/10m, 100%", settings{"LATENCY": "3s"})
	st.goesBack("ErrorRateTooHigh", "ErrorRateWorseThanStable")
}

// notFound answers everything, and nothing of it well: no limit is broken, and
// it is never promoted.
func notFound(t *testing.T, name string) {
	st := open(t, name, script{})
	st.release("50%/2s, 100%/2s", settings{"STATUS": "404"}, settings{"step-deadline": "20s"})
	held := st.reachesPhase("Inconclusive")
	if held.Weight != 50 || !strings.Contains(held.Message, "4xx") {
		t.Errorf("at %d%%: %s", held.Weight, held.Message)
	}
	st.command("abort")
	st.reachesPhase("RolledBack")
	st.close("v1", "v1")
}

// outage is what fails for both versions alike, until it is over.
func (st *stage) outage() (over func()) {
	st.Helper()
	return st.load(load.Options{Rate: 60, Headers: map[string]string{"X-Want-Status": "503"}}).Stop
}

func sharedIncident(t *testing.T, name string) {
	st := open(t, name, script{})
	st.release("50%/20s, 100%/2s", nil)
	st.reachesWeight(50)
	st.arrives("v2")
	over := st.outage()
	st.told("SharedIncident")
	st.answered(st.users, 5*int(st.script.rate))
	if s := st.versions.state(); s.Phase != "Progressing" || s.Weight != 50 {
		t.Errorf("the incident of both moved the release: %+v", s)
	}
	over()
	st.reachesPhase("Succeeded")
	st.close("v2", "v2")
}

func sharedIncidentTooLong(t *testing.T, name string) {
	st := open(t, name, script{})
	st.release(long, nil, settings{"on-shared-incident": "5s, rollback"})
	st.reachesWeight(25)
	st.arrives("v2")
	over := st.outage()
	st.rolledBack("SharedIncident")
	over()
	st.close("v1", "v1")
}

// littleTraffic is too little for evidence: a step ends on time.
func littleTraffic(t *testing.T, name string) {
	st := open(t, name, script{rate: 0.5})
	st.release("50%/2s, 100%/2s", nil, settings{"step-deadline": "15s"})
	s := st.reachesWeight(100)
	if s.Reason != "ProceedOnTime" || !strings.Contains(s.Message, "On time, not on evidence") {
		t.Errorf("it goes on because of %s: %s", s.Reason, s.Message)
	}
	s = st.reachesPhase("Succeeded")
	if !strings.Contains(s.Message, "On time, not on evidence") {
		t.Errorf("it is promoted: %s", s.Message)
	}
	st.close("v2", "v2")
}

func customMetric(t *testing.T, name string) {
	st := open(t, name, script{})
	st.release("25%/10m, 100%", settings{"STATUS": "402"}, settings{"metrics": "unpaid <= 5%"})
	s := st.rolledBack("MetricOutOfBounds")
	if !strings.Contains(s.Message, "unpaid") {
		t.Errorf("it went back: %s", s.Message)
	}
	st.close("v1", "v1")
}

// stableOverLimit releases beside a stable version that breaks the limit itself:
// a written limit holds the release, and says which one stable keeps; without
// one, the canary is only compared with stable.
func stableOverLimit(t *testing.T, name string) {
	st := open(t, name, script{home: settings{"ERROR_RATE": "0.05"}, tolerates: by("v1", "v2")})
	// What stable did is looked at up to two minutes before the release.
	st.untilAnswered(200 * int(st.script.rate))
	st.release("50%/2s, 100%/2s", settings{"ERROR_RATE": "0.05"}, settings{"max-error-rate": "1%, 2x"})
	note := st.told("StableOverLimit")
	if !strings.Contains(note, "max-error-rate") {
		t.Errorf("the Event suggests no limit: %s", note)
	}
	if s := st.versions.state(); s.Weight != 0 {
		t.Errorf("the canary has %d%%", s.Weight)
	}
	st.kubectl("annotate", "deployment", "web-v2", "serin.dev/max-error-rate-")
	st.reachesPhase("Succeeded")
	st.users.Stop()
	st.close("", "")
}

// observed is a release that people lead: Serin only says what it sees.
func observed(t *testing.T, name string) {
	st := open(t, name, script{tolerates: by("v2")})
	st.deploy(deployment{subset: "v2", env: settings{"ERROR_RATE": "0.5"}, annotations: settings{"canary": "observe", "steps": quick}})
	st.shows("1", "serin_rollout_phase", `phase="Observing"`)
	st.edit(weigh(75, 25))
	st.arrives("v2")
	note := st.told("ErrorRateTooHigh")
	if !strings.Contains(note, "If Serin led this release") {
		t.Errorf("the Event says: %s", note)
	}
	st.edit(weigh(100, 0))
	st.settles(st.users, "v1")
	versions, _ := st.versions.all()
	for _, v := range versions {
		if _, ok := invariant.StateOf(v.Doc, "web"); !v.ByHand || ok {
			t.Errorf("Serin wrote %s", v.Name)
		}
	}
	st.script.adopts = true // the users' weights were a person's
	st.close("v1", "v1")
}
