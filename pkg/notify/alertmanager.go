package notify

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"serin.dev/serin/pkg/canary"
)

// alertmanager fires alerts for what somebody may have to act on, by API v2. An alert
// of a rollout that is held is over with the rollout's next move; the others are over
// of themselves after a while, for nobody can mend what has happened.
type alertmanager struct {
	client client
	ch     Channel
	base   string
}

func (alertmanager) follows() {}

// alerts are the kinds that fire, under which name, and for how long at most.
var alerts = map[canary.Kind]struct {
	name  string
	lasts time.Duration
}{
	canary.KindHeld:        {"SerinRolloutHeld", 24 * time.Hour},
	canary.KindPaused:      {"SerinRolloutPaused", 24 * time.Hour},
	canary.KindRollingBack: {"SerinRolloutRolledBack", time.Hour},
	canary.KindRolledBack:  {"SerinRolloutRolledBack", time.Hour},
	canary.KindAttention:   {"SerinRolloutAttention", time.Hour},
}

// lasting are the alerts that a rollout's next move ends.
var lasting = []canary.Kind{canary.KindHeld, canary.KindPaused}

type alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
	Generator   string            `json:"generatorURL,omitempty"`
}

// open is what is kept of a rollout: the kinds whose alerts last, and since when.
type open map[canary.Kind]time.Time

func (s alertmanager) send(ctx context.Context, m Message, kept string, told bool) (string, error) {
	standing := open{}
	if kept != "" {
		if err := json.Unmarshal([]byte(kept), &standing); err != nil {
			return "", err
		}
	}
	var all []alert
	now := m.At.UTC()
	if m.Kind != canary.KindAttention { // which moves nothing
		for _, kind := range lasting {
			if since, is := standing[kind]; is && (kind != m.Kind || !told) {
				all = append(all, alertOf(m, kind, since, now))
				delete(standing, kind)
			}
		}
	}
	if a, fires := alerts[m.Kind]; fires && told {
		since := now
		if slices.Contains(lasting, m.Kind) {
			if before, is := standing[m.Kind]; is {
				since = before
			}
			standing[m.Kind] = since
		}
		all = append(all, alertOf(m, m.Kind, since, now.Add(a.lasts)))
	}
	if len(all) == 0 {
		return kept, nil
	}
	if err := s.post(ctx, all); err != nil {
		return kept, err
	}
	if len(standing) == 0 {
		return "", nil
	}
	keep, err := json.Marshal(standing)
	return string(keep), err
}

func (s alertmanager) post(ctx context.Context, all []alert) error {
	token, err := secret(s.ch.Credentials)
	if err != nil {
		return err
	}
	r := request{method: http.MethodPost, url: s.base + "/api/v2/alerts", body: all, secrets: []string{token}}
	if token != "" {
		r.header = map[string]string{"Authorization": "Bearer " + token}
	}
	_, err = s.client.do(ctx, r)
	return err
}

// alertOf is the alert of a kind. Its labels say which it is, and are the same when it
// is over.
func alertOf(m Message, kind canary.Kind, since, until time.Time) alert {
	severity := "warning"
	if kind == canary.KindPaused { // somebody meant it
		severity = "info"
	}
	labels := map[string]string{"alertname": alerts[kind].name, "namespace": m.View.Namespace, "service": m.View.Service, "severity": severity}
	if m.View.Rollout != "" {
		labels["rollout"] = m.View.Rollout
	}
	var rest strings.Builder
	m.text.rest(&rest)
	a := alert{
		Labels: labels, StartsAt: since, EndsAt: until,
		Annotations: map[string]string{"summary": m.text.title, "reason": string(m.Event.Reason), "description": m.text.sentence + "\n" + strings.TrimRight(rest.String(), "\n")},
	}
	if len(m.text.links) > 0 {
		a.Generator = m.text.links[0].value
	}
	return a
}
