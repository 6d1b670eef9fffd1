package ledger_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// TestWorkQueriesUseTheirIndex keeps finished rows from costing anything: each
// query searches its own index and sorts nothing.
func TestWorkQueriesUseTheirIndex(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	var asked string
	var values []any
	o := tap{before: func(query string, args []any) error {
		asked, values = query, args
		return nil
	}}.on(Options())
	l, err := ledger.Open(path, o)
	Must(t, err)
	defer l.Close()
	db, err := sql.Open("sqlite", path)
	Must(t, err)
	defer db.Close()
	ctx := t.Context()
	for _, tt := range []struct {
		index string
		read  func() error
	}{
		{"op_next", func() error { _, err := l.Next(ctx, "main", ledger.Cursor{}, 9); return err }},
		{"op_open", func() error { _, err := l.OfKey(ctx, "main", crm.Target{Object: "o", Record: "r"}, 0, 9); return err }},
		{"op_unconfirmed", func() error { _, err := l.Unconfirmed(ctx, "main", 0, 9); return err }},
	} {
		Must(t, tt.read())
		rows, err := db.Query("EXPLAIN QUERY PLAN "+asked, values...)
		Must(t, err)
		var plan []string
		for rows.Next() {
			var id, parent, unused int
			var detail string
			Must(t, rows.Scan(&id, &parent, &unused, &detail))
			plan = append(plan, detail)
		}
		Must(t, errors.Join(rows.Err(), rows.Close()))
		got := strings.Join(plan, "; ")
		if !strings.Contains(got, "SEARCH o USING INDEX "+tt.index) || tt.index == "op_next" && !strings.Contains(got, "SEARCH p USING INDEX op_open") || strings.Contains(got, "TEMP B-TREE") || strings.Contains(got, "SCAN") {
			t.Errorf("%s: %s", tt.index, got)
		}
	}
}

// One of several changes that go into one commit can not be made, and one is given up.
func TestRefusedChangesLeaveTheOthersAlone(t *testing.T) {
	t.Parallel()
	l := Open(t, newFile(t))
	Commit(t, l, Rows("r1a r1a r2b r3c r4d"))
	Begin(t, l)
	ops := Next(t, l)
	intent := func(op ledger.Op) ledger.Intent {
		return ledger.Intent{CallID: fmt.Sprint(op.ID), Account: "main", Ops: []ledger.Op{op}, Attempt: 1, At: At}
	}
	// Held up, the writer finds them all waiting and puts them in one commit.
	hold, held := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := l.Alone(func() { close(held); <-hold }); err != nil {
			t.Error(err)
		}
	})
	<-held
	errs := make([]error, 4)
	for i, op := range []ledger.Op{ops[0], {ID: 999, Rows: 1}, ops[2], ops[3]} {
		wg.Go(func() { errs[i] = l.Intend(context.Background(), intent(op)) })
	}
	gone, cancel := context.WithCancel(t.Context())
	gaveUp := make(chan error)
	go func() { gaveUp <- l.Intend(gone, intent(ops[1])) }()
	for l.Queued() < 5 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-gaveUp; !errors.Is(err, context.Canceled) {
		t.Errorf("an intent given up while it waited: got %v", err)
	}
	close(hold)
	wg.Wait()
	WantIs(t, errs[1], ledger.ErrUnknownOp)
	if err := errors.Join(errs[0], errs[2], errs[3]); err != nil {
		t.Errorf("the others suffer for it: %v", err)
	}
	if got, want := States(t, l), "r1a:in_doubt r1a:in_doubt r2b:not_attempted r3c:in_doubt r4d:in_doubt"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := l.VerifyChain(t.Context()); err != nil {
		t.Error(err)
	}
}
