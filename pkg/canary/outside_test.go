package canary

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// doOutside does what concerns what is asked outside, and tells whether it knows the verb.
func (w *world) doOutside(verb string, args []string) (handled bool, err error) {
	switch verb {
	case "gates": // NAME@STAGE+STAGE ...
		w.spec.Gates = nil
		for _, arg := range args {
			name, at, _ := strings.Cut(arg, "@")
			use := GateUse{Name: name}
			for stage := range strings.SplitSeq(at, "+") {
				use.Stages = append(use.Stages, Stage(stage))
			}
			w.spec.Gates = append(w.spec.Gates, use)
		}
	case "approval":
		w.spec.Approval = args
	case "smoke":
		w.spec.Smoke = args[0]
	case "answered": // ask all that is answered here besides
		w.o.Askable = map[QuestionKind]bool{}
		for _, kind := range args {
			w.o.Askable[QuestionKind(kind)] = true
		}
	case "says": // KIND[/NAME] SAID SENTENCE: to all that is asked of it now
		return true, w.says(args)
	case "unsaid":
		w.o.Answers = nil
	case "alert": // NAME SEVERITY before|after [ends]
		return true, w.alert(args)
	case "silence":
		w.answer(w.alerts(), Answer{Said: Allow})
	case "images": // canary|stable CONTAINER=REFERENCE@DIGEST ...
		return true, w.images(args)
	case "content": // canary|stable HASH
		w.track(args[0]).Content = args[1]
	case "differing":
		w.o.Tracks.Canary.Differing = args[0]
	case "tags":
		w.spec.Tags = args[0]
	case "capacity":
		w.spec.Capacity, err = strconv.ParseFloat(args[0], 64)
	case "max-restarts":
		w.spec.MaxRestarts, err = strconv.Atoi(args[0])
	default:
		return false, nil
	}
	return true, err
}

func (w *world) track(name string) *Track {
	if name == "stable" {
		return &w.o.Tracks.Stable
	}
	return &w.o.Tracks.Canary
}

func (w *world) alerts() Question {
	return Question{Kind: AskAlerts, Stage: Always, Rollout: w.state.Rollout}
}

func (w *world) answer(q Question, a Answer) {
	if w.o.Answers == nil {
		w.o.Answers = map[Question]Answer{}
	}
	a.At = w.now
	w.o.Answers[q] = a
}

// says answers what the next look asks.
func (w *world) says(args []string) error {
	kind, name, _ := strings.Cut(args[0], "/")
	a := Answer{Said: AnswerKind(args[1])}
	if len(args) > 2 {
		a.Sentence = args[2]
	}
	switch {
	case args[1] == "nothing": // not reached
		a.Said, a.Unreached = Wait, true
	case strings.HasPrefix(args[1], "rate="):
		rate, err := strconv.ParseFloat(strings.TrimPrefix(args[1], "rate="), 64)
		if err != nil {
			return err
		}
		a.Said, a.Rate = Wait, rate
	}
	found := false
	for _, q := range Decide(w.spec, w.state, w.o, w.now).Ask {
		if string(q.Kind) == kind && (name == "" || q.Name == name) {
			w.answer(q, a)
			found = true
		}
	}
	if !found {
		return fmt.Errorf("nobody asks %s", args[0])
	}
	return nil
}

func (w *world) alert(args []string) error {
	alert := Alert{Name: args[0], Severity: args[1], Began: w.state.Started.Add(-time.Minute), RollsBack: args[len(args)-1] == "ends"}
	if args[2] == "after" {
		alert.Began = w.now
	}
	w.answer(w.alerts(), Answer{Said: Wait, Sentence: "The alert " + alert.Name + " is active", Alerts: []Alert{alert}})
	return nil
}

func (w *world) images(args []string) error {
	t := w.track(args[0])
	t.Images = nil
	for _, arg := range args[1:] {
		container, image, found := strings.Cut(arg, "=")
		if !found {
			return fmt.Errorf("%q is not CONTAINER=REFERENCE#DIGEST", arg)
		}
		reference, digest, _ := strings.Cut(image, "#")
		t.Images = append(t.Images, Image{Container: container, Reference: reference, Digest: digest})
	}
	return nil
}

func describeAsks(p Plan) string {
	var out strings.Builder
	for _, q := range p.Ask {
		fmt.Fprintf(&out, "    asks %s", q.Kind)
		if q.Name != "" {
			fmt.Fprintf(&out, " %s", q.Name)
		}
		fmt.Fprintf(&out, " %s", q.Stage)
		if q.Step > 0 {
			fmt.Fprintf(&out, " %d", q.Step)
		}
		out.WriteString("\n")
	}
	return out.String()
}
