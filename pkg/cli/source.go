package cli

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
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/config"
	"serin.dev/serin/pkg/explain"
	"serin.dev/serin/pkg/judge"
	"serin.dev/serin/pkg/prom"
)

// session is one run of a verb: the cluster, what is configured, and what could
// not be known of it.
type session struct {
	*tool
	cluster  cluster
	settings config.Config
	unread   error // why the controller's configuration is not known; nil: it is
	close    []func()
}

// open finds the cluster and the controller's configuration.
func (t *tool) open(ctx context.Context) (*session, error) {
	c, err := t.connect()
	if err != nil {
		return nil, err
	}
	s := &session{tool: t, cluster: c}
	s.settings, s.unread = t.settings(ctx, c)
	if s.unread != nil && t.config != "" {
		return nil, s.unread
	}
	if s.unread != nil {
		// A release in place shows whatever the configuration says; one that is read
		// as a pair's would not.
		s.settings.InPlace.Enabled = true
	}
	return s, nil
}

// done frees what the session holds.
func (s *session) done() {
	for _, f := range slices.Backward(s.close) {
		f()
	}
}

// reader reads a namespace, or all, until the session is done.
func (s *session) reader(ctx context.Context, namespace, asking string) (*reader, error) {
	r, err := s.read(ctx, s.cluster, namespace, asking, s.settings)
	if err == nil {
		s.close = append(s.close, r.stop)
	}
	return r, err
}

// about opens a session on the namespace, and finds what a verb is about: NAME is a
// Service or a Deployment. Whoever gets no error ends the session by done.
func (t *tool) about(ctx context.Context, name string) (*session, *reader, sight, error) {
	s, err := t.open(ctx)
	if err != nil {
		return nil, nil, sight{}, err
	}
	r, err := s.reader(ctx, s.cluster.namespace, "")
	var found sight
	if err == nil {
		found, err = r.find(ctx, s.cluster, name)
	}
	if err != nil {
		s.done()
		return nil, nil, sight{}, err
	}
	return s, r, found, nil
}

// source is where views come from: the controller's own, or the same core over
// what the user may read.
type source interface {
	// List are the views of a namespace, or of all with none, by namespace and name.
	List(ctx context.Context, namespace string) ([]canary.View, error)
	// Detail is one Service with its past.
	Detail(ctx context.Context, namespace, service string) (canary.Detail, error)
}

// source finds the best way to see releases. note says what is not shown, and
// why; empty: nothing is missing.
func (s *session) source(ctx context.Context, r *reader) (from source, note string, err error) {
	if s.controller != "" {
		live := endpoint{s.controller, s.program.Network}
		if err := live.leads(ctx); err != nil {
			return nil, "", fmt.Errorf("--controller %s: %w", s.controller, err)
		}
		return live, "", nil
	}
	live, why := s.endpoint(ctx)
	if why == nil {
		return live, "", nil
	}
	own := &local{session: s, reader: r}
	note = "the controller's live figures are not shown (" + why.Error() + "); this is what the API server tells"
	return own, note, nil
}

// endpoint reaches the leading controller by a forwarded port.
func (s *session) endpoint(ctx context.Context) (endpoint, error) {
	l, err := s.leader(ctx, s.cluster, s.settings)
	if err != nil {
		return endpoint{}, err
	}
	if l.stale {
		return endpoint{}, errors.New(l.String())
	}
	forwarding, stop := context.WithCancel(ctx)
	base, err := s.cluster.forward(forwarding, s.serin, l.pod())
	if err == nil {
		e := endpoint{base, s.program.Network}
		if err = e.leads(ctx); err == nil {
			s.close = append(s.close, stop)
			return e, nil
		}
	}
	stop()
	return endpoint{}, err
}

// endpoint is the controller's own view.
type endpoint struct {
	base    string
	network http.RoundTripper // nil: the network
}

// largestView bounds an answer of the controller.
const largestView = 64 << 20

// leads fails unless the controller that answers leads.
func (e endpoint) leads(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	var answer struct {
		Leading bool `json:"leading"`
	}
	if err := e.get(ctx, "/api/v1/rollouts", &answer); err != nil {
		return err
	}
	if !answer.Leading {
		return errors.New("the controller that answers does not lead")
	}
	return nil
}

func (e endpoint) get(ctx context.Context, path string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(e.base, "/")+path, http.NoBody)
	if err != nil {
		return fmt.Errorf("ask the controller: %w", err)
	}
	request.Header.Set("Accept", "application/json")
	response, err := (&http.Client{Transport: e.network, Timeout: queryTime}).Do(request)
	if err != nil {
		return fmt.Errorf("ask the controller: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("ask the controller for %s: it answers %s", path, response.Status)
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, largestView)).Decode(into); err != nil {
		return fmt.Errorf("read what the controller says of %s: %w", path, err)
	}
	return nil
}

