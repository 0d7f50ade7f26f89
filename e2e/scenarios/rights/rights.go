// Package rights compares what a user may ask of an API server with what it did
// ask for: no right is missing, and none is there that nothing needs.
package rights

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

// Right is one verb on one kind.
type Right struct {
	Group, Resource string // the resource with its subresource, as RBAC has it
	Verb            string
	Within          string // the only namespace in which it holds; empty: all, or none
}

func (r Right) String() string {
	s := r.Verb + " " + r.Resource
	if r.Group != "" {
		s += "." + r.Group
	}
	if r.Within != "" {
		s += " in " + r.Within
	}
	return s
}

func order(a, b Right) int {
	return cmp.Or(cmp.Compare(a.Within, b.Within), cmp.Compare(a.Group, b.Group), cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Verb, b.Verb))
}

// Granted reads the rules of all roles in manifests of RBAC, YAML. A rule with a
// wildcard is an error: it says nothing of what is needed.
func Granted(manifests string) ([]Right, error) {
	var all []Right
	for document := range strings.SplitSeq(manifests, "\n---\n") {
		var role rbacv1.Role // a ClusterRole has the same fields
		if err := yaml.Unmarshal([]byte(document), &role); err != nil {
			return nil, fmt.Errorf("read a role: %w", err)
		}
		if role.Kind != "Role" && role.Kind != "ClusterRole" {
			continue
		}
		for _, rule := range role.Rules {
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					for _, verb := range rule.Verbs {
						if slices.Contains([]string{group, resource, verb}, "*") || len(rule.NonResourceURLs) > 0 {
							return nil, fmt.Errorf("%s %s: a rule with a wildcard or a URL can't be compared: name groups, resources and verbs", role.Kind, role.Name)
						}
						all = append(all, Right{group, resource, verb, role.Namespace})
					}
				}
			}
		}
	}
	slices.SortFunc(all, order)
	return slices.Compact(all), nil
}

// Request is a line of an API server's audit log.
type Request struct {
	Verb string
	User struct{ Username string }
	Ref  struct {
		Group       string `json:"apiGroup"`
		Resource    string
		Subresource string
		Namespace   string
		Name        string
	} `json:"objectRef"`
	Resp struct{ Code int } `json:"responseStatus"`
}

// Right is the one that the request took. It has no Within.
func (r Request) Right() Right {
	resource := r.Ref.Resource
	if r.Ref.Subresource != "" {
		resource += "/" + r.Ref.Subresource
	}
	return Right{Group: r.Ref.Group, Resource: resource, Verb: r.Verb}
}

// Reads tells that the request changes nothing.
func (r Request) Reads() bool { return slices.Contains([]string{"get", "list", "watch"}, r.Verb) }

// Requests reads those of a user out of an audit log. A last line that is not
// whole yet is left out, and so is what is about no kind: discovery.
func Requests(log io.Reader, user string) ([]Request, error) {
	var all []Request
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var r Request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil || r.User.Username != user || r.Ref.Resource == "" {
			continue
		}
		all = append(all, r)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	return all, nil
}

// Use is how often rights were used.
type Use map[Right]int

// Uses counts the rights that requests took, each as it is granted: one that is
// granted in a namespace only is counted as that.
func Uses(requests []Request, granted []Right) Use {
	use := Use{}
	for _, r := range requests {
		right := r.Right()
		right.Within = r.Ref.Namespace
		if !slices.Contains(granted, right) {
			right.Within = ""
		}
		use[right]++
	}
	return use
}

// Excuse says why a right is granted that a run may never use, or is used though no
// role of these grants it.
type Excuse struct {
	Right
	Why string
}

// Check returns an error for every right that was used and is not granted, and for
// every one that is granted and was not used. Excused are those that need not be; an
// excuse for what is neither granted nor used is an error, too.
func Check(use Use, granted []Right, excused []Excuse) error {
	var errs []error
	pardoned := func(r Right) bool {
		return slices.ContainsFunc(excused, func(e Excuse) bool { return e.Right == r })
	}
	beyond := maps.Clone(use)
	maps.DeleteFunc(beyond, func(r Right, _ int) bool { return pardoned(r) })
	errs = append(errs, Beyond(beyond, granted))
	for _, r := range granted {
		if use[r] == 0 && !pardoned(r) {
			errs = append(errs, fmt.Errorf("%s: it is granted, and was never used: take it out of the role, or say what it is for", r))
		}
	}
	for _, e := range excused {
		if use[e.Right] == 0 && !slices.Contains(granted, e.Right) {
			errs = append(errs, fmt.Errorf("%s: it is excused, and neither granted nor used: take the excuse away", e.Right))
		}
	}
	return errors.Join(errs...)
}

// Beyond returns an error for every right that was used and is not granted.
func Beyond(use Use, granted []Right) error {
	var errs []error
	for _, r := range sorted(use) {
		if !slices.Contains(granted, r) {
			errs = append(errs, fmt.Errorf("%s: it was asked for %d times, and no role grants it", r, use[r]))
		}
	}
	return errors.Join(errs...)
}

// Table shows each right with how often it was used.
func Table(use Use, granted []Right, excused []Excuse) string {
	all := slices.Concat(granted, sorted(use))
	slices.SortFunc(all, order)
	var b strings.Builder
	for _, r := range slices.Compact(all) {
		note := ""
		if i := slices.IndexFunc(excused, func(e Excuse) bool { return e.Right == r }); i >= 0 {
			note = "  (" + excused[i].Why + ")"
		}
		fmt.Fprintf(&b, "%6d  %s%s\n", use[r], r, note)
	}
	return b.String()
}

func sorted(use Use) []Right {
	var all []Right
	for r := range use {
		all = append(all, r)
	}
	slices.SortFunc(all, order)
	return all
}
