package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/leadsquared"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

const benchWorkers = 64

// BenchmarkEngineToBareClient compares the whole engine, its ledger durable and its
// limit off, with a bare net/http client: calls per second against the same server
// with as many workers, in pairs that take turns. It reports the median ratio.
func BenchmarkEngineToBareClient(b *testing.B) {
	var ids atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "UserByAccessKey.Get") {
			_, _ = io.WriteString(w, `{"Id":"5a0d0b0c-0000-4000-8000-000000000001","Role":"Administrator","OrgId":"1"}`)
			return
		}
		fmt.Fprintf(w, `{"Status":"Success","Message":{"Id":"%032x"}}`, ids.Add(1))
	}))
	defer server.Close()
	const calls = 20000
	var ratios []float64
	var engineRate, bareRate float64
	for b.Loop() {
		bare := bareClient(b, server.URL, calls)
		engine := engineCalls(b, server.URL, calls)
		bareRate, engineRate = calls/bare.Seconds(), calls/engine.Seconds()
		ratios = append(ratios, engineRate/bareRate)
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "of-bare-client")
	b.ReportMetric(engineRate, "calls/s")
	b.ReportMetric(bareRate, "bare-calls/s")
}

// bareClient sends so many requests with nothing around them.
func bareClient(b *testing.B, base string, calls int) time.Duration {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: benchWorkers}}
	defer client.CloseIdleConnections()
	const body = `[{"UserId":"0203f172-8642-11e7-9bed-069b743e848f","Entity":1,"EntityType":3,"EntityId":"869196","ContextEntity":1,"ContextEntityId":"f2dbf1d5-bbab-418b-bddc-4c92ecdef214","AccessType":2}]`
	start := time.Now()
	var left atomic.Int64
	left.Store(int64(calls))
	var group sync.WaitGroup
	for range benchWorkers {
		group.Go(func() {
			for left.Add(-1) >= 0 {
				resp, err := client.Post(base+"/v2/EntityAccess.svc/Revoke", "application/json", strings.NewReader(body))
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		})
	}
	c0 := cpuNow()
	group.Wait()
	b.Logf("bare cpu us/call %.1f", float64((cpuNow()-c0).Microseconds())/float64(calls))
	return time.Since(start)
}

// engineCalls runs a sheet of so many revokes; only the run itself is timed.
func engineCalls(b *testing.B, base string, calls int) time.Duration {
	gate, err := transport.NewGate(transport.GateConfig{Limit: 100_000, Window: time.Second})
	if err != nil {
		b.Fatal(err)
	}
	defer gate.Close()
	provider, err := leadsquared.New(leadsquared.Config{
		Host: base, AccessKey: transport.NewSecret("u$r0123456789"), SecretKey: transport.NewSecret("s0123456789"),
	}, transport.Config{Gate: gate}, nil)
	if err != nil {
		b.Fatal(err)
	}
	led, err := ledger.Open(b.TempDir()+"/sheet.ledger.db", ledger.Options{Create: true})
	if err != nil {
		b.Fatal(err)
	}
	defer led.Close()
	in, err := sheet.Open(strings.NewReader(leadRevokes(calls)), "sheet.csv", sheet.Options{})
	if err != nil {
		b.Fatal(err)
	}
	run, err := batch.New(led, batch.Options{
		Accounts: []batch.Account{{Name: "main", CRM: "leadsquared", Host: "local", Provider: provider, Workers: benchWorkers}},
		Default:  "main", ConfirmOff: true,
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx := b.Context()
	if err := run.Load(ctx, in); err != nil {
		b.Fatal(err)
	}
	if _, err := run.Prepare(ctx); err != nil {
		b.Fatal(err)
	}
	if err := run.Adopt(ctx); err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	c0 := cpuNow()
	s, err := run.Run(ctx)
	b.Logf("engine cpu us/call %.1f", float64((cpuNow()-c0).Microseconds())/float64(calls))
	if err != nil {
		b.Fatal(err)
	}
	if s.Counts.Accepted != int64(calls) {
		b.Fatalf("counts %+v, want %d accepted", s.Counts, calls)
	}
	return time.Since(start)
}
