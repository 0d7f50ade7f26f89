package scenarios

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/route"
)

// routesNamespace is where the policy serin-routes is tried, with Serin's own
// credentials. Its account has all rights there, so that what is refused is
// refused by the policy.
const routesNamespace = "guard-routes"

const routesPlatform = `
apiVersion: v1
kind: Namespace
metadata: {name: ` + routesNamespace + `}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: serin-may-all, namespace: ` + routesNamespace + `}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: serin, namespace: serin-system}]
`

// userRoutes is a VirtualService of a user's, in mid-release: a weight and the
// header route are Serin's.
const userRoutes = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: web
  namespace: ` + routesNamespace + `
  labels: {team: shop}
  annotations: {owner: jane, serin.dev/state.web: "{}"}
spec:
  hosts: [shop.example.com]
  gateways: [istio-system/gateway]
  exportTo: ["."]
  http:
  - name: serin-canary.web.api
    match: [{uri: {prefix: /api}, headers: {x-app-version: {exact: canary}}}]
    timeout: 5s
    route: [{destination: {host: web, subset: v2}}]
  - name: api
    match: [{uri: {prefix: /api}}]
    timeout: 5s
    route:
    - {destination: {host: web, subset: v1}, weight: 95}
    - {destination: {host: web, subset: v2}, weight: 5}
  - name: gold
    match: [{headers: {x-tier: {exact: gold}}}]
    retries: {attempts: 2}
    mirror: {host: audit}
    route: [{destination: {host: web, subset: v1}, headers: {request: {set: {tier: gold}}}}]
  - name: old
    match: [{uri: {prefix: /old}}]
    redirect: {uri: /}
  - name: other
    match: [{uri: {prefix: /other}}]
    mirrors: [{destination: {host: audit}, percentage: {value: 5}}]
    route:
    - {destination: {host: web, subset: v1}, weight: 80}
    - {destination: {host: web.guard-routes.svc.cluster.local, subset: v2}, weight: 0}
    - {destination: {host: static}, weight: 20}
  - route: [{destination: {host: web, subset: v1}}]
  tcp:
  - route: [{destination: {host: db}}]
