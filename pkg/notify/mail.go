package notify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/smtp"
	"net/textproto"
	"strings"
	"time"
)

// email sends mail: encrypted from the first byte on port 465, after STARTTLS on
// others. Mails of one rollout are one conversation.
type email struct {
	ch         Channel
	host       string
	encryption *tls.Config
}

func newMail(ch Channel) (service, error) {
	host, _, err := net.SplitHostPort(ch.Server)
	if err != nil {
		return nil, fmt.Errorf("read the mail server: %w", err)
	}
	encryption, err := encryptionOf(ch, host)
	return email{ch, host, encryption}, err
}

func (s email) send(ctx context.Context, m Message, _ string, told bool) (string, error) {
	if !told {
		return "", nil
	}
	login, err := secret(s.ch.Credentials)
	if err != nil {
		return "", err
	}
	body := s.letter(m)
	if err := s.post(ctx, login, body); err != nil {
		_, password, _ := strings.Cut(login, ":")
		return "", request{secrets: []string{login, password}}.hide(final(err))
	}
	return "", nil
}

// final tells which refusals of a mail server are for good: those that begin with 5.
func final(err error) error {
	var refused *textproto.Error
	if errors.As(err, &refused) {
		return failure{error: fmt.Errorf("the mail server answers %d: %s", refused.Code, quote([]byte(refused.Msg))), final: refused.Code >= 500}
	}
	return err
}

func (s email) post(ctx context.Context, login string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, oneRequest)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.ch.Server)
	if err != nil {
		return err
	}
	defer conn.Close()
	if until, set := ctx.Deadline(); set {
		if err := conn.SetDeadline(until); err != nil {
			return err
		}
	}
	// A stop of the controller ends a talk that hangs.
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if strings.HasSuffix(s.ch.Server, ":465") {
		conn = tls.Client(conn, s.encryption)
	}
	c, err := smtp.NewClient(conn, s.host)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // what went wrong before says more
	if err := s.greet(c, conn, login); err != nil {
		return err
	}
	return s.hand(c, body)
}

// greet agrees on encryption, and says who is there.
func (s email) greet(c *smtp.Client, conn net.Conn, login string) error {
	_, encrypted := conn.(*tls.Conn)
	if offered, _ := c.Extension("STARTTLS"); offered && !encrypted {
		if err := c.StartTLS(s.encryption); err != nil {
			return err
		}
		encrypted = true
	}
	if !encrypted && !s.ch.Plaintext {
		return failure{error: errors.New("the mail server offers no encryption; write plaintext: true where the network can be trusted"), final: true}
	}
	if login == "" {
		return nil
	}
	name, password, found := strings.Cut(login, ":")
	if !found {
		return failure{error: errors.New(`the file of credentials has no ":" between name and password`), final: true}
	}
	if !encrypted {
		return failure{error: errors.New("a password is sent to no mail server without encryption"), final: true}
	}
	return c.Auth(smtp.PlainAuth("", name, password, s.host))
}

// hand gives the letter over.
func (s email) hand(c *smtp.Client, body []byte) error {
	if err := c.Mail(s.ch.From); err != nil {
		return err
	}
	for _, to := range s.ch.To {
		if err := c.Rcpt(to); err != nil {
			return err
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(body); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	_ = c.Quit() // the letter is taken
	return nil
}

// letter is the mail. All that others wrote in its head is encoded, so that no line of
// it becomes a header.
func (s email) letter(m Message) []byte {
	_, domain, _ := strings.Cut(s.ch.From, "@")
	sum := sha256.Sum256([]byte(m.thread()))
	root := "<serin." + hex.EncodeToString(sum[:12]) + "@" + domain + ">"
	var b bytes.Buffer
	for _, h := range [][2]string{
		{"From", s.ch.From}, {"To", strings.Join(s.ch.To, ", ")},
		{"Subject", mime.QEncoding.Encode("utf-8", m.text.head())},
		{"Date", m.At.Format(time.RFC1123Z)}, {"Message-ID", "<" + m.ID + "@" + domain + ">"},
		{"References", root}, {"In-Reply-To", root},
		{"Auto-Submitted", "auto-generated"}, {"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"}, {"Content-Transfer-Encoding", "quoted-printable"},
	} {
		b.WriteString(h[0] + ": " + h[1] + "\r\n")
	}
	b.WriteString("\r\n")
	text := quotedprintable.NewWriter(&b)
	_, _ = io.WriteString(text, strings.ReplaceAll(m.text.plain(), "\n", "\r\n")) // to memory
	_ = text.Close()
	return b.Bytes()
}
