package ledger_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// BenchmarkDatabase takes rows through intent, with what was seen before, and outcome, one after
// the other on each account: 500 accounts of one ledger, 100 ledgers with 5 accounts each, and
// one account alone. A row takes 2.2, 2.7 and 13 statements, and 0.005, 0.015 and 2 transactions
// (2026-11).
func BenchmarkDatabase(b *testing.B) {
	server := startPostgres(b)
	for i, bb := range []struct{ ledgers, accounts int }{{1, 500}, {100, 5}, {1, 1}} {
		b.Run(fmt.Sprintf("ledgers=%d/accounts=%d", bb.ledgers, bb.accounts), func(b *testing.B) {
			var statements, commits atomic.Int64
			o := tap{before: func(query string, _ []any) error {
				if statements.Add(1); query == "COMMIT" {
					commits.Add(1)
				}
				return nil
			}}.onDatabase()
			d := newDatabase(b, server.URL, b.Name(), int64(100*i+b.N))
			db := d.mustDatabase(b, o)
			const rows = 10 // of an account
			var sheet []ledger.ImportRow
			for n := range rows * bb.accounts {
				op := crm.Operation{Action: crm.Revoke, Object: crm.Lead, Record: fmt.Sprint(n), User: "a"}
				sheet = append(sheet, ledger.ImportRow{Line: n + 2, Cells: []string{"revoke", "lead", fmt.Sprint(n)}, Account: fmt.Sprint(n % bb.accounts), Op: op})
			}
			total := 0
			for n := 0; b.Loop(); n++ {
				b.StopTimer()
				all := ledgers(b, db, fmt.Sprint(d.name, " ", n), bb.ledgers, sheet, Options())
				var wg sync.WaitGroup
				start := make(chan struct{})
				for _, l := range all {
					for account := range bb.accounts {
						ops, err := l.Next(b.Context(), fmt.Sprint(account), ledger.Cursor{}, rows)
						Must(b, err)
						wg.Go(func() {
							<-start
							for _, op := range ops {
								if err := finish(l, op); err != nil {
									b.Error(err)
									return
								}
							}
						})
					}
				}
				began, beganCommits := statements.Load(), commits.Load()
				b.StartTimer()
				close(start)
				wg.Wait()
				b.StopTimer()
				total += rows * bb.accounts * bb.ledgers
				b.ReportMetric(float64(statements.Load()-began)/float64(rows*bb.accounts*bb.ledgers), "statements/row")
				b.ReportMetric(float64(commits.Load()-beganCommits)/float64(rows*bb.accounts*bb.ledgers), "transactions/row")
				for _, l := range all {
					Must(b, l.Close())
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(total)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
