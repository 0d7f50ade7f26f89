package controller

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"serin.dev/serin/internal/apiserver"
)

func TestALeaderThatWakesUpTooLateWritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		lease := testLease("first")
		var late atomic.Bool
		w.api.Fault = func(r *http.Request) error {
			switch {
			case r.Method != http.MethodPut:
			case strings.Contains(r.URL.Path, "/leases/"):
				late.Store(false)
			case late.Load():
				t.Errorf("%s is written though another may lead", r.URL.Path)
			}
			return nil
		}
		c, end := w.runOver(w.api, lease)
		w.until(time.Minute, "it leads", c.Leading)
		pass(5 * time.Second)
		// As after a stop of the process: it leads, and has not renewed for long.
		long := time.Now().Add(-lease.Duration)
		late.Store(true)
		lease.renewed.sent.Store(&long)
		w.deploy("web-v2", "v2", "two", opted)
		w.until(time.Minute, "at 5%", func() bool { return w.weight("web") == 5 })
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

// late is a way to the API server by which nothing more is told of Deployments
// from some moment on.
type late struct {
	api *apiserver.Server
	cut chan struct{} // closed: nothing more comes
	on  chan struct{} // closed: everything comes
}

func (l *late) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := l.api.RoundTrip(r)
	if err == nil && strings.HasSuffix(r.URL.Path, "/deployments") && r.URL.Query().Get("watch") != "" {
		response.Body = lateBody{response.Body, l, r.Context().Done()}
	}
	return response, err
}

type lateBody struct {
	io.ReadCloser
	way  *late
	done <-chan struct{}
}

func (b lateBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	select {
	case <-b.way.cut:
	default:
		return n, err
	}
	select {
	case <-b.way.on:
	case <-b.done:
	}
	return n, err
}

func TestAStateOfNowBesideADeploymentOfBeforeIsNoChangeOfTheTemplate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first, endFirst := w.runOver(w.api, testLease("first"))
		w.until(time.Minute, "the first leads", first.Leading)
		w.deploy("web-v2", "v2", "one of old", nil)
		pass(time.Minute)
		way := &late{api: w.api, cut: make(chan struct{}), on: make(chan struct{})}
		second, endSecond := w.runOver(way, testLease("second"))
		pass(time.Minute)
		close(way.cut)
		w.deploy("web-v2", "v2", "two", opted)
		w.until(time.Minute, "at 5%", func() bool { return w.weight("web") == 5 })
		if err := endFirst(); err != nil {
			t.Fatal(err)
		}
		w.until(time.Minute, "the second leads", second.Leading)
		pass(5 * time.Second)
		if got := w.weight("web"); got != 5 {
			t.Errorf("the second, which has not seen the new template yet, made %d%% of 5%%", got)
		}
		close(way.on)
		w.until(30*time.Minute, "promoted", func() bool { return phase(second) == "Succeeded" })
		if err := endSecond(); err != nil {
			t.Error(err)
		}
	})
}
