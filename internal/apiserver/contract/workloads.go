package contract

import "strings"

// ownerIs tells whether an object is another one's, which controls it.
func ownerIs(o tree, kind string, owner tree) bool {
	refs, _ := at(o, "metadata", "ownerReferences").([]any)
	return len(refs) == 1 && at(refs[0], "kind") == kind && at(refs[0], "controller") == true && at(refs[0], "uid") == at(owner, "metadata", "uid")
}

// set is a Deployment's ReplicaSet of a revision; nil if there is none.
func (c *client) set(d tree, revision string) tree {
	c.Helper()
	items, _ := c.must(200, c.list(c.all(replicaSets), "labelSelector", "app=web"))["items"].([]any)
	for _, item := range items {
		if s, _ := item.(tree); ownerIs(s, "Deployment", d) && at(s, "metadata", "annotations", revisionKey) == revision {
			return s
		}
	}
	return nil
}

// shown is what a Deployment tells about its pods, in the order in which people
// read it: there, of its template, ready, available; and what is asked for.
func shown(d tree) string {
	return text([]any{
		at(d, "status", "replicas"), at(d, "status", "updatedReplicas"), at(d, "status", "readyReplicas"), at(d, "status", "availableReplicas"),
		at(d, "metadata", "annotations", revisionKey),
	})
}

// shows waits until a Deployment shows this, and all of its present generation.
func (c *client) shows(want string) (d tree) {
	c.Helper()
	c.until("the Deployment shows "+want, func() string {
		d = c.must(200, c.get(c.one(deployments, "web")))
		if got := shown(d); got != want || at(d, "status", "observedGeneration") != at(d, "metadata", "generation") {
			return "it shows " + got
		}
		return ""
	})
	return d
}

// running makes a Deployment of two pods, and waits until they are ready.
func (c *client) running() tree {
	c.Helper()
	o := c.new(deployments, "web", nil)
	o["spec"] = deploymentSpec(2, c.server.Image)
	c.must(201, c.post(c.all(deployments), o))
	return c.shows(`[2,2,2,2,"1"]`)
}

// change patches the Deployment.
func (c *client) change(patch string) {
	c.Helper()
	c.must(200, c.patch(mergePatch, c.one(deployments, "web"), patch))
}

const (
	otherTemplate = `{"spec":{"template":{"metadata":{"annotations":{"rev":"b"}}}}}`
	firstTemplate = `{"spec":{"template":{"metadata":{"annotations":null}}}}`
)

