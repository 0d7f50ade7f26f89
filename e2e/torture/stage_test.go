package torture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"serin.dev/serin/e2e/build"
	installation "serin.dev/serin/e2e/demo/shop"
	"serin.dev/serin/e2e/sandbox"
)

// clock is how moments are written.
const clock = "15:04:05.000"

// stage is a sandbox with shops, the controllers that release in them, and what
// is known of it all.
type stage struct {
	*sandbox.Sandbox
	kube  kubernetes.Interface
	trees dynamic.Interface
	api   *rest.Config // as the controllers reach the API server

	dir, logs string
	serin     string // the controller's program
	fork      *forker
	chronicle *chronicle
	away      *outages
	teams     []*team
	shops     []*shop
	out       io.Writer

	closing atomic.Bool // no further release begins
	mu      sync.Mutex
}

// say tells how far it is.
func (st *stage) say(format string, args ...any) {
	st.mu.Lock()
	defer st.mu.Unlock()
	fmt.Fprintf(st.out, "%s %s\n", time.Now().Format(clock), fmt.Sprintf(format, args...))
}

// openStage installs the controller's rights, opens the shops, and starts the
// controllers.
func openStage(ctx context.Context, box *sandbox.Sandbox, serin, dir string, seed uint64) (*stage, error) {
	st := &stage{Sandbox: box, serin: serin, dir: dir, logs: box.LogDir(), fork: newForker(), away: &outages{}, out: os.Stderr}
	var err error
	if st.kube, err = kubernetes.NewForConfig(box.REST()); err != nil {
		return nil, err
	}
	if st.trees, err = dynamic.NewForConfig(box.REST()); err != nil {
		return nil, err
	}
	if _, err := installation.Install(ctx, box, "in-place"); err != nil {
		return nil, err
	}
	kubeconfig, err := box.KubeconfigFor(installation.ControllerUser)
	if err != nil {
		return nil, err
	}
	if st.api, err = clientcmd.BuildConfigFromFlags("", kubeconfig); err != nil {
		return nil, err
	}
	st.cast(seed)
	if err := together(st.shops, func(s *shop) error { return s.open(ctx) }); err != nil {
		return nil, err
	}
	if st.chronicle, err = chronicleOf(ctx, st.trees); err != nil {
		return nil, err
	}
	for _, s := range st.shops {
		s.remember()
	}
	for _, t := range st.teams {
		replicas := 1
		if t.elects {
			replicas = 2
		}
		if err := t.open(st, replicas, "inPlace: {enabled: true, settle: 5s}\n"); err != nil {
			return nil, err
		}
	}
	return st, nil
}

// program builds the controller and keeps it as it is now: it is started hundreds
// of times, and the sources may change meanwhile.
func program(ctx context.Context, dir string) (string, error) {
	path, err := build.Controller(ctx, os.Stderr)
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	kept := filepath.Join(dir, "serin")
	return kept, os.WriteFile(kept, text, 0o755)
}

// cast says who releases what. Each team has a pair and a single Deployment; the
// last one knows no lease, and is back at once.
func (st *stage) cast(seed uint64) {
	for i, name := range []string{"a", "b", "c"} {
		t := &team{name: name, elects: i < 2}
		pair, single := kind{gateway: true, routes: pairAtGateway}, kind{inPlace: true, gateway: true, routes: singleAtGateway}
		switch i {
		case 1:
			pair.inside, pair.routes = true, pair.routes+"---"+pairInMesh
			single.inside, single.routes = true, single.routes+"---"+singleInMesh
		case 2: // no route of the user's own
			single = kind{inPlace: true, inside: true}
		}
		for namespace, k := range map[string]kind{"pair-" + name: pair, "single-" + name: single} {
			t.namespaces = append(t.namespaces, namespace)
			st.shops = append(st.shops, &shop{kind: k, stage: st, name: namespace})
		}
		st.teams = append(st.teams, t)
	}
	slices.SortFunc(st.shops, func(a, b *shop) int { return strings.Compare(a.name, b.name) })
	for i, s := range st.shops {
		s.dice = rand.New(rand.NewPCG(seed, uint64(i)))
	}
}

// doing says what a team is at; all of them for none.
func (st *stage) doing(t *team) string {
	var all []string
	for _, s := range st.shops {
		if t == nil || slices.Contains(t.namespaces, s.name) {
			all = append(all, s.name+" "+s.at())
		}
	}
	return strings.Join(all, ", ")
}

// together does something with all at once.
func together[T any](all []T, do func(T) error) error {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, one := range all {
		wg.Go(func() { errs[i] = do(one) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// close ends the controllers and the users.
func (st *stage) close() error {
	var errs []error
	for _, t := range st.teams {
		for _, r := range t.replicas {
			errs = append(errs, r.end())
			errs = append(errs, r.complaints()...)
			r.gate.close()
		}
	}
	for _, s := range st.shops {
		for _, g := range s.users {
			g.Stop()
		}
	}
	return errors.Join(errs...)
}
