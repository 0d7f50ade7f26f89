package route

// Service is the Service whose routes are edited.
type Service struct {
	Namespace, Name string
	ClusterDomain   string // like cluster.local; empty: full host names never match
}

// String is the Service as people write it: web.shop.
func (s Service) String() string { return s.Name + "." + s.Namespace }

// Matches tells whether a host, as written in a VirtualService of the given
// namespace, is this Service. A short name means the VirtualService's own
// namespace, not the Service's.
func (s Service) Matches(host, vsNamespace string) bool {
	switch host {
	case "":
		return false
	case s.Name:
		return vsNamespace == s.Namespace
	case s.Name + "." + s.Namespace, s.Name + "." + s.Namespace + ".svc":
		return true
	case s.Name + "." + s.Namespace + ".svc." + s.ClusterDomain:
		return s.ClusterDomain != ""
	}
	return false
}
