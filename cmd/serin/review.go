package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"serin.dev/serin/pkg/web"
)

const (
	// reviewedFor is how long the API server's answer counts: so long somebody still
	// reads whose rights were taken away.
	reviewedFor = 30 * time.Second
	// mostReviews are remembered of each kind; beyond them all are forgotten.
	mostReviews = 10_000
	// mostTokenBytes is far above any token.
	mostTokenBytes = 16 << 10
)

// reviewer asks the API server who brings a token, and what they may get.
type reviewer struct {
	kube kubernetes.Interface
	now  func() time.Time

	mu      sync.Mutex
	readers map[[sha256.Size]byte]answer[authenticationv1.UserInfo]
	rights  map[right]answer[bool]
}

// answer of the API server, and until when it counts.
type answer[T any] struct {
	value T
	until time.Time
}

// right is what a token's bearer may get; of all namespaces with none.
type right struct {
	token     [sha256.Size]byte
	namespace string
}

// bearer is who reads: known by the token alone.
type bearer struct {
	token [sha256.Size]byte
	user  authenticationv1.UserInfo
}

type tokenKey struct{}

// demand lets requests with a token of the cluster through.
func (r *reviewer) demand(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		scheme, token, _ := strings.Cut(req.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") || token == "" || len(token) > mostTokenBytes {
			w.Header().Set("WWW-Authenticate", `Bearer realm="serin"`)
			http.Error(w, "A token of the cluster is needed: Authorization: Bearer TOKEN, as by kubectl create token.", http.StatusUnauthorized)
			return
		}
		ctx := context.WithValue(req.Context(), tokenKey{}, token)
		switch _, err := r.reader(ctx); {
		case errors.Is(err, web.ErrRefused):
			w.Header().Set("WWW-Authenticate", `Bearer realm="serin", error="invalid_token"`)
			http.Error(w, "The cluster doesn't know this token, or not any more.", http.StatusUnauthorized)
		case err != nil:
			http.Error(w, "Who you are could not be found out: the API server didn't answer.", http.StatusServiceUnavailable)
		default:
			next.ServeHTTP(w, req.WithContext(ctx))
		}
	})
}

// reader is who brings the request's token. It fails with web.ErrRefused where the
// cluster doesn't know it.
func (r *reviewer) reader(ctx context.Context) (bearer, error) {
	token, _ := ctx.Value(tokenKey{}).(string)
	sum := sha256.Sum256([]byte(token))
	r.mu.Lock()
	known, is := r.readers[sum]
	r.mu.Unlock()
	if is && r.now().Before(known.until) {
		return bearerOf(sum, known.value)
	}
	review, err := r.kube.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}, metav1.CreateOptions{})
	if err != nil {
		return bearer{}, fmt.Errorf("ask the API server who reads: %w", err)
	}
	var user authenticationv1.UserInfo
	if review.Status.Authenticated {
		user = review.Status.User
	}
	r.mu.Lock()
	r.readers = remember(r.readers, sum, answer[authenticationv1.UserInfo]{user, r.now().Add(reviewedFor)})
	r.mu.Unlock()
	return bearerOf(sum, user)
}

// bearerOf is nobody without a name.
func bearerOf(token [sha256.Size]byte, user authenticationv1.UserInfo) (bearer, error) {
	if user.Username == "" {
		return bearer{}, web.ErrRefused
	}
	return bearer{token, user}, nil
}

// may tells whether the reader may get Deployments of a namespace. Who may in all of
// them is asked about once.
func (r *reviewer) may(ctx context.Context, who bearer, namespace string) (bool, error) {
	for _, n := range []string{"", namespace} {
		if may, err := r.review(ctx, who, n); may || err != nil {
			return may, err
		}
	}
	return false, nil
}

func (r *reviewer) review(ctx context.Context, who bearer, namespace string) (bool, error) {
	about := right{who.token, namespace}
	r.mu.Lock()
	known, is := r.rights[about]
	r.mu.Unlock()
	if is && r.now().Before(known.until) {
		return known.value, nil
	}
	extra := map[string]authorizationv1.ExtraValue{}
	for k, v := range who.user.Extra {
		extra[k] = authorizationv1.ExtraValue(v)
	}
	review, err := r.kube.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: who.user.Username, UID: who.user.UID, Groups: who.user.Groups, Extra: extra,
		ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: namespace, Verb: "get", Group: "apps", Resource: "deployments"},
	}}, metav1.CreateOptions{})
	if err != nil {
		return false, fmt.Errorf("ask the API server what %s may get: %w", who.user.Username, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rights = remember(r.rights, about, answer[bool]{review.Status.Allowed, r.now().Add(reviewedFor)})
	return review.Status.Allowed, nil
}

// remember adds an answer to a bounded map.
func remember[K comparable, V any](known map[K]V, key K, value V) map[K]V {
	if known == nil || len(known) >= mostReviews {
		known = map[K]V{}
	}
	known[key] = value
	return known
}
