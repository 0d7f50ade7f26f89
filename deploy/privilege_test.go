package deploy_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"serin.dev/serin/pkg/annotation"
	"serin.dev/serin/pkg/canary"
)

var update = flag.Bool("update", false, "write the generated table into the documentation")

// need is why verbs on a kind are needed.
type need struct{ resource, verbs, why string }

// The reasons for all that the roles grant, each verb in one of them.
var (
	needsOfBase = []need{
		{"apps/deployments", "list watch", "which Deployments are opted in, their templates, replicas and commands"},
		{"apps/deployments", "get", "a raise of the canary's share waits for a look at the object itself, past all caches"},
		{"apps/replicasets", "list", "which template the pods of a release really run"},
		{"/namespaces", "list watch", "which namespaces are in the mesh"},
		{"/pods", "list watch", "whether the pods of a release under way are ready, and why not"},
		{"/services", "list watch", "which Service a Deployment is behind"},
		{"networking.istio.io/destinationrules", "list watch", "the subsets that tell the versions apart"},
		{"networking.istio.io/virtualservices", "list watch", "which routes lead to the Service, and the state that stands on them"},
		{"networking.istio.io/virtualservices", "get", "the same look at the route itself"},
		{"networking.istio.io/virtualservices", "update", "weights, the header route, and the state that is written with them; bounded by the policy `serin-routes`"},
		{"apps/controllerrevisions", "list watch", "the history of releases, owned by the Service"},
		{"apps/controllerrevisions", "get", "what is recorded of a release that ends"},
		{"apps/controllerrevisions", "create patch", "a release that begins is recorded, and how it ends"},
		{"apps/controllerrevisions", "delete", "old records go"},
		{"/configmaps", "get", "the ones that a released pod template names, of which a hash is kept: by it people see before a rollback what has changed since. Without this right only the names are kept"},
		{"discovery.k8s.io/endpointslices", "list", "whether stable's ready pods are behind the Service, looked at after a rollback. Without this right a rollback is called unverified"},
		{"autoscaling/horizontalpodautoscalers", "list", "whether stable's autoscaler would shrink it while the canary has the traffic, asked once in a release; and what scales a Deployment that is released in place"},
		{"events.k8s.io/events", "create", "people are told"},
	}
	needsOfLeader = []need{
		{"coordination.k8s.io/leases", "get create update", "the replicas agree on which of them works"},
	}
	needsInPlace = []need{
		{"apps/deployments", "create", "the canary beside the user's Deployment"},
		{"apps/deployments", "patch", "the canary's replicas, and the pause of the user's"},
		{"apps/deployments", "delete", "the canary goes"},
		{"apps/replicasets", "get", "the template that runs, whole: `on-rollback: restore` puts it back"},
		{"networking.istio.io/destinationrules", "get", "a raise waits for a look at the subsets themselves"},
		{"networking.istio.io/destinationrules", "create update delete", "the two subsets of a release"},
		{"networking.istio.io/virtualservices", "create delete", "a route for the mesh, where the user has none"},
		{"policy/poddisruptionbudgets", "list", "what counts the canary's pods, and so may stand in its way"},
		{"/resourcequotas", "list", "likewise"},
		{"admissionregistration.k8s.io/mutatingadmissionpolicies", "get", "whether the guard is there; of the name `serin-in-place` only"},
		{"admissionregistration.k8s.io/mutatingadmissionpolicybindings", "get", "likewise"},
		{"admissionregistration.k8s.io/mutatingwebhookconfigurations", "get", "likewise, where the guard is the webhook"},
	}
)

// needsNamespaced are the others' reasons for what is in no namespace.
func needsNamespaced() (out []need) {
	for _, n := range slices.Concat(needsOfBase, needsInPlace) {
		if n.resource == "/namespaces" || strings.HasPrefix(n.resource, "admissionregistration.k8s.io/") {
			out = append(out, n)
		}
	}
	return out
}

func TestEveryRightHasItsReason(t *testing.T) {
	for name, c := range map[string]struct {
		rules []rbacv1.PolicyRule
		needs []need
	}{
		"the base":        {only[*rbacv1.ClusterRole](t).Rules, needsOfBase},
		"its own Lease":   {only[*rbacv1.Role](t).Rules, needsOfLeader},
		"some namespaces": {decode(t, filepath.Join("namespaced", "rbac.yaml"), parts["rights"])[0].(*rbacv1.ClusterRole).Rules, needsNamespaced()},
		"in-place's role": {one[*rbacv1.ClusterRole](t, "rights", "serin-in-place").Rules, needsInPlace},
	} {
		want := map[string][]string{}
		for _, n := range c.needs {
			want[n.resource] = append(want[n.resource], strings.Fields(n.verbs)...)
		}
		for resource := range want {
			slices.Sort(want[resource])
		}
		if got := rights(t, c.rules); !maps.EqualFunc(got, want, slices.Equal) {
			t.Errorf("%s grants\n%v\nand reasons are there for\n%v", name, got, want)
		}
	}
}

