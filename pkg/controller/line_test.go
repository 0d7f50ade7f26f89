package controller

import (
	"slices"
	"strings"
	"testing"

	"serin.dev/serin/pkg/cluster"
)

func TestRolloutsUnderWayAreWorkedOnBeforeAllOthers(t *testing.T) {
	for name, c := range map[string]struct {
		before []string // urgent from the start
		come   []string // urgent ones come to be so with a !
		want   string
	}{
		"each in its order":                    {[]string{"u", "v"}, []string{"a", "u", "b", "v"}, "u v a b"},
		"one that becomes urgent goes forward": {[]string{"u"}, []string{"a", "u", "b", "c", "b!"}, "u b a c"},
		"and is worked on once":                {nil, []string{"a", "b", "b!", "b!", "a"}, "b a"},
		"nobody is urgent":                     {nil, []string{"c", "a", "b", "a"}, "c a b"},
	} {
		t.Run(name, func(t *testing.T) {
			urgent := slices.Clone(c.before)
			q := newQueue(func(k cluster.Key) bool { return slices.Contains(urgent, k.Name) })
			defer q.ShutDown()
			for _, come := range c.come {
				one, now := strings.CutSuffix(come, "!")
				if now {
					urgent = append(urgent, one)
				}
				q.Add(cluster.Key{Name: one})
			}
			var got []string
			for q.Len() > 0 {
				k, _ := q.Get()
				got = append(got, k.Name)
				q.Done(k)
			}
			if all := strings.Join(got, " "); all != c.want {
				t.Errorf("got %s, want %s", all, c.want)
			}
		})
	}
}

func TestAServiceThatWentToTheFrontMayComeAgain(t *testing.T) {
	urgent := false
	q := newQueue(func(cluster.Key) bool { return urgent })
	defer q.ShutDown()
	for i := range 100 {
		urgent = false
		q.Add(cluster.Key{Name: "other"})
		q.Add(cluster.Key{Name: "web"})
		urgent = true
		q.Add(cluster.Key{Name: "web"})
		urgent = false
		got := ""
		for q.Len() > 0 {
			k, _ := q.Get()
			got += k.Name + " "
			q.Done(k)
		}
		if got != "web other " {
			t.Fatalf("round %d: %s", i, got)
		}
	}
}
