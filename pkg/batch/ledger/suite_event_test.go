package ledger_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// worked returns the store of a closed ledger with a few events in it.
func worked(t testing.TB, newStore NewStore) Store {
	t.Helper()
	store := newStore(t)
	l, err := store.Open(Options())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Bind(t.Context(), ledger.Binding{Account: "main", CRM: "leadsquared", Host: "h", Org: "o"}); err != nil {
		t.Fatal(err)
	}
	Commit(t, l, Rows("r1a r1a s2b"))
	run := Begin(t, l)
	for _, op := range Next(t, l) {
		Finish(t, l, op, crm.Done)
	}
	if err := l.EndRun(t.Context(), run, json.RawMessage(`{"rows":3}`)); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return store
}

func testEvents(t *testing.T, newStore NewStore) {
	l := Open(t, worked(t, newStore))
	events := Collect(t, l.Events(t.Context(), 0))
	var kinds []string
	for i, e := range events {
		kinds = append(kinds, e.Kind)
		if e.Seq != int64(i+1) || !e.At.Equal(At) {
			t.Errorf("event %d has number %d and time %v", i+1, e.Seq, e.At)
		}
		if i > 0 && e.Prev != events[i-1].Hash {
			t.Errorf("event %d does not follow the one before", e.Seq)
		}
	}
	want := []string{"ledger", "bind", "sheet", "run", "intent", "outcome", "intent", "outcome", "end"}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Errorf("kinds (-want +got):\n%s", diff)
	}
	seq, hash, err := l.Head(t.Context())
	if err != nil || seq != int64(len(events)) || hash != events[len(events)-1].Hash {
		t.Errorf("got head %d %s, %v", seq, hash, err)
	}
	if got := Collect(t, l.Events(t.Context(), 7)); len(got) != 2 || got[0].Seq != 8 {
		t.Errorf("events after 7: got %d", len(got))
	}

	type eventRow struct {
		Lines                                     []int
		Action, Object, Record, User, Access, Ops string
		Result                                    string
		RequestID                                 string `json:"request_id"`
	}
	type callEvent struct {
		Call, Account string
		Attempt       int
		Run           int64
		Rows          []eventRow
	}
	var intent callEvent
	if err := json.Unmarshal(events[4].Body, &intent); err != nil {
		t.Fatal(err)
	}
	wantIntent := callEvent{
		Call: "call-1", Attempt: 1, Account: "main", Run: 1,
		Rows: []eventRow{{Lines: []int{2, 3}, Action: "revoke", Object: "lead", Record: "1", User: "a", Ops: "1-2"}},
	}
	if diff := cmp.Diff(wantIntent, intent); diff != "" {
		t.Errorf("intent (-want +got):\n%s", diff)
	}
	var out callEvent
	if err := json.Unmarshal(events[7].Body, &out); err != nil {
		t.Fatal(err)
	}
	if r := out.Rows[0]; out.Call != "call-3" || out.Account != "main" || r.Result != "done" || r.RequestID != "Rcall-3" || r.Access != "read" {
		t.Errorf("got outcome %+v", out)
	}
}

