package prom

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// maxAnswer bounds an answer's body, so that a mistaken server can't exhaust
// the memory; answers of a thousand rollouts stay far below.
const maxAnswer = 512 << 20

// exactly keeps servers that speak Prometheus's API from answering something
// else than what was asked. Prometheus itself does none of it, and ignores the
// parameters.
var exactly = url.Values{
	// VictoriaMetrics may move the points to where it has answers already, and
	// repeats older values in place of those of the last 30 seconds.
	"nocache":        {"1"},
	"latency_offset": {"1ms"},
	// Thanos, and VictoriaMetrics's cluster, may leave out what they can't reach:
	// counters would seem to fall. An error is better.
	"partial_response":      {"false"},
	"deny_partial_response": {"1"},
}

// HTTP asks the Prometheus under baseURL, which may have a path and, as user
// info, credentials for basic authentication; others are added by the client's
// transport. Errors name the URL without credentials, the status, and what
// Prometheus said.
func HTTP(client *http.Client, baseURL string) (Query, error) {
	u, err := url.Parse(baseURL)
	if err != nil {
		// The error of Parse quotes the URL, with its password.
		return nil, errors.New("use Prometheus: its URL can't be read; write it like http://prometheus.istio-system:9090")
	}
	if u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("use Prometheus at %q: no http or https URL; write it like http://prometheus.istio-system:9090", shown(u))
	}
	endpoint := u.JoinPath("api/v1/query_range")
	name := shown(endpoint)
	return func(ctx context.Context, promql string, start, end time.Time, step time.Duration) (Matrix, error) {
		form := url.Values{
			"query": {promql},
			"start": {seconds(start.UnixMilli())},
			"end":   {seconds(end.UnixMilli())},
			"step":  {seconds(step.Milliseconds())},
		}
		maps.Copy(form, exactly)
		m, err := ask(ctx, client, endpoint.String(), form)
		if err != nil {
			return Matrix{}, fmt.Errorf("query %s: %w", name, err)
		}
		return m, nil
	}, nil
}

func ask(ctx context.Context, client *http.Client, endpoint string, form url.Values) (Matrix, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return Matrix{}, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Accept", "application/json")
	response, err := client.Do(request)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err // its own text repeats the URL
		}
		return Matrix{}, err
	}
	defer func() { _ = response.Body.Close() }()
	a, err := decode(&capped{r: response.Body, left: maxAnswer})
	return a.result(response.StatusCode, err)
}

// result makes the answer or the error of a decoded body. A proxy's error page
// is no JSON: then the status says more than the decoder.
func (a answer) result(status int, err error) (Matrix, error) {
	switch {
	case err == nil && a.status == "error":
		return Matrix{}, fmt.Errorf("status %d: %s: %s", status, said(a.errorType), said(a.err))
	case status/100 != 2:
		return Matrix{}, fmt.Errorf("status %d %s", status, http.StatusText(status))
	case err != nil:
		return Matrix{}, fmt.Errorf("read the answer: %w", err)
	case a.status != "success":
		return Matrix{}, fmt.Errorf("read the answer: status is %q, not success", a.status)
	case a.resultType != "matrix":
		return Matrix{}, fmt.Errorf("read the answer: resultType is %q, not matrix", a.resultType)
	}
	return Matrix{Series: a.series, Warnings: a.warned()}, nil
}

// What Prometheus says in words stands in logs and Events: of it so much is kept
// as people read.
const (
	maxSaid     = 500 // bytes
	maxWarnings = 10
)

func said(text string) string {
	if len(text) <= maxSaid {
		return text
	}
	return strings.ToValidUTF8(text[:maxSaid], "") + "..."
}

func (a answer) warned() []string {
	var out []string
	for _, w := range a.warnings[:min(len(a.warnings), maxWarnings)] {
		out = append(out, said(w))
	}
	return out
}

var errTooLong = errors.New("the answer is too long")

// capped ends with an error, not silently, when the limit is reached.
type capped struct {
	r    io.Reader
	left int64
}

func (c *capped) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errTooLong
	}
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.r.Read(p)
	c.left -= int64(n)
	return n, err
}

// shown is a URL as it may be shown: without credentials and query.
func shown(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// seconds writes milliseconds as seconds, exactly.
func seconds(ms int64) string {
	return strconv.FormatFloat(float64(ms)/1000, 'f', -1, 64)
}
