package controller

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"serin.dev/serin/internal/apiserver"
	_ "serin.dev/serin/internal/bubble"
	"serin.dev/serin/pkg/annotation"
	"serin.dev/serin/pkg/ask"
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/cluster"
	"serin.dev/serin/pkg/prom"
)

// world is a cluster in memory with one shop, its traffic, and the unmodified
// controller over it, in virtual time.
type world struct {
	t    *testing.T
	api  *apiserver.Server
	mesh mesh

	log       *zap.Logger
	meter     Meter
	templates []prom.Template // the operator's metrics, of which the mesh says nothing
	query     prom.Query      // instead of the mesh, if given
	inPlace   bool            // single Deployments may be updated in place
	listener  Listener        // is told what people are told
	channels  []string        // that annotations may name
	askers    map[canary.QuestionKind]ask.Asker
}

const interval = 5 * time.Second

// The client's error handlers wait until a while after the last error anywhere in
// the process; to one bubble that of another may lie years ahead.
func TestMain(m *testing.M) {
	utilruntime.ErrorHandlers = nil //nolint:reassign // there is no other way to be rid of them
	m.Run()
}

func newWorld(t *testing.T) *world {
	w := emptyWorld(t)
	w.api.Put(map[string]any{
		"kind": "DestinationRule", "apiVersion": apiserver.APIVersions["DestinationRule"], "metadata": map[string]any{"namespace": "shop", "name": "web"},
		"spec": map[string]any{"host": "web", "subsets": []any{
			map[string]any{"name": "v1", "labels": map[string]any{"version": "v1"}},
			map[string]any{"name": "v2", "labels": map[string]any{"version": "v2"}},
		}},
	})
	w.virtualService("web", []any{"web"}, nil)
	w.deploy("web-v1", "v1", "one", nil)
	return w
}

// emptyWorld has a Service, and nothing behind it.
func emptyWorld(t *testing.T) *world {
	w := &world{t: t, api: apiserver.New(), log: zap.NewNop(), mesh: mesh{scrape: interval}}
	w.api.Put(map[string]any{"kind": "Namespace", "apiVersion": "v1", "metadata": map[string]any{"name": "shop"}})
	w.api.Put(map[string]any{
		"kind": "Service", "apiVersion": "v1", "metadata": map[string]any{"namespace": "shop", "name": "web"},
		"spec": map[string]any{"selector": map[string]any{"app": "web"}, "ports": []any{map[string]any{"name": "http", "port": 80}}},
	})
	return w
}

func (w *world) virtualService(name string, hosts []any, gateways []any) {
	spec := map[string]any{"hosts": hosts, "http": []any{map[string]any{"route": []any{
		map[string]any{"destination": map[string]any{"host": "web", "subset": "v1"}},
	}}}}
	if gateways != nil {
		spec["gateways"] = gateways
	}
	w.api.Put(map[string]any{
		"kind": "VirtualService", "apiVersion": apiserver.APIVersions["VirtualService"],
		"metadata": map[string]any{"namespace": "shop", "name": name}, "spec": spec,
	})
}

