package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"serin.dev/serin/pkg/prom"
)

type checkOptions struct {
	*tool
	output string
}

func newCheck(t *tool) *cobra.Command {
	o := &checkOptions{tool: t}
	c := &cobra.Command{
		Use:   "check",
		Short: "Look a cluster over: Istio, Prometheus, Serin, and rights",
		Long: `Looks at what canary releases need and says what is missing, with the mend:
Istio's kinds and its version, whether Serin runs and leads, whether Prometheus
answers and has Istio's metrics with the labels that are needed, what you may do
in the namespace, and what Serin may. Nothing is written.

Ends with 1 when something is missing that releases need.`,
		Example:           "  kubectl canary check -n shop",
		Args:              wrong(cobra.NoArgs),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              o.run,
	}
	c.Flags().StringVarP(&o.output, "output", "o", "", "json or yaml")
	completeOutput(c, asJSON, asYAML)
	return c
}

// The results of a check.
const (
	resultOK      = "ok"
	resultMissing = "missing" // releases need it
	resultUnknown = "unknown" // it can't be told with these rights
	resultLimited = "limited" // releases work, this verb or comfort does not
)

// checked is one thing that was looked at.
type checked struct {
	What   string `json:"what"`
	Result string `json:"result"`
	Found  string `json:"found"`
	Mend   string `json:"mend,omitempty"`
}

func (o *checkOptions) run(cmd *cobra.Command, _ []string) error {
	if err := checkOutput(cmd, o.output, asJSON, asYAML); err != nil {
		return err
	}
	s, err := o.open(cmd.Context())
	if err != nil {
		return err
	}
	defer s.done()
	all := s.check(cmd.Context())
	if o.output != "" {
		err = writeAs(o.streams.Out, o.output, map[string]any{"checks": all})
	} else {
		frame := &screen{style: styleOf(o.streams.Out, false, os.Getenv)}
		frame.checked(all)
		_, err = io.WriteString(o.streams.Out, frame.b.String())
	}
	if err == nil && slices.ContainsFunc(all, func(c checked) bool { return c.Result == resultMissing }) {
		err = ending{code: exitFailed}
	}
	return err
}

func (s *session) check(ctx context.Context) []checked {
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	all := []checked{s.checkServer()}
	if all[0].Result != resultOK {
		return all
	}
	all = append(all, s.checkIstio(ctx)...)
	all = append(all, s.checkSerin(ctx)...)
	all = append(all, s.checkPrometheus(ctx)...)
	return append(all, s.checkRights(ctx)...)
}

func (s *session) checkServer() checked {
	v, err := s.cluster.kube.Discovery().ServerVersion()
	if err != nil {
		return checked{"Kubernetes", resultMissing, err.Error(), "Name another cluster with --context or --kubeconfig."}
	}
	return checked{What: "Kubernetes", Result: resultOK, Found: v.GitVersion}
}

func (s *session) checkIstio(ctx context.Context) []checked {
	var all []checked
	for _, kind := range []struct {
		what string
		list func() error
	}{
		{"VirtualServices", func() error {
			return errorOf(s.cluster.trees.Resource(routes).Namespace(s.cluster.namespace).List(ctx, metav1.ListOptions{Limit: 1}))
		}},
		{"DestinationRules", func() error {
			return errorOf(s.cluster.trees.Resource(rules).Namespace(s.cluster.namespace).List(ctx, metav1.ListOptions{Limit: 1}))
		}},
	} {
		c := checked{What: "Istio's " + kind.what, Result: resultOK, Found: routes.Group + "/" + routes.Version}
		switch err := kind.list(); {
		case apierrors.IsNotFound(err):
			c.Result, c.Found, c.Mend = resultMissing, "this cluster has none in version "+routes.Version, "Install Istio 1.22 or newer."
		case apierrors.IsForbidden(err):
			c.Result, c.Found, c.Mend = resultUnknown, "you may not list them in namespace "+s.cluster.namespace, "Ask for the right to list them, or choose another namespace with -n."
		case err != nil:
			c.Result, c.Found = resultUnknown, err.Error()
		}
		all = append(all, c)
	}
	return append(all, s.checkIstiod(ctx))
}

// checkIstiod reads Istio's version off its own Deployment.
func (s *session) checkIstiod(ctx context.Context) checked {
	c := checked{What: "Istio's version", Result: resultOK}
	list, err := s.cluster.kube.AppsV1().Deployments(s.settings.RootNamespace).List(ctx, metav1.ListOptions{LabelSelector: "app=istiod"})
	switch {
	case err != nil:
		c.Result, c.Found = resultUnknown, err.Error()
	case len(list.Items) == 0:
		c.Result, c.Found = resultUnknown, "no Deployment in namespace "+s.settings.RootNamespace+" has the label app=istiod"
	default:
		for _, container := range list.Items[0].Spec.Template.Spec.Containers {
			c.Found = tagOf(container.Image)
		}
	}
	return c
}

