package sandbox_test

import (
	"context"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// TestTwoWriters has two changes, the second one second after the first, and says
// whether they were open at once.
func TestTwoWriters(t *testing.T) {
	t.Parallel()
	const second = time.Second
	tests := []struct {
		name                string
		latency, processing time.Duration
		fault               sandbox.FaultKind // of the first
		patience            time.Duration     // with the first; 0: enough
		first, second       string            // bodies
		paths               [2]string
		want                int
	}{
		{name: "one after the other", first: leadShare, second: leadRevoke, paths: [2]string{pathShare, pathRevoke}},
		{name: "both in flight", latency: 2 * second, first: leadRevoke, second: leadRevoke, paths: [2]string{pathRevoke, pathRevoke}, want: 1},
		{name: "other targets in flight", latency: 2 * second, first: leadRevoke, second: oppRevoke, paths: [2]string{pathRevoke, pathRevoke}},
		{name: "first in processing", processing: 2 * second, first: leadShare, second: leadRevoke, paths: [2]string{pathShare, pathRevoke}, want: 1},
		{name: "first just processed", processing: second, first: leadShare, second: leadRevoke, paths: [2]string{pathShare, pathRevoke}},
		{name: "revoke repeated", processing: 2 * second, first: leadRevoke, second: leadRevoke, paths: [2]string{pathRevoke, pathRevoke}},
		{name: "share repeated", processing: 2 * second, first: leadShare, second: leadShare, paths: [2]string{pathShare, pathShare}, want: 1},
		{name: "share repeated after a lost answer", processing: 2 * second, fault: sandbox.FaultResetAfter, first: leadShare, second: leadShare, paths: [2]string{pathShare, pathShare}},
		{name: "revoke after a share whose answer was lost", processing: 2 * second, fault: sandbox.FaultResetAfter, first: leadShare, second: leadRevoke, paths: [2]string{pathShare, pathRevoke}, want: 1},
		{name: "first one never arrived", processing: 2 * second, fault: sandbox.FaultResetBefore, first: leadShare, second: leadRevoke, paths: [2]string{pathShare, pathRevoke}},
		{name: "first one refused", latency: 0, processing: 2 * second, fault: sandbox.FaultException, first: leadShare, second: leadRevoke, paths: [2]string{pathShare, pathRevoke}},
		{name: "never processed", fault: sandbox.FaultNeverProcess, first: leadShare, second: leadRevoke, paths: [2]string{pathShare, pathRevoke}, want: 1},
		{name: "revoke never processed, repeated", fault: sandbox.FaultNeverProcess, first: leadRevoke, second: leadRevoke, paths: [2]string{pathRevoke, pathRevoke}},
		{name: "still hanging", fault: sandbox.FaultHang, patience: 2 * second, first: leadRevoke, second: leadRevoke, paths: [2]string{pathRevoke, pathRevoke}, want: 1},
		{name: "given up", fault: sandbox.FaultHang, patience: second / 2, first: leadShare, second: leadShare, paths: [2]string{pathShare, pathShare}},
		{name: "target twice in one call", first: leadRevoke[:len(leadRevoke)-1] + "," + leadRevoke[1:], second: oppRevoke, paths: [2]string{pathRevoke, pathRevoke}, want: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newClient(t, sandbox.Config{Latency: lasting(tt.latency), Processing: lasting(tt.processing)})
				if tt.fault != "" {
					c.server.Fault(sandbox.Fault{Kind: tt.fault, Times: 1})
				}
				patience := time.Hour
				if tt.patience > 0 {
					patience = tt.patience
				}
				var wg sync.WaitGroup
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					defer cancel()
					c.dropped(c.request(http.MethodPost, tt.paths[0], tt.first).WithContext(ctx))
				})
				time.Sleep(second)
				c.dropped(c.request(http.MethodPost, tt.paths[1], tt.second))
				wg.Wait()
				if got := c.server.OpenOnOneTarget(); got != tt.want {
					t.Errorf("open on one target: got %d, want %d", got, tt.want)
				}
			})
		})
	}
}

// dropped sends a request, reads what comes, and does not mind what it is.
func (c client) dropped(r *http.Request) {
	resp, err := c.rt.RoundTrip(r)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		c.tb.Error(err)
	}
}
