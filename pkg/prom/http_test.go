package prom

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"serin.dev/serin/pkg/judge"
)

// answering is a Prometheus that always answers the same.
func answering(t *testing.T, status int, body string) (Query, *url.Values) {
	t.Helper()
	var form url.Values
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != "/prom/api/v1/query_range" {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		form = r.PostForm
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	return mustHTTP(t, server.Client(), strings.Replace(server.URL, "http://", "http://anna:secret@", 1)+"/prom/"), &form
}

func mustHTTP(t *testing.T, client *http.Client, base string) Query {
	t.Helper()
	q, err := HTTP(client, base)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func TestHTTPAnswers(t *testing.T) {
	for _, c := range []struct {
		name, body string
		want       Matrix
	}{
		{
			name: "a matrix",
			body: `{"status":"success","data":{"resultType":"matrix","result":[
				{"metric":{"__name__":"up","pod":"web-\"a\"\u00e9"},"values":[[1800000000,"1"],[1800000000.25,"2.5e3"]]},
				{"metric":{},"values":[]}]}}`,
			want: Matrix{Series: []Series{
				{Labels: Labels{{"__name__", "up"}, {"pod", "web-\"a\"é"}}, Points: []Point{{1800000000000, 1}, {1800000000250, 2500}}},
				{},
			}},
		},
		{name: "nothing", body: `{"status":"success","data":{"resultType":"matrix","result":[]}}`},
		{
			name: "values that are no numbers, as they are",
			body: `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"a":"b"},"values":[[1,"+Inf"],[2,"-Inf"]]}]}}`,
			want: Matrix{Series: []Series{{Labels: Labels{{"a", "b"}}, Points: []Point{{1000, math.Inf(1)}, {2000, math.Inf(-1)}}}}},
		},
		{
			name: "warnings, and fields of a later version",
			body: `{"infos":["x"],"warnings":["one store is away"],"status":"success","data":{"stats":{"a":[1,{"b":null}],"c":true},"resultType":"matrix",
				"result":[{"metric":{"a":"b"},"histograms":[[1,{"count":"1"}]],"values":[[1,"1"]]}]},"more":-1.5}`,
			want: Matrix{Warnings: []string{"one store is away"}, Series: []Series{{Labels: Labels{{"a", "b"}}, Points: []Point{{1000, 1}}}}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			q, form := answering(t, 200, c.body)
			got, err := q(context.Background(), `sum(up{a="b"})`, epoch, epoch.Add(1500*time.Millisecond), 500*time.Millisecond)
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("%+v %v", got, err)
			}
			want := url.Values{
				"query": {`sum(up{a="b"})`}, "start": {"1800000000"}, "end": {"1800000001.5"}, "step": {"0.5"},
				"nocache": {"1"}, "latency_offset": {"1ms"}, "partial_response": {"false"}, "deny_partial_response": {"1"},
			}
			if !reflect.DeepEqual(*form, want) {
				t.Errorf("asked %v", *form)
			}
		})
	}
}

func TestWhatPrometheusSaysIsCut(t *testing.T) {
	long := strings.Repeat("é", 1000)
	q, _ := answering(t, 200, `{"status":"success","warnings":[`+strings.Repeat(`"`+long+`",`, 30)+`"last"],"data":{"resultType":"matrix","result":[]}}`)
	m, err := q(context.Background(), "up", epoch, epoch, time.Second)
	if err != nil || len(m.Warnings) != 10 || len(m.Warnings[0]) > 510 || !strings.HasSuffix(m.Warnings[0], "é...") {
		t.Errorf("%d warnings, %v", len(m.Warnings), err)
	}
	q, _ = answering(t, 400, `{"status":"error","errorType":"x","error":"`+long+`"}`)
	if _, err := q(context.Background(), "up", epoch, epoch, time.Second); err == nil || len(err.Error()) > 700 {
		t.Errorf("%v", err)
	}
}

func TestHTTPErrors(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		body   string
		says   string
	}{
		{"what Prometheus says of a bad query", 400, `{"status":"error","errorType":"bad_data","error":"parse error at char 4"}`, "status 400: bad_data: parse error at char 4"},
		{"what Prometheus says when it is overloaded", 503, `{"status":"error","errorType":"timeout","error":"query timed out"}`, "status 503: timeout: query timed out"},
		{"an error page of a proxy", 502, `<html>Bad Gateway</html>`, "status 502 Bad Gateway"},
		{"an empty error", 401, ``, "status 401 Unauthorized"},
		{"an error with a good status", 200, `{"status":"error","errorType":"internal","error":"no"}`, "internal: no"},
		{"no JSON", 200, `hello`, "read the answer: 'h' where '{' should be"},
		{"nothing", 200, ``, "unexpected EOF"},
		{"an answer cut short", 200, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"a":"b`, "unexpected EOF"},
		{"another type of result", 200, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"1"]}]}}`, `resultType is "vector"`},
		{"no status", 200, `{"data":{"resultType":"matrix","result":[]}}`, `status is ""`},
		{"a value without quotes", 200, `{"status":"success","data":{"resultType":"matrix","result":[{"values":[[1,1]]}]}}`, `'1' where '"' should be`},
		{"a value that is a word", 200, `{"status":"success","data":{"resultType":"matrix","result":[{"values":[[1,"many"]]}]}}`, "many"},
		{"a point of one value", 200, `{"status":"success","data":{"resultType":"matrix","result":[{"values":[[1]]}]}}`, "fewer than two"},
		{"a point of three values", 200, `{"status":"success","data":{"resultType":"matrix","result":[{"values":[[1,"1","1"]]}]}}`, "more than two"},
		{"a bottomless answer", 200, `{"more":` + strings.Repeat("[", 9999), "nested too deeply"},
	} {
		t.Run(c.name, func(t *testing.T) {
			q, _ := answering(t, c.status, c.body)
			_, err := q(context.Background(), "up", epoch, epoch, time.Second)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%v doesn't say %s", err, c.says)
			}
			if text := err.Error(); !strings.Contains(text, "/prom/api/v1/query_range") || strings.Contains(text, "secret") || strings.Contains(text, "anna") {
				t.Errorf("%s: the URL without credentials is wanted", text)
			}
		})
	}
}

func TestHTTPSendsTheURLsCredentials(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "anna" || password != "secret" {
			t.Errorf("%s %s", user, password)
		}
		_, _ = io.WriteString(w, `{"status":"success","data":{"resultType":"matrix","result":[]}}`)
	}))
	defer server.Close()
	q := mustHTTP(t, server.Client(), strings.Replace(server.URL, "http://", "http://anna:secret@", 1))
	if _, err := q(context.Background(), "up", epoch, epoch, time.Second); err != nil {
		t.Error(err)
	}
}

func TestHTTPHonoursTheContextInAStall(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"status":"success",`)
		w.(http.Flusher).Flush()
		<-release
	}))
	defer server.Close()
	defer close(release)
	q := mustHTTP(t, server.Client(), server.URL)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := q(ctx, "up", epoch, epoch, time.Second); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestHTTPNamesNoCredentialsWhenNobodyListens(t *testing.T) {
	refused := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return nil, syscall.ECONNREFUSED
	}}}
	_, err := mustHTTP(t, refused, "http://anna:secret@prometheus:9090")(context.Background(), "up", epoch, epoch, time.Second)
	if err == nil || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "anna") {
		t.Errorf("%v", err)
	}
}

