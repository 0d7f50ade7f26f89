package notify

import (
	"context"
	"html"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"serin.dev/serin/pkg/canary"
)

// grafana annotates graphs by Grafana's HTTP API: a step is a region that ends with
// the step, all else is a moment.
type grafana struct {
	client client
	ch     Channel
	base   string
}

func (grafana) follows() {}

// ending are the kinds that end a step.
var ending = []canary.Kind{canary.KindStep, canary.KindRollingBack, canary.KindRolledBack, canary.KindPromoted, canary.KindOptedOut}

type grafanaAnnotation struct {
	Dashboard string   `json:"dashboardUID,omitempty"`
	Time      int64    `json:"time,omitempty"`    // milliseconds since 1970
	TimeEnd   int64    `json:"timeEnd,omitempty"` // likewise
	Tags      []string `json:"tags,omitempty"`
	Text      string   `json:"text,omitempty"`
}

func (s grafana) send(ctx context.Context, m Message, kept string, told bool) (string, error) {
	now := m.At.UnixMilli()
	if kept != "" && slices.Contains(ending, m.Kind) {
		_, err := s.call(ctx, http.MethodPatch, "/"+kept, grafanaAnnotation{TimeEnd: now})
		if err != nil && !missing(err) {
			return kept, err
		}
		kept = ""
	}
	if !told {
		return kept, nil
	}
	a := grafanaAnnotation{
		Dashboard: s.ch.Dashboard, Time: now, TimeEnd: now, Text: grafanaText(m),
		Tags: []string{"serin", "namespace:" + m.View.Namespace, "service:" + m.View.Service, string(m.Kind)},
	}
	id, err := s.call(ctx, http.MethodPost, "", a)
	if err == nil && m.Kind == canary.KindStep {
		kept = strconv.FormatInt(id, 10)
	}
	return kept, err
}

// missing tells that an annotation was taken away meanwhile.
func missing(err error) bool {
	f, is := err.(failure) //nolint:errorlint // as do returns it
	return is && f.status == http.StatusNotFound
}

func (s grafana) call(ctx context.Context, method, path string, a grafanaAnnotation) (int64, error) {
	token, err := secret(s.ch.Credentials)
	if err != nil {
		return 0, err
	}
	text, err := s.client.do(ctx, request{
		method: method, url: s.base + "/api/annotations" + path, body: a,
		header: map[string]string{"Authorization": "Bearer " + token}, secrets: []string{token},
	})
	if err != nil {
		return 0, err
	}
	var made struct {
		ID int64 `json:"id"`
	}
	return made.ID, answer(text, &made)
}

// grafanaText is shown as HTML.
func grafanaText(m Message) string {
	lines := []string{"<b>" + html.EscapeString(m.text.head()) + "</b>", html.EscapeString(m.text.sentence)}
	for _, f := range m.text.facts {
		lines = append(lines, html.EscapeString(f.label+": "+f.value))
	}
	return strings.Join(lines, "<br>")
}
