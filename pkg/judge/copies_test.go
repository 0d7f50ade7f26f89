package judge

import (
	"strings"
	"testing"
)

// copied turns a story into one of a canary that is sent copies of a share of the
// requests, in percent, and no user.
func copied(blocks []Block, share int) []Block {
	for i := range blocks {
		blocks[i].Step, blocks[i].Weight, blocks[i].Mirror = 1, 0, share
	}
	return blocks
}

func TestACanaryIsJudgedByItsCopies(t *testing.T) {
	for _, mode := range []Mode{ModeEvidence, ModeThreshold} {
		for name, c := range map[string]struct {
			story  story
			kind   Kind
			reason Reason
		}{
			"one that fails them is rolled back":             {story{}.then(20, did(900, 0, 50), did(90, 45, 50)), Rollback, ReasonErrorRate},
			"one that is slow with them is rolled back":      {story{}.then(20, did(900, 0, 50), slow(90, 45, 2500)), Rollback, ReasonLatency},
			"one that answers them well passes":              {story{}.then(40, did(900, 0, 50), did(90, 0, 50)), Promote, ReasonGood},
			"few copies are no sign of requests that hang":   {story{}.then(40, did(900, 0, 50), did(30, 0, 50)), Promote, ReasonGood},
			"what stable fails as well is not the canary's":  {story{}.then(20, did(900, 450, 50), did(90, 45, 50)), SharedIncident, ReasonSharedIncident},
			"copies that never come are nothing to judge by": {story{}.then(40, did(900, 0, 50), did(0, 0, 50)), Hold, ReasonFewRequests},
		} {
			t.Run(string(mode)+", "+name, func(t *testing.T) {
				s := settings()
				s.Mode = mode
				blocks := copied(c.story.seenAlike().blocks(1), 10)
				e, now := foldAll(blocks, s)
				v := e.Verdict(now)
				if v.Kind != c.kind || v.Reason != c.reason || v.Step != 1 || v.Weight != 0 {
					t.Errorf("got %s, %s at step %d and %d%%: %s", v.Kind, v.Reason, v.Step, v.Weight, v.Sentence)
				}
				if strings.Contains(name, "never come") && v.NoWorse {
					t.Error("one that answered none of many copies is told to be no worse than stable")
				}
				without := copied(c.story.seenAlike().blocks(1), 0)
				if e, now := foldAll(without, s); mode == ModeEvidence && e.Verdict(now).Kind == Rollback {
					t.Error("requests without copies and weight were judged")
				}
			})
		}
	}
}

// TestTheOpenLookProvesABreachOfCopies has the breach found before its block is closed.
func TestTheOpenLookProvesABreachOfCopies(t *testing.T) {
	s := settings()
	s.Mode = ModeEvidence
	blocks := copied(story{}.then(5, did(900, 0, 50), did(90, 0, 50)).then(1, did(900, 0, 50), did(90, 80, 50)).seenAlike().blocks(1), 10)
	c, now := foldAll(blocks[:5], s)
	if !c.Would(blocks[5]) {
		t.Error("it would not prove a breach")
	}
	if c.Peek(blocks[5]); c.Verdict(now).Kind != Rollback {
		t.Errorf("the verdict is %+v", c.Verdict(now))
	}
}

// TestOfUsersWhoStayNobodyKnowsTheShare has a canary with far fewer requests than its
// weight: no sign of requests that hang, where users stay on a version.
func TestOfUsersWhoStayNobodyKnowsTheShare(t *testing.T) {
	for _, mode := range []Mode{ModeEvidence, ModeThreshold} {
		few := story{}.then(60, did(900, 0, 50), did(90, 0, 50)).seenAlike().blocks(50)
		none := story{}.then(60, did(900, 0, 50), did(0, 0, 50)).seenAlike().blocks(5)
		for sticky, want := range map[bool]Kind{false: Starved, true: Promote} {
			s := settings()
			s.Mode, s.Sticky = mode, sticky
			c, now := foldAll(few, s)
			if v := c.Verdict(now); v.Kind != want {
				t.Errorf("%s, sticky %v: a canary with few users: %s, %s", mode, sticky, v.Kind, v.Sentence)
			}
			c, now = foldAll(none, s)
			if v := c.Verdict(now); v.NoWorse != sticky {
				t.Errorf("%s, sticky %v: a canary without users is no worse: %v", mode, sticky, v.NoWorse)
			}
		}
		bad := story{}.then(20, did(900, 0, 50), did(90, 45, 50)).seenAlike().blocks(50)
		s := settings()
		s.Mode, s.Sticky = mode, true
		if c, now := foldAll(bad, s); c.Verdict(now).Kind != Rollback {
			t.Errorf("%s: one that fails its few users: %+v", mode, c.Verdict(now))
		}
	}
}
