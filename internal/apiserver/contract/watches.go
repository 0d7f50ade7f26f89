package contract

import (
	"fmt"
	"strings"
)

// watchedKinds are those that Serin watches in the whole cluster.
var watchedKinds = []resource{deployments, services, controllerRevisions, virtualServices, destinationRules}

// initialEnd tells that an event is the bookmark after the initial events.
func initialEnd(e event) bool {
	return e.Type == "BOOKMARK" && at(e.Object, "metadata", "annotations", "k8s.io/initial-events-end") == "true"
}

// synced reads the initial events up to their end, and gives the version that it
// names.
func (w *watching) synced(want ...string) string {
	w.c.Helper()
	got := map[string]bool{}
	for {
		e, more := w.next()
		switch {
		case !more:
			w.c.Fatal("the watch ended before its initial events did")
		case initialEnd(e):
			for _, name := range want {
				if !got[name] {
					w.c.Errorf("among the initial events is no %s", name)
				}
			}
			if len(got) != len(want) {
				w.c.Errorf("the initial events are %v, want %v", got, want)
			}
			return version(e.Object)
		case e.Type == "BOOKMARK":
		default:
			if at(e.Object, "metadata", "namespace") != nil || at(e.Object, "metadata", "name") == w.c.ns {
				got[e.name()] = true
			}
		}
	}
}

// initial are the parameters of the watch that an informer begins with.
var initial = []string{"allowWatchBookmarks", "true", "sendInitialEvents", "true", "resourceVersionMatch", "NotOlderThan"}

// from are those of the watch that it goes on with.
func from(version string) []string {
	return []string{"allowWatchBookmarks", "true", "resourceVersion", version}
}

