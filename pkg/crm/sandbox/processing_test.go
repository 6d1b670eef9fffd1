package sandbox_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
	"github.com/google/go-cmp/cmp"
)

func lasting(d time.Duration) func() time.Duration { return func() time.Duration { return d } }

func TestProcessingTakesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, sandbox.Config{Processing: lasting(9 * time.Second), Pending: []int{1, 3, 4}, Limit: -1})
		id := c.accept(pathShare, leadShare)
		var codes []int
		for range 10 {
			got := c.status(id)
			codes = append(codes, got.ShareStatus)
			if shared := len(c.server.Shares()) == 1; shared != (got.ShareStatus == 6) || got.ErrorMessage != nil {
				t.Errorf("status %+v, shared %v: want the effect with the success", got, shared)
			}
			time.Sleep(time.Second)
		}
		if diff := cmp.Diff([]int{1, 1, 1, 3, 3, 3, 4, 4, 4, 6}, codes); diff != "" {
			t.Errorf("codes (-want +got):\n%s", diff)
		}
	})
}

func TestSharesRunOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, sandbox.Config{Processing: lasting(time.Second)})
		c.accept(pathShare, leadShare)
		time.Sleep(time.Second + 30*time.Minute - 1)
		if got := c.server.Shares(); len(got) != 1 {
			t.Errorf("just before the end: got %v, want one", got)
		}
		time.Sleep(time.Nanosecond)
		if got := c.server.Shares(); len(got) != 0 {
			t.Errorf("at the end: got %v, want none", got)
		}
	})
}

// TestOrderIsNotPromised has a share that takes longer than the revoke sent after
// it: it acts last.
func TestOrderIsNotPromised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		takes := []time.Duration{time.Minute, time.Second}
		c := newClient(t, sandbox.Config{Processing: func() time.Duration {
			d := takes[0]
			takes = takes[1:]
			return d
		}})
		c.accept(pathShare, leadShare)
		c.accept(pathRevoke, leadRevoke)
		time.Sleep(time.Hour / 4)
		if got := c.server.Shares(); len(got) != 1 {
			t.Errorf("got %v, want the share to have acted last", got)
		}
		if got := c.server.OpenOnOneTarget(); got != 1 {
			t.Errorf("open on one target: got %d, want 1", got)
		}
	})
}

func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, sandbox.Config{Latency: lasting(1500 * time.Millisecond)})
		start := time.Now()
		c.accept(pathRevoke, leadRevoke)
		if got := time.Since(start); got != 1500*time.Millisecond {
			t.Errorf("took %v, want 1.5s", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := c.rt.RoundTrip(c.request(http.MethodGet, pathUsers, "").WithContext(ctx))
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with less patience: got %v, want the deadline", err)
		}
		if got := c.server.Arrivals(); len(got) != 2 || got[1].Status != 0 {
			t.Errorf("arrivals: got %+v, want the second one without a status", got)
		}
	})
}

func TestSlowAndTrickle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, sandbox.Config{})
		c.server.Fault(sandbox.Fault{Kind: sandbox.FaultSlow, Delay: 3 * time.Second, Times: 1})
		c.server.Fault(sandbox.Fault{Kind: sandbox.FaultTrickle, Delay: time.Second, Times: 1})
		start := time.Now()
		c.accept(pathRevoke, leadRevoke)
		if got := time.Since(start); got != 3*time.Second {
			t.Errorf("slow: took %v, want 3s", got)
		}
		start = time.Now()
		_, body := c.do(c.request(http.MethodGet, pathUsers, ""))
		if got := time.Since(start); got != time.Duration(len(body))*time.Second {
			t.Errorf("trickle: took %v, want a second for each of %d bytes", got, len(body))
		}
	})
}

func TestHang(t *testing.T) {
	for _, processed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := newClient(t, sandbox.Config{})
			c.server.Fault(sandbox.Fault{Kind: sandbox.FaultHang, Times: 1, Processed: processed})
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			start := time.Now()
			_, err := c.rt.RoundTrip(c.request(http.MethodPost, pathShare, leadShare).WithContext(ctx))
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 20*time.Second {
				t.Errorf("got %v after %v, want the deadline after 20s", err, time.Since(start))
			}
			if got := len(c.server.Requests()) == 1; got != processed {
				t.Errorf("carried out: got %v, want %v", got, processed)
			}
		})
	}
}
