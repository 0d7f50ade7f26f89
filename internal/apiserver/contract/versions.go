package contract

import (
	"math/big"
	"time"
)

// counted are the kinds with a generation that Serin writes.
var counted = []resource{virtualServices, destinationRules, deployments}

var versions = []sentence{
	{"the server gives what is made a uid, a time and a version", each(made, func(c *client, r resource) {
		o := c.make(r, "web", tree{"uid": "my-own", "creationTimestamp": "2001-02-03T04:05:06Z"})
		m, _ := o["metadata"].(tree)
		made, err := time.Parse(time.RFC3339, m["creationTimestamp"].(string))
		if err != nil || time.Since(made).Abs() > time.Hour {
			c.Errorf("it was made at %v, %v", m["creationTimestamp"], err)
		}
		if uid, _ := m["uid"].(string); uid == "" || uid == "my-own" {
			c.Errorf("its uid is %q", uid)
		}
		if version(o) == "" {
			c.Error("it has no version")
		}
	})},
	{"another object of the same name has another uid", each(written, func(c *client, r resource) {
		first := c.make(r, "web", nil)
		c.must(200, c.delete(c.one(r, "web"), nil))
		second := c.make(r, "web", nil)
		if at(first, "metadata", "uid") == at(second, "metadata", "uid") {
			c.Error("both have the same")
		}
	})},
	{"uid and time stay, whatever is sent", each(written, func(c *client, r resource) {
		o := c.make(r, "web", nil)
		after := c.must(200, c.put(c.one(r, "web"), noted(with(o, nil, "metadata", "uid"), "one")))
		c.same("the uid", at(after, "metadata", "uid"), at(o, "metadata", "uid"))
		c.same("the time", at(after, "metadata", "creationTimestamp"), at(o, "metadata", "creationTimestamp"))
	})},
	{"versions go up, over all objects of a kind", each(written, func(c *client, r resource) {
		last := big.NewInt(0)
		newer := func(o tree) {
			v, ok := new(big.Int).SetString(version(o), 10)
			if !ok || v.Cmp(last) <= 0 {
				c.Errorf("version %s comes after %s", version(o), last)
			}
			last = v
		}
		one := c.make(r, "one", nil)
		newer(one)
		newer(c.make(r, "two", nil))
		newer(c.must(200, c.put(c.one(r, "one"), noted(one, "x"))))
	})},
	{"a write that changes nothing gives no new version", each(append(written, leases), func(c *client, r resource) {
		o := c.make(r, "web", tree{"annotations": tree{"a": "b"}})
		c.same("the version", version(c.must(200, c.put(c.one(r, "web"), o))), version(o))
		c.same("the version after a patch", version(c.must(200, c.patch(mergePatch, c.one(r, "web"), `{"metadata":{"annotations":{"a":"b"}}}`))), version(o))
	})},
	{"the generation counts the changes of what is wanted, and no others", each([]resource{virtualServices, destinationRules}, func(c *client, r resource) {
		o := c.make(r, "web", nil)
		c.same("the first generation", at(o, "metadata", "generation"), 1)
		o = c.must(200, c.put(c.one(r, "web"), noted(o, "one")))
		c.same("after a change of an annotation", at(o, "metadata", "generation"), 1)
		o = c.must(200, c.put(c.one(r, "web"), with(o, []any{"."}, "spec", "exportTo")))
		c.same("after a change of the spec", at(o, "metadata", "generation"), 2)
		o = c.must(200, c.put(c.one(r, "web"), with(o, 77, "metadata", "generation")))
		c.same("after a generation of one's own", at(o, "metadata", "generation"), 2)
	})},
	{"the generation of a Deployment counts changes of its annotations, too", func(c *client) {
		o := c.make(deployments, "web", nil)
		first, _ := at(o, "metadata", "generation").(float64)
		o = c.settled(deployments, "web", c.must(200, c.put(c.one(deployments, "web"), noted(o, "one"))))
		c.same("after a change of an annotation", at(o, "metadata", "generation"), first+1)
		o = c.settled(deployments, "web", c.must(200, c.put(c.one(deployments, "web"), with(o, "b", "metadata", "labels", "a"))))
		c.same("after a change of a label", at(o, "metadata", "generation"), first+1)
		o = c.settled(deployments, "web", c.must(200, c.put(c.one(deployments, "web"), with(o, true, "spec", "paused"))))
		c.same("after a pause", at(o, "metadata", "generation"), first+2)
	}},
	{"what is no controller's status is ignored", each(counted, func(c *client, r resource) {
		o := c.make(r, "web", nil)
		after := c.must(200, c.put(c.one(r, "web"), with(o, 7, "status", "observedGeneration")))
		if at(after, "status", "observedGeneration") == 7.0 {
			c.Error("it was stored")
		}
	})},
}

// owner is the entry of managedFields of a manager that updates; nil if there is none.
func owner(o tree, manager string) tree {
	entries, _ := at(o, "metadata", "managedFields").([]any)
	for _, e := range entries {
		if at(e, "manager") == manager && at(e, "operation") == "Update" && at(e, "subresource") == nil {
			return e.(tree)
		}
	}
	return nil
}

// owns tells whether a manager owns a field, as in "f:spec", "f:http".
func owns(o tree, manager string, field ...string) bool {
	fields, _ := at(owner(o, manager), "fieldsV1").(tree)
	return at(fields, field...) != nil
}

const people = "kubectl-edit"

