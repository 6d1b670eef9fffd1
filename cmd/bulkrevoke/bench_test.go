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
	server := httptest.NewServer(acceptEverything())
	defer server.Close()
	const calls = 20000
	var ratios, engineRates, bareRates, ratiosCPU []float64
	for b.Loop() {
		bare, bareCPU := bareClient(b, server.URL, calls)
		engine, engineCPU := engineCalls(b, server.URL, calls)
		bareRates, engineRates = append(bareRates, calls/bare.Seconds()), append(engineRates, calls/engine.Seconds())
		ratios = append(ratios, bare.Seconds()/engine.Seconds())
		if engineCPU > 0 {
			ratiosCPU = append(ratiosCPU, bareCPU.Seconds()/engineCPU.Seconds())
		}
	}
	b.ReportMetric(median(ratios), "of-bare-client")
	b.ReportMetric(median(engineRates), "calls/s")
	b.ReportMetric(median(bareRates), "bare-calls/s")
	if len(ratiosCPU) > 0 {
		// What the machine's other work does not disturb.
		b.ReportMetric(median(ratiosCPU), "of-bare-client-by-cpu")
	}
}

// acceptEverything answers as LeadSquared does, at once and always with yes.
func acceptEverything() http.Handler {
	var ids atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "UserByAccessKey.Get") {
			_, _ = io.WriteString(w, `{"Id":"5a0d0b0c-0000-4000-8000-000000000001","Role":"Administrator","OrgId":"1"}`)
			return
		}
		fmt.Fprintf(w, `{"Status":"Success","Message":{"Id":"%032x"}}`, ids.Add(1))
	})
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// bareClient sends so many requests with nothing around them.
func bareClient(b *testing.B, base string, calls int) (took, cpu time.Duration) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: benchWorkers}}
	defer client.CloseIdleConnections()
	const body = `[{"UserId":"0203f172-8642-11e7-9bed-069b743e848f","Entity":1,"EntityType":3,"EntityId":"869196","ContextEntity":1,"ContextEntityId":"f2dbf1d5-bbab-418b-bddc-4c92ecdef214","AccessType":2}]`
	start, used := time.Now(), cpuTime()
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
	group.Wait()
	return time.Since(start), cpuTime() - used
}

// engineCalls runs a sheet of so many revokes; only the run itself is timed.
func engineCalls(b *testing.B, base string, calls int) (took, cpu time.Duration) {
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
	if err := run.LoadSheet(ctx, in); err != nil {
		b.Fatal(err)
	}
	if _, err := run.Prepare(ctx); err != nil {
		b.Fatal(err)
	}
	if err := run.Commit(ctx); err != nil {
		b.Fatal(err)
	}
	start, used := time.Now(), cpuTime()
	s, err := run.Run(ctx)
	took, cpu = time.Since(start), cpuTime()-used
	if err != nil {
		b.Fatal(err)
	}
	if s.Counts.Accepted != int64(calls) {
		b.Fatalf("counts %+v, want %d accepted", s.Counts, calls)
	}
	return took, cpu
}
