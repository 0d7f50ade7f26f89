package config_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/config"
)

const allChannels = `
notify:
  channels:
    slack: {type: slack, channel: "#shop", credentials: /run/slack, url: https://slack-gov.example.com/api, mention: S0123ABCD, kinds: [held, rolled-back], severity: warning, ca: /run/ca.crt}
    telegram: {type: telegram, chat: "-1001234567890", credentials: /run/telegram, mention: "@shop_team"}
    teams: {type: teams, credentials: /run/teams}
    email: {type: email, server: "smtp.example.com:587", from: serin@example.com, to: [shop@example.com, ops@example.com], credentials: /run/mail}
    dingtalk: {type: dingtalk, credentials: /run/dingtalk, signing: /run/dingtalk-key, mention: all}
    feishu: {type: feishu, credentials: /run/feishu, signing: /run/feishu-key}
    wecom: {type: wecom, credentials: /run/wecom, mention: all}
    webhook: {type: webhook, url: "https://hooks.example.com/serin?team=shop", credentials: /run/key}
    alertmanager: {type: alertmanager, url: "http://alertmanager.monitoring:9093", plaintext: true}
    grafana: {type: grafana, url: https://grafana.example.com, credentials: /run/grafana, dashboard: serin-rollout}
  default: [slack, email]
links:
  page: https://serin.example.com/{{namespace}}/{{service}}
  grafana: https://grafana.example.com/d/x?var-rollout={{rollout}}
`

func TestEveryTypeOfChannelCanBeSet(t *testing.T) {
	c, err := load(allChannels)
	if err != nil {
		t.Fatal(err)
	}
	var types []string
	for _, ch := range c.Notify.Channels {
		types = append(types, ch.Type)
	}
	if want := config.ChannelTypes(); len(types) != len(want) || slices.ContainsFunc(want, func(w string) bool { return !slices.Contains(types, w) }) {
		t.Errorf("of the types %v there are %v", want, types)
	}
	i := slices.IndexFunc(c.Notify.Channels, func(ch config.Channel) bool { return ch.Name == "slack" })
	want := config.Channel{
		Name: "slack", Type: "slack", Kinds: []canary.Kind{canary.KindHeld, canary.KindRolledBack}, Severity: config.SeverityWarning, Mention: "S0123ABCD",
		URL: "https://slack-gov.example.com/api", Credentials: "/run/slack", CA: "/run/ca.crt", Channel: "#shop",
	}
	if got := c.Notify.Channels[i]; !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got := c.Vocabulary(); !slices.Equal(got.Defaults.Notify, []string{"slack", "email"}) || !slices.Contains(got.Channels, "wecom") {
		t.Errorf("annotations build on %v and %v", got.Defaults.Notify, got.Channels)
	}
	if c.Links.Page != "https://serin.example.com/{{namespace}}/{{service}}" {
		t.Errorf("links lead to %+v", c.Links)
	}
}

func TestTheExampleOfChannelsIsValid(t *testing.T) {
	_, below, found := strings.Cut(config.Example(), "  channels: {}\n")
	text := "notify:\n  channels:\n"
	for line := range strings.Lines(below) {
		shown, comment := strings.CutPrefix(line, "  #")
		if !comment || strings.HasPrefix(shown, " The") {
			break
		}
		text += "  " + shown
	}
	c, err := load(text)
	if !found || err != nil || !slices.Equal(c.ChannelNames(), []string{"ops", "team-shop"}) {
		t.Errorf("got %v, %v of\n%s", c.ChannelNames(), err, text)
	}
}

