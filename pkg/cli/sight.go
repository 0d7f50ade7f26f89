package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	"serin.dev/serin/pkg/annotation"
	"serin.dev/serin/pkg/canary"
	objects "serin.dev/serin/pkg/cluster"
	"serin.dev/serin/pkg/config"
	"serin.dev/serin/pkg/history"
	"serin.dev/serin/pkg/judge"
	"serin.dev/serin/pkg/mode"
	"serin.dev/serin/pkg/mode/modes"
	"serin.dev/serin/pkg/topology"
)

// This file reads a Service as the controller does, with the user's rights, and
// lets the same core decide. Nothing is written.

// reader keeps what it reads current until it is closed.
type reader struct {
	cache    *objects.Cache
	settings config.Config
	now      func() time.Time
	stop     func()
}

// read reads a namespace, or all with none, and waits until everything is there.
// asking is a Deployment that is read as if it asked for releases; empty: none.
func (t *tool) read(ctx context.Context, c cluster, namespace, asking string, settings config.Config) (*reader, error) {
	if err := c.readable(ctx, namespace); err != nil {
		return nil, err
	}
	// What a watch would say of its end is of no interest to who only looks.
	ctx, cancel := context.WithCancel(klog.NewContext(ctx, logr.Discard()))
	o := objects.Options{
		Kube: c.kube, Dynamic: c.trees, ByName: true, Asking: asking,
		ClusterDomain: settings.ClusterDomain, RootNamespace: settings.RootNamespace,
		InPlace: settings.InPlace.Enabled, Guard: settings.InPlace.Guard,
	}
	if namespace != metav1.NamespaceAll {
		o.Namespaces = []string{namespace}
	}
	cache, err := objects.New(o)
	if err != nil {
		cancel()
		return nil, err
	}
	var wg sync.WaitGroup
	wg.Go(func() { cache.Run(ctx) })
	r := &reader{cache: cache, settings: settings, now: t.program.Now, stop: func() { cancel(); wg.Wait() }}
	waiting, done := context.WithTimeout(ctx, readTime)
	defer done()
	if !cache.WaitForSync(waiting) {
		r.stop()
		return nil, fmt.Errorf("read the objects of %s: not all came within %s: %w", place(namespace), readTime, waiting.Err())
	}
	return r, nil
}

// place is a namespace as people call it.
func place(namespace string) string {
	if namespace == metav1.NamespaceAll {
		return "all namespaces"
	}
	return "namespace " + namespace
}

// sight is one Service as it was read.
type sight struct {
	key         objects.Key
	objects     topology.Objects
	room        mode.Room
	subject     string // the annotated Deployment; empty: none
	spec        canary.Spec
	state       canary.State
	observation canary.Observation
	defaults    annotation.Vocabulary
	at          time.Time
}

// look reads one Service. What only Prometheus knows is taken as known, and
// without objection: see judged.
func (r *reader) look(ctx context.Context, k objects.Key) (sight, error) {
	read, err := r.cache.Objects(ctx, k)
	if err != nil {
		return sight{}, fmt.Errorf("read what is around Service %s: %w", k, err)
	}
	revisions := r.cache.Revisions(k)
	if read.ServiceFound != nil {
		revisions = history.Of(read.ServiceFound.UID, revisions)
	}
	// A record that can't be read stands in nobody's way.
	read.History, _ = history.Releases(revisions)
	return see(k, read, r.settings.Vocabulary(), r.now()), nil
}

// see is a Service as its objects show it.
func see(k objects.Key, read topology.Objects, known annotation.Vocabulary, now time.Time) sight {
	s := sight{key: k, objects: read, defaults: known, at: now}
	o := canary.Observation{
		History: read.History, Replaying: true, Baseline: judge.Baseline{Known: true}, Width: canary.LeastWidth,
	}
	s.state, o.Newer, o.Lost = mode.FindState(read)
	if o.Lost {
		o.Unreadable = mode.Unreadable(read)
	}
	seen := modes.Look(read, s.state, known, &o)
	s.room, s.subject, s.spec = seen.Room, seen.Subject, seen.Spec
	s.observation = o
	return s
}

// plan is what the controller would order now, as far as the objects tell.
func (s sight) plan() canary.Plan {
	return canary.Decide(s.spec, s.state, s.observation, s.at)
}

// ordered is the sight with an order of a person's in place of the one that stands.
func (s sight) ordered(c *canary.Command) sight {
	s.observation.Command = c
	return s
}

// view is what is shown of the Service.
func (s sight) view() canary.View {
	v := s.plan().View
	v.Namespace, v.Service = s.key.Namespace, s.key.Name
	return v
}

// deployment is the Deployment that people deploy to and annotate; empty where
// none asks for releases and none is under way.
func (s sight) deployment() string {
	switch {
	case s.subject != "":
		return s.subject
	case s.state.Rollout != "" && s.state.InPlace:
		return s.state.Stable.Deployment
	}
	return s.state.Canary.Deployment
}

// past are the releases that are over, newest first.
func (s sight) past() []canary.Past {
	var all []canary.Past
	for _, r := range s.observation.History {
		all = append(all, canary.PastOf(r))
	}
	return all
}

