package canary

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"serin.dev/serin/pkg/judge"
)

func stored() State {
	start := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	return State{
		Version: pairVersion, Rollout: "web-7f9c", Sequence: 3, Phase: Progressing, Step: 1, Weight: 25,
		Canary:  Side{Deployment: "web-v2", Subset: "v2", Template: "bbbb"},
		Stable:  Side{Deployment: "web-v1", Subset: "v1", Template: "aaaa"},
		Started: start, Since: start.Add(time.Minute), At: start.Add(2 * time.Minute),
		Reason: StepStarted, Message: "25% of the requests go to web-v2",
		Spec: Spec{
			Steps:          []Step{{Weight: 5, Bake: time.Minute}, {Weight: 25, Bake: time.Minute}, {Weight: 100, Bake: time.Minute}},
			StepDeadline:   time.Hour,
			OnInconclusive: HoldInconclusive,
			Limits:         judge.Limits{ErrorRate: 0.01, ErrorRatio: 2, P99: 2 * time.Second},
			Header:         Header{Name: "x-app-version", Match: MatchExact, Values: []string{"canary"}},
		},
		Width: 15 * time.Second, Marks: []string{"a1b2"},
		Legs: []Leg{{Step: 1, Weight: 5, From: start.Add(time.Second), To: start.Add(time.Minute)}},
	}
}

func TestALegOfCopiesSurvivesTheAnnotation(t *testing.T) {
	want := stored()
	want.Version = StateVersion
	want.Spec.Steps = append([]Step{{Mirror: 10, Bake: time.Minute}}, want.Spec.Steps...)
	want.Legs[0].Weight, want.Legs[0].Mirror = 0, 10
	text, err := EncodeState(want)
	if err != nil || !strings.Contains(text, `"1/m10/`) {
		t.Fatal(err, text)
	}
	if got, err := DecodeState(text); err != nil || !reflect.DeepEqual(got.Legs, want.Legs) {
		t.Errorf("got %+v, %v", got.Legs, err)
	}
}

func TestStateSurvivesTheAnnotation(t *testing.T) {
	want := stored()
	text, err := EncodeState(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeState(text)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestDecodeStateRefuses(t *testing.T) {
	good, err := EncodeState(stored())
	if err != nil {
		t.Fatal(err)
	}
	swap := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%s is not in %s", old, good)
		}
		return strings.Replace(good, old, new, 1)
	}
	for name, c := range map[string]struct{ text, says string }{
		"nothing":                      {"", "decode state"},
		"half of it":                   {good[:len(good)/2], "decode state"},
		"an unknown field":             {swap(`"seq":3`, `"seq":3,"mirror":1`), "mirror"},
		"something behind it":          {good + "{}", "after top-level value"},
		"a weight above 100":           {swap(`"weight":25`, `"weight":101`), "weight is 101"},
		"a step that is none":          {swap(`"step":1`, `"step":4`), "step is 4 of 3"},
		"a step before the first":      {swap(`"step":1`, `"step":0`), "step is 0 while the release is Progressing"},
		"a phase that is only shown":   {swap(`"phase":"Progressing"`, `"phase":"Waiting"`), "Waiting"},
		"no version":                   {swap(`"v":1,`, ``), "v is 0"},
		"one subset for both":          {swap(`"s":"v2"`, `"s":"v1"`), "two different"},
		"more than may be stored":      {swap(`"message":"`, `"message":"`+strings.Repeat("x", MaxStateBytes)), "at most 4096"},
		"the state of a newer build":   {swap(`"v":1`, `"v":4,"new":true`), "newer version"},
		"a leg without an end":         {swap(`"legs":["1/5/1772600768000/1772600827000"]`, `"legs":["1/5/1772600768000"]`), "not step/weight/from/to"},
		"a leg that ends at its begin": {swap(`1772600827000`, `1772600768000`), "leg 1/5/1772600768000/1772600768000 is none"},
		"a leg without weight":         {swap(`"1/5/`, `"1/0/`), "leg 1/0/1772600768000/1772600827000 is none"},
		"a leg of no copies":           {swap(`"1/5/`, `"1/m0/`), "leg 1/0/1772600768000/1772600827000 is none"},
		"a leg of too many copies":     {swap(`"1/5/`, `"1/m101/`), "leg 1/m101/1772600768000/1772600827000 is none"},
		"copies in another spelling":   {swap(`"1/5/`, `"1/m05/`), `"05", which is no whole number`},
		"a leg in another spelling":    {swap(`"1/5/`, `"1/05/`), `"05", which is no whole number`},
		"a leg within another":         {swap(`1772600827000"]`, `1772600827000","1/5/1772600826999/1772600828000"]`), "leg 2 begins before the end"},
		"more legs than are kept":      {swap(`["1/5/`, `[`+strings.Repeat(`"1/5/1/2",`, MaxLegs)+`"1/5/`), "legs are 41, at most 40"},
		"blocks too short to count":    {swap(`"width":15000000000`, `"width":1`), "width is 1ns, must be 1s to 10m0s"},
		"blocks longer than time":      {swap(`"width":15000000000`, `"width":288230376151711744`), "must be 1s to 10m0s"},
		"blocks of negative length":    {swap(`"width":15000000000`, `"width":-15000000000`), "must be 1s to 10m0s"},
		"a sequence that has no next":  {swap(`"seq":3`, `"seq":9223372036854775807`), "seq is 9223372036854775807, above"},
		"a negative bake":              {swap(`"b":60000000000`, `"b":-1`), "step 1's bake is -1ns"},
		"a step of more than all":      {swap(`"w":25`, `"w":2500`), "step 2's weight is 2500"},
		"a deadline beyond all time":   {swap(`"stepDeadline":3600000000000`, `"stepDeadline":9223372036854775807`), "stepDeadline is 2562047h47m16.854775807s"},
		"a limit that is no share":     {swap(`"errorRate":0.01`, `"errorRate":-1`), "limits.errorRate is -1"},
		"a ratio that is negative":     {swap(`"errorRatio":2`, `"errorRatio":-2`), "limits.errorRatio is -2"},
		"more metrics than are judged": {swap(`"sharedIncident"`, `"custom":[`+strings.Repeat(`{"name":"a","bound":1},`, 8)+`{"name":"a","bound":1}],"sharedIncident"`), "custom has 9 metrics, at most 8"},
		"a reason that is a program":   {swap(`"reason":"StepStarted"`, `"reason":"\u001b[2J"`), `reason is "\x1b[2J", no word`},
		"a Deployment elsewhere":       {swap(`"d":"web-v2"`, `"d":"../../pay/deployments/api"`), "canary.d is"},
		"a subset with a quote":        {swap(`"s":"v1"`, `"s":"v1\"} or up{a=\""`), "stable.s is"},
		"a rollout's id of two lines":  {swap(`"rollout":"web-7f9c"`, `"rollout":"a\nb"`), `rollout is "a\nb", no name`},
		"a number where text belongs":  {swap(`"rollout":"web-7f9c"`, `"rollout":7`), "rollout"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := DecodeState(c.text)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v does not say %q", err, c.says)
			}
			if newer := errors.Is(err, ErrNewerState); newer != strings.Contains(name, "newer") {
				t.Errorf("is ErrNewerState: %v", newer)
			}
		})
	}
}

