package ledger_test

import (
	"context"
	"fmt"
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
	if err := adopt(ctx, l, "1", "2"); err != nil {
		return err
	}
	if _, err := l.BeginRun(ctx, ledger.RunInfo{Version: "v1"}); err != nil {
		return err
	}
	ops, err := l.Todo(ctx, "main", ledger.Cursor{}, 1)
	if err != nil {
		return err
	}
	for _, op := range ops {
		in := ledger.Intent{CallID: "c-1", Account: op.Account, Ops: []int64{op.ID}, Attempt: 1, At: time.Now()}
		if err := l.Intend(ctx, in); err != nil {
			return err
		}
		// Here the change is sent.
		out := ledger.Settle{CallID: "c-1", Op: op.ID, State: ledger.Done, RequestID: "4711", Attempts: 1}
		if err := l.Settle(ctx, []ledger.Settle{out}); err != nil {
			return err
		}
	}
	for r, err := range l.Results(ctx) {
		if err != nil {
			return err
		}
		fmt.Printf("line %d: %v", r.Line, r.State)
		if r.RequestID != "" {
			fmt.Printf(", request %s", r.RequestID)
		}
		fmt.Println()
	}
	return nil
}

// adopt makes a sheet that revokes these leads the ledger's sheet.
func adopt(ctx context.Context, l *ledger.Ledger, records ...string) error {
	s, err := l.Stage(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	for i, record := range records {
		op := crm.Operation{Action: crm.Revoke, Object: crm.Lead, Record: record, User: "u"}
		if err := s.Add(ledger.Staged{Line: i + 2, Cells: []string{"revoke", record}, Account: "main", Op: op}); err != nil {
			return err
		}
	}
	key := func(_ string, op crm.Operation) (key, bundle string) { return op.Object + "/" + op.Record, "" }
	if err := s.Index(ctx, key, nil); err != nil {
		return err
	}
	allNew := func(_ []ledger.Past, rows []crm.Operation) []ledger.Choice {
		choices := make([]ledger.Choice, len(rows))
		for i := range choices {
			choices[i] = ledger.Choice{Take: -1, Join: i, Turn: ledger.TurnNormal}
		}
		return choices
	}
	if err := s.Match(ctx, allNew); err != nil {
		return err
	}
	return s.Adopt(ctx, ledger.Source{Name: "sheet.csv"})
}
