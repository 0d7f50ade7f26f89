package inplace

import (
	"testing"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/route"
	"serin.dev/serin/pkg/topology"
)

// in passes until the release is in a phase.
func (p *play) in(phase canary.Phase) {
	p.t.Helper()
	p.until(string(phase), func() bool { return p.state().Phase == phase })
}

// plainly is an update that nothing holds back, of a Deployment that is opted out
// in the same breath.
func plainly(image string) func(p *play) {
	return func(p *play) {
		optOut(p)
		p.deploy(image)
	}
}

// What people do while users are on their way back, or can't go back any more, is
// answered without a request lost; a hand in the Deployment doesn't stop a release
// for good.
func TestWhatPeopleDoPastThePointOfNoReturn(t *testing.T) {
	for name, c := range map[string]struct {
		phase canary.Phase
		do    func(p *play)
		want  string
		end   canary.Phase
	}{
		"opted out and changed while it is promoted":   {canary.Promoting, plainly("web:3"), "web web:3 3", canary.RolledBack},
		"opted out and changed while the users return": {canary.Finishing, plainly("web:3"), "web web:3 3", canary.Succeeded},
		"the canary is deleted while it is promoted": {canary.Promoting, func(p *play) {
			for p.docs[theDeployment]["spec"].(map[string]any)["paused"] == true {
				p.pass()
			}
			p.views = nil
			delete(p.docs, theCanary)
			p.blind = true
		}, "web web:2 3", canary.Succeeded},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlay(t)
			before := p.users()
			p.verdict = good
			p.deploy("web:2")
			p.in(c.phase)
			p.plain = true
			c.do(p)
			for range 2 {
				p.pass()
			}
			p.blind, p.views = false, nil
			p.rest()
			p.nothingIsLeft(before)
			if got := p.pods(); got != c.want || p.state().Phase != c.end {
				t.Errorf("%s, %s\n%s", got, p.state().Phase, p.log.String())
			}
		})
	}
}

// Scaled to none and up again while it is paused, a Deployment gets pods of the
// ReplicaSet that Kubernetes finds first (the deployment controller's
// FindActiveOrLatest): it may be that of the template that is asked for, or one of
// long ago.
func TestScaledToNoneAndUpAgain(t *testing.T) {
	for name, c := range map[string]struct {
		image string // of the pods that come
		want  string
		end   canary.Phase
	}{
		"the version that ran comes back":     {"web:1", "web web:2 3", canary.Succeeded},
		"the version that is asked for comes": {"web:2", "web web:2 3", canary.RolledBack},
		"a version of before comes":           {"web:0", "web web:2 3", canary.Succeeded},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlay(t)
			before := p.users()
			p.verdict = good
			p.deploy("web:2")
			p.at(50)
			p.blind = true
			scaleTo(0)(p)
			for range 5 {
				p.pass()
			}
			scaleTo(3)(p)
			p.comeBack(c.image)
			for range 8 {
				p.pass()
			}
			p.blind, p.views = false, nil
			p.rest()
			p.nothingIsLeft(before)
			if got := p.pods(); got != c.want || p.state().Phase != c.end {
				t.Errorf("%s, %s\n%s", got, p.state().Phase, p.log.String())
			}
		})
	}
}

// comeBack gives the Deployment, which has no pods, a ReplicaSet of an image.
func (p *play) comeBack(image string) {
	template := route.Clone(child(child(p.docs[theDeployment], "spec"), "template"))
	object(list(child(template, "spec"), "containers")[0])["image"] = image
	uid := child(p.docs[theDeployment], "metadata")["uid"].(string)
	p.sets = append(p.sets, &set{of: "web", owner: uid, hash: "back" + image[len(image)-1:], template: template, created: p.now, young: 3})
}

// Where the guard is a standing pause, opting out takes it off, at rest and in
// mid-release; a pause of a person's stays.
func TestOptingOutOfAStandingPause(t *testing.T) {
	begin := func(t *testing.T) *play {
		p := newPlay(t)
		p.guard, p.verdict = topology.GuardPause, good
		p.rest()
		return p
	}
	t.Run("at rest", func(t *testing.T) {
		p := begin(t)
		optOut(p)
		p.rest()
		if got := p.pods(); got != "web web:1 3" {
			t.Error(got)
		}
	})
	t.Run("in mid-release", func(t *testing.T) {
		p := begin(t)
		before := p.users()
		p.deploy("web:2")
		p.at(50)
		optOut(p)
		p.until("the end", func() bool { return p.state().Phase == canary.RolledBack })
		if s := p.state(); s.Plain || s.Reason != canary.OptedOut {
			t.Errorf("%+v", s)
		}
		p.rest()
		p.nothingIsLeft(before)
		if got := p.pods(); got != "web web:2 3" {
			t.Error(got)
		}
	})
	t.Run("paused by a person", func(t *testing.T) {
		p := newPlay(t)
		p.guard = topology.GuardPause
		p.change(theDeployment, func(doc map[string]any) { child(doc, "spec")["paused"] = true })
		p.rest()
		optOut(p)
		p.rest()
		if got := p.pods(); got != "web web:1 3, paused" {
			t.Error(got)
		}
	})
}

// A version that was rolled back stays held, though an autoscaler takes all pods
// away and brings them back.
func TestARejectedVersionStaysHeldWithoutReplicas(t *testing.T) {
	p := newPlay(t)
	before := p.users()
	p.deploy("web:2")
	p.at(5)
	p.verdict = bad
	p.rest()
	p.blind = true
	scaleTo(0)(p)
	p.rest()
	if got := p.pods(); got != "paused, marked" {
		t.Errorf("without replicas: %s", got)
	}
	scaleTo(3)(p)
	p.comeBack("web:1")
	p.rest()
	p.nothingIsLeft(before)
	if got := p.pods(); got != "web web:1 3, paused, marked" || len(p.history) != 1 {
		t.Errorf("%s, %d releases", got, len(p.history))
	}
}

// Without replicas nothing is updated, so that the point of no return waits.
func TestScaledToNoneNothingIsPromoted(t *testing.T) {
	p := newPlay(t)
	before := p.users()
	p.deploy("web:2")
	p.verdict = good
	p.at(100)
	p.blind = true
	scaleTo(0)(p)
	for range 30 {
		p.pass()
	}
	if s := p.state(); s.Phase != canary.Progressing || s.Weight != 100 {
		t.Errorf("%s at %d%%", s.Phase, s.Weight)
	}
	scaleTo(3)(p)
	p.comeBack("web:1")
	for range 3 {
		p.pass()
	}
	p.blind, p.views = false, nil
	p.rest()
	p.nothingIsLeft(before)
	if got := p.pods(); got != "web web:2 3" || p.state().Phase != canary.Succeeded {
		t.Errorf("%s, %s", got, p.state().Phase)
	}
}