var watches = []sentence{
	{"a watch begins with what is there, says when that was all, and goes on", each(watchedKinds, func(c *client, r resource) {
		labels := tree{"labels": tree{"serin.dev/service": "web"}}
		c.make(r, "a", labels)
		c.make(r, "b", labels)
		params := initial
		if r.kind == controllerRevisions.kind {
			params = append([]string{"labelSelector", "serin.dev/service"}, initial...)
		}
		w := c.watch(r.everywhere(), params...)
		w.synced("ADDED a", "ADDED b")
		c.make(r, "c", labels)
		c.must(200, c.delete(c.one(r, "a"), nil))
		c.until("both are told", func() string { // a controller may change them in between
			e, _ := w.next()
			if e.name() == "DELETED a" {
				return ""
			}
			return "the watch says " + e.name()
		})
	})},
	{"a watch of one namespace's pods begins with those that a selector wants", func(c *client) {
		c.make(pods, "a", tree{"labels": tree{"app": "web"}})
		c.make(pods, "b", tree{"labels": tree{"app": "api"}})
		c.watch(c.all(pods), append([]string{"labelSelector", "app=web"}, initial...)...).synced("ADDED a")
	}},
	{"a watch of one namespace knows its name", func(c *client) {
		w := c.watch("/api/v1/namespaces", append([]string{"fieldSelector", "metadata.name=" + c.ns}, initial...)...)
		w.synced("ADDED " + c.ns)
	}},
	{"a watch of all namespaces has this one", func(c *client) {
		w := c.watch("/api/v1/namespaces", initial...)
		for {
			e, more := w.next()
			if !more || initialEnd(e) {
				c.Fatal("it has not")
			}
			if e.name() == "ADDED "+c.ns {
				return
			}
		}
	}},
	{"a watch goes on from the version after which the initial events ended", each([]resource{virtualServices, destinationRules}, func(c *client, r resource) {
		c.make(r, "a", nil)
		since := c.watch(c.all(r), initial...).synced("ADDED a")
		o := c.make(r, "b", nil)
		c.must(200, c.put(c.one(r, "b"), noted(o, "one")))
		c.must(200, c.delete(c.one(r, "a"), nil))
		w := c.watch(c.all(r), from(since)...)
		w.sees("ADDED b", "MODIFIED b", "DELETED a")
		w.quiet()
	})},
	{"between a list and a watch from its version nothing is lost", each([]resource{virtualServices, services}, func(c *client, r resource) {
		c.make(r, "a", nil)
		since := version(c.must(200, c.list(c.all(r))))
		c.make(r, "b", nil)
		w := c.watch(c.all(r), from(since)...)
		w.sees("ADDED b")
		c.make(r, "c", nil)
		w.sees("ADDED c")
		w.quiet()
	})},
	{"a watch is told the objects as they were stored, one after the other", func(c *client) {
		o := c.make(virtualServices, "web", nil)
		w := c.watch(c.all(virtualServices), from(version(o))...)
		for i := range 20 {
			o = c.must(200, c.put(c.one(virtualServices, "web"), noted(o, fmt.Sprint(i))))
			seen := w.sees("MODIFIED web").Object
			c.same("what is told", seen, o)
		}
	}},
	{"what is deleted is told as it was last, with a newer version", func(c *client) {
		o := c.make(virtualServices, "web", tree{"labels": tree{"a": "b"}})
		w := c.watch(c.all(virtualServices), from(version(o))...)
		c.must(200, c.delete(c.one(virtualServices, "web"), nil))
		gone := w.sees("DELETED web").Object
		c.same("the spec", gone["spec"], o["spec"])
		c.same("the uid", at(gone, "metadata", "uid"), at(o, "metadata", "uid"))
		if version(gone) == version(o) {
			c.Error("it has the same version")
		}
	}},
	{"a write that changes nothing is told nobody", func(c *client) {
		o := c.make(virtualServices, "web", nil)
		w := c.watch(c.all(virtualServices), from(version(o))...)
		c.must(200, c.put(c.one(virtualServices, "web"), o))
		w.quiet()
	}},
	{"what leaves a selector is deleted for it, and what comes is added", each([]resource{virtualServices, controllerRevisions}, func(c *client, r resource) {
		o := c.make(r, "web", tree{"labels": tree{"app": "web"}})
		w := c.watch(c.all(r), append([]string{"labelSelector", "app=web"}, from(version(o))...)...)
		left := c.must(200, c.patch(mergePatch, c.one(r, "web"), `{"metadata":{"labels":{"app":"api"}}}`))
		gone := w.sees("DELETED web").Object
		c.same("the version that is told", version(gone), version(left))
		c.same("the labels that are told", at(gone, "metadata", "labels"), tree{"app": "web"})
		c.must(200, c.patch(mergePatch, c.one(r, "web"), `{"metadata":{"annotations":{"a":"b"}}}`))
		w.quiet()
		c.must(200, c.patch(mergePatch, c.one(r, "web"), `{"metadata":{"labels":{"app":"web"}}}`))
		w.sees("ADDED web")
		c.must(200, c.patch(mergePatch, c.one(r, "web"), `{"metadata":{"annotations":{"a":"c"}}}`))
		w.sees("MODIFIED web")
		w.quiet()
	})},
	{"a watch of one object is told of no other", func(c *client) {
		o := c.make(virtualServices, "web", nil)
		w := c.watch(c.all(virtualServices), append([]string{"fieldSelector", "metadata.name=web"}, from(version(o))...)...)
		c.make(virtualServices, "other", nil)
		c.must(200, c.put(c.one(virtualServices, "web"), noted(o, "one")))
		w.sees("MODIFIED web")
		c.must(200, c.delete(c.one(virtualServices, "web"), nil))
		w.sees("DELETED web")
		w.quiet()
	}},
	{"a watch of a namespace is told of no other", func(c *client) {
		o := c.make(virtualServices, "web", nil)
		other := newClient(c.T, c.server)
		w := c.watch(c.all(virtualServices), from(version(o))...)
		other.make(virtualServices, "web", nil)
		c.must(200, c.delete(c.one(virtualServices, "web"), nil))
		select {
		case e := <-w.events:
			c.same("the namespace of what is told", at(e.Object, "metadata", "namespace"), c.ns)
		case <-w.c.Context().Done():
		}
	}},
	{"a watch without a version begins with what is there", func(c *client) {
		c.make(virtualServices, "web", nil)
		for _, params := range [][]string{nil, {"resourceVersion", "0"}} {
			w := c.watch(c.all(virtualServices), params...)
			w.sees("ADDED web")
			w.quiet()
		}
	}},
	{"a watch ends when its time is over, and says before how far it came", each([]resource{virtualServices, services}, func(c *client, r resource) {
		o := c.make(r, "web", nil)
		w := c.watch(c.all(r), append([]string{"timeoutSeconds", "5"}, from(version(o))...)...)
		// In this namespace nothing happens, and elsewhere something does.
		newClient(c.T, c.server).make(r, "other", nil)
		e := w.sees("BOOKMARK")
		c.same("its kind", e.Object["kind"], r.kind)
		c.same("its version", e.Object["apiVersion"], r.version)
		since := version(e.Object)
		for more := true; more; {
			if e, more = w.next(); more && e.Type != "BOOKMARK" {
				c.Errorf("the watch says %s", e.name())
			}
		}
		c.make(r, "other", nil)
		c.watch(c.all(r), from(since)...).sees("ADDED other")
	})},
	{"a watch that wants no bookmarks gets none", func(c *client) {
		o := c.make(virtualServices, "web", nil)
		c.watch(c.all(virtualServices), "resourceVersion", version(o), "timeoutSeconds", "4").ends()
	}},
	{"a watch from a version that is forgotten is told so: 410", func(c *client) {
		c.make(virtualServices, "web", nil)
		if c.server.Forget != nil {
			c.server.Forget()
		}
		w := c.watch(c.all(virtualServices), from("1")...)
		c.same("the code", w.code, 200)
		e, _ := w.next()
		c.same("the event", e.Type, "ERROR")
		c.same("its code", e.Object["code"], 410)
		if reason := e.Object["reason"]; reason != "Expired" && reason != "Gone" {
			c.Errorf("its reason is %v", reason)
		}
		if message, _ := e.Object["message"].(string); !strings.Contains(message, "too old resource version") {
			c.Errorf("it says %q", message)
		}
		w.ends()
	}},
	{"a watch that begins with what is there needs no version that is still known", func(c *client) {
		c.make(virtualServices, "web", nil)
		if c.server.Forget != nil {
			c.server.Forget()
		}
		c.watch(c.all(virtualServices), append([]string{"resourceVersion", "1"}, initial...)...).synced("ADDED web")
	}},
}
