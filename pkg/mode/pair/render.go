package pair

import (
	"slices"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/mode"
	"serin.dev/serin/pkg/topology"
)

// Render gives the writes that bring the Service's VirtualServices to what p
// orders, as mode.RenderRoutes, and then those that take off a guard's pause.
func Render(p canary.Plan, o topology.Objects, now time.Time) ([]mode.Write, error) {
	writes, err := renderRoutes(p, o, now)
	if err != nil || p.Place == nil || p.Place.Deployment != canary.Resume {
		return writes, err
	}
	for _, d := range heldBack(o) {
		more, err := mode.RenderDeployment(p, o.Namespace, d, nil)
		if err != nil {
			return nil, err
		}
		writes = append(writes, more...)
	}
	return writes, nil
}

// heldBack are the Deployments of the pair that the guard has paused, which does
// not know that they are one. Those that are released through another Service are
// that one's matter.
func heldBack(o topology.Objects) []topology.Deployment {
	return slices.DeleteFunc(topology.UsersOwn(o), func(d topology.Deployment) bool {
		_, marked := d.Annotations[topology.HeldKey] // without a mark the pause of one that said it is of a pair is a person's
		return !d.Held || !marked && topology.ModeOf(d) == canary.ModePair || !topology.About(o, d)
	})
}

func renderRoutes(p canary.Plan, o topology.Objects, now time.Time) ([]mode.Write, error) {
	if p.Traffic == nil && !p.Clean {
		return nil, nil
	}
	r := assign(o, p.Next)
	taking := r.taking(o, p.Next.Rollout)
	if p.Clean {
		taking = mode.Carriers(o, r.where)
	}
	return mode.RenderRoutes(p, topology.RouteService(o), taking, now)
}
