package topology

import "strings"

const modeKey = "serin.dev/mode"

// ModeOf is the mode of release that a Deployment's annotation names; empty when
// it names none. What it names is not checked here.
func ModeOf(d Deployment) string { return strings.TrimSpace(d.Annotations[modeKey]) }

// Observed tells that a Deployment asks to be judged only.
func Observed(d Deployment) bool { return strings.TrimSpace(d.Annotations[optInKey]) == "observe" }

// UsersOwn are the Deployments that are not canaries of ours.
func UsersOwn(o Objects) []Deployment {
	var found []Deployment
	for _, d := range o.Deployments {
		if d.CloneOf == "" {
			found = append(found, d)
		}
	}
	return found
}

// HasOurs tells that a canary Deployment of ours is behind the Service.
func HasOurs(o Objects) bool { return len(UsersOwn(o)) < len(o.Deployments) }
