package canary

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// describePlace is what a plan orders of what stands beside a Deployment.
func describePlace(p Plan) string {
	if p.Place == nil {
		return ""
	}
	var parts []string
	if s := p.Place.Subsets; s != nil {
		parts = append(parts, "subsets of "+orAll(s.Pods))
	}
	if n := p.Place.Pods; n != nil {
		parts = append(parts, fmt.Sprintf("canary pods for %d%% to %d%%", n.Least, n.Most))
	}
	if d := p.Place.Deployment; d != KeepAsIs {
		parts = append(parts, string(d)+" web")
	}
	if len(parts) == 0 {
		return "    beside web: nothing\n"
	}
	return "    beside web: " + strings.Join(parts, ", ") + "\n"
}

func orAll(pods string) string {
	if pods == "" {
		return "all pods"
	}
	return pods
}

// actPlace makes what stands beside the Deployment as the plan wants it.
func (w *world) actPlace(p Plan) (changed bool) {
	if p.Place == nil || !w.o.InPlace && p.Place.Deployment == KeepAsIs {
		return false
	}
	before := w.o
	there := &w.o.Place
	if s := p.Place.Subsets; s == nil {
		there.Subsets, there.SubsetsAt = Subsets{}, time.Time{}
	} else if there.Subsets != *s {
		there.Subsets, there.SubsetsAt = *s, w.now
	}
	w.scale(p.Place.Pods)
	switch p.Place.Deployment {
	case Resume:
		there.Held = false
	case Pause:
		there.Held = true
	case Restore:
		there.Held, w.o.Tracks.Canary.Template = false, w.o.Tracks.Stable.Template
	}
	there.Left = there.Canary || there.Subsets != Subsets{}
	return fmt.Sprint(before.Place, before.Tracks) != fmt.Sprint(w.o.Place, w.o.Tracks)
}

func (w *world) scale(order *Pods) {
	c := &w.o.Tracks.Canary
	if order == nil {
		w.o.Place.Canary, c.Wanted, c.Ready, c.Complete = false, 0, 0, false
		if !w.deaf["pods"] {
			w.o.Place.CanaryPods = 0
		}
		return
	}
	all := w.o.Tracks.Stable.Wanted
	w.o.Place.Canary = true
	c.Wanted = min(max(c.Wanted, PodsFor(order.Least, all)), PodsFor(order.Most, all))
	if !w.deaf["pods"] {
		c.Ready, c.Complete, w.o.Place.CanaryPods = c.Wanted, true, c.Wanted
	}
}

// doPlace is what happens to a Deployment that is updated in place.
func (w *world) doPlace(verb string, args []string) error {
	there, tracks := &w.o.Place, &w.o.Tracks
	switch verb {
	case "in-place": // web runs t1 on PODS pods, and was given t2, which the guard holds
		n, err := strconv.Atoi(args[0])
		w.o.InPlace, there.Held = true, true
		tracks.Canary = Track{Deployment: "web-canary", Subset: "serin-canary", Template: "t2"}
		tracks.Stable = Track{Deployment: "web", Subset: "serin-stable", Template: "t1", Pods: "h1", Complete: true, Wanted: n, Ready: n}
		w.spec.Settle = 2 * time.Second
		return err
	case "held": // another template is written, and the guard holds it
		tracks.Canary.Template, there.Held = args[0], true
		there.Updated = false
	case "updated": // Kubernetes has replaced all pods by those of the template that is asked for
		tracks.Stable.Template, tracks.Stable.Pods = tracks.Canary.Template, "h-"+tracks.Canary.Template
		tracks.Stable.Ready, there.Updated, there.Mixed = tracks.Stable.Wanted, true, false
	case "created": // no pod runs yet
		tracks.Stable.Template, tracks.Stable.Pods, tracks.Stable.Ready = "", "", 0
		there.Held = false
	case "resumed":
		there.Held = false
	case "mixed":
		there.Mixed = true
	case "standing-pause":
		there.Always = true
	case "pair-mode":
		w.o.InPlace = false
	case "on-rollback":
		w.spec.OnRollback = args[0]
	case "pods-gone":
		delete(w.deaf, "pods")
		there.CanaryPods = 0
	default:
		return fmt.Errorf("unknown word %q", verb)
	}
	return nil
}

