package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"

	"serin.dev/serin/e2e/mesh"
)

// clients apply objects of any kind.
type clients struct {
	dynamic dynamic.Interface
	mapper  *restmapper.DeferredDiscoveryRESTMapper
}

// restConfig reads a kubeconfig, without a rate limit.
func restConfig(path string) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	config.QPS = -1
	return config, nil
}

func newClients(config *rest.Config) (*clients, error) {
	dyn, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	disco, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	return &clients{dynamic: dyn, mapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(disco))}, nil
}

// Apply server-side applies all documents of the YAML, in their order, as
// field manager "kubectl". A conflict with another manager is an error, as it
// is for `kubectl apply --server-side`.
func (s *Sandbox) Apply(ctx context.Context, yaml string) error {
	return s.clients.apply(ctx, yaml)
}

func (c *clients) apply(ctx context.Context, yaml string) error {
	objects, err := parse([]byte(yaml))
	if err != nil {
		return err
	}
	for _, o := range objects {
		if err := c.applyOne(ctx, o, metav1.ApplyOptions{FieldManager: "kubectl"}); err != nil {
			return err
		}
	}
	return nil
}

func (c *clients) applyOne(ctx context.Context, o *unstructured.Unstructured, options metav1.ApplyOptions) error {
	r, err := c.resource(o)
	if err == nil {
		_, err = r.Apply(ctx, o.GetName(), o, options)
	}
	if err != nil {
		return fmt.Errorf("apply %s %s: %w", o.GetKind(), o.GetName(), err)
	}
	return nil
}

// parse reads all documents of a YAML file. Numbers are int64 or float64, as
// the API server reads them.
func parse(yaml []byte) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(yaml), 4096)
	for {
		o := &unstructured.Unstructured{}
		err := decoder.Decode(&o.Object)
		switch {
		case errors.Is(err, io.EOF):
			return objects, nil
		case err != nil:
			return nil, fmt.Errorf("parse document %d: %w", len(objects)+1, err)
		case len(o.Object) == 0:
			continue
		}
		objects = append(objects, o)
	}
}

// resource is where objects of this kind are. The kinds are asked for again
// when one is not known: it may be new.
func (c *clients) resource(o *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	kind := o.GroupVersionKind()
	mapping, err := c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if meta.IsNoMatchError(err) {
		c.mapper.Reset()
		mapping, err = c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	}
	if err != nil {
		return nil, err
	}
	if mapping.Scope.Name() != meta.RESTScopeNameNamespace {
		return c.dynamic.Resource(mapping.Resource), nil
	}
	if o.GetNamespace() == "" {
		o.SetNamespace(metav1.NamespaceDefault)
	}
	return c.dynamic.Resource(mapping.Resource).Namespace(o.GetNamespace()), nil
}

// install makes Istio's CRDs and what the sandbox needs of its kinds.
func (s *Sandbox) install(ctx context.Context) error {
	config, err := restConfig(s.file("install.kubeconfig"))
	if err != nil {
		return err
	}
	c, err := newClients(config)
	if err != nil {
		return err
	}
	crds, err := os.ReadFile(s.paths.CRDs)
	if err != nil {
		return fmt.Errorf("read Istio's CRDs: %w", err)
	}
	objects, err := parse(crds)
	if err != nil {
		return fmt.Errorf("read Istio's CRDs: %w", err)
	}
	var creates []func() error
	for _, o := range objects {
		creates = append(creates, func() error {
			r, err := c.resource(o)
			if err != nil {
				return err
			}
			_, err = r.Create(ctx, o, metav1.CreateOptions{FieldManager: "kubectl"})
			return err
		})
	}
	if err := s.parallel(creates...); err != nil {
		return fmt.Errorf("install Istio's CRDs: %w", err)
	}
	return retry(ctx, func() error { return c.apply(ctx, mesh.Manifests) })
}

// retry calls f until it succeeds, for at most half a minute: new kinds take a
// moment until they are served.
func retry(ctx context.Context, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}
