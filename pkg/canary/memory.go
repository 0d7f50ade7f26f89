package canary

import (
	"slices"
	"sync"
)

// remembered is how many states that were read are kept, of 1 to 2 KiB each: those
// of the passes under way, each of which asks for the same text several times.
const remembered = 64

// read are the states that were read last. It changes no answer: a state is a
// function of its text.
var read = &memory{states: map[string]State{}}

// memory keeps as many states as remembered, and forgets the oldest first.
type memory struct {
	mu     sync.Mutex
	states map[string]State
	order  [remembered]string
	next   int // of order, where the oldest is
}

func (m *memory) get(text string) (State, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, known := m.states[text]
	return s.clone(), known
}

func (m *memory) put(text string, s State) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.states[text]; known {
		return
	}
	delete(m.states, m.order[m.next])
	m.order[m.next], m.states[text] = text, s.clone()
	m.next = (m.next + 1) % remembered
}

// clone is a copy that shares nothing that can be changed.
func (s State) clone() State {
	s.Legs, s.Digests, s.Marks = slices.Clone(s.Legs), slices.Clone(s.Digests), slices.Clone(s.Marks)
	s.Approvals = slices.Clone(s.Approvals)
	spec := &s.Spec
	spec.Steps, spec.Custom, spec.Header.Values = slices.Clone(spec.Steps), slices.Clone(spec.Custom), slices.Clone(spec.Header.Values)
	spec.Approval, spec.VirtualServices, spec.Notify = slices.Clone(spec.Approval), slices.Clone(spec.VirtualServices), slices.Clone(spec.Notify)
	spec.Gates = slices.Clone(spec.Gates)
	for i := range spec.Gates {
		spec.Gates[i].Stages = slices.Clone(spec.Gates[i].Stages)
	}
	return s
}
