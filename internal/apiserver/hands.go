package apiserver

import "slices"

// Put is a user's hand: it stores an object whatever its version is.
func (s *Server) Put(o map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hand(targetOf(o), Clone(o))
}

// Edit is a user's hand on an object; false if it is not there.
func (s *Server) Edit(kind, ns, name string, f func(map[string]any)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.edit(named(kind, ns, name), f)
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
	o := Clone(held.tree)
	f(o)
	s.hand(t, Clone(o))
	return true
}

// hand stores what somebody wants an object to be. What nobody leads keeps the
// status and the generation that are put.
func (s *Server) hand(t target, o map[string]any) {
	if t.kind.name != "Deployment" || s.deployments != nil {
		status := o["status"]
		s.admit(t, s.objects[t.path()], o, true)
		if status != nil && t.kind.name != "Deployment" {
			o["status"] = status
		}
	}
	// Owners that a hand names are as it says.
	held := s.objects[t.path()]
	if owners := Meta(o)["managedFields"]; t.managed && (owners == nil || held != nil && sameOwners(owners, Meta(held.tree)["managedFields"])) {
		own(held, o, handManager, t.kind.version)
	}
	s.store(t, o)
}

// Delete is a user's hand, too.
func (s *Server) Delete(kind, ns, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(named(kind, ns, name))
}

// Read gives a copy of an object; nil if there is none.
func (s *Server) Read(kind, ns, name string) map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.objects[named(kind, ns, name).path()]
	if !ok {
		return nil
	}
	return Clone(o.tree)
}

// All gives copies of all objects of a kind, in the order of their names.
func (s *Server) All(kind string) []map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []map[string]any
	for _, path := range sortedPaths(s.objects) {
		if o := s.objects[path]; o.kind.name == kind {
			out = append(out, Clone(o.tree))
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
		if o.kind.name == kind {
			show(o.tree)
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
