package contract

import (
	"net/http"
	"strconv"
	"strings"
)

var admission = []sentence{
	{"what a policy refuses is not stored: 422, with the policy's words", func(c *client) {
		c.server.Deny(c.T, c.ns)
		o := c.make(virtualServices, "web", nil)
		refused := c.put(c.one(virtualServices, "web"), with(o, "yes", "metadata", "labels", DeniedLabel))
		details := c.refused(refused, 422, "Invalid")
		c.same("the details' name", at(details, "name"), "web")
		if message, _ := refused.body["message"].(string); !strings.Contains(message, DeniedMessage) {
			c.Errorf("it says %q", message)
		}
		c.same("the version", version(c.must(200, c.get(c.one(virtualServices, "web")))), version(o))
		c.refused(c.post(c.all(virtualServices), c.new(virtualServices, "other", tree{"labels": tree{DeniedLabel: "yes"}})), 422, "Invalid")
		c.refused(c.get(c.one(virtualServices, "other")), 404, "NotFound")
	}},
	{"a changed template is held in the request that changes it", func(c *client) {
		c.server.Guard(c.T, c.ns)
		o := c.make(deployments, "web", tree{"annotations": tree{"serin.dev/canary": "true"}})
		c.same("whether a new one is held", at(o, "spec", "paused"), nil)
		held := c.must(200, c.patch(mergePatch, c.one(deployments, "web"), `{"spec":{"template":{"metadata":{"annotations":{"rev":"b"}}}}}`))
		c.same("whether it is held", at(held, "spec", "paused"), true)
		if at(held, "metadata", "annotations", "serin.dev/held") == nil {
			c.Error("it has no mark")
		}
		before, _ := at(o, "metadata", "generation").(float64)
		c.same("the generation", at(held, "metadata", "generation"), before+1)
		resumed := c.must(200, c.patch(mergePatch, c.one(deployments, "web"), `{"spec":{"paused":null}}`))
		c.same("whether it is held after somebody let it go", at(resumed, "spec", "paused"), nil)
		// Of no version, for the Deployment's controller writes too.
		unmarked := with(with(resumed, nil, "metadata", "annotations", "serin.dev/held"), nil, "metadata", "resourceVersion")
		replaced := c.must(200, c.put(c.one(deployments, "web"), unmarked))
		c.same("whether it is held when the mark was lost", at(replaced, "spec", "paused"), true)
	}},
	{"what else changes is not held", func(c *client) {
		c.server.Guard(c.T, c.ns)
		o := c.make(deployments, "web", tree{"annotations": tree{"serin.dev/canary": "true"}})
		after := c.must(200, c.put(c.one(deployments, "web"), with(with(o, nil, "metadata", "resourceVersion"), 1, "spec", "progressDeadlineSeconds")))
		c.same("whether it is held", at(after, "spec", "paused"), nil)
		for name, notes := range map[string]tree{
			"plain": nil, "out": {"serin.dev/canary": "false"}, "watched": {"serin.dev/canary": "observe"},
			"pair": {"serin.dev/canary": "true", "serin.dev/mode": "pair"},
		} {
			c.make(deployments, name, tree{"annotations": notes})
			after := c.must(200, c.patch(mergePatch, c.one(deployments, name), `{"spec":{"template":{"metadata":{"annotations":{"rev":"b"}}}}}`))
			c.same("whether "+name+" is held", at(after, "spec", "paused"), nil)
		}
	}},
	{"who asks too often is told when to ask again: 429", func(c *client) {
		r := c.do(ask{method: http.MethodGet, path: c.all(virtualServices), by: c.server.Busy(c.T)})
		if seconds, err := strconv.Atoi(r.header.Get("Retry-After")); r.code != 429 || err != nil || seconds < 1 {
			c.Errorf("the answer is %d, to be asked again after %q", r.code, r.header.Get("Retry-After"))
		}
	}},
}
