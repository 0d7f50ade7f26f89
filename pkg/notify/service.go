package notify

import (
	"fmt"
	"net/http"
	"strings"
)

// The types of channels.
const (
	typeSlack        = "slack"
	typeTelegram     = "telegram"
	typeTeams        = "teams"
	typeEmail        = "email"
	typeDingTalk     = "dingtalk"
	typeFeishu       = "feishu"
	typeWeCom        = "wecom"
	typeWebhook      = "webhook"
	typeAlertmanager = "alertmanager"
	typeGrafana      = "grafana"
)

// Types are all types of channels.
func Types() []string {
	return []string{typeSlack, typeTelegram, typeTeams, typeEmail, typeDingTalk, typeFeishu, typeWeCom, typeWebhook, typeAlertmanager, typeGrafana}
}

// newService is the way to tell people on a channel.
func newService(ch Channel, transport http.RoundTripper) (service, error) {
	if ch.Type == typeEmail {
		return newMail(ch)
	}
	c, err := newClient(ch, transport)
	if err != nil {
		return nil, err
	}
	base := strings.TrimSuffix(ch.URL, "/")
	switch ch.Type {
	case typeSlack:
		return slack{c, ch, or(base, "https://slack.com/api")}, nil
	case typeTelegram:
		return telegram{c, ch, or(base, "https://api.telegram.org")}, nil
	case typeTeams:
		return teams{c, ch}, nil
	case typeDingTalk, typeFeishu, typeWeCom:
		return robot{c, ch}, nil
	case typeWebhook:
		return webhook{c, ch}, nil
	case typeAlertmanager:
		return alertmanager{c, ch, base}, nil
	case typeGrafana:
		return grafana{c, ch, base}, nil
	}
	return nil, fmt.Errorf("there is no type %q", ch.Type)
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
