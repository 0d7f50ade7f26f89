// Package ask runs what a plan asks outside: off the workers, so that nobody's slow
// answer holds up another Service, bounded in number, and each question by one asker
// at a time. It keeps the last answer of each question for as long as it is asked.
package ask

import (
	"context"
	"fmt"
	"reflect"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"serin.dev/serin/pkg/canary"
)

const (
	// atOnce is how many questions are out at once, and atOnceOfOne how many of them
	// to one and the same gate, or of one kind: who hangs must not keep the others.
	atOnce      = 32
	atOnceOfOne = 8
	// longest is when a question is given up on; those that are asked have shorter
	// limits of their own.
	longest = 3 * time.Minute
	// kept is how long an answer is kept that nobody asks for, in case it is asked for
	// again.
	kept = 2 * time.Minute
)

// Asker finds the answer to a question. It returns by the end of ctx; what it could
// not find out is an answer that says Wait and Unreached.
type Asker func(ctx context.Context, q canary.Question, s canary.Subject) canary.Answer

// Options say who answers what. K is what names a Service.
type Options[K comparable] struct {
	Askers map[canary.QuestionKind]Asker
	// Wake is called when a Service has an answer that it did not have; it must not
	// block.
	Wake func(K)
	// Told is called with each answer, for those who count; nil: nobody does.
	Told func(q canary.Question, a canary.Answer, took time.Duration)
}

// Desk is made by New. All methods are safe for concurrent use.
type Desk[K comparable] struct {
	options Options[K]
	changed chan struct{}

	mu    sync.Mutex
	cases map[K]map[canary.Question]*matter
	out   int            // questions that are being asked
	outOf map[asked]int  // of them, to whom
	wg    sync.WaitGroup // of these
}

// asked is whom a question goes to.
type asked struct {
	kind canary.QuestionKind
	name string
}

// matter is one question and where it stands.
type matter struct {
	subject  canary.Subject
	answer   canary.Answer
	answered bool
	wanted   bool
	last     time.Time // when it was last wanted
	due      time.Time // when it is to be asked next; zero: at once
	final    bool      // not asked again
	out      bool      // it is being asked
	hurried  bool      // asked for again while it was out
	failures int       // how often in a row nobody answered
}

// New makes a desk; nothing is asked before Run.
func New[K comparable](o Options[K]) *Desk[K] {
	return &Desk[K]{
		options: o, changed: make(chan struct{}, 1),
		cases: map[K]map[canary.Question]*matter{}, outOf: map[asked]int{},
	}
}

// Askable are the kinds that somebody answers.
func (d *Desk[K]) Askable() map[canary.QuestionKind]bool {
	kinds := map[canary.QuestionKind]bool{}
	for kind := range d.options.Askers {
		kinds[kind] = true
	}
	return kinds
}

// Put says all that is to be found out for a Service now, about the subject. What was
// asked before and is not among it is not asked any longer.
func (d *Desk[K]) Put(k K, questions []canary.Question, about canary.Subject, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := d.cases[k]
	if all == nil && len(questions) == 0 {
		return
	}
	for q, m := range all {
		if slices.Contains(questions, q) {
			continue
		}
		m.wanted = false
		if !m.out && now.Sub(m.last) > kept {
			delete(all, q)
		}
	}
	if all == nil {
		all = map[canary.Question]*matter{}
		d.cases[k] = all
	}
	fresh := false
	for _, q := range questions {
		m := all[q]
		if m == nil {
			m = &matter{}
			all[q] = m
		}
		fresh = fresh || !m.wanted // it may be due, and nobody waited for it
		m.wanted, m.last, m.subject = true, now, about
	}
	if len(all) == 0 {
		delete(d.cases, k)
	}
	if fresh {
		d.signal()
	}
}

// Answers are the answers to what a Service asks.
func (d *Desk[K]) Answers(k K) map[canary.Question]canary.Answer {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out map[canary.Question]canary.Answer
	for q, m := range d.cases[k] {
		if !m.answered {
			continue
		}
		if out == nil {
			out = map[canary.Question]canary.Answer{}
		}
		out[q] = m.answer
	}
	return out
}

// Forget drops all that a Service asks.
func (d *Desk[K]) Forget(k K) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.cases, k)
}

