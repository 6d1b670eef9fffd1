package ledger

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

func reviewed(t testing.TB, l *Ledger) *Review {
	t.Helper()
	r, err := l.Review(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// reopened closes nothing: it reads the file of a ledger that another one has open.
func reopened(t testing.TB, path string) *Ledger {
	t.Helper()
	l, err := Open(path, Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// A review gives the rows record by record, the last first; questions by ticket;
// and answers in sheet order, an overtaken row's being that of the later one.
func TestReview(t *testing.T) {
	t.Parallel()
	path := newFile(t)
	l := mustOpen(t, path)
	rows := stagedRows("r1a r2a s1a r3b s1b")
	rows[3].Code, rows[3].Problem = "invalid", "wrong"
	adopted(t, l, rows)
	begun(t, l)
	finish(t, l, todo(t, l)[0], Accepted)

	read := reopened(t, path)
	r := reviewed(t, read)
	records := map[string]string{}
	for _, row := range collect(t, r.Rows(t.Context())) {
		word := fmt.Sprintf("%d", row.Line)
		if row.Invalid {
			word += " " + row.Message
		}
		if row.Ticket != "" {
			word += " " + row.State.String() + " " + row.Account
		}
		records[row.Op.Record] = strings.TrimPrefix(records[row.Op.Record]+", "+word, ", ")
	}
	want := map[string]string{"1": "6, 4, 2 accepted main", "2": "3", "": "5 wrong"}
	if diff := cmp.Diff(want, records); diff != "" {
		t.Errorf("lines by record (-want +got):\n%s", diff)
	}

	must(t, r.Ask(t.Context(), []Question{
		{Ord: 5, Account: "main", Ticket: "b"}, {Ord: 2, Account: "main", Ticket: "a", Except: []string{"x", "y"}},
		{Ord: 3, Account: "main", Ticket: "b"}, {Ord: 1, Account: "other", Ticket: "a"},
	}))
	var asked []string
	for _, q := range collect(t, r.Questions(t.Context(), "main")) {
		asked = append(asked, fmt.Sprintf("%s %d line %d %v%s %v", q.Ticket, q.Ord, q.Line, q.Op.Record, q.Op.User, q.Except))
	}
	if diff := cmp.Diff([]string{"a 2 line 3 2a [x y]", "b 3 line 4 1a []", "b 5 line 6 1b []"}, asked); diff != "" {
		t.Errorf("questions (-want +got):\n%s", diff)
	}

	must(t, r.Answer(t.Context(), []Answer{
		{Ord: 1, Code: "superseded", Later: 3}, {Ord: 3, Holds: "unknown", Code: "wait"}, {Ord: 5, Holds: "yes"}, {Ord: 2, Holds: "unknown", Code: "wait"},
	}))
	must(t, r.Answer(t.Context(), []Answer{{Ord: 3, Holds: "no", Code: "differs", Message: "so"}}))
	if got := collect(t, r.Unanswered(t.Context(), "main", "wait")); len(got) != 1 || got[0] != 2 {
		t.Errorf("unanswered: %v, want row 2", got)
	}
	var said []string
	for _, row := range collect(t, r.Answers(t.Context())) {
		said = append(said, strings.Join([]string{row.Cells[0], row.Answer.Holds, row.Answer.Code, row.Answer.Message}, "/"))
	}
	if diff := cmp.Diff([]string{"r1a/no/superseded/", "r2a/unknown/wait/", "s1a/no/differs/so", "r3b///", "s1b/yes//"}, said); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if again := collect(t, reviewed(t, read).Answers(t.Context())); again[0].Answer != (Answer{}) {
		t.Errorf("a new review knows %+v", again[0].Answer)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// More rows than a page, all of one record and with one ticket, come once each.
func TestReviewOfManyRows(t *testing.T) {
	t.Parallel()
	l := mustOpen(t, newFile(t))
	var rows []Staged
	for i := range 2*pageRows + 7 {
		rows = append(rows, Staged{Line: i + 2, Account: "main", Op: crm.Operation{Action: crm.Revoke, Object: crm.Lead, Record: "1", User: fmt.Sprint(i)}})
	}
	adopted(t, l, rows)
	r := reviewed(t, l)
	last := int64(len(rows) + 1)
	var questions []Question
	for _, row := range collect(t, r.Rows(t.Context())) {
		if row.Ord != last-1 {
			t.Fatalf("row %d after row %d", row.Ord, last)
		}
		last = row.Ord
		questions = append(questions, Question{Ord: row.Ord, Account: "main", Ticket: "t"})
	}
	must(t, r.Ask(t.Context(), questions))
	got := collect(t, r.Questions(t.Context(), "main"))
	if last != 1 || len(got) != len(rows) || got[0].Ord != 1 || got[len(got)-1].Ord != int64(len(rows)) {
		t.Errorf("%d questions for %d rows", len(got), len(rows))
	}
}

// The history has what was ever tried, with the lines that it has now; a record where
// something happened later comes before.
func TestHistory(t *testing.T) {
	t.Parallel()
	path := newFile(t)
	l := mustOpen(t, path)
	adopted(t, l, stagedRows("r1a r2a r3a"))
	begun(t, l)
	ops := todo(t, l)
	look := crm.State{Looked: true, Grants: []crm.Grant{{Kind: "user", ID: "a", Access: crm.Write}}}
	must(t, l.Intend(t.Context(), Intent{CallID: "c", Account: "main", Ops: []int64{ops[0].ID}, Attempt: 1, Before: look, At: at}))
	must(t, l.Settle(t.Context(), []Settle{outcome(ops[0], "c", Done)}))
	finish(t, l, ops[1], Failed)
	adopted(t, l, stagedRows("r4a r2a s1a r1a"))
	begun(t, l)
	for _, op := range todo(t, l) {
		if op.Operation == lead("s1a") {
			finish(t, l, op, Accepted)
		}
	}
	var got []string
	read := reopened(t, path)
	for _, h := range collect(t, read.History(t.Context())) {
		got = append(got, fmt.Sprintf("%v %s%s line %d %v %d %t %s", h.Op.Action, h.Op.Record, h.Op.User, h.Line, h.State, h.Attempts, h.Before != 0, h.Code))
	}
	want := []string{"revoke 1a line 5 done 1 true ", "share 1a line 4 accepted 1 false ", "revoke 2a line 3 failed 1 false MXError"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
}
