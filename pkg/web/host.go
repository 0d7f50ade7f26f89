package web

import (
	"net"
	"net/netip"
	"slices"
	"strings"
)

// known tells whether a Host header is one of ours. Names of others that lead here
// are an attack (DNS rebinding): their pages would be of the same origin.
func known(host string, more []string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	if addr, err := netip.ParseAddr(host); err == nil && addr.IsLoopback() {
		return true
	}
	return host == "localhost" || slices.ContainsFunc(more, func(m string) bool { return strings.EqualFold(m, host) })
}
