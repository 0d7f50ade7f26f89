package signature_test

import (
	"net/http"
	"testing"
	"time"

	"serin.dev/serin/internal/signature"
)

func TestTheSignatureIsThatOfStandardWebhooks(t *testing.T) {
	// The example that the libraries of the standard are tested by.
	const key, id, at, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", `{"test": 2432232314}`
	got, err := signature.Sign(key, id, at, []byte(body))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; err != nil || got != want {
		t.Errorf("got %s (%v), want %s", got, err, want)
	}
	if _, err := signature.Sign("whsec_!", id, at, nil); err == nil {
		t.Error("a key that is no base64 is taken")
	}
}

func TestASignatureIsVerified(t *testing.T) {
	const key = "secret"
	now, body := time.Unix(1_700_000_000, 0), []byte(`{"a":1}`)
	headers, err := signature.Headers(key, "id-1", body, now)
	if err != nil {
		t.Fatal(err)
	}
	header := func(change ...string) http.Header {
		h := http.Header{}
		for name, value := range headers {
			h.Set(name, value)
		}
		for i := 0; i+1 < len(change); i += 2 {
			h.Set(change[i], change[i+1])
		}
		return h
	}
	for name, c := range map[string]struct {
		header http.Header
		body   string
		key    string
		now    time.Time
		valid  bool
	}{
		"as it was sent":              {header(), `{"a":1}`, key, now, true},
		"a clock that is off":         {header(), `{"a":1}`, key, now.Add(-5 * time.Minute), true},
		"beside another signature":    {header(signature.HeaderSignature, "v1,AAAA "+headers[signature.HeaderSignature]), `{"a":1}`, key, now, true},
		"another body":                {header(), `{"a":2}`, key, now, false},
		"another key":                 {header(), `{"a":1}`, "other", now, false},
		"another id":                  {header(signature.HeaderID, "id-2"), `{"a":1}`, key, now, false},
		"long ago":                    {header(), `{"a":1}`, key, now.Add(5*time.Minute + time.Second), false},
		"no time":                     {header(signature.HeaderTimestamp, "soon"), `{"a":1}`, key, now, false},
		"another time":                {header(signature.HeaderTimestamp, "1700000001"), `{"a":1}`, key, now, false},
		"nothing of it":               {http.Header{}, `{"a":1}`, key, now, false},
		"a key that can't be decoded": {header(), `{"a":1}`, "whsec_!", now, false},
	} {
		t.Run(name, func(t *testing.T) {
			if err := signature.Verify(c.header, []byte(c.body), c.key, c.now); (err == nil) != c.valid {
				t.Errorf("got %v", err)
			}
		})
	}
}
