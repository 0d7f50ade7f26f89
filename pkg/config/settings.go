package config

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"serin.dev/serin/pkg/annotation"
	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/judge"
)

// setting is one leaf of the file.
type setting struct {
	path    string // dotted
	value   string // the default, as YAML
	explain string
	// set fails with the rest of a sentence: what is wrong; what to write.
	set func(c *Config, value any) error
}

const (
	defaultsPath = "defaults"
	metricsPath  = "metrics"
	gatesPath    = "gates"
	channelsPath = "notify.channels"
)

// settings are all leaves but those under defaults, which are the annotations,
// and under the sections that are named, whose names are the operator's.
var settings = slices.Concat(judging, outsideSettings, others)

// judging are the leaves about what is watched, and how it is judged.
var judging = []setting{
	{"namespaces", `[]`, "The namespaces to watch; none given: all.", func(c *Config, v any) error {
		return labels(v, &c.Namespaces)
	}},
	{"prometheus.url", `http://prometheus.istio-system:9090`, "Where Prometheus answers, with the path under which it is served, if any.", func(c *Config, v any) error {
		return address(v, &c.Prometheus.URL)
	}},
	{"prometheus.interval", `15s`, "The scrape interval is found out from what is scraped, for each release. This is assumed where that can't be done, because nothing reports on stable yet.", func(c *Config, v any) error {
		return duration(v, time.Second, 10*time.Minute, "15s", &c.Prometheus.Interval)
	}},
	{"prometheus.timeout", `10s`, "The longest time a query may take. A query that fails is no data: neither a pass nor a failure.", func(c *Config, v any) error {
		return duration(v, 100*time.Millisecond, time.Minute, "10s", &c.Prometheus.Timeout)
	}},
	{"prometheus.reporter", `auto`, "Whose telemetry counts: destination (the proxies of the two versions), source (the clients' proxies and the gateways), or auto: the destination's where there is any.", func(c *Config, v any) error {
		return choice(v, &c.Prometheus.Reporter, ReporterAuto, ReporterSource, ReporterDestination)
	}},
	{"judge.mode", `evidence`, "How verdicts are reached. evidence: look after every scrape, and roll back or promote as soon as chance is ruled out. threshold: roll back when a limit is exceeded in several checks in a row. A Deployment's annotation judge wins.", func(c *Config, v any) error {
		var mode string
		err := choice(v, &mode, string(judge.ModeEvidence), string(judge.ModeThreshold))
		c.Defaults.Rules.Mode = judge.Mode(mode)
		return err
	}},
	{"judge.evidence.falseRollbacks", `1%`, "Of a hundred releases that keep every limit, at most so many are rolled back by chance, however often the judge looks. Less takes longer to find a bad one. Above 0%, at most 20%.", func(c *Config, v any) error {
		return percent(v, 20, "1%", &c.Defaults.Rules.Levels.Alpha)
	}},
	{"judge.evidence.falsePromotions", `5%`, "Of a hundred releases that are clearly bad, at most so many pass by chance. Less takes more requests. Above 0%, at most 20%.", func(c *Config, v any) error {
		return percent(v, 20, "5%", &c.Defaults.Rules.Levels.Beta)
	}},
	{"judge.evidence.clearlyBad", `2x`, "What clearly bad means: so many times a limit. A promotion rules that out. Nearer to 1x takes many more requests. Above 1x, at most 100x.", func(c *Config, v any) error {
		if err := times(v, "2x", &c.Defaults.Rules.Levels.Kappa); err != nil || c.Defaults.Rules.Levels.Kappa > 1 {
			return err
		}
		return errors.New("is the limit itself, so that no number of requests would do; write for example 2x")
	}},
	{"judge.evidence.worseThanStable", `2x`, "What worse than stable means where the limits name no multiple: so many times stable's share of failed or slow requests. Such a canary is held, and not rolled back. 1x to 100x.", func(c *Config, v any) error {
		return times(v, "2x", &c.Defaults.Rules.Levels.Rho)
	}},
	{"judge.evidence.negligible", `50%`, "Being worse than stable doesn't count below this share of the limit: 3 failures in a million are negligible, also where stable has 1. Above 0%, at most 100%.", func(c *Config, v any) error {
		return percent(v, 100, "50%", &c.Defaults.Rules.Levels.Floor)
	}},
	{"judge.evidence.strict", `false`, "Failures that come in bursts count for less: a whole scrape interval is one observation, however many requests it had. Slower.", func(c *Config, v any) error {
		return truth(v, &c.Defaults.Rules.Levels.Strict)
	}},
	{"judge.threshold.checks", `3`, "How many checks in a row over a limit roll a canary back.", func(c *Config, v any) error {
		n, err := count(v, 100)
		c.Defaults.Rules.Threshold.Checks = int(n)
		return err
	}},
	{"judge.threshold.requests", `100`, "How many of the canary's requests complete a check.", func(c *Config, v any) error {
		n, err := count(v, 1_000_000_000)
		c.Defaults.Rules.Threshold.Requests = n
		return err
	}},
}

