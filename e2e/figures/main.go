// Command figures measures, on the sandbox, what docs/figures.md says of the
// controller, and prints it as Markdown.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"serin.dev/serin/e2e/demo/shop"
	"serin.dev/serin/e2e/sandbox"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "figures:", err)
		os.Exit(1)
	}
}

// settings are the flags.
type settings struct {
	only   []string
	kinds  []string
	runs   int
	scrape time.Duration
	tick   time.Duration
	idle   time.Duration

	inPlaceRuns int
	settle      time.Duration
}

// measure prints what it has found as Markdown.
type measure struct {
	name  string
	setup func(settings) shop.Setup // of the controller
	take  func(context.Context, *bench) (string, error)
}

// measures are all there is to measure, in the order of the output.
var measures = []measure{
	{"releases", ofBase, releases},
	{"tick", ofBase, ticks},
	{"idle", ofBase, idle},
	{"in-place", ofInPlace, inPlace},
	{"verification", ofBase, verification},
}

func ofBase(settings) shop.Setup { return shop.Setup{Deploy: "base"} }

func ofInPlace(c settings) shop.Setup {
	return shop.Setup{Deploy: "in-place", Config: fmt.Sprintf("inPlace: {settle: %s}\n", c.settle)}
}

func measureNames() string {
	var names []string
	for _, m := range measures {
		names = append(names, m.name)
	}
	return strings.Join(names, ",")
}

func parse(args []string, out io.Writer) (settings, error) {
	var c settings
	var only, releases string
	f := flag.NewFlagSet("figures", flag.ContinueOnError)
	f.SetOutput(out)
	f.StringVar(&only, "only", measureNames(), "comma-separated `names` of what is measured")
	f.StringVar(&releases, "releases", strings.Join(kindNames(), ","), "comma-separated `kinds` of releases")
	f.IntVar(&c.runs, "runs", 5, "releases of each kind, 1 to 100")
	f.DurationVar(&c.scrape, "scrape-interval", time.Second, "how often Prometheus scrapes the proxies, 1s to 1m")
	f.DurationVar(&c.tick, "tick-time", time.Minute, "how long requests per tick are counted, 10s to 1h")
	f.DurationVar(&c.idle, "idle-time", 10*time.Minute, "how long idle requests are counted, 10s to 2h")
	f.IntVar(&c.inPlaceRuns, "in-place-runs", 20, "promotions in place, and as many rollbacks, 1 to 100")
	f.DurationVar(&c.settle, "settle", 5*time.Second, "how long proxies may take to go by what was written, in place, 100ms to 1m")
	if err := f.Parse(args); err != nil {
		return c, err
	}
	err := c.check(only, releases, f.Args())
	return c, err
}

// check reads the lists, and tells all that is wrong.
func (c *settings) check(only, releases string, rest []string) error {
	c.only, c.kinds = strings.Split(only, ","), strings.Split(releases, ",")
	var errs []error
	for _, name := range c.kinds {
		if !slices.Contains(kindNames(), name) {
			errs = append(errs, fmt.Errorf("--releases: %q is none of %s", name, strings.Join(kindNames(), ", ")))
		}
	}
	for _, name := range c.only {
		if !known(name) {
			errs = append(errs, fmt.Errorf("--only: %q is none of %s", name, measureNames()))
		}
	}
	if len(rest) > 0 {
		errs = append(errs, fmt.Errorf("unexpected argument %q", rest[0]))
	}
	if c.runs < 1 || c.runs > 100 {
		errs = append(errs, fmt.Errorf("--runs is %d: want 1 to 100", c.runs))
	}
	if c.scrape < time.Second || c.scrape > time.Minute {
		errs = append(errs, fmt.Errorf("--scrape-interval is %s: want 1s to 1m", c.scrape))
	}
	if c.tick < 10*time.Second || c.tick > time.Hour {
		errs = append(errs, fmt.Errorf("--tick-time is %s: want 10s to 1h", c.tick))
	}
	if c.idle < 10*time.Second || c.idle > 2*time.Hour {
		errs = append(errs, fmt.Errorf("--idle-time is %s: want 10s to 2h", c.idle))
	}
	if c.inPlaceRuns < 1 || c.inPlaceRuns > 100 {
		errs = append(errs, fmt.Errorf("--in-place-runs is %d: want 1 to 100", c.inPlaceRuns))
	}
	if c.settle < 100*time.Millisecond || c.settle > time.Minute {
		errs = append(errs, fmt.Errorf("--settle is %s: want 100ms to 1m", c.settle))
	}
	return errors.Join(errs...)
}

func kindNames() []string {
	var names []string
	for _, k := range kinds {
		names = append(names, k.namespace)
	}
	return names
}

func known(name string) bool {
	return slices.ContainsFunc(measures, func(m measure) bool { return m.name == name })
}

// bench is what a measure is given: a sandbox with nothing but a controller.
type bench struct {
	*sandbox.Sandbox
	settings
	controller *sandbox.Controller
}

// run takes the measures: idling beside the others, for it takes long and needs
// nothing; the others one after the other, for they need the machine.
func run(ctx context.Context, args []string, out io.Writer) error {
	c, err := parse(args, out)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	texts, errs := make([]string, len(measures)), make([]error, len(measures))
	take := func(i int) {
		if texts[i], errs[i] = c.take(ctx, measures[i]); errs[i] != nil {
			errs[i] = fmt.Errorf("measure %s: %w", measures[i].name, errs[i])
			cancel(errs[i])
		}
	}
	var ordered []int
	var beside sync.WaitGroup
	for i, m := range measures {
		switch {
		case !slices.Contains(c.only, m.name):
		case m.name == "idle":
			beside.Go(func() { take(i) })
		default:
			ordered = append(ordered, i)
		}
	}
	for _, i := range ordered {
		take(i)
	}
	beside.Wait()
	_, err = io.WriteString(out, strings.Join(texts, ""))
	return errors.Join(errors.Join(errs...), err)
}

// take takes one measure, on a sandbox of its own.
func (c settings) take(ctx context.Context, m measure) (string, error) {
	s, err := sandbox.Start(ctx, sandbox.Options{ScrapeInterval: c.scrape, Progress: os.Stderr})
	if err != nil {
		return "", err
	}
	text, err := func() (string, error) {
		controller, err := shop.StartController(ctx, s, m.setup(c))
		if err != nil {
			return "", err
		}
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		go func() { cancel(gone(controller.Wait())) }()
		text, err := m.take(ctx, &bench{Sandbox: s, settings: c, controller: controller})
		// One that has ended before was not measured to the end.
		return text, errors.Join(err, controller.Stop())
	}()
	return text, errors.Join(err, s.Close())
}

// gone is why nothing can be measured any more when the controller has ended.
func gone(err error) error {
	if err == nil {
		return errors.New("the controller has ended")
	}
	return err
}

// say tells on standard error how far it is.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "figures: "+format+"\n", args...) }