`

// tree is a document, and how tests change it.
type tree map[string]any

func (d tree) spec() tree { return d["spec"].(map[string]any) }
func (d tree) meta() tree { return d["metadata"].(map[string]any) }

// routes are those of HTTP; at is one of them by its place.
func (d tree) routes() []any       { return d.spec()["http"].([]any) }
func (d tree) at(i int) tree       { return d.routes()[i].(map[string]any) }
func (d tree) setRoutes(all []any) { d.spec()["http"] = all }

// to is a destination of a route, by their places.
func (d tree) to(i, j int) tree { return d.at(i)["route"].([]any)[j].(map[string]any) }

func (d tree) destination(i, j int) tree { return d.to(i, j)["destination"].(map[string]any) }

func (d tree) weigh(i int, weights ...int) {
	for j, w := range weights {
		d.to(i, j)["weight"] = int64(w)
	}
}

// own inserts a route of Serin's before another: its copy, changed.
func (d tree) own(i int, change func(r tree)) {
	copied := tree(route.Clone(d.at(i)))
	copied["name"] = "serin-canary.web.new"
	copied["route"] = []any{map[string]any{"destination": map[string]any{"host": "web", "subset": "v1"}}}
	copied["match"] = []any{map[string]any{"headers": map[string]any{"x-app-version": map[string]any{"exact": "canary"}}}}
	change(copied)
	all := append([]any{}, d.routes()[:i]...)
	d.setRoutes(append(append(all, map[string]any(copied)), d.routes()[i:]...))
}

// written is a document as YAML.
func written(text string) map[string]any {
	o := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &o); err != nil {
		panic(err) // of the tests' own text
	}
	return o
}

// put asks as Serin for an update to what the document is, and has nothing stored.
func (g guardTest) put(ctx context.Context, doc map[string]any) error {
	text, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	o := &unstructured.Unstructured{}
	if err := o.UnmarshalJSON(text); err != nil {
		return err
	}
	_, err = g.serin.Resource(virtualServices).Namespace(routesNamespace).Update(ctx, o, metav1.UpdateOptions{DryRun: dry})
	return err
}

// stored applies a document as its user, and returns what is there then.
func (g guardTest) stored(t *testing.T, doc map[string]any) map[string]any {
	t.Helper()
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	o := &unstructured.Unstructured{}
	if err := o.UnmarshalJSON(text); err != nil {
		t.Fatal(err)
	}
	o.SetManagedFields(nil)
	o.SetResourceVersion("")
	there, err := g.people.Resource(virtualServices).Namespace(routesNamespace).Apply(t.Context(), o.GetName(), o, metav1.ApplyOptions{FieldManager: "people", Force: true})
	if err != nil {
		t.Fatal(err)
	}
	return there.Object
}

// TestRoutePolicy tries what deploy/base lets Serin write in VirtualServices on the
// real API server.
func TestRoutePolicy(t *testing.T) {
	g, err := shared.guarded()
	if err != nil {
		t.Fatal(err)
	}
	st := &stage{T: t, world: shared, name: routesNamespace}
	st.apply(routesPlatform)
	doc := g.stored(t, written(userRoutes))
	st.until("the API server goes by the policy", func() error {
		other := tree(route.Clone(doc))
		other.spec()["hosts"] = []any{"other"}
		if err := g.put(t.Context(), other); err == nil || !strings.Contains(err.Error(), "serin-routes") {
			return errors.Join(errors.New("an update of the hosts is not refused"), err)
		}
		return nil
	})
	t.Run("what Serin may write", func(t *testing.T) { g.mayRoute(t, doc) })
	t.Run("what Serin may not write", func(t *testing.T) { g.mayNotRoute(t, doc) })
	t.Run("other copies and cookies", func(t *testing.T) { g.mayNotCopyOrKeep(t, doc) })
	t.Run("copies and cookies", func(t *testing.T) { g.mayCopyAndKeep(t, doc) })
	t.Run("what people may write", func(t *testing.T) {
		other := tree(route.Clone(doc))
		other.spec()["hosts"] = []any{"other.example.com"}
		g.stored(t, other)
		g.stored(t, doc)
	})
	t.Run("what is wrong already may stay", g.mayLeave)
	t.Run("any routes", g.anyRoutes)
	t.Run("a thousand routes", g.thousandRoutes)
	t.Run("hundreds of routes whose users are kept", g.hundredsOfKept)
}

var web = route.Service{Namespace: routesNamespace, Name: "web", ClusterDomain: "cluster.local"}

// mayRoute tries edits that are all right.
func (g guardTest) mayRoute(t *testing.T, doc map[string]any) {
	for name, change := range map[string]func(d tree){
		"nothing":              func(tree) {},
		"another weight":       func(d tree) { d.weigh(1, 75, 25) },
		"all to the canary":    func(d tree) { d.weigh(1, 0, 100) },
		"its state":            func(d tree) { d.meta()["annotations"].(map[string]any)["serin.dev/state.web"] = `{"v":1}` },
		"the state goes":       func(d tree) { delete(d.meta()["annotations"].(map[string]any), "serin.dev/state.web") },
		"another's state":      func(d tree) { d.meta()["annotations"].(map[string]any)["serin.dev/state.api"] = "{}" },
		"its header route":     func(d tree) { d.setRoutes(d.routes()[1:]) },
		"who owns the fields":  func(d tree) { d.meta()["managedFields"] = []any{map[string]any{}} },
		"a canary beside one":  func(d tree) { d.split(5, "v2"); d.weigh(5, 95, 5) },
		"the names of a host":  func(d tree) { d.weigh(4, 40, 40, 20) },
		"stable by its pods":   func(d tree) { d.destination(5, 0)["subset"] = "serin-stable" },
		"a route for testers":  func(d tree) { d.own(5, func(tree) {}) },
		"testers of the other": func(d tree) { d.own(4, func(r tree) { r["match"] = under("/other") }) },
		"testers, by a cookie": func(d tree) {
			d.own(5, func(r tree) {
				r["match"] = []any{map[string]any{"headers": map[string]any{"cookie": map[string]any{"regex": ".*track=canary.*"}}}}
			})
		},
		"testers of a header route, with its other settings": func(d tree) {
			d.own(2, func(r tree) {
				r["match"] = []any{map[string]any{"headers": map[string]any{"x-tier": map[string]any{"exact": "gold"}, "x-app-version": map[string]any{"exact": "canary"}}}}
				r["route"] = []any{map[string]any(d.to(2, 0))}
			})
		},
		"testers of two Services that share a route": func(d tree) {
			d.own(5, func(tree) {})
			d.own(6, func(r tree) { r["name"] = "serin-canary.zoo" })
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := tree(route.Clone(doc))
			change(d)
			if err := g.put(t.Context(), d); err != nil {
				t.Error(err)
			}
		})
	}
}

// under are conditions for the header under a path.
func under(path string) []any {
	return []any{map[string]any{"uri": map[string]any{"prefix": path}, "headers": map[string]any{"x-app-version": map[string]any{"exact": "canary"}}}}
}

// split puts beside a route's only destination a copy with another subset.
func (d tree) split(i int, subset string) {
	fresh := tree(route.Clone(d.to(i, 0)))
	fresh["destination"].(map[string]any)["subset"] = subset
	d.at(i)["route"] = append(d.at(i)["route"].([]any), map[string]any(fresh))
}

// mayNotRoute tries what Serin has the rights for and must not do.
func (g guardTest) mayNotRoute(t *testing.T, doc map[string]any) {
	const (
		identity = "Serin changes no labels, owners or finalizers"
		number   = "Serin adds and removes its own routes only"
		more     = "more would change in route "
		others   = "others would come or go in route "
		shares   = "shares would change in route "
		copies   = "Serin sends copies to a destination of the route without users, by one mirror, and others would come or go in route "
		unlike   = "stands before no route that it is like"
		astray   = "leads elsewhere than the route behind it"
		grasping = "takes other requests than those of the route behind it with a header"
	)
	for name, c := range map[string]struct {
		change func(d tree)
		want   string
	}{
		"another host is taken":       {func(d tree) { d.spec()["hosts"] = []any{"shop.example.com", "bank.example.com"} }, "not spec.hosts"},
		"another gateway is taken":    {func(d tree) { d.spec()["gateways"] = []any{"mesh"} }, "not spec.gateways"},
		"the gateways go":             {func(d tree) { delete(d.spec(), "gateways") }, "not spec.gateways"},
		"others may see it":           {func(d tree) { d.spec()["exportTo"] = []any{"*"} }, "not spec.exportTo"},
		"a tcp route leads elsewhere": {func(d tree) { d.spec()["tcp"] = written(`tcp: [{route: [{destination: {host: evil}}]}]`)["tcp"] }, "not spec.tcp"},
		"the tcp routes go":           {func(d tree) { delete(d.spec(), "tcp") }, "not spec.tcp"},
		"a tls route comes": {func(d tree) {
			d.spec()["tls"] = written(`tls: [{match: [{sniHosts: [a.b]}], route: [{destination: {host: web}}]}]`)["tls"]
		}, "not spec.tls"},
		"a label comes":                         {func(d tree) { d.meta()["labels"].(map[string]any)["a"] = "b" }, identity},
		"a label goes":                          {func(d tree) { delete(d.meta(), "labels") }, identity},
		"an owner comes":                        {func(d tree) { d.meta()["ownerReferences"] = written(`a: [` + serviceOwner + `]`)["a"] }, identity},
		"a finalizer keeps it":                  {func(d tree) { d.meta()["finalizers"] = []any{"serin.dev/stay"} }, identity},
		"an annotation of others is changed":    {func(d tree) { d.meta()["annotations"].(map[string]any)["owner"] = "joe" }, "not the annotation owner"},
		"an annotation of others goes":          {func(d tree) { delete(d.meta()["annotations"].(map[string]any), "owner") }, "not the annotation owner"},
		"an annotation comes, and is empty":     {func(d tree) { d.meta()["annotations"].(map[string]any)["serin.dev/allow"] = "" }, "not the annotation serin.dev/allow"},
		"a route of the user's goes":            {func(d tree) { d.setRoutes(d.routes()[:5]) }, number},
		"all routes go":                         {func(d tree) { delete(d.spec(), "http") }, number},
		"a route comes":                         {func(d tree) { d.setRoutes(append(d.routes(), route.Clone(d.at(5)))) }, number},
		"a route of the user's becomes its own": {func(d tree) { d.at(4)["name"] = "serin-canary.web" }, number},
		"routes change their places":            {func(d tree) { r := d.routes(); r[4], r[5] = r[5], r[4] }, more + "4"},
		"a timeout is changed":                  {func(d tree) { d.at(1)["timeout"] = "60s" }, more + "1"},
		"the timeout goes":                      {func(d tree) { delete(d.at(1), "timeout") }, more + "1"},
		"retries are changed":                   {func(d tree) { d.at(2)["retries"] = map[string]any{"attempts": int64(9)} }, more + "2"},
		"a condition on a header is changed":    {func(d tree) { d.at(2)["match"] = written(`m: [{headers: {x-tier: {prefix: g}}}]`)["m"] }, more + "2"},
		"a condition on the path goes":          {func(d tree) { delete(d.at(4), "match") }, more + "4"},
		"a route is renamed":                    {func(d tree) { d.at(1)["name"] = "b" }, more + "1"},
		"requests are mirrored elsewhere":       {func(d tree) { d.at(2)["mirror"] = map[string]any{"host": "evil"} }, more + "2"},
		"a mirror comes": {func(d tree) {
			d.at(5)["mirrors"] = written(`m: [{destination: {host: evil}, percentage: {value: 100}}]`)["m"]
		}, copies + "5"},
		"a fault is injected":                    {func(d tree) { d.at(5)["fault"] = written(`f: {abort: {httpStatus: 500, percentage: {value: 1}}}`)["f"] }, more + "5"},
		"paths are rewritten":                    {func(d tree) { d.at(5)["rewrite"] = map[string]any{"uri": "/evil"} }, more + "5"},
		"a redirect leads elsewhere":             {func(d tree) { d.at(3)["redirect"] = map[string]any{"authority": "evil.example.com"} }, more + "3"},
		"a route is delegated":                   {func(d tree) { delete(d.at(3), "redirect"); d.at(3)["delegate"] = map[string]any{"name": "evil"} }, more + "3"},
		"origins are let in":                     {func(d tree) { d.at(5)["corsPolicy"] = written(`c: {allowOrigins: [{exact: "*"}]}`)["c"] }, more + "5"},
		"headers of all are changed":             {func(d tree) { d.at(5)["headers"] = written(`h: {request: {set: {x-user: admin}}}`)["h"] }, more + "5"},
		"a route leads to another host":          {func(d tree) { d.destination(5, 0)["host"] = "evil" }, others + "5"},
		"a route leads to another namespace":     {func(d tree) { d.destination(5, 0)["host"] = "web.bank" }, others + "5"},
		"a route leads to another port":          {func(d tree) { d.destination(5, 0)["port"] = map[string]any{"number": int64(22)} }, others + "5"},
		"another host takes a part":              {func(d tree) { d.split(5, "v2"); d.destination(5, 1)["host"] = "evil"; d.weigh(5, 95, 5) }, others + "5"},
		"a destination's headers are changed":    {func(d tree) { d.to(2, 0)["headers"] = written(`h: {request: {set: {tier: none}}}`)["h"] }, others + "2"},
		"another Service's destination goes":     {func(d tree) { d.at(4)["route"] = d.at(4)["route"].([]any)[:2] }, others + "4"},
		"a share of another Service's is taken":  {func(d tree) { d.weigh(4, 100, 0, 0) }, shares + "4"},
		"more is given than there is":            {func(d tree) { d.weigh(1, 100, 100) }, shares + "1"},
		"a weight is negative":                   {func(d tree) { d.weigh(1, 200, -100) }, shares + "1"},
		"testers get another timeout":            {func(d tree) { d.at(0)["timeout"] = "60s" }, unlike},
		"testers are mirrored":                   {func(d tree) { d.at(0)["mirror"] = map[string]any{"host": "evil"} }, unlike},
		"its own route stands last":              {func(d tree) { d.setRoutes(append(d.routes()[1:], d.routes()[0])) }, unlike},
		"its own route stands before another":    {func(d tree) { r := d.routes(); d.setRoutes(append([]any{r[1], r[0]}, r[2:]...)) }, unlike},
		"testers are led to another host":        {func(d tree) { d.destination(0, 0)["host"] = "evil" }, astray},
		"testers are led to no destination":      {func(d tree) { d.destination(0, 0)["subset"] = "v9" }, astray},
		"testers are led to two destinations":    {func(d tree) { d.at(0)["route"] = append(d.at(0)["route"].([]any), map[string]any(d.to(1, 0))) }, astray},
		"its own route takes everybody":          {func(d tree) { d.at(0)["match"] = written(`m: [{uri: {prefix: /api}}]`)["m"] }, grasping},
		"its own route has no condition":         {func(d tree) { delete(d.at(0), "match") }, grasping},
		"its own route takes all paths":          {func(d tree) { d.at(0)["match"] = written(`m: [{headers: {x-app-version: {exact: canary}}}]`)["m"] }, grasping},
		"its own route takes another path":       {func(d tree) { d.at(0)["match"] = append(d.at(0)["match"].([]any), under("/admin")...) }, grasping},
		"its own route forgets another's header": {func(d tree) { d.own(2, func(r tree) { r["route"] = []any{map[string]any(d.to(2, 0))} }) }, grasping},
	} {
		t.Run(name, func(t *testing.T) {
			d := tree(route.Clone(doc))
			c.change(d)
			err := g.put(t.Context(), d)
			// The policy of releases in place bounds labels, too, and either may be the first.
			if err == nil || !strings.Contains(err.Error(), "'serin-routes'") && !strings.Contains(err.Error(), "'serin-own-writes'") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

// mirrored is a canary beside the last route's destination, which is sent copies.
func (d tree) mirrored(to string, weights ...int) {
	d.split(5, "v2")
	d.weigh(5, weights...)
	d.at(5)["mirrors"] = written("m: [" + to + "]")["m"]
}

// told has the destinations of the last route tell which version they are.
func (d tree) told(cookies ...string) {
	d.split(5, "v2")
	d.weigh(5, 95, 5)
	for j, c := range cookies {
		d.to(5, j)["headers"] = map[string]any{"response": map[string]any{"add": map[string]any{"set-cookie": c}}}
	}
}

// kept puts a route of Serin's before the last, for those who bring a cookie.
func (d tree) kept(regex string) {
	d.own(5, func(r tree) {
		r["name"] = "serin-cookie.stable.web"
		delete(r, "mirrors")
		r["match"] = []any{map[string]any{"headers": map[string]any{"cookie": map[string]any{"regex": regex}}}}
	})
}

const (
	copiesOfTen  = "{destination: {host: web, subset: v2}, percentage: {value: 10}}"
	cookieOfV1   = "serin-web=stable.r1.2.25; Max-Age=3600; Path=/; HttpOnly; SameSite=Lax"
	cookieOfV2   = "serin-web=canary.r1; Max-Age=3600; Path=/; HttpOnly; SameSite=Lax"
	regexOfV1    = `(?:.*; *)?serin-web=(?:stable\.r1\.2\.25)(?: *;.*)?`
	sentElsehow  = "Serin sends copies to a destination of the route without users, by one mirror, and others would come or go in route 5"
	otherHeaders = "Serin adds and removes subsets of the destinations that are there, and others would come or go in route 5"
)

// mayCopyAndKeep tries copies and cookies that are all right, and takes them off.
func (g guardTest) mayCopyAndKeep(t *testing.T, doc map[string]any) {
	defer g.stored(t, doc)
	for name, change := range map[string]func(d tree){
		"copies for the canary":      func(d tree) { d.mirrored(copiesOfTen, 100, 0) },
		"testers before them":        func(d tree) { d.mirrored(copiesOfTen, 100, 0); d.own(5, func(r tree) { delete(r, "mirrors") }) },
		"a version tells its cookie": func(d tree) { d.told(cookieOfV1, cookieOfV2) },
		"users are kept by it":       func(d tree) { d.told(cookieOfV1, cookieOfV2); d.kept(regexOfV1) },
		"testers before users who are kept": func(d tree) {
			d.told(cookieOfV1, cookieOfV2)
			d.kept(regexOfV1)
			d.own(5, func(r tree) { r["name"] = "serin-canary.web" })
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := tree(route.Clone(doc))
			change(d)
			if err := g.put(t.Context(), d); err != nil {
				t.Fatal(err)
			}
			there := tree(g.stored(t, d))
			back := tree(route.Clone(doc))
			back.meta()["resourceVersion"] = there.meta()["resourceVersion"]
			if err := g.put(t.Context(), back); err != nil {
				t.Errorf("taken off: %v", err)
			}
			doc = g.stored(t, back)
		})
	}
}

// mayNotCopyOrKeep tries what copies and cookies could be abused for.
func (g guardTest) mayNotCopyOrKeep(t *testing.T, doc map[string]any) {
	for name, c := range map[string]struct {
		change func(d tree)
		want   string
	}{
		"copies to another host": {func(d tree) { d.mirrored("{destination: {host: evil, subset: v2}, percentage: {value: 10}}", 100, 0) }, sentElsehow},
		"copies to another namespace": {func(d tree) {
			d.mirrored("{destination: {host: web.bank, subset: v2}, percentage: {value: 10}}", 100, 0)
		}, sentElsehow},
		"copies to another port": {func(d tree) {
			d.mirrored("{destination: {host: web, subset: v2, port: {number: 22}}, percentage: {value: 10}}", 100, 0)
		}, sentElsehow},
		"copies to all pods":      {func(d tree) { d.mirrored("{destination: {host: web}, percentage: {value: 10}}", 100, 0) }, sentElsehow},
		"copies to stable":        {func(d tree) { d.mirrored("{destination: {host: web, subset: v1}, percentage: {value: 10}}", 100, 0) }, sentElsehow},
		"copies to who has users": {func(d tree) { d.mirrored(copiesOfTen, 95, 5) }, sentElsehow},
		"copies by two mirrors": {func(d tree) {
			d.mirrored(copiesOfTen+", {destination: {host: web, subset: v2}, percentage: {value: 20}}", 100, 0)
		}, sentElsehow},
		"copies by the single mirror": {func(d tree) {
			d.split(5, "v2")
			d.weigh(5, 100, 0)
			d.at(5)["mirror"] = map[string]any{"host": "web", "subset": "v2"}
		}, "more would change in route 5"},
		"copies of the user's go": {func(d tree) { delete(d.at(4), "mirrors") }, "by one mirror, and others would come or go in route 4"},
		"copies of the user's change": {func(d tree) {
			d.at(4)["mirrors"] = written("m: [{destination: {host: audit}, percentage: {value: 50}}]")["m"]
		}, "others would come or go in route 4"},
		"testers are copied": {func(d tree) {
			d.split(5, "v2")
			d.weigh(5, 100, 0)
			d.own(5, func(r tree) { r["mirrors"] = written("m: [" + copiesOfTen + "]")["m"] })
		}, "stands before no route that it is like"},
		"another cookie":                   {func(d tree) { d.told("session=1; Max-Age=3600; Path=/; HttpOnly; SameSite=Lax") }, otherHeaders},
		"a cookie for other hosts":         {func(d tree) { d.told(cookieOfV1 + "; Domain=example.com") }, otherHeaders},
		"a cookie for scripts":             {func(d tree) { d.told(strings.Replace(cookieOfV1, "; HttpOnly", "", 1)) }, otherHeaders},
		"a cookie that says what it likes": {func(d tree) { d.told(strings.Replace(cookieOfV1, "stable.", "%REQ(authorization)%.", 1)) }, otherHeaders},
		"another header of answers": {func(d tree) {
			d.told(cookieOfV1)
			d.to(5, 0)["headers"] = written(`h: {response: {add: {x-frame-options: ALLOWALL}}}`)["h"]
		}, otherHeaders},
		"a header of answers goes": {func(d tree) {
			d.told(cookieOfV1)
			d.to(5, 0)["headers"] = written(`h: {response: {remove: [strict-transport-security]}}`)["h"]
		}, otherHeaders},
		"a header of requests": {func(d tree) {
			d.told(cookieOfV1)
			d.to(5, 0)["headers"] = written(`h: {request: {set: {x-user: admin}}}`)["h"]
		}, otherHeaders},
		"a cookie beside a lost header": {func(d tree) {
			d.to(2, 0)["headers"] = written(`h: {response: {add: {set-cookie: "` + cookieOfV1 + `"}}}`)["h"]
		}, "others would come or go in route 2"},
		"testers are told a cookie": {func(d tree) {
			d.told(cookieOfV1, cookieOfV2)
			d.own(5, func(r tree) {
				r["route"] = []any{route.Clone(d.to(5, 0))}
				delete(r["route"].([]any)[0].(map[string]any), "weight")
			})
		}, "leads elsewhere than the route behind it"},
		"users are kept by their session": {func(d tree) { d.told(cookieOfV1, cookieOfV2); d.kept(`(?:.*; *)?session=.*`) }, "takes other requests than those of the route behind it"},
		"all users are kept":              {func(d tree) { d.told(cookieOfV1, cookieOfV2); d.kept(".*") }, "takes other requests than those of the route behind it"},
	} {
		t.Run(name, func(t *testing.T) {
			d := tree(route.Clone(doc))
			c.change(d)
			err := g.put(t.Context(), d)
			// The policy of releases in place bounds labels, too, and either may be the first.
			if err == nil || !strings.Contains(err.Error(), "'serin-routes'") && !strings.Contains(err.Error(), "'serin-own-writes'") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

// mayLeave has a person edit a route behind one of Serin's, so that they differ:
// users must come off the canary nevertheless. Moved it must not be.
func (g guardTest) mayLeave(t *testing.T) {
	edited := tree(written(userRoutes))
	edited.meta()["name"] = "edited"
	edited.at(1)["timeout"] = "7s"
	doc := g.stored(t, edited)
	back := tree(route.Clone(doc))
	back.weigh(1, 100, 0)
	if err := g.put(t.Context(), back); err != nil {
		t.Error(err)
	}
	moved := tree(route.Clone(doc))
	r := moved.routes()
	moved.setRoutes(append([]any{r[1], r[2], r[0]}, r[3:]...))
	if err := g.put(t.Context(), moved); err == nil || !strings.Contains(err.Error(), "stands before no route that it is like") {
		t.Errorf("a route that is wrong is moved: %v", err)
	}
}

// anyRoutes plays releases on VirtualServices of all kinds: whatever Serin renders,
// also over what people change in between, the policy lets through.
func (g guardTest) anyRoutes(t *testing.T) {
	writes := 0
	for seed := range uint64(30) {
		m := maker{rand.New(rand.NewPCG(seed, 11))}
		doc, pin := g.stored(t, m.document("any")), seed%3 == 0
		traffic := canary.Traffic{Stable: "v1", Canary: "v2", Pin: pin}
		if pin {
			traffic.Stable, traffic.Canary = ownSubsets[0], ownSubsets[1]
		}
		var marks []string
		step := func(to map[string]any) {
			if err := g.put(t.Context(), to); err != nil {
				text, _ := yaml.Marshal([]any{doc["spec"], to["spec"]})
				t.Fatalf("seed %d: %v\n%s", seed, err, text)
			}
			writes++
			doc = g.stored(t, to)
		}
		for _, weight := range []int{0, 5, 50, -1, 100, 5, 0} {
			if weight < 0 {
				m.meddle(doc)
				doc = g.stored(t, doc)
				continue
			}
			traffic.Weight, traffic.Header, traffic.Mirror, traffic.Sticky = weight, m.header(), 0, nil
			if m.IntN(2) == 0 {
				traffic.Sticky = &canary.Sticky{Cookie: "serin-web", Canary: "canary.r1", Stable: fmt.Sprintf("stable.r1.%d", weight), MaxAge: time.Hour}
			}
			if weight == 0 && m.IntN(2) == 0 {
				traffic.Mirror = 1 + m.IntN(100)
			}
			next, now, err := route.Apply(doc, web, traffic, marks)
			if err != nil {
				continue // too coarse for such a share
			}
			marks = now
			step(next)
		}
		if pin {
			step(route.Unpin(doc, web, traffic.Stable, traffic.Canary, marks))
		} else {
			step(route.Clean(doc, web, "v1", "v2", marks))
		}
	}
	t.Logf("%d writes", writes)
	if writes < 100 {
		t.Errorf("only %d writes were tried", writes)
	}
}

// maker makes VirtualServices around the Service web.
type maker struct{ *rand.Rand }

func (m maker) one(of ...string) string { return of[m.IntN(len(of))] }

func (m maker) document(name string) map[string]any {
	routes := []any{}
	for i := range 1 + m.IntN(6) {
		r := map[string]any{"name": fmt.Sprintf("r%d", i)}
		if m.IntN(2) == 0 {
			delete(r, "name")
		}
		if m.IntN(3) > 0 {
			r["match"] = m.conditions()
		}
		if m.IntN(4) == 0 {
			r["timeout"], r["mirror"] = "3s", map[string]any{"host": "audit"}
		}
		if m.IntN(8) == 0 {
			r["redirect"] = map[string]any{"uri": "/"}
		} else {
			r["route"] = m.destinations()
		}
		routes = append(routes, r)
	}
	return map[string]any{
		"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
		"metadata": map[string]any{"name": name, "namespace": routesNamespace},
		"spec":     map[string]any{"hosts": []any{"web"}, "http": routes},
	}
}

func (m maker) conditions() (out []any) {
	for range 1 + m.IntN(2) {
		c := map[string]any{}
		if m.IntN(2) == 0 {
			c["uri"] = map[string]any{"prefix": m.one("/", "/api", "/a")}
		}
		if m.IntN(2) == 0 {
			c["headers"] = map[string]any{m.one("x-tier", "X-App-Version", "x-app-version"): map[string]any{"prefix": m.one("can", "c", "g")}}
		}
		if m.IntN(3) == 0 {
			c["sourceLabels"] = map[string]any{"app": "client"}
		}
		out = append(out, c)
	}
	return out
}

func (m maker) destination(host string, weight int) map[string]any {
	d := map[string]any{"destination": map[string]any{"host": host}, "weight": int64(weight)}
	if m.IntN(4) == 0 {
		d["headers"] = map[string]any{"request": map[string]any{"set": map[string]any{"a": "b"}}}
	}
	if m.IntN(4) == 0 {
		d["destination"].(map[string]any)["port"] = map[string]any{"number": int64(80)}
	}
	return d
}

func (m maker) destinations() []any {
	first := m.destination(m.one("web", "web."+routesNamespace, "web."+routesNamespace+".svc.cluster.local"), 100)
	first["destination"].(map[string]any)["subset"] = "v1"
	switch m.IntN(4) {
	case 0:
		delete(first, "weight")
		return []any{first}
	case 1:
		return []any{first}
	case 2:
		second := m.destination(m.one("web", "web."+routesNamespace), 0)
		second["destination"].(map[string]any)["subset"] = "v2"
		return []any{first, second}
	}
	return []any{m.destination("static", m.IntN(50)), first}
}

func (m maker) header() *canary.Header {
	switch m.IntN(4) {
	case 0:
		return nil
	case 1:
		return &canary.Header{Name: "track", Match: canary.MatchCookie, Values: []string{"canary", "beta"}}
	case 2:
		return &canary.Header{Name: "x-app-version", Match: canary.MatchPrefix, Values: []string{"can"}}
	}
	return &canary.Header{Name: "x-app-version", Match: canary.MatchExact, Values: []string{"canary", "go"}}
}

// meddle is what people do in the middle of a release.
func (m maker) meddle(doc map[string]any) {
	d := tree(doc)
	i := m.IntN(len(d.routes()))
	switch m.IntN(4) {
	case 0:
		d.at(i)["timeout"] = "8s"
	case 1:
		all := d.routes()
		d.setRoutes(append(append([]any{}, all[:i]...), all[i+1:]...))
	case 2:
		d.setRoutes(append(d.routes(), map[string]any{"route": []any{m.destination("static", 100)}}))
	case 3:
		if all, ok := d.at(i)["route"].([]any); ok {
			d.at(i)["route"] = all[:1]
		}
	}
	if len(d.routes()) == 0 {
		d.setRoutes([]any{map[string]any{"route": m.destinations()}})
	}
	for _, r := range d.routes() {
		if r := tree(r.(map[string]any)); r["route"] != nil && len(r["route"].([]any)) == 0 {
			delete(r, "route")
		}
	}
}

// thousandRoutes stays in what the API server spends on a policy, in whatever is
// written, and still refuses.
func (g guardTest) thousandRoutes(t *testing.T) { g.manyRoutes(t, "thousand", 1000, nil) }

// hundredsOfKept is the same with three routes of Serin's before each, as where users
// are kept on a version.
func (g guardTest) hundredsOfKept(t *testing.T) {
	g.manyRoutes(t, "hundreds", 300, &canary.Sticky{Cookie: "serin-web", Canary: "canary.r1", Stable: "stable.r1.1.5", MaxAge: time.Hour})
}

func (g guardTest) manyRoutes(t *testing.T, name string, n int, sticky *canary.Sticky) {
	var routes []any
	for i := range n {
		routes = append(routes, map[string]any{
			"match":   []any{map[string]any{"uri": map[string]any{"prefix": fmt.Sprintf("/path/%d", i)}, "headers": map[string]any{"x-tier": map[string]any{"exact": "gold"}}}},
			"timeout": "5s", "retries": map[string]any{"attempts": int64(2)},
			"route": []any{map[string]any{"destination": map[string]any{"host": "web." + routesNamespace + ".svc.cluster.local", "subset": "v1"}, "weight": int64(100)}},
		})
	}
	doc := written(userRoutes)
	tree(doc).meta()["name"] = name
	tree(doc).setRoutes(routes)
	doc = g.stored(t, doc)
	traffic := canary.Traffic{
		Stable: "v1", Canary: "v2", Weight: 5, Header: &canary.Header{Name: "x-app-version", Match: canary.MatchExact, Values: []string{"canary"}}, Sticky: sticky,
	}
	first, marks, err := route.Apply(doc, web, traffic, nil)
	if err != nil {
		t.Fatal(err)
	}
	traffic.Weight = 50
	second, _, err := route.Apply(first, web, traffic, marks)
	if err != nil {
		t.Fatal(err)
	}
	err = g.put(t.Context(), first)
	doc = g.stored(t, first)
	tree(second).meta()["resourceVersion"] = tree(doc).meta()["resourceVersion"]
	began := time.Now()
	_, asUser := g.people.Resource(virtualServices).Namespace(routesNamespace).Update(t.Context(), &unstructured.Unstructured{Object: second}, metav1.UpdateOptions{DryRun: dry})
	plain := time.Since(began)
	began = time.Now()
	err = errors.Join(err, asUser, g.put(t.Context(), second))
	last := len(tree(second).routes()) - 1
	t.Logf("an update of %d routes took %s, and by Serin, whom the policy bounds, %s", last+1, plain, time.Since(began))
	if err := errors.Join(err, g.put(t.Context(), route.Clean(doc, web, "v1", "v2", marks))); err != nil {
		t.Error(err)
	}
	tree(second).at(last)["timeout"] = "6s"
	if err := g.put(t.Context(), second); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("more would change in route %d of the user", n)) {
		t.Errorf("the last of many routes is changed: %v", err)
	}
}
