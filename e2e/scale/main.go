// Command scale measures the controller where there is very much to do: the
// real program with its own rights, on a real API server that holds ten thousand
// Deployments with a hundred thousand pods, and a simulated Prometheus, all on
// one machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"

	"serin.dev/serin/e2e/build"
	"serin.dev/serin/e2e/scale/town"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

// settings are the flags.
type settings struct {
	deployments, namespaces, active, breaches int

	scrape       time.Duration
	rest, steady time.Duration
	errors       float64
	seed         uint64
	json         bool
	program      string
	env          []string
}

func parse(args []string, out io.Writer) (settings, error) {
	var c settings
	var env string
	f := flag.NewFlagSet("scale", flag.ContinueOnError)
	f.SetOutput(out)
	f.IntVar(&c.deployments, "deployments", 10_000, "opted-in Deployments, of 10 pods each, 10 to 20000")
	f.IntVar(&c.namespaces, "namespaces", 100, "in how many namespaces, 1 to 1000")
	f.IntVar(&c.active, "active", 1000, "rollouts at once")
	f.IntVar(&c.breaches, "breaches", 200, "canaries that break at different times, fewer than are active")
	f.DurationVar(&c.scrape, "scrape-interval", 15*time.Second, "how often the simulated Prometheus scrapes, 1s to 1m")
	f.DurationVar(&c.rest, "rest", time.Minute, "how long rest is measured, 10s to 1h")
	f.DurationVar(&c.steady, "steady", time.Minute, "how long active rollouts are measured, 10s to 1h")
	f.Float64Var(&c.errors, "errors", 0.001, "share of requests that fail anyway, 0 to 0.005")
	f.Uint64Var(&c.seed, "seed", 1, "of the times at which canaries break")
	f.BoolVar(&c.json, "json", false, "print JSON in place of a table")
	f.StringVar(&c.program, "program", "", "another `program` to measure in place of the controller")
	f.StringVar(&env, "env", "", "comma-separated `variables` for the controller, beside those of deploy/base")
	if err := f.Parse(args); err != nil {
		return c, err
	}
	if env != "" {
		c.env = strings.Split(env, ",")
	}
	return c, c.check(f.Args())
}

// check tells all that is wrong.
func (c settings) check(rest []string) error {
	var errs []error
	wrong := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	wrong(len(rest) > 0, "unexpected arguments %q", rest)
	wrong(c.deployments < 10 || c.deployments > 20_000, "--deployments is %d: want 10 to 20000", c.deployments)
	wrong(c.namespaces < 1 || c.namespaces > 1000, "--namespaces is %d: want 1 to 1000", c.namespaces)
	wrong(c.breaches < 1 || c.breaches >= c.active, "--breaches is %d: want 1 up to fewer than are active, %d", c.breaches, c.active)
	wrong(c.active+c.breaches > c.deployments, "--active and --breaches are %d together: there are only %d Deployments", c.active+c.breaches, c.deployments)
	wrong(c.scrape < time.Second || c.scrape > time.Minute, "--scrape-interval is %s: want 1s to 1m", c.scrape)
	wrong(c.rest < 10*time.Second || c.rest > time.Hour, "--rest is %s: want 10s to 1h", c.rest)
	wrong(c.steady < 10*time.Second || c.steady > time.Hour, "--steady is %s: want 10s to 1h", c.steady)
	wrong(c.errors < 0 || c.errors > 0.005, "--errors is %v: want 0 to 0.005", c.errors)
	return errors.Join(errs...)
}

// bench is everything that is running.
type bench struct {
	*plane
	settings
	root, program, prometheus string
	units                     []unit
	maker                     *maker
	town                      *town.Town
	trees                     dynamic.Interface
	pipe                      *pipe
	serin                     *serin
	random                    *rand.Rand
	report                    report
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	c, err := parse(args, out)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	b, err := prepare(ctx, c)
	if b != nil {
		defer func() { b.close(err != nil) }()
	}
	if err != nil {
		return err
	}
	if err := b.measure(ctx); err != nil {
		return err
	}
	if refused := b.town.Refused(); len(refused) > 0 {
		return fmt.Errorf("the simulated Prometheus did not understand %d queries, such as: %s", len(refused), refused[0])
	}
	if err := b.report.write(out, c.json); err != nil {
		return err
	}
	if missed := b.report.missed(); len(missed) > 0 {
		return fmt.Errorf("goals missed: %s", strings.Join(missed, "; "))
	}
	return nil
}

// prepare builds and starts everything but the controller.
func prepare(ctx context.Context, c settings) (*bench, error) {
	paths, err := build.All(ctx, os.Stderr)
	if err != nil {
		return nil, err
	}
	root, err := build.Root()
	if err != nil {
		return nil, err
	}
	program := c.program
	if program == "" {
		if program, err = build.Controller(ctx, os.Stderr); err != nil {
			return nil, err
		}
	}
	b := &bench{
		settings: c, root: root, program: program, units: units(c.deployments, c.namespaces), maker: newMaker("5%/10h, 100%"),
		town: town.New(c.scrape), random: rand.New(rand.NewPCG(c.seed, 0)),
	}
	b.report.Setting = fmt.Sprintf("%d Deployments with %d pods in %d namespaces, %d rollouts at once, scrapes of %s",
		c.deployments, c.deployments*podsPerTrack, c.namespaces, c.active, c.scrape)
	if b.plane, err = newPlane(ctx, paths); err != nil {
		return b, err
	}
	if err := b.fill(ctx); err != nil {
		return b, err
	}
	say("etcd is filled; the API server starts")
	if err := b.startAPIServer(ctx); err != nil {
		return b, err
	}
	if err := b.install(ctx, root); err != nil {
		return b, err
	}
	err = b.connect(ctx)
	return b, err
}

// fill puts everything at rest into etcd, and its traffic into the town.
func (b *bench) fill(ctx context.Context) error {
	records := make(chan record, 1000)
	go func() {
		defer close(records)
		give := func(r record) { records <- r }
		for n := range b.namespaces {
			give(b.maker.space(fmt.Sprintf("team-%03d", n)))
		}
		for _, u := range b.units {
			b.maker.around(u, give)
			b.maker.version(u, "blue", b.maker.born, give)
			b.town.Add(town.Traffic{
				Namespace: u.namespace, Workload: u.stable(), Pods: podNames(u, "blue"), Rate: 9, Errors: b.errors, Since: b.maker.born.Add(-time.Hour),
			})
		}
	}()
	return b.put(ctx, "at rest", many, records)
}

// connect makes the clients, the way of the controller to the API server, and
// Prometheus.
func (b *bench) connect(ctx context.Context) error {
	config, err := clientcmd.BuildConfigFromFlags("", b.file("admin.kubeconfig"))
	if err != nil {
		return fmt.Errorf("read the kubeconfig: %w", err)
	}
	config.QPS = -1
	if b.trees, err = dynamic.NewForConfig(config); err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	if b.pipe, err = newPipe(ctx, b.address); err != nil {
		return err
	}
	if err := b.kubeconfig("serin.kubeconfig", b.pipe.address, controllerToken); err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen as Prometheus: %w", err)
	}
	b.prometheus = "http://" + l.Addr().String()
	server := &http.Server{Handler: b.town, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	go func() { _ = server.Serve(l) }() // it ends with the context
	return nil
}

func (b *bench) close(failed bool) {
	if b.serin != nil {
		b.serin.kill()
	}
	if b.plane != nil {
		b.plane.close(failed)
	}
}

// say tells on standard error how far it is.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "scale: "+time.Now().Format("15:04:05")+" "+format+"\n", args...)
}
