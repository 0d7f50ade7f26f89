package mode

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sort"
	"time"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/route"
	"serin.dev/serin/pkg/topology"
)

// RenderRoutes gives the writes that bring the VirtualServices to what p orders,
// urgent ones first, then as given; none when all is as ordered. now is the time
// noted on the copies of a new state.
//
// With an error, which names each VirtualService that can't be brought there,
// only the urgent writes are given: taking users off the canary waits for
// nothing, everything else is done whole or not at all.
//
// Our entry in managedFields goes in a write of its own, after the routes are
// as they shall be, since the API server gives us back what the same write
// changes. Therefore the last write of a release, and taking everything off, are
// rendered in two passes where routes change too. No state is taken off before
// all routes are as they shall be: an older one on another VirtualService would
// count again.
//
// A VirtualService that was never read, and so has no ResourceVersion, is created.
func RenderRoutes(p canary.Plan, svc route.Service, all []topology.VirtualService, now time.Time) ([]Write, error) {
	var writes, last []Write
	var errs []error
	for _, vs := range all {
		w, moved, err := edit{plan: p, service: svc, vs: vs, now: now}.render()
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("render %s: %w", vs.Key, err))
		case w.Verb == "":
		case p.Clean && !moved:
			last = append(last, w)
		default:
			writes = append(writes, w)
		}
	}
	writes = append(writes, last...)
	sort.SliceStable(writes, func(i, j int) bool { return writes[i].Urgent && !writes[j].Urgent })
	if len(errs) > 0 {
		urgent := sort.Search(len(writes), func(i int) bool { return !writes[i].Urgent })
		return writes[:urgent], errors.Join(errs...)
	}
	return writes, nil
}

// edit is one VirtualService on its way to what the plan orders.
type edit struct {
	plan    canary.Plan
	service route.Service
	vs      topology.VirtualService
	now     time.Time
}

// render gives the write, of no verb when none is needed. moved tells that the
// routes change.
func (e edit) render() (w Write, moved bool, err error) {
	old, _, err := CopyOn(e.vs, e.service.Name)
	if errors.Is(err, canary.ErrNewerState) {
		return Write{}, false, err
	}
	doc, marks, err := e.routes(old)
	if err != nil {
		return Write{}, false, err
	}
	if e.plan.Steady && e.raises(doc) {
		return Write{}, false, nil
	}
	moved = !route.Equal(e.vs.Doc["spec"], doc["spec"])
	changed := moved
	switch {
	case e.plan.Clean && !moved:
		changed = dropState(doc, e.service.Name) || changed
	case e.plan.Next.Rollout != "": // else nobody knows any more which release left its routes here
		stateChanged, err := e.putState(doc, old, marks)
		if err != nil {
			return Write{}, false, err
		}
		changed = stateChanged || changed
	}
	if (e.plan.Last || e.plan.Clean) && !moved {
		changed = disown(doc) || changed
	}
	if !changed {
		return Write{}, false, nil
	}
	w, err = e.write(doc)
	return w, moved, err
}

// routes is the document with the routes as ordered, and the marks of what is ours on them.
func (e edit) routes(old canary.State) (doc map[string]any, marks []string, err error) {
	if e.plan.Clean || e.backAtStable() {
		doc = e.clean(old)
	} else if doc, marks, err = route.Apply(e.vs.Doc, e.service, *e.plan.Traffic, old.Marks); err != nil {
		return nil, nil, err
	}
	if e.pins() {
		err = verifyPins(e.vs.Doc, doc, e.service, e.sides(), e.ordered(), e.plan.Clean || e.backAtStable())
	} else {
		err = verify(e.vs.Doc, doc, e.service, e.sides(), e.ordered())
	}
	if err = errors.Join(err, verifyBeside(e.vs.Doc, doc, e.service, e.sides(), e.beside())); err != nil {
		return nil, nil, fmt.Errorf("refusing to write: %w", err)
	}
	return doc, marks, nil
}

// beside is the routing that is ordered, as far as it says what stands on routes for a
// while.
func (e edit) beside() (t canary.Traffic) {
	if e.plan.Traffic != nil && !e.plan.Clean && !e.backAtStable() {
		t = *e.plan.Traffic
	}
	return t
}

// pins tells that the release is one in place, which takes every destination of
// the Service.
func (e edit) pins() bool { return e.plan.Traffic != nil && e.plan.Traffic.Pin }

// backAtStable tells that a release ends with all users where they were before
// it: the routes become again what the user wrote.
func (e edit) backAtStable() bool {
	return e.plan.Last && e.plan.Traffic != nil && e.plan.Traffic.Weight == 0
}

