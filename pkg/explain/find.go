package explain

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"serin.dev/serin/pkg/canary"
)

// Known is what is known of one Service's releases.
type Known struct {
	Namespace, Service string
	// State is the one on the VirtualServices; its Rollout is empty if there is none.
	State canary.State
	// Newer tells that there is a state that a newer version of Serin wrote.
	Newer   bool
	History []canary.Release // newest first
	// Observed are its Deployments where people lead its releases and Serin only
	// judges them (serin.dev/canary: observe); empty for others.
	Observed []string
}

// ErrNothing tells that no release is known that could be explained.
var ErrNothing = errors.New("no release is known")

// Find picks the release that is meant. name is that of a Service or of one of
// its two Deployments, also written service/NAME, deployment/NAME and as kubectl
// shortens them. rollout is an id, or the beginning of one; empty means the
// newest. It fails with ErrNothing when there is none, and names what there is.
// Of a release that is only observed nothing is known but that (Release.Observed):
// the caller puts what it reads of it in its place (Watched.Release).
func Find(name, rollout string, all []Known) (Release, error) {
	kind, short, err := split(name)
	if err != nil {
		return Release{}, err
	}
	var named []Known
	for _, k := range all {
		if kind != deployment && k.Service == short {
			named = []Known{k} // a Service's own name comes before a Deployment's
			break
		}
		if kind != service && k.deploys(short) {
			named = append(named, k)
		}
	}
	switch len(named) {
	case 0:
		return Release{}, fmt.Errorf("explain %s: %w%s", name, ErrNothing, thereIs(short, all))
	case 1:
		return named[0].pick(rollout)
	}
	return Release{}, fmt.Errorf("explain %s: it is released for several Services (%s): name one of them, like service/%s", name, services(named), named[0].Service)
}

const (
	service    = "service"
	deployment = "deployment"
)

// split takes the kind off a name like service/web.
func split(name string) (kind, short string, err error) {
	kind, short, qualified := strings.Cut(name, "/")
	if !qualified {
		return "", name, nil
	}
	switch kind {
	case "service", "services", "svc":
		return service, short, nil
	case "deployment", "deployments", "deploy", "deployment.apps", "deployments.apps":
		return deployment, short, nil
	}
	return "", "", fmt.Errorf("explain %s: %q is no kind that is released; write service/NAME or deployment/NAME", name, kind)
}

// deploys tells whether a Deployment is or was a side of the Service's releases.
func (k Known) deploys(name string) bool {
	if k.State.Rollout != "" && (k.State.Canary.Deployment == name || k.State.Stable.Deployment == name) {
		return true
	}
	if slices.Contains(k.Observed, name) {
		return true
	}
	return slices.ContainsFunc(k.History, func(r canary.Release) bool {
		return r.Canary.Deployment == name || r.Stable.Deployment == name
	})
}

// pick is the release with the given id; the newest without one. A record comes
// before a state at rest, for only the record names all stretches.
func (k Known) pick(rollout string) (Release, error) {
	if k.State.Rollout != "" && k.State.Phase.Active() && strings.HasPrefix(k.State.Rollout, rollout) {
		return Release{Namespace: k.Namespace, Service: k.Service, State: k.State}, nil
	}
	if rollout == "" && len(k.Observed) > 0 {
		return Release{Namespace: k.Namespace, Service: k.Service, State: canary.State{Phase: canary.Watched}}, nil
	}
	for _, r := range k.History {
		if strings.HasPrefix(r.Rollout, rollout) {
			return OfRecord(k.Namespace, k.Service, r), nil
		}
	}
	if k.State.Rollout != "" && strings.HasPrefix(k.State.Rollout, rollout) {
		return Release{Namespace: k.Namespace, Service: k.Service, State: k.State, Ended: k.State.Since}, nil
	}
	if k.Newer {
		return Release{}, fmt.Errorf("explain %s/%s: %w", k.Namespace, k.Service, canary.ErrNewerState)
	}
	if rollout == "" {
		return Release{}, fmt.Errorf("explain %s/%s: %w", k.Namespace, k.Service, ErrNothing)
	}
	return Release{}, fmt.Errorf("explain rollout %s of %s/%s: %w by this id; there are %s", rollout, k.Namespace, k.Service, ErrNothing, strings.Join(k.rollouts(), ", "))
}

// rollouts are the ids of the releases that are known, newest first.
func (k Known) rollouts() []string {
	var ids []string
	if k.State.Rollout != "" {
		ids = append(ids, k.State.Rollout)
	}
	for _, r := range k.History {
		if !slices.Contains(ids, r.Rollout) {
			ids = append(ids, r.Rollout)
		}
	}
	return ids
}

// Names are the Services with releases, for a shell's completion.
func Names(all []Known) []string {
	var names []string
	for _, k := range all {
		names = append(names, k.Service)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func services(all []Known) string { return strings.Join(Names(all), ", ") }

// thereIs helps who named something unknown.
func thereIs(name string, all []Known) string {
	if len(all) == 0 {
		return " in this namespace; choose another with --namespace"
	}
	if near := canary.Suggest(name, Names(all)); near != "" {
		return fmt.Sprintf("; did you mean %s?", near)
	}
	return "; there are releases of " + services(all)
}
