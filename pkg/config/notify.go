package config

import (
	"errors"
	"fmt"
	"maps"
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"serin.dev/serin/pkg/canary"
)

// Notify says where people are told of releases.
type Notify struct {
	Channels []Channel // sorted by name
	Default  []string  // names of those for Deployments whose annotations name none
}

// Channel is one place where messages go. Which fields its type takes is in
// channelTypes; the others are empty.
type Channel struct {
	Name string
	Type string // one of the names of channelTypes
	// Kinds are those that are told; empty: the type's own choice.
	Kinds    []canary.Kind
	Severity string // SeverityInfo or SeverityWarning: the least that is told
	Mention  string // who is called by name when somebody may have to act

	URL         string // of the service, without a secret in it
	Credentials string // file; absolute, as all files
	Signing     string // file of the key by which a robot's messages are signed
	CA          string // file of the authorities that sign the service's certificate, PEM
	Plaintext   bool   // http, and mail without encryption, are allowed

	Channel   string   // Slack's: an id or a name
	Chat      string   // Telegram's: a number or @name
	Server    string   // host:port of the mail server
	From      string   // mail address
	To        []string // mail addresses
	Dashboard string   // Grafana's uid; empty: annotations of the whole organization
}

// The least that a channel is told.
const (
	SeverityInfo    = "info"
	SeverityWarning = "warning"
)

// Links are templates of addresses that messages lead to; empty: none. {{namespace}},
// {{service}} and {{rollout}} stand for those of the release.
type Links struct {
	Page, Grafana string
}

// channelType is which fields a type of channel must and may have, beside common.
type channelType struct {
	name      string
	must, may []string
	mention   *regexp.Regexp // what can be mentioned; nil: nothing
	example   string         // of a mention
}

// common fields are those of every type.
var common = []string{"type", "kinds", "severity", "ca", "plaintext"}

var everybody = regexp.MustCompile(`^all$`)

var channelTypes = []channelType{
	{name: "slack", must: []string{"channel", "credentials"}, may: []string{"url"}, mention: regexp.MustCompile(`^(here|channel|[USW][A-Z0-9]{2,20})$`), example: "here, channel, or the id of a person or group, like S0123ABCD"},
	{name: "telegram", must: []string{"chat", "credentials"}, may: []string{"url"}, mention: regexp.MustCompile(`^@[A-Za-z0-9_]{5,32}$`), example: "@name"},
	{name: "teams", must: []string{"credentials"}},
	{name: "email", must: []string{"server", "from", "to"}, may: []string{"credentials"}},
	{name: "dingtalk", must: []string{"credentials"}, may: []string{"signing"}, mention: everybody, example: "all"},
	{name: "feishu", must: []string{"credentials"}, may: []string{"signing"}, mention: everybody, example: "all"},
	{name: "wecom", must: []string{"credentials"}, mention: everybody, example: "all"},
	{name: "webhook", must: []string{"url", "credentials"}},
	{name: "alertmanager", must: []string{"url"}, may: []string{"credentials"}},
	{name: "grafana", must: []string{"url", "credentials"}, may: []string{"dashboard"}},
}

// ChannelTypes are the names of all types of channels.
func ChannelTypes() []string {
	var names []string
	for _, t := range channelTypes {
		names = append(names, t.name)
	}
	return names
}

func (t channelType) fields() []string {
	all := slices.Concat(common, t.must, t.may)
	if t.mention != nil {
		all = append(all, "mention")
	}
	return all
}

// maxNotified are as many channels as one Deployment may name.
const maxNotified = 8

// applyChannels reads the operator's channels, sorted by name.
func applyChannels(c *Config, section map[string]any) []error {
	var errs []error
	c.Notify.Channels = nil
	for _, key := range slices.Sorted(maps.Keys(section)) {
		ch, wrong := readChannel(key, section[key])
		for _, err := range wrong {
			errs = append(errs, fmt.Errorf("%s.%s%w", channelsPath, key, err))
		}
		c.Notify.Channels = append(c.Notify.Channels, ch)
	}
	return errs
}

