package cli

import (
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"

	"serin.dev/serin/internal/apiserver"
)

// applying keeps what was applied by server-side apply, by its path without /api
// or /apis, and whose it is.
type applying struct {
	mu    sync.Mutex
	texts map[string]string // with who applied it
	taken map[string]bool   // somebody else manages it
}

func (a *applying) apply(r *http.Request) (*http.Response, error) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	_, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if a.taken[path] && r.URL.Query().Get("force") != "true" {
		return apiserver.Refuse(http.StatusConflict, "Conflict", "Apply failed with 1 conflict: conflict with %q", "argocd")
	}
	if a.texts == nil {
		a.texts = map[string]string{}
	}
	a.texts[path] = string(text) + r.URL.Query().Get("fieldManager")
	return apiserver.Answer(http.StatusOK, map[string]any{"apiVersion": "v1", "kind": "Applied", "metadata": map[string]any{}})
}

// shopApplied fails unless a path was applied with a text: applied v1/namespaces/shop TEXT.
func shopApplied(ts *testscript.TestScript, _ bool, args []string) {
	a := &ts.Value("shop").(*shop).applying
	a.mu.Lock()
	defer a.mu.Unlock()
	if !strings.Contains(a.texts[args[0]], args[1]) {
		ts.Fatalf("applied is %q", a.texts[args[0]])
	}
}

// shopTaken has somebody else manage what is at a path.
func shopTaken(ts *testscript.TestScript, _ bool, args []string) {
	a := &ts.Value("shop").(*shop).applying
	a.mu.Lock()
	defer a.mu.Unlock()
	a.taken = map[string]bool{args[0]: true}
}

// kinds are those of Serin's manifests that a cluster knows, by group and version:
// plural and kind, with a * where they are the cluster's.
var kinds = map[string][]string{
	"v1":                              {"configmaps ConfigMap", "namespaces Namespace *", "services Service", "serviceaccounts ServiceAccount"},
	"apps/v1":                         {"deployments Deployment"},
	"networking.k8s.io/v1":            {"networkpolicies NetworkPolicy"},
	"policy/v1":                       {"poddisruptionbudgets PodDisruptionBudget"},
	"rbac.authorization.k8s.io/v1":    {"roles Role", "rolebindings RoleBinding", "clusterroles ClusterRole *", "clusterrolebindings ClusterRoleBinding *"},
	"admissionregistration.k8s.io/v1": {"validatingadmissionpolicies ValidatingAdmissionPolicy *", "validatingadmissionpolicybindings ValidatingAdmissionPolicyBinding *"},
}

var discovered = regexp.MustCompile(`^/(api/v1|apis/[a-z0-9.]+/v1)$`)

// discover answers which kinds there are, as clusters do that answer for each
// group alone.
func discover(path string) (*http.Response, error) {
	switch path {
	case "/api":
		return apiserver.Answer(http.StatusOK, map[string]any{"kind": "APIVersions", "versions": []any{"v1"}})
	case "/apis":
		var groups []any
		for version := range kinds {
			if group, _, grouped := strings.Cut(version, "/"); grouped {
				v := map[string]any{"groupVersion": version, "version": "v1"}
				groups = append(groups, map[string]any{"name": group, "versions": []any{v}, "preferredVersion": v})
			}
		}
		return apiserver.Answer(http.StatusOK, map[string]any{"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
	}
	version := strings.TrimPrefix(strings.TrimPrefix(path, "/apis/"), "/api/")
	resources := []any{}
	for _, k := range kinds[version] {
		words := strings.Fields(k)
		resources = append(resources, map[string]any{
			"name": words[0], "kind": words[1], "namespaced": !slices.Contains(words, "*"), "verbs": []any{"get", "list", "patch"},
		})
	}
	return apiserver.Answer(http.StatusOK, map[string]any{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources})
}
