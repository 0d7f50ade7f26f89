package route

// HostsOf lists spec.hosts as written; none for a delegate.
func HostsOf(doc map[string]any) []string { return texts(object(doc["spec"])["hosts"]) }

// IsDelegate tells that a VirtualService has no hosts: it only acts where
// another one delegates to it.
func IsDelegate(doc map[string]any) bool { return len(HostsOf(doc)) == 0 }

// Gateways lists spec.gateways as written, or mesh if a VirtualService with
// hosts names none. A delegate has those of its parent, so none are listed.
func Gateways(doc map[string]any) []string {
	if names := texts(object(doc["spec"])["gateways"]); len(names) > 0 || IsDelegate(doc) {
		return names
	}
	return []string{"mesh"}
}

// IsMesh tells that sidecars use the VirtualService. For a delegate that is its
// parent's to say.
func IsMesh(doc map[string]any) bool {
	for _, name := range Gateways(doc) {
		if name == "mesh" {
			return true
		}
	}
	return false
}

// Delegate is a VirtualService to which another one passes requests on.
type Delegate struct{ Namespace, Name string }

// Delegates lists to whom a VirtualService passes requests on.
func Delegates(doc map[string]any) []Delegate {
	var out []Delegate
	for _, entry := range httpOf(doc) {
		d := object(object(entry)["delegate"])
		if d == nil {
			continue
		}
		namespace := text(d["namespace"])
		if namespace == "" {
			namespace = namespaceOf(doc)
		}
		out = append(out, Delegate{Namespace: namespace, Name: text(d["name"])})
	}
	return out
}

// DestinationHosts lists the hosts of all destinations as written, of HTTP, TCP
// and TLS routes, each once, in the order of their appearance.
func DestinationHosts(doc map[string]any) []string {
	var out []string
	seen := map[string]bool{}
	for _, protocol := range []string{"http", "tcp", "tls"} {
		for _, entry := range list(object(doc["spec"])[protocol]) {
			for _, item := range list(object(entry)["route"]) {
				host := text(object(object(item)["destination"])["host"])
				if host != "" && !seen[host] {
					seen[host] = true
					out = append(out, host)
				}
			}
		}
	}
	return out
}
