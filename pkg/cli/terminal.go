package cli

import (
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"

	"serin.dev/serin/pkg/explain"
)

// widthElsewhere is the width where the output is no terminal.
const widthElsewhere = 100

// styleOf is what the output can show. Colours are only for a terminal, and for
// nobody who asked for none (NO_COLOR), unless they are forced (CLICOLOR_FORCE); where the locale isn't known to be UTF-8
// the terminal gets ASCII.
func styleOf(out io.Writer, plain bool, getenv func(string) string) explain.Style {
	s := explain.Style{Width: widthElsewhere, Plain: plain, Zone: time.Local}
	if columns, err := strconv.Atoi(getenv("COLUMNS")); err == nil && columns > 0 {
		s.Width = columns
	}
	file, is := out.(*os.File)
	if !is || !term.IsTerminal(int(file.Fd())) {
		s.Colours = !plain && getenv("CLICOLOR_FORCE") != "" && getenv("NO_COLOR") == ""
		return s
	}
	if width, _, err := term.GetSize(int(file.Fd())); err == nil && width > 0 {
		s.Width = width
	}
	dumb := getenv("TERM") == "dumb"
	s.Colours = getenv("NO_COLOR") == "" && !dumb
	s.Plain = plain || dumb || !unicodeIn(getenv)
	return s
}

// unicodeIn tells whether the locale is UTF-8, by the variable that wins.
func unicodeIn(getenv func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale := strings.ToUpper(getenv(name)); locale != "" {
			return strings.Contains(locale, "UTF-8") || strings.Contains(locale, "UTF8")
		}
	}
	return false
}