func TestMistakesInChannels(t *testing.T) {
	one := func(fields string) string { return "notify: {channels: {shop: {" + fields + "}}}" }
	for name, c := range map[string]struct{ text, want string }{
		"channels as a list":             {"notify: {channels: [a]}", `notify.channels: a list or mapping is no mapping; write a name below it, indented, and below that its type`},
		"a channel as a URL":             {"notify: {channels: {a: x}}", `notify.channels.a: "x" is no mapping; write the fields below it, indented, first of all its type`},
		"no type":                        {one("url: x"), `notify.channels.shop.type: nothing is none of the choices; write slack or telegram or teams`},
		"a near type":                    {one("type: slak"), `notify.channels.shop.type: "slak" is none of the choices; did you mean "slack"?`},
		"a channel's name":               {"notify: {channels: {Team: {type: teams, credentials: /a}}}", `notify.channels.Team: a channel can't have this name`},
		"a channel named none":           {"notify: {channels: {none: {type: teams, credentials: /a}}}", `notify.channels.none: a channel can't have this name`},
		"a missing field":                {one("type: slack, credentials: /a"), `notify.channels.shop.channel: it is missing; write an id like C0123ABCD`},
		"another type's field":           {one("type: teams, credentials: /a, chat: '1'"), `notify.channels.shop.chat: there is no such field of teams; known here are type, kinds`},
		"a near field":                   {one("type: teams, credential: /a"), `notify.channels.shop.credential: there is no such field of teams; did you mean "credentials"?`},
		"a mention where there is none":  {one("type: teams, credentials: /a, mention: all"), `notify.channels.shop.mention: there is no such field of teams`},
		"somebody who can't be called":   {one("type: slack, channel: C0123, credentials: /a, mention: '@ann'"), `notify.channels.shop.mention: "@ann" can't be mentioned by slack; write here, channel`},
		"an unknown kind":                {one("type: teams, credentials: /a, kinds: [hold]"), `notify.channels.shop.kinds: a list or mapping holds "hold", which is none of the choices; did you mean "held"?`},
		"a kind twice":                   {one("type: teams, credentials: /a, kinds: [held, held]"), `holds "held" twice; write it once`},
		"no kind":                        {one("type: teams, credentials: /a, kinds: []"), `is no list of kinds; write for example [held, rolled-back, promoted]`},
		"a severity of others":           {one("type: teams, credentials: /a, severity: critical"), `severity: "critical" is none of the choices; write info or warning`},
		"a URL in the open":              {one("type: webhook, url: 'http://hooks.example.com', credentials: /a"), `notify.channels.shop.url: it is not encrypted; write https, or plaintext: true`},
		"a chat as a number":             {one("type: telegram, chat: -100, credentials: /a"), `notify.channels.shop.chat: -100 is no chat; write the chat's number in quotes`},
		"a mail server without a port":   {one("type: email, server: smtp.example.com, from: a@example.com, to: [b@example.com]"), `server: "smtp.example.com" is no host with a port`},
		"a sender who injects a header":  {one(`type: email, server: 'smtp.example.com:25', from: "a@example.com\r\nBcc: b@example.com", to: [b@example.com]`), `from: "a@example.com\r\nBcc: b@example.com" is no plain mail address`},
		"a receiver with a name":         {one(`type: email, server: 'smtp.example.com:25', from: a@example.com, to: ["Bo <b@example.com>"]`), `holds "Bo <b@example.com>", which is no plain mail address`},
		"nobody to write to":             {one(`type: email, server: 'smtp.example.com:25', from: a@example.com, to: []`), `to: a list or mapping is no list of mail addresses`},
		"a default that nobody defined":  {"notify: {channels: {shop: {type: teams, credentials: /a}}, default: [shp]}", `notify.default: no channel is named "shp"; did you mean "shop"?`},
		"a link without a host":          {"links: {page: /x}", `links.page: "/x" is no http or https URL with a host of its own`},
		"a link whose host a team names": {"links: {page: 'https://{{service}}.example.com/'}", `is no http or https URL with a host of its own`},
		"a link with a strange word":     {"links: {grafana: 'https://g.example.com/{{pod}}'}", `links.grafana: "https://g.example.com/{{pod}}" has {{pod}}, which stands for nothing`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := load(c.text)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got  %v\nwant %s", err, c.want)
			}
			if !reflect.DeepEqual(got, config.Config{}) {
				t.Error("a refused file must configure nothing")
			}
		})
	}
}

// Who writes a token where the name of its file belongs must not find it in a log.
func TestSecretsInTheWrongPlaceAreNotRepeated(t *testing.T) {
	const secret = "xoxb-1234-secret"
	for name, text := range map[string]string{
		"a token in place of its file": "type: slack, channel: C0123, credentials: " + secret,
		"a key in place of its file":   "type: feishu, credentials: /a, signing: " + secret,
		"a password in a URL":          "type: webhook, credentials: /a, url: 'https://serin:" + secret + "@hooks.example.com/'",
		"a token in a URL of no sort":  "type: webhook, credentials: /a, url: 'hooks.example.com/" + secret + "'",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load("notify: {channels: {shop: {" + text + "}}}")
			if err == nil || strings.Contains(err.Error(), secret) {
				t.Errorf("it says %v", err)
			}
		})
	}
}

func TestAllMistakesInChannelsAreToldAtOnce(t *testing.T) {
	_, err := load("notify: {channels: {A: {type: slack, chanel: x}, b: {type: webhook, url: x, credentials: y}}}\nlinks: {page: x}\n")
	want := `read the configuration: links.page: "x" is no http or https URL with a host of its own; write for example https://serin.example.com/{{namespace}}/{{service}}
notify.channels.A: a channel can't have this name; write lower-case letters, digits and "-", at most 63, like team-shop, and not none
notify.channels.A.chanel: there is no such field of slack; did you mean "channel"?
notify.channels.A.channel: it is missing; write an id like C0123ABCD, or a name like "#shop", in quotes
notify.channels.A.credentials: it is missing; write the absolute path of a file with the secret, like /etc/serin-secrets/slack-token
notify.channels.b.credentials: what is written is no absolute path of a file; write for example /etc/serin-secrets/webhook
notify.channels.b.url: what is written is no http or https URL; write for example https://hooks.example.com/serin`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v", err)
	}
}