// Hurry asks all questions of a kind at once that are asked at all.
func (d *Desk[K]) Hurry(kind canary.QuestionKind) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, all := range d.cases {
		for q, m := range all {
			if q.Kind == kind && !m.final {
				m.due, m.hurried = time.Time{}, m.out
			}
		}
	}
	d.signal()
}

func (d *Desk[K]) signal() {
	select {
	case d.changed <- struct{}{}:
	default:
	}
}

// Run asks until ctx ends, and waits for the askers.
func (d *Desk[K]) Run(ctx context.Context) {
	defer d.wg.Wait()
	for {
		next := d.askDue(ctx)
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-d.changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// askDue sends out what is due, as far as the bounds let it, and returns how long
// until the next may be.
func (d *Desk[K]) askDue(ctx context.Context) time.Duration {
	now := time.Now()
	next := kept
	d.mu.Lock()
	defer d.mu.Unlock()
	for k, all := range d.cases {
		for q, m := range all {
			whom := asked{q.Kind, q.Name}
			switch wait := m.due.Sub(now); {
			case !m.wanted || m.out || m.final:
			case wait > 0:
				next = min(next, wait)
			case d.out < atOnce && d.outOf[whom] < atOnceOfOne:
				m.out, m.hurried = true, false
				d.out++
				d.outOf[whom]++
				about := m.subject
				d.wg.Go(func() { d.ask(ctx, k, q, m, about) })
			}
		}
	}
	return next
}

func (d *Desk[K]) ask(ctx context.Context, k K, q canary.Question, m *matter, about canary.Subject) {
	bounded, cancel := context.WithTimeout(ctx, longest)
	began := time.Now()
	a := d.answer(bounded, q, about)
	cancel()
	now := time.Now()
	if a.At.IsZero() {
		a.At = now
	}
	if d.options.Told != nil && ctx.Err() == nil {
		d.options.Told(q, a, now.Sub(began))
	}
	if d.take(k, q, m, a, now) && ctx.Err() == nil {
		d.options.Wake(k)
	}
	d.signal()
}

// answer asks, and turns what must not be into nobody's answer.
func (d *Desk[K]) answer(ctx context.Context, q canary.Question, about canary.Subject) (a canary.Answer) {
	defer func() {
		if fault := recover(); fault != nil {
			a = unreached("A fault of Serin, please report it: " + fmt.Sprint(fault) + "\n" + string(debug.Stack()))
		}
	}()
	asker := d.options.Askers[q.Kind]
	if asker == nil {
		return unreached("The configuration names nobody who answers questions of the kind " + string(q.Kind))
	}
	a = asker(ctx, q, about)
	if a.Unreached {
		a.Said = canary.Wait
	}
	switch a.Said {
	case canary.Allow, canary.Deny, canary.Wait, canary.Approve:
		return a
	}
	return unreached(fmt.Sprintf("The answer %q is none", a.Said))
}

func unreached(sentence string) canary.Answer {
	return canary.Answer{Said: canary.Wait, Unreached: true, Sentence: sentence}
}

// take keeps an answer and tells whether it says anything new. What was forgotten since
// it was asked has none, also where the same is asked anew.
func (d *Desk[K]) take(k K, q canary.Question, m *matter, a canary.Answer, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.out--
	whom := asked{q.Kind, q.Name}
	if d.outOf[whom]--; d.outOf[whom] == 0 {
		delete(d.outOf, whom)
	}
	if d.cases[k][q] != m {
		return false
	}
	news := !m.answered || !alike(m.answer, a)
	m.answer, m.answered, m.out = a, true, false
	if m.failures++; !a.Unreached {
		m.failures = 0
	}
	again, final := pause(q, a, m.failures)
	m.due, m.final = now.Add(again), final
	if m.hurried {
		m.due = time.Time{}
	}
	return news && m.wanted
}

// alike tells that two answers say the same, whenever they were given.
func alike(a, b canary.Answer) bool {
	a.At, b.At = time.Time{}, time.Time{}
	a.RetryAfter, b.RetryAfter = 0, 0
	for _, checks := range []*[]canary.Check{&a.Checks, &b.Checks} {
		plain := make([]canary.Check, len(*checks))
		copy(plain, *checks)
		for i := range plain {
			plain[i].Took = 0
		}
		*checks = plain
	}
	return reflect.DeepEqual(a, b)
}
