package webhook

import (
	"encoding/pem"
	"net/http/httptest"
)

// pemOf is a server's certificate, which signed itself.
func pemOf(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}
