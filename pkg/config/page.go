package config

import (
	"fmt"
	"net/netip"
	"strings"
)

// Page is about the page and its JSON.
type Page struct {
	Listen           string   // host:port; empty: it is not served
	Access           string   // AccessLoopback or AccessReviewed
	Hosts            []string // by which it is asked for, beside the loopback's names
	Certificate, Key string   // files, PEM; empty: it is served in clear text
}

// Who may see the page.
const (
	AccessLoopback = "loopback" // who reaches its address, which is of the loopback
	AccessReviewed = "reviewed" // who brings a token; what they see is what they may get
)

// Check tells what would let others read along; nil where nothing does.
func (p Page) Check() error {
	switch {
	case p.Listen == "":
		return nil
	case (p.Certificate == "") != (p.Key == ""):
		return fmt.Errorf("page.key: a certificate and its key belong together; write both, or none of them")
	case loopback(p.Listen):
		return nil
	case p.Access == AccessLoopback:
		return fmt.Errorf("page.listen: %q is reached from other machines, and page.access: loopback asks nobody who they are; write \"127.0.0.1:%s\", or page.access: reviewed", p.Listen, port(p.Listen))
	case p.Certificate == "":
		return fmt.Errorf("page.certificate: without one, tokens would cross the network in clear text; write page.certificate and page.key, or listen on \"127.0.0.1:%s\"", port(p.Listen))
	}
	return nil
}

// loopback tells whether only this machine reaches an address. A name may lead
// anywhere, but for localhost.
func loopback(address string) bool {
	host := strings.Trim(address[:strings.LastIndexByte(address, ':')], "[]")
	at, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && at.IsLoopback()
}