func TestEncodeState(t *testing.T) {
	t.Run("cuts a long message on a rune's border", func(t *testing.T) {
		s := stored()
		s.Message = strings.Repeat("ü", MaxMessageBytes)
		text, err := EncodeState(s)
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeState(text)
		if err != nil {
			t.Fatal(err)
		}
		if len(back.Message) > MaxMessageBytes || !utf8.ValidString(back.Message) || !strings.HasSuffix(back.Message, "ü…") {
			t.Errorf("%d bytes: %q", len(back.Message), back.Message)
		}
	})
	t.Run("holds the marks of 150 routes", func(t *testing.T) {
		s := stored()
		s.Message = strings.Repeat("m", MaxMessageBytes)
		s.Marks = nil
		for i := range 150 {
			s.Marks = append(s.Marks, fmt.Sprintf("%06x+", i))
		}
		if _, err := EncodeState(s); err != nil {
			t.Error(err)
		}
	})
	t.Run("holds the largest release", func(t *testing.T) {
		s := largest()
		text, err := EncodeState(s)
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeState(text)
		if err != nil || !reflect.DeepEqual(back, s) {
			t.Errorf("%v; of %d legs %d came back", err, len(s.Legs), len(back.Legs))
		}
		t.Logf("%d of %d bytes", len(text), MaxStateBytes)
	})
	t.Run("leaves out the oldest legs where not all fit", func(t *testing.T) {
		s := largest()
		for i := range 100 {
			s.Marks = append(s.Marks, fmt.Sprintf("%06x+", i))
		}
		text, err := EncodeState(s)
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeState(text)
		if n := len(back.Legs); err != nil || n == 0 || n == MaxLegs || back.Legs[n-1] != s.Legs[MaxLegs-1] {
			t.Errorf("%v; %d legs are left", err, n)
		}
		if len(s.Legs) != MaxLegs {
			t.Error("the state given was changed")
		}
	})
	t.Run("refuses what would not fit", func(t *testing.T) {
		s := stored()
		s.Marks = []string{strings.Repeat("m", MaxStateBytes)}
		if _, err := EncodeState(s); err == nil || !strings.Contains(err.Error(), "at most 3616 fit") {
			t.Error(err)
		}
	})
	t.Run("refuses what could not be read again", func(t *testing.T) {
		s := stored()
		s.Weight, s.Phase = -1, Blocked
		_, err := EncodeState(s)
		if err == nil || !strings.Contains(err.Error(), "weight is -1") || !strings.Contains(err.Error(), "Blocked") {
			t.Error(err)
		}
	})
}

