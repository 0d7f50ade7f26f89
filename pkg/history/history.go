// Package history translates finished rollouts into ControllerRevisions and
// back. The revisions belong to the Service: they outlive a Deployment and a
// replaced VirtualService. It does no I/O.
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

// Keep is how many revisions of a Service stay.
const Keep = 10

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
)

// version is the version of the data's form. Fields may be added without a new
// one; a new one is for data that an older Serin would misread.
const version = 1

// snapshot is a revision's data: what was released, and by which rules.
type snapshot struct {
	Version int         `json:"v"`
	Rollout string      `json:"rollout"`
	Canary  canary.Side `json:"canary"`
	Stable  canary.Side `json:"stable"`
	Spec    canary.Spec `json:"spec"`
	Started time.Time   `json:"started"`

	Legs  []canary.Leg  `json:"legs,omitempty"`
	Width time.Duration `json:"width,omitempty"`

	InPlace bool `json:"inPlace,omitempty"`
}

// Owner is the Service to which a history belongs.
type Owner struct{ Namespace, Name, UID string }

// Name is the name of a rollout's revision. Made of the rollout's id, it lets
// the API server refuse a second record of the same rollout.
func Name(service, rollout string) string { return "serin-" + service + "-" + rollout }

// Revision is the record of a finished release; number is from Next. It fails
// for a release that did not end and for names the API server would refuse.
func Revision(r canary.Release, owner Owner, number int64) (*appsv1.ControllerRevision, error) {
	name := Name(owner.Name, r.Rollout)
	if err := recordable(r, owner, name); err != nil {
		return nil, fmt.Errorf("record release %s of Service %s/%s: %w", r.Rollout, owner.Namespace, owner.Name, err)
	}
	data, err := json.Marshal(snapshot{version, r.Rollout, r.Canary, r.Stable, r.Spec, r.Started.UTC(), r.Legs, r.Width, r.InPlace})
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
			Annotations: result(r),
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "v1", Kind: "Service", Name: owner.Name, UID: types.UID(owner.UID), Controller: &controls,
			}},
		},
		Data:     runtime.RawExtension{Raw: data},
		Revision: number,
	}, nil
}

// Result is the merge patch that gives a release's revision another result.
func Result(r canary.Release) []byte {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": result(r)}})
	if err != nil {
		panic(err) // strings always marshal
	}
	return patch
}

func recordable(r canary.Release, owner Owner, name string) error {
	var errs []error
	if r.Rollout == "" {
		errs = append(errs, errors.New("it has no id"))
	}
	if r.Outcome != canary.Succeeded && r.Outcome != canary.RolledBack {
		errs = append(errs, fmt.Errorf("its outcome is %q, only %s and %s are ends", r.Outcome, canary.Succeeded, canary.RolledBack))
	}
	if owner.UID == "" {
		errs = append(errs, errors.New("the Service's uid is unknown"))
	}
	if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
		errs = append(errs, fmt.Errorf("no object can be named %q: %s", name, strings.Join(problems, ", ")))
	}
	return errors.Join(errs...)
}

func result(r canary.Release) map[string]string {
	all := map[string]string{
		outcomeKey:  string(r.Outcome),
		reasonKey:   string(r.Reason),
		messageKey:  r.Message,
		endedKey:    r.Ended.UTC().Format(time.RFC3339Nano),
		weightKey:   strconv.Itoa(r.Weight),
		digestsKey:  strings.Join(r.Digests, ","),
		requestsKey: strconv.FormatInt(r.Requests, 10),
		errorsKey:   strconv.FormatInt(r.Errors, 10),
	}
	if r.Handled != "" {
		all[handledKey] = r.Handled
	}
	return all
}

// Releases reads a Service's revisions, newest first. Those that can't be read
// are left out; the error joins what is wrong with them and stands in nobody's
// way.
func Releases(revisions []*appsv1.ControllerRevision) ([]canary.Release, error) {
	var releases []canary.Release
	var errs []error
	for _, revision := range newestFirst(revisions) {
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

// Release reads one revision. It fails for data of a newer version and for a
// result somebody changed into something unreadable.
func Release(revision *appsv1.ControllerRevision) (canary.Release, error) {
	fail := func(err error) (canary.Release, error) {
		return canary.Release{}, fmt.Errorf("read ControllerRevision %s/%s: %w; delete it if it isn't needed", revision.Namespace, revision.Name, err)
	}
	var s snapshot
	if err := json.Unmarshal(revision.Data.Raw, &s); err != nil {
		return fail(fmt.Errorf("data: %w", err))
	}
	if s.Version < 1 || s.Version > version {
		return fail(fmt.Errorf("data has version %d, this Serin knows 1 to %d", s.Version, version))
	}
	r := canary.Release{Rollout: s.Rollout, Canary: s.Canary, Stable: s.Stable, Spec: s.Spec, Started: s.Started, Legs: s.Legs, Width: s.Width, InPlace: s.InPlace}
	if err := readResult(revision.Annotations, &r); err != nil {
		return fail(err)
	}
	if err := canary.CheckRelease(r); err != nil {
		return fail(err)
	}
	return r, nil
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
	if r.Outcome != canary.Succeeded && r.Outcome != canary.RolledBack {
		errs = append(errs, fmt.Errorf("annotation %s is %q, neither %s nor %s", outcomeKey, r.Outcome, canary.Succeeded, canary.RolledBack))
	}
	ended, err := time.Parse(time.RFC3339Nano, annotations[endedKey])
	if err != nil {
		errs = append(errs, fmt.Errorf("annotation %s is %q, no time", endedKey, annotations[endedKey]))
	}
	r.Ended, r.Handled = ended.UTC(), annotations[handledKey]
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
// newest Keep, the last promoted one, which tells what runs as stable, and the
// last tried one. Revisions that can't be read are somebody else's, or a newer
// Serin's, and never named.
func Prune(revisions []*appsv1.ControllerRevision) []string {
	var names []string
	read, promoted := 0, false
	for _, revision := range newestFirst(revisions) {
		release, err := Release(revision)
		if err != nil {
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

func newestFirst(revisions []*appsv1.ControllerRevision) []*appsv1.ControllerRevision {
	return slices.SortedStableFunc(slices.Values(revisions), func(a, b *appsv1.ControllerRevision) int {
		return cmp.Or(cmp.Compare(b.Revision, a.Revision), b.CreationTimestamp.Compare(a.CreationTimestamp.Time))
	})
}
