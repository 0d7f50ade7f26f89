package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// robot posts to a group robot of DingTalk, Feishu or WeCom: one POST to an address
// that is a secret. What others wrote goes as plain text, in which nothing is markup.
type robot struct {
	client client
	ch     Channel
}

// The most that they take as text, in bytes.
const (
	maxDingTalk = 18000
	maxWeCom    = 2000
)

// busy are the codes by which they say that too much was sent.
var busy = map[string][]int64{
	typeDingTalk: {130101, 410100, -1},
	typeFeishu:   {11232},
	typeWeCom:    {45009, 45033, -1},
}

func (s robot) send(ctx context.Context, m Message, _ string, told bool) (string, error) {
	if !told {
		return "", nil
	}
	address, err := secret(s.ch.Credentials)
	if err != nil {
		return "", err
	}
	key, err := secret(s.ch.Signing)
	if err != nil {
		return "", err
	}
	r := request{method: http.MethodPost, url: address, secrets: secretParts(address, key)}
	now := time.Now()
	switch s.ch.Type {
	case typeDingTalk:
		if r.url, err = signedAddress(address, key, now); err != nil {
			return "", failure{error: err, final: true}
		}
		r.body = s.dingTalk(m)
	case typeFeishu:
		r.body = s.feishu(m, key, now)
	case typeWeCom:
		r.body = s.weCom(m)
	}
	text, err := s.client.do(ctx, r)
	if err != nil {
		return "", err
	}
	return "", r.hide(s.judged(text))
}

// judged reads the answer, which is 200 for refusals too.
func (s robot) judged(text []byte) error {
	var a struct {
		ErrCode *int64 `json:"errcode"` // DingTalk and WeCom
		Code    *int64 `json:"code"`    // Feishu
	}
	if err := answer(text, &a); err != nil {
		return err
	}
	code := a.ErrCode
	if s.ch.Type == typeFeishu {
		code = a.Code
	}
	switch {
	case code == nil:
		return fmt.Errorf("it answers without a code: %s", quote(text))
	case *code == 0:
		return nil
	}
	again := slices.Contains(busy[s.ch.Type], *code)
	f := failure{error: fmt.Errorf("it refuses: %s", quote(text)), final: !again}
	if again {
		f.after = lastRetry // all of them count by the minute
	}
	return f
}

// secretParts are what of an address must not be shown: all of its path and query.
func secretParts(address, key string) []string {
	all := []string{key, address}
	if u, err := url.Parse(address); err == nil {
		all = append(all, u.RequestURI(), u.RawQuery)
		for _, values := range u.Query() {
			all = append(all, values...)
		}
		if i := strings.LastIndexByte(u.Path, '/'); len(u.Path)-i > 8 {
			all = append(all, u.Path[i+1:])
		}
	}
	return all
}

// signedAddress is DingTalk's: the time in milliseconds, and HMAC-SHA256 by the key of
// that and the key, as parameters.
func signedAddress(address, key string, now time.Time) (string, error) {
	if key == "" {
		return address, nil
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", fmt.Errorf("the credentials are no URL")
	}
	at := strconv.FormatInt(now.UnixMilli(), 10)
	q := u.Query()
	q.Set("timestamp", at)
	q.Set("sign", mac(key, at+"\n"+key))
	u.RawQuery = q.Encode()
	return u.String(), nil
}

func mac(key, text string) string {
	h := hmac.New(sha256.New, []byte(key))
	h.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

func (s robot) mentions(m Message) bool { return m.Warning && s.ch.Mention != "" }

type robotText struct {
	Type string       `json:"msgtype"`
	Text robotContent `json:"text"`
	At   *robotAt     `json:"at,omitempty"`
}

type robotContent struct {
	Content   string   `json:"content"`
	Mentioned []string `json:"mentioned_list,omitempty"`
}

type robotAt struct {
	All bool `json:"isAtAll"`
}

func (s robot) dingTalk(m Message) robotText {
	t := robotText{Type: "text", Text: robotContent{Content: shorten(m.text.plain(), maxDingTalk)}}
	if s.mentions(m) {
		t.At = &robotAt{All: true}
	}
	return t
}

func (s robot) weCom(m Message) robotText {
	t := robotText{Type: "text", Text: robotContent{Content: shorten(m.text.plain(), maxWeCom)}}
	if s.mentions(m) {
		t.Text.Mentioned = []string{"@all"}
	}
	return t
}

type feishuMessage struct {
	At      string        `json:"timestamp,omitempty"`
	Sign    string        `json:"sign,omitempty"`
	Type    string        `json:"msg_type"`
	Content feishuContent `json:"content"`
}

type feishuContent struct {
	Post map[string]feishuPost `json:"post"`
}

type feishuPost struct {
	Title   string            `json:"title"`
	Content [][]feishuElement `json:"content"`
}

type feishuElement struct {
	Tag  string `json:"tag"`
	Text string `json:"text,omitempty"`
	Href string `json:"href,omitempty"`
	User string `json:"user_id,omitempty"`
}

// feishu signs by the time in seconds: HMAC-SHA256 of nothing, by that and the key.
func (s robot) feishu(m Message, key string, now time.Time) feishuMessage {
	t := m.text
	lines := [][]feishuElement{{{Tag: "text", Text: t.sentence}}}
	for _, f := range slices.Concat(t.facts, t.commands) {
		lines = append(lines, []feishuElement{{Tag: "text", Text: f.label + ": " + f.value}})
	}
	for _, l := range t.links {
		lines = append(lines, []feishuElement{{Tag: "a", Text: l.label, Href: l.value}})
	}
	if s.mentions(m) {
		lines = append(lines, []feishuElement{{Tag: "at", User: s.ch.Mention}})
	}
	out := feishuMessage{Type: "post", Content: feishuContent{Post: map[string]feishuPost{"en_us": {Title: t.head(), Content: lines}}}}
	if key != "" {
		out.At = strconv.FormatInt(now.Unix(), 10)
		out.Sign = mac(out.At+"\n"+key, "")
	}
	return out
}