// others are all other leaves.
var others = []setting{
	{"inPlace.enabled", `false`, "Whether a Deployment that is alone behind its Service is released in place: it is updated as always, and held until Serin has released the new template. This needs rights and a guard that two Deployments don't: deploy/in-place brings them, and sets this.", func(c *Config, v any) error {
		return truth(v, &c.InPlace.Enabled)
	}},
	{"inPlace.guard", `policy`, "What holds a changed template back. policy: the API server itself, by the MutatingAdmissionPolicy of deploy/in-place; Kubernetes 1.36 or newer. webhook: this controller, asked by the API server; a change that is made while it is away is not held. pause: Serin keeps every Deployment that is released in place paused, always; kubectl then refuses rollout undo and rollout restart.", func(c *Config, v any) error {
		return choice(v, &c.InPlace.Guard, GuardPolicy, GuardWebhook, GuardPause)
	}},
	{"inPlace.settle", `5s`, "How long after a write all proxies go by it, at the latest: so long a release in place waits before it builds on what was written. 100ms to 5m.", func(c *Config, v any) error {
		return duration(v, 100*time.Millisecond, 5*time.Minute, "5s", &c.Defaults.Settle)
	}},
	{"inPlace.webhook.listen", `":8443"`, "With guard: webhook, where the API server asks, as host:port; the host may be left out.", func(c *Config, v any) error {
		return listen(v, &c.InPlace.Webhook.Listen)
	}},
	{"inPlace.webhook.certificate", `/etc/serin-webhook/tls.crt`, "The file of the certificate that it is shown, PEM. Certificate and key are read again when they change.", func(c *Config, v any) error {
		return file(v, "/etc/serin-webhook/tls.crt", &c.InPlace.Webhook.Certificate)
	}},
	{"inPlace.webhook.key", `/etc/serin-webhook/tls.key`, "The file of the certificate's key, PEM.", func(c *Config, v any) error {
		return file(v, "/etc/serin-webhook/tls.key", &c.InPlace.Webhook.Key)
	}},
	{"notify.default", `[]`, "The channels of Deployments whose annotations name none.", func(c *Config, v any) error {
		return channelNames(v, &c.Notify.Default)
	}},
	{"links.page", `""`, "Where messages lead to, such as https://serin.example.com/{{namespace}}/{{service}}. {{namespace}}, {{service}} and {{rollout}} stand for those of the release; empty: no link.", func(c *Config, v any) error {
		return link(v, &c.Links.Page)
	}},
	{"links.grafana", `""`, "Likewise a dashboard, such as https://grafana.example.com/d/serin-rollout?var-namespace={{namespace}}&var-service={{service}}.", func(c *Config, v any) error {
		return link(v, &c.Links.Grafana)
	}},
	{"page.listen", `"127.0.0.1:9092"`, "Where the page and its JSON are served, as host:port. As it is, they are reached by kubectl port-forward alone. \"\": nowhere.", func(c *Config, v any) error {
		if v == "" {
			c.Page.Listen = ""
			return nil
		}
		return listen(v, &c.Page.Listen)
	}},
	{"page.access", `loopback`, "Who may see the page. loopback: whoever reaches it, which its address bounds to this machine. reviewed: who brings a token of the cluster, and may get Deployments in a namespace, sees its rollouts; deploy/page brings the rights that this needs.", func(c *Config, v any) error {
		return choice(v, &c.Page.Access, AccessLoopback, AccessReviewed)
	}},
	{"page.hosts", `[]`, "Host names by which the page is asked for, beside localhost and the loopback addresses. With access: reviewed any name will do.", func(c *Config, v any) error {
		return hosts(v, &c.Page.Hosts)
	}},
	{"page.certificate", `""`, "The file of the certificate with which the page is served, PEM; read again when it changes. Without one it is served in clear text, which reviewed access allows on a loopback address only.", func(c *Config, v any) error {
		return fileOrNone(v, "/etc/serin-page/tls.crt", &c.Page.Certificate)
	}},
	{"page.key", `""`, "The file of the certificate's key, PEM.", func(c *Config, v any) error {
		return fileOrNone(v, "/etc/serin-page/tls.key", &c.Page.Key)
	}},
	{"clusterDomain", `cluster.local`, "The cluster's domain, with which host names may end.", func(c *Config, v any) error {
		return name(v, subdomain, "cluster.local", &c.ClusterDomain)
	}},
	{"rootNamespace", `istio-system`, "Istio's root namespace, whose DestinationRules are for all.", func(c *Config, v any) error {
		return name(v, label, "istio-system", &c.RootNamespace)
	}},
	{"leaderElection.namespace", `""`, "The Lease's namespace; empty: the one in which Serin runs.", func(c *Config, v any) error {
		if v == "" {
			c.LeaderElection.Namespace = ""
			return nil
		}
		return name(v, label, "serin-system", &c.LeaderElection.Namespace)
	}},
	{"leaderElection.name", `serin`, "The Lease's name. Two installations that watch different namespaces need two.", func(c *Config, v any) error {
		return name(v, subdomain, "serin", &c.LeaderElection.Name)
	}},
	{"leaderElection.leaseDuration", `11s`, "How long other replicas wait for a leader that is silent.", func(c *Config, v any) error {
		return duration(v, time.Second, time.Hour, "11s", &c.LeaderElection.LeaseDuration)
	}},
	{"leaderElection.renewDeadline", `8s`, "How long a leader tries to renew before it stops working; below leaseDuration.", func(c *Config, v any) error {
		return duration(v, time.Second, time.Hour, "8s", &c.LeaderElection.RenewDeadline)
	}},
	{"leaderElection.retryPeriod", `2s`, "The time between tries.", func(c *Config, v any) error {
		return duration(v, 100*time.Millisecond, time.Hour, "2s", &c.LeaderElection.RetryPeriod)
	}},
	{"listen", `":8080"`, "Where metrics and health are served.", func(c *Config, v any) error {
		return listen(v, &c.Listen)
	}},
}

