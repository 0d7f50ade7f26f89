// Package history translates rollouts into ControllerRevisions and back. A revision
// is made when a release begins, with what was there before its first write, and is
// told the end when it comes. The revisions belong to the Service: they outlive a
// Deployment and a replaced VirtualService. It does no I/O.
package history

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"serin.dev/serin/pkg/canary"
)

// ServiceLabel carries the name of the Service whose history a revision is.
const ServiceLabel = "serin.dev/service"

// Keep is how many finished releases of a Service stay, beside the last promoted one.
const Keep = 5

const (
	managedBy = "app.kubernetes.io/managed-by"
	manager   = "serin"
)

// The result stands in annotations, where kubectl shows it; a revision's data
// can't be changed.
const (
	outcomeKey  = "serin.dev/outcome"
	reasonKey   = "serin.dev/reason"
	messageKey  = "serin.dev/message"
	endedKey    = "serin.dev/ended"
	weightKey   = "serin.dev/weight"
	digestsKey  = "serin.dev/digests"
	requestsKey = "serin.dev/requests"
	errorsKey   = "serin.dev/errors"
	handledKey  = "serin.dev/handled" // absent where no verb was acted on
	// imagesKey has what ran, by container, as JSON: the digests are known only when
	// pods are ready.
	imagesKey = "serin.dev/images"
	// courseKey has, as JSON, what of the data had changed when the release ended.
	courseKey = "serin.dev/course"
	// approvalsKey has who said yes to which step, as JSON; absent where nobody was asked.
	approvalsKey = "serin.dev/approvals"
	// unverifiedKey says which checks of a rollback failed; empty or absent: none did.
	unverifiedKey = "serin.dev/unverified"
)

// underWay is the outcome of a release that has not ended.
const underWay = "UnderWay"

// version is the version of the data's form. Fields may be added without a new
// one; a new one is for data that an older Serin would misread. Since 2 a revision
// may be of a release under way.
const version = 2

// data is a revision's data.
type data struct {
	Version int `json:"v"`
	course
	Before *Before `json:"before,omitempty"`
}

// course is what was released, and by which rules.
type course struct {
	Rollout string      `json:"rollout"`
	Canary  canary.Side `json:"canary"`
	Stable  canary.Side `json:"stable"`
	Spec    canary.Spec `json:"spec"`
	Started time.Time   `json:"started"`

	Legs  []canary.Leg  `json:"legs,omitempty"`
	Width time.Duration `json:"width,omitempty"`

	InPlace bool `json:"inPlace,omitempty"`
}

func courseOf(r canary.Release) course {
	return course{r.Rollout, r.Canary, r.Stable, r.Spec, r.Started.UTC(), r.Legs, r.Width, r.InPlace}
}

func (c course) release() canary.Release {
	return canary.Release{
		Rollout: c.Rollout, Canary: c.Canary, Stable: c.Stable, Spec: c.Spec, Started: c.Started, Legs: c.Legs, Width: c.Width, InPlace: c.InPlace,
	}
}

// images are what ran, by container.
type images struct {
	Canary []canary.Image `json:"canary,omitempty"`
	Stable []canary.Image `json:"stable,omitempty"`
}

// Owner is the Service to which a history belongs.
type Owner struct{ Namespace, Name, UID string }

// Name is the name of a rollout's revision. Made of the rollout's id, it lets
// the API server refuse a second record of the same rollout.
func Name(service, rollout string) string { return "serin-" + service + "-" + rollout }

// Begin is the record of a release that has begun; number is from Next. Of before as
// much is kept as fits an object. It fails for names the API server would refuse.
func Begin(r canary.Release, before Before, owner Owner, number int64) (*appsv1.ControllerRevision, error) {
	before = before.bounded()
	notes := map[string]string{outcomeKey: underWay}
	if text := imagesOf(r, images{}); text != "" {
		notes[imagesKey] = text
	}
	return revision(r, &before, notes, owner, number)
}

