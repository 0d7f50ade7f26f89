package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	"serin.dev/serin/pkg/annotation"
	"serin.dev/serin/pkg/canary"
	objects "serin.dev/serin/pkg/cluster"
	"serin.dev/serin/pkg/config"
	"serin.dev/serin/pkg/explain"
	"serin.dev/serin/pkg/mode"
	"serin.dev/serin/pkg/mode/pair"
	"serin.dev/serin/pkg/topology"
)

// This file reads what people lead and Serin only observes: the state of such a
// release stands on no object, so all is read by which the controller knows it.

// observed are the Services of the namespace whose releases are only observed,
// each with its Deployments.
func (c cluster) observed(ctx context.Context, routes []topology.VirtualService, domain string) (map[string][]string, error) {
	deployments, err := c.deployments(ctx)
	if err != nil || !slices.ContainsFunc(deployments, onlyObserved) {
		return nil, err
	}
	services, err := c.services(ctx)
	if err != nil {
		return nil, err
	}
	found := map[string][]string{}
	for _, d := range deployments {
		if !onlyObserved(d) {
			continue
		}
		for _, name := range topology.ServicesOf(d, services) {
			o := topology.Objects{
				ClusterDomain: domain, Namespace: c.namespace, Service: name, Services: services,
				Deployments: topology.DeploymentsOf(name, deployments, services), VirtualServices: routes,
			}
			if slices.ContainsFunc(topology.Candidates(o), onlyObserved) {
				found[name] = namesOf(o.Deployments)
			}
		}
	}
	return found, nil
}

func onlyObserved(d topology.Deployment) bool {
	parsed, _ := annotation.Parse(d.Annotations, annotation.Vocabulary{Defaults: annotation.Defaults()})
	return parsed.Observe
}

func namesOf(deployments []topology.Deployment) []string {
	var names []string
	for _, d := range deployments {
		names = append(names, d.Name)
	}
	return names
}

// deployments are those of the namespace, as far as it takes to tell to which
// Services they belong.
func (c cluster) deployments(ctx context.Context) ([]topology.Deployment, error) {
	list, err := c.kube.AppsV1().Deployments(c.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("read the Deployments of namespace %s: %w", c.namespace, err)
	}
	var out []topology.Deployment
	for _, d := range list.Items {
		out = append(out, topology.Deployment{Name: d.Name, Created: d.CreationTimestamp.Time, Annotations: d.Annotations, TemplateLabels: d.Spec.Template.Labels})
	}
	return out, nil
}

func (c cluster) services(ctx context.Context) ([]topology.Service, error) {
	list, err := c.kube.CoreV1().Services(c.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("read the Services of namespace %s: %w", c.namespace, err)
	}
	return servicesOf(list.Items, c.namespace), nil
}

// servicesOf are the Services of one namespace.
func servicesOf(all []corev1.Service, namespace string) (out []topology.Service) {
	for _, s := range all {
		if s.Namespace == namespace {
			out = append(out, topology.Service{Name: s.Name, Selector: s.Spec.Selector, Headless: s.Spec.ClusterIP == corev1.ClusterIPNone})
		}
	}
	return out
}

// withObserved adds the Services that are only observed to those with releases.
func (c cluster) withObserved(known []explain.Known, observed map[string][]string) []explain.Known {
	known = slices.Clone(known)
	for name, deployments := range observed {
		i := slices.IndexFunc(known, func(k explain.Known) bool { return k.Service == name })
		if i < 0 {
			known, i = append(known, explain.Known{Namespace: c.namespace, Service: name}), len(known)
		}
		known[i].Observed = deployments
	}
	slices.SortFunc(known, func(a, b explain.Known) int { return strings.Compare(a.Service, b.Service) })
	return known
}

// readTime is how long the objects of one namespace may take to be read.
const readTime = 30 * time.Second

