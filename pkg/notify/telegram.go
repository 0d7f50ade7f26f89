package notify

import (
	"context"
	"fmt"
	"html"
	"net/http"
	"strconv"
	"strings"
	"time"

	"serin.dev/serin/pkg/canary"
)

// telegram sends by the Bot API. A rollout is one message, which is edited; an edit is
// heard by nobody, so what matters is answered to it as well.
type telegram struct {
	client client
	ch     Channel
	base   string
}

func (telegram) follows() {}

type telegramMessage struct {
	Chat    string          `json:"chat_id"`
	ID      int64           `json:"message_id,omitempty"`
	Text    string          `json:"text"`
	Mode    string          `json:"parse_mode"`
	Preview telegramPreview `json:"link_preview_options"`
	Reply   *telegramReply  `json:"reply_parameters,omitempty"`
	Silent  bool            `json:"disable_notification,omitempty"`
}

type telegramPreview struct {
	Off bool `json:"is_disabled"`
}

type telegramReply struct {
	ID    int64 `json:"message_id"`
	Alone bool  `json:"allow_sending_without_reply"`
}

type telegramAnswer struct {
	OK          bool   `json:"ok"`
	Description string `json:"description"`
	Parameters  struct {
		RetryAfter int `json:"retry_after"`
	} `json:"parameters"`
	Result struct {
		ID int64 `json:"message_id"`
	} `json:"result"`
}

func (s telegram) send(ctx context.Context, m Message, kept string, told bool) (string, error) {
	root, _ := strconv.ParseInt(kept, 10, 64)
	message := telegramMessage{Chat: s.ch.Chat, Text: s.text(m, true), Mode: "HTML", Preview: telegramPreview{Off: true}, Silent: !m.Warning}
	if root == 0 {
		if !told {
			return "", nil
		}
		return s.begin(ctx, message)
	}
	edited := message
	edited.ID, edited.Silent, edited.Text = root, false, s.text(m, false)
	_, said, err := s.call(ctx, "editMessageText", edited)
	switch {
	case strings.Contains(said, "message is not modified"): // as in a second try
	case strings.Contains(said, "message to edit not found"), strings.Contains(said, "message can't be edited"):
		if !told {
			return "", nil
		}
		return s.begin(ctx, message)
	case err != nil:
		return kept, err
	}
	if !told || m.Kind == canary.KindStep || m.Kind == canary.KindTesting {
		return kept, nil
	}
	message.Reply = &telegramReply{ID: root, Alone: true}
	_, _, err = s.call(ctx, "sendMessage", message)
	return kept, err
}

func (s telegram) begin(ctx context.Context, m telegramMessage) (string, error) {
	a, _, err := s.call(ctx, "sendMessage", m)
	if err != nil {
		return "", err
	}
	return strconv.FormatInt(a.Result.ID, 10), nil
}

// call asks the Bot API; said is why it refused. The token is part of the address.
func (s telegram) call(ctx context.Context, method string, m telegramMessage) (a telegramAnswer, said string, err error) {
	token, err := secret(s.ch.Credentials)
	if err != nil {
		return a, "", err
	}
	text, err := s.client.do(ctx, request{method: http.MethodPost, url: s.base + "/bot" + token + "/" + method, body: m, secrets: []string{token}})
	if text != nil && answer(text, &a) == nil && !a.OK {
		said = a.Description
	}
	if f, is := err.(failure); is { //nolint:errorlint // as do returns it
		f.after = max(f.after, min(giveUp, time.Duration(a.Parameters.RetryAfter)*time.Second))
		return a, said, f
	}
	if err == nil && !a.OK {
		err = failure{error: fmt.Errorf("it refuses: %s", quote(text)), final: true}
	}
	return a, said, err
}

func (s telegram) text(m Message, mention bool) string {
	t, e := m.text, html.EscapeString
	var b strings.Builder
	b.WriteString("<b>" + e(t.head()) + "</b>\n" + e(t.sentence) + "\n")
	for _, f := range t.facts {
		b.WriteString("<b>" + e(f.label) + ":</b> " + e(f.value) + "\n")
	}
	for _, c := range t.commands {
		b.WriteString(e(c.label) + ": <code>" + e(c.value) + "</code>\n")
	}
	for _, l := range t.links {
		b.WriteString(`<a href="` + e(l.value) + `">` + e(l.label) + "</a>\n")
	}
	if mention && m.Warning && s.ch.Mention != "" {
		b.WriteString(e(s.ch.Mention) + "\n")
	}
	return strings.TrimRight(b.String(), "\n")
}
