package safetext

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestWhatOthersWroteIsShownAsItIs(t *testing.T) {
	for name, c := range map[string]struct{ text, line string }{
		"plain words stay":                          {`web-v2: "5%" \ <b>`, `web-v2: "5%" \ <b>`},
		"letters of any script stay":                {"größer 漢字 é", "größer 漢字 é"},
		"a colour is shown, not painted":            {"\x1b[31mred\x1b[0m", `\x1b[31mred\x1b[0m`},
		"the terminal's title is not set":           {"\x1b]0;owned\a", `\x1b]0;owned\a`},
		"an 8-bit escape sequence is shown":         {"\u009b31m", `\u009b31m`},
		"a line can't be forged":                    {"held\nINFO promoted", `held\nINFO promoted`},
		"a line can't be overwritten":               {"bad\rgood", `bad\rgood`},
		"a character can't be rubbed out":           {"bad\b\b\bgood\x7f", `bad\b\b\bgood\x7f`},
		"the direction of writing can't be turned":  {"a\u202egpj.exe", `a\u202egpj.exe`},
		"an isolate is no better":                   {"a\u2066b\u2069", `a\u2066b\u2069`},
		"nothing is invisible":                      {"we\u200bb\ufeff\u00ad", `we\u200bb\ufeff\u00ad`},
		"a tag character is not invisible either":   {"a\U000e0041", `a\U000e0041`},
		"a space that is none is told from a space": {"a\u00a0b\u3000c", `a\u00a0b\u3000c`},
		"a line separator is none":                  {"a\u2028b", `a\u2028b`},
		"NUL ends nothing":                          {"a\x00b", `a\x00b`},
		"what is no text is shown byte by byte":     {"a\xff\xfe", `a\xff\xfe`},
		"the character for it stays":                {"a\uFFFD", "a\uFFFD"},
		"nothing is nothing":                        {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Line(c.text); got != c.line {
				t.Errorf("got %s, want %s", got, c.line)
			}
		})
	}
	if got := ASCII("w\u0435b \x1bé"); got != `w\u0435b \x1b\u00e9` {
		t.Errorf("%q", got)
	}
	if got := Text("a\n\tb\r\x1b"); got != "a\n\tb"+`\r\x1b` {
		t.Errorf("%q", got)
	}
}

func TestJSONIsEscapedAndReadsBackTheSame(t *testing.T) {
	const text = "a\u009bb\u202ec\x7fd\U000e0041e漢\x1b\n"
	var out bytes.Buffer
	if err := json.NewEncoder(JSON(&out)).Encode(text); err != nil {
		t.Fatal(err)
	}
	if want := `"a\u009bb\u202ec\u007fd\udb40\udc41e漢\u001b\n"` + "\n"; out.String() != want {
		t.Errorf("got %s want %s", out.String(), want)
	}
	var back string
	if err := json.Unmarshal(out.Bytes(), &back); err != nil || back != text {
		t.Errorf("%q %v", back, err)
	}
	if n, err := JSON(broken{}).Write([]byte("x")); n != 0 || err == nil {
		t.Error("a write that failed is told done")
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("closed") }

func FuzzLine(f *testing.F) {
	f.Add("\x1b[2J\u202e\xff漢\n")
	f.Fuzz(func(t *testing.T, text string) {
		line := Line(text)
		if !utf8.ValidString(line) || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q is not printable", line)
		}
		if Line(line) != line {
			t.Errorf("%q is escaped twice", line)
		}
		var out bytes.Buffer
		if err := json.NewEncoder(JSON(&out)).Encode(text); err != nil {
			t.Fatal(err)
		}
		var back string
		want := strings.ToValidUTF8(text, "")
		if err := json.Unmarshal(out.Bytes(), &back); err != nil || strings.ReplaceAll(back, "\uFFFD", "") != strings.ReplaceAll(want, "\uFFFD", "") {
			t.Errorf("%q reads back as %q: %v", text, back, err)
		}
		if strings.ContainsFunc(out.String(), func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' }) {
			t.Errorf("JSON is not printable: %q", out.String())
		}
	})
}