func TestPodsFor(t *testing.T) {
	for _, c := range []struct{ share, wanted, want int }{
		{0, 10, 1}, {5, 10, 1}, {25, 10, 3}, {100, 10, 10}, {5, 1, 1}, {50, 3, 2}, {100, 0, 1}, {1, 1000, 10},
	} {
		if got := PodsFor(c.share, c.wanted); got != c.want {
			t.Errorf("%d%% of %d pods is %d, want %d", c.share, c.wanted, got, c.want)
		}
	}
}

// placed is a world in which web is given a new template while it runs on four pods.
func placed(t *testing.T) *world {
	t.Helper()
	w := newWorld()
	if err := w.do([]string{"in-place", "4"}); err != nil {
		t.Fatal(err)
	}
	return w
}

func TestNoReleaseBeginsBesideTheCanaryOfTheLast(t *testing.T) {
	for name, left := range map[string]Standing{
		"its Deployment is there with a pod":   {Canary: true, CanaryPods: 1},
		"its pods are going":                   {CanaryPods: 1},
		"its Deployment is there without pods": {Canary: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := placed(t)
			w.pass()
			w.now = w.now.Add(time.Hour)
			w.o.Place.Canary, w.o.Place.CanaryPods = left.Canary, left.CanaryPods
			if p := Decide(w.spec, w.state, w.o, w.now); p.Next.Phase.Active() || p.View.Reason != Clearing || p.Traffic != nil {
				t.Errorf("it is %s: %s", p.View.Phase, p.View.Sentence)
			}
			w.o.Place.Canary, w.o.Place.CanaryPods = false, 0
			if p := Decide(w.spec, w.state, w.o, w.now); p.Next.Phase != Testing {
				t.Errorf("when they are gone it is %s: %s", p.View.Phase, p.View.Sentence)
			}
		})
	}
}

func TestACommandSendsNobodyToPodsThatProxiesDoNotKnowYet(t *testing.T) {
	for _, verb := range []string{CommandPromote, CommandSkip} {
		t.Run(verb, func(t *testing.T) {
			w := placed(t)
			w.spec.Test = time.Hour
			for range 4 { // until the canary stands
				w.pass()
				w.now = w.now.Add(2 * time.Second)
			}
			c := &w.o.Tracks.Canary
			c.Wanted, c.Ready, c.Complete, c.Since = 4, 4, true, w.now
			w.o.Command = &Command{Verb: verb, ID: "1"}
			if p := Decide(w.spec, w.state, w.o, w.now); p.Next.Weight != 0 || p.View.Reason != WaitingForPods {
				t.Errorf("at once it is at %d%%: %s", p.Next.Weight, p.View.Sentence)
			}
			// Since is of whole seconds: a second more, and then the time to settle.
			if p := Decide(w.spec, w.state, w.o, w.now.Add(time.Second+w.spec.Settle)); p.Next.Weight == 0 {
				t.Errorf("when they know them it is at %d%%: %s", p.Next.Weight, p.View.Sentence)
			}
		})
	}
}

func TestNothingIsUpdatedWhileRoutesArePinnedToItsPods(t *testing.T) {
	w := placed(t)
	w.o.OptedIn = false // opted out with a change that waits
	w.o.Place.Carried, w.o.Place.Written = true, w.now
	w.now = w.now.Add(time.Hour)
	p := Decide(w.spec, w.state, w.o, w.now)
	if p.Place == nil || p.Place.Deployment != KeepAsIs || !p.Clean {
		t.Errorf("with pins it is ordered %+v, clean %v", p.Place, p.Clean)
	}
	w.o.Place.Carried, w.o.Place.Written = false, w.now
	if p := Decide(w.spec, w.state, w.o, w.now.Add(time.Second)); p.Place.Deployment != KeepAsIs {
		t.Errorf("before the proxies know that they are gone it is ordered %+v", p.Place)
	}
	if p := Decide(w.spec, w.state, w.o, w.now.Add(w.spec.Settle)); p.Place.Deployment != Resume {
		t.Errorf("then it is ordered %+v", p.Place)
	}
}