func TestHTTPRefusesWhatIsNoURL(t *testing.T) {
	for _, base := range []string{"", "prometheus:9090", "ftp://prometheus", "http://anna:secret@%zz", "/prometheus"} {
		_, err := HTTP(http.DefaultClient, base)
		if err == nil || !strings.Contains(err.Error(), "http://prometheus.istio-system:9090") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", base, err)
		}
	}
}

// endless is a body that never ends.
type endless struct{ begun bool }

func (e *endless) Read(p []byte) (int, error) {
	if !e.begun {
		e.begun = true
		return copy(p, `{"more":[1`), nil
	}
	for i := range p {
		p[i] = ",1"[i%2]
	}
	return len(p) &^ 1, nil
}

func TestABodyWithoutEndIsCut(t *testing.T) {
	if _, err := decode(&capped{r: &endless{}, left: 1 << 20}); !errors.Is(err, errTooLong) {
		t.Errorf("%v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"a":"b\\"},"values":[[1.5,"NaN"]]}]}}`))
	f.Add([]byte(`{"status":"error","error":"\ud800","warnings":[""]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := decode(strings.NewReader(string(body)))
		if m, err2 := a.result(200, err); err2 == nil && (err != nil || a.status != "success") {
			t.Errorf("an answer out of an error: %+v", m)
		}
	})
}

// FuzzEscape: whatever a name is, the matcher PromQL reads back selects it and
// no other, and nothing of it becomes a part of the query.
func FuzzEscape(f *testing.F) {
	for _, name := range []string{"web-v1", `"} or up{a="`, `\`, "a|b", ".*", "é\n\x00", "(?i)web", "`"} {
		f.Add(name, "web-v2")
	}
	f.Fuzz(func(t *testing.T, one, other string) {
		a := theAsk()
		a.StableWorkload, a.CanaryWorkload = one, other
		if a.check() != nil {
			return
		}
		got := matchForm.FindStringSubmatch(oneOf(labelWorkload, []string{one, other}))
		if got == nil || got[1] != labelWorkload || got[2] != "=~" || len(got[0]) != len(labelWorkload)+2+len(got[3]) {
			t.Fatalf("no matcher: %v", got)
		}
		pattern, err := strconv.Unquote(got[3])
		if err != nil {
			t.Fatal(err)
		}
		re, err := regexp.Compile("^(?s:" + pattern + ")$")
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range []string{one, other} {
			if !re.MatchString(v) {
				t.Errorf("%q doesn't select %q", pattern, v)
			}
			for _, w := range []string{v + "x", "x" + v, v + "\n", strings.ToUpper(v)} {
				if w != one && w != other && re.MatchString(w) {
					t.Errorf("%q selects %q", pattern, w)
				}
			}
		}
	})
}

// crowd is an answer about n rollouts with twenty pods each.
func crowd(n int) string {
	var b strings.Builder
	b.WriteString(`{"status":"success","data":{"resultType":"matrix","result":[`)
	for i := range n * 60 {
		if i > 0 {
			b.WriteByte(',')
		}
		workload := fmt.Sprintf("app%d-v%d", i/60, i%2+1)
		fmt.Fprintf(&b, `{"metric":{"destination_workload_namespace":"shop","destination_workload":"%s","job":"envoy","instance":"10.0.%d.%d:15090","pod":"%s-%d","response_code":"%d","grpc_response_status":"0"},"values":[[1800000000,"%d"],[1800000015,"%d"]]}`,
			workload, i/60%250, i/3%20, workload, i/3%20, 200+i%3*100, i*100, i*101)
	}
	b.WriteString(`]}}`)
	return b.String()
}

func BenchmarkDecodeThousandRollouts(b *testing.B) {
	body := crowd(1000)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		a, err := decode(strings.NewReader(body))
		if err != nil || len(a.series) != 60000 {
			b.Fatal(err)
		}
	}
}

func BenchmarkBlocksThousandRollouts(b *testing.B) {
	a, err := decode(strings.NewReader(crowd(1000)))
	if err != nil {
		b.Fatal(err)
	}
	var asks []Ask
	for i := range 1000 {
		asks = append(asks, Ask{
			Key: strconv.Itoa(i), Namespace: "shop", Service: "app", Width: 15 * time.Second, Weight: 5,
			StableWorkload: fmt.Sprintf("app%d-v1", i), CanaryWorkload: fmt.Sprintf("app%d-v2", i),
		})
	}
	g := grid{start: epoch.UnixMilli(), width: 15 * time.Second, borders: 2}
	b.ReportAllocs()
	for b.Loop() {
		v := newView(b.Context(), func(_ context.Context, promql string, _, _ time.Time, _ time.Duration) (Matrix, error) {
			if strings.Contains(promql, latencyMetric) || strings.Contains(promql, unknownWorkload) || strings.Contains(promql, "timestamp") {
				return Matrix{}, nil
			}
			return Matrix{Series: a.series}, nil
		}, g)
		if err := v.read(asks); err != nil {
			b.Fatal(err)
		}
		var blocks []judge.Block
		for _, ask := range asks {
			blocks = append(blocks, v.block(ask, 1))
		}
		if blocks[0].Missing != "" {
			b.Fatal(blocks[0].Missing)
		}
	}
}
