package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"serin.dev/serin/e2e/demo/shop"
	"serin.dev/serin/e2e/sandbox"
)

// How often the numbers are shown: redrawn in place on a terminal, as one more
// line elsewhere.
const (
	liveEvery  = 500 * time.Millisecond
	plainEvery = 4 * time.Second
)

// What is laid out is at least and at most this wide, whatever the terminal.
const (
	minWidth = 66
	maxWidth = 110
)

// screen is where the story is shown. What happens is written line by line; on
// a terminal a panel with the live numbers stays below the last line.
type screen struct {
	out   io.Writer
	live  bool
	paint paint
	width func() int // 0: lines are not broken
	start time.Time

	mu       sync.Mutex
	chapters int
	panel    []string // as drawn at the moment
}

func newScreen(out *os.File, plain bool) *screen {
	fd := int(out.Fd())
	s := &screen{out: out, start: time.Now(), width: func() int { return 0 }}
	if plain || !term.IsTerminal(fd) || os.Getenv("TERM") == "dumb" {
		return s
	}
	s.live = true
	s.paint = paint{colours: os.Getenv("NO_COLOR") == ""}
	s.width = func() int {
		w, _, err := term.GetSize(fd)
		if err != nil {
			w = minWidth
		}
		// The last column stays empty: some terminals break the line there.
		return min(max(w-1, minWidth), maxWidth)
	}
	return s
}

func (s *screen) opening(rate float64) {
	lines := []string{s.paint.bold("Canary releases by Serin")}
	lines = append(lines, wrap(fmt.Sprintf("A real API server, istiod, Envoy and Prometheus run on this machine, in a network of their own. "+
		"Users send %g requests per second. The story takes about three minutes; what isn't built yet is built first.", rate), s.width())...)
	s.write(append(lines, ""))
}

// chapter begins a part of the story.
func (s *screen) chapter(title string, text ...string) {
	s.mu.Lock()
	s.chapters++
	n := s.chapters
	s.mu.Unlock()
	lines := []string{"", s.paint.bold(fmt.Sprintf("%d  %s", n, title))}
	for _, t := range text {
		lines = append(lines, indented(t, "   ", s.width())...)
	}
	s.write(lines)
}

// happened tells what the demo itself has seen.
func (s *screen) happened(word, sentence string) {
	s.write(s.told(word, s.paint.accent, sentence))
}

// decision tells an Event of the controller.
func (s *screen) decision(d shop.Decision) {
	colour := s.paint.bold
	switch {
	case d.Warning:
		colour = s.paint.bad
	case d.Reason == "Promoted":
		colour = s.paint.good
	}
	s.write(s.told(d.Reason, colour, d.Sentence))
}

// told is a line with the time, a word, and a sentence that may need more lines.
func (s *screen) told(word string, colour func(string) string, sentence string) []string {
	const indent = "         "
	lines := indented(word+"  "+sentence, indent, s.width())
	lines[0] = strings.Replace(lines[0], indent+word, fmt.Sprintf("%7s  ", s.elapsed())+colour(word), 1)
	return lines
}

func (s *screen) elapsed() string {
	d := time.Since(s.start).Round(time.Second)
	return fmt.Sprintf("%d:%02d", int(d.Minutes()), int(d.Seconds())%60)
}

// table shows how the releases went.
func (s *screen) table(outcomes []outcome) {
	s.write(append([]string{"", s.paint.bold("What was decided, and what users saw of it")}, table(outcomes, s.width(), s.paint)...))
	s.write([]string{"", fmt.Sprintf("Told in %s.", s.elapsed())})
}

// lookAround says what can be done with what is left running.
func (s *screen) lookAround(b *sandbox.Sandbox, c *sandbox.Controller) {
	s.write(strings.Split(fmt.Sprintf(`
Everything is still running, and reachable from this machine only. To look around:

  alias kubectl=%[1]s
  kubectl -n shop get virtualservice web -o yaml
  curl -H 'Host: %[2]s' %[3]s
  curl -H 'Host: %[2]s' -H '%[4]s: %[5]s' %[3]s

A release of your own begins with another image, and its tag says how it behaves:

  kubectl -n shop set image deployment/web web=%[6]s
  kubectl -n shop rollout status deployment/web
  kubectl -n shop get events --watch
  kubectl -n shop annotate deployment/web serin.dev/command=abort

The two Deployments are in the namespace pair.

Prometheus    %[7]s
controller    %[8]s/metrics
logs          %[9]s

Ctrl-C ends it all.`,
		b.KubectlPath(), shop.Shop{Namespace: "shop"}.Host(), b.GatewayURL(), qaHeader, qaValue, shop.Image("v4_slow-rate-0.1_slow-latency-3s"),
		b.PrometheusURL(), c.MetricsURL, b.LogDir()), "\n"))
}

// follow shows the numbers until the function it returns is called.
func (s *screen) follow(ctx context.Context, frames func(context.Context) frame) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	every := plainEvery
	if s.live {
		every = liveEvery
		fmt.Fprint(s.out, hideCursor)
	}
	go func() {
		defer close(ended)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				s.show(frames(ctx))
			}
		}
	}()
	return func() {
		cancel()
		<-ended
		s.clear()
	}
}

// show draws the numbers, in the place of those before.
func (s *screen) show(f frame) {
	if len(f.rows) == 0 {
		return
	}
	if !s.live {
		s.write([]string{fmt.Sprintf("%7s  %s", s.elapsed(), f.line())})
		return
	}
	lines := f.panel(s.width(), s.elapsed(), s.paint)
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprint(s.out, erase(s.panel)+strings.Join(lines, "\n")+"\n")
	s.panel = lines
}

// write writes lines above the panel.
func (s *screen) write(lines []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := erase(s.panel) + strings.Join(lines, "\n") + "\n"
	if len(s.panel) > 0 {
		text += strings.Join(s.panel, "\n") + "\n"
	}
	fmt.Fprint(s.out, text)
}

// clear takes the panel away.
func (s *screen) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live {
		fmt.Fprint(s.out, erase(s.panel)+showCursor)
	}
	s.panel = nil
}