var owners = []sentence{
	{"who makes an object owns what is in it", each([]resource{virtualServices, destinationRules}, func(c *client, r resource) {
		o := c.must(201, c.do(ask{method: "POST", path: c.all(r), query: query("fieldManager", people), content: asJSON, body: c.new(r, "web", tree{"annotations": tree{"a/b": "c"}})}))
		e := owner(o, people)
		c.same("its version", e["apiVersion"], r.version)
		c.same("its kind", e["fieldsType"], "FieldsV1")
		if made, err := time.Parse(time.RFC3339, e["time"].(string)); err != nil || time.Since(made).Abs() > time.Hour {
			c.Errorf("its time is %v, %v", e["time"], err)
		}
		want := tree{"f:metadata": tree{"f:annotations": tree{".": tree{}, "f:a/b": tree{}}}, "f:spec": tree{".": tree{}, "f:host": tree{}, "f:subsets": tree{}}}
		if r.kind == virtualServices.kind {
			want["f:spec"] = tree{".": tree{}, "f:hosts": tree{}, "f:http": tree{}}
		}
		c.same("its fields", e["fieldsV1"], want)
	})},
	{"who changes a field takes it from its owner, and nothing else", func(c *client) {
		o := c.must(201, c.do(ask{method: "POST", path: c.all(virtualServices), query: query("fieldManager", people), content: asJSON, body: c.new(virtualServices, "web", nil)}))
		o = c.must(200, c.put(c.one(virtualServices, "web"), noted(with(o, routes("v2"), "spec", "http"), "one")))
		c.same("who owns the routes", []bool{owns(o, people, "f:spec", "f:http"), owns(o, manager, "f:spec", "f:http")}, []bool{false, true})
		c.same("who owns the hosts", []bool{owns(o, people, "f:spec", "f:hosts"), owns(o, manager, "f:spec", "f:hosts")}, []bool{true, false})
		c.same("who owns the note", owns(o, manager, "f:metadata", "f:annotations", "f:contract.serin.dev/note"), true)
		o = c.must(200, c.putAs(people, c.one(virtualServices, "web"), with(o, routes("v3"), "spec", "http")))
		c.same("who owns the routes then", []bool{owns(o, people, "f:spec", "f:http"), owns(o, manager, "f:spec", "f:http")}, []bool{true, false})
		c.same("who owns the note then", owns(o, manager, "f:metadata", "f:annotations", "f:contract.serin.dev/note"), true)
	}},
	{"what is taken out has no owner", func(c *client) {
		o := c.make(virtualServices, "web", tree{"annotations": tree{"a": "b", "c": "d"}})
		o = c.must(200, c.putAs(people, c.one(virtualServices, "web"), with(o, nil, "metadata", "annotations", "a")))
		c.same("who owns it", owns(o, manager, "f:metadata", "f:annotations", "f:a"), false)
		c.same("who owns the other", owns(o, manager, "f:metadata", "f:annotations", "f:c"), true)
		c.same("whether who took it out is known", owner(o, people), nil)
	}},
	{"who changes nothing owns nothing", func(c *client) {
		o := c.make(virtualServices, "web", nil)
		o = c.must(200, c.putAs(people, c.one(virtualServices, "web"), o))
		c.same("whether he is known", owner(o, people), nil)
	}},
	{"an owner that is taken out is forgotten, which is a change", func(c *client) {
		o := c.must(201, c.do(ask{method: "POST", path: c.all(virtualServices), query: query("fieldManager", people), content: asJSON, body: c.new(virtualServices, "web", nil)}))
		o = c.must(200, c.put(c.one(virtualServices, "web"), with(o, routes("v2"), "spec", "http")))
		after := c.must(200, c.put(c.one(virtualServices, "web"), with(o, []any{owner(o, people)}, "metadata", "managedFields")))
		c.same("whether we are known", owner(after, manager), nil)
		c.same("whether they are known", owner(after, people) != nil, true)
		if version(after) == version(o) {
			c.Error("it has the same version")
		}
		c.same("the generation", at(after, "metadata", "generation"), at(o, "metadata", "generation"))
	}},
	{"a list of owners that comes empty changes none of them", func(c *client) {
		o := c.make(virtualServices, "web", nil)
		after := c.must(200, c.put(c.one(virtualServices, "web"), with(o, []any{}, "metadata", "managedFields")))
		c.same("the version", version(after), version(o))
		c.same("the owners", at(after, "metadata", "managedFields"), at(o, "metadata", "managedFields"))
	}},
	{"a single empty owner has all forgotten, and nobody remembered by an update", func(c *client) {
		o := c.make(virtualServices, "web", nil)
		after := c.must(200, c.put(c.one(virtualServices, "web"), with(o, []any{tree{}}, "metadata", "managedFields")))
		c.same("the owners", at(after, "metadata", "managedFields"), nil)
		o = c.must(200, c.put(c.one(virtualServices, "web"), noted(after, "one")))
		c.same("the owners after the next write", at(o, "metadata", "managedFields"), nil)
	}},
	{"a patch makes an owner as well", func(c *client) {
		c.must(201, c.do(ask{method: "POST", path: c.all(virtualServices), query: query("fieldManager", people), content: asJSON, body: c.new(virtualServices, "web", nil)}))
		o := c.must(200, c.patch(jsonPatch, c.one(virtualServices, "web"), `[{"op":"add","path":"/spec/http/0/route/0/weight","value":99}]`))
		c.same("who owns the routes", []bool{owns(o, people, "f:spec", "f:http"), owns(o, manager, "f:spec", "f:http")}, []bool{false, true})
	}},
}