// Revision is the record of a finished release that nobody recorded when it began;
// number is from Next. It fails for a release that did not end and for names the API
// server would refuse.
func Revision(r canary.Release, owner Owner, number int64) (*appsv1.ControllerRevision, error) {
	return revision(r, nil, result(r, &appsv1.ControllerRevision{}), owner, number)
}

func revision(r canary.Release, before *Before, notes map[string]string, owner Owner, number int64) (*appsv1.ControllerRevision, error) {
	name := Name(owner.Name, r.Rollout)
	if err := recordable(r, before != nil, owner, name); err != nil {
		return nil, fmt.Errorf("record release %s of Service %s/%s: %w", r.Rollout, owner.Namespace, owner.Name, err)
	}
	body, err := json.Marshal(data{version, courseOf(r), before})
	if err != nil {
		return nil, fmt.Errorf("record release %s of Service %s/%s: %w", r.Rollout, owner.Namespace, owner.Name, err)
	}
	// Controllers of StatefulSets and DaemonSets adopt revisions that have no
	// controller and match their selector.
	controls := true
	return &appsv1.ControllerRevision{
		TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "ControllerRevision"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: owner.Namespace, Name: name,
			Labels:      map[string]string{ServiceLabel: owner.Name, managedBy: manager},
			Annotations: notes,
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "v1", Kind: "Service", Name: owner.Name, UID: types.UID(owner.UID), Controller: &controls,
			}},
		},
		Data:     runtime.RawExtension{Raw: body},
		Revision: number,
	}, nil
}

// Result is the merge patch that gives a release's revision its end, or another one.
// What the revision knows of images and the release doesn't is kept; of one that
// somebody changed into something unreadable, nothing is.
func Result(r canary.Release, held *appsv1.ControllerRevision) []byte {
	all := result(r, held)
	if _, unreadable := Release(held); unreadable != nil && !UnderWay(held) {
		for _, key := range []string{handledKey, approvalsKey, unverifiedKey} {
			if _, given := all[key]; !given && held.Annotations[key] != "" {
				all[key] = ""
			}
		}
	}
	return annotating(all)
}

// Images is the merge patch that adds what ran to the revision of a release under
// way; nil when the revision knows as much.
func Images(r canary.Release, held *appsv1.ControllerRevision) []byte {
	text := imagesOf(r, known(held))
	if text == "" || text == held.Annotations[imagesKey] {
		return nil
	}
	return annotating(map[string]string{imagesKey: text})
}

func annotating(annotations map[string]string) []byte {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": annotations}})
	if err != nil {
		panic(err) // strings always marshal
	}
	return patch
}

func ended(outcome canary.Phase) error {
	if outcome != canary.Succeeded && outcome != canary.RolledBack {
		return fmt.Errorf("its outcome is %q, only %s and %s are ends", outcome, canary.Succeeded, canary.RolledBack)
	}
	return nil
}

func recordable(r canary.Release, begins bool, owner Owner, name string) error {
	var errs []error
	if !begins {
		errs = append(errs, ended(r.Outcome))
	}
	if r.Rollout == "" {
		errs = append(errs, errors.New("it has no id"))
	}
	if owner.UID == "" {
		errs = append(errs, errors.New("the Service's uid is unknown"))
	}
	if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
		errs = append(errs, fmt.Errorf("no object can be named %q: %s", name, strings.Join(problems, ", ")))
	}
	return errors.Join(errs...)
}

func result(r canary.Release, held *appsv1.ControllerRevision) map[string]string {
	all := map[string]string{
		outcomeKey:  string(r.Outcome),
		reasonKey:   string(r.Reason),
		messageKey:  r.Message,
		endedKey:    r.Ended.UTC().Format(time.RFC3339Nano),
		weightKey:   strconv.Itoa(r.Weight),
		digestsKey:  strings.Join(r.Digests, ","),
		requestsKey: strconv.FormatInt(r.Requests, 10),
		errorsKey:   strconv.FormatInt(r.Errors, 10),
		courseKey:   textOf(courseOf(r)),
	}
	if r.Handled != "" {
		all[handledKey] = r.Handled
	}
	if text := imagesOf(r, known(held)); text != "" {
		all[imagesKey] = text
	}
	if len(r.Approvals) > 0 {
		all[approvalsKey] = textOf(r.Approvals)
	}
	if _, before := held.Annotations[unverifiedKey]; before || r.Unverified != "" {
		all[unverifiedKey] = r.Unverified
	}
	return all
}

