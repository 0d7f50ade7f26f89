package cli

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/web"
)

type uiOptions struct {
	*tool
	port int
	open bool
	all  bool
}

func newUI(t *tool) *cobra.Command {
	o := &uiOptions{tool: t}
	c := &cobra.Command{
		Use:   "ui",
		Short: "Serve the page of releases on this machine, with your own rights",
		Long: `Serves the page that shows releases live, on a loopback port of this machine, and
prints its address. What you may see and order is what your own rights allow. The
address carries a token that is good once: nobody else on this machine is let in.
Ctrl-C ends it.`,
		Example:           "  kubectl canary ui -n shop --open",
		Args:              wrong(cobra.NoArgs),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	f := c.Flags()
	f.IntVar(&o.port, "port", 0, "`port` on the loopback interface (default: any that is free)")
	f.BoolVar(&o.open, "open", false, "open it in a browser")
	f.BoolVarP(&o.all, "all-namespaces", "A", false, "show all namespaces")
	return c
}

func (o *uiOptions) run(ctx context.Context) error {
	s, err := o.tool.open(ctx)
	if err != nil {
		return err
	}
	defer s.done()
	doorway, err := s.doorway(ctx, s.scope(o.all))
	if err != nil {
		return err
	}
	var listening net.ListenConfig
	listener, err := listening.Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", o.port))
	if err != nil {
		return fmt.Errorf("serve the page: %w; choose another with --port", err)
	}
	address := "http://" + listener.Addr().String() + "/?token=" + doorway.token
	fmt.Fprintln(o.streams.Out, address)
	if o.open {
		if err := browse(ctx, address); err != nil {
			o.note("the browser is not opened: " + err.Error())
		}
	}
	server := &http.Server{Handler: doorway, ReadHeaderTimeout: tryTime}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the page: %w", err)
	}
	return nil
}

// doorway is the page of a namespace, or of all, behind its door.
func (s *session) doorway(ctx context.Context, namespace string) (*doorway, error) {
	r, err := s.reader(ctx, namespace, "")
	if err != nil {
		return nil, err
	}
	from, note, err := s.source(ctx, r)
	if err != nil {
		return nil, err
	}
	if note != "" {
		s.note(note)
	}
	page := &page{session: s, reader: r, from: from, namespace: namespace}
	return &doorway{token: rand.Text(), cookie: rand.Text(), next: web.Handler(web.Options{
		Source: page, Commands: page, Title: place(namespace), Version: s.version(), Now: s.program.Now,
	})}, nil
}

// browse opens an address as the desktop does.
func browse(ctx context.Context, address string) error {
	program := map[string]string{"darwin": "open", "windows": "explorer"}[runtime.GOOS]
	if program == "" {
		program = "xdg-open"
	}
	return exec.CommandContext(ctx, program, address).Start()
}

// doorway lets in whoever has the token, once, and then knows them by a cookie.
type doorway struct {
	token, cookie string
	next          http.Handler

	mu   sync.Mutex
	used bool
}

const cookieName = "serin"

func (d *doorway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if given := r.URL.Query().Get("token"); given != "" && r.URL.Path == "/" && d.admits(given) {
		http.SetCookie(w, &http.Cookie{Name: cookieName, Value: d.cookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
		// A page of our own goes on, for a browser that came from elsewhere sends no
		// strict cookie with a redirect.
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, `<!doctype html><meta http-equiv="refresh" content="0;url=/"><title>Serin</title><a href="/">Go on</a>`)
		return
	}
	c, err := r.Cookie(cookieName)
	if err != nil || subtle.ConstantTimeCompare([]byte(c.Value), []byte(d.cookie)) != 1 {
		http.Error(w, "Open the address that kubectl canary ui printed; it is good once. To get another start it again.", http.StatusForbidden)
		return
	}
	d.next.ServeHTTP(w, r)
}

// admits uses the token up.
func (d *doorway) admits(given string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.used || subtle.ConstantTimeCompare([]byte(given), []byte(d.token)) != 1 {
		return false
	}
	d.used = true
	return true
}

// page is what the page shows and orders, under the user's rights.
type page struct {
	session   *session
	reader    *reader
	from      source
	namespace string

	mu      sync.Mutex
	allowed map[string]bool // by namespace: whether orders may be given
}

// Views are those of the namespace, or of all.
func (p *page) Views(ctx context.Context) ([]canary.View, error) {
	return p.from.List(ctx, p.namespace)
}

// Detail is one Service.
func (p *page) Detail(ctx context.Context, namespace, service string) (canary.Detail, error) {
	if p.namespace != "" && namespace != p.namespace {
		return canary.Detail{}, web.ErrUnknown
	}
	views, err := p.from.List(ctx, namespace)
	if err != nil {
		return canary.Detail{}, err
	}
	if !slices.ContainsFunc(views, func(v canary.View) bool { return v.Namespace == namespace && v.Service == service }) {
		return canary.Detail{}, web.ErrUnknown
	}
	return p.from.Detail(ctx, namespace, service)
}

// May tells whether the user may patch Deployments there, which orders take.
func (p *page) May(ctx context.Context, v canary.View, _ string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if may, known := p.allowed[v.Namespace]; known {
		return may
	}
	may, err := p.session.may(ctx, "", "patch", right{group: "apps", resource: "deployments", place: v.Namespace})
	if err == nil {
		if p.allowed == nil {
			p.allowed = map[string]bool{}
		}
		p.allowed[v.Namespace] = may
	}
	return may
}

// Do gives an order and waits a little for what comes of it.
func (p *page) Do(ctx context.Context, namespace, service, verb string) (string, error) {
	found, err := p.reader.look(ctx, keyOf(namespace, service))
	if err != nil {
		return "", err
	}
	c := p.session.cluster
	c.namespace = namespace
	var already string
	w := written{deployment: found.deployment(), value: canary.CommandAbort}
	if verb == canary.CommandAbort {
		already, err = found.abortable()
	} else {
		w, already, err = found.prepare(verb)
	}
	if err != nil || already != "" {
		return already, err
	}
	if err := c.command(ctx, w); err != nil {
		return "", err
	}
	o := &order{tool: p.session.tool, verb: verb}
	is := func(s sight) bool { return o.obeyed(s, found, w, len(found.observation.History)) }
	if verb == canary.CommandAbort {
		is = sight.back
	}
	last, err := p.session.until(ctx, p.reader, found, patience, is)
	if errors.Is(err, errTooLate) {
		return "The order " + verb + " is given; Serin has not carried it out yet", nil
	}
	return last.view().Sentence, err
}

// patience is how long a button waits for what comes of it.
const patience = 5 * time.Second

// redacted is a URL without its password.
func redacted(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "unreadable"
	}
	return u.Redacted()
}
