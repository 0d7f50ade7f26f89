package notify

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// slack posts by the Web API, for only that can update what was posted: a rollout is
// one message that says where it is, and a thread of what happened. What others wrote
// goes as rich text, which knows no markup, and so needs no escapes.
type slack struct {
	client client
	ch     Channel
	base   string
}

func (slack) follows() {}

// Errors by which Slack says that a message is no longer there to be gone on with, and
// those that another try may mend.
var (
	slackGone  = []string{"message_not_found", "thread_not_found", "cant_update_message", "edit_window_closed", "channel_not_found"}
	slackAgain = []string{"ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout", "accesslimited"}
)

type slackMessage struct {
	Channel   string       `json:"channel"`
	At        string       `json:"ts,omitempty"`
	Thread    string       `json:"thread_ts,omitempty"`
	Broadcast bool         `json:"reply_broadcast,omitempty"`
	Text      string       `json:"text"` // where blocks can't be shown, as in a push message
	Blocks    []slackBlock `json:"blocks"`
	Unfurl    *bool        `json:"unfurl_links,omitempty"`
}

type slackBlock struct {
	Type     string         `json:"type"`
	Elements []slackSection `json:"elements"`
}

type slackSection struct {
	Type     string         `json:"type"`
	Elements []slackElement `json:"elements"`
}

type slackElement struct {
	Type      string      `json:"type"`
	Text      string      `json:"text,omitempty"`
	URL       string      `json:"url,omitempty"`
	User      string      `json:"user_id,omitempty"`
	Usergroup string      `json:"usergroup_id,omitempty"`
	Range     string      `json:"range,omitempty"`
	Style     *slackStyle `json:"style,omitempty"`
}

type slackStyle struct {
	Bold bool `json:"bold,omitempty"`
	Code bool `json:"code,omitempty"`
}

type slackAnswer struct {
	OK      bool   `json:"ok"`
	Error   string `json:"error"`
	Channel string `json:"channel"`
	At      string `json:"ts"`
}

func (s slack) send(ctx context.Context, m Message, kept string, told bool) (string, error) {
	channel, root, known := strings.Cut(kept, " ")
	if !known {
		return s.begin(ctx, m, told)
	}
	_, err := s.call(ctx, "chat.update", slackMessage{Channel: channel, At: root, Text: slackText(m), Blocks: s.blocks(m, true, false)})
	if gone(err) {
		return s.begin(ctx, m, told)
	}
	if err != nil || !told {
		return kept, err
	}
	_, err = s.call(ctx, "chat.postMessage", slackMessage{
		Channel: channel, Thread: root, Broadcast: m.loud(), Text: slackText(m), Blocks: s.blocks(m, m.loud(), m.Warning), Unfurl: new(bool),
	})
	if gone(err) {
		return s.begin(ctx, m, told)
	}
	return kept, err
}

// begin posts the message that is updated from then on.
func (s slack) begin(ctx context.Context, m Message, told bool) (string, error) {
	if !told {
		return "", nil
	}
	a, err := s.call(ctx, "chat.postMessage", slackMessage{Channel: s.ch.Channel, Text: slackText(m), Blocks: s.blocks(m, true, m.Warning), Unfurl: new(bool)})
	if gone(err) {
		return "", failure{error: fmt.Errorf("%w; is the app a member of the channel?", err), final: true}
	}
	if err != nil {
		return "", err
	}
	return a.Channel + " " + a.At, nil
}

// slackError is what Slack says in a word.
type slackError string

func (e slackError) Error() string { return "Slack says " + string(e) }

func gone(err error) bool {
	f, is := err.(failure) //nolint:errorlint // as call returns it
	if !is {
		return false
	}
	e, is := f.error.(slackError) //nolint:errorlint // likewise
	return is && slices.Contains(slackGone, string(e))
}

func (s slack) call(ctx context.Context, method string, m slackMessage) (a slackAnswer, err error) {
	token, err := secret(s.ch.Credentials)
	if err != nil {
		return a, err
	}
	text, err := s.client.do(ctx, request{
		method: http.MethodPost, url: s.base + "/" + method, body: m,
		header: map[string]string{"Authorization": "Bearer " + token}, secrets: []string{token},
	})
	if err != nil {
		return a, err
	}
	if err := answer(text, &a); err != nil {
		return a, err
	}
	if !a.OK {
		said := slackError(quote([]byte(a.Error)))
		return a, failure{error: said, final: !slices.Contains(slackAgain, a.Error)}
	}
	return a, nil
}

// slackText is what a push message shows, in Slack's markup, of which these three
// characters are all that can begin something.
func slackText(m Message) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(m.text.head() + ". " + m.text.sentence)
}

func (s slack) blocks(m Message, whole, mention bool) []slackBlock {
	t := m.text
	lines := [][]slackElement{{bold(t.head())}, {words(t.sentence)}}
	if whole {
		for _, f := range t.facts {
			lines = append(lines, []slackElement{bold(f.label + ": "), words(f.value)})
		}
		for _, c := range t.commands {
			lines = append(lines, []slackElement{words(c.label + ": "), {Type: "text", Text: c.value, Style: &slackStyle{Code: true}}})
		}
		for _, l := range t.links {
			lines = append(lines, []slackElement{{Type: "link", URL: l.value, Text: l.label}})
		}
	}
	if mention && s.ch.Mention != "" {
		lines = append(lines, []slackElement{mentioned(s.ch.Mention)})
	}
	var all []slackElement
	for i, line := range lines {
		if i > 0 {
			all = append(all, words("\n"))
		}
		all = append(all, line...)
	}
	return []slackBlock{{Type: "rich_text", Elements: []slackSection{{Type: "rich_text_section", Elements: all}}}}
}

func bold(s string) slackElement {
	return slackElement{Type: "text", Text: s, Style: &slackStyle{Bold: true}}
}

func words(s string) slackElement { return slackElement{Type: "text", Text: s} }

func mentioned(who string) slackElement {
	switch {
	case who == "here" || who == "channel":
		return slackElement{Type: "broadcast", Range: who}
	case who[0] == 'S':
		return slackElement{Type: "usergroup", Usergroup: who}
	}
	return slackElement{Type: "user", User: who}
}
