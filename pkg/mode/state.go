package mode

import (
	"errors"
	"fmt"
	"strings"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/topology"
)

// FindState reads the state of the Service's rollout from all VirtualServices of
// its namespace that carry a copy, and picks the one that counts. Its At is the
// latest of the copies that say the same; Marks are each copy's own and left out.
//
// newer tells that some copy was written by a newer version of Serin. lost tells
// that no copy can be read though there is one, or our header route.
//
// A release in place leaves no state behind: at rest it is read off the history.
// Routes of such a release that somebody kept and wrote again are no loss, as long
// as no pod is left to which they could lead.
func FindState(o topology.Objects) (state canary.State, newer, lost bool) {
	var copies []canary.State
	traces := false
	for _, vs := range o.VirtualServices {
		if vs.Key.Namespace != o.Namespace {
			continue // what others write about Services of the same name is no state of ours
		}
		s, found, err := CopyOn(vs, o.Service)
		switch {
		case errors.Is(err, canary.ErrNewerState):
			newer = true
		case found && err == nil:
			copies = append(copies, s)
		default:
			traces = traces || found || hasHeaderRoute(vs, o)
		}
	}
	if len(copies) == 0 {
		podsLeft := len(topology.UsersOwn(o)) < len(o.Deployments) || o.CanaryPods > 0
		if len(o.History) > 0 && o.History[0].InPlace && (!traces || !podsLeft) && !newer && !watched(o) {
			return o.History[0].Resting(), false, false
		}
		return canary.State{}, newer, traces && !newer
	}
	state = copies[0]
	for _, s := range copies[1:] {
		if canary.Newer(s, state) {
			state = s
		}
	}
	for _, s := range copies {
		if same(s, state) && s.At.After(state.At) {
			state.At = s.At
		}
	}
	state.Marks = nil
	return state, newer, false
}

// Unreadable says why copies of the Service's state can't be read: of each the
// object, the field and what is wrong, in order; empty when all can be.
func Unreadable(o topology.Objects) string {
	var all []string
	for _, vs := range o.VirtualServices {
		if vs.Key.Namespace != o.Namespace {
			continue
		}
		if _, found, err := CopyOn(vs, o.Service); found && err != nil {
			why := strings.ReplaceAll(err.Error(), "\n", "; ")
			all = append(all, fmt.Sprintf("%s metadata.annotations[%s%s]: %s", vs.Key, canary.StatePrefix, o.Service, why))
		}
	}
	return strings.Join(all, "; ")
}

// watched tells that releases are only looked at, and nothing is left of one that
// was led: how that one ended is nobody's state then.
func watched(o topology.Objects) bool {
	candidates := topology.Candidates(o)
	return len(candidates) > 0 && topology.Observed(candidates[0]) && !topology.HasOurs(o)
}

// same tells whether two copies are of the same moment of the same rollout.
func same(a, b canary.State) bool { return a.Rollout == b.Rollout && a.Sequence == b.Sequence }

// CopyOn is the state that a VirtualService carries.
func CopyOn(vs topology.VirtualService, service string) (s canary.State, found bool, err error) {
	metadata, _ := vs.Doc["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	value, found := annotations[canary.StatePrefix+service]
	if !found {
		return canary.State{}, false, nil
	}
	text, _ := value.(string)
	s, err = canary.DecodeState(text)
	return s, true, err
}
