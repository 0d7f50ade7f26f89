package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

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

// The headers of a signature.
const (
	HeaderID        = "Webhook-Id"
	HeaderTimestamp = "Webhook-Timestamp" // seconds since 1970
	HeaderSignature = "Webhook-Signature" // signatures, separated by spaces, each "v1," and base64
)

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
	at := strconv.FormatInt(time.Now().Unix(), 10)
	signature, err := Sign(key, m.ID, at, body)
	if err != nil {
		return "", failure{error: err, final: true}
	}
	_, err = s.client.do(ctx, request{
		method: http.MethodPost, url: s.ch.URL, body: body, secrets: []string{key},
		header: map[string]string{
			"Content-Type": "application/cloudevents+json; charset=utf-8",
			HeaderID:       m.ID, HeaderTimestamp: at, HeaderSignature: signature,
		},
	})
	return "", err
}

func eventOf(m Message) CloudEvent {
	return CloudEvent{
		SpecVersion: "1.0", ID: m.ID, Source: "/namespaces/" + m.View.Namespace + "/services/" + m.View.Service,
		Type: TypePrefix + string(m.Kind) + ".v1", Subject: m.View.Rollout, Time: m.At.UTC(), ContentType: "application/json",
		Data: EventData{Kind: m.Kind, Reason: m.Event.Reason, Sentence: m.Event.Sentence, Warning: m.Warning, View: m.View},
	}
}

// keyPrefix begins keys that are given in base64.
const keyPrefix = "whsec_"

// Sign is the signature of a webhook's body, sent under an id at a time in seconds
// since 1970: HMAC-SHA256 of the three with a "." between them (Standard Webhooks
// 1.0). A key that begins with whsec_ is base64 after that.
func Sign(key, id, at string, body []byte) (string, error) {
	secret := []byte(key)
	if coded, is := strings.CutPrefix(key, keyPrefix); is {
		var err error
		if secret, err = base64.StdEncoding.DecodeString(coded); err != nil {
			return "", errors.New("the key that signs is no base64 after whsec_")
		}
	}
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(id + "." + at + "."))
	h.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil)), nil
}

// tolerance is how far a sender's clock may be off, and how long an answer to a try
// may be on its way.
const tolerance = 5 * time.Minute

// Verify reads an event that a webhook got, after its signature; an event that was
// sent long ago is refused, so that nobody sends it again. Who acts on it remembers
// its ID, for a message may come twice.
func Verify(header http.Header, body []byte, key string, now time.Time) (CloudEvent, error) {
	at := header.Get(HeaderTimestamp)
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return CloudEvent{}, fmt.Errorf("verify the event: %s is no time", HeaderTimestamp)
	}
	if off := now.Sub(time.Unix(seconds, 0)).Abs(); off > tolerance {
		return CloudEvent{}, fmt.Errorf("verify the event: it was signed %s from now", off)
	}
	want, err := Sign(key, header.Get(HeaderID), at, body)
	if err != nil {
		return CloudEvent{}, fmt.Errorf("verify the event: %w", err)
	}
	for got := range strings.FieldsSeq(header.Get(HeaderSignature)) {
		if hmac.Equal([]byte(got), []byte(want)) {
			var e CloudEvent
			if err := json.Unmarshal(body, &e); err != nil {
				return CloudEvent{}, fmt.Errorf("read the event: %w", err)
			}
			return e, nil
		}
	}
	return CloudEvent{}, errors.New("verify the event: no signature is right")
}
