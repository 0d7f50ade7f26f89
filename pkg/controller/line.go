package controller

// line is the order in which Services are worked on: those with a rollout under
// way before all others, each in the order in which they came. After a start
// every Service of the cluster waits to be looked at, and a canary that breaks
// must not wait for ten thousand at rest.
type line[K comparable] struct {
	urgent      func(K) bool
	first, rest []K
	ahead       map[K]bool // those in first
	left        map[K]int  // how often one stands in rest that went to the front
	n           int
}

func newLine[K comparable](urgent func(K) bool) *line[K] {
	return &line[K]{urgent: urgent, ahead: map[K]bool{}, left: map[K]int{}}
}

// Push puts one in line, that is not in it.
func (l *line[K]) Push(k K) {
	l.n++
	if l.urgent(k) {
		l.first, l.ahead[k] = append(l.first, k), true
		return
	}
	l.rest = append(l.rest, k)
}

// Touch lets one that is in line go to the front, if it has become urgent.
func (l *line[K]) Touch(k K) {
	if !l.ahead[k] && l.urgent(k) {
		l.first, l.ahead[k] = append(l.first, k), true
		l.left[k]++
	}
}

// Len is how many are in line.
func (l *line[K]) Len() int { return l.n }

// Pop takes the next one; there must be one.
func (l *line[K]) Pop() (k K) {
	l.n--
	if len(l.first) > 0 {
		k = take(&l.first)
		delete(l.ahead, k)
		return k
	}
	for {
		k = take(&l.rest)
		if l.left[k] == 0 {
			return k
		}
		if l.left[k]--; l.left[k] == 0 {
			delete(l.left, k)
		}
	}
}

// take takes the first one of a slice, and lets its memory go.
func take[K any](all *[]K) (k K) {
	var none K
	k, (*all)[0] = (*all)[0], none
	*all = (*all)[1:]
	return k
}
