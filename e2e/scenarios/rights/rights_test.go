package rights_test

import (
	"strings"
	"testing"

	"serin.dev/serin/e2e/scenarios/rights"
)

const roles = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: a}
rules:
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, watch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: a}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: b, namespace: own}
rules:
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [get]
`

// log is an audit log: each line is verb, group, resource, namespace and code.
func log(lines ...string) string {
	var b strings.Builder
	for _, line := range lines {
		f := strings.Split(line, " ")
		b.WriteString(`{"verb":"` + f[0] + `","user":{"username":"` + f[5] + `"},"objectRef":{"apiGroup":"` + f[1] + `","resource":"` + f[2] + `","namespace":"` + f[3] + `"},"responseStatus":{"code":` + f[4] + "}}\n")
	}
	return b.String() + `{"verb":"get","user":{"username":"serin"}}` + "\n" + `{"verb":"del`
}

func TestRightsAreComparedWithTheirUse(t *testing.T) {
	granted, err := rights.Granted(roles)
	if err != nil || len(granted) != 3 {
		t.Fatalf("granted are %v, %v", granted, err)
	}
	all := []string{"get apps deployments shop 200 serin", "watch apps deployments shop 200 serin", "get coordination.k8s.io leases own 200 serin"}
	watch := rights.Right{Group: "apps", Resource: "deployments", Verb: "watch"}
	for name, c := range map[string]struct {
		log     []string
		excused []rights.Excuse
		want    string
	}{
		"what is granted is used":          {log: all},
		"others don't count":               {log: append(all, "delete  secrets shop 200 jane")},
		"one is never used":                {log: []string{all[0], all[2]}, want: "watch deployments.apps: it is granted, and was never used"},
		"one is never used, for a reason":  {log: []string{all[0], all[2]}, excused: []rights.Excuse{{watch, "rarely"}}},
		"one is used that is not granted":  {log: append(all, "delete  secrets shop 200 serin"), want: "delete secrets: it was asked for 1 times, and no role grants it"},
		"one is used in another namespace": {log: append(all, "get coordination.k8s.io leases shop 200 serin"), want: "get leases.coordination.k8s.io: it was asked for 1 times"},
		"an excuse is for nothing":         {log: all, excused: []rights.Excuse{{rights.Right{Resource: "pods", Verb: "get"}, "old"}}, want: "get pods: it is excused, and neither granted nor used"},
	} {
		t.Run(name, func(t *testing.T) {
			requests, err := rights.Requests(strings.NewReader(log(c.log...)), "serin")
			if err != nil {
				t.Fatal(err)
			}
			use := rights.Uses(requests, granted)
			switch err := rights.Check(use, granted, c.excused); {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %s", err, c.want)
			}
			if err := rights.Beyond(use, granted); (err != nil) != strings.Contains(c.want, "it was asked for") {
				t.Errorf("beyond what is granted: %v", err)
			}
			if table := rights.Table(use, granted, c.excused); !strings.Contains(table, "1  get leases.coordination.k8s.io in own\n") {
				t.Errorf("the table is\n%s", table)
			}
		})
	}
}

func TestAWildcardCanNotBeCompared(t *testing.T) {
	if _, err := rights.Granted(strings.ReplaceAll(roles, "[get, watch]", `["*"]`)); err == nil || !strings.Contains(err.Error(), "ClusterRole a: a rule with a wildcard") {
		t.Errorf("got %v", err)
	}
}
