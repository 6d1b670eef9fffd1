package ledger_test

import (
	"context"
	"fmt"
	"iter"
	"log"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// A run in small: take in a sheet, do what is new in it, read the results.
func Example() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output:
	// line 2: done, request 4711
	// line 3: not_attempted
}

func run(ctx context.Context) error {
	l, err := ledger.Scratch("")
	if err != nil {
		return err
	}
	defer l.Close()
	if err := importSheet(ctx, l, "1", "2"); err != nil {
		return err
	}
	if _, err := l.BeginRun(ctx, ledger.RunInfo{Version: "v1"}); err != nil {
		return err
	}
	ops, err := l.Next(ctx, "main", ledger.Cursor{}, 1)
	if err != nil {
		return err
	}
	for _, op := range ops {
		in := ledger.Intent{CallID: "c-1", Account: op.Account, Ops: []ledger.Op{op}, Attempt: 1, At: time.Now()}
		if err := l.Intend(ctx, in); err != nil {
			return err
		}
		// Here the change is sent.
		out := ledger.Outcome{CallID: "c-1", Op: op, Status: crm.Done, RequestID: "4711", Attempts: 1}
		if err := l.Record(ctx, []ledger.Outcome{out}); err != nil {
			return err
		}
	}
	for r, err := range l.Results(ctx) {
		if err != nil {
			return err
		}
		fmt.Printf("line %d: %v", r.Line, r.Status)
		if r.RequestID != "" {
			fmt.Printf(", request %s", r.RequestID)
		}
		fmt.Println()
	}
	return nil
}

// importSheet makes a sheet that revokes these leads the ledger's sheet.
func importSheet(ctx context.Context, l *ledger.Ledger, records ...string) error {
	s, err := l.Import(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	for i, record := range records {
		op := crm.Operation{Action: crm.Revoke, Object: crm.Lead, Record: record, User: "u"}
		if err := s.Add(ledger.ImportRow{Line: i + 2, Cells: []string{"revoke", record}, Account: "main", Op: op}); err != nil {
			return err
		}
	}
	// All that was never tried and has a record to itself is new: nothing is decided here.
	asNew := func(iter.Seq2[ledger.Entry, error], func(past, rows []ledger.Entry, recordLevel bool, choices []ledger.Choice) error) error {
		return nil
	}
	if err := s.Match(ctx, asNew); err != nil {
		return err
	}
	return s.Commit(ctx, ledger.Source{Name: "sheet.csv"})
}
