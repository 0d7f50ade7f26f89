package notify

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"serin.dev/serin/pkg/canary"
)

// authority is the file of who signed a test server's certificate.
func authority(t *testing.T, s *httptest.Server) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "ca.crt")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestHowTheNetworkIsTrusted(t *testing.T) {
	asked := 0
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer elsewhere.Close()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/away") {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		}
	})
	encrypted, open := httptest.NewTLSServer(handler), httptest.NewServer(handler)
	defer encrypted.Close()
	defer open.Close()
	encrypted.Config.ErrorLog = log.New(io.Discard, "", 0) // one client is meant not to trust it
	for name, c := range map[string]struct {
		ch    Channel
		wrong string
	}{
		"encrypted, by an authority that is known": {Channel{URL: encrypted.URL, CA: authority(t, encrypted)}, ""},
		"encrypted, by an authority nobody knows":  {Channel{URL: encrypted.URL}, "certificate"},
		"in the open, by mistake":                  {Channel{URL: open.URL}, "the address is no https URL"},
		"in the open, as the operator says":        {Channel{URL: open.URL, Plaintext: true}, ""},
		"led elsewhere":                            {Channel{URL: open.URL + "/away", Plaintext: true}, "redirects are not followed"},
		"a file in place of a service":             {Channel{URL: "file:///etc/passwd", Plaintext: true}, "the address is no https URL"},
	} {
		t.Run(name, func(t *testing.T) {
			c.ch.Type, c.ch.Credentials = typeAlertmanager, file(t, token)
			s, err := newService(c.ch, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.send(context.Background(), messageOf(canary.KindHeld), "", true)
			if c.wrong == "" && err != nil || c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) {
				t.Errorf("got %v", err)
			}
		})
	}
	if asked != 0 {
		t.Error("a redirect was followed")
	}
}

func TestASecretIsReadAnewForEachMessage(t *testing.T) {
	var got []string
	ch := channelOf(t, typeAlertmanager)
	s, err := newService(ch, roundTrip(func(r *http.Request) (int, http.Header, string) {
		got = append(got, r.Header.Get("Authorization"))
		return http.StatusOK, nil, ""
	}))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"one", "two\n"} {
		if err := os.WriteFile(ch.Credentials, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.send(context.Background(), messageOf(canary.KindHeld), "", true); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(got, []string{"Bearer one", "Bearer two"}) {
		t.Errorf("it is shown %q", got)
	}
	if err := os.WriteFile(ch.Credentials, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = s.send(context.Background(), messageOf(canary.KindHeld), "", true)
	var f failure
	if err == nil || errors.As(err, &f) {
		t.Errorf("an empty file: %v; it has to be tried again", err)
	}
}

// post is a mail server for one mail.
type post struct {
	login, from string
	to          []string
	letter      string
}

// mailbox answers one client as a mail server does, with STARTTLS if it has a
// certificate; refuse is what it answers to the first receiver.
func mailbox(t *testing.T, certificate *tls.Config, refuse string) (address string, got chan post) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	got = make(chan post, 1)
	go func() {
		defer l.Close()
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { conn.Close() }()
		var p post
		in := bufio.NewReader(conn)
		say := func(line string) { fmt.Fprintf(conn, "%s\r\n", line) }
		say("220 mail.test ESMTP")
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			line = strings.TrimSpace(line)
			_, encrypted := conn.(*tls.Conn)
			switch verb, rest, _ := strings.Cut(line, " "); verb {
			case "EHLO":
				say("250-mail.test")
				if certificate != nil && !encrypted {
					say("250-STARTTLS")
				}
				say("250 AUTH PLAIN")
			case "STARTTLS":
				say("220 go on")
				conn = tls.Server(conn, certificate)
				in = bufio.NewReader(conn)
			case "AUTH":
				p.login = rest
				say("235 welcome")
			case "MAIL":
				p.from = rest
				say("250 ok")
			case "RCPT":
				if refuse != "" {
					say(refuse)
					continue
				}
				p.to = append(p.to, rest)
				say("250 ok")
			case "DATA":
				say("354 go on")
				var b strings.Builder
				for {
					l, err := in.ReadString('\n')
					if err != nil || l == ".\r\n" {
						break
					}
					b.WriteString(l)
				}
				p.letter = b.String()
				say("250 taken")
			case "QUIT":
				say("221 bye")
				got <- p
				return
			}
		}
	}()
	t.Cleanup(func() { l.Close() })
	return l.Addr().String(), got
}

func TestMailIsSentEncryptedAndWithAName(t *testing.T) {
	https := httptest.NewTLSServer(nil)
	defer https.Close()
	address, got := mailbox(t, https.TLS, "")
	ch := channelOf(t, typeEmail)
	ch.Server, ch.CA, ch.Credentials = address, authority(t, https), file(t, "serin:"+token)
	s, err := newService(ch, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := messageOf(canary.KindHeld)
	if _, err := s.send(context.Background(), m, "", true); err != nil {
		t.Fatal(err)
	}
	p := <-got
	if !strings.HasPrefix(p.login, "PLAIN ") || !strings.HasPrefix(p.from, "FROM:<serin@example.com>") || !slices.Equal(p.to, []string{"TO:<shop@example.com>", "TO:<ops@example.com>"}) {
		t.Errorf("the server got %+v", p)
	}
	letter, err := mail.ReadMessage(strings.NewReader(p.letter))
	if err != nil {
		t.Fatal(err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(letter.Header.Get("Subject"))
	body, _ := io.ReadAll(quotedprintable.NewReader(letter.Body))
	if err != nil || subject != m.text.head() || strings.ReplaceAll(string(body), "\r\n", "\n") != m.text.plain() {
		t.Errorf("%q (%v) has the text\n%s", subject, err, body)
	}
}

func TestMailsThatAreNotSent(t *testing.T) {
	https := httptest.NewTLSServer(nil)
	defer https.Close()
	for name, c := range map[string]struct {
		certificate *tls.Config
		refuse      string
		login       string
		plaintext   bool
		final       bool
		wrong       string
	}{
		"to a server without encryption":              {nil, "", "", false, true, "offers no encryption"},
		"a password, to a server without encryption":  {nil, "", "serin:" + token, true, true, "a password is sent to no mail server without encryption"},
		"to nobody whom the server knows":             {https.TLS, "550 no such user serin:" + token, "", false, true, "answers 550"},
		"to somebody whose mailbox is full for now":   {https.TLS, "452 too much", "", false, false, "answers 452"},
		"with a file of credentials that has no name": {https.TLS, "", token, false, true, `has no ":" between name and password`},
	} {
		t.Run(name, func(t *testing.T) {
			address, _ := mailbox(t, c.certificate, c.refuse)
			ch := channelOf(t, typeEmail)
			ch.Server, ch.CA, ch.Plaintext, ch.Credentials = address, authority(t, https), c.plaintext, ""
			if c.login != "" {
				ch.Credentials = file(t, c.login)
			}
			s, err := newService(ch, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.send(context.Background(), messageOf(canary.KindHeld), "", true)
			var f failure
			if errors.As(err, &f); err == nil || f.final != c.final || !strings.Contains(err.Error(), c.wrong) || c.login != "" && strings.Contains(err.Error(), token) {
				t.Errorf("got %v, final %t", err, f.final)
			}
		})
	}
}
