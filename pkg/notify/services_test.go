package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"serin.dev/serin/internal/signature"
	"serin.dev/serin/pkg/canary"
)

// talk plays messages to one service, one after the other, as a sender does.
type talk struct {
	t    *testing.T
	s    service
	kept string
}

func newTalk(t *testing.T, kind string, world roundTrip) *talk {
	t.Helper()
	s, err := newService(channelOf(t, kind), world)
	if err != nil {
		t.Fatal(err)
	}
	return &talk{t: t, s: s}
}

// say sends a message of a kind; after is how long after the first it was told.
func (k *talk) say(kind canary.Kind, after time.Duration, told bool) error {
	m := messageOf(kind)
	m.At = m.At.Add(after)
	var err error
	k.kept, err = k.s.send(context.Background(), m, k.kept, told)
	return err
}

func (k *talk) must(kind canary.Kind, after time.Duration, told bool) {
	k.t.Helper()
	if err := k.say(kind, after, told); err != nil {
		k.t.Fatal(err)
	}
}

// strict reads a body, of which it wants to know every field.
func strict(t *testing.T, r *http.Request, into any) {
	t.Helper()
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Errorf("%s has another body: %v", r.URL.Path, err)
	}
}

// slackWorld is Slack with one channel, as far as its Web API is used.
type slackWorld struct {
	t     *testing.T
	posts []slackMessage    // in their order; At and Thread as Slack has them
	fails map[string]string // by method: the error of the next call
	done  []string
}

func (w *slackWorld) serve(r *http.Request) (int, http.Header, string) {
	method := strings.TrimPrefix(r.URL.Path, "/api/")
	var m slackMessage
	strict(w.t, r, &m)
	if why := w.fails[method]; why != "" {
		delete(w.fails, method)
		if why == "ratelimited" {
			return http.StatusTooManyRequests, http.Header{"Retry-After": {"30"}}, `{"ok":false,"error":"ratelimited"}`
		}
		return http.StatusOK, nil, `{"ok":false,"error":"` + why + `"}`
	}
	if r.Header.Get("Authorization") != "Bearer "+token {
		return http.StatusOK, nil, `{"ok":false,"error":"invalid_auth"}`
	}
	if m.Text == "" || len(m.Blocks) != 1 || m.Blocks[0].Type != "rich_text" {
		return http.StatusOK, nil, `{"ok":false,"error":"invalid_blocks"}`
	}
	switch method {
	case "chat.postMessage":
		if m.Channel != "#shop" && m.Channel != "C0123" {
			return http.StatusOK, nil, `{"ok":false,"error":"channel_not_found"}`
		}
		m.At = fmt.Sprintf("1700000000.%06d", len(w.posts))
		w.posts = append(w.posts, m)
	case "chat.update":
		i := slices.IndexFunc(w.posts, func(p slackMessage) bool { return p.At == m.At })
		if m.Channel != "C0123" || i < 0 {
			return http.StatusOK, nil, `{"ok":false,"error":"message_not_found"}`
		}
		w.posts[i].Text, w.posts[i].Blocks = m.Text, m.Blocks
	default:
		return http.StatusOK, nil, `{"ok":false,"error":"unknown_method"}`
	}
	w.done = append(w.done, method)
	return http.StatusOK, nil, `{"ok":true,"channel":"C0123","ts":"` + m.At + `"}`
}

func mentions(m slackMessage) bool {
	return slices.ContainsFunc(m.Blocks[0].Elements[0].Elements, func(e slackElement) bool { return e.Type == "broadcast" })
}

func TestARolloutIsOneMessageInSlackThatIsUpdatedAndAThread(t *testing.T) {
	w := &slackWorld{t: t}
	k := newTalk(t, typeSlack, w.serve)
	k.must(canary.KindStep, 0, false) // nobody is told, and nothing stands there yet
	k.must(canary.KindStarted, 0, true)
	k.must(canary.KindStep, time.Minute, false)
	k.must(canary.KindRolledBack, 2*time.Minute, true)
	if len(w.posts) != 2 {
		t.Fatalf("%d messages stand there, want one and its answer", len(w.posts))
	}
	root, reply := w.posts[0], w.posts[1]
	if !strings.Contains(root.Text, "rolled back") || root.Thread != "" || mentions(root) {
		t.Errorf("the message of the rollout is %+v", root)
	}
	if reply.Thread != root.At || !reply.Broadcast || !mentions(reply) {
		t.Errorf("what somebody should know is answered by %+v", reply)
	}
}

