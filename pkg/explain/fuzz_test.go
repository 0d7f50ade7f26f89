package explain

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/judge"
	"serin.dev/serin/pkg/prom"
	"serin.dev/serin/pkg/safetext"
)

// FuzzTell explains any state that stands on an object, with what Prometheus says
// made of bytes: nothing panics, the replay ends, and nothing of it steers a
// terminal.
func FuzzTell(f *testing.F) {
	good, err := canary.EncodeState(release(func(r *Release) { r.State.At = began.Add(time.Minute) }).State)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, []byte{9, 3, 200, 7}, "")
	f.Add(strings.Replace(good, "checkout-success", `a\u001b[31m\u202e\n`, 1), []byte("garbage"), "\x1b]0;x\a")
	f.Add(strings.Replace(good, `"message":""`, `"message":"\u009b2J\r\nreleased"`, 1), []byte{}, "\u2066\n")
	f.Fuzz(func(t *testing.T, text string, data []byte, warning string) {
		s, err := canary.DecodeState(text)
		if err != nil {
			return
		}
		r := Release{Namespace: "shop", Service: "web", State: s}
		q := Query{Blocks: answers(data, warning), Open: answers(data, warning), Assumed: 5 * time.Second}
		for range s.Spec.Custom {
			q.Custom = append(q.Custom, prom.Custom{})
		}
		story, err := Tell(context.Background(), q, r, 0, began.Add(time.Hour))
		if err != nil {
			return
		}
		var out, asJSON bytes.Buffer
		if err := story.Text(&out, Style{Width: 80}); err != nil {
			t.Fatal(err)
		}
		if err := story.JSON(safetext.JSON(&asJSON)); err != nil || !json.Valid(asJSON.Bytes()) {
			t.Fatal(err, asJSON.String())
		}
		for _, text := range []string{out.String(), asJSON.String()} {
			if i := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' }); i >= 0 {
				t.Fatalf("%q steers a terminal", text[max(0, i-20):min(len(text), i+20)])
			}
		}
	})
}

// answers are blocks made of bytes, at most a hundred for each question.
func answers(data []byte, warning string) func(context.Context, []prom.Ask, time.Time) map[string]prom.Answer {
	count := func(i int) int64 {
		if len(data) == 0 {
			return 0
		}
		return int64(data[i%len(data)])
	}
	return func(_ context.Context, asks []prom.Ask, now time.Time) map[string]prom.Answer {
		out := map[string]prom.Answer{}
		for _, a := range asks {
			answer := prom.Answer{}
			if warning != "" {
				answer.Warnings = []string{warning}
			}
			start := a.From.Truncate(a.Width)
			if start.Before(a.From) {
				start = start.Add(a.Width)
			}
			for i := 0; i < 100; i++ {
				b := judge.Block{Start: start, Width: a.Width, Step: a.Step, Weight: a.Weight}
				if b.End().After(now) || !a.To.IsZero() && b.End().After(a.To) {
					break
				}
				for _, sample := range []*judge.Sample{&b.Stable, &b.Canary} {
					sample.Live, sample.Requests = count(i)%5 > 0, count(i)
					sample.Errors = count(i+1) % (count(i) + 1)
				}
				if count(i)%7 == 6 {
					b.Missing = warning
				}
				answer.Blocks, start = append(answer.Blocks, b), b.End()
			}
			out[a.Key] = answer
		}
		return out
	}
}
