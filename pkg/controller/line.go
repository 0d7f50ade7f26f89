package controller

// line is the order in which Services are worked on: by rank, and those of one
// rank in the order in which they came. After a start every Service of the cluster
// waits to be looked at, and with every closed block each rollout under way: a
// canary that breaks must wait for none of them.
type line[K comparable] struct {
	rank  func(K) rank
	lanes [ranks][]K
	in    map[K]rank // of all in line
	// moved is how often one stands in a lane that went on to a better one.
	moved [ranks]map[K]int
}

// rank says who is worked on before others: the lower the sooner.
type rank int

// The ranks.
const (
	breaking rank = iota // a breach is proven
	moving               // a rollout is under way
	resting
	ranks
)

func newLine[K comparable](of func(K) rank) *line[K] {
	l := &line[K]{rank: of, in: map[K]rank{}}
	for i := range l.moved {
		l.moved[i] = map[K]int{}
	}
	return l
}

// Push puts one in line, that is not in it.
func (l *line[K]) Push(k K) {
	r := l.rank(k)
	l.lanes[r], l.in[k] = append(l.lanes[r], k), r
}

// Touch lets one that is in line go forward, if its rank has become a better one.
func (l *line[K]) Touch(k K) {
	was, there := l.in[k]
	if r := l.rank(k); there && r < was {
		l.lanes[r], l.in[k] = append(l.lanes[r], k), r
		l.moved[was][k]++
	}
}

// Len is how many are in line.
func (l *line[K]) Len() int { return len(l.in) }

// Pop takes the next one; there must be one.
func (l *line[K]) Pop() (k K) {
	for r := range l.lanes {
		for len(l.lanes[r]) > 0 {
			if k = take(&l.lanes[r]); l.moved[r][k] == 0 {
				delete(l.in, k)
				return k
			}
			if l.moved[r][k]--; l.moved[r][k] == 0 {
				delete(l.moved[r], k)
			}
		}
	}
	return k
}

// take takes the first one of a slice, and lets its memory go.
func take[K any](all *[]K) (k K) {
	var none K
	k, (*all)[0] = (*all)[0], none
	*all = (*all)[1:]
	return k
}