func TestASecondTryRepeatsNoAnswerInSlack(t *testing.T) {
	w := &slackWorld{t: t, fails: map[string]string{}}
	k := newTalk(t, typeSlack, w.serve)
	k.must(canary.KindStarted, 0, true)
	w.fails["chat.postMessage"] = "ratelimited"
	err := k.say(canary.KindHeld, time.Minute, true)
	var f failure
	if !errors.As(err, &f) || f.final || f.after != 30*time.Second {
		t.Fatalf("got %#v", err)
	}
	k.must(canary.KindHeld, time.Minute, true)
	if want := []string{"chat.postMessage", "chat.update", "chat.update", "chat.postMessage"}; !slices.Equal(w.done, want) || len(w.posts) != 2 {
		t.Errorf("done was %v, and there are %d messages", w.done, len(w.posts))
	}
}

func TestWhatSlackRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		method, says string
		final        bool
		posts        int
	}{
		"a message that was deleted begins a new thread": {"chat.update", "message_not_found", false, 2},
		"a token that was revoked is given up":           {"chat.update", "token_revoked", true, 1},
		"a fault of theirs is tried again":               {"chat.update", "internal_error", false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := &slackWorld{t: t, fails: map[string]string{}}
			k := newTalk(t, typeSlack, w.serve)
			k.must(canary.KindStarted, 0, true)
			w.fails[c.method] = c.says
			err := k.say(canary.KindHeld, time.Minute, true)
			var f failure
			if errors.As(err, &f); f.final != c.final || (err == nil) != (c.posts == 2) || len(w.posts) != c.posts {
				t.Errorf("got %v, final %t, with %d messages", err, f.final, len(w.posts))
			}
		})
	}
}

func TestTelegramEditsAndAnswers(t *testing.T) {
	var done []string
	says := ""
	world := func(r *http.Request) (int, http.Header, string) {
		var m telegramMessage
		strict(t, r, &m)
		method, right := strings.CutPrefix(r.URL.Path, "/bot"+token+"/")
		if !right || m.Chat != "-100123" || m.Mode != "HTML" || !m.Preview.Off {
			return http.StatusNotFound, nil, `{"ok":false,"error_code":404,"description":"Not Found"}`
		}
		if says != "" && method == "editMessageText" {
			why := says
			says = ""
			if why == "busy" {
				return http.StatusTooManyRequests, nil, `{"ok":false,"error_code":429,"description":"Too Many Requests: retry after 17","parameters":{"retry_after":17}}`
			}
			return http.StatusBadRequest, nil, `{"ok":false,"error_code":400,"description":"Bad Request: ` + why + `"}`
		}
		what := method
		if m.Reply != nil {
			what = fmt.Sprintf("%s to %d", method, m.Reply.ID)
		}
		done = append(done, what)
		return http.StatusOK, nil, `{"ok":true,"result":{"message_id":41}}`
	}
	k := newTalk(t, typeTelegram, world)
	k.must(canary.KindStarted, 0, true)
	k.must(canary.KindStep, time.Minute, true) // is edited, and rings nowhere
	says = "busy"
	var f failure
	if err := k.say(canary.KindHeld, time.Minute, true); !errors.As(err, &f) || f.final || f.after != 17*time.Second {
		t.Errorf("when it is busy: %#v", err)
	}
	says = "message is not modified: specified new message content is exactly the same"
	k.must(canary.KindHeld, time.Minute, true)
	says = "message to edit not found"
	k.must(canary.KindPromoted, time.Minute, true)
	says = "chat not found"
	if err := k.say(canary.KindHeld, time.Minute, true); !errors.As(err, &f) || !f.final || strings.Contains(err.Error(), token) {
		t.Errorf("when there is no such chat: %v", err)
	}
	if want := []string{"sendMessage", "editMessageText", "sendMessage to 41", "sendMessage"}; !slices.Equal(done, want) {
		t.Errorf("done was %v", done)
	}
}

func TestAStepIsARegionInGrafana(t *testing.T) {
	made := map[string]grafanaAnnotation{}
	gone := false
	world := func(r *http.Request) (int, http.Header, string) {
		var a grafanaAnnotation
		strict(t, r, &a)
		if r.Header.Get("Authorization") != "Bearer "+token {
			return http.StatusUnauthorized, nil, `{"message":"Unauthorized"}`
		}
		id, patched := strings.CutPrefix(r.URL.Path, "/api/annotations/")
		switch {
		case !patched && r.Method == http.MethodPost && a.Text != "" && a.Time > 0:
			id = fmt.Sprint(len(made) + 1)
			made[id] = a
			return http.StatusOK, nil, `{"message":"Annotation added","id":` + id + `}`
		case patched && r.Method == http.MethodPatch && !gone:
			before := made[id]
			before.TimeEnd = a.TimeEnd
			made[id] = before
			return http.StatusOK, nil, `{"message":"Annotation patched"}`
		}
		return http.StatusNotFound, nil, `{"message":"not found"}`
	}
	k := newTalk(t, typeGrafana, world)
	k.must(canary.KindStarted, 0, true)
	k.must(canary.KindStep, time.Minute, true)
	k.must(canary.KindHeld, 2*time.Minute, true) // holds the step, and does not end it
	k.must(canary.KindStep, 3*time.Minute, true)
	k.must(canary.KindRolledBack, 5*time.Minute, false)
	lasts := map[string]time.Duration{}
	for id, a := range made {
		lasts[id] = time.Duration(a.TimeEnd-a.Time) * time.Millisecond
	}
	if len(made) != 4 || lasts["2"] != 2*time.Minute || lasts["4"] != 2*time.Minute || lasts["1"]+lasts["3"] != 0 {
		t.Errorf("they last %v", lasts)
	}
	if a := made["2"]; a.Dashboard != "serin-rollout" || !slices.Contains(a.Tags, "service:web") || strings.Contains(made["3"].Text, "<none>") {
		t.Errorf("annotated is %+v", a)
	}
	k.must(canary.KindStep, 6*time.Minute, true)
	gone = true // somebody took it away
	k.must(canary.KindPromoted, 7*time.Minute, true)
}