// apply walks the tree below path and sets what it finds.
func apply(c *Config, path string, tree map[string]any) []error {
	var errs []error
	for _, key := range inOrder(path, tree) {
		here, value := join(path, key), tree[key]
		if i := slices.IndexFunc(settings, func(s setting) bool { return s.path == here }); i >= 0 {
			if err := settings[i].set(c, value); err != nil {
				errs = append(errs, fmt.Errorf("%s: %s %w", here, shownAt(key, value), err))
			}
			continue
		}
		known := children(path)
		if !slices.Contains(known, key) {
			errs = append(errs, fmt.Errorf("%s: there is no such field; %s", here, meant(key, known, "known here are "+strings.Join(known, ", "))))
			continue
		}
		section, is := value.(map[string]any)
		operators, named := namedSections[here]
		switch {
		case named && (is || value == nil):
			errs = append(errs, operators.apply(c, section)...)
		case named:
			errs = append(errs, fmt.Errorf("%s: %s is no mapping; write a name below it, indented, and below that %s", here, written(value), operators.below))
		case !is && value != nil:
			errs = append(errs, fmt.Errorf("%s: %s is no mapping; write the fields below it, indented: %s", here, written(value), strings.Join(children(here), ", ")))
		case here == defaultsPath:
			errs = append(errs, applyDefaults(c, section)...)
		default:
			errs = append(errs, apply(c, here, section)...)
		}
	}
	return errs
}

