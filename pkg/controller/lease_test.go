package controller

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"serin.dev/serin/internal/apiserver"
)

// link is one process's way to the API server, which can be cut.
type link struct {
	api *apiserver.Server
	cut atomic.Bool
}

func (l *link) RoundTrip(r *http.Request) (*http.Response, error) {
	if l.cut.Load() {
		return nil, errors.New("the network is down")
	}
	return l.api.RoundTrip(r)
}

func testLease(identity string) *Lease {
	return &Lease{Namespace: "serin-system", Name: "serin", Identity: identity,
		Duration: 11 * time.Second, RenewDeadline: 8 * time.Second, RetryPeriod: 2 * time.Second}
}

func TestAStandbyTakesOverAtOnceAfterACleanStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first, endFirst := w.runOver(w.api, testLease("first"))
		w.until(time.Minute, "the first leads", first.Leading)
		second, endSecond := w.runOver(w.api, testLease("second"))
		pass(time.Minute)
		if second.Leading() {
			t.Fatal("two lead at once")
		}
		if err := endFirst(); err != nil {
			t.Fatal(err)
		}
		w.until(5*time.Second, "the second leads", second.Leading)
		if err := endSecond(); err != nil {
			t.Error(err)
		}
	})
}

func TestAStandbyTakesOverSoonAfterACrashAndTheLostOneEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		way := &link{api: w.api}
		first, endFirst := w.runOver(way, testLease("first"))
		w.until(time.Minute, "the first leads", first.Leading)
		second, endSecond := w.runOver(w.api, testLease("second"))
		pass(time.Minute)
		way.cut.Store(true)
		w.until(20*time.Second, "the second leads", func() bool {
			if first.Leading() && second.Leading() {
				t.Fatal("two lead at once")
			}
			return second.Leading()
		})
		if err := endFirst(); !errors.Is(err, ErrLeaseLost) {
			t.Errorf("the first ended with %v, want %v", err, ErrLeaseLost)
		}
		if err := endSecond(); err != nil {
			t.Error(err)
		}
	})
}

func TestTheLeaseIsGivenBackOnlyAfterTheLastWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		held := make(chan struct{})
		var slow, released atomic.Bool
		w.api.Fault = func(r *http.Request) error {
			switch {
			case strings.Contains(r.URL.Path, "/leases/"):
				if r.Method == http.MethodPut && slow.Load() {
					released.Store(true)
				}
			case r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/web") && slow.CompareAndSwap(false, true):
				close(held)
				pass(4 * time.Second) // a write that ends when it ends, whatever its context says
				if released.Load() {
					t.Error("the lease was given back while a write was under way")
				}
			}
			return nil
		}
		lease := testLease("first")
		lease.RetryPeriod = 7 * time.Second // so that no renewal is taken for the release
		lease.RenewDeadline = 9 * time.Second
		c, end := w.runOver(w.api, lease)
		w.until(time.Minute, "it leads", c.Leading)
		pass(time.Second) // the first renewal comes at once, the next one after the write
		w.deploy("web-v2", "v2", "two", opted)
		<-held
		if err := end(); err != nil {
			t.Error(err)
		}
		if !released.Load() {
			t.Error("the lease was not given back")
		}
	})
}