func TestAlertsAreOverWhenTheRolloutGoesOn(t *testing.T) {
	var got [][]alert
	world := func(r *http.Request) (int, http.Header, string) {
		var all []alert
		strict(t, r, &all)
		for _, a := range all {
			if a.Labels["alertname"] == "" || a.StartsAt.IsZero() || a.EndsAt.Before(a.StartsAt) || slices.Contains(slices.Collect(values(a.Labels)), "") {
				return http.StatusBadRequest, nil, `"invalid label set or times"`
			}
		}
		got = append(got, all)
		return http.StatusOK, nil, ""
	}
	k := newTalk(t, typeAlertmanager, world)
	k.must(canary.KindStarted, 0, false)
	k.must(canary.KindHeld, time.Minute, true)
	k.must(canary.KindAttention, 2*time.Minute, true) // ends nothing
	k.must(canary.KindStep, 3*time.Minute, false)
	k.must(canary.KindRolledBack, 4*time.Minute, true)
	if len(got) != 4 {
		t.Fatalf("sent were %d: %+v", len(got), got)
	}
	held, over := got[0][0], got[2][0]
	if fmt.Sprint(held.Labels) != fmt.Sprint(over.Labels) || !over.StartsAt.Equal(held.StartsAt) || over.EndsAt.Sub(held.StartsAt) != 2*time.Minute {
		t.Errorf("held is %+v, over %+v", held, over)
	}
	if last := got[3]; len(last) != 1 || last[0].Labels["alertname"] != "SerinRolloutRolledBack" || last[0].EndsAt.Sub(last[0].StartsAt) != time.Hour {
		t.Errorf("rolled back is %+v", last)
	}
	if k.kept != "" {
		t.Errorf("kept is %q of a rollout that is over", k.kept)
	}
}

func values(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for _, v := range m {
			if !yield(v) {
				return
			}
		}
	}
}

func TestRobotsSignAndSayWhetherTheyTookIt(t *testing.T) {
	for name, c := range map[string]struct {
		kind, answer string
		final, again bool
	}{
		"DingTalk takes it":                  {typeDingTalk, `{"errcode":0,"errmsg":"ok"}`, false, false},
		"DingTalk wants a keyword":           {typeDingTalk, `{"errcode":310000,"errmsg":"keywords not in content"}`, true, false},
		"DingTalk is sent too much":          {typeDingTalk, `{"errcode":130101,"errmsg":"send too fast"}`, false, true},
		"Feishu takes it":                    {typeFeishu, `{"code":0,"msg":"success","data":{}}`, false, false},
		"Feishu finds the signature wrong":   {typeFeishu, `{"code":19021,"msg":"sign match fail or timestamp is not within one hour from current time"}`, true, false},
		"Feishu is sent too much":            {typeFeishu, `{"code":11232,"msg":"frequency limited"}`, false, true},
		"WeCom takes it":                     {typeWeCom, `{"errcode":0,"errmsg":"ok"}`, false, false},
		"WeCom knows no such robot":          {typeWeCom, `{"errcode":93000,"errmsg":"invalid webhook url, key=` + token + `"}`, true, false},
		"WeCom is sent too much":             {typeWeCom, `{"errcode":45009,"errmsg":"api freq out of limit"}`, false, true},
		"somebody else answers in its place": {typeWeCom, `<html>`, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newTalk(t, c.kind, func(r *http.Request) (int, http.Header, string) {
					signed(t, c.kind, r)
					return http.StatusOK, nil, c.answer
				})
				err := k.say(canary.KindHeld, 0, true)
				var f failure
				if errors.As(err, &f); f.final != c.final || (err != nil && !f.final) != c.again {
					t.Errorf("got %v, final %t", err, f.final)
				}
				if err != nil && strings.Contains(err.Error(), token) {
					t.Errorf("a secret is in %v", err)
				}
			})
		})
	}
}

