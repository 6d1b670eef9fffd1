package ledger_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// Review begins a review.
func Review(t testing.TB, l *ledger.Ledger) *ledger.Review {
	t.Helper()
	r, err := l.Review(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Reader opens a ledger for reading only, beside whoever has it open.
func Reader(t testing.TB, s Store) *ledger.Ledger {
	t.Helper()
	l, err := s.Open(ledger.Options{ReadOnly: true})
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
func testReview(t *testing.T, newStore NewStore) {
	store := newStore(t)
	l := Open(t, store)
	rows := Rows("r1a r2a s1a r3b s1b")
	rows[3].Code, rows[3].Problem = "invalid", "wrong"
	Commit(t, l, rows)
	Begin(t, l)
	Finish(t, l, Next(t, l)[0], crm.Accepted)

	read := Reader(t, store)
	r := Review(t, read)
	records := map[string]string{}
	for _, row := range Collect(t, r.Rows(t.Context())) {
		word := fmt.Sprintf("%d", row.Line)
		if row.Invalid {
			word += " " + row.Message
		}
		if row.Ticket != "" {
			word += " " + row.Status.String() + " " + row.Account
		}
		records[row.Op.Record] = strings.TrimPrefix(records[row.Op.Record]+", "+word, ", ")
	}
	want := map[string]string{"1": "6, 4, 2 accepted main", "2": "3", "": "5 wrong"}
	if diff := cmp.Diff(want, records); diff != "" {
		t.Errorf("lines by record (-want +got):\n%s", diff)
	}

	Must(t, r.Ask(t.Context(), []ledger.Question{
		{Ord: 5, Account: "main", Ticket: "b"}, {Ord: 2, Account: "main", Ticket: "a", Except: []string{"x", "y"}},
		{Ord: 3, Account: "main", Ticket: "b"}, {Ord: 1, Account: "other", Ticket: "a"},
	}))
	var asked []string
	for _, q := range Collect(t, r.Questions(t.Context(), "main")) {
		asked = append(asked, fmt.Sprintf("%s %d line %d %v%s %v", q.Ticket, q.Ord, q.Line, q.Op.Record, q.Op.User, q.Except))
	}
	if diff := cmp.Diff([]string{"a 2 line 3 2a [x y]", "b 3 line 4 1a []", "b 5 line 6 1b []"}, asked); diff != "" {
		t.Errorf("questions (-want +got):\n%s", diff)
	}

	Must(t, r.Answer(t.Context(), []ledger.Answer{
		{Ord: 1, Code: "superseded", Later: 3}, {Ord: 3, Holds: "unknown", Code: "wait"}, {Ord: 5, Holds: "yes"}, {Ord: 2, Holds: "unknown", Code: "wait"},
	}))
	Must(t, r.Answer(t.Context(), []ledger.Answer{{Ord: 3, Holds: "no", Code: "differs", Message: "so"}}))
	if got := Collect(t, r.Unanswered(t.Context(), "main", "wait")); len(got) != 1 || got[0] != 2 {
		t.Errorf("unanswered: %v, want row 2", got)
	}
	var said []string
	for _, row := range Collect(t, r.Answers(t.Context())) {
		said = append(said, strings.Join([]string{row.Cells[0], row.Answer.Holds, row.Answer.Code, row.Answer.Message}, "/"))
	}
	if diff := cmp.Diff([]string{"r1a/no/superseded/", "r2a/unknown/wait/", "s1a/no/differs/so", "r3b///", "s1b/yes//"}, said); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if again := Collect(t, Review(t, read).Answers(t.Context())); again[0].Answer != (ledger.Answer{}) {
		t.Errorf("a new review knows %+v", again[0].Answer)
	}
}

// More rows than a page, all of one record and with one ticket, come once each.
func testReviewOfManyRows(t *testing.T, newStore NewStore) {
	l := Open(t, newStore(t))
	var rows []ledger.ImportRow
	for i := range 2*pageRows + 7 {
		rows = append(rows, ledger.ImportRow{Line: i + 2, Account: "main", Op: crm.Operation{Action: crm.Revoke, Object: crm.Lead, Record: "1", User: fmt.Sprint(i)}})
	}
	Commit(t, l, rows)
	r := Review(t, l)
	last := int64(len(rows) + 1)
	var questions []ledger.Question
	for _, row := range Collect(t, r.Rows(t.Context())) {
		if row.Ord != last-1 {
			t.Fatalf("row %d after row %d", row.Ord, last)
		}
		last = row.Ord
		questions = append(questions, ledger.Question{Ord: row.Ord, Account: "main", Ticket: "t"})
	}
	Must(t, r.Ask(t.Context(), questions))
	got := Collect(t, r.Questions(t.Context(), "main"))
	if last != 1 || len(got) != len(rows) || got[0].Ord != 1 || got[len(got)-1].Ord != int64(len(rows)) {
		t.Errorf("%d questions for %d rows", len(got), len(rows))
	}
}

// The history has what was ever tried, with the lines that it has now; a record where
// something happened later comes before.
func testHistory(t *testing.T, newStore NewStore) {
	store := newStore(t)
	l := Open(t, store)
	Commit(t, l, Rows("r1a r2a r3a"))
	Begin(t, l)
	ops := Next(t, l)
	look := crm.State{Looked: true, Grants: []crm.Grant{{Kind: "user", ID: "a", Access: crm.Write}}}
	Must(t, l.Intend(t.Context(), ledger.Intent{CallID: "c", Account: "main", Ops: []ledger.Op{ops[0]}, Attempt: 1, Before: look, At: At}))
	Must(t, l.Record(t.Context(), []ledger.Outcome{OutcomeOf(ops[0], "c", crm.Done)}))
	Finish(t, l, ops[1], crm.Failed)
	Commit(t, l, Rows("r4a r2a s1a r1a"))
	Begin(t, l)
	for _, op := range Next(t, l) {
		if op.Operation == Lead("s1a") {
			Finish(t, l, op, crm.Accepted)
		}
	}
	var got []string
	read := Reader(t, store)
	for _, h := range Collect(t, read.History(t.Context())) {
		got = append(got, fmt.Sprintf("%v %s%s line %d %v %d %t %s", h.Op.Action, h.Op.Record, h.Op.User, h.Line, h.Status, h.Attempts, h.Seen != 0, h.Code))
	}
	want := []string{"revoke 1a line 5 done 1 true ", "share 1a line 4 accepted 1 false ", "revoke 2a line 3 failed 1 false MXError"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
}

// The results by person are those in sheet order, put together by address, and else by
// account and user.
func testResultsByPerson(t *testing.T, newStore NewStore) {
	store := newStore(t)
	l := Open(t, store)
	rows := Rows("r1b r2a s3b r4 r5B r6a r7 *8")
	rows[3].Email, rows[6].Email = "A@x.de", "a@x.de"
	rows[6].Account = "other"
	rows[7].Op.User = ""
	rows = append(rows,
		ledger.ImportRow{Line: 10, Cells: []string{"nameless"}, Account: "main", Code: "invalid", Problem: "user: is empty"},
		ledger.ImportRow{Line: 11, Cells: []string{"unknown"}, Account: "main", Email: "who@x.de", Code: "unknown_user", Problem: "user: nobody has it"})
	im := Import(t, l, rows)
	Must(t, im.Resolve(t.Context(), "main", "a@x.de", "a"))
	Must(t, im.Resolve(t.Context(), "other", "a@x.de", "z"))
	Match(t, im)
	Must(t, im.Commit(t.Context(), ledger.Source{}))
	Begin(t, l)
	Finish(t, l, Next(t, l)[0], crm.Done)
	inOrder := make(map[int64]ledger.Result)
	for _, res := range Collect(t, l.Results(t.Context())) {
		inOrder[res.Ord] = res
	}
	read := Reader(t, store)
	for range 2 {
		people := make(map[string][]int64)
		before := "none"
		got := Collect(t, read.ResultsByPerson(t.Context()))
		for _, res := range got {
			if len(people[res.Person]) > 0 && res.Person != before {
				t.Errorf("the rows of %s do not stand together", res.Person)
			}
			before, people[res.Person] = res.Person, append(people[res.Person], res.Ord)
			if wants := "a@x.de"; res.Person == wants && res.Email != wants {
				t.Errorf("row %d: the address is %q", res.Ord, res.Email)
			}
			res.Person, res.Email = "", inOrder[res.Ord].Email
			if diff := cmp.Diff(inOrder[res.Ord], res); diff != "" {
				t.Errorf("row %d (-in sheet order +by person):\n%s", res.Ord, diff)
			}
		}
		want := map[string][]int64{"": {8, 9}, "a@x.de": {2, 4, 6, 7}, "main/b": {1, 3}, "main/B": {5}, "who@x.de": {10}}
		if diff := cmp.Diff(want, people); diff != "" {
			t.Errorf("rows by person (-want +got):\n%s", diff)
		}
		if got[0].Person != "" || got[1].Person != "" {
			t.Errorf("the order is %+v, want those first that are about nobody in particular", got)
		}
	}
}
