// Command demo tells what the controller does, live, on the real stack: one
// Deployment gets a good image, which is opened to testers and then to
// everybody, and a bad one, which is snapped back; then two Deployments that
// take turns do the same.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"serin.dev/serin/e2e/build"
	"serin.dev/serin/e2e/demo/shop"
	"serin.dev/serin/e2e/sandbox"
)

// interrupted is the exit code of a program that was ended by Ctrl-C.
const interrupted = 130

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	ended := ctx.Err() != nil
	stop()
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case ended:
		fmt.Fprintln(os.Stderr, "demo: interrupted; everything is stopped")
		os.Exit(interrupted)
	default:
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// settings are the flags.
type settings struct {
	plain, keep bool
	rate        float64
}

func parse(args []string, out io.Writer) (settings, error) {
	var c settings
	f := flag.NewFlagSet("demo", flag.ContinueOnError)
	f.SetOutput(out)
	f.BoolVar(&c.plain, "plain", false, "plain lines, as where the output is no terminal")
	f.BoolVar(&c.keep, "keep", false, "leave everything running at the end, until Ctrl-C, and say how to look around")
	f.Float64Var(&c.rate, "rate", 200, "requests per second that users send, 50 to 500")
	if err := f.Parse(args); err != nil {
		return c, err
	}
	if f.NArg() > 0 {
		return c, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if c.rate < 50 || c.rate > 500 {
		return c, fmt.Errorf("--rate is %g: want 50 to 500 requests per second", c.rate)
	}
	return c, nil
}

// run tells the story. The logs are kept when it goes another way.
func run(ctx context.Context, args []string, out *os.File) (err error) {
	c, err := parse(args, out)
	if err != nil {
		return err
	}
	logs, err := logDir()
	if err != nil {
		return err
	}
	defer func() {
		if err == nil || ctx.Err() != nil {
			err = errors.Join(err, os.RemoveAll(logs))
		} else {
			err = fmt.Errorf("%w\nlogs are in %s", err, logs)
		}
	}()
	screen := newScreen(out, c.plain)
	screen.opening(c.rate)
	if _, err := build.Controller(ctx, out); err != nil {
		return err
	}
	s, err := sandbox.Start(ctx, sandbox.Options{LogDir: logs, Progress: out})
	if err != nil {
		return err
	}
	return errors.Join(perform(ctx, s, screen, c), s.Close())
}

func logDir() (string, error) {
	cache, err := build.Cache()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("make the cache folder: %w", err)
	}
	dir, err := os.MkdirTemp(cache, "demo-logs-")
	if err != nil {
		return "", fmt.Errorf("make a folder for the logs: %w", err)
	}
	return filepath.Abs(dir)
}

// perform starts the controller, the users and the display, and lets the story
// happen.
func perform(ctx context.Context, s *sandbox.Sandbox, screen *screen, c settings) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-s.Done():
			cancel(errors.New("the sandbox has ended by itself"))
		case <-ctx.Done():
		}
	}()
	controller, err := shop.StartController(ctx, s, shop.Setup{Deploy: "in-place", Config: singleConfig})
	if err != nil {
		return err
	}
	story, metrics := newStory(s, screen, c.rate), newJudge(controller.MetricsURL)
	stopDisplay := screen.follow(ctx, func(ctx context.Context) frame { return story.frame(ctx, metrics) })
	err = story.tell(ctx)
	stopDisplay()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	screen.table(story.outcomes)
	if c.keep {
		screen.lookAround(s, controller)
		<-ctx.Done()
	}
	return err
}