// textOf is JSON of what always marshals.
func textOf(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// known is what a revision knows of images; nothing where it can't be read.
func known(held *appsv1.ControllerRevision) (all images) {
	if json.Unmarshal([]byte(held.Annotations[imagesKey]), &all) != nil {
		return images{}
	}
	return all
}

// imagesOf is what ran, by the release and by what was known of it before; empty
// where nothing is known. What stable ran is known best at the beginning: at the end
// it may be another version.
func imagesOf(r canary.Release, known images) string {
	all := images{Canary: merged(known.Canary, r.Images), Stable: merged(known.Stable, r.StableImages)}
	if len(known.Stable) > 0 {
		all.Stable = merged(r.StableImages, known.Stable)
	}
	if len(all.Canary)+len(all.Stable) == 0 {
		return ""
	}
	all.Canary, all.Stable = atMost(all.Canary), atMost(all.Stable)
	return textOf(all)
}

// atMost bounds how many containers' images are kept.
func atMost(all []canary.Image) []canary.Image { return all[:min(len(all), maxContainers)] }

// merged are the newer images, with the older's digests where the newer have none of
// the same container and reference.
func merged(older, newer []canary.Image) []canary.Image {
	if len(newer) == 0 {
		return older
	}
	out := slices.Clone(newer)
	for i := range out {
		for _, o := range older {
			if out[i].Digest == "" && o.Container == out[i].Container && o.Reference == out[i].Reference {
				out[i].Digest = o.Digest
			}
		}
	}
	return out
}

// Releases reads the finished releases of a Service's revisions, newest first. Those
// that can't be read are left out; the error joins what is wrong with them and stands
// in nobody's way.
func Releases(revisions []*appsv1.ControllerRevision) ([]canary.Release, error) {
	return read(revisions, false)
}

// Begun reads the releases that are recorded as under way, newest first, as Releases.
func Begun(revisions []*appsv1.ControllerRevision) ([]canary.Release, error) {
	return read(revisions, true)
}

// UnderWay tells that a revision is of a release that has not ended.
func UnderWay(revision *appsv1.ControllerRevision) bool {
	return revision.Annotations[outcomeKey] == underWay
}

func read(revisions []*appsv1.ControllerRevision, begun bool) ([]canary.Release, error) {
	var releases []canary.Release
	var errs []error
	for _, revision := range NewestFirst(revisions) {
		if UnderWay(revision) != begun {
			continue
		}
		release, err := Release(revision)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		releases = append(releases, release)
	}
	return releases, errors.Join(errs...)
}

// Of keeps the revisions whose controller is the Service of that uid. One that
// somebody else made, or that is left of a Service of the same name, is no history.
// An unknown uid keeps none.
func Of(uid string, revisions []*appsv1.ControllerRevision) []*appsv1.ControllerRevision {
	return slices.DeleteFunc(slices.Clone(revisions), func(r *appsv1.ControllerRevision) bool {
		owner := metav1.GetControllerOf(r)
		return uid == "" || owner == nil || owner.Kind != "Service" || string(owner.UID) != uid
	})
}

// Release reads one revision; of a release under way it has no end. It fails for data
// of a newer version and for a result somebody changed into something unreadable.
func Release(revision *appsv1.ControllerRevision) (canary.Release, error) {
	fail := func(err error) (canary.Release, error) {
		return canary.Release{}, fmt.Errorf("read ControllerRevision %s/%s: %w; delete it if it isn't needed", revision.Namespace, revision.Name, err)
	}
	d, err := dataOf(revision)
	if err != nil {
		return fail(err)
	}
	r := d.release()
	if text := revision.Annotations[courseKey]; text != "" {
		var c course
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			return fail(fmt.Errorf("annotation %s: %w", courseKey, err))
		}
		if c.Rollout != d.Rollout {
			return fail(fmt.Errorf("annotation %s is of release %q, the data of %q", courseKey, c.Rollout, d.Rollout))
		}
		r = c.release()
	}
	ran := known(revision)
	r.Images, r.StableImages = ran.Canary, ran.Stable
	whole := r
	if UnderWay(revision) {
		whole.Outcome = canary.RolledBack // as it would end if its state were lost
	} else {
		err = readResult(revision.Annotations, &r)
		whole = r
	}
	if err == nil {
		err = canary.CheckRelease(whole)
	}
	if err != nil {
		return fail(err)
	}
	return r, nil
}