// TestAReleaseThatBeganFitsToItsEnd grows a state until a release of it can't
// begin. Whatever can begin must be able to go on, and above all to go back: a
// rollback whose state finds no room would leave the users where they are.
func TestAReleaseThatBeganFitsToItsEnd(t *testing.T) {
	begun := largest()
	begun.Phase, begun.Step, begun.Weight, begun.Width, begun.Legs = Testing, 0, 0, 0, nil
	begun.Sequence, begun.Reason, begun.Message = 1, ReleaseStarted, "Release begins"
	begun.Base = Base{Ready: 1000, Restarts: 1000, Killed: 1000, Images: strings.Repeat("f", lengthOfIdentity)}
	goOn := func(s *State, phase Phase) {
		s.Phase, s.Step, s.Weight, s.Peak = phase, len(s.Spec.Steps), 100, 100
		s.Sequence, s.Width, s.Since, s.At = 123456, 600*time.Second, s.Since.Add(1), s.At.Add(1)
		s.Handled, s.Reverts, s.Lowered = strings.Repeat("i", 64), MaxReverts, true
		s.Reason, s.Message = ClientErrors, strings.Repeat("\x1b\"\n", MaxMessageBytes)
		s.Legs = largest().Legs
		s.HandledOn, s.Beside = "0a1b2c3d", "d3c2b1a0"
		s.Approvals = nil
		for range MaxApprovals {
			s.Approvals = append(s.Approvals, Approval{Step: 20, By: strings.Repeat("\x1b", maxApprover), At: s.Since})
		}
		if phase == RolledBack {
			s.Unverified = strings.Repeat("\x1b\"\n", MaxMessageBytes/3)
		}
	}
	digests := make([]string, 20)
	for i := range digests {
		digests[i] = "sha256:" + strings.Repeat("d", 64)
	}
	began := 0
	for n := 0; ; n += 9 {
		s := begun
		for i := range n {
			s.Marks = append(s.Marks, fmt.Sprintf("%06x+", i))
		}
		if _, err := EncodeState(s); err != nil {
			break
		}
		began = n
		for _, phase := range []Phase{Progressing, Paused, Inconclusive, RollingBack, RolledBack, Succeeded} {
			later := s
			goOn(&later, phase)
			if phase == Succeeded {
				later.Digests = digests
			}
			if _, err := EncodeState(later); err != nil {
				t.Fatalf("began with %d marks, but can't be %s: %v", n, phase, err)
			}
		}
		// What a change of the annotations in mid-release may add still lets it go back.
		changed := s
		goOn(&changed, Progressing)
		for range 40 {
			changed.Spec.Header.Match += "0123456789"
			if _, err := EncodeState(changed); err != nil {
				break
			}
			back := changed
			goOn(&back, RollingBack)
			if _, err := EncodeState(back); err != nil {
				t.Fatalf("goes on with %d marks, but can't go back: %v", n, err)
			}
		}
	}
	if began < 50 {
		t.Errorf("a release began with at most %d marks", began)
	}
}

// largest is a state in which everything is as long as annotations and names let it be.
func largest() State {
	s := stored()
	long := strings.Repeat("n", 63)
	s.Canary = Side{Deployment: long, Subset: "b" + long[1:], Template: long[:10]}
	s.Stable = Side{Deployment: long, Subset: long, Template: long[:10]}
	s.Message = strings.Repeat("m", MaxMessageBytes)
	s.Spec.Rules = judge.DefaultRules()
	s.Spec.SharedIncident = Patience{30 * time.Minute, HoldInconclusive}
	s.Spec.Limits = judge.Limits{ErrorRate: 0.0001, ErrorRatio: 1.5, P99: 500 * time.Millisecond, P99Ratio: 1.25, DefaultErrorRate: true, DefaultP99: true}
	s.Spec.Header = Header{Name: "x-" + long[2:], Match: MatchRegex, Values: []string{strings.Repeat("<", 200)}}
	for i := range 3 {
		s.Spec.Custom = append(s.Spec.Custom, judge.Custom{Name: long[:62] + fmt.Sprint(i), AtLeast: true, Bound: 0.9995})
	}
	s.Spec.Steps = nil
	for i := 1; i <= 20; i++ {
		s.Spec.Steps = append(s.Spec.Steps, Step{Weight: 5 * i, Bake: time.Duration(i) * time.Hour})
	}
	s.Legs = nil
	for i := range MaxLegs {
		from := s.Started.Add(time.Duration(i) * time.Hour)
		s.Legs = append(s.Legs, Leg{Step: i/2 + 1, Weight: 5 * (i/2 + 1), From: from, To: from.Add(59 * time.Minute)})
	}
	return s
}

func FuzzDecodeState(f *testing.F) {
	good, err := EncodeState(stored())
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{good, strings.Replace(good, "1/5/", "1/-5/", 1), good[:40], `{}`, `{"v":1}`, `{"v":9}`, `[]`, `null`, ``} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := DecodeState(text)
		if err != nil {
			return
		}
		again, err := EncodeState(s)
		if err != nil {
			if len(text) > MaxStateBytes/2 { // escapes and defaults may make it longer than it came
				return
			}
			t.Fatalf("read but not written: %v", err)
		}
		back, err := DecodeState(again)
		if err != nil {
			t.Fatalf("written but not read: %v", err)
		}
		if third, _ := EncodeState(back); third != again {
			t.Fatalf("not stable:\n%s\n%s", again, third)
		}
	})
}
