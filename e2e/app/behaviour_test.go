package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	_ "serin.dev/serin/internal/bubble"
)

func env(pairs ...string) func(string) string {
	return func(key string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == key {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func TestEveryMalformedVariableIsNamed(t *testing.T) {
	_, err := parseBehaviour(env("ERROR_RATE", "5%", "LATENCY", "soon", "HANG", "perhaps", "STATUS", "42"))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{`ERROR_RATE is "5%"`, `LATENCY is "soon"`, `HANG is "perhaps"`, `STATUS is "42"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %s:\n%v", want, err)
		}
	}
}

func TestAnswers(t *testing.T) {
	tests := []struct {
		name string
		env  []string
		// since the start of the process, and since the first request
		age, serving time.Duration
		dice         float64
		want         int
	}{
		{"a plain application answers 200", nil, 0, 0, 0, 200},
		{"the dice below the error rate fails the request", []string{"ERROR_RATE", "0.05"}, 0, 0, 0.049, 500},
		{"the dice at the error rate does not", []string{"ERROR_RATE", "0.05"}, 0, 0, 0.05, 200},
		{"errors begin only after ERROR_AFTER", []string{"ERROR_RATE", "1", "ERROR_AFTER", "10s"}, 9 * time.Second, 0, 0, 200},
		{"and go on from then", []string{"ERROR_RATE", "1", "ERROR_AFTER", "10s"}, 10 * time.Second, 0, 0, 500},
		{"errors begin only when it has served for ERROR_SERVED", []string{"ERROR_RATE", "1", "ERROR_SERVED", "10s"}, time.Hour, 9 * time.Second, 0, 200},
		{"and go on from then, too", []string{"ERROR_RATE", "1", "ERROR_SERVED", "10s"}, time.Hour, 10 * time.Second, 0, 500},
		{"STATUS wins over all", []string{"ERROR_RATE", "1", "STATUS", "404"}, 0, 0, 0, 404},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, err := parseBehaviour(env(tt.env...))
			if err != nil {
				t.Fatal(err)
			}
			if got := b.answer(tt.age, tt.serving, tt.dice); got != tt.want {
				t.Errorf("status %d, want %d", got, tt.want)
			}
		})
	}
}

func TestServingBeginsWithTheFirstRequestAndNotWithAProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := parseBehaviour(env("ERROR_RATE", "1", "ERROR_SERVED", "5s"))
		if err != nil {
			t.Fatal(err)
		}
		h := newHandler(b, time.Now())
		get(h, "/healthz")
		<-time.After(time.Minute)
		if got := get(h, "/any").Code; got != http.StatusOK {
			t.Errorf("the first request: %d", got)
		}
		<-time.After(5 * time.Second)
		if got := get(h, "/any").Code; got != http.StatusInternalServerError {
			t.Errorf("5 s later: %d", got)
		}
	})
}

func TestARequestMayAskForItsStatus(t *testing.T) {
	for _, tt := range []struct {
		name, header string
		want         int
	}{
		{"a status", "503", 503},
		{"none", "", 200},
		{"what is no status", "99", 200},
		{"what is no number", "bad", 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/any", http.NoBody)
			r.Header.Set("X-Want-Status", tt.header)
			w := httptest.NewRecorder()
			newHandler(behaviour{version: "v1"}, time.Now()).ServeHTTP(w, r)
			if w.Code != tt.want {
				t.Errorf("status %d, want %d", w.Code, tt.want)
			}
		})
	}
}

func TestSlowShareTakesLonger(t *testing.T) {
	b, err := parseBehaviour(env("LATENCY", "10ms", "SLOW_RATE", "0.1", "SLOW_LATENCY", "3s"))
	if err != nil {
		t.Fatal(err)
	}
	if got := b.delay(0.09); got != 3010*time.Millisecond {
		t.Errorf("slow request takes %v", got)
	}
	if got := b.delay(0.1); got != 10*time.Millisecond {
		t.Errorf("other request takes %v", got)
	}
}

func TestReadyAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := parseBehaviour(env("READY_AFTER", "5s", "VERSION", "v7"))
		if err != nil {
			t.Fatal(err)
		}
		h := newHandler(b, time.Now())
		if got := get(h, "/healthz").Code; got != http.StatusServiceUnavailable {
			t.Errorf("at once: %d", got)
		}
		<-time.After(5 * time.Second)
		if got := get(h, "/healthz").Code; got != http.StatusOK {
			t.Errorf("after 5 s: %d", got)
		}
		answer := get(h, "/any")
		if answer.Body.String() != "v7\n" || answer.Header().Get("X-Served-By") != "v7" {
			t.Errorf("answer %q served by %q", answer.Body, answer.Header().Get("X-Served-By"))
		}
	})
}

func get(h http.Handler, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}
