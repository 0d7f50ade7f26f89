package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/config"
)

// known is a controller that knows two rollouts.
type known struct{}

func (known) Leading() bool { return true }

func (known) Views() []canary.View {
	return []canary.View{{Namespace: "shop", Service: "web"}, {Namespace: "bank", Service: "vault"}}
}

func (k known) Detail(namespace, service string) (canary.Detail, bool) {
	for _, v := range k.Views() {
		if v.Namespace == namespace && v.Service == service {
			return canary.Detail{View: v}, true
		}
	}
	return canary.Detail{}, false
}

// town is a cluster in which jane may get Deployments of the namespace shop, and the
// operator all of them.
type town struct {
	*fake.Clientset
	away    atomic.Bool
	jane    atomic.Bool // may still
	reviews []string
}

func newTown() *town {
	c := &town{Clientset: fake.NewClientset()}
	c.jane.Store(true)
	names := map[string]string{"token-of-jane": "jane", "token-of-operator": "operator"}
	c.PrependReactor("create", "tokenreviews", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if c.away.Load() {
			return true, nil, errors.New("away")
		}
		review := a.(clienttesting.CreateAction).GetObject().(*authenticationv1.TokenReview).DeepCopy()
		name := names[review.Spec.Token]
		review.Status = authenticationv1.TokenReviewStatus{Authenticated: name != "", User: authenticationv1.UserInfo{Username: name, Groups: []string{"people"}}}
		c.reviews = append(c.reviews, "who")
		return true, review, nil
	})
	c.PrependReactor("create", "subjectaccessreviews", func(a clienttesting.Action) (bool, runtime.Object, error) {
		review := a.(clienttesting.CreateAction).GetObject().(*authorizationv1.SubjectAccessReview).DeepCopy()
		of := review.Spec.ResourceAttributes
		right := of.Verb == "get" && of.Group == "apps" && of.Resource == "deployments" && slices.Equal(review.Spec.Groups, []string{"people"})
		review.Status.Allowed = right && (review.Spec.User == "operator" || review.Spec.User == "jane" && of.Namespace == "shop" && c.jane.Load())
		c.reviews = append(c.reviews, review.Spec.User+" in "+of.Namespace)
		return true, review, nil
	})
	return c
}

func asking(h http.Handler, path, authorization string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, http.NoBody)
	r.Host = "serin-page.serin-system.svc"
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

var reviewed = config.Page{Listen: "127.0.0.1:0", Access: config.AccessReviewed}

func TestReadersSeeWhatTheyMayGet(t *testing.T) {
	h := pageHandler(reviewed, newTown(), known{})
	for name, c := range map[string]struct {
		path, authorization string
		code                int
		has, hasNot         string
	}{
		"nobody sees the list":                    {"/", "", 401, "token", "web"},
		"nobody sees JSON":                        {"/api/v1/rollouts", "", 401, "", "vault"},
		"nobody hears what changes":               {"/events", "", 401, "", "vault"},
		"a token of elsewhere is refused":         {"/", "Bearer forged", 401, "know this token", "web"},
		"a password is no token":                  {"/", "Basic token-of-jane", 401, "", "web"},
		"an endless token is not asked about":     {"/", "Bearer " + strings.Repeat("x", mostTokenBytes+1), 401, "", "web"},
		"one who may sees their namespace":        {"/api/v1/rollouts", "Bearer token-of-jane", 200, `"web"`, "vault"},
		"and the page of it":                      {"/rollouts/shop/web", "bearer token-of-jane", 200, "web", "vault"},
		"another namespace is as if it weren't":   {"/rollouts/bank/vault", "Bearer token-of-jane", 404, "", "bank/vault"},
		"in JSON too":                             {"/api/v1/rollouts/bank/vault", "Bearer token-of-jane", 404, "", `"bank"`},
		"its stream too":                          {"/rollouts/bank/vault/events", "Bearer token-of-jane", 404, "", "event:"},
		"one who may see all sees all":            {"/api/v1/rollouts", "Bearer token-of-operator", 200, "vault", ""},
		"the list has no row of other namespaces": {"/", "Bearer token-of-jane", 200, "row-shop-web", "vault"},
	} {
		t.Run(name, func(t *testing.T) {
			got := asking(h, c.path, c.authorization)
			if body := got.Body.String(); got.Code != c.code || !strings.Contains(body, c.has) || c.hasNot != "" && strings.Contains(body, c.hasNot) {
				t.Errorf("answered %d %s", got.Code, body)
			}
		})
	}
}

