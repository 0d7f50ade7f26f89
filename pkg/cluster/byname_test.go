package cluster_test

import (
	"net/http"
	"testing"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"serin.dev/serin/internal/apiserver"
	"serin.dev/serin/pkg/cluster"
	"serin.dev/serin/pkg/topology"
)

// unlisted is an API server at which namespaces may be read and not listed.
type unlisted struct{ *apiserver.Server }

func (u unlisted) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.URL.Path == "/api/v1/namespaces" {
		return apiserver.Refuse(http.StatusForbidden, "Forbidden", "not for you")
	}
	return u.Server.RoundTrip(request)
}

func TestWhoMayNotListNamespacesReadsOneByItsName(t *testing.T) {
	server := apiserver.New()
	server.Put(map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "shop", "labels": map[string]any{"team": "shop"}}})
	server.Put(map[string]any{"apiVersion": "v1", "kind": "Service", "metadata": map[string]any{"name": "web", "namespace": "shop"}, "spec": map[string]any{"selector": map[string]any{"app": "web"}}})
	server.Put(map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": "web", "namespace": "shop"}, "spec": map[string]any{
		"selector": map[string]any{"matchLabels": map[string]any{"app": "web"}},
		"template": map[string]any{"metadata": map[string]any{"labels": map[string]any{"app": "web"}}, "spec": map[string]any{"containers": []any{}}},
	}})
	config := &rest.Config{Host: "http://api.test", Transport: unlisted{server}, QPS: -1,
		ContentConfig: rest.ContentConfig{ContentType: "application/json", AcceptContentTypes: "application/json"}}
	for name, asking := range map[string]string{"as it is": "", "as if it asked for releases": "shop/web"} {
		t.Run(name, func(t *testing.T) {
			c, err := cluster.New(cluster.Options{
				Kube: kubernetes.NewForConfigOrDie(config), Dynamic: dynamic.NewForConfigOrDie(config),
				Namespaces: []string{"shop"}, ByName: true, Asking: asking, ClusterDomain: "cluster.local",
			})
			if err != nil {
				t.Fatal(err)
			}
			go c.Run(t.Context())
			if !c.WaitForSync(t.Context()) {
				t.Fatal("it never has all")
			}
			o, err := c.Objects(t.Context(), cluster.Key{Namespace: "shop", Name: "web"})
			if err != nil {
				t.Fatal(err)
			}
			if o.NamespaceLabels["team"] != "shop" {
				t.Errorf("the labels are %v", o.NamespaceLabels)
			}
			if asked := len(topology.Candidates(o)) == 1; asked != (asking != "") {
				t.Errorf("it asks for releases: %v", asked)
			}
		})
	}
}