// watched reads a Service as the controller does, but with the user's rights and
// in its namespace alone.
func (c cluster) watched(ctx context.Context, service string, settings config.Config) (explain.Watched, error) {
	if err := c.readable(ctx, c.namespace); err != nil {
		return explain.Watched{}, err
	}
	o, err := c.around(ctx, service, settings)
	if err != nil {
		return explain.Watched{}, err
	}
	state, newer, lost := mode.FindState(o)
	seen := pair.Observe(o, state)
	d, _ := topology.ByName(o, seen.Subject)
	parsed, mistakes := annotation.Parse(d.Annotations, settings.Vocabulary())
	if !parsed.Observe {
		return explain.Watched{}, fmt.Errorf("Deployment %s holds its routes, and asks for releases that Serin leads; none is known yet", seen.Subject) //nolint:staticcheck // a Kind is written with a capital
	}
	w := explain.Watched{Spec: parsed.Spec, Observation: canary.Observation{
		Observe: true, Newer: newer, Lost: lost, Command: parsed.Command, Invalid: annotation.Mistakes(mistakes),
		Tracks: seen.Tracks, Traffic: seen.Traffic, Findings: seen.Findings,
	}}
	if mistakes == nil {
		w.Observation.Findings = append(w.Observation.Findings, pair.CheckSpec(o, seen.Tracks, parsed.Spec)...)
	}
	return w, nil
}

// around is everything around a Service, read once.
func (c cluster) around(ctx context.Context, service string, settings config.Config) (topology.Objects, error) {
	// What a watch would say of its end is of no interest to who asks once.
	ctx, stop := context.WithTimeout(klog.NewContext(ctx, logr.Discard()), readTime)
	cache, err := objects.New(objects.Options{
		Kube: c.kube, Dynamic: c.trees, Namespaces: []string{c.namespace}, ByName: true,
		ClusterDomain: settings.ClusterDomain, RootNamespace: settings.RootNamespace,
	})
	if err != nil {
		stop()
		return topology.Objects{}, err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() { cache.Run(ctx) })
	if !cache.WaitForSync(ctx) {
		return topology.Objects{}, fmt.Errorf("read the objects of namespace %s: not all came within %s: %w", c.namespace, readTime, ctx.Err())
	}
	return cache.Objects(ctx, objects.Key{Namespace: c.namespace, Name: service})
}

// readable tells what must be readable and isn't, all of it at once: a watch would
// try again and again in silence.
func (c cluster) readable(ctx context.Context, namespace string) error {
	one := metav1.ListOptions{Limit: 1}
	kinds := []struct {
		what string
		list func() error
	}{
		{"deployments", func() error { return errorOf(c.kube.AppsV1().Deployments(namespace).List(ctx, one)) }},
		{"services", func() error { return errorOf(c.kube.CoreV1().Services(namespace).List(ctx, one)) }},
		{"replicasets", func() error { return errorOf(c.kube.AppsV1().ReplicaSets(namespace).List(ctx, one)) }},
		{"pods", func() error { return errorOf(c.kube.CoreV1().Pods(namespace).List(ctx, one)) }},
		{"controllerrevisions", func() error { return errorOf(c.kube.AppsV1().ControllerRevisions(namespace).List(ctx, one)) }},
		{"virtualservices", func() error { return errorOf(c.trees.Resource(routes).Namespace(namespace).List(ctx, one)) }},
		{"destinationrules", func() error { return errorOf(c.trees.Resource(rules).Namespace(namespace).List(ctx, one)) }},
	}
	if namespace == metav1.NamespaceAll {
		kinds = append(kinds, struct {
			what string
			list func() error
		}{"namespaces", func() error { return errorOf(c.kube.CoreV1().Namespaces().List(ctx, one)) }})
	}
	errs := make([]error, len(kinds))
	var wg sync.WaitGroup
	for i, k := range kinds {
		wg.Go(func() {
			err := k.list()
			switch {
			case apierrors.IsNotFound(err):
				errs[i] = fmt.Errorf("list %s: this cluster has none in the version that Serin needs: is it the right one, with Istio 1.22 or newer? %w", k.what, err)
			case err != nil:
				errs[i] = fmt.Errorf("list %s in %s: %w; ask for the right to list and watch them", k.what, place(namespace), err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// errorOf is the error of a call whose answer isn't wanted.
func errorOf[T any](_ T, err error) error { return err }
