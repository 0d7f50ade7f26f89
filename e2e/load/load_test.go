package load

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestOptionsThatAreRefused(t *testing.T) {
	tests := []struct {
		name string
		o    Options
		want []string
	}{
		{"no rate", Options{URL: "http://127.0.0.1:1"}, []string{"rate is 0"}},
		{"a rate beyond the limit", Options{URL: "http://127.0.0.1:1", Rate: 1e6}, []string{"rate is 1e+06"}},
		{"a host name, even a local one", Options{URL: "http://localhost/", Rate: 1}, []string{"loopback address"}},
		{"an address elsewhere", Options{URL: "http://192.0.2.1/", Rate: 1}, []string{"load is for the sandbox"}},
		{"all that is wrong at once", Options{URL: "x", Duration: 3 * time.Hour, Concurrency: -1}, []string{"URL", "rate", "duration", "concurrency"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Start(t.Context(), tt.o)
			for _, want := range tt.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v lacks %q", err, want)
				}
			}
		})
	}
}

func TestAddressesOfTheSandboxAreAccepted(t *testing.T) {
	for _, u := range []string{"http://127.0.0.1:8080/path", "http://[::1]/", "http://10.244.0.2:8081"} {
		if err := checkURL(u); err != nil {
			t.Error(err)
		}
	}
}

func TestRequestsCarryWhatTheyShallAndAreRemembered(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cookie, err := r.Cookie("group")
		if r.Host != "shop.example.com" || r.Header.Get("X-App-Version") != "canary" || err != nil || cookie.Value != "grey" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header().Set("X-Served-By", "v2")
	}))
	defer server.Close()
	seen := make(chan Record, 1000)
	g, err := Start(context.Background(), Options{
		URL: server.URL, Host: "shop.example.com", Rate: 500, OnRecord: func(r Record) { seen <- r },
		Headers: map[string]string{"X-App-Version": "canary"}, Cookies: map[string]string{"group": "grey"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if r := <-seen; r.Status != http.StatusOK || r.Version != "v2" || r.Latency <= 0 {
			t.Fatalf("record %+v", r)
		}
	}
	g.Stop()
	if n := g.Summary(time.Time{}, time.Time{}).ByVersion["v2"].Requests; n < 10 {
		t.Errorf("%d requests remembered, want 10 or more", n)
	}
}

func TestAHungServerDoesNotLowerTheRate(t *testing.T) {
	arrived := make(chan struct{}, 100)
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-release
	}))
	defer server.Close()
	defer close(release)
	g, err := Start(context.Background(), Options{URL: server.URL, Rate: 200, Concurrency: 20})
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		<-arrived // all at once, since none of them ends
	}
	g.Stop()
	if n := len(g.Records()); n != 0 {
		t.Errorf("%d requests cut off by Stop are remembered", n)
	}
}

func TestSummary(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var records []Record
	for i := range 200 {
		r := Record{Start: start.Add(time.Duration(i) * time.Second), Status: 200, Version: "v1", Latency: time.Duration(i) * time.Millisecond}
		switch i {
		case 50:
			r.Status = 503
		case 70:
			r.Status, r.Version = 0, ""
		case 80:
			r.Status = 404
		}
		records = append(records, r)
	}
	all := Summarize(records, time.Time{}, time.Time{})
	if all.Requests != 200 || all.Bad != 2 || all.P99 != 197*time.Millisecond || all.ErrorRate() != 0.01 {
		t.Errorf("all: %+v", all.Count)
	}
	if !all.FirstBad.Equal(records[50].Start) || !all.LastBad.Equal(records[70].Start) {
		t.Errorf("bad from %s to %s", all.FirstBad, all.LastBad)
	}
	if v1, nobody := all.ByVersion["v1"], all.ByVersion[""]; v1.Requests != 199 || v1.Bad != 1 || nobody.Bad != 1 {
		t.Errorf("by version: %+v, %+v", v1, nobody)
	}
	part := Summarize(records, records[50].Start, records[70].Start)
	if part.Requests != 20 || part.Bad != 1 {
		t.Errorf("part: %+v", part.Count)
	}
	if none := Summarize(nil, start, start); none.P99 != 0 || none.ErrorRate() != 0 {
		t.Errorf("none: %+v", none)
	}
}

func TestWhatAProxySaysOfARequestThatNobodyAnsweredIsKept(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte("no healthy upstream" + strings.Repeat(".", 1000)))
	}))
	defer server.Close()
	seen := make(chan Record, 1000)
	g, err := Start(context.Background(), Options{URL: server.URL, Rate: 100, OnRecord: func(r Record) { seen <- r }})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Stop()
	if r := <-seen; !strings.HasPrefix(r.Said, "no healthy upstream") || len(r.Said) != mostSaid {
		t.Errorf("%d bytes are kept: %s", len(r.Said), r.Said)
	}
}