// List asks for all, and picks.
func (e endpoint) List(ctx context.Context, namespace string) ([]canary.View, error) {
	var answer struct {
		Rollouts []canary.View `json:"rollouts"`
	}
	if err := e.get(ctx, "/api/v1/rollouts", &answer); err != nil {
		return nil, err
	}
	all := slices.DeleteFunc(answer.Rollouts, func(v canary.View) bool { return namespace != "" && v.Namespace != namespace })
	slices.SortFunc(all, byKey)
	return all, nil
}

func byKey(a, b canary.View) int { return strings.Compare(a.Key(), b.Key()) }

// Detail asks for one.
func (e endpoint) Detail(ctx context.Context, namespace, service string) (canary.Detail, error) {
	var d canary.Detail
	err := e.get(ctx, "/api/v1/rollouts/"+url.PathEscape(namespace)+"/"+url.PathEscape(service), &d)
	return d, err
}

// local is the same core over what the user may read.
type local struct {
	session *session
	reader  *reader

	mu     sync.Mutex
	judged verdicts
}

// List reads all Services that have to do with releases. Of verdicts it knows
// none: they take a question to Prometheus for each.
func (l *local) List(ctx context.Context, namespace string) ([]canary.View, error) {
	keys, err := l.reader.concerned(ctx, l.session.cluster, namespace)
	if err != nil {
		return nil, err
	}
	all, err := l.reader.looks(ctx, keys)
	if err != nil {
		return nil, err
	}
	views := make([]canary.View, 0, len(all))
	for _, s := range all {
		views = append(views, s.view())
	}
	slices.SortFunc(views, byKey)
	return views, nil
}

// Detail reads one Service, with the verdict as Prometheus tells it.
func (l *local) Detail(ctx context.Context, namespace, service string) (canary.Detail, error) {
	s, err := l.reader.look(ctx, keyOf(namespace, service))
	if err != nil {
		return canary.Detail{}, err
	}
	l.mu.Lock()
	verdict, _, err := l.judged.of(ctx, l.session, s)
	l.mu.Unlock()
	if err == nil {
		s.observation.Verdict, s.observation.Replaying = verdict, false
	}
	past := s.past()
	return canary.Detail{View: s.view(), History: past[:min(len(past), canary.MaxPast)]}, nil
}

// verdicts asks Prometheus by the same replay as the controller, no more often
// than there is news.
type verdicts struct {
	query   *explain.Query
	failed  error
	verdict judge.Verdict
	rollout string
	weight  int
	mirror  int
	at      time.Time
}

// judgeAgain is how long a replayed verdict is shown.
const judgeAgain = 5 * time.Second

// of is the verdict on a release under way, and whether there is one. An error
// says why Prometheus can't be asked; it is asked once.
func (j *verdicts) of(ctx context.Context, s *session, seen sight) (judge.Verdict, bool, error) {
	state := seen.state
	mirror := canary.TrafficOf(state).Mirror
	if !state.Phase.Active() || state.Weight == 0 && mirror == 0 {
		return judge.Verdict{}, false, nil
	}
	if j.failed != nil {
		return judge.Verdict{}, false, j.failed
	}
	now := s.program.Now()
	if j.rollout == state.Rollout && j.weight == state.Weight && j.mirror == mirror && now.Sub(j.at) < judgeAgain {
		return j.verdict, true, nil
	}
	release := explain.Release{Namespace: seen.key.Namespace, Service: seen.key.Name, State: state}
	if j.query == nil {
		query, err := s.query(ctx, s.cluster, release, s.settings, now)
		if err != nil {
			j.failed = err
			return judge.Verdict{}, false, err
		}
		j.query = &query
	}
	asking, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	j.query.Custom = templates(state, s.settings.Metrics)
	story, err := explain.Tell(asking, *j.query, release, 0, now)
	if err != nil {
		j.failed = err
		return judge.Verdict{}, false, err
	}
	j.rollout, j.weight, j.mirror, j.at, j.verdict = state.Rollout, state.Weight, mirror, now, judge.Verdict{}
	if n := len(story.Looks); n > 0 && !story.Looks[n-1].Block.End().Before(now.Add(-canary.Freshness(state.Width))) {
		j.verdict = story.Looks[n-1].Verdict
	}
	return j.verdict, true, nil
}

// reachable tells whether Prometheus answers, and otherwise why not.
func (s *session) reachable(ctx context.Context) (prom.Query, error) {
	address := s.settings.Prometheus.URL
	if s.prometheus != "" {
		address = s.prometheus
	}
	ways, err := s.waysTo(s.cluster, address, s.prometheus != "")
	if err != nil {
		return nil, err
	}
	return reach(ctx, ways, s.program.Now())
}

// scope is the namespace that a verb is about; all with --all-namespaces.
func (s *session) scope(all bool) string {
	if all {
		return metav1.NamespaceAll
	}
	return s.cluster.namespace
}
