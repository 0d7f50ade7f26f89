package mode

import (
	"strings"
	"testing"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/topology"
)

// Of the user's Deployment nothing is written but the pause, the guard's mark and,
// to restore it, the template.
func TestRenderDeployment(t *testing.T) {
	const (
		unpause  = `{"op":"remove","path":"/spec/paused"}`
		pause    = `{"op":"add","path":"/spec/paused","value":true}`
		unmark   = `{"op":"remove","path":"/metadata/annotations/serin.dev~1held"}`
		keep     = `{"op":"add","path":"/metadata/annotations/serin.dev~1held","value":"Serin keeps this Deployment paused, so that a change of its template waits to be released"}`
		promote  = `{"op":"add","path":"/metadata/annotations/serin.dev~1held","value":"Serin promotes this template; it can be changed again when that is done"}`
		template = `{"op":"replace","path":"/spec/template","value":{"spec":{}}}`
	)
	held := topology.Deployment{
		Name: "web", ResourceVersion: "7", TemplateHash: "new", Paused: true, Held: true,
		Annotations: map[string]string{topology.HeldKey: topology.HeldValue},
	}
	with := func(change func(d *topology.Deployment)) topology.Deployment {
		d := held
		change(&d)
		return d
	}
	marked := func(value string) func(d *topology.Deployment) {
		return func(d *topology.Deployment) {
			d.Paused, d.Annotations = false, map[string]string{topology.HeldKey: value}
		}
	}
	free := with(func(d *topology.Deployment) { d.Paused, d.Annotations = false, nil })
	resumed, promoting := with(marked(topology.HeldValue)), with(marked(topology.PromotingValue))
	stuck := with(func(d *topology.Deployment) {
		d.Annotations = map[string]string{topology.HeldKey: topology.PromotingValue}
	})
	old := &topology.ReplicaSet{TemplateHash: "old", Template: map[string]any{"spec": map[string]any{}}}
	same := &topology.ReplicaSet{TemplateHash: "new", Template: map[string]any{}}

	rest, going := canary.State{Phase: canary.RolledBack}, canary.State{Phase: canary.Promoting}
	plain := canary.State{Phase: canary.Promoting, Plain: true}
	for name, c := range map[string]struct {
		order   canary.Deployment
		state   canary.State
		d       topology.Deployment
		running *topology.ReplicaSet
		want    string
	}{
		"held is left alone":                                        {canary.KeepAsIs, rest, held, nil, ""},
		"held at rest is let go, and the mark with it":              {canary.Resume, rest, held, nil, unpause + "," + unmark},
		"a pause of a person's that is let go has no mark":          {canary.Resume, rest, with(func(d *topology.Deployment) { d.Annotations = nil }), nil, unpause},
		"for its promotion it is let go, and the mark says so":      {canary.Resume, going, held, nil, unpause + "," + promote},
		"a mark that says so is left":                               {canary.Resume, going, promoting, nil, ""},
		"paused again in the middle of it is let go again":          {canary.Resume, going, stuck, nil, unpause},
		"resumed by hand keeps its mark":                            {canary.Resume, plain, resumed, nil, ""},
		"without any annotation there is no place for a mark":       {canary.Resume, going, free, nil, ""},
		"resumed by hand at rest: the mark goes":                    {canary.KeepAsIs, rest, resumed, nil, unmark},
		"resumed by hand in mid-release: the mark stays":            {canary.KeepAsIs, canary.State{Phase: canary.Progressing}, resumed, nil, ""},
		"after the promotion the mark goes":                         {canary.KeepAsIs, rest, promoting, nil, unmark},
		"after the promotion the mark goes, though a person paused": {canary.KeepAsIs, rest, stuck, nil, unmark},
		"while the users return it stays":                           {canary.KeepAsIs, canary.State{Phase: canary.Finishing}, promoting, nil, ""},
		"what runs is put back":                                     {canary.Restore, rest, held, old, template + "," + unpause + "," + unmark},
		"what runs is asked for already":                            {canary.Restore, rest, held, same, unpause + "," + unmark},
		"paused at rest, and the mark says so":                      {canary.Pause, rest, with(marked("")), nil, pause + "," + keep},
		"paused at rest after a promotion":                          {canary.Pause, rest, promoting, nil, pause + "," + keep},
		"paused at rest, with no place for a mark":                  {canary.Pause, rest, free, nil, pause},
		"paused already":                                            {canary.Pause, rest, with(func(d *topology.Deployment) { d.Annotations = nil }), nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := canary.Plan{Next: c.state, Place: &canary.Place{Deployment: c.order}, View: canary.View{Reason: canary.LetGo}}
			writes, err := RenderDeployment(p, "shop", c.d, c.running)
			if err != nil {
				t.Fatal(err)
			}
			want := `[{"op":"test","path":"/metadata/resourceVersion","value":"7"},` + c.want + `]`
			switch {
			case c.want == "" && len(writes) == 0:
			case len(writes) != 1 || string(writes[0].Body) != want:
				t.Errorf("got  %+v\nwant %s", writes, want)
			case writes[0].Verb != Patch || writes[0].Key.String() != "Deployment shop/web" || writes[0].Why != canary.LetGo || writes[0].Urgent:
				t.Errorf("%+v", writes[0])
			}
		})
	}
	t.Run("nothing is put back that nobody knows", func(t *testing.T) {
		p := canary.Plan{Next: rest, Place: &canary.Place{Deployment: canary.Restore}}
		if _, err := RenderDeployment(p, "shop", held, nil); err == nil || !strings.Contains(err.Error(), "by hand") {
			t.Error(err)
		}
	})
	t.Run("nothing is ordered", func(t *testing.T) {
		if writes, err := RenderDeployment(canary.Plan{Next: rest}, "shop", resumed, nil); err != nil || len(writes) != 0 {
			t.Error(writes, err)
		}
	})
}

func TestRenderScale(t *testing.T) {
	d := topology.Deployment{Name: "web-canary", ResourceVersion: "7", Replicas: 2}
	if writes, err := RenderScale("shop", d, 2, canary.ScalingCanary); err != nil || len(writes) != 0 {
		t.Error(writes, err)
	}
	writes, err := RenderScale("shop", d, 0, canary.ScalingCanary)
	if err != nil || len(writes) != 1 || string(writes[0].Body) != `[{"op":"test","path":"/metadata/resourceVersion","value":"7"},{"op":"replace","path":"/spec/replicas","value":0}]` {
		t.Errorf("%+v %v", writes, err)
	}
}