func tagOf(image string) string {
	if i := strings.LastIndex(image, ":"); i > strings.LastIndex(image, "/") {
		return image[i+1:]
	}
	return image
}

func (s *session) checkSerin(ctx context.Context) []checked {
	installed := checked{What: "Serin", Result: resultOK}
	list, err := s.cluster.kube.AppsV1().Deployments(s.serin).List(ctx, metav1.ListOptions{LabelSelector: controllerLabels})
	switch {
	case err != nil:
		installed.Result, installed.Found = resultUnknown, err.Error()
	case len(list.Items) == 0:
		installed.Result, installed.Found = resultMissing, fmt.Sprintf("no Deployment in namespace %s has the label %s", s.serin, controllerLabels)
		installed.Mend = "Install it: kubectl canary install --help. If it runs elsewhere, name that with --serin-namespace."
	default:
		d := list.Items[0]
		installed.Found = fmt.Sprintf("Deployment %s/%s, %d of %d ready", d.Namespace, d.Name, d.Status.ReadyReplicas, d.Status.Replicas)
		for _, container := range d.Spec.Template.Spec.Containers {
			installed.Found += ", image " + container.Image
		}
		if d.Status.ReadyReplicas == 0 {
			installed.Result, installed.Mend = resultMissing, fmt.Sprintf("See why: kubectl -n %s describe pods -l %s", s.serin, controllerLabels)
		}
	}
	config := checked{What: "Serin's configuration", Result: resultOK, Found: "Prometheus at " + redacted(s.settings.Prometheus.URL)}
	if s.unread != nil {
		config.Result, config.Found, config.Mend = resultUnknown, s.unread.Error(), "Name it with --config FILE; the defaults are assumed."
	}
	leading := checked{What: "A leader", Result: resultOK}
	l, err := s.leader(ctx, s.cluster, s.settings)
	switch {
	case err != nil:
		leading.Result, leading.Found = resultUnknown, err.Error()
	case l.stale:
		leading.Result, leading.Found, leading.Mend = resultMissing, l.String(), "Start Serin, or look into its log. Until then kubectl canary abort NAME --direct takes users off a canary."
	default:
		leading.Found = fmt.Sprintf("%s, by Lease %s/%s, renewed %s ago", l.holder, l.namespace, l.name, age(l.silent))
	}
	return []checked{installed, config, leading}
}

// needed are the labels of Istio's metrics that the judge asks for.
var needed = []struct {
	what, metric string
	labels       []string
}{
	{"Metric of requests", "istio_requests_total", []string{"reporter", "destination_workload", "destination_workload_namespace", "response_code"}},
	{"Metric of latency", "istio_request_duration_milliseconds_bucket", []string{"reporter", "destination_workload", "destination_workload_namespace", "le"}},
}

func (s *session) checkPrometheus(ctx context.Context) []checked {
	query, err := s.reachable(ctx)
	if err != nil {
		return []checked{{"Prometheus", resultMissing, strings.Join(strings.Fields(err.Error()), " "), "Without it nobody is sent to a canary. If only you can't reach it, name a way with --prometheus URL."}}
	}
	all := []checked{{What: "Prometheus", Result: resultOK, Found: "it answers"}}
	for _, n := range needed {
		all = append(all, s.checkMetric(ctx, query, n.what, n.metric, n.labels))
	}
	return all
}

func (s *session) checkMetric(ctx context.Context, query prom.Query, what, metric string, labels []string) checked {
	c := checked{What: what, Result: resultOK}
	now := s.program.Now()
	found, err := query(ctx, "count by ("+strings.Join(labels, ", ")+") ("+metric+")", now, now, time.Second)
	switch {
	case err != nil:
		c.Result, c.Found = resultUnknown, err.Error()
		return c
	case len(found.Series) == 0:
		c.Result, c.Found = resultMissing, "Prometheus has no fresh sample of "+metric
		c.Mend = "Let Prometheus scrape the proxies of the mesh (port 15020, /stats/prometheus), and send a request through one."
		return c
	}
	var lacks []string
	for _, label := range labels {
		if !slices.ContainsFunc(found.Series, func(s prom.Series) bool { return s.Labels.Get(label) != "" }) {
			lacks = append(lacks, label)
		}
	}
	c.Found = fmt.Sprintf("%s, %d combinations of %s", metric, len(found.Series), strings.Join(labels, ", "))
	if len(lacks) > 0 {
		c.Result, c.Found = resultMissing, metric+" without the label "+strings.Join(lacks, ", ")
		c.Mend = "Don't drop these labels where Prometheus scrapes (metric_relabel_configs), nor in Istio's Telemetry."
	}
	return c
}