// clean takes our marks off. In mid-release all users go to stable. At rest they
// stay where they are: on whichever subset has them, or split, if somebody
// split them.
func (e edit) clean(old canary.State) map[string]any {
	s := e.sides()
	seen := route.Read(e.vs.Doc, e.service, s.Stable, s.Canary)
	doc, marks := e.vs.Doc, old.Marks
	switch {
	case e.pins():
		return route.Unpin(doc, e.service, s.Stable, s.Canary, marks)
	case e.plan.Traffic != nil && seen.Max > 0:
		// A hand may have left a route with the canary alone: stable comes back first.
		back := canary.Traffic{Stable: s.Stable, Canary: s.Canary}
		if whole, now, err := route.Apply(doc, e.service, back, marks); err == nil {
			doc, marks = whole, now
		}
		return route.Clean(doc, e.service, s.Stable, s.Canary, marks)
	case e.plan.Traffic != nil || seen.Max == 0:
		return route.Clean(doc, e.service, s.Stable, s.Canary, marks)
	case seen.Min == 100:
		return route.Clean(e.vs.Doc, e.service, s.Canary, s.Stable, old.Marks)
	}
	return route.Clone(e.vs.Doc)
}

// ordered is the canary's share that the routes shall have, percent; -1: the one they have.
func (e edit) ordered() int {
	switch {
	case e.plan.Traffic == nil:
		return -1
	case e.plan.Clean:
		return 0
	}
	return e.plan.Traffic.Weight
}

// Sides are the two subsets between which traffic moves.
type Sides struct{ Stable, Canary string }

func (e edit) sides() Sides {
	if t := e.plan.Traffic; t != nil {
		return Sides{t.Stable, t.Canary}
	}
	return Sides{e.plan.Next.Stable.Subset, e.plan.Next.Canary.Subset}
}

// putState writes this copy of the state and tells whether it says anything new.
func (e edit) putState(doc map[string]any, old canary.State, marks []string) (changed bool, err error) {
	next := e.plan.Next
	next.At, next.Marks = e.now, marks
	if old.Version != 0 && same(old, next) {
		next.At = old.At
		if next.Version = old.Version; reflect.DeepEqual(next, old) {
			return false, nil
		}
	}
	text, err := canary.EncodeState(next)
	if err != nil {
		return false, err
	}
	notes, key := object(object(doc, "metadata"), "annotations"), canary.StatePrefix+e.service.Name
	if notes[key] == text {
		return false, nil
	}
	// The same in another spelling, as one who edits by hand may leave it.
	if before, err := canary.EncodeState(old); err == nil && before == text {
		return false, nil
	}
	notes[key] = text
	return true, nil
}

func dropState(doc map[string]any, service string) (changed bool) {
	metadata := object(doc, "metadata")
	annotations := object(metadata, "annotations")
	_, changed = annotations[canary.StatePrefix+service]
	delete(annotations, canary.StatePrefix+service)
	if len(annotations) == 0 {
		delete(metadata, "annotations")
	}
	return changed
}

func (e edit) write(doc map[string]any) (Write, error) {
	verb, metadata := Update, object(doc, "metadata")
	if e.vs.ResourceVersion == "" {
		verb = Create
		delete(metadata, "resourceVersion")
	} else {
		metadata["resourceVersion"] = e.vs.ResourceVersion
	}
	body, err := Body(doc)
	if err != nil {
		return Write{}, err
	}
	before, after := e.shares(e.vs.Doc), e.shares(doc)
	return Write{
		Verb: verb, Key: e.vs.Key, ResourceVersion: e.vs.ResourceVersion, Body: body,
		Urgent: lowers(before, after) || e.leaked(),
		Why:    e.plan.Next.Reason,
	}, nil
}

// shares are what both versions get by a document.
func (e edit) shares(doc map[string]any) canary.Seen {
	s := e.sides()
	return route.Read(doc, e.service, s.Stable, s.Canary)
}

// raises tells that the canary gets more of the users by a document, and nowhere less.
// Users that went past the pins reached its pods already.
func (e edit) raises(doc map[string]any) bool {
	if e.pins() && (e.vs.ResourceVersion == "" || route.ReadAgainst(e.vs.Doc, e.service, *e.plan.Traffic).Unpinned != "") {
		return false
	}
	before, after := e.shares(e.vs.Doc), e.shares(doc)
	return after.Max >= before.Max && (after.Max > before.Max || after.Min > before.Min)
}

// lowers tells that the canary gets less by a write: of the users somewhere, or of the
// copies, and then no user more.
func lowers(before, after canary.Seen) bool {
	return after.Max < before.Max || after.Min < before.Min || after.Mirror < before.Mirror && after.Max <= before.Max
}

// leaked tells that somebody has led users past the pins since the release began,
// to pods of the canary too.
func (e edit) leaked() bool {
	if !e.pins() || e.plan.Clean || e.vs.ResourceVersion == "" || untouched(e.vs, e.service.Name, e.plan.Next) {
		return false
	}
	return route.ReadAgainst(e.vs.Doc, e.service, *e.plan.Traffic).Unpinned != ""
}

// Body is a JSON tree as it is sent: the same bytes for the same tree.
func Body(tree any) ([]byte, error) {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(tree); err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return bytes.TrimSpace(body.Bytes()), nil
}