// concerned are the Services of a namespace, or of all, that have to do with canary
// releases, sorted.
func (r *reader) concerned(ctx context.Context, c cluster, namespace string) ([]objects.Key, error) {
	services, err := c.kube.CoreV1().Services(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("read the Services of %s: %w", place(namespace), err)
	}
	seen := map[objects.Key]bool{}
	add := func(k objects.Key) {
		if r.cache.Concerns(k) {
			seen[k] = true
		}
	}
	for _, s := range services.Items {
		add(objects.Key{Namespace: s.Namespace, Name: s.Name})
	}
	// One that names a Service which does not exist has its release there all the same.
	deployments, err := c.kube.AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("read the Deployments of %s: %w", place(namespace), err)
	}
	for _, d := range deployments.Items {
		own := topology.Deployment{Name: d.Name, Annotations: d.Annotations, TemplateLabels: d.Spec.Template.Labels}
		if !topology.OptedIn(own) {
			continue
		}
		for _, name := range topology.ServicesOf(own, servicesOf(services.Items, d.Namespace)) {
			add(objects.Key{Namespace: d.Namespace, Name: name})
		}
	}
	all := make([]objects.Key, 0, len(seen))
	for k := range seen {
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b objects.Key) int { return strings.Compare(a.String(), b.String()) })
	return all, nil
}

// atOnce is how many Services are read at the same time.
const atOnce = 8

// looks reads Services, in their order; those that nothing concerns but another
// Service that selects the same pods are left out.
func (r *reader) looks(ctx context.Context, keys []objects.Key) ([]sight, error) {
	found, errs := make([]sight, len(keys)), make([]error, len(keys))
	var wg sync.WaitGroup
	room := make(chan struct{}, atOnce)
	for i, k := range keys {
		wg.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			found[i], errs[i] = r.look(ctx, k)
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(found, func(s sight) bool {
		return s.subject == "" && s.state.Rollout == "" && !s.observation.Lost && !s.observation.Newer && !s.observation.Place.Left && !s.observation.Place.Held
	}), nil
}

// find reads the Service that a name means: its own, or that of one of its
// Deployments; service/NAME and deployment/NAME say which.
func (r *reader) find(ctx context.Context, c cluster, name string) (sight, error) {
	kind, short, err := splitName(name)
	if err != nil {
		return sight{}, err
	}
	if kind != kindDeployment {
		k := objects.Key{Namespace: c.namespace, Name: short}
		if r.cache.Concerns(k) {
			s, err := r.look(ctx, k)
			if err != nil || s.subject != "" || s.state.Rollout != "" || kind == kindService {
				return s, err
			}
		}
	}
	keys, err := r.concerned(ctx, c, c.namespace)
	if err != nil {
		return sight{}, err
	}
	all, err := r.looks(ctx, keys)
	if err != nil {
		return sight{}, err
	}
	var named []sight
	var services []string
	for _, s := range all {
		_, has := topology.ByName(s.objects, short)
		if kind != kindService && has {
			named = append(named, s)
		}
		services = append(services, s.key.Name)
	}
	switch len(named) {
	case 0:
		return sight{}, notFound{c.absent(ctx, short, services), c.namespace}
	case 1:
		return named[0], nil
	}
	return sight{}, fmt.Errorf("find %s: it is released for several Services; name one of them, like service/%s", name, named[0].key.Name)
}

// notFound tells that a name means nothing that has canary releases.
type notFound struct {
	why       string
	namespace string
}

func (e notFound) Error() string { return e.why }

// absent says why a name means no release.
func (c cluster) absent(ctx context.Context, name string, services []string) string {
	_, err := c.kube.AppsV1().Deployments(c.namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case err == nil:
		return fmt.Sprintf("Deployment %s/%s does not ask for canary releases: kubectl canary lint %s says what is in the way, kubectl annotate deployment %s -n %s serin.dev/canary=true opts it in", c.namespace, name, name, name, c.namespace)
	case !apierrors.IsNotFound(err):
		return fmt.Sprintf("read Deployment %s/%s: %v", c.namespace, name, err)
	}
	why := fmt.Sprintf("there is no canary release of %s in namespace %s", name, c.namespace)
	if near := canary.Suggest(name, services); near != "" {
		return why + ": did you mean " + near + "?"
	}
	if len(services) > 0 {
		return why + "; there are those of " + strings.Join(services, ", ")
	}
	return why + ", nor of anything else there; choose another with --namespace"
}

// The kinds that a name may be of.
const (
	kindService    = "service"
	kindDeployment = "deployment"
)

// splitName takes the kind off a name like service/web.
func splitName(name string) (kind, short string, err error) {
	kind, short, qualified := strings.Cut(name, "/")
	if !qualified {
		return "", name, nil
	}
	switch strings.ToLower(kind) {
	case "service", "services", "svc":
		return kindService, short, nil
	case "deployment", "deployments", "deploy", "deployment.apps", "deployments.apps":
		return kindDeployment, short, nil
	}
	return "", "", fmt.Errorf("%s: %q is no kind that is released; write service/NAME or deployment/NAME", name, kind)
}

func keyOf(namespace, service string) objects.Key {
	return objects.Key{Namespace: namespace, Name: service}
}

// byName is one of the Service's Deployments.
func byName(s sight, name string) (topology.Deployment, bool) {
	return topology.ByName(s.objects, name)
}

// asks tells whether a Deployment asks for canary releases of the Service.
func asks(s sight, deployment string) bool {
	return slices.ContainsFunc(topology.Candidates(s.objects), func(d topology.Deployment) bool { return d.Name == deployment })
}
