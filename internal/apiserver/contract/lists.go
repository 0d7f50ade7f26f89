package contract

import (
	"math/big"
	"strings"
)

// names are those of a list's items, in their order.
func names(list tree) string {
	var all []string
	items, _ := list["items"].([]any)
	for _, o := range items {
		name, _ := at(o, "metadata", "name").(string)
		all = append(all, name)
	}
	return strings.Join(all, " ")
}

// listed are the kinds that Serin lists now and then.
var listed = []resource{replicaSets, pods, autoscalers, budgets, quotas}

var lists = []sentence{
	{"a list has what is there, by name", each(append(listed, virtualServices), func(c *client, r resource) {
		c.same("the list of nothing", names(c.must(200, c.list(c.all(r)))), "")
		c.make(r, "b", tree{"labels": tree{"app": "web"}})
		c.make(r, "a", tree{"labels": tree{"app": "api", "contract.serin.dev/x": "y"}})
		all := c.must(200, c.list(c.all(r)))
		c.same("the list", names(all), "a b")
		c.same("its kind", all["kind"], r.kind+"List")
		c.same("its version", all["apiVersion"], r.version)
		for selector, want := range map[string]string{
			"app=web": "b", "app": "a b", "app in (api),contract.serin.dev/x=y": "a", "app!=web": "a", "app=web,contract.serin.dev/x=y": "",
		} {
			c.same("the list of "+selector, names(c.must(200, c.list(c.all(r), "labelSelector", selector))), want)
		}
	})},
	{"a list knows its version, which is no older than the objects", each([]resource{virtualServices, deployments}, func(c *client, r resource) {
		o := c.make(r, "web", nil)
		all := c.must(200, c.list(c.all(r)))
		is, _ := new(big.Int).SetString(version(all), 10)
		least, _ := new(big.Int).SetString(version(o), 10)
		if is == nil || is.Cmp(least) < 0 {
			c.Errorf("it is %s, and that of the object %s", version(all), version(o))
		}
	})},
	{"a list from a version is no older than it", each([]resource{virtualServices, deployments}, func(c *client, r resource) {
		o := c.make(r, "web", nil)
		c.same("the list", names(c.must(200, c.list(c.all(r), "resourceVersion", version(o)))), "web")
		c.same("the list that may not be older", names(c.must(200, c.list(c.all(r), "resourceVersion", version(o), "resourceVersionMatch", "NotOlderThan"))), "web")
	})},
	{"a list from any version comes whole, whatever its limit", each([]resource{virtualServices, deployments}, func(c *client, r resource) {
		c.make(r, "a", nil)
		c.make(r, "b", nil)
		c.until("both are in it", func() string { // it may be older than what was written just now
			all := c.must(200, c.list(c.all(r), "resourceVersion", "0", "limit", "1"))
			if got := names(all); got != "a b" || more(all) != "" {
				return got
			}
			return ""
		})
	})},
	{"a list with a limit goes on where it stopped", each([]resource{virtualServices, deployments}, func(c *client, r resource) {
		for _, name := range []string{"a", "b", "c"} {
			c.make(r, name, nil)
		}
		first := c.must(200, c.list(c.all(r), "limit", "2"))
		c.same("the first part", names(first), "a b")
		if more(first) == "" {
			c.Fatal("it does not say how to go on")
		}
		rest := c.must(200, c.list(c.all(r), "limit", "2", "continue", more(first)))
		c.same("the second part", names(rest), "c")
		c.same("how to go on", more(rest), "")
		c.same("the versions", version(rest), version(first))
	})},
	{"a list from a version that is still to come is refused: 504", func(c *client) {
		o := c.make(virtualServices, "web", nil)
		details := c.refused(c.list(c.all(virtualServices), "resourceVersion", version(o)+"000"), 504, "Timeout")
		causes, _ := at(details, "causes").([]any)
		if len(causes) != 1 || at(causes[0], "reason") != "ResourceVersionTooLarge" {
			c.Errorf("its causes are %v", causes)
		}
	}},
}

// more is how a list with a limit goes on; empty where it ends.
func more(list tree) string {
	token, _ := at(list, "metadata", "continue").(string)
	return token
}
