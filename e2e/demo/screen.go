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

// Narrower or wider than this nothing is laid out, whatever the terminal.
const (
	minWidth   = 60
	maxWidth   = 110
	plainWidth = 100
)

// screen is where the story is shown. What happens is written line by line; on
// a terminal a panel with the live numbers stays below the last line.
type screen struct {
	out   io.Writer
	live  bool
	width func() int
	paint paint

	mu      sync.Mutex
	start   time.Time
	chapter_ int
	panel   []string // as drawn now
	judged  string
}

func newScreen(out *os.File, plain bool) *screen {
	fd := int(out.Fd())
	live := !plain && term.IsTerminal(fd) && os.Getenv("TERM") != "dumb"
	s := &screen{out: out, live: live, start: time.Now(), width: func() int { return plainWidth }}
	if live {
		s.paint = paint{colours: os.Getenv("NO_COLOR") == ""}
		s.width = func() int {
			w, _, err := term.GetSize(fd)
			if err != nil {
				w = minWidth
			}
			return min(max(w, minWidth), maxWidth)
		}
	}
	return s
}
