package topology

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"serin.dev/serin/pkg/canary"
)

// quotas finds out whether the namespace leaves room for the pods of a release: at
// the last step as many as the Deployment has, and beside them those by which
// Kubernetes exceeds its size while it updates it.
func (p preflight) quotas() []canary.Finding {
	d := p.subject()
	need := d.Replicas + surge(d) - p.o.CanaryPods
	if d.Doc == nil || d.Replicas == 0 || need <= 0 {
		return nil
	}
	pod := podDemand(child(child(d.Doc, "spec"), "template"))
	var found []canary.Finding
	for _, q := range p.o.Around.Quotas {
		room, short := fits(q, pod, need)
		if room >= need {
			continue
		}
		f := canary.Finding{
			Reason: canary.QuotaTooSmall, Object: q.Key, Field: "spec.hard",
			Problem: fmt.Sprintf("a release needs up to %d more pods of %s at once, and there is room for %d: it would wait for pods that are not made", need, d.Name, room),
			Mend:    "Raise it by " + strings.Join(short, ", "),
		}
		if room == 0 && p.o.CanaryPods == 0 {
			f.Blocking = true
			f.Problem = fmt.Sprintf("there is room for no more pod of %s, and a release needs up to %d at once", d.Name, need)
		}
		found = append(found, f)
	}
	return found
}

// fits is how many pods a quota has room for, at most need, and by how much it is
// short for that many.
func fits(q Quota, pod map[string]int64, need int) (room int, short []string) {
	room = need
	for _, name := range slices.Sorted(maps.Keys(pod)) {
		left, limited := q.Left[name]
		if !limited || left < 0 || pod[name] == 0 {
			continue
		}
		if missing := int64(need)*pod[name] - left; missing > 0 {
			room = min(room, int(left/pod[name]))
			short = append(short, name+" "+amount(name, missing))
		}
	}
	return room, short
}

// amount writes an amount of a resource as a quantity, rounded up.
func amount(name string, n int64) string {
	const mebi = 1 << 20
	switch {
	case strings.HasSuffix(name, "cpu"):
		return fmt.Sprintf("%dm", n)
	case strings.HasSuffix(name, "memory"):
		return fmt.Sprintf("%dMi", (n+mebi-1)/mebi)
	}
	return strconv.FormatInt(n, 10)
}

// surge is by how many pods an update may exceed the Deployment's size.
func surge(d Deployment) int {
	strategy := child(child(d.Doc, "spec"), "strategy")
	if strategy["type"] == "Recreate" {
		return 0
	}
	switch most := child(strategy, "rollingUpdate")["maxSurge"].(type) {
	case int64:
		return int(most)
	case string:
		if percent, err := strconv.Atoi(strings.TrimSuffix(most, "%")); err == nil {
			return (d.Replicas*percent + 99) / 100
		}
	}
	return (d.Replicas + 3) / 4 // 25%, what the API server defaults to
}

// sidecar are the annotations of a pod template that size the proxy which Istio
// adds to the pod. Where they are missing the mesh's own sizes hold, which are not
// known here and not counted.
var sidecar = map[string]string{
	"sidecar.istio.io/proxyCPU":         "requests.cpu",
	"sidecar.istio.io/proxyMemory":      "requests.memory",
	"sidecar.istio.io/proxyCPULimit":    "limits.cpu",
	"sidecar.istio.io/proxyMemoryLimit": "limits.memory",
}

// podDemand is what a ResourceQuota counts for a pod of a template, in the units
// of Quota.Left: what its containers ask for together, or, if that is more, what
// one of those asks for that run before them (Kubernetes, "Resource sharing within
// containers").
func podDemand(template map[string]any) map[string]int64 {
	spec, sum, before := child(template, "spec"), map[string]int64{}, map[string]int64{}
	add := func(to, more map[string]int64) {
		for name, n := range more {
			to[name] += n
		}
	}
	for _, c := range list(spec, "initContainers") {
		demand := containerDemand(c)
		if c["restartPolicy"] == "Always" { // it runs on, beside all that follow
			add(sum, demand)
			continue
		}
		add(demand, sum)
		for name, n := range demand {
			before[name] = max(before[name], n)
		}
	}
	for _, c := range list(spec, "containers") {
		add(sum, containerDemand(c))
	}
	for key, name := range sidecar {
		sum[name] += quantity(name, annotations(template)[key])
	}
	for name, n := range before {
		sum[name] = max(sum[name], n)
	}
	add(sum, demandOf("requests", child(spec, "overhead")))
	sum["pods"] = 1
	return sum
}

// containerDemand is what one container asks for. A limit without a request is one.
func containerDemand(c map[string]any) map[string]int64 {
	resources := child(c, "resources")
	limits := child(resources, "limits")
	demand := demandOf("requests", limits)
	maps.Copy(demand, demandOf("requests", child(resources, "requests")))
	maps.Copy(demand, demandOf("limits", limits))
	return demand
}

func demandOf(kind string, amounts map[string]any) map[string]int64 {
	demand := map[string]int64{}
	for _, resource := range []string{"cpu", "memory"} {
		if v, given := amounts[resource]; given {
			name := kind + "." + resource
			demand[name] = quantity(name, v)
		}
	}
	return demand
}

// quantity reads a Kubernetes quantity in the unit of Quota.Left, rounded up: CPU
// in thousandths, memory in bytes. The API server has refused what is none, so
// that 0 stands for it.
func quantity(name string, v any) int64 {
	var text string
	switch v := v.(type) {
	case string:
		text = v
	case int64:
		text = strconv.FormatInt(v, 10)
	case float64:
		text = strconv.FormatFloat(v, 'g', -1, 64)
	}
	number := strings.TrimRight(text, "numkKMGTPEi")
	n, err := strconv.ParseFloat(number, 64)
	unit, known := units[text[len(number):]]
	if err != nil || !known {
		return 0
	}
	if strings.HasSuffix(name, "cpu") {
		unit *= 1000
	}
	const tiny = 1e-6 // what binary fractions add to decimal ones
	n = math.Ceil(n*unit - tiny)
	if !(n > 0) || n > math.MaxInt64/2 {
		return 0
	}
	return int64(n)
}

// units are the suffixes of quantities.
var units = map[string]float64{
	"": 1, "n": 1e-9, "u": 1e-6, "m": 1e-3,
	"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
	"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "Pi": 1 << 50, "Ei": 1 << 60,
}