// right is something that somebody may do.
type right struct {
	verbs              []string
	group, resource    string
	subresource, place string // place: "" is the user's namespace
}

func (s *session) checkRights(ctx context.Context) []checked {
	var all []checked
	for _, need := range []struct {
		title, result, mend string
		rights              []right
	}{
		{"You may look (list, status, wait)", resultMissing, "Ask for the right to list and watch them.", []right{
			{verbs: []string{"list", "watch"}, group: "apps", resource: "deployments"},
			{verbs: []string{"list"}, group: "apps", resource: "replicasets"},
			{verbs: []string{"list", "watch"}, group: "apps", resource: "controllerrevisions"},
			{verbs: []string{"list", "watch"}, resource: "services"},
			{verbs: []string{"list"}, resource: "pods"},
			{verbs: []string{"list", "watch"}, group: routes.Group, resource: "virtualservices"},
			{verbs: []string{"list", "watch"}, group: routes.Group, resource: "destinationrules"},
		}},
		{"You may give orders", resultLimited, "abort, pause, promote and the others take it.", []right{{verbs: []string{"get", "patch"}, group: "apps", resource: "deployments"}}},
		{"You may abort without Serin", resultLimited, "abort --direct takes it.", []right{{verbs: []string{"update"}, group: routes.Group, resource: "virtualservices"}}},
		{"You may see live figures", resultLimited, "list and status do without them.", []right{
			{verbs: []string{"get"}, group: "coordination.k8s.io", resource: "leases", place: s.serin},
			{verbs: []string{"create"}, resource: "pods", subresource: "portforward", place: s.serin},
		}},
	} {
		all = append(all, s.allowed(ctx, need.title, need.result, need.mend, "", need.rights))
	}
	account := "system:serviceaccount:" + s.serin + ":serin"
	rights := []right{
		{verbs: []string{"list", "watch", "update"}, group: routes.Group, resource: "virtualservices"},
		{verbs: []string{"list", "watch"}, group: "apps", resource: "deployments"},
		{verbs: []string{"create"}, group: "apps", resource: "controllerrevisions"},
	}
	if s.settings.InPlace.Enabled && s.unread == nil {
		rights = append(rights, right{verbs: []string{"create", "patch"}, group: "apps", resource: "deployments"},
			right{verbs: []string{"create"}, group: routes.Group, resource: "destinationrules"})
	}
	return append(all, s.allowed(ctx, "Serin may do its work here", resultMissing, "Apply deploy/base or deploy/in-place again; docs/least-privilege.md says which right is for what.", account, rights))
}

// allowed asks whether the user, or somebody else, has rights.
func (s *session) allowed(ctx context.Context, what, result, mend, who string, rights []right) checked {
	c := checked{What: what, Result: resultOK, Found: "in namespace " + s.cluster.namespace}
	var lacks []string
	for _, r := range rights {
		for _, verb := range r.verbs {
			may, err := s.may(ctx, who, verb, r)
			if err != nil {
				return checked{What: what, Result: resultUnknown, Found: err.Error()}
			}
			if !may {
				name := r.resource
				if r.subresource != "" {
					name += "/" + r.subresource
				}
				lacks = append(lacks, verb+" "+name)
			}
		}
	}
	if len(lacks) > 0 {
		c.Result, c.Found, c.Mend = result, "without the right to "+strings.Join(lacks, ", "), mend
	}
	return c
}

func (s *session) may(ctx context.Context, who, verb string, r right) (bool, error) {
	namespace := r.place
	if namespace == "" {
		namespace = s.cluster.namespace
	}
	attributes := &authorizationv1.ResourceAttributes{Namespace: namespace, Verb: verb, Group: r.group, Resource: r.resource, Subresource: r.subresource}
	reviews := s.cluster.kube.AuthorizationV1()
	if who == "" {
		answer, err := reviews.SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
			Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: attributes},
		}, metav1.CreateOptions{})
		if err != nil {
			return false, fmt.Errorf("ask what you may do: %w", err)
		}
		return answer.Status.Allowed, nil
	}
	answer, err := reviews.SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{User: who, ResourceAttributes: attributes},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, fmt.Errorf("ask what %s may do: %w", who, err)
	}
	return answer.Status.Allowed, nil
}

func (s *screen) checked(all []checked) {
	width := 0
	for _, c := range all {
		width = max(width, wide(c.What))
	}
	colours := map[string]string{resultOK: green, resultMissing: red, resultUnknown: yellow, resultLimited: yellow}
	for _, c := range all {
		text := c.Found
		if c.Mend != "" {
			text = strings.TrimSuffix(text, ".") + ". " + c.Mend
		}
		s.wrapped(fmt.Sprintf("%-*s  ", width, c.What)+s.paint(colours[c.Result], fmt.Sprintf("%-7s  ", c.Result)), text)
	}
}
