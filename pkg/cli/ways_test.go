package cli

import (
	"bytes"
	"net/url"
	"testing"
)

func TestWhichURLsAreServicesOfTheCluster(t *testing.T) {
	for name, c := range map[string]struct{ url, want string }{
		"a Service and its namespace": {"http://prometheus.istio-system:9090", "/api/v1/namespaces/istio-system/services/http:prometheus:9090/proxy"},
		"with the cluster's domain":   {"http://prometheus.monitoring.svc.cluster.local:9090", "/api/v1/namespaces/monitoring/services/http:prometheus:9090/proxy"},
		"with a path, without a port": {"https://thanos.monitoring.svc/prometheus", "/api/v1/namespaces/monitoring/services/https:thanos:443/proxy/prometheus"},
		"the machine itself":          {"http://localhost:9090", ""},
		"an address":                  {"http://10.0.0.7:9090", ""},
		"a loopback address of IPv6":  {"http://[::1]:9090", ""},
		"a host of the world's":       {"https://prometheus.example.com", ""},
		"a host that ends unlike one": {"https://prometheus.monitoring.svd", ""},
	} {
		t.Run(name, func(t *testing.T) {
			u, err := url.Parse(c.url)
			if err != nil {
				t.Fatal(err)
			}
			got, internal := proxyPath(u)
			if got != c.want || internal != (c.want != "") {
				t.Errorf("got %q, %v", got, internal)
			}
		})
	}
}

func TestTheStyleWhereTheOutputIsNoTerminal(t *testing.T) {
	for name, c := range map[string]struct {
		columns string
		plain   bool
		width   int
		force   string
		colours bool
	}{
		"as wide as a page":            {"", false, widthElsewhere, "", false},
		"as wide as it is said to be":  {"70", false, 70, "", false},
		"nonsense is not a width":      {"wide", false, widthElsewhere, "", false},
		"plain is what was asked for":  {"", true, widthElsewhere, "1", false},
		"no terminal is without width": {"0", false, widthElsewhere, "", false},
		"colours may be forced":        {"", false, widthElsewhere, "1", true},
	} {
		t.Run(name, func(t *testing.T) {
			s := styleOf(&bytes.Buffer{}, c.plain, func(name string) string {
				return map[string]string{"COLUMNS": c.columns, "TERM": "xterm", "CLICOLOR_FORCE": c.force}[name]
			})
			if s.Colours != c.colours || s.Plain != c.plain || s.Width != c.width {
				t.Errorf("got %+v", s)
			}
		})
	}
}

func TestTheLocaleThatWinsSaysWhetherItIsUnicode(t *testing.T) {
	for name, c := range map[string]struct {
		env  map[string]string
		want bool
	}{
		"the language":          {map[string]string{"LANG": "en_GB.UTF-8"}, true},
		"LC_ALL before all":     {map[string]string{"LANG": "en_GB.UTF-8", "LC_ALL": "C"}, false},
		"LC_CTYPE before LANG":  {map[string]string{"LANG": "C", "LC_CTYPE": "C.utf8"}, true},
		"nothing is said":       {nil, false},
		"another character set": {map[string]string{"LANG": "de_DE.ISO-8859-1"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := unicodeIn(func(name string) string { return c.env[name] }); got != c.want {
				t.Errorf("unicode: %v", got)
			}
		})
	}
}
