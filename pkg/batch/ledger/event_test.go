package ledger

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// worked returns the path of a closed ledger with a few events in it.
func worked(t testing.TB) string {
	t.Helper()
	path := newFile(t)
	l, err := Open(path, options())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Bind(t.Context(), Binding{"main", "leadsquared", "h", "o"}); err != nil {
		t.Fatal(err)
	}
	adopted(t, l, stagedRows("r1a r1a s2b"))
	run := begun(t, l)
	for _, op := range todo(t, l) {
		finish(t, l, op, Done)
	}
	if err := l.EndRun(t.Context(), run, json.RawMessage(`{"rows":3}`)); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestEvents(t *testing.T) {
	t.Parallel()
	l := mustOpen(t, worked(t))
	events := collect(t, l.Events(t.Context(), 0))
	var kinds []string
	for i, e := range events {
		kinds = append(kinds, e.Kind)
		if e.Seq != int64(i+1) || !e.At.Equal(at) {
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
	if got := collect(t, l.Events(t.Context(), 7)); len(got) != 2 || got[0].Seq != 8 {
		t.Errorf("events after 7: got %d", len(got))
	}

	var intent intentEvent
	if err := json.Unmarshal(events[4].Body, &intent); err != nil {
		t.Fatal(err)
	}
	wantIntent := intentEvent{
		Call: "call-1", Attempt: 1, Account: "main", Run: 1,
		Rows: []rowOp{{Lines: []int{2, 3}, Action: "revoke", Object: "lead", Record: "1", User: "a"}},
	}
	if diff := cmp.Diff(wantIntent, intent); diff != "" {
		t.Errorf("intent (-want +got):\n%s", diff)
	}
	var out outcomeEvent
	if err := json.Unmarshal(events[7].Body, &out); err != nil {
		t.Fatal(err)
	}
	if r := out.Rows[0]; out.Call != "call-3" || out.Account != "main" || r.Result != "done" || r.RequestID != "Rcall-3" || r.Access != "read" {
		t.Errorf("got outcome %+v", out)
	}
}

func TestVerifyChain(t *testing.T) {
	t.Parallel()
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
		{"one dropped and the rest moved up", "DELETE FROM event WHERE seq = 6; UPDATE event SET seq = seq - 1 WHERE seq > 6", 6},
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
			path := worked(t)
			c, err := dial(fileURI(path, "mode=rw"))
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(c.once(tt.tamper), c.close()); err != nil {
				t.Fatal(err)
			}
			l, err := Open(path, Options{ReadOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			err = l.VerifyChain(t.Context())
			if tt.seq == -1 {
				wantIs(t, err, ErrDamaged)
				return
			}
			broken, ok := errors.AsType[*ChainError](err)
			switch {
			case tt.seq == 0 && err != nil:
				t.Errorf("got %v for a chain that holds", err)
			case tt.seq != 0 && (!ok || broken.Seq != tt.seq):
				t.Errorf("got %v, want event %d", err, tt.seq)
			}
			// A run goes on only where the end is as it was written down.
			w, err := Open(path, options())
			if err == nil {
				err = w.Close()
			} else {
				wantIs(t, err, ErrDamaged)
			}
			if tt.seq >= 9 && err == nil {
				t.Error("a run would go on behind a broken end")
			}
		})
	}
}

func TestCallsAndBefore(t *testing.T) {
	t.Parallel()
	l := mustOpen(t, newFile(t))
	adopted(t, l, stagedRows("r1a"))
	begun(t, l)
	id := todo(t, l)[0].ID
	look := func(access crm.Access) crm.State {
		return crm.State{Looked: true, Grants: []crm.Grant{{Kind: "user", ID: "a", Access: access}}}
	}
	intend := func(call string, attempt int, before crm.State) {
		t.Helper()
		if err := l.Intend(t.Context(), Intent{CallID: call, Account: "main", Ops: []int64{id}, Attempt: attempt, Before: before, At: at}); err != nil {
			t.Fatal(err)
		}
	}
	settle := func(call string, state State, maybe bool) {
		t.Helper()
		if err := l.Settle(t.Context(), []Settle{{CallID: call, Op: id, State: state, Maybe: maybe, Open: true, Turn: TurnNormal, Attempts: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	shown := func() crm.Access {
		t.Helper()
		for _, r := range collect(t, l.Results(t.Context())) {
			call, ok, err := l.Call(t.Context(), r.Before)
			if err != nil {
				t.Fatal(err)
			}
			if ok {
				return call.Before.Grants[0].Access
			}
		}
		return crm.AccessUnset
	}
	intend("a", 1, crm.State{})
	if got := shown(); got != crm.AccessUnset {
		t.Errorf("nobody looked: got %v", got)
	}
	settle("a", Failed, false)
	intend("b", 1, look(crm.Read))
	settle("b", Failed, false)
	intend("c", 1, look(crm.Write))
	if got := shown(); got != crm.Write {
		t.Errorf("after a refusal: got %v, want what was there before the later sending", got)
	}
	intend("c", 2, look(crm.Full))
	if got := shown(); got != crm.Write {
		t.Errorf("a repeat: got %v, want what was there before the first sending", got)
	}
	settle("c", Failed, true)
	intend("d", 1, look(crm.Full))
	if got := shown(); got != crm.Write {
		t.Errorf("after a lost answer: got %v, want what was there before the first sending", got)
	}
	calls := collect(t, l.Calls(t.Context()))
	if len(calls) != 4 || calls[2].ID != "c" || calls[2].Attempt != 2 || calls[2].Run != 1 || !calls[2].SentAt.Equal(at) || !calls[0].Before.Looked {
		t.Errorf("got calls %+v", calls)
	}
}

// What the bodies of events hold.
type (
	intentEvent struct {
		Call    string          `json:"call"`
		Attempt int             `json:"attempt"`
		Account string          `json:"account"`
		Run     int64           `json:"run"`
		Rows    []rowOp         `json:"rows"`
		Before  json.RawMessage `json:"before,omitempty"`
	}
	outcomeEvent struct {
		Call    string      `json:"call"`
		Account string      `json:"account"`
		Rows    []settledOp `json:"rows"`
	}
	rowOp struct {
		Lines       []int  `json:"lines"`
		Action      string `json:"action"`
		Object      string `json:"object"`
		Record      string `json:"record"`
		Context     string `json:"context,omitzero"`
		User        string `json:"user,omitzero"`
		Access      string `json:"access,omitzero"`
		Minutes     int    `json:"minutes,omitzero"`
		Related     string `json:"related,omitzero"`
		Permissions string `json:"permissions,omitzero"`
	}
	settledOp struct {
		rowOp
		Result     string `json:"result"`
		Maybe      bool   `json:"maybe,omitzero"`
		RequestID  string `json:"request_id,omitzero"`
		Code       string `json:"code,omitzero"`
		Message    string `json:"message,omitzero"`
		Note       string `json:"note,omitzero"`
		HTTPStatus int    `json:"http_status,omitzero"`
		Attempts   int    `json:"attempts,omitzero"`
	}
)