// readChannel reads one channel. Errors go on where its path ends.
func readChannel(key string, value any) (Channel, []error) {
	ch := Channel{Name: key, Severity: SeverityInfo}
	var errs []error
	if !label.MatchString(key) || key == "none" {
		errs = append(errs, errors.New(`: a channel can't have this name; write lower-case letters, digits and "-", at most 63, like team-shop, and not none`))
	}
	fields, is := value.(map[string]any)
	if !is {
		return ch, append(errs, fmt.Errorf(": %s is no mapping; write the fields below it, indented, first of all its type", written(value)))
	}
	if err := choice(fields["type"], &ch.Type, ChannelTypes()...); err != nil {
		return ch, append(errs, fmt.Errorf(".type: %s %w", written(fields["type"]), err))
	}
	kind := channelTypes[slices.Index(ChannelTypes(), ch.Type)]
	known := kind.fields()
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		if !slices.Contains(known, field) {
			errs = append(errs, fmt.Errorf(".%s: there is no such field of %s; %s", field, ch.Type, meant(field, known, "known here are "+strings.Join(known, ", "))))
			continue
		}
		if err := ch.set(kind, field, fields[field]); err != nil {
			errs = append(errs, fmt.Errorf(".%s: %s %w", field, shownOf(field, fields[field]), err))
		}
	}
	for _, field := range kind.must {
		if _, given := fields[field]; !given {
			errs = append(errs, fmt.Errorf(".%s: it is missing; %s", field, wanted[field]))
		}
	}
	return ch, append(errs, ch.inTheOpen()...)
}

// shownOf is a value as it stood in the file; but of what may hold a secret by
// mistake nothing is shown.
func shownOf(field string, value any) string {
	switch field {
	case "credentials", "signing", "url":
		return "what is written"
	}
	return written(value)
}

// wanted is how a field is mended that is missing.
var wanted = map[string]string{
	"channel":     "write an id like C0123ABCD, or a name like \"#shop\", in quotes",
	"chat":        "write the chat's number in quotes, like \"-1001234567890\", or \"@name\" of a public one",
	"credentials": "write the absolute path of a file with the secret, like /etc/serin-secrets/slack-token",
	"server":      "write the mail server, like smtp.example.com:587",
	"from":        "write a mail address, like serin@example.com",
	"to":          "write mail addresses, like [shop@example.com]",
	"url":         "write where it answers, like https://hooks.example.com/serin",
}

// set reads a field; it fails with the rest of a sentence: what is wrong; the mend.
func (ch *Channel) set(t channelType, field string, value any) error {
	text, _ := value.(string)
	switch field {
	case "type":
		return nil
	case "kinds":
		return kinds(value, &ch.Kinds)
	case "severity":
		return choice(value, &ch.Severity, SeverityInfo, SeverityWarning)
	case "mention":
		if ch.Mention = text; !t.mention.MatchString(text) {
			return fmt.Errorf("can't be mentioned by %s; write %s", t.name, t.example)
		}
	case "url":
		return endpoint(text, &ch.URL)
	case "credentials":
		return file(value, "/etc/serin-secrets/"+t.name, &ch.Credentials)
	case "signing":
		return file(value, "/etc/serin-secrets/"+t.name+"-key", &ch.Signing)
	case "ca":
		return file(value, "/etc/serin-secrets/ca.crt", &ch.CA)
	case "plaintext":
		return truth(value, &ch.Plaintext)
	case "channel":
		return match(text, slackChannel, field, &ch.Channel)
	case "chat":
		return match(text, telegramChat, field, &ch.Chat)
	case "server":
		return mailServer(text, &ch.Server)
	case "from":
		return mailAddress(text, &ch.From)
	case "to":
		return mailAddresses(value, &ch.To)
	case "dashboard":
		if ch.Dashboard = text; !dashboardUID.MatchString(text) {
			return errors.New("is no uid of a dashboard; write what its address has after /d/")
		}
	}
	return nil
}

