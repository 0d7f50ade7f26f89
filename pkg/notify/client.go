package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"serin.dev/serin/pkg/safetext"
)

const (
	// oneRequest bounds one request with its answer.
	oneRequest = 10 * time.Second
	// maxAnswer is more than any service has to say, in bytes.
	maxAnswer = 64 << 10
	// maxSecret bounds a file with a secret, in bytes.
	maxSecret = 64 << 10
	// maxQuoted is how much of an answer stands in a log, in bytes.
	maxQuoted = 200
)

// client is how HTTP is spoken to one service.
type client struct {
	http      *http.Client
	plaintext bool
}

func newClient(ch Channel, transport http.RoundTripper) (client, error) {
	c := client{plaintext: ch.Plaintext}
	if transport == nil {
		encryption, err := encryptionOf(ch, "")
		if err != nil {
			return c, err
		}
		own := http.DefaultTransport.(*http.Transport).Clone()
		own.TLSClientConfig, own.MaxConnsPerHost = encryption, 2
		transport = own
	}
	// A redirect could lead a secret, or a message, elsewhere.
	c.http = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return c, nil
}

// encryptionOf is TLS as a channel wants it. Its authorities come on top of the
// system's.
func encryptionOf(ch Channel, host string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	if ch.CA == "" {
		return config, nil
	}
	text, err := os.ReadFile(ch.CA)
	if err != nil {
		return nil, fmt.Errorf("read the authorities: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("read the authorities: %s has no certificate in PEM", ch.CA)
	}
	config.RootCAs = pool
	return config, nil
}

// request is one request with JSON.
type request struct {
	method, url string
	header      map[string]string
	body        any      // as JSON, unless it is []byte already
	secrets     []string // that no error may show
}

// do sends it. An answer other than 2xx is a failure, with the answer beside it.
func (c client) do(ctx context.Context, r request) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, oneRequest)
	defer cancel()
	body, ready := r.body.([]byte)
	if !ready {
		var err error
		if body, err = encode(r.body); err != nil {
			return nil, failure{error: fmt.Errorf("write the message as JSON: %w", err), final: true}
		}
	}
	sent, err := http.NewRequestWithContext(ctx, r.method, r.url, bytes.NewReader(body))
	if err != nil {
		return nil, failure{error: errors.New("the address is no URL; look at the channel's url, or its file of credentials"), final: true}
	}
	if sent.URL.Host == "" || sent.URL.Scheme != "https" && (sent.URL.Scheme != "http" || !c.plaintext) {
		return nil, failure{error: errors.New("the address is no https URL; mend it, or write plaintext: true where the network can be trusted"), final: true}
	}
	sent.Header.Set("Content-Type", "application/json; charset=utf-8")
	sent.Header.Set("User-Agent", "serin")
	for key, value := range r.header {
		sent.Header.Set(key, value)
	}
	response, err := c.http.Do(sent)
	if err != nil {
		return nil, r.hide(bare(err))
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, r.hide(fmt.Errorf("read the answer: %w", bare(err)))
	}
	return answer, r.hide(judged(response, answer))
}

// encode writes JSON as it is: that HTML is made safe by escapes is of no use in a
// message, and hides what is signed.
func encode(body any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(body)
	return bytes.TrimRight(b.Bytes(), "\n"), err
}

// bare is an error of net/http without the address, in which a token may stand.
func bare(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// hide takes secrets out of an error's words.
func (r request) hide(err error) error {
	if err == nil {
		return nil
	}
	f := failure{error: err}
	errors.As(err, &f)
	words := f.error.Error()
	for _, s := range r.secrets {
		if s != "" {
			words = strings.ReplaceAll(words, s, "(secret)")
		}
	}
	if words != f.error.Error() {
		f.error = errors.New(words)
	}
	return f
}

// judged says what an answer's status means: whether to try again, and when.
func judged(r *http.Response, answer []byte) error {
	code := r.StatusCode
	if code >= 200 && code < 300 {
		return nil
	}
	f := failure{error: fmt.Errorf("it answers %d: %s", code, quote(answer)), after: retryAfter(r.Header, time.Now()), status: code}
	switch {
	case code == http.StatusTooManyRequests, code == http.StatusRequestTimeout, code >= http.StatusInternalServerError:
	case code >= 300 && code < 400:
		f.final, f.error = true, fmt.Errorf("it answers %d: redirects are not followed; write the address it has now", code)
	default:
		f.final = true
	}
	return f
}

func quote(answer []byte) string {
	return shorten(safetext.Line(strings.TrimSpace(string(answer))), maxQuoted)
}

// retryAfter is how long a service wants to be left alone, at most until a message is
// given up.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && seconds > 0 {
		return time.Duration(min(seconds, giveUp.Seconds()) * float64(time.Second))
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, min(at.Sub(now), giveUp))
	}
	return 0
}

// secret reads a file that holds one; empty when no file is named. It is read for each
// message, which is seldom, so that a secret that was changed is used at once.
func secret(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("read the secret: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSecret))
	if err != nil {
		return "", fmt.Errorf("read the secret: %w", err)
	}
	s := strings.TrimSpace(string(text))
	if s == "" {
		return "", fmt.Errorf("read the secret: %s is empty", file)
	}
	return s, nil
}

// answer reads a service's JSON.
func answer(text []byte, into any) error {
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("it answers what is no JSON of its: %s", quote(text))
	}
	return nil
}