func TestTheAPIServersAnswersCountForAWhile(t *testing.T) {
	cluster, now := newTown(), time.Unix(0, 0)
	r := &reviewer{kube: cluster, now: func() time.Time { return now }}
	source := permitted{everything{known{}}, r}
	see := func() int {
		ctx := context.WithValue(context.Background(), tokenKey{}, "token-of-jane")
		views, err := source.Views(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return len(views)
	}
	see()
	before := len(cluster.reviews)
	if want := []string{"who", "jane in ", "jane in shop", "jane in bank"}; !slices.Equal(cluster.reviews, want) {
		t.Errorf("it asks %q, want %q", cluster.reviews, want)
	}
	cluster.jane.Store(false)
	now = now.Add(reviewedFor - 1)
	if see() != 1 || len(cluster.reviews) != before {
		t.Errorf("it asks again: %v", cluster.reviews[before:])
	}
	now = now.Add(1)
	if see() != 0 {
		t.Error("who may not any more still sees it")
	}
}

func TestWithoutTheAPIServerNobodyIsLetIn(t *testing.T) {
	cluster := newTown()
	cluster.away.Store(true)
	if got := asking(pageHandler(reviewed, cluster, known{}), "/", "Bearer token-of-jane"); got.Code != http.StatusServiceUnavailable {
		t.Errorf("answered %d", got.Code)
	}
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	var m map[int]int
	for i := range mostReviews + 5 {
		m = remember(m, i, i)
	}
	if len(m) != 5 || m[mostReviews] != mostReviews {
		t.Errorf("%d are remembered", len(m))
	}
}

// serve runs the page until stop is called, which returns the work's error.
func serve(t *testing.T, p config.Page) (address string, stop func() error) {
	t.Helper()
	var out bytes.Buffer
	end, ended := make(chan struct{}), make(chan error, 1)
	done := errors.New("done")
	work := paging(t.Context(), p, newTown(), known{}, newLogger(&out, zapcore.InfoLevel), func(context.Context) error {
		<-end
		return done
	})
	go func() { ended <- work(context.Background()) }()
	at := regexp.MustCompile(`"listen":"([^"]+)"`).FindStringSubmatch(out.String())
	if at == nil {
		t.Fatalf("logged %s", out.String())
	}
	return at[1], func() error {
		close(end)
		err := <-ended
		if errors.Is(err, done) {
			return nil
		}
		return err
	}
}

func TestAnOpenPageDoesNotHoldUpTheEnd(t *testing.T) {
	address, stop := serve(t, config.Page{Listen: "127.0.0.1:0", Access: config.AccessLoopback})
	stream, err := http.Get("http://" + address + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	if err := stop(); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadAll(stream.Body); err != nil {
		t.Errorf("the stream was cut off: %v", err)
	}
}

func TestThePageIsServedOverTLS(t *testing.T) {
	f := files(t)
	write(t, f, "serin-page", 1)
	p := reviewed
	p.Certificate, p.Key = f.Certificate, f.Key
	address, stop := serve(t, p)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}} // the certificate signs itself
	answer, err := client.Get("https://" + address + "/")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("nobody is answered %d", answer.StatusCode)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestAnAddressThatIsTakenIsNoReasonNotToWork(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	var out bytes.Buffer
	worked := false
	work := paging(t.Context(), config.Page{Listen: taken.Addr().String()}, newTown(), known{}, newLogger(&out, zapcore.InfoLevel), func(context.Context) error {
		worked = true
		return nil
	})
	if err := work(context.Background()); err != nil || !worked || !strings.Contains(out.String(), "page.listen") {
		t.Errorf("worked %v, %v, logged %s", worked, err, out.String())
	}
}

func TestThePageCanBeSwitchedOff(t *testing.T) {
	worked := false
	work := paging(t.Context(), config.Page{}, nil, known{}, zap.NewNop(), func(context.Context) error {
		worked = true
		return nil
	})
	if err := work(context.Background()); err != nil || !worked {
		t.Error(err)
	}
}

func TestThePagesFlagIsCheckedAsTheFileIs(t *testing.T) {
	if _, err := parse([]string{"--page-listen", "0.0.0.0:9092"}, io.Discard); err == nil || !strings.Contains(err.Error(), "page.access: reviewed") {
		t.Errorf("got %v", err)
	}
	s, err := parse([]string{"--page-listen", "127.0.0.1:1"}, io.Discard)
	if err != nil || s.config.Page.Listen != "127.0.0.1:1" {
		t.Errorf("got %+v, %v", s.config.Page, err)
	}
}