var (
	slackChannel = regexp.MustCompile(`^(#[^\s,]{1,80}|[CGD][A-Z0-9]{2,20})$`)
	telegramChat = regexp.MustCompile(`^(-?[0-9]{1,20}|@[A-Za-z0-9_]{5,32})$`)
	dashboardUID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,40}$`)
)

func match(text string, form *regexp.Regexp, field string, into *string) error {
	if !form.MatchString(text) {
		return fmt.Errorf("is no %s; %s", field, wanted[field])
	}
	*into = text
	return nil
}

// inTheOpen refuses what would go over the network unencrypted, and was not asked for.
func (ch Channel) inTheOpen() []error {
	if strings.HasPrefix(ch.URL, "http:") && !ch.Plaintext {
		return []error{errors.New(".url: it is not encrypted; write https, or plaintext: true where the network can be trusted")}
	}
	return nil
}

func kinds(value any, into *[]canary.Kind) error {
	var known []string
	for _, k := range canary.Kinds() {
		known = append(known, string(k))
	}
	items, is := value.([]any)
	if !is || len(items) == 0 {
		return fmt.Errorf("is no list of kinds; write for example [held, rolled-back, promoted], of %s", strings.Join(known, ", "))
	}
	var all []canary.Kind
	for _, item := range items {
		var one string
		if err := choice(item, &one, known...); err != nil {
			return fmt.Errorf("holds %s, which %w", written(item), err)
		}
		if slices.Contains(all, canary.Kind(one)) {
			return fmt.Errorf("holds %q twice; write it once", one)
		}
		all = append(all, canary.Kind(one))
	}
	*into = all
	return nil
}

// endpoint reads the address of a service. A name and a password in it would be a
// secret in the configuration.
func endpoint(text string, into *string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		return errors.New("is no http or https URL; write for example https://hooks.example.com/serin")
	case u.User != nil:
		return errors.New("has a name or password, which belong into a file; name it by credentials")
	case u.Fragment != "":
		return errors.New("has a fragment, which is never sent; take it away")
	}
	*into = text
	return nil
}

func mailServer(text string, into *string) error {
	host, port, found := strings.Cut(text, ":")
	if _, err := strconv.ParseUint(port, 10, 16); err != nil || !found || !subdomain.MatchString(host) {
		return errors.New("is no host with a port; write for example smtp.example.com:587")
	}
	*into = text
	return nil
}

func mailAddress(text string, into *string) error {
	a, err := mail.ParseAddress(text)
	if err != nil || a.Name != "" || a.Address != text || strings.ContainsAny(text, "\r\n<>\"") {
		return errors.New("is no plain mail address; write for example serin@example.com")
	}
	*into = text
	return nil
}

func mailAddresses(value any, into *[]string) error {
	items, is := value.([]any)
	if !is || len(items) == 0 {
		return errors.New("is no list of mail addresses; write for example [shop@example.com]")
	}
	var all []string
	for _, item := range items {
		text, _ := item.(string)
		var one string
		if err := mailAddress(text, &one); err != nil {
			return fmt.Errorf("holds %s, which %w", written(item), err)
		}
		all = append(all, one)
	}
	*into = all
	return nil
}

// channelNames reads the names of channels; whether they exist is only known when
// all of the file is.
func channelNames(value any, into *[]string) error {
	if err := labels(value, into); err != nil {
		return err
	}
	if len(*into) > maxNotified {
		return fmt.Errorf("has %d channels; write at most %d", len(*into), maxNotified)
	}
	return nil
}

// unknownChannels finds names among the defaults that no channel has.
func (c Config) unknownChannels() []error {
	var errs []error
	known := c.ChannelNames()
	for _, name := range c.Notify.Default {
		if !slices.Contains(known, name) {
			errs = append(errs, fmt.Errorf("notify.default: no channel is named %q; %s", name, meant(name, known, "define it under notify.channels, or take it away")))
		}
	}
	return errs
}

// ChannelNames are the names of all channels, sorted; never nil.
func (c Config) ChannelNames() []string {
	names := []string{}
	for _, ch := range c.Notify.Channels {
		names = append(names, ch.Name)
	}
	return names
}

var placeholder = regexp.MustCompile(`\{\{[^{}]*\}\}`)

// link reads a template of an address. What a team's objects are called can't choose
// the host, nor leave the place that it stands in.
func link(value any, into *string) error {
	const example = "https://serin.example.com/{{namespace}}/{{service}}"
	text, is := value.(string)
	if is && text == "" {
		*into = ""
		return nil
	}
	for _, p := range placeholder.FindAllString(text, -1) {
		if !slices.Contains([]string{"{{namespace}}", "{{service}}", "{{rollout}}"}, p) {
			return fmt.Errorf("has %s, which stands for nothing; write {{namespace}}, {{service}} or {{rollout}}", p)
		}
	}
	u, err := url.Parse(placeholder.ReplaceAllString(text, "x"))
	host, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(text, "https://"), "http://"), "/")
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" || strings.Contains(host, "{{") {
		return fmt.Errorf("is no http or https URL with a host of its own; write for example %s", example)
	}
	*into = text
	return nil
}
