// Package outside is how gates ask others by HTTP: with credentials from a mounted
// file that is read for each request, so that a changed one is used at once; without
// following redirects, which could lead credentials elsewhere; and with a bound on
// time and size. No error shows an address's query, or a secret.
package outside

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"serin.dev/serin/pkg/safetext"
)

const (
	// DefaultTimeout is of a request with its answer, where nobody says another.
	DefaultTimeout = 10 * time.Second
	// maxSecret bounds a file with a secret, in bytes.
	maxSecret = 64 << 10
	// maxError is how much of an answer that is an error is read, in bytes.
	maxError = 16 << 10
	// maxQuoted is how much of it stands in a sentence, in bytes.
	maxQuoted = 200
)

// Options say how one server is asked.
type Options struct {
	// Credentials is a file with user:password, or with a token, which has no colon.
	// Empty: none are sent.
	Credentials string
	// CA is a file with certificates in PEM that are trusted beside the system's.
	CA string
	// Plaintext allows credentials to be sent by http, where the network can be trusted.
	Plaintext bool
	// Timeout is of one request with its answer; 0 is DefaultTimeout.
	Timeout time.Duration
	// Transport sends the requests; nil makes one.
	Transport http.RoundTripper
}

// Client asks one server. It may be used by many at once.
type Client struct {
	http        *http.Client
	credentials string
	plaintext   bool
	timeout     time.Duration
}

// New makes a client. Errors name the file that can't be used.
func New(o Options) (*Client, error) {
	transport := o.Transport
	if transport == nil {
		own := http.DefaultTransport.(*http.Transport).Clone()
		own.MaxConnsPerHost = 8
		own.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		if o.CA != "" {
			pool, err := Authorities(o.CA)
			if err != nil {
				return nil, err
			}
			own.TLSClientConfig.RootCAs = pool
		}
		transport = own
	}
	timeout := o.Timeout
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	return &Client{
		http:        &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		credentials: o.Credentials, plaintext: o.Plaintext, timeout: timeout,
	}, nil
}

// Authorities are the system's, and those of a file in PEM.
func Authorities(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the authorities: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("read the authorities: %s has no certificate in PEM", file)
	}
	return pool, nil
}

// Base reads the address of a server: http or https, without credentials, query or
// fragment, and without a slash at its end. What is the name of the setting that holds
// it, for the error.
func Base(what, address string) (string, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil, u.Host == "", u.Scheme != "http" && u.Scheme != "https":
		return "", fmt.Errorf("%s is no http or https URL; write it like https://host.example.com", what)
	case u.User != nil:
		return "", fmt.Errorf("%s holds credentials; write them into a file and name that", what)
	case u.RawQuery != "" || u.Fragment != "":
		return "", fmt.Errorf("%s has a query or a fragment; write only the address, like https://host.example.com", what)
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// Refusal is an answer other than 200.
type Refusal struct {
	Status int
	Body   []byte // its first part
}

// Error is the status, and what the server said beside it.
func (r Refusal) Error() string {
	said := strings.TrimSpace(safetext.Line(strings.TrimSpace(string(r.Body))))
	if len(said) > maxQuoted {
		said = strings.ToValidUTF8(said[:maxQuoted], "") + "..."
	}
	sentence := fmt.Sprintf("it answers %d %s", r.Status, http.StatusText(r.Status))
	if r.Status >= 300 && r.Status < 400 {
		return sentence + ": redirects are not followed; write the address it has now"
	}
	if said == "" || strings.HasPrefix(said, "<") { // a page says nothing in a line
		return sentence
	}
	return sentence + ": " + said
}

// errTooLong is of an answer beyond its bound.
var errTooLong = errors.New("the answer is too long")

// Get asks for JSON and reads at most so many bytes of it into a value. The error is a
// Refusal where the server answered with something else than 200.
func (c *Client) Get(ctx context.Context, address string, header map[string]string, most int64, into any) error {
	return c.ask(ctx, http.MethodGet, address, http.NoBody, header, most, into)
}

// Post is Get with JSON that is sent.
func (c *Client) Post(ctx context.Context, address string, header map[string]string, body []byte, most int64, into any) error {
	all := map[string]string{"Content-Type": "application/json; charset=utf-8"}
	maps.Copy(all, header)
	return c.ask(ctx, http.MethodPost, address, bytes.NewReader(body), all, most, into)
}

func (c *Client) ask(ctx context.Context, method, address string, body io.Reader, header map[string]string, most int64, into any) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return errors.New("its address is no URL")
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "serin")
	for key, value := range header {
		request.Header.Set(key, value)
	}
	secrets, err := c.identify(request)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return c.bare(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(response.Body, maxError)) // that there is none says nothing
		return Refusal{Status: response.StatusCode, Body: hidden(body, secrets)}
	}
	return c.decode(response.Body, most, into)
}

func (c *Client) decode(body io.Reader, most int64, into any) error {
	text, err := io.ReadAll(io.LimitReader(body, most+1))
	switch {
	case err != nil:
		return fmt.Errorf("read the answer: %w", c.bare(err))
	case int64(len(text)) > most:
		return fmt.Errorf("read the answer: %w", errTooLong)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("read the answer: it is not the JSON that was expected: %s", safetext.Line(err.Error()))
	}
	return nil
}

// identify adds the credentials, and tells what of them no error may show.
func (c *Client) identify(request *http.Request) (secrets []string, err error) {
	if c.credentials == "" {
		return nil, nil
	}
	if request.URL.Scheme != "https" && !c.plaintext {
		return nil, errors.New("credentials are not sent by http; write an https URL, or plaintext: true where the network can be trusted")
	}
	secret, err := Secret(c.credentials)
	if err != nil {
		return nil, err
	}
	user, password, both := strings.Cut(secret, ":")
	if both {
		request.SetBasicAuth(user, password)
	} else {
		password = secret
		request.Header.Set("Authorization", "Bearer "+secret)
	}
	_, sent, _ := strings.Cut(request.Header.Get("Authorization"), " ")
	return []string{sent, password}, nil
}

// hidden is what a server said without what it was told: some show in their errors how
// they were asked.
func hidden(body []byte, secrets []string) []byte {
	for _, secret := range secrets {
		if secret != "" {
			body = bytes.ReplaceAll(body, []byte(secret), []byte("(secret)"))
		}
	}
	return body
}

// bare is an error of net/http without the address, which the sentence around it
// names.
func (c *Client) bare(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %s", c.timeout)
	}
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// Secret reads a file that holds one; its spaces and line breaks at both ends are no
// part of it.
func Secret(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("read the credentials: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSecret))
	if err != nil {
		return "", fmt.Errorf("read the credentials: %w", err)
	}
	secret := strings.TrimSpace(string(text))
	if secret == "" || strings.ContainsAny(secret, "\r\n") {
		return "", fmt.Errorf("read the credentials: %s is empty or has several lines; write user:password or a token into it", file)
	}
	return secret, nil
}