func dataOf(revision *appsv1.ControllerRevision) (data, error) {
	var d data
	if err := json.Unmarshal(revision.Data.Raw, &d); err != nil {
		return d, fmt.Errorf("data: %w", err)
	}
	if d.Version < 1 || d.Version > version {
		return d, fmt.Errorf("data has version %d, this Serin knows 1 to %d", d.Version, version)
	}
	return d, nil
}

func readResult(annotations map[string]string, r *canary.Release) error {
	var errs []error
	number := func(key string) int64 {
		n, err := strconv.ParseInt(annotations[key], 10, 64)
		if err != nil || n < 0 {
			errs = append(errs, fmt.Errorf("annotation %s is %q, no count", key, annotations[key]))
		}
		return n
	}
	r.Outcome, r.Reason, r.Message = canary.Phase(annotations[outcomeKey]), canary.Reason(annotations[reasonKey]), annotations[messageKey]
	if ended(r.Outcome) != nil {
		errs = append(errs, fmt.Errorf("annotation %s is %q, neither %s nor %s", outcomeKey, r.Outcome, canary.Succeeded, canary.RolledBack))
	}
	at, err := time.Parse(time.RFC3339Nano, annotations[endedKey])
	if err != nil {
		errs = append(errs, fmt.Errorf("annotation %s is %q, no time", endedKey, annotations[endedKey]))
	}
	if text := annotations[approvalsKey]; text != "" {
		if err := json.Unmarshal([]byte(text), &r.Approvals); err != nil {
			errs = append(errs, fmt.Errorf("annotation %s: %w", approvalsKey, err))
		}
	}
	r.Ended, r.Handled, r.Unverified = at.UTC(), annotations[handledKey], annotations[unverifiedKey]
	r.Weight, r.Requests, r.Errors = int(number(weightKey)), number(requestsKey), number(errorsKey)
	if digests := annotations[digestsKey]; digests != "" {
		r.Digests = strings.Split(digests, ",")
	}
	return errors.Join(errs...)
}

// Next is the number of the revision after these, 1 for none.
func Next(revisions []*appsv1.ControllerRevision) int64 {
	var highest int64
	for _, revision := range revisions {
		highest = max(highest, revision.Revision)
	}
	return highest + 1
}

// Prune names the revisions that need not be kept any longer: all but the
// newest Keep of those that ended, and the last promoted one, which tells what runs
// as stable. Revisions that can't be read are somebody else's, or a newer Serin's,
// and never named.
func Prune(revisions []*appsv1.ControllerRevision) []string {
	var names []string
	read, promoted := 0, false
	for _, revision := range NewestFirst(revisions) {
		release, err := Release(revision)
		if err != nil || UnderWay(revision) {
			continue
		}
		read++
		lastPromoted := !promoted && release.Outcome == canary.Succeeded
		promoted = promoted || lastPromoted
		if read > Keep && !lastPromoted {
			names = append(names, revision.Name)
		}
	}
	return names
}

// NewestFirst are the revisions in the order in which they are told of.
func NewestFirst(revisions []*appsv1.ControllerRevision) []*appsv1.ControllerRevision {
	return slices.SortedStableFunc(slices.Values(revisions), func(a, b *appsv1.ControllerRevision) int {
		return cmp.Or(cmp.Compare(b.Revision, a.Revision), b.CreationTimestamp.Compare(a.CreationTimestamp.Time))
	})
}
