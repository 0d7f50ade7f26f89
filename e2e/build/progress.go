package build

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// How often progress is told: on a terminal one line is rewritten, elsewhere
// each is a line of its own.
const (
	terminalEvery = 250 * time.Millisecond
	plainEvery    = 10 * time.Second
)

// progress tells how far one build is. Nothing is said about builds that end
// before the first report is due.
type progress struct {
	out      io.Writer
	terminal bool
	quit     chan struct{}
	ended    chan struct{}

	mu    sync.Mutex
	state state
	told  bool
}

// state is what a report is made from.
type state struct {
	what       string
	start      time.Time // of the build; of the compiling, once that began
	total      int       // packages to compile; 0 if unknown
	done       int
	downloaded int
	now        string // the package or module at hand
}

func newProgress(out io.Writer, what string) *progress {
	p := &progress{
		out: out, terminal: isTerminal(out), quit: make(chan struct{}), ended: make(chan struct{}),
		state: state{what: what, start: time.Now()},
	}
	go p.tell()
	return p
}

// begin tells that n packages are to be compiled from now on.
func (p *progress) begin(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.total, p.state.start = n, time.Now()
}

// line takes in a line of the go command's: a package being compiled, or a
// module being downloaded.
func (p *progress) line(s string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if module, ok := strings.CutPrefix(s, "go: downloading "); ok {
		p.state.downloaded++
		p.state.now = module
		return
	}
	if p.state.total > 0 && !strings.ContainsAny(s, " :") {
		p.state.done++
		p.state.now = s
	}
}

// stop ends the telling.
func (p *progress) stop() {
	close(p.quit)
	<-p.ended
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.told {
		return
	}
	took := time.Since(p.state.start).Round(time.Second)
	if p.terminal {
		fmt.Fprint(p.out, "\r\x1b[K")
		if took < plainEvery/2 {
			return // nothing but a look whether there is anything to do
		}
	}
	fmt.Fprintf(p.out, "%s: built in %s\n", p.state.what, took)
}

func (p *progress) tell() {
	defer close(p.ended)
	every := plainEvery
	if p.terminal {
		every = terminalEvery
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-p.quit:
			return
		case now := <-ticker.C:
			p.report(now)
		}
	}
}

func (p *progress) report(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told = true
	if p.terminal {
		fmt.Fprintf(p.out, "\r\x1b[K%.*s", terminalWidth, p.state.report(now))
		return
	}
	fmt.Fprintln(p.out, p.state.report(now))
}

// terminalWidth is what fits on one line of any terminal; a longer line could
// not be rewritten.
const terminalWidth = 79

// lastPercent is from when on the remaining time is no longer estimated: what
// is left is mostly linking, which no line is said about.
const lastPercent = 96

// report is the state in one line. The remaining time assumes that packages
// take the same time each, which holds within 15% all along the way.
func (s state) report(now time.Time) string {
	elapsed := now.Sub(s.start).Round(time.Second)
	if s.total == 0 {
		if s.downloaded > 0 {
			return fmt.Sprintf("%s: %s, downloading module %d, %s", s.what, elapsed, s.downloaded, s.now)
		}
		return fmt.Sprintf("%s: %s, looking what there is to build", s.what, elapsed)
	}
	done := min(s.done, s.total)
	text := fmt.Sprintf("%s: %d%%, %d/%d packages, %s", s.what, 100*done/s.total, done, s.total, elapsed)
	switch {
	case done*100 >= s.total*lastPercent:
		text += ", linking soon"
	case done > 0 && elapsed >= 5*time.Second:
		left := elapsed * time.Duration(s.total-done) / time.Duration(done)
		text += fmt.Sprintf(", about %s left", left.Round(5*time.Second))
	}
	if s.now != "" && done < s.total {
		text += ", " + s.now
	}
	return text
}

// isTerminal tells whether out is a terminal, where a line can be rewritten.
func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && info.Name() != "null"
}
