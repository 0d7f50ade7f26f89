package apiserver

import (
	"maps"
	"slices"
)

// Put is a user's hand: it stores an object whatever its version is.
func (s *Server) Put(o map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.targetOf(o)
	o = Clone(o)
	s.admit(t, s.objects[t.path()], o, true)
	s.store(t, o)
}

// Edit is a user's hand on an object; false if it is not there.
func (s *Server) Edit(kind, ns, name string, f func(map[string]any)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.edit(s.named(kind, ns, name), f)
}

// EditAt is a user's hand on the object that a URL's path names; false if it is
// not there.
func (s *Server) EditAt(path string, f func(map[string]any)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.edit(parseTarget(path), f)
}

func (s *Server) edit(t target, f func(map[string]any)) bool {
	held, exists := s.objects[t.path()]
	if !exists {
		return false
	}
	o := Clone(held)
	f(o)
	s.admit(t, held, o, true)
	s.store(t, o)
	return true
}

// Delete is a user's hand, too.
func (s *Server) Delete(kind, ns, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(s.named(kind, ns, name))
}

// Read gives a copy of an object; nil if there is none.
func (s *Server) Read(kind, ns, name string) map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.named(kind, ns, name)
	o, ok := s.objects[t.path()]
	if !ok {
		return nil
	}
	return Clone(o)
}

// All gives copies of all objects of a kind, in the order of their names.
func (s *Server) All(kind string) []map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []map[string]any
	for _, path := range slices.Sorted(maps.Keys(s.objects)) {
		if o := s.objects[path]; o["kind"] == kind {
			out = append(out, Clone(o))
		}
	}
	return out
}

// Each shows all objects of a kind, in no order. They are the server's own: they
// must not be changed, nor the server asked for anything meanwhile.
func (s *Server) Each(kind string, show func(map[string]any)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.objects {
		if o["kind"] == kind {
			show(o)
		}
	}
}

// Writes are the method and path of every write through the API that was accepted,
// in their order.
func (s *Server) Writes() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.writes)
}

func (s *Server) named(kind, ns, name string) target {
	return s.targetOf(map[string]any{"kind": kind, "apiVersion": APIVersions[kind], "metadata": map[string]any{"namespace": ns, "name": name}})
}
