package notify

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/mail"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"serin.dev/serin/pkg/canary"
)

var slackControl = regexp.MustCompile(`[<>]|&(?:[^agl]|$)`)

// Whatever others write, in names, annotations and answers of programs: it stays text,
// calls nobody, leads nowhere and adds no header.
func FuzzText(f *testing.F) {
	for _, s := range []string{"plain", "<!channel> <@U1> &amp;", "<b>bold</b><a href='x'>", "a\r\nBcc: b@example.com", "*b* _i_ `c` ~s~ @all", "\x1b[2J\u202e\u200b", "\xff\xfe", "../..?x=y#z", strings.Repeat("é", 3000)} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, sentence, name string) {
		v, e := happening(canary.KindHeld)
		name = name[:min(len(name), 63)] // as long as they may be
		v.Namespace, v.Service, v.Canary.Deployment, v.Sentence, e.Sentence = name, name, name, sentence, sentence
		m := newMessage(canary.KindHeld, v, e, pages, time.Unix(0, 0))
		text := m.text.plain()
		if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' && r != '\ufe0f' }) {
			t.Errorf("%q is not printable", text)
		}
		if s := slackText(m); slackControl.MatchString(s) {
			t.Errorf("%q begins something in Slack", s)
		}
		tags := elements(t, telegram{ch: Channel{}}.text(m, true))
		for _, tag := range tags {
			if tag != "b" && tag != "code" && tag != "a" {
				t.Errorf("Telegram is sent a %s", tag)
			}
		}
		if want := 2 + len(m.text.facts) + len(m.text.commands) + len(m.text.links) - 1; len(tags) != want {
			t.Errorf("Telegram is sent %d elements, want %d: %v", len(tags), want, tags)
		}
		for _, l := range m.text.links {
			if u, err := url.Parse(l.value); err != nil || u.Host != "serin.example.com" && u.Host != "grafana.example.com" || u.Fragment != "" {
				t.Errorf("a link leads to %s (%v)", l.value, err)
			}
		}
		letter, err := mail.ReadMessage(bytes.NewReader(email{ch: Channel{From: "a@example.com", To: []string{"b@example.com"}}}.letter(m)))
		if err != nil || len(letter.Header) != 11 {
			t.Errorf("the mail has the headers %v (%v)", letter.Header, err)
		}
		bounded(t, m)
	})
}

// elements are those of a text in Telegram's HTML, which is well-formed.
func elements(t *testing.T, text string) (tags []string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader("<x>" + text + "</x>"))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return tags[1:]
		}
		if err != nil {
			t.Fatalf("%q is no HTML: %v", text, err)
		}
		if s, is := token.(xml.StartElement); is {
			tags = append(tags, s.Name.Local)
		}
	}
}

// bounded checks that no service is sent more than it takes.
func bounded(t *testing.T, m Message) {
	t.Helper()
	if n := utf8.RuneCountInString(m.text.plain()); n > 4096 {
		t.Errorf("Telegram takes no text of %d characters", n)
	}
	for kind, most := range map[string]int{typeTelegram: 16 << 10, typeWeCom: 16 << 10, typeDingTalk: 40 << 10, typeTeams: 28 << 10} {
		s, err := newService(channelOf(t, kind), roundTrip(func(r *http.Request) (int, http.Header, string) {
			if body, _ := io.ReadAll(r.Body); len(body) > most {
				t.Errorf("%s is sent %d bytes", kind, len(body))
			}
			return http.StatusOK, nil, yes
		}))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.send(context.Background(), m, "", true); err != nil {
			t.Fatal(err)
		}
	}
}