// namedSections are those whose names are the operator's.
var namedSections = map[string]struct {
	apply func(*Config, map[string]any) []error
	below string // what stands below a name
}{
	metricsPath:  {applyMetrics, strings.Join(templateFields, ", ")},
	channelsPath: {applyChannels, "its type"},
	gatesPath:    {applyGates, "its type"},
}

// inOrder are the names of a mapping: sorted, but the gates come before the defaults,
// which may name them.
func inOrder(path string, tree map[string]any) []string {
	keys := slices.Sorted(maps.Keys(tree))
	if i := slices.Index(keys, gatesPath); path == "" && i > 0 {
		keys = slices.Insert(slices.Delete(keys, i, i+1), 0, gatesPath)
	}
	return keys
}

// applyDefaults reads the defaults in the annotations' own grammar.
func applyDefaults(c *Config, section map[string]any) []error {
	values := make(map[string]string)
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(section)) {
		switch value := section[key].(type) {
		case string:
			values[key] = value
		case bool, float64:
			values[key] = fmt.Sprint(value)
		default:
			errs = append(errs, fmt.Errorf("%s.%s: %s is no text; write it as in the annotation, like %q", defaultsPath, key, written(value), "5%, 100%"))
		}
	}
	defaults, err := annotation.ParseDefaults(values, defaultsPath+".", c.GateVocabulary())
	if err != nil {
		return append(errs, err)
	}
	c.Defaults = defaults
	return errs
}

// children are the names directly below a path, in the file's order.
func children(path string) []string {
	if path == defaultsPath {
		var names []string
		for _, key := range defaultable() {
			names = append(names, key.Name)
		}
		return names
	}
	var names []string
	if path == "" {
		names = append(names, defaultsPath, metricsPath, gatesPath)
	}
	if section, leaf, _ := strings.Cut(channelsPath, "."); path == section {
		names = append(names, leaf)
	}
	for _, s := range settings {
		rest, below := s.path, true
		if path != "" {
			rest, below = strings.CutPrefix(s.path, path+".")
		}
		first, _, _ := strings.Cut(rest, ".")
		if below && !slices.Contains(names, first) {
			names = append(names, first)
		}
	}
	return names
}