var workloads = []sentence{
	{"a Deployment makes a ReplicaSet of its template, and that pods", func(c *client) {
		d := c.running()
		s := c.set(d, "1")
		hash, _ := at(s, "metadata", "labels", "pod-template-hash").(string)
		if hash == "" {
			c.Fatalf("the ReplicaSet has no hash: %s", text(s))
		}
		c.same("its name", at(s, "metadata", "name"), "web-"+hash)
		c.same("the hash on its pods", at(s, "spec", "template", "metadata", "labels", "pod-template-hash"), hash)
		c.same("its size", []any{at(s, "spec", "replicas"), at(s, "status", "replicas"), at(s, "status", "readyReplicas")}, []any{2, 2, 2})
		items, _ := c.must(200, c.list(c.all(pods), "labelSelector", "app=web"))["items"].([]any)
		c.same("how many pods there are", len(items), 2)
		for _, p := range items {
			conditions := text(at(p, "status", "conditions"))
			statuses, _ := at(p, "status", "containerStatuses").([]any)
			if !ownerIs(p.(tree), "ReplicaSet", s) || at(p, "metadata", "labels", "pod-template-hash") != hash || !strings.Contains(conditions, `"Ready"`) || len(statuses) != 1 || at(statuses[0], "imageID") == "" {
				c.Errorf("a pod is %s", text(p))
			}
		}
	}},
	{"an annotation on a Deployment is observed, and touches no pod", func(c *client) {
		d := c.running()
		c.change(`{"metadata":{"annotations":{"a":"b"}}}`)
		after := c.shows(`[2,2,2,2,"1"]`)
		if at(after, "metadata", "generation") == at(d, "metadata", "generation") {
			c.Error("the generation is the same")
		}
	}},
	{"a paused Deployment makes no pod of a new template, and says that none is of it", func(c *client) {
		d := c.running()
		c.change(`{"spec":{"paused":true}}`)
		c.change(otherTemplate)
		c.shows(`[2,null,2,2,"1"]`)
		c.same("its ReplicaSet of the new template", c.set(d, "2"), nil)
	}},
	{"a paused Deployment follows its number, with the pods that it has", func(c *client) {
		d := c.running()
		c.change(`{"spec":{"paused":true}}`)
		c.change(otherTemplate)
		c.change(`{"spec":{"replicas":3}}`)
		c.shows(`[3,null,3,3,"1"]`)
		c.same("the size of its ReplicaSet", at(c.set(d, "1"), "spec", "replicas"), 3)
	}},
	{"a template that was put back is the one that runs", func(c *client) {
		c.running()
		c.change(`{"spec":{"paused":true}}`)
		c.change(otherTemplate)
		c.shows(`[2,null,2,2,"1"]`)
		c.change(firstTemplate)
		c.shows(`[2,2,2,2,"1"]`)
	}},
	{"a Deployment that is let go rolls to its template", func(c *client) {
		d := c.running()
		c.change(`{"spec":{"paused":true}}`)
		c.change(otherTemplate)
		c.shows(`[2,null,2,2,"1"]`)
		c.change(`{"spec":{"paused":null}}`)
		c.shows(`[2,2,2,2,"2"]`)
		c.same("the size of the old ReplicaSet", at(c.set(d, "1"), "spec", "replicas"), 0)
		c.same("the size of the new one", at(c.set(d, "2"), "spec", "replicas"), 2)
	}},
	{"the ReplicaSet of a template that comes back gets the highest revision", func(c *client) {
		d := c.running()
		first := c.set(d, "1")
		c.change(otherTemplate)
		c.shows(`[2,2,2,2,"2"]`)
		c.change(firstTemplate)
		c.shows(`[2,2,2,2,"3"]`)
		c.same("the ReplicaSet", at(c.set(d, "3"), "metadata", "uid"), at(first, "metadata", "uid"))
	}},
	{"what belongs to a Deployment goes with it", func(c *client) {
		d := c.running()
		c.make(deployments, "canary", tree{"ownerReferences": []any{tree{
			"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": at(d, "metadata", "uid"), "controller": true,
		}}})
		c.must(200, c.delete(c.one(deployments, "web"), tree{"propagationPolicy": "Background"}))
		c.refused(c.get(c.one(deployments, "web")), 404, "NotFound")
		c.until("nothing is left", func() string {
			left := ""
			for _, r := range []resource{deployments, replicaSets, pods} {
				left += names(c.must(200, c.list(c.all(r), "labelSelector", "app=web")))
			}
			return left + names(c.must(200, c.list(c.all(deployments))))
		})
	}},
	{"what belongs to somebody who never was goes", func(c *client) {
		c.make(virtualServices, "web", tree{"ownerReferences": []any{tree{"apiVersion": "apps/v1", "kind": "Deployment", "name": "none", "uid": "11111111-2222-3333-4444-555555555555"}}})
		c.until("it is gone", func() string { return names(c.must(200, c.list(c.all(virtualServices)))) })
	}},
	{"a pod that goes is there for a while, marked", func(c *client) {
		c.running()
		w := c.watch(c.all(pods), append([]string{"labelSelector", "app=web"}, initial...)...)
		for e, _ := w.next(); !initialEnd(e); e, _ = w.next() {
		}
		c.change(`{"spec":{"replicas":1}}`)
		marked := false
		for {
			e, more := w.next()
			switch {
			case !more:
				c.Fatal("the watch ended")
			case e.Type == "MODIFIED":
				marked = marked || at(e.Object, "metadata", "deletionTimestamp") != nil
			case e.Type == "DELETED":
				if !marked {
					c.Error("it was not marked before")
				}
				c.shows(`[1,1,1,1,"1"]`)
				return
			}
		}
	}},
}