// The documentation shows the same reasons.
func TestTheDocumentationIsCurrent(t *testing.T) {
	const (
		file  = "../docs/least-privilege.md"
		begin = "<!-- rights: begin, generated by go test ./deploy -update -->\n"
		end   = "<!-- rights: end -->\n"
	)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, opened := strings.Cut(string(text), begin)
	have, after, closed := strings.Cut(rest, end)
	if !opened || !closed {
		t.Fatalf("%s has no place for the table", file)
	}
	table := table("In every namespace, or the ones it is bound to (`deploy/base`)", needsOfBase) +
		table("In its own namespace (`deploy/base`)", needsOfLeader) +
		table("For releases in place, beside those (`deploy/in-place`)", needsInPlace)
	if have == table {
		return
	}
	if !*update {
		t.Fatalf("%s is not current: run go test ./deploy -update", file)
	}
	if err := os.WriteFile(file, []byte(before+begin+table+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

func table(title string, needs []need) string {
	var b strings.Builder
	fmt.Fprintf(&b, "**%s**\n\n| kind | verbs | what for |\n|---|---|---|\n", title)
	for _, n := range needs {
		group, resource, _ := strings.Cut(n.resource, "/")
		if group != "" {
			resource += "." + group
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", resource, strings.Join(strings.Fields(n.verbs), ", "), n.why)
	}
	b.WriteString("\n")
	return b.String()
}

// What bounds the controller is about nobody else, and about it in every namespace.
func expectBounds(t *testing.T, p *admissionv1.ValidatingAdmissionPolicy) {
	t.Helper()
	account := only[*corev1.ServiceAccount](t).Name
	if c := p.Spec.MatchConditions; len(c) != 1 || c[0].Expression != "request.userInfo.username.matches('^system:serviceaccount:[^:]+:"+account+"$')" {
		t.Errorf("%s is about %v", p.Name, c)
	}
	if *p.Spec.FailurePolicy != admissionv1.Fail {
		t.Errorf("%s would bound nothing when it fails", p.Name)
	}
}

func TestTheControllersRoutesAreBounded(t *testing.T) {
	p, b := only[*admissionv1.ValidatingAdmissionPolicy](t), only[*admissionv1.ValidatingAdmissionPolicyBinding](t)
	expectBounds(t, p)
	if b.Spec.PolicyName != p.Name || b.Spec.MatchResources != nil || !slices.Equal(b.Spec.ValidationActions, []admissionv1.ValidationAction{admissionv1.Deny}) {
		t.Errorf("it is bound by %+v", b.Spec)
	}
	text := string(read(t, "routes.yaml"))
	for what, part := range map[string]string{"its state": "startsWith('" + canary.StatePrefix + "')", "its own routes": "startsWith('serin-canary.')"} {
		if !strings.Contains(text, part) {
			t.Errorf("it does not know %s by %s", what, part)
		}
	}
	for _, v := range p.Spec.Validations {
		if v.Message == "" && v.MessageExpression == "" {
			t.Errorf("nobody is told what is wrong if this is not so: %s", v.Expression)
		}
	}
}

func TestNobodyCanSignACommandForAnother(t *testing.T) {
	k := readComponent(t, "command-by")
	if k.Kind != "Component" || !slices.Equal(k.Resources, []string{"command-by.yaml"}) {
		t.Fatalf("the component is %+v", k)
	}
	objects := decode(t, filepath.Join("command-by", "command-by.yaml"), parts["policy"])
	p, b := objects[0].(*admissionv1.MutatingAdmissionPolicy), objects[1].(*admissionv1.MutatingAdmissionPolicyBinding)
	if *p.Spec.FailurePolicy != admissionv1.Fail || b.Spec.PolicyName != p.Name || b.Spec.MatchResources != nil {
		t.Errorf("it may be passed over: %+v, %+v", p.Spec, b.Spec)
	}
	parsed, err := annotation.Parse(map[string]string{
		"serin.dev/canary": "true", "serin.dev/command": "abort", "serin.dev/command-by": "jane",
	}, annotation.Vocabulary{Defaults: annotation.Defaults()})
	if err != nil || parsed.Command.By != "jane" {
		t.Errorf("what it writes is read as %+v, %v", parsed.Command, err)
	}
	if text := fmt.Sprint(p.Spec); !strings.Contains(text, "[?'serin.dev/command']") || !strings.Contains(text, "escapeKey('serin.dev/command-by')") {
		t.Errorf("it looks at other annotations: %s", text)
	}
}

// Nothing reaches a pod of the namespace, or is reached from it, but what the
// controller's own policy lists.
func TestTheNetworkIsClosedButForWhatIsNeeded(t *testing.T) {
	var deny, own *networkingv1.NetworkPolicy
	for _, o := range objects(t) {
		if p, ok := o.(*networkingv1.NetworkPolicy); ok && p.Name == "default-deny" {
			deny = p
		} else if ok {
			own = p
		}
	}
	both := []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}
	if deny == nil || len(deny.Spec.PodSelector.MatchLabels)+len(deny.Spec.Ingress)+len(deny.Spec.Egress) > 0 || !slices.Equal(deny.Spec.PolicyTypes, both) {
		t.Fatalf("what is denied is %+v", deny)
	}
	d := only[*appsv1.Deployment](t)
	if own == nil || !selects(own.Spec.PodSelector.MatchLabels, d) || !slices.Equal(own.Spec.PolicyTypes, both) {
		t.Fatalf("what is allowed is %+v", own)
	}
	if in := own.Spec.Ingress; len(in) != 1 || len(in[0].Ports) != 1 || in[0].Ports[0].Port.String() != d.Spec.Template.Spec.Containers[0].Ports[0].Name {
		t.Errorf("it is reached by %+v", in)
	}
	var ports []string
	for _, rule := range own.Spec.Egress {
		for _, p := range rule.Ports {
			ports = append(ports, p.Port.String())
		}
	}
	if want := []string{"53", "53", "443", "6443", "9090"}; !slices.Equal(ports, want) {
		t.Errorf("it reaches the ports %v, want %v", ports, want)
	}
	// Where the configuration says Prometheus is.
	to := own.Spec.Egress[2].To[0].NamespaceSelector.MatchLabels["kubernetes.io/metadata.name"]
	if text := string(read(t, "serin.yaml")); !strings.Contains(text, "url: http://prometheus."+to+":9090\n") {
		t.Errorf("it may reach the port 9090 of %s, and the configuration is\n%s", to, text)
	}
	if patches := readComponent(t, inPlace, "webhook").Patches; len(patches) != 2 || !strings.Contains(patches[1].Patch, "{ports: [{port: webhook, protocol: TCP}]}") {
		t.Errorf("the webhook is not reached: %+v", patches)
	}
}

func TestTheTokenGoesToTheControllerAlone(t *testing.T) {
	account, pod := only[*corev1.ServiceAccount](t), only[*appsv1.Deployment](t).Spec.Template.Spec
	if account.AutomountServiceAccountToken == nil || *account.AutomountServiceAccountToken {
		t.Error("every pod with the account gets its token")
	}
	if pod.AutomountServiceAccountToken == nil || !*pod.AutomountServiceAccountToken {
		t.Error("the controller gets no token")
	}
}

// Every place that names the account in full is known to the transformer that
// renames it.
func TestTheAccountIsRenamedEverywhere(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("account", "account.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var transformer struct {
		Replacements []struct {
			Targets []struct {
				Select  struct{ Kind, Name string }
				Options struct {
					Delimiter string
					Index     int
				}
			}
		}
	}
	if err := yaml.Unmarshal(text, &transformer); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, target := range transformer.Replacements[0].Targets {
		known[target.Select.Kind+"/"+target.Select.Name] = target.Options.Delimiter == ":" && target.Options.Index == 2
	}
	named := map[string]bool{}
	for _, pattern := range []string{"*/*.yaml", "*/*/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			for _, o := range naming(t, file, self(t)) {
				named[o] = true
			}
		}
	}
	if !maps.Equal(named, known) {
		t.Errorf("the account is named in %v, and renamed in %v", named, known)
	}
}

// naming lists the objects of a file that hold a text.
func naming(t *testing.T, file, part string) (names []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		if !strings.Contains(document, part) {
			continue
		}
		var o struct {
			Kind     string
			Metadata struct{ Name string }
		}
		if err := yaml.Unmarshal([]byte(document), &o); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		names = append(names, o.Kind+"/"+o.Metadata.Name)
	}
	return names
}
