package pair

import (
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/mode"
	"serin.dev/serin/pkg/topology"
)

// Render gives the writes that bring the Service's VirtualServices to what p
// orders, as mode.RenderRoutes; in this mode nothing else is ever written.
func Render(p canary.Plan, o topology.Objects, now time.Time) ([]mode.Write, error) {
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