func defaultable() []annotation.Key {
	return slices.DeleteFunc(annotation.Keys(), func(k annotation.Key) bool { return !k.Defaultable })
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// meant is a mend that names the nearest known word, if one is near.
func meant(word string, known []string, otherwise string) string {
	if near := canary.Suggest(word, known); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return otherwise
}

// written shows a value as it stood in the file.
func written(value any) string {
	switch value := value.(type) {
	case nil:
		return "nothing"
	case string:
		return strconv.Quote(value)
	case map[string]any, []any:
		return "a list or mapping"
	default:
		return fmt.Sprint(value)
	}
}

// shownAt is written, but for leaves that may hold a secret by mistake.
func shownAt(leaf string, value any) string {
	switch leaf {
	case "credentials", "token", "proxy":
		return "what is written"
	}
	return written(value)
}

func duration(value any, least, most time.Duration, example string, into *time.Duration) error {
	text, is := value.(string)
	if n, number := value.(float64); number {
		text, is = strconv.FormatFloat(n, 'f', -1, 64), true
	}
	if !is {
		return fmt.Errorf("is no duration; write for example %s", example)
	}
	t, err := annotation.Duration(strings.TrimSpace(text), least, most)
	if err != nil {
		return fmt.Errorf("%w; write for example %s", err, example)
	}
	*into = t
	return nil
}

func truth(value any, into *bool) error {
	is, known := value.(bool)
	if !known {
		return errors.New("is neither true nor false; write one of them, without quotes")
	}
	*into = is
	return nil
}

// file reads an absolute path: a relative one would mean another file wherever
// the controller is started.
func file(value any, example string, into *string) error {
	text, _ := value.(string)
	if !strings.HasPrefix(text, "/") || strings.HasSuffix(text, "/") {
		return fmt.Errorf("is no absolute path of a file; write for example %s", example)
	}
	*into = text
	return nil
}

func fileOrNone(value any, example string, into *string) error {
	if value == "" {
		*into = ""
		return nil
	}
	return file(value, example, into)
}

func choice(value any, into *string, choices ...string) error {
	text, _ := value.(string)
	if !slices.Contains(choices, text) {
		return fmt.Errorf("is none of the choices; %s", meant(text, choices, "write "+strings.Join(choices, " or ")))
	}
	*into = text
	return nil
}

// percent reads a share above 0%, at most most percent.
func percent(value any, most float64, example string, into *float64) error {
	text, _ := value.(string)
	n, is := annotation.Number(text, "%")
	switch {
	case !is:
		return fmt.Errorf("is no percentage; write for example %s", example)
	case n <= 0 || n > most:
		return fmt.Errorf("is not above 0%% and at most %g%%; write for example %s", most, example)
	}
	*into = n / 100
	return nil
}

// times reads a multiple of 1x to 100x.
func times(value any, example string, into *float64) error {
	text, _ := value.(string)
	n, is := annotation.Number(text, "x")
	switch {
	case !is:
		return fmt.Errorf("is no number of times; write for example %s", example)
	case n < 1 || n > 100:
		return fmt.Errorf("is not between 1x and 100x; write for example %s", example)
	}
	*into = n
	return nil
}

func count(value any, most int64) (int64, error) {
	n, is := value.(float64)
	if !is || n != math.Trunc(n) || n < 1 || n > float64(most) {
		return 0, fmt.Errorf("is no whole number from 1 to %d; write one, without quotes", most)
	}
	return int64(n), nil
}

var (
	label     = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	subdomain = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)
)

func name(value any, form *regexp.Regexp, example string, into *string) error {
	text, _ := value.(string)
	if !form.MatchString(text) || len(text) > 253 {
		return fmt.Errorf("is no valid name; write for example %s", example)
	}
	*into = text
	return nil
}

func labels(value any, into *[]string) error {
	return names(value, label, "shop", "[shop, blog]", into)
}

func hosts(value any, into *[]string) error {
	return names(value, subdomain, "serin.example.com", "[serin.example.com]", into)
}

// names reads a list of names of a form, each once.
func names(value any, form *regexp.Regexp, one, several string, into *[]string) error {
	items, is := value.([]any)
	if !is {
		return fmt.Errorf("is no list; write for example %s", several)
	}
	var all []string
	for _, item := range items {
		var read string
		if err := name(item, form, one, &read); err != nil {
			return fmt.Errorf("holds %s, which %w", written(item), err)
		}
		if slices.Contains(all, read) {
			return fmt.Errorf("holds %q twice; write it once", read)
		}
		all = append(all, read)
	}
	*into = all
	return nil
}

func address(value any, into *string) error {
	const example = "http://prometheus.istio-system:9090"
	text, _ := value.(string)
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		return fmt.Errorf("is no http or https URL; write for example %s", example)
	case u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("has a query or fragment, which can't be part of the address; write for example %s", example)
	}
	*into = text
	return nil
}

func listen(value any, into *string) error {
	text, _ := value.(string)
	_, err := strconv.ParseUint(text[strings.LastIndexByte(text, ':')+1:], 10, 16)
	if err != nil || !strings.Contains(text, ":") {
		return fmt.Errorf(`has no port; write for example ":8080"`)
	}
	*into = text
	return nil
}
