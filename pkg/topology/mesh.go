package topology

// CoversMesh tells that sidecars of the Service's namespace that call the Service
// go by a VirtualService, or by one that delegates to it.
func CoversMesh(o Objects, vs VirtualService) bool {
	p := preflight{o: o, m: Map{Service: RouteService(o)}}
	return visible(vs, o.Namespace) && p.coversMesh(vs)
}
