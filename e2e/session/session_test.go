package session

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestADrawingIsXMLWithTheColoursAndNothingElse(t *testing.T) {
	got := SVG("a & b", []Command{{"kubectl canary list", "\x1b[2mSERVICE\x1b[0m  <web>\n\x1b[31mBlocked\x1b[0m"}})
	for d := xml.NewDecoder(strings.NewReader(got)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, got)
		}
	}
	for _, want := range []string{`<tspan class="d">SERVICE</tspan>  &lt;web&gt;`, `<tspan class="r">Blocked</tspan>`, `<title>a &amp; b</title>`} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	if strings.Contains(got, "\x1b") {
		t.Error("an escape is left")
	}
}
