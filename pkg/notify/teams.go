package notify

import (
	"context"
	"net/http"
)

// teams posts a card to a workflow of Microsoft Teams, whose address is a secret. What
// others wrote goes as rich text, which knows no markup.
type teams struct {
	client client
	ch     Channel
}

type teamsMessage struct {
	Type        string            `json:"type"`
	Attachments []teamsAttachment `json:"attachments"`
}

type teamsAttachment struct {
	Type string    `json:"contentType"`
	Card teamsCard `json:"content"`
}

type teamsCard struct {
	Schema  string        `json:"$schema"`
	Type    string        `json:"type"`
	Version string        `json:"version"`
	Body    []teamsBlock  `json:"body"`
	Actions []teamsAction `json:"actions,omitempty"`
}

type teamsBlock struct {
	Type    string     `json:"type"`
	Inlines []teamsRun `json:"inlines"`
}

type teamsRun struct {
	Type   string `json:"type"`
	Text   string `json:"text"`
	Weight string `json:"weight,omitempty"`
	Size   string `json:"size,omitempty"`
	Font   string `json:"fontType,omitempty"`
}

type teamsAction struct {
	Type  string `json:"type"`
	Title string `json:"title"`
	URL   string `json:"url"`
}

func (s teams) send(ctx context.Context, m Message, _ string, told bool) (string, error) {
	if !told {
		return "", nil
	}
	address, err := secret(s.ch.Credentials)
	if err != nil {
		return "", err
	}
	_, err = s.client.do(ctx, request{method: http.MethodPost, url: address, body: cardOf(m), secrets: secretParts(address, "")})
	return "", err
}

func cardOf(m Message) teamsMessage {
	t := m.text
	line := func(runs ...teamsRun) teamsBlock {
		for i := range runs {
			runs[i].Type = "TextRun"
		}
		return teamsBlock{Type: "RichTextBlock", Inlines: runs}
	}
	card := teamsCard{
		Schema: "http://adaptivecards.io/schemas/adaptive-card.json", Type: "AdaptiveCard", Version: "1.4",
		Body: []teamsBlock{line(teamsRun{Text: t.head(), Weight: "Bolder", Size: "Medium"}), line(teamsRun{Text: t.sentence})},
	}
	for _, f := range t.facts {
		card.Body = append(card.Body, line(teamsRun{Text: f.label + ": ", Weight: "Bolder"}, teamsRun{Text: f.value}))
	}
	for _, c := range t.commands {
		card.Body = append(card.Body, line(teamsRun{Text: c.label + ": "}, teamsRun{Text: c.value, Font: "Monospace"}))
	}
	for _, l := range t.links {
		card.Actions = append(card.Actions, teamsAction{Type: "Action.OpenUrl", Title: l.label, URL: l.value})
	}
	return teamsMessage{Type: "message", Attachments: []teamsAttachment{{Type: "application/vnd.microsoft.card.adaptive", Card: card}}}
}
