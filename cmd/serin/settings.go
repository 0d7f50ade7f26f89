package main

import (
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap/zapcore"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"serin.dev/serin/internal/operator"
	"serin.dev/serin/pkg/config"
	"serin.dev/serin/pkg/controller"
	"serin.dev/serin/pkg/prom"
)

// Requests per second to the API server, far above what releases need: its own
// fairness decides, not ours. A thousand canaries that break in one moment must
// not wait here for their turn, nor a start under a thousand rollouts.
const (
	requestsPerSecond = 1000
	requestsAtOnce    = 2000
)

// settings are the flags over the configuration file over the defaults.
type settings struct {
	config      config.Config
	templates   []prom.Template // of the file's metrics
	kubeconfig  string
	elect       bool
	level       zapcore.Level
	showVersion bool
}

// parse reads the arguments. All mistakes come at once.
func parse(args []string, out io.Writer) (settings, error) {
	var s settings
	var file, prometheus, namespaces, listen, page, inPlace, level string
	var interval time.Duration
	flags := flag.NewFlagSet("serin", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.StringVar(&s.kubeconfig, "kubeconfig", "", "`file` with the access to the cluster (default: $KUBECONFIG, ~/.kube/config, or the pod's own)")
	flags.StringVar(&file, "config", "", "configuration `file` (default: none, see docs/config.md)")
	flags.StringVar(&prometheus, "prometheus-url", "", "`URL` of Prometheus; wins over the file")
	flags.StringVar(&namespaces, "namespaces", "", "comma-separated `names` of the namespaces to watch; wins over the file (default: all)")
	flags.StringVar(&listen, "listen", "", "`host:port` of metrics and health; wins over the file (default :8080)")
	flags.StringVar(&page, "page-listen", "", "`host:port` of the page; wins over the file (default 127.0.0.1:9092)")
	flags.StringVar(&inPlace, "in-place", "", "release single Deployments in place, with this `guard`: policy, webhook or pause; wins over the file (default: off)")
	flags.DurationVar(&interval, "interval", 0, "what is assumed where the scrape interval can't be found out; wins over the file (default 15s)")
	flags.BoolVar(&s.elect, "leader-elect", true, "work only while holding the Lease")
	flags.StringVar(&level, "log-level", "info", "debug, info, warn or error")
	flags.BoolVar(&s.showVersion, "version", false, "show the version and end")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	var errs []error
	if flags.NArg() > 0 {
		errs = append(errs, fmt.Errorf("%q is no flag; all that serin takes are flags, see --help", flags.Arg(0)))
	}
	var err error
	if s.level, err = zapcore.ParseLevel(level); err != nil {
		errs = append(errs, fmt.Errorf("--log-level: %q is none of debug, info, warn, error", level))
	}
	if s.config, err = load(file); err != nil {
		errs = append(errs, err)
	}
	if s.templates, err = templates(s.config.Metrics); err != nil {
		errs = append(errs, fmt.Errorf("--config %s: %w", file, err))
	}
	if interval != 0 && (interval < time.Second || interval > 10*time.Minute || interval%time.Second != 0) {
		errs = append(errs, fmt.Errorf("--interval: %s is not a whole number of seconds from 1s to 10m", interval))
	}
	if inPlace != "" && !slices.Contains(guards, inPlace) {
		errs = append(errs, fmt.Errorf("--in-place: %q is none of %s", inPlace, strings.Join(guards, ", ")))
	}
	s.override(prometheus, namespaces, listen, inPlace, interval)
	if page != "" {
		s.config.Page.Listen = page
		if err := s.config.Page.Check(); err != nil {
			errs = append(errs, fmt.Errorf("--page-listen: %w", err))
		}
	}
	return s, errors.Join(errs...)
}

var guards = []string{config.GuardPolicy, config.GuardWebhook, config.GuardPause}

// load reads the configuration file; no name means the defaults.
func load(name string) (config.Config, error) {
	if name == "" {
		return config.Default(), nil
	}
	return operator.ReadFile(name)
}

// templates checks the metrics that the operator defined, all of them.
func templates(metrics []config.Metric) ([]prom.Template, error) {
	var all []prom.Template
	var errs []error
	for _, m := range metrics {
		t := operator.Template(m)
		errs = append(errs, t.Check())
		all = append(all, t)
	}
	return all, errors.Join(errs...)
}

// override puts what flags say in the place of what the file says.
func (s *settings) override(prometheus, namespaces, listen, inPlace string, interval time.Duration) {
	if prometheus != "" {
		s.config.Prometheus.URL = prometheus
	}
	if namespaces != "" {
		s.config.Namespaces = nil
		for name := range strings.SplitSeq(namespaces, ",") {
			s.config.Namespaces = append(s.config.Namespaces, strings.TrimSpace(name))
		}
	}
	if listen != "" {
		s.config.Listen = listen
	}
	if inPlace != "" {
		s.config.InPlace.Enabled, s.config.InPlace.Guard = true, inPlace
	}
	if interval != 0 {
		s.config.Prometheus.Interval = interval
	}
}

// lease is by what replicas agree, in the controller's own namespace unless the
// file names another; nil when this is the only one.
func (s settings) lease(own string, cluster *rest.Config) (*controller.Lease, error) {
	if !s.elect {
		return nil, nil
	}
	client, err := leaseClient(cluster, s.config.LeaderElection.RenewDeadline)
	if err != nil {
		return nil, err
	}
	l := s.config.LeaderElection
	if l.Namespace != "" {
		own = l.Namespace
	}
	host, err := os.Hostname()
	if err != nil {
		host = "serin"
	}
	return &controller.Lease{
		Client: client, Namespace: own, Name: l.Name,
		Identity: host + "_" + rand.Text()[:8],
		Duration: l.LeaseDuration, RenewDeadline: l.RenewDeadline, RetryPeriod: l.RetryPeriod,
	}, nil
}

// leaseClient renews the lease by a connection of its own, below all limits, so
// that a renewal waits behind nothing else. A request gets half the deadline: there
// is a second try.
func leaseClient(cluster *rest.Config, deadline time.Duration) (*coordinationv1.CoordinationV1Client, error) {
	own := rest.CopyConfig(cluster)
	own.QPS, own.Timeout = -1, deadline/2
	// Clients share a connection unless they dial by themselves.
	own.Dial = (&net.Dialer{Timeout: own.Timeout, KeepAlive: deadline}).DialContext
	client, err := coordinationv1.NewForConfig(own)
	if err != nil {
		return nil, fmt.Errorf("make a client for the lease: %w", err)
	}
	return client, nil
}

// clientConfig finds the way to the API server, and the namespace to be at home in.
func clientConfig(kubeconfig string) (*rest.Config, string, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil)
	c, err := loader.ClientConfig()
	if err != nil {
		return nil, "", fmt.Errorf("find the cluster: %w; name a file with --kubeconfig", err)
	}
	namespace, _, err := loader.Namespace()
	if err != nil {
		return nil, "", fmt.Errorf("find the own namespace: %w", err)
	}
	c.QPS, c.Burst = requestsPerSecond, requestsAtOnce
	c.UserAgent = "serin/" + thisBuild().version
	return c, namespace, nil
}

// redact takes a password out of a URL.
func redact(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "unreadable"
	}
	return u.Redacted()
}
