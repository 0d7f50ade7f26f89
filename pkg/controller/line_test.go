package controller

import (
	"strings"
	"testing"

	"serin.dev/serin/pkg/cluster"
)

func TestTheMostUrgentServiceIsWorkedOnFirst(t *testing.T) {
	for name, c := range map[string]struct {
		come string // each with its rank: 0 is the most urgent one
		want string
	}{
		"each rank in its order":                  {"a2 u1 b2 v1 x0 y0", "x y u v a b"},
		"one that becomes urgent goes forward":    {"a2 u1 b2 c2 b1", "u b a c"},
		"and further":                             {"a2 u1 b2 b1 b0", "b u a"},
		"and is worked on once":                   {"a2 b2 b1 b1 a2", "b a"},
		"nobody goes back":                        {"u1 v1 v2", "u v"},
		"nobody is urgent":                        {"c2 a2 b2 a2", "c a b"},
		"one that breaks passes all rollouts by":  {"u1 v1 w1 w0", "w u v"},
		"two that break keep their order besides": {"u1 v1 w1 w0 v0", "w v u"},
	} {
		t.Run(name, func(t *testing.T) {
			ranks := map[string]rank{}
			q := newQueue(func(k cluster.Key) rank { return ranks[k.Name] }, nil)
			defer q.ShutDown()
			for _, come := range strings.Fields(c.come) {
				ranks[come[:1]] = rank(come[1] - '0')
				q.Add(cluster.Key{Name: come[:1]})
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

func TestAServiceThatWentForwardMayComeAgain(t *testing.T) {
	of := resting
	q := newQueue(func(cluster.Key) rank { return of }, nil)
	defer q.ShutDown()
	for i := range 100 {
		of = resting
		q.Add(cluster.Key{Name: "other"})
		q.Add(cluster.Key{Name: "web"})
		of = moving
		q.Add(cluster.Key{Name: "web"})
		of = resting
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
