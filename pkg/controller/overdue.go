package controller

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"serin.dev/serin/pkg/canary"
)

// errLeaseOver tells that nothing is written, for another may lead.
var errLeaseOver = errors.New("the lease was not renewed in time: another replica may lead")

// overdue tells when a lease was renewed last. A process that stood still wakes up
// as a leader until its next renewal fails, and has objects of then beside those of
// now; what it makes of these it must not write.
type overdue struct {
	sent atomic.Pointer[time.Time] // of the last renewal that was done
}

// at tells that the lease may be another's at a time.
func (o *overdue) at(now time.Time, duration time.Duration) bool {
	sent := o.sent.Load()
	return sent == nil || now.Sub(*sent) >= duration
}

// noting is a lock that notes when its renewals were sent: others count from then
// at the earliest.
type noting struct {
	resourcelock.Interface
	overdue *overdue
}

// Create is resourcelock.Interface's.
func (n noting) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return n.note(func() error { return n.Interface.Create(ctx, record) })
}

// Update is resourcelock.Interface's.
func (n noting) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return n.note(func() error { return n.Interface.Update(ctx, record) })
}

func (n noting) note(write func() error) error {
	sent := time.Now()
	err := write()
	if err == nil {
		n.overdue.sent.Store(&sent)
	}
	return err
}

// ofObjects are the reasons to go back that lie in what a Deployment asks for, and
// not in how its canary does. The watches of several kinds are not of one moment: a
// state of now beside a Deployment of before looks as if that had been changed, so
// it is asked for first. Nothing else waits before traffic is taken away.
var ofObjects = []canary.Reason{canary.TemplateChanged, canary.OptedOut, canary.DeploymentDeleted}