func testVerifyChain(t *testing.T, newStore NewStore) {
	for _, tt := range []struct {
		name   string
		tamper string
		seq    int64 // 0: the chain holds
	}{
		{"untouched", "SELECT 1", 0},
		{"a body changed", "UPDATE event SET body = replace(body, '\"a\"', '\"b\"') WHERE seq = 5", 5},
		{"a time changed", "UPDATE event SET at = at + 1 WHERE seq = 3", 3},
		{"a kind changed", "UPDATE event SET kind = 'x' WHERE seq = 1", 1},
		{"the last one changed", "UPDATE event SET body = '{}' WHERE seq = 9", 9},
		{"one dropped", "DELETE FROM event WHERE seq = 6", 6},
		{"one dropped and the rest moved up", "DELETE FROM event WHERE seq = 6; UPDATE event SET seq = -seq WHERE seq > 6; UPDATE event SET seq = -seq - 1 WHERE seq < 0", 6},
		{"the first dropped", "DELETE FROM event WHERE seq = 1", 1},
		{"all dropped", "DELETE FROM event", 1},
		{"the last cut off", "DELETE FROM event WHERE seq = 9", 9},
		{"two swapped", "UPDATE event SET seq = -seq WHERE seq IN (5, 7); UPDATE event SET seq = 12 + seq WHERE seq < 0", 5},
		{"one inserted", "INSERT INTO event SELECT 10, at, kind, body, hash, hash FROM event WHERE seq = 9", 10},
		{"the head moved back", "DELETE FROM event WHERE seq > 7; UPDATE head SET event = 7", 7},
		{"the head is gone", "DELETE FROM head", -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			store := worked(t, newStore)
			Exec(t, store, tt.tamper)
			l, err := store.Open(ledger.Options{ReadOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			err = l.VerifyChain(t.Context())
			if tt.seq == -1 {
				WantIs(t, err, ledger.ErrDamaged)
				return
			}
			broken, ok := errors.AsType[*ledger.ChainError](err)
			switch {
			case tt.seq == 0 && err != nil:
				t.Errorf("got %v for a chain that holds", err)
			case tt.seq != 0 && (!ok || broken.Seq != tt.seq):
				t.Errorf("got %v, want event %d", err, tt.seq)
			}
			// A run goes on only where the end is as it was written down.
			w, err := store.Open(Options())
			if err == nil {
				err = w.Close()
			} else {
				WantIs(t, err, ledger.ErrDamaged)
			}
			if tt.seq >= 9 && err == nil {
				t.Error("a run would go on behind a broken end")
			}
		})
	}
}

func testSeen(t *testing.T, newStore NewStore) {
	l := Open(t, newStore(t))
	Commit(t, l, Rows("r1a"))
	Begin(t, l)
	head := Next(t, l)[0]
	look := func(access crm.Access) crm.State {
		return crm.State{Looked: true, Grants: []crm.Grant{{Kind: "user", ID: "a", Access: access}}}
	}
	intend := func(call string, attempt int, before crm.State) {
		t.Helper()
		if err := l.Intend(t.Context(), ledger.Intent{CallID: call, Account: "main", Ops: []ledger.Op{head}, Attempt: attempt, Before: before, At: At}); err != nil {
			t.Fatal(err)
		}
	}
	record := func(call string, state crm.Status, uncertain bool) {
		t.Helper()
		if err := l.Record(t.Context(), []ledger.Outcome{{CallID: call, Op: head, Status: state, Uncertain: uncertain, Open: true, Turn: ledger.TurnNormal, Attempts: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	shown := func() crm.Access {
		t.Helper()
		for _, r := range Collect(t, l.Results(t.Context())) {
			seen, ok, err := l.Seen(t.Context(), r.Seen)
			if err != nil {
				t.Fatal(err)
			}
			if ok {
				return seen.Before.Grants[0].Access
			}
		}
		return crm.AccessUnset
	}
	intend("a", 1, crm.State{})
	if got := shown(); got != crm.AccessUnset {
		t.Errorf("nobody looked: got %v", got)
	}
	record("a", crm.Failed, false)
	intend("b", 1, look(crm.Read))
	record("b", crm.Failed, false)
	intend("c", 1, look(crm.Write))
	if got := shown(); got != crm.Write {
		t.Errorf("after a refusal: got %v, want what was there before the later sending", got)
	}
	intend("c", 2, look(crm.Full))
	if got := shown(); got != crm.Write {
		t.Errorf("a repeat: got %v, want what was there before the first sending", got)
	}
	record("c", crm.Failed, true)
	intend("d", 1, look(crm.Full))
	if got := shown(); got != crm.Write {
		t.Errorf("after a lost answer: got %v, want what was there before the first sending", got)
	}
	if err := l.Record(t.Context(), []ledger.Outcome{{CallID: "d", Op: head, Status: crm.Failed, Happened: true, Open: true, Turn: ledger.TurnNormal, Attempts: 1}}); err != nil {
		t.Fatal(err)
	}
	intend("e", 1, look(crm.Full))
	if got := shown(); got != crm.Write {
		t.Errorf("of what has happened: got %v, want what was there before the first sending", got)
	}
	for i, want := range []ledger.Seen{
		{Ref: 1, CallID: "b", Account: "main", Run: 1, Attempt: 1, SentAt: At, Before: look(crm.Read)},
		{Ref: 2, CallID: "c", Account: "main", Run: 1, Attempt: 1, SentAt: At, Before: look(crm.Write)},
		{Ref: 3, CallID: "c", Account: "main", Run: 1, Attempt: 2, SentAt: At, Before: look(crm.Full)},
		{Ref: 4, CallID: "d", Account: "main", Run: 1, Attempt: 1, SentAt: At, Before: look(crm.Full)},
		{Ref: 5, CallID: "e", Account: "main", Run: 1, Attempt: 1, SentAt: At, Before: look(crm.Full)},
	} {
		got, ok, err := l.Seen(t.Context(), int64(i+1))
		if diff := cmp.Diff(want, got); diff != "" || !ok || err != nil {
			t.Errorf("seen %d: %v, %v (-want +got):\n%s", i+1, ok, err, diff)
		}
	}
	if _, ok, err := l.Seen(t.Context(), 6); ok || err != nil {
		t.Errorf("more was seen than looks were made: %v, %v", ok, err)
	}
}
