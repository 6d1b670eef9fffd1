package ledger_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// mixedWork returns the store of a closed ledger whose rows have ended in every way:
// lines 2 and 3 went together and are done, 4 was refused and then done, 5 is accepted,
// 6 was killed, 7 was confirmed after its acceptance, 8 was never tried, 9 is invalid.
func mixedWork(t *testing.T, newStore NewStore) Store {
	t.Helper()
	store := newStore(t)
	l, err := store.Open(Options())
	if err != nil {
		t.Fatal(err)
	}
	rows := Rows("r1a r1a s2b r3a r4a s5a r6a r7a")
	rows[7].Code, rows[7].Problem = "invalid", "no such action"
	Commit(t, l, rows)
	Begin(t, l)
	ops := make(map[string]ledger.Op)
	for _, op := range Next(t, l) {
		ops[op.Operation.Record] = op
	}
	Finish(t, l, ops["1"], crm.Done)
	Finish(t, l, ops["2"], crm.Failed)
	Finish(t, l, ops["2"], crm.Done)
	Finish(t, l, ops["3"], crm.Accepted)
	if err := l.Intend(t.Context(), ledger.Intent{CallID: "cut", Account: "main", Ops: []ledger.Op{ops["4"]}, Attempt: 1, At: At}); err != nil {
		t.Fatal(err)
	}
	Finish(t, l, ops["5"], crm.Accepted)
	confirmed := ledger.Outcome{Op: ops["5"], Status: crm.Done, Confirm: true, ConfirmedAt: At}
	if err := l.Record(t.Context(), []ledger.Outcome{confirmed}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return store
}

// Whoever changes a row beside the events is found out, by its line.
func testVerifyRows(t *testing.T, newStore NewStore) {
	change := func(line int, set string) string {
		return fmt.Sprintf("UPDATE op SET %s WHERE id = (SELECT op FROM sheet_row WHERE line = %d)", set, line)
	}
	for _, tc := range []struct {
		name, tamper string
		line         int // 0: nothing is wrong; -1: something is, and no line is to blame
		says         string
	}{
		{"untouched", "SELECT 1", 0, ""},
		{"done made failed", change(2, "state = 'failed'"), 2, "it is failed, and the last event about it says done"},
		{"a row that went with another", change(3, "state = 'failed'"), 3, "it is failed"},
		{"refused, then done, made refused", change(4, "state = 'failed'"), 4, "the last event about it says done"},
		{"accepted made done", change(5, "state = 'done'"), 5, "it is done, and the last event about it says accepted"},
		{"cut off made done", change(6, "state = 'done'"), 6, "it is done"},
		{"confirmed made accepted", change(7, "state = 'accepted'"), 7, "it is accepted"},
		{"never tried made done", change(8, "state = 'done'"), 8, "no event says that it was ever tried"},
		{"never tried, with a request Id", change(8, "request_id = 'R'"), 8, "no event"},
		{"never tried, with a place in the history", change(8, "seq = 99"), 8, "no event"},
		{"user", change(4, "user_id = 'c'"), 4, `user "c"`},
		{"record, access and action", change(4, "action = 'share', access = 'read', record_id = '9'"), 4, "it asks for share of lead 9"},
		{"account", "INSERT INTO account (id, name) VALUES (9, 'other'); " + change(4, "account = 9"), 4, `account "other"`},
		{"request Id", change(5, "request_id = 'Rx'"), 5, `its request Id is "Rx"`},
		{"request Id taken away", change(7, "request_id = NULL"), 7, `its request Id is ""`},
		{"operation deleted", "DELETE FROM op WHERE id = (SELECT op FROM sheet_row WHERE line = 4)", 4, "not there any more"},
		{"row points to another's operation", "UPDATE sheet_row SET op = (SELECT op FROM sheet_row WHERE line = 2) WHERE line = 8", 2, "same operation as another row"},
		{"row deleted", "DELETE FROM sheet_row WHERE line = 8", -1, "7 rows"},
		{"row made invalid", "UPDATE sheet_row SET op = NULL WHERE line = 8", -1, "8 rows with 6"},
		{"row of the history", "UPDATE op SET state = 'failed' WHERE id = (SELECT op FROM sheet_row WHERE line = 4); UPDATE sheet_row SET op = NULL WHERE line = 4", -1, "of an earlier sheet: it is failed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			store := mixedWork(t, newStore)
			Exec(t, store, tc.tamper)
			l, err := store.Open(ledger.Options{ReadOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if err := l.VerifyChain(t.Context()); err != nil {
				t.Fatalf("the events themselves: %v", err)
			}
			err = l.VerifyRows(t.Context())
			if tc.line == 0 {
				if err != nil {
					t.Errorf("got %v for rows that are as they were written", err)
				}
				return
			}
			broken, ok := errors.AsType[*ledger.ChainError](err)
			if !ok || broken.Line != max(tc.line, 0) || !strings.Contains(broken.Error(), tc.says) {
				t.Errorf("got %v, want line %d and %q", err, tc.line, tc.says)
			}
		})
	}
}

// Events of an earlier version of the program do not say which operations they are
// about: what only they tell of is not compared, everything else is.
func testVerifyRowsWithOlderEvents(t *testing.T, newStore NewStore) {
	store := newStore(t)
	l := Open(t, store)
	Commit(t, l, Rows("r1a r2a r3a"))
	for _, op := range Next(t, l)[:2] {
		Finish(t, l, op, crm.Done)
	}
	Exec(t, store, `UPDATE event SET body = replace(body, '"ops":"1"', '"was":"1"')`)
	Must(t, l.VerifyRows(t.Context()))
	Exec(t, store, "UPDATE op SET state = 'failed' WHERE id = 1")
	Must(t, l.VerifyRows(t.Context()))
	Exec(t, store, "UPDATE op SET state = 'failed' WHERE id = 2")
	if broken, ok := errors.AsType[*ledger.ChainError](l.VerifyRows(t.Context())); !ok || broken.Line != 3 {
		t.Errorf("got %v, want line 3", broken)
	}
}
