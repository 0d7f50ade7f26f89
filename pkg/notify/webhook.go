package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"serin.dev/serin/internal/signature"
	"serin.dev/serin/pkg/canary"
)

// webhook tells programs, by CloudEvents 1.0 in JSON, signed as Standard Webhooks 1.0
// says, for which there are libraries in most languages.
type webhook struct {
	client client
	ch     Channel
}

// CloudEvent is what a webhook gets. Its Type is TypePrefix, the kind and ".v1".
type CloudEvent struct {
	SpecVersion string    `json:"specversion"`
	ID          string    `json:"id"` // the same for all tries of one message
	Source      string    `json:"source"`
	Type        string    `json:"type"`
	Subject     string    `json:"subject,omitempty"` // the rollout's id
	Time        time.Time `json:"time"`
	ContentType string    `json:"datacontenttype"`
	Data        EventData `json:"data"`
}

// TypePrefix begins the type of every CloudEvent of Serin.
const TypePrefix = "dev.serin.rollout."

// EventData is what happened, and the rollout as it was shown then.
type EventData struct {
	Kind     canary.Kind   `json:"kind"`
	Reason   canary.Reason `json:"reason"`
	Sentence string        `json:"sentence"`
	Warning  bool          `json:"warning,omitempty"`
	View     canary.View   `json:"view"`
}

func (s webhook) send(ctx context.Context, m Message, _ string, told bool) (string, error) {
	if !told {
		return "", nil
	}
	key, err := secret(s.ch.Credentials)
	if err != nil {
		return "", err
	}
	body, err := encode(eventOf(m))
	if err != nil {
		return "", failure{error: fmt.Errorf("write the event as JSON: %w", err), final: true}
	}
	headers, err := signature.Headers(key, m.ID, body, time.Now())
	if err != nil {
		return "", failure{error: err, final: true}
	}
	headers["Content-Type"] = "application/cloudevents+json; charset=utf-8"
	_, err = s.client.do(ctx, request{method: http.MethodPost, url: s.ch.URL, body: body, secrets: []string{key}, header: headers})
	return "", err
}

func eventOf(m Message) CloudEvent {
	return CloudEvent{
		SpecVersion: "1.0", ID: m.ID, Source: "/namespaces/" + m.View.Namespace + "/services/" + m.View.Service,
		Type: TypePrefix + string(m.Kind) + ".v1", Subject: m.View.Rollout, Time: m.At.UTC(), ContentType: "application/json",
		Data: EventData{Kind: m.Kind, Reason: m.Event.Reason, Sentence: m.Event.Sentence, Warning: m.Warning, View: m.View},
	}
}

// Verify reads an event that a webhook got, after its signature; an event that was
// sent long ago is refused, so that nobody sends it again. Who acts on it remembers
// its ID, for a message may come twice.
func Verify(header http.Header, body []byte, key string, now time.Time) (CloudEvent, error) {
	if err := signature.Verify(header, body, key, now); err != nil {
		return CloudEvent{}, fmt.Errorf("verify the event: %w", err)
	}
	var e CloudEvent
	if err := json.Unmarshal(body, &e); err != nil {
		return CloudEvent{}, fmt.Errorf("read the event: %w", err)
	}
	return e, nil
}