// deploy stores a Deployment whose rollout is complete, with its ReplicaSet and
// its pods.
func (w *world) deploy(name, version, image string, annotations map[string]any) {
	labels := map[string]any{"app": "web", "version": version}
	all := map[string]any{apiserver.RevisionKey: image}
	for k, v := range annotations {
		all[k] = v
	}
	w.api.Put(map[string]any{
		"kind": "Deployment", "apiVersion": "apps/v1",
		"metadata": map[string]any{"namespace": "shop", "name": name, "annotations": all, "generation": 1},
		"spec": map[string]any{
			"replicas": 2, "selector": map[string]any{"matchLabels": labels},
			"template": map[string]any{
				"metadata": map[string]any{"labels": labels},
				"spec":     map[string]any{"containers": []any{map[string]any{"name": "web", "image": image}}},
			},
		},
		"status": map[string]any{"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2, "readyReplicas": 2},
	})
	uid := apiserver.Meta(w.api.Read("Deployment", "shop", name))["uid"].(string)
	set := name + "-" + image
	w.api.Put(map[string]any{
		"kind": "ReplicaSet", "apiVersion": "apps/v1",
		"metadata": map[string]any{
			"namespace": "shop", "name": set, "labels": labels, "annotations": map[string]any{apiserver.RevisionKey: image},
			"ownerReferences": []any{owner("Deployment", name, uid)},
		},
	})
	setUID := apiserver.Meta(w.api.Read("ReplicaSet", "shop", set))["uid"].(string)
	for i := range 2 {
		w.api.Put(map[string]any{
			"kind": "Pod", "apiVersion": "v1",
			"metadata": map[string]any{
				"namespace": "shop", "name": fmt.Sprintf("%s-%d", set, i), "labels": labels,
				"ownerReferences": []any{owner("ReplicaSet", set, setUID)},
			},
			"status": map[string]any{
				"conditions":        []any{map[string]any{"type": "Ready", "status": "True"}},
				"containerStatuses": []any{map[string]any{"name": "web", "imageID": "sha256:" + image}},
			},
		})
	}
}

func owner(kind, name, uid string) map[string]any {
	return map[string]any{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true}
}

// run works with a fresh controller until stop is called, which waits for its end.
func (w *world) run() (c *Controller, stop func()) {
	w.t.Helper()
	c, end := w.runOver(w.api, nil)
	return c, func() {
		if err := end(); err != nil {
			w.t.Error(err)
		}
	}
}

// runOver works over a transport of its own, and with a lease if one is given.
// What end returns is what Run returned.
func (w *world) runOver(transport http.RoundTripper, lease *Lease) (c *Controller, end func() error) {
	w.t.Helper()
	c = w.controller(transport, lease)
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	return c, func() error {
		cancel()
		return <-done
	}
}

// controller makes one that does not run yet.
func (w *world) controller(transport http.RoundTripper, lease *Lease) *Controller {
	w.t.Helper()
	config := &rest.Config{Host: "http://api.test", Transport: transport, QPS: -1}
	kube := kubernetes.NewForConfigOrDie(cluster.Compact(config))
	if lease != nil {
		lease.Client = kube.CoordinationV1()
	}
	defaults := annotation.Defaults()
	defaults.Tags = "" // images are words here
	c, err := New(Options{
		Kube: kube, Dynamic: dynamic.NewForConfigOrDie(config),
		Query: w.query, Logger: w.log, ClusterDomain: "cluster.local", RootNamespace: "istio-system",
		Defaults: defaults, Interval: 3 * interval, Templates: w.templates,
		Elect: lease, Meter: w.meter, InPlace: w.inPlace, Listener: w.listener, Channels: w.channels, Askers: w.askers,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if o := &c.bench.options; w.query == nil {
		o.blocks, o.rough, o.open, o.intervals = w.mesh.blocks, w.mesh.rough, w.mesh.open, w.mesh.intervals
	}
	return c
}

// weight is the canary's share as a VirtualService has it now.
func (w *world) weight(name string) int {
	w.t.Helper()
	http, _, _ := unstructured.NestedSlice(w.api.Read("VirtualService", "shop", name), "spec", "http")
	if len(http) == 0 {
		return 0
	}
	last := http[len(http)-1].(map[string]any)
	for _, d := range last["route"].([]any) {
		tree := d.(map[string]any)
		if subset, _, _ := unstructured.NestedString(tree, "destination", "subset"); subset == "v2" {
			weight, _ := tree["weight"].(float64)
			return int(weight)
		}
	}
	return 0
}

// phase is the Service's, as shown to people.
func phase(c *Controller) string {
	for _, v := range c.Views() {
		return string(v.Phase)
	}
	return ""
}

// until lets virtual time pass, a second at a time, until f holds.
func (w *world) until(limit time.Duration, what string, f func() bool) {
	w.t.Helper()
	for left := limit; left >= 0; left -= time.Second {
		synctest.Wait()
		if f() {
			return
		}
		if left > 0 {
			pass(time.Second)
		}
	}
	w.t.Fatalf("after %s still not: %s (web has %d%%, %v)", limit, what, w.weight("web"), w.reasons())
}

// reasons are those of the Events so far, in their order.
func (w *world) reasons() []string {
	type told struct{ at, reason string }
	var all []told
	for _, e := range w.api.All("Event") {
		at, _ := e["eventTime"].(string)
		reason, _ := e["reason"].(string)
		all = append(all, told{at, reason})
	}
	slices.SortStableFunc(all, func(a, b told) int {
		if a.at < b.at {
			return -1
		}
		if a.at > b.at {
			return 1
		}
		return 0
	})
	var out []string
	for _, e := range all {
		out = append(out, e.reason)
	}
	return out
}

var opted = map[string]any{
	"serin.dev/canary": "true",
	"serin.dev/steps":  "5%, 25%, 100%",
	"serin.dev/bake":   "30s",
}

// pass lets virtual time pass; it takes none.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // in a bubble of testing/synctest nobody waits
}
