package report

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// at is when everything in these tests happens.
var at = time.Date(2026, 11, 22, 2, 35, 31, 4_000_000, time.UTC)

// sheetRow is a row of a test's sheet, and what becomes of it.
type sheetRow struct {
	cells   []string
	op      crm.Operation
	code    string // an invalid row
	problem string
	aside   bool            // its account can not be worked with, for that reason
	sent    bool            // an intent is recorded
	settle  *ledger.Outcome // and this outcome
}

// revoke returns a revoke of a lead, told apart by its number.
func revoke(n int) crm.Operation {
	return crm.Operation{Action: crm.Revoke, Object: crm.Lead, Record: fmt.Sprint(1000 + n), Context: "c", User: "u", Access: crm.Read}
}

// share returns a share of a lead.
func share(n int) crm.Operation {
	op := revoke(n)
	op.Action = crm.Share
	return op
}

// newLedger returns a ledger that has committed the rows and knows what became of
// them. Lines are counted from 2.
func newLedger(tb testing.TB, layout sheet.Layout, rows []sheetRow) *ledger.Ledger {
	tb.Helper()
	ctx := tb.Context()
	led, err := ledger.Open(filepath.Join(tb.TempDir(), "sheet.ledger.db"), ledger.Options{Create: true})
	must(tb, err)
	tb.Cleanup(func() { must(tb, led.Close()) })
	must(tb, led.Bind(ctx, ledger.Binding{Account: "main", CRM: "leadsquared", Host: "crm.example", Org: "1"}))
	stage, err := led.Import(ctx)
	must(tb, err)
	for i, r := range rows {
		row := ledger.ImportRow{Line: i + 2, Cells: r.cells, Account: "main", Op: r.op, Code: r.code, Problem: r.problem}
		if r.aside {
			row.Op, row.Email, row.Code, row.Problem = revoke(i), fmt.Sprintf("u%d@x.example", i), "", ""
			row.Op.User = ""
		}
		must(tb, stage.Add(row))
		if r.aside {
			_, err := stage.Reject(ctx, ledger.Where{Account: "main", Email: row.Email}, ledger.Rejection{Code: r.code, Problem: r.problem, Unavailable: true})
			must(tb, err)
		}
	}
	must(tb, stage.Match(ctx, allNew))
	text, err := json.Marshal(layout)
	must(tb, err)
	must(tb, stage.Commit(ctx, ledger.Source{Name: "sheet.csv", SHA256: "00", Layout: text}))
	_, err = led.BeginRun(ctx, ledger.RunInfo{Version: "test"})
	must(tb, err)
	for res, err := range led.Results(ctx) {
		must(tb, err)
		r := rows[res.Ord-1]
		if !r.sent && r.settle == nil {
			continue
		}
		must(tb, led.Intend(ctx, ledger.Intent{CallID: fmt.Sprintf("call-%d", res.Ord), Account: "main", Ops: []ledger.Op{opOf(res)}, Attempt: 1, At: at}))
		if r.settle == nil {
			continue
		}
		s := *r.settle
		s.Op, s.CallID, s.Attempts, s.SentAt = opOf(res), fmt.Sprintf("call-%d", res.Ord), 1, at
		must(tb, led.Record(ctx, []ledger.Outcome{s}))
	}
	return led
}

// opOf is the operation of a row that goes by itself.
func opOf(res ledger.Result) ledger.Op {
	return ledger.Op{ID: res.ID, Ord: res.Ord, Line: res.Line, Account: res.Account, Operation: res.Op, Status: res.Status, Rows: 1}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