// signed checks what each robot has to see, reckoned by other means than those under
// test: the signatures are of the keys in channelOf at the time at which bubbles begin.
func signed(t *testing.T, kind string, r *http.Request) {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	switch kind {
	case typeDingTalk:
		q := r.URL.Query()
		if q.Get("access_token") != token || q.Get("timestamp") != "946684800000" || q.Get("sign") != "UqAWWMDm8k69qxhuHCGrmeozg4LuP0mkdf2B9Nyw3Ko=" {
			t.Errorf("DingTalk is asked by %v", q)
		}
	case typeFeishu:
		var m feishuMessage
		if err := json.Unmarshal(body, &m); err != nil || m.At != "946684800" || m.Sign != "Ghr5Mrq17aNYJWIh3VlZuuBqgWJBtP/zsmp4m2+QjbI=" {
			t.Errorf("Feishu gets %+v (%v)", m, err)
		}
	case typeWeCom:
		var m robotText
		if err := json.Unmarshal(body, &m); err != nil || len(m.Text.Content) > 2048 || r.URL.Query().Get("key") != token {
			t.Errorf("WeCom gets %+v (%v)", m, err)
		}
	}
}

func TestAWebhookIsVerified(t *testing.T) {
	var header http.Header
	var body []byte
	k := newTalk(t, typeWebhook, func(r *http.Request) (int, http.Header, string) {
		header = r.Header
		body, _ = io.ReadAll(r.Body)
		return http.StatusNoContent, nil, ""
	})
	k.must(canary.KindRolledBack, 0, true)
	now := time.Now()
	e, err := Verify(header, body, token, now)
	if err != nil {
		t.Fatal(err)
	}
	if e.Type != "dev.serin.rollout.rolled-back.v1" || e.SpecVersion != "1.0" || e.Source != "/namespaces/shop/services/web" || e.Subject != "7d9f-1" || e.Data.View.Verdict.CanaryErrors != 16 {
		t.Errorf("the event is %+v", e)
	}
	other := header.Clone()
	other.Set(signature.HeaderID, "another")
	for name, c := range map[string]struct {
		header http.Header
		body   string
		key    string
		now    time.Time
	}{
		"another body":                          {header, strings.Replace(string(body), "shop", "shap", 1), token, now},
		"another id":                            {other, string(body), token, now},
		"another key":                           {header, string(body), "another", now},
		"ten minutes later, by somebody else":   {header, string(body), token, now.Add(10 * time.Minute)},
		"an event whose signature was left out": {http.Header{}, string(body), token, now},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Verify(c.header, []byte(c.body), c.key, c.now); err == nil {
				t.Error("it is taken")
			}
		})
	}
}

func TestWhatTeamsGets(t *testing.T) {
	k := newTalk(t, typeTeams, func(r *http.Request) (int, http.Header, string) {
		var m teamsMessage
		strict(t, r, &m)
		if m.Type != "message" || len(m.Attachments) != 1 || m.Attachments[0].Card.Type != "AdaptiveCard" || len(m.Attachments[0].Card.Actions) != 2 {
			t.Errorf("it gets %+v", m)
		}
		return http.StatusAccepted, nil, ""
	})
	k.must(canary.KindPromoted, 0, true)
}

// None shows a secret, whatever goes wrong.
func TestNoErrorShowsASecret(t *testing.T) {
	for _, kind := range Types() {
		if kind == typeEmail {
			continue
		}
		for name, world := range map[string]roundTrip{
			"an answer that repeats what it was sent": func(r *http.Request) (int, http.Header, string) {
				return http.StatusForbidden, nil, r.URL.String() + " " + r.Header.Get("Authorization") + " " + token
			},
			"a redirect": func(r *http.Request) (int, http.Header, string) {
				return http.StatusFound, http.Header{"Location": {r.URL.String()}}, ""
			},
		} {
			t.Run(kind+" "+name, func(t *testing.T) {
				err := newTalk(t, kind, world).say(canary.KindHeld, 0, true)
				var f failure
				if !errors.As(err, &f) || !f.final || strings.Contains(err.Error(), token) {
					t.Errorf("got %v", err)
				}
			})
		}
		t.Run(kind+" an address that can't be reached", func(t *testing.T) {
			s, err := newService(channelOf(t, kind), fails{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.send(context.Background(), messageOf(canary.KindHeld), "", true)
			var f failure
			if err == nil || errors.As(err, &f) && f.final || strings.Contains(err.Error(), token) {
				t.Errorf("got %v", err)
			}
		})
	}
}

type fails struct{}

func (fails) RoundTrip(r *http.Request) (*http.Response, error) {
	return nil, &url.Error{Op: "Post", URL: r.URL.String(), Err: errors.New("no route to host")}
}
