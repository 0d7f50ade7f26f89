// Command sandbox starts the sandbox, says how to use it, and keeps it running
// until Ctrl-C.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"serin.dev/serin/e2e/load"
	"serin.dev/serin/e2e/sandbox"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "sandbox:", err)
		os.Exit(1)
	}
}

// settings are the flags.
type settings struct {
	options sandbox.Options
	rate    float64
	demoApp bool
	version bool
}

func parse(args []string, out io.Writer) (settings, error) {
	var c settings
	f := flag.NewFlagSet("sandbox", flag.ContinueOnError)
	f.SetOutput(out)
	f.DurationVar(&c.options.ScrapeInterval, "scrape-interval", time.Second, "how often Prometheus scrapes the proxies")
	f.DurationVar(&c.options.Retention, "prometheus-retention", 24*time.Hour, "how long Prometheus keeps samples")
	f.StringVar(&c.options.LogDir, "log-dir", "", "folder for the logs, a file for each process (default a temporary one)")
	f.Float64Var(&c.rate, "rate", 0, "requests per second sent to shop.example.com through the gateway; 0 sends none")
	f.BoolVar(&c.demoApp, "demo-app", false, "deploy an application: Service web in namespace shop, with the Deployments web-v1 and web-v2")
	f.BoolVar(&c.version, "version", false, "print the version and exit")
	if err := f.Parse(args); err != nil {
		return c, err
	}
	if f.NArg() > 0 {
		return c, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	return c, nil
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	c, err := parse(args, out)
	if err != nil {
		return err
	}
	if c.version {
		fmt.Fprintln(out, version())
		return nil
	}
	c.options.Progress = out
	s, err := sandbox.Start(ctx, c.options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if c.demoApp {
		if err := s.Apply(ctx, sandbox.DemoApp); err != nil {
			return err
		}
	}
	fmt.Fprint(out, usage(s, c.demoApp))
	if c.rate > 0 {
		return keepLoad(ctx, s, c.rate, out)
	}
	return wait(ctx, s)
}

// wait waits for Ctrl-C, or for the sandbox to end by itself.
func wait(ctx context.Context, s *sandbox.Sandbox) error {
	select {
	case <-ctx.Done():
		return nil
	case <-s.Done():
		return ended(s)
	}
}

func ended(s *sandbox.Sandbox) error {
	return errors.New("the sandbox has ended by itself; see " + s.LogDir())
}

// tellEvery is how often the load's answers are told.
const tellEvery = 10 * time.Second

// keepLoad sends requests until the end and tells what came back.
func keepLoad(ctx context.Context, s *sandbox.Sandbox, rate float64, out io.Writer) error {
	g, err := load.Start(ctx, load.Options{URL: s.GatewayURL(), Host: "shop.example.com", Rate: rate, Duration: load.MaxDuration})
	if err != nil {
		return err
	}
	defer g.Stop()
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.Done():
			return ended(s)
		case now := <-tick.C:
			fmt.Fprintln(out, answers(g.Summary(now.Add(-tellEvery), now)))
		}
	}
}

// answers is what users saw in one line.
func answers(s load.Summary) string {
	text := fmt.Sprintf("%d requests, %d bad, P99 %s, answered by:", s.Requests, s.Bad, s.P99.Round(time.Millisecond))
	for v, c := range s.ByVersion {
		if v == "" {
			v = "nobody"
		}
		text += fmt.Sprintf(" %s %d", v, c.Requests)
	}
	return text
}

// usage says how to use the sandbox.
func usage(s *sandbox.Sandbox, demoApp bool) string {
	text := fmt.Sprintf(`
The sandbox is running. Everything is reachable from this machine only.

  export KUBECONFIG=%s
  kubectl          %s
  ingress gateway  %s   (VirtualServices name it %s)
  mesh client      %s   (for VirtualServices of the mesh: Host is the Service, in namespace shop)
  Prometheus       %s
  logs             %s

`, s.Kubeconfig(), s.KubectlPath(), s.GatewayURL(), sandbox.Gateway, s.MeshURL(), s.PrometheusURL(), s.LogDir())
	if demoApp {
		text += fmt.Sprintf("  curl -H 'Host: shop.example.com' %s\n  curl -H 'Host: web' %s\n\n", s.GatewayURL(), s.MeshURL())
	}
	return text + "Ctrl-C ends it.\n"
}

func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "sandbox (unknown version)"
	}
	return "sandbox " + info.Main.Version + " " + info.GoVersion
}
