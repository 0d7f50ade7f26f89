package canary

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// StatePrefix followed by a Service's name is the annotation of a
// VirtualService that holds the Service's State.
const StatePrefix = "serin.dev/state."

// MaxMessageBytes bounds State.Message as it is stored; what is longer is cut
// on a rune's border.
const MaxMessageBytes = 256

// ErrNewerState tells that a state was written by a newer version of Serin.
// Nothing may be moved on it, nor may it be overwritten.
var ErrNewerState = errors.New("the state was written by a newer version of Serin: update Serin")

// EncodeState is the state as it is stored: JSON of at most MaxStateBytes, with
// its version and times in UTC. It fails for a state that
// DecodeState would refuse and for one that is too large. Where not everything
// fits, the oldest legs are left out first: a replay then begins later. After
// them goes what of the message is beyond a line, at rest the digests (then no
// promotion returns home by itself), and the oldest approvals.
//
// A release under way has to leave room for what comes: whatever can begin must
// be able to go back, whatever happens to it in between.
func EncodeState(s State) (string, error) {
	s.Version = s.version()
	s.Message = shorten(s.Message, MaxMessageBytes)
	for _, t := range []*time.Time{&s.Started, &s.Since, &s.At} {
		*t = t.UTC()
	}
	if err := s.check(); err != nil {
		return "", fmt.Errorf("encode state: %w", err)
	}
	legs, most := s.Legs, MaxStateBytes-reserve(s.Phase)
	s.Legs = nil
	b, err := compact(s)
	if err == nil && len(b) > most {
		s.Message = line(s.Message)
		b, err = compact(s)
	}
	if err == nil && len(b) > most && !s.Phase.Active() {
		s.Digests, s.Unverified = nil, line(s.Unverified)
		b, err = compact(s)
	}
	for err == nil && len(b) > most && len(s.Approvals) > 0 {
		s.Approvals = s.Approvals[1:]
		b, err = compact(s)
	}
	switch {
	case err != nil:
		return "", fmt.Errorf("encode state: %w", err)
	case len(b) > most:
		return "", fmt.Errorf("encode state: %d bytes, at most %d fit while the release is %s: give the release fewer steps, metrics, gates or values of its header, or shorter smoke checks and matchers of alerts, or the VirtualService fewer routes to the Service",
			len(b), most, s.Phase)
	}
	for s.Legs = legs; len(s.Legs) > 0; s.Legs = s.Legs[1:] {
		if all, err := compact(s); err != nil {
			return "", fmt.Errorf("encode state: %w", err)
		} else if len(all) <= MaxStateBytes {
			return all, nil
		}
	}
	return b, nil
}

// version is the oldest version of State that says all of this one.
func (s State) version() int {
	switch {
	case s.asksOutside():
		return StateVersion
	case s.InPlace:
		return inPlaceVersion
	}
	return pairVersion
}

// asksOutside tells that a state says what only came with version 3.
func (s State) asksOutside() bool {
	spec := s.Spec
	return s.Ordered || s.HandledOn != "" || s.Beside != "" || len(s.Approvals) > 0 || s.Base != (Base{}) || s.Unverified != "" || len(spec.Approval) > 0 || len(spec.Gates) > 0 ||
		spec.Smoke != "" || spec.Alerts != "" || spec.Tags != "" || spec.Capacity != 0 || spec.MaxRestarts != 0 || spec.Sticky != "" ||
		slices.ContainsFunc(spec.Steps, func(step Step) bool { return step.Mirror > 0 })
}

// room is for what a state gains from one stage of a release to the next: the id
// of a command, reasons, counts, and fractions of seconds. Legs give way to it.
const room = 480

// reserve is the room that a state has to leave, in bytes: before the first user
// for all that comes, under way for the way back, which needs no more of it.
func reserve(p Phase) int {
	switch {
	case p == Testing:
		return 2 * room
	case p.Active() && p != RollingBack:
		return room
	}
	return 0
}

// line is the beginning of a message, without what JSON spells long.
func line(message string) string {
	const most = 64
	plain := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '"' || r == '\\' || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, message)
	return shorten(plain, most)
}

// compact is JSON that spells <, > and & as they are: nobody puts it into HTML.
func compact(s State) (string, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(s)
	return strings.TrimSuffix(b.String(), "\n"), err
}

// DecodeState reads what EncodeState made. It is strict: an unknown field, a
// value out of range or anything behind the JSON is an error; for a state of a
// newer version the error is ErrNewerState, whatever else it holds. The same text
// is read once, as long as it is remembered; what is returned shares nothing.
func DecodeState(text string) (State, error) {
	if s, known := read.get(text); known {
		return s, nil
	}
	s, err := decodeState(text)
	if err == nil {
		read.put(text, s)
	}
	return s, err
}

func decodeState(text string) (State, error) {
	var head struct {
		Version int `json:"v"`
	}
	if err := json.Unmarshal([]byte(text), &head); err != nil { // also refuses anything behind the object
		return State{}, fmt.Errorf("decode state: %w", err)
	}
	if head.Version > StateVersion {
		return State{}, fmt.Errorf("decode state: version %d: %w", head.Version, ErrNewerState)
	}
	if len(text) > MaxStateBytes {
		return State{}, fmt.Errorf("decode state: %d bytes, at most %d are allowed", len(text), MaxStateBytes)
	}
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.DisallowUnknownFields()
	var s State
	if err := d.Decode(&s); err != nil {
		return State{}, fmt.Errorf("decode state: %w", err)
	}
	if err := s.check(); err != nil {
		return State{}, fmt.Errorf("decode state: %w", err)
	}
	return s, nil
}

var storedPhases = []Phase{Idle, Testing, Progressing, Paused, Inconclusive, Promoting, Finishing, Succeeded, RollingBack, RolledBack}

// check finds what no build of this version writes.
func (s State) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if s.Version != s.version() {
		bad("v is %d, must be %d", s.Version, s.version())
	}
	if !slices.Contains(storedPhases, s.Phase) {
		bad("phase %q is none that is stored", s.Phase)
	}
	if s.Weight < 0 || s.Weight > 100 {
		bad("weight is %d, must be 0 to 100", s.Weight)
	}
	if s.Step < 0 || s.Step > len(s.Spec.Steps) {
		bad("step is %d of %d", s.Step, len(s.Spec.Steps))
	}
	if s.Step == 0 && (s.Phase == Progressing || s.Phase == Inconclusive) {
		bad("step is 0 while the release is %s", s.Phase)
	}
	if s.Sequence < 0 {
		bad("seq is %d, must be 0 or more", s.Sequence)
	}
	if s.Phase.Active() && (s.Canary.Subset == "" || s.Stable.Subset == "" || s.Canary.Subset == s.Stable.Subset) {
		bad("canary's subset is %q and stable's %q: two different ones are needed", s.Canary.Subset, s.Stable.Subset)
	}
	if err := s.checkBounds(); err != nil {
		errs = append(errs, err)
	}
	if len(s.Legs) > MaxLegs {
		bad("legs are %d, at most %d are kept", len(s.Legs), MaxLegs)
	}
	for i, leg := range s.Legs {
		if err := leg.check(); err != nil {
			errs = append(errs, err)
		} else if i > 0 && leg.From.Before(s.Legs[i-1].To) {
			bad("leg %d begins before the end of the one before it", i+1)
		}
	}
	return errors.Join(errs...)
}

// shorten cuts text to at most n bytes, never within a rune.
func shorten(text string, n int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= n {
		return text
	}
	const more = "…"
	cut := n - len(more)
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + more
}
