package controller

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"serin.dev/serin/pkg/canary"
	"serin.dev/serin/pkg/cluster"
	"serin.dev/serin/pkg/safetext"
)

const (
	reporter = "serin.dev/controller"
	// waitingEvents may wait to be sent; what comes on top is in the log only.
	waitingEvents = 1000
	// maxNote is the API's bound on an Event's note, in bytes.
	maxNote = 1024
	// lastWords is how long Events that wait are still sent on a clean stop.
	lastWords = 3 * time.Second
)

// errCrowded tells that too many Events wait already.
var errCrowded = errors.New("too many Events wait to be sent")

// teller tells people, each thing once: in the log, and as Events. It never
// blocks a pass. (client-go's recorder folds Events of one reason into a series
// that keeps the first sentence only; here each step has a sentence of its own.)
type teller struct {
	kube     kubernetes.Interface
	log      *zap.Logger
	meter    Meter
	listener Listener
	instance string
	events   chan *eventsv1.Event

	mu       sync.Mutex
	standing map[cluster.Key]map[canary.Event]bool // told by the last pass
	kept     map[cluster.Key]keeping               // for people to see
	last     int64
}

func newTeller(kube kubernetes.Interface, log *zap.Logger, meter Meter, listener Listener) *teller {
	instance, err := os.Hostname()
	if err != nil {
		instance = "unknown" // the API demands a name, and any will do
	}
	return &teller{
		kube: kube, log: log, meter: meter, listener: listener, instance: instance,
		events:   make(chan *eventsv1.Event, waitingEvents),
		standing: map[cluster.Key]map[canary.Event]bool{}, kept: map[cluster.Key]keeping{},
	}
}

// subject is what an Event is about.
type subject struct {
	kind, version, name, uid, rollout string
}

// about is the Deployment whose release a plan is about, or the Service when
// there is no such Deployment any more.
func (s situation) about(p canary.Plan) subject {
	side, seen := p.Next.Canary, s.observation.Tracks.Canary
	if p.Next.InPlace || s.observation.InPlace { // the canary is ours: people know their own
		side, seen = p.Next.Stable, s.observation.Tracks.Stable
	}
	name := side.Deployment
	if !p.Next.Phase.Active() && seen.Deployment != "" {
		name = seen.Deployment
	}
	for _, d := range s.objects.Deployments {
		if d.Name == name {
			return subject{"Deployment", "apps/v1", name, d.UID, p.Next.Rollout}
		}
	}
	uid := ""
	if s.objects.ServiceFound != nil {
		uid = s.objects.ServiceFound.UID
	}
	return subject{"Service", "v1", s.key.Name, uid, p.Next.Rollout}
}

// tell says what the pass before has not said already.
func (t *teller) tell(k cluster.Key, about subject, view canary.View, events []canary.Event) {
	t.mu.Lock()
	before := t.standing[k]
	now := map[canary.Event]bool{}
	var fresh []canary.Event
	for _, e := range events {
		if !before[e] && !now[e] {
			fresh = append(fresh, e)
		}
		now[e] = true
	}
	t.standing[k] = now
	t.mu.Unlock()
	view.Namespace, view.Service = k.Namespace, k.Name
	for _, e := range fresh {
		t.say(k, about, e)
		if t.listener != nil {
			t.listener.Told(view, e)
		}
	}
}

func (t *teller) forget(k cluster.Key) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.standing, k)
	delete(t.kept, k)
}

func (t *teller) say(k cluster.Key, about subject, e canary.Event) {
	t.meter.Decided(e.Reason)
	sentence := safetext.Line(e.Sentence) // it quotes names and what programs said
	log, kind := t.log.Info, corev1.EventTypeNormal
	if e.Warning {
		log, kind = t.log.Warn, corev1.EventTypeWarning
	}
	log(sentence, zap.String("reason", string(e.Reason)), zap.String("namespace", k.Namespace),
		zap.String("service", k.Name), zap.String("rollout", about.rollout))
	now := time.Now()
	t.keep(k, about.rollout, canary.Event{Reason: e.Reason, Sentence: sentence, Warning: e.Warning}, now)
	event := &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: k.Namespace,
			Name:      fmt.Sprintf("%s.%x", about.name, t.unique(now)),
		},
		EventTime:           metav1.NewMicroTime(now),
		ReportingController: reporter,
		ReportingInstance:   t.instance,
		Action:              "Release",
		Reason:              string(e.Reason),
		Type:                kind,
		Note:                shorten(sentence),
		Regarding: corev1.ObjectReference{
			Kind: about.kind, APIVersion: about.version, Namespace: k.Namespace,
			Name: about.name, UID: types.UID(about.uid),
		},
	}
	select {
	case t.events <- event:
	default: // never block a pass: the sentence is in the log
		t.meter.Told(errCrowded)
	}
}

// unique is a number no other Event of this process has, about the time.
func (t *teller) unique(now time.Time) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = max(t.last+1, now.UnixNano())
	return t.last
}

func shorten(s string) string {
	if len(s) <= maxNote {
		return s
	}
	return strings.ToValidUTF8(s[:maxNote-3], "") + "..."
}

// start sends Events until the function it returns is called, which still
// sends those that wait.
func (t *teller) start(ctx context.Context) (stop func()) {
	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done, end := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case e := <-t.events:
				t.send(sending, e)
			case <-end:
				t.drain(sending)
				return
			}
		}
	}()
	return func() {
		timer := time.AfterFunc(lastWords, cancel)
		close(end)
		<-done
		timer.Stop()
		cancel()
	}
}

func (t *teller) drain(ctx context.Context) {
	for {
		select {
		case e := <-t.events:
			t.send(ctx, e)
		default:
			return
		}
	}
}

func (t *teller) send(ctx context.Context, e *eventsv1.Event) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err := t.kube.EventsV1().Events(e.Namespace).Create(ctx, e, metav1.CreateOptions{})
	t.meter.Told(err)
	if err != nil {
		t.log.Debug("An Event is not sent", zap.String("reason", e.Reason), zap.Error(err))
	}
}
