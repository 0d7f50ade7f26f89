package cluster

import (
	"encoding/json"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// FuzzReduce reduces any objects as the informers do. A panic there would end the
// process for everybody; an error would stop the informer for all namespaces, so
// there is none for an object of Istio's, whatever is in it, nor for typed ones the
// API server let pass. What is reduced is indexed and handed out.
func FuzzReduce(f *testing.F) {
	for _, seed := range []string{
		`{"metadata":{"name":"web","namespace":"shop","annotations":{"serin.dev/state.web":"{","serin.dev/canary":"true"}},"spec":{"hosts":["web"],"http":[{"delegate":{"name":"a","namespace":3}},{"route":[{"destination":{"host":"web.shop"}}]}]}}`,
		`{"metadata":{"labels":{"serin.dev/service":"web","app.kubernetes.io/managed-by":"serin"},"ownerReferences":[{"controller":true,"kind":"Deployment"}]},"spec":{"host":"*","subsets":[3,{"name":1,"labels":[]}],"exportTo":[1],"workloadSelector":null}}`,
		`{"metadata":{"annotations":7,"creationTimestamp":5,"managedFields":"x"},"spec":[]}`,
		`{"spec":{"selector":{"matchLabels":{"app":"web"}},"replicas":-1,"template":{"metadata":{"labels":{"app":"web"}}}},"status":{"readyReplicas":-9}}`,
		`{"spec":{"clusterIP":"None","ports":[{"port":-1,"appProtocol":"http"}],"type":"x"},"status":{"conditions":[{"type":"Ready"}],"containerStatuses":[{"state":{"waiting":{}}}]}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var tree map[string]any
		if utiljson.Unmarshal(text, &tree) != nil || tree == nil {
			return
		}
		c := &Cache{options: Options{ClusterDomain: "cluster.local", InPlace: true}}
		u := &unstructured.Unstructured{Object: tree}
		for _, reduce := range []func(any) (any, error){c.reduceRoutes, c.reduceRule} {
			o, err := reduce(u)
			if err != nil {
				t.Fatalf("an informer would stop: %v", err)
			}
			handOut(t, o)
		}
		if o, err := c.reduceDeployment(u); err == nil {
			handOut(t, o)
		}
		reduceTyped(t, c, text)
	})
}

func handOut(t *testing.T, o any) {
	t.Helper()
	for _, index := range []func(any) ([]string, error){indexPurpose, indexRule, indexRevision} {
		if _, err := index(o); err != nil {
			t.Fatal(err)
		}
	}
	for _, index := range routeIndexers {
		if _, err := index(o); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	switch o := o.(type) {
	case *routes:
		servicesOfRoutes(o)
		_, err = o.decode()
	case *rule:
		_, err = o.handOut()
	case *deployment:
		_, err = o.handOut()
	}
	if err != nil {
		t.Fatalf("kept, but not handed out: %v", err)
	}
}

// reduceTyped reduces the same text as objects that clients decode by their types.
func reduceTyped(t *testing.T, c *Cache, text []byte) {
	t.Helper()
	for _, kind := range []struct {
		object any
		reduce func(any) (any, error)
	}{
		{&corev1.Service{}, reduceService}, {&corev1.Namespace{}, reduceNamespace}, {&corev1.Pod{}, reducePod},
		{&appsv1.ControllerRevision{}, reduceRevision}, {&appsv1.Deployment{}, c.reduceDeployment},
	} {
		if json.Unmarshal(text, kind.object) != nil {
			continue
		}
		o, err := kind.reduce(kind.object)
		if _, selects := kind.object.(*appsv1.Deployment); err != nil && !selects {
			t.Fatalf("an informer would stop: %v", err)
		}
		if err == nil {
			handOut(t, o)
		}
	}
	var set appsv1.ReplicaSet
	if json.Unmarshal(text, &set) == nil {
		_, _ = reduceSet(&set) // it is read when it is asked for: an error is of one Service
	}
}
