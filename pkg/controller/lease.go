package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// ErrLeaseLost tells that another replica may be leading now. The process has
// to end: every write is guarded by a resourceVersion, but two that decide at
// once make a noise.
var ErrLeaseLost = errors.New("the leader's lease was lost")

// Lease is what replicas agree by on which of them works.
type Lease struct {
	// Client reads and writes the lease. It should have a limit and a connection of
	// its own: a renewal that waits behind other requests loses the lease.
	Client          coordinationv1.LeasesGetter
	Namespace, Name string
	Identity        string // unique per process
	// Duration is how long a silent leader is believed, RenewDeadline how long
	// it tries itself before it gives up, RetryPeriod how often all try;
	// Duration > RenewDeadline > 1.2 * RetryPeriod.
	Duration, RenewDeadline, RetryPeriod time.Duration

	renewed overdue
}

// hold waits for the lease, works while it is held, and gives it back after the
// work has stopped. It returns nil when ctx ended, or ErrLeaseLost.
func (l *Lease) hold(ctx context.Context, log *zap.Logger, meter Meter, work func(context.Context)) error {
	leading := make(chan struct{})
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: renewals{meter: meter, Interface: noting{overdue: &l.renewed, Interface: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: l.Namespace, Name: l.Name},
			Client:     l.Client,
			LockConfig: resourcelock.ResourceLockConfig{Identity: l.Identity},
		}}},
		LeaseDuration: l.Duration, RenewDeadline: l.RenewDeadline, RetryPeriod: l.RetryPeriod,
		// The lease is released when the election's context ends, which is only
		// after the workers have: see below.
		ReleaseOnCancel: true,
		Name:            l.Name,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { close(leading) },
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return fmt.Errorf("elect a leader by Lease %s/%s: %w", l.Namespace, l.Name, err)
	}
	election, endElection := context.WithCancel(context.WithoutCancel(ctx))
	over := make(chan struct{})
	go func() {
		defer close(over)
		elector.Run(election)
	}()
	defer func() {
		endElection()
		<-over
	}()

	log.Info("Waiting for the lease", zap.String("lease", l.Namespace+"/"+l.Name), zap.String("identity", l.Identity))
	select {
	case <-leading:
	case <-ctx.Done():
		return nil
	}
	working, stop := context.WithCancel(ctx)
	defer stop()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		work(working)
	}()
	var lost error
	select {
	case <-ctx.Done():
	case <-over:
		lost = ErrLeaseLost
	}
	stop()
	<-stopped
	return lost
}
