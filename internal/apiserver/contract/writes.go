package contract

import (
	"net/http"
	"strings"
)

// each tries something on objects of several kinds.
func each(kinds []resource, prove func(c *client, r resource)) func(*client) {
	return func(c *client) {
		for _, r := range kinds {
			prove(newClient(c.T, c.server), r)
			if c.Failed() {
				c.Fatalf("it was a %s", r.kind)
			}
		}
	}
}

var guarded = []resource{virtualServices, destinationRules, leases}

var writes = []sentence{
	{"what was read is replaced", each(append(written, leases), func(c *client, r resource) {
		o := c.make(r, "web", nil)
		after := c.must(200, c.put(c.one(r, "web"), noted(o, "one")))
		c.same("the note", at(after, "metadata", "annotations", "contract.serin.dev/note"), "one")
		c.same("the note that a read gives", at(c.must(200, c.get(c.one(r, "web"))), "metadata", "annotations", "contract.serin.dev/note"), "one")
	})},
	{"what has changed since it was read is not replaced: 409", each(append(written, leases), func(c *client, r resource) {
		o := c.make(r, "web", nil)
		c.must(200, c.put(c.one(r, "web"), noted(o, "one")))
		details := c.refused(c.put(c.one(r, "web"), noted(o, "two")), 409, "Conflict")
		c.same("the details' name", at(details, "name"), "web")
		c.same("the note that a read gives", at(c.must(200, c.get(c.one(r, "web"))), "metadata", "annotations", "contract.serin.dev/note"), "one")
	})},
	{"a Deployment is replaced by one without a version", func(c *client) {
		o := c.make(deployments, "web", nil)
		c.must(200, c.put(c.one(deployments, "web"), noted(with(o, nil, "metadata", "resourceVersion"), "one")))
	}},
	{"nothing else is replaced by one without a version: 422", each(guarded, func(c *client, r resource) {
		o := c.make(r, "web", nil)
		details := c.refused(c.put(c.one(r, "web"), with(o, nil, "metadata", "resourceVersion")), 422, "Invalid")
		c.same("the details' name", at(details, "name"), "web")
	})},
	{"another object of the same name is not replaced: 409", each(written, func(c *client, r resource) {
		first := c.make(r, "web", nil)
		c.must(200, c.delete(c.one(r, "web"), nil))
		second := c.make(r, "web", nil)
		c.refused(c.put(c.one(r, "web"), with(first, version(second), "metadata", "resourceVersion")), 409, "Conflict")
	})},
	{"what is gone is not replaced: 404", each(written, func(c *client, r resource) {
		o := c.make(r, "web", nil)
		c.must(200, c.delete(c.one(r, "web"), tree{"propagationPolicy": "Background"}))
		c.refused(c.put(c.one(r, "web"), o), 404, "NotFound")
	})},
	{"what is there is not made again: 409", each(made, func(c *client, r resource) {
		c.make(r, "web", nil)
		details := c.refused(c.post(c.all(r), c.new(r, "web", nil)), 409, "AlreadyExists")
		c.same("the details' name", at(details, "name"), "web")
	})},
	{"what is made has no version yet: 500", each(written, func(c *client, r resource) {
		c.must(500, c.post(c.all(r), c.new(r, "web", tree{"resourceVersion": "1"})))
		c.refused(c.get(c.one(r, "web")), 404, "NotFound")
	})},
	{"an object is not put under another name: 400", each(written, func(c *client, r resource) {
		o := c.make(r, "web", nil)
		c.refused(c.put(c.one(r, "web"), with(o, "other", "metadata", "name")), 400, "BadRequest")
	})},
	{"what is not there is not read, patched or deleted: 404", each(append(written, controllerRevisions), func(c *client, r resource) {
		for _, refused := range []reply{
			c.get(c.one(r, "none")), c.delete(c.one(r, "none"), tree{"preconditions": tree{"resourceVersion": "1"}}),
			c.patch(jsonPatch, c.one(r, "none"), `[{"op":"add","path":"/metadata/labels","value":{}}]`),
			c.patch(mergePatch, c.one(r, "none"), `{"metadata":{"labels":{"a":"b"}}}`),
		} {
			details := c.refused(refused, 404, "NotFound")
			c.same("the details' name", at(details, "name"), "none")
			c.same("the details' kind", at(details, "kind"), r.plural)
		}
	})},
	{"what no server knows is not there: 404", func(c *client) {
		for _, path := range []string{
			"/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies/contract-none",
			"/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings/contract-none",
			"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/contract-none",
			"/apis/admissionregistration.k8s.io/v1beta1/mutatingadmissionpolicies/contract-none",
			"/apis/admissionregistration.k8s.io/v1beta1/mutatingadmissionpolicybindings/contract-none",
		} {
			c.must(404, c.get(path))
		}
	}},
	{"a JSON patch is done where its tests hold", each(written, func(c *client, r resource) {
		o := c.make(r, "web", tree{"annotations": tree{"a/b": "one", "gone": "soon"}})
		after := c.must(200, c.patch(jsonPatch, c.one(r, "web"), `[{"op":"test","path":"/metadata/resourceVersion","value":"`+version(o)+`"},
			{"op":"replace","path":"/metadata/annotations/a~1b","value":"two"},{"op":"remove","path":"/metadata/annotations/gone"},
			{"op":"add","path":"/metadata/labels","value":{"x":"y"}}]`))
		c.same("the annotation that was replaced", at(after, "metadata", "annotations", "a/b"), "two")
		c.same("the one that was removed", at(after, "metadata", "annotations", "gone"), nil)
		c.same("the labels", at(after, "metadata", "labels"), tree{"x": "y"})
	})},
	{"a JSON patch whose test fails does nothing: 422, without details", each(written, func(c *client, r resource) {
		o := c.make(r, "web", nil)
		details := c.refused(c.patch(jsonPatch, c.one(r, "web"), `[{"op":"test","path":"/metadata/resourceVersion","value":"1"},
			{"op":"add","path":"/metadata/labels","value":{"x":"y"}}]`), 422, "Invalid")
		c.same("the details' name", at(details, "name"), nil)
		c.same("the details' kind", at(details, "kind"), nil)
		c.same("the version", version(c.must(200, c.get(c.one(r, "web")))), version(o))
	})},
	{"a JSON patch of what is not there does nothing: 422, without details", each(written, func(c *client, r resource) {
		c.make(r, "web", nil)
		details := c.refused(c.patch(jsonPatch, c.one(r, "web"), `[{"op":"remove","path":"/metadata/annotations/none"}]`), 422, "Invalid")
		c.same("the details' kind", at(details, "kind"), nil)
	})},
	{"a merge patch sets, takes away, and replaces lists whole", each([]resource{controllerRevisions, virtualServices}, func(c *client, r resource) {
		c.make(r, "web", tree{"annotations": tree{"stays": "one", "goes": "soon"}, "finalizers": []any{"contract.serin.dev/one"}})
		after := c.must(200, c.patch(mergePatch, c.one(r, "web"), `{"metadata":{"annotations":{"goes":null,"comes":"two"},"finalizers":["contract.serin.dev/two"]}}`))
		c.same("the annotations", at(after, "metadata", "annotations"), tree{"stays": "one", "comes": "two"})
		c.same("the finalizers", at(after, "metadata", "finalizers"), []any{"contract.serin.dev/two"})
		c.must(200, c.patch(mergePatch, c.one(r, "web"), `{"metadata":{"finalizers":null}}`))
	})},
	{"a merge patch of an older version is refused: 409", func(c *client) {
		o := c.make(virtualServices, "web", nil)
		c.must(200, c.put(c.one(virtualServices, "web"), noted(o, "one")))
		c.refused(c.patch(mergePatch, c.one(virtualServices, "web"), `{"metadata":{"resourceVersion":"`+version(o)+`","labels":{"a":"b"}}}`), 409, "Conflict")
	}},
	{"what has changed since it was read is not deleted: 409", each(written, func(c *client, r resource) {
		o := c.make(r, "web", nil)
		c.must(200, c.put(c.one(r, "web"), noted(o, "one")))
		details := c.refused(c.delete(c.one(r, "web"), tree{"propagationPolicy": "Background", "preconditions": tree{"resourceVersion": version(o)}}), 409, "Conflict")
		c.same("the details' name", at(details, "name"), "web")
		c.must(200, c.get(c.one(r, "web")))
	})},
	{"what was read is deleted", each(written, func(c *client, r resource) {
		o := c.make(r, "web", nil)
		gone := c.must(200, c.delete(c.one(r, "web"), tree{"propagationPolicy": "Background", "preconditions": tree{"resourceVersion": version(o)}}))
		c.same("the answer", at(gone, "status"), "Success")
		c.refused(c.get(c.one(r, "web")), 404, "NotFound")
	})},
	{"the data of a ControllerRevision stays as it was made: 422", func(c *client) {
		o := c.make(controllerRevisions, "serin-web-abc", nil)
		details := c.refused(c.patch(mergePatch, c.one(controllerRevisions, "serin-web-abc"), `{"data":{"version":2}}`), 422, "Invalid")
		c.same("the details' name", at(details, "name"), "serin-web-abc")
		after := c.must(200, c.patch(mergePatch, c.one(controllerRevisions, "serin-web-abc"), `{"metadata":{"annotations":{"a":"b"}}}`))
		c.same("the data", after["data"], o["data"])
	}},
	{"annotations of more than 256 KiB are refused: 422", func(c *client) {
		o := c.make(virtualServices, "web", nil)
		c.must(200, c.put(c.one(virtualServices, "web"), noted(o, strings.Repeat("x", 255<<10))))
		o = c.must(200, c.get(c.one(virtualServices, "web")))
		c.refused(c.put(c.one(virtualServices, "web"), noted(o, strings.Repeat("x", 256<<10))), 422, "Invalid")
	}},
	{"a request of more than 3 MiB is refused: 413", func(c *client) {
		o := c.make(virtualServices, "web", nil)
		c.refused(c.put(c.one(virtualServices, "web"), noted(o, strings.Repeat("x", 3<<20))), 413, "RequestEntityTooLarge")
	}},
	{"what is no object is refused: 400", func(c *client) {
		c.make(virtualServices, "web", nil)
		c.refused(c.do(ask{method: http.MethodPut, path: c.one(virtualServices, "web"), content: asJSON, body: []byte(`{"metadata":`)}), 400, "BadRequest")
	}},
	{"a patch of an unknown type is refused: 415", func(c *client) {
		c.make(virtualServices, "web", nil)
		c.refused(c.patch("text/plain", c.one(virtualServices, "web"), `{}`), 415, "UnsupportedMediaType")
	}},
}
