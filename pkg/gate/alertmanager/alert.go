package alertmanager

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/gate/alertmanager/matcher"
	"serin.dev/serin/pkg/safetext"
)

// gettable is an alert as API v2 tells it, as far as it is of use here.
type gettable struct {
	Labels      map[string]string `json:"labels"`
	Annotations struct {
		Summary string `json:"summary"`
	} `json:"annotations"`
	StartsAt    time.Time `json:"startsAt"`
	Fingerprint string    `json:"fingerprint"`
	Status      struct {
		State string `json:"state"`
	} `json:"status"`
}

// alert is an active one.
type alert struct {
	labels  map[string]string
	summary string
	began   time.Time
}

// ownPrefix begins the names of the alerts about releases that Serin and its rules
// raise. They never count: a release that is held would be held for being held.
const ownPrefix = "Serin"

// union are the active alerts of all replicas, each once. One that replicas know since
// different times began at the earliest: the others heard of it late.
func union(answers [][]gettable) []alert {
	all := map[string]alert{}
	for _, answer := range answers {
		for _, g := range answer {
			if g.Status.State != "active" || strings.HasPrefix(g.Labels["alertname"], ownPrefix) {
				continue
			}
			key := identity(g.Labels)
			if known, is := all[key]; is && !g.StartsAt.Before(known.began) {
				continue
			}
			all[key] = alert{labels: g.Labels, summary: g.Annotations.Summary, began: g.StartsAt.UTC()}
		}
	}
	var out []alert
	for _, key := range slices.Sorted(maps.Keys(all)) {
		out = append(out, all[key])
	}
	return out
}

// identity is the same for the same labels. An alert's fingerprint would be too, of
// servers that can be trusted to make it so.
func identity(labels map[string]string) string {
	var b strings.Builder
	for _, label := range slices.Sorted(maps.Keys(labels)) {
		fmt.Fprintf(&b, "%q=%q,", label, labels[label])
	}
	return b.String()
}

// The labels by which alerts say what they are about: of Kubernetes' and Istio's
// metrics, and as Prometheus renames those that a target brought along.
var (
	namespaceLabels  = []string{"namespace", "exported_namespace", "destination_service_namespace", "destination_workload_namespace"}
	serviceLabels    = []string{"service", "exported_service", "destination_service_name"}
	deploymentLabels = []string{"deployment", "exported_deployment", "destination_workload", "workload"}
	podLabels        = []string{"pod", "exported_pod", "pod_name"}
)

// concern is what an alert has to do with a release.
type concern int

const (
	nothing concern = iota
	stable          // the version that users have, alone
	release         // the canary, or the Service as a whole
)

// usual says what an alert has to do with a release by its labels: its namespace, and
// with it the Service, a Deployment or a pod. A Service of another name says nothing,
// for it may be that of the exporter which tells of the pod.
func usual(labels map[string]string, s canary.Subject) concern {
	is := func(names []string, value string) bool {
		return value != "" && slices.ContainsFunc(names, func(name string) bool { return labels[name] == value })
	}
	if strings.HasPrefix(labels["destination_service"], s.Service+"."+s.Namespace+".svc") {
		return release
	}
	if !is(namespaceLabels, s.Namespace) {
		return nothing
	}
	of := func(track canary.Party) bool {
		return is(deploymentLabels, track.Deployment) || slices.ContainsFunc(podLabels, func(label string) bool { return podOf(labels[label], track) })
	}
	switch {
	case is(serviceLabels, s.Service), of(s.Canary):
		return release
	case of(s.Stable):
		return stable
	}
	return nothing
}

// podSuffix is what Kubernetes adds to a Deployment's name: the hash of the template,
// and five characters of the pod's own.
var podSuffix = regexp.MustCompile(`^-[a-z0-9]{1,10}-[a-z0-9]{5}$`)

func podOf(pod string, track canary.Party) bool {
	suffix, is := strings.CutPrefix(pod, track.Deployment)
	return is && podSuffix.MatchString(suffix) || pod != "" && slices.Contains(track.Pods, pod)
}

// about are the alerts that count for a release, those first that end it. With any
// severity all count that the rule's own matchers mean.
func (p *Poller) about(rule matcher.Rule, s canary.Subject, alerts []alert, anySeverity bool) []canary.Alert {
	named := rule
	if rule.Default { // which the operator may have said the meaning of
		named.Sets = slices.Concat(rule.Sets, p.usual.Sets)
	}
	byDefault := rule.Default && p.usual.Default
	meant := named.For(map[string]string{"namespace": s.Namespace, "service": s.Service, "canary": s.Canary.Deployment, "stable": s.Stable.Deployment})
	chosen := anySeverity || named.Names("severity")
	var out []canary.Alert
	for _, a := range alerts {
		severity := a.labels["severity"]
		counts := slices.Contains(p.hold, severity) || slices.Contains(p.rollback, severity)
		does := nothing
		switch {
		case (counts || chosen) && meant(a.labels):
			does = release
		case counts && byDefault:
			does = usual(a.labels, s)
		}
		if does == nothing {
			continue
		}
		out = append(out, canary.Alert{
			Name: line(a.labels["alertname"], 100), Severity: line(severity, 40), Summary: line(a.told(s), 200), Began: a.began,
			RollsBack: does == release && slices.Contains(p.rollback, severity) && !s.Started.IsZero() && a.began.After(s.Started),
		})
	}
	slices.SortStableFunc(out, func(a, b canary.Alert) int {
		return cmp.Or(-cmp.Compare(truth(a.RollsBack), truth(b.RollsBack)), -cmp.Compare(p.weight(a), p.weight(b)), a.Began.Compare(b.Began), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// told is the alert's summary, where the alert is of the release's namespace: a team
// may match others' alerts, and needn't read what they say.
func (a alert) told(s canary.Subject) string {
	if slices.ContainsFunc(namespaceLabels, func(label string) bool { return a.labels[label] == s.Namespace }) {
		return a.summary
	}
	return ""
}

func (p *Poller) weight(a canary.Alert) int {
	return 2*truth(slices.Contains(p.rollback, a.Severity)) + truth(slices.Contains(p.hold, a.Severity))
}

func truth(is bool) int {
	if is {
		return 1
	}
	return 0
}

// maxAlerts are shown of one release.
const maxAlerts = 20

func most(alerts []canary.Alert) []canary.Alert { return alerts[:min(len(alerts), maxAlerts)] }

// sentence names the first alert, and how many there are beside it.
func sentence(alerts []canary.Alert) string {
	a := alerts[0]
	text := "the alert " + a.Name
	if a.Severity != "" {
		text += " (" + a.Severity + ")"
	}
	text += " is active since " + a.Began.Format("2006-01-02 15:04:05 UTC")
	if a.Summary != "" {
		text += ": " + strings.TrimRight(a.Summary, ". ")
	}
	if more := len(alerts) - 1; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

func capital(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

// line is text of others as one line of at most so many bytes.
func line(text string, most int) string {
	text = safetext.Line(text)
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}
