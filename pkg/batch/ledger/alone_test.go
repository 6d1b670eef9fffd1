package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// alones writes what is to be done as "word" or, where nothing else has its key,
// "word!", and checks that Round and Reread agree with it.
func alones(t *testing.T, l *Ledger) string {
	t.Helper()
	var all []string
	for _, op := range todo(t, l) {
		word, _, _ := strings.Cut(words([]Op{op}), "/")
		round, err := l.Round(t.Context(), op.Account, op.Key, 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		again, err := l.Reread(t.Context(), op.ID)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]Op{op}, again); diff != "" {
			t.Errorf("%s read again (-want +got):\n%s", word, diff)
		}
		if found := slices.ContainsFunc(round, func(o Op) bool { return o.ID == op.ID }); found == op.Alone {
			t.Errorf("%s: alone is %v, and among its key's operations %v", word, op.Alone, found)
		}
		if op.Alone {
			word += "!"
		}
		all = append(all, word)
	}
	return strings.Join(all, " ")
}

// TestAlone follows sheets from run to run: an operation is alone only if no other
// row of the sheet has its key, whatever became of that row.
func TestAlone(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		first string // the first sheet
		alone string // of the first sheet
		done  string // what comes of its operations: d done, a accepted, f failed, s sent, - nothing
		then  string // the sheet after an edit
		want  string
	}{
		{"a single row", "r1a r2b", "r1a! r2b!", "--", "r1a r2b", "r1a! r2b!"},
		{"several on a record", "r1a r1b r2c", "r1a r1b r2c!", "---", "r1a r2c", "r1a! r2c!"},
		{"a row comes", "r1a r2c", "r1a! r2c!", "--", "r1a r2c r1b", "r1a r2c! r1b"},
		{"a row comes to one that is done", "r1a", "r1a!", "d", "r1a r1b", "r1b"},
		{"a row comes to one that is accepted", "r1a", "r1a!", "a", "r1a r1b", "r1a r1b"},
		{"a row comes to one that was sent", "r1a", "r1a!", "s", "r1a r1b", "r1a r1b"},
		{"a row goes", "r1a r1b", "r1a r1b", "f-", "r1a", "r1a!"},
		{"equal rows that go together", "r1a r1a r2b", "r1a r2b!", "--", "r1a r2b", "r1a! r2b!"},
		{"opposite rows of a target", "s1a r1a", "s1a r1a", "--", "r1a", "r1a!"},
		{"everybody, later", "r1a r2b", "r1a! r2b!", "--", "r1a *1 r2b", "r1a *1 r2b!"},
		{"everybody, alone", "*1 r2b", "*1! r2b!", "--", "*1 r2b", "*1! r2b!"},
		{"everybody on a record with history", "r1a r2b", "r1a! r2b!", "f-", "*1 r2b", "*1! r2b!"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := mustOpen(t, newFile(t))
			adopted(t, l, stagedRows(tt.first))
			begun(t, l)
			if got := alones(t, l); got != tt.alone {
				t.Errorf("at first: got %q, want %q", got, tt.alone)
			}
			for i, op := range todo(t, l) {
				switch tt.done[i] {
				case 'd':
					finish(t, l, op, Done)
				case 'a':
					finish(t, l, op, Accepted)
				case 'f':
					finish(t, l, op, Failed)
				case 's':
					if err := l.Intend(t.Context(), Intent{CallID: "lost", Account: "main", Ops: []int64{op.ID}, Attempt: 1, At: at}); err != nil {
						t.Fatal(err)
					}
				}
			}
			adopted(t, l, stagedRows(tt.then))
			if got := alones(t, l); got != tt.want {
				t.Errorf("after the edit: got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestAloneInABundle: what goes in a call with others is alone all the same, and
// found by its bundle.
func TestAloneInABundle(t *testing.T) {
	t.Parallel()
	l := mustOpen(t, newFile(t))
	s := stageOf(t, l, stagedRows("r1a r2b r2c"))
	if err := s.Index(t.Context(), func(_ string, op crm.Operation) (string, string) { return op.Record, "all" }, nil); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Match(t.Context(), overlap), s.Adopt(t.Context(), Source{})); err != nil {
		t.Fatal(err)
	}
	if got, want := alones(t, l), "r1a! r2b r2c"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	ops := todo(t, l)
	if got, err := l.TodoBundle(t.Context(), "main", ops[0].Bundle, Cursor{}, 9); err != nil || len(got) != 3 {
		t.Errorf("got %d operations of the bundle, %v", len(got), err)
	}
}

// TestKnownIsTheSame takes rows through the same steps with and without what the
// caller knows of them: the ledgers must not differ.
func TestKnownIsTheSame(t *testing.T) {
	t.Parallel()
	look := crm.State{Looked: true, Grants: []crm.Grant{{Kind: "user", ID: "a", Access: crm.Read}}}
	run := func(known bool) (results []Result, events []string) {
		l := mustOpen(t, newFile(t))
		adopted(t, l, stagedRows("r1a s2b s2b r3c r4d r5\"e\u2028"))
		begun(t, l)
		for i, op := range todo(t, l) {
			in := Intent{CallID: fmt.Sprint("c", i), Account: "main", Ops: []int64{op.ID}, Attempt: 1, At: at}
			settles := []Settle{
				{CallID: in.CallID, Op: op.ID, State: Pending, Turn: TurnNormal, Open: true, Code: "busy"},
				{CallID: in.CallID, Op: op.ID, State: Accepted, Open: true, Ticket: "T", RequestID: "<R>", Attempts: 1, SentAt: at, Note: "sent again"},
				{Op: op.ID, State: Accepted, Open: true, Confirm: true, Code: "5", Message: "in \"progress\"\n"},
				{Op: op.ID, State: Done, Confirm: true, HTTPStatus: 200, ConfirmedAt: at.Add(time.Second)},
			}
			if i%2 == 1 {
				in.Before = look
			}
			if known {
				in.Known = []Op{op}
				for i := range settles {
					settles[i].Known = &op
				}
			}
			if err := l.Intend(t.Context(), in); err != nil {
				t.Fatal(err)
			}
			for _, s := range settles[:2+i%3] {
				if err := l.Settle(t.Context(), []Settle{s}); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, e := range collect(t, l.Events(t.Context(), 1)) {
			if !json.Valid(e.Body) {
				t.Errorf("event %d is no JSON: %s", e.Seq, e.Body)
			}
			events = append(events, e.Kind+" "+string(e.Body))
		}
		if err := l.VerifyChain(t.Context()); err != nil {
			t.Error(err)
		}
		return collect(t, l.Results(t.Context())), events
	}
	results, events := run(false)
	again, eventsAgain := run(true)
	if diff := cmp.Diff(results, again); diff != "" {
		t.Errorf("results (-read +known):\n%s", diff)
	}
	if diff := cmp.Diff(events, eventsAgain); diff != "" {
		t.Errorf("events (-read +known):\n%s", diff)
	}
}

// TestTelling compares what is written by hand with what encoding/json reads of it.
func TestTelling(t *testing.T) {
	t.Parallel()
	op := crm.Operation{
		Action: crm.Share, Object: "Leads", Record: "1\\2", Context: "\x00\"", User: "Ünal \U0001F600 </script>", Access: crm.Full,
		Minutes: 5, Related: crm.Yes, Permissions: 3,
	}
	s := Settle{State: Failed, Maybe: true, RequestID: "R", Code: "C", Message: "line\nbreak \xff", Note: "n", HTTPStatus: 500, Attempts: 2}
	body := append(new(conn).newTelling().operation(op, []int{2, 30}).outcome(s), '}')
	var got settledOp
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	want := settledOp{
		rowOp: rowOp{
			Lines: []int{2, 30}, Action: "share", Object: op.Object, Record: op.Record, Context: op.Context, User: op.User,
			Access: "full", Minutes: 5, Related: op.Related.String(), Permissions: op.Permissions.String(),
		},
		Result: "failed", Maybe: true, RequestID: "R", Code: "C", Message: "line\nbreak \ufffd", Note: "n", HTTPStatus: 500, Attempts: 2,
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(settledOp{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestFailedCommitKeepsTheChain: what a transaction that was taken back had moved
// in memory is taken back too.
func TestFailedCommitKeepsTheChain(t *testing.T) {
	t.Parallel()
	l := mustOpen(t, newFile(t))
	adopted(t, l, stagedRows("r1a r2b"))
	begun(t, l)
	before, _, err := l.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ops := todo(t, l)
	why := errors.New("enough")
	err = l.change(t.Context(), func(c *conn) error {
		if _, err := takeSeqs(c, 5); err != nil {
			return err
		}
		return errors.Join(appendEvent(c, at, "x", nil), why)
	})
	wantIs(t, err, why)
	finish(t, l, ops[0], Done)
	if err := l.VerifyChain(t.Context()); err != nil {
		t.Error(err)
	}
	after, _, err := l.Head(t.Context())
	if err != nil || after != before+2 {
		t.Errorf("the head is at %d, %v, want %d", after, err, before+2)
	}
	if got, err := l.Reread(t.Context(), ops[0].ID); err != nil || len(got) != 0 {
		t.Errorf("what is done is still open: %v, %v", got, err)
	}
	var seq int64
	if err := l.read(t.Context(), func(c *conn) (err error) {
		seq, err = c.count("SELECT seq FROM op WHERE id = ?", ops[0].ID)
		return err
	}); err != nil || seq != 2 {
		t.Errorf("the place in the history is %d, %v, want 2", seq, err)
	}
}
