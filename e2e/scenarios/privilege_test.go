package scenarios

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"serin.dev/serin/e2e/scenarios/rights"
)

// tried are the namespaces in which tests ask as Serin for what is refused.
var tried = []string{guardNamespace, routesNamespace}

// excused are the rights that need no use in a run of the scenarios, and those that
// Serin has by other roles.
var excused = slices.Concat(
	// Lists come as a stream of the watch where the API server can, which this one can.
	unless("lists can't be streamed",
		rights.Right{Group: "apps", Resource: "controllerrevisions", Verb: "list"},
		rights.Right{Group: "apps", Resource: "deployments", Verb: "list"},
		rights.Right{Resource: "namespaces", Verb: "list"},
		rights.Right{Resource: "services", Verb: "list"},
		rights.Right{Group: "networking.istio.io", Resource: "destinationrules", Verb: "list"},
		rights.Right{Group: "networking.istio.io", Resource: "virtualservices", Verb: "list"},
	),
	unless("a Service has had more releases than any has here",
		rights.Right{Group: "apps", Resource: "controllerrevisions", Verb: "delete"},
	),
	unless("the guard is the webhook, which another account is in these scenarios",
		rights.Right{Group: "admissionregistration.k8s.io", Resource: "mutatingwebhookconfigurations", Verb: "get"},
	),
)

// unless excuses rights that are used only if something is so.
func unless(why string, all ...rights.Right) (out []rights.Excuse) {
	for _, r := range all {
		out = append(out, rights.Excuse{Right: r, Why: "unused unless " + why})
	}
	return out
}

// played counts the scenarios that were begun.
var played atomic.Int64

// keptToItsRights reads in the audit log what the controller ever asked for. It
// needed no right that it does not have, and has none that it did not need; it
// wrote no workload but in place, saw no Secret, and asked for nothing in other
// namespaces than the ones it was told.
func keptToItsRights(t *testing.T) {
	requests := serinsRequests(t)
	inPlace := shared.inPlaceNamespaces(t)
	for _, r := range requests {
		right := r.Right()
		workload := right.Resource == "deployments" || right.Resource == "destinationrules"
		switch {
		case r.Resp.Code == 403:
			t.Errorf("it may not %s: %+v", right, r.Ref)
		case right.Resource == "secrets":
			t.Errorf("it asked to %s: %+v", right, r.Ref)
		case !r.Reads() && workload && !inPlace[r.Ref.Namespace]:
			t.Errorf("it asked to %s in pair mode: %+v", right, r.Ref)
		case r.Ref.Namespace == "" && !slices.Contains(clusterWide, right.Resource):
			t.Errorf("it asked to %s in all namespaces", right)
		}
	}
	base, err := rights.Granted(manifests(t, "base/rbac.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	more, err := rights.Granted(manifests(t, "in-place/rights/rbac.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	// Both are granted here. Who has the base alone must not miss anything.
	pair := slices.DeleteFunc(slices.Clone(requests), func(r rights.Request) bool { return r.Ref.Namespace == "" || inPlace[r.Ref.Namespace] })
	if err := rights.Beyond(rights.Uses(pair, base), base); err != nil {
		t.Errorf("with the rights of the base alone:\n%v", err)
	}
	granted := slices.Concat(base, more)
	use := rights.Uses(requests, granted)
	table := rights.Table(use, granted, excused)
	t.Logf("%d requests, by right:\n%s", len(requests), table)
	if err := os.WriteFile(filepath.Join(filepath.Dir(shared.box.AuditLog()), "rights.txt"), []byte(table), 0o644); err != nil {
		t.Error(err)
	}
	if played.Load() < int64(cores()) {
		t.Log("Too few scenarios were played to tell which rights are needed.")
		return
	}
	if err := rights.Check(use, granted, excused); err != nil {
		t.Error(err)
	}
}

// clusterWide are the kinds that are in no namespace.
var clusterWide = []string{"namespaces", "mutatingadmissionpolicies", "mutatingadmissionpolicybindings", "selfsubjectreviews"}

// serinsRequests are those of the controllers that the scenarios started.
func serinsRequests(t *testing.T) []rights.Request {
	t.Helper()
	return slices.DeleteFunc(requestsBy(t, serviceAccount), func(r rights.Request) bool { return slices.Contains(tried, r.Ref.Namespace) })
}

// requestsBy are a user's.
func requestsBy(t *testing.T, user string) []rights.Request {
	t.Helper()
	f, err := os.Open(shared.box.AuditLog())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, err := rights.Requests(f, user)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 && played.Load() > 0 {
		t.Errorf("the audit log has no request by %s", user)
	}
	return all
}

// manifests is a file of deploy.
func manifests(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(fmt.Errorf("read what is installed: %w", err))
	}
	return string(text)
}

// narrow has a controller whose account has the rights of the base in its namespace
// alone, as deploy/namespaced makes it.
func narrow(t *testing.T, name string) {
	const account = "{kind: ServiceAccount, name: serin, namespace: narrow}"
	binding := `
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: narrow, namespace: %s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: %s, name: %s}
subjects: [` + account + `]
---
`
	st := open(t, name, script{account: "system:serviceaccount:narrow:serin", more: fmt.Sprintf(binding, name, "ClusterRole", "serin") +
		fmt.Sprintf(binding, "serin-system", "Role", "serin-leader") +
		strings.ReplaceAll(manifests(t, "namespaced/rbac.yaml"), "serin-system", "narrow")})
	st.release(quick, nil)
	st.reachesPhase("Succeeded")
	st.told("Promoted")
	for _, r := range requestsBy(t, "system:serviceaccount:narrow:serin") {
		if r.Resp.Code == 403 {
			t.Errorf("it may not %s: %+v", r.Right(), r.Ref)
		}
	}
	st.close("v2", "v2")
}

// cores is the number of scenarios that are always played.
func cores() (n int) {
	for _, s := range scenarios {
		if s.kind == core {
			n++
		}
	}
	return n
}
