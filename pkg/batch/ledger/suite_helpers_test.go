package ledger_test

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// pageRows is more than a page of a stream has.
const pageRows = 1000

// At is when everything happens in these tests.
var At = time.Date(2026, 3, 1, 2, 3, 4, 5e6, time.UTC)

// Options make a ledger that is not there yet, and have it At.
func Options() ledger.Options {
	return ledger.Options{Create: true, Now: func() time.Time { return At }}
}

// Open opens the store's ledger, made if need be, until the test ends.
func Open(t testing.TB, s Store) *ledger.Ledger {
	t.Helper()
	l, err := s.Open(Options())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return l
}

// Lead makes an operation on a lead from a few letters: "r1a" is a revoke of
// record 1 for user a, "s1a" a share, "*1" a revoke_all.
func Lead(word string) crm.Operation {
	op := crm.Operation{Object: crm.Lead, Record: word[1:2]}
	switch word[0] {
	case 'r':
		op.Action = crm.Revoke
	case 's':
		op.Action, op.Access = crm.Share, crm.Read
	case '*':
		op.Action = crm.RevokeAll
	}
	op.User = word[2:]
	return op
}

// Rows are the rows of such words, the first in line 2.
func Rows(words string) (rows []ledger.ImportRow) {
	for i, w := range strings.Fields(words) {
		rows = append(rows, ledger.ImportRow{Line: i + 2, Cells: []string{w, ""}, Account: "main", Op: Lead(w)})
	}
	return rows
}

// EachTarget returns, for Import.Match, what has decide say what becomes of a target's rows, given
// its history. It is asked as in pkg/batch: about targets
// that have several rows, or a history, or are a record as a whole.
func EachTarget(decide func(past, rows []ledger.Entry) []ledger.Choice) func(iter.Seq2[ledger.Entry, error], func([]ledger.Entry, []ledger.Entry, bool, []ledger.Choice) error) error {
	return func(entries iter.Seq2[ledger.Entry, error], choose func(past, rows []ledger.Entry, recordLevel bool, choices []ledger.Choice) error) error {
		return Targets(entries, func(past, rows []ledger.Entry, recordLevel bool) error {
			if len(rows) == 0 || len(rows) == 1 && len(past) == 0 && !recordLevel {
				return nil
			}
			return choose(past, rows, recordLevel, decide(past, rows))
		})
	}
}

// Targets parts a stream into targets, as pkg/batch/plan does: of a record with a row
// about everybody, all belongs together.
func Targets(entries iter.Seq2[ledger.Entry, error], each func(past, rows []ledger.Entry, recordLevel bool) error) error {
	type place struct {
		account string
		crm.Target
	}
	var at place
	var past, rows []ledger.Entry
	recordLevel := false
	end := func() error {
		if len(past)+len(rows) == 0 {
			return nil
		}
		slices.SortFunc(past, func(a, b ledger.Entry) int { return cmp.Compare(a.Seq, b.Seq) })
		slices.SortFunc(rows, func(a, b ledger.Entry) int { return cmp.Compare(a.Ord, b.Ord) })
		return each(past, rows, recordLevel)
	}
	for e, err := range entries {
		if err != nil {
			return err
		}
		here, whole := place{e.Account, e.Op.Target()}, place{e.Account, e.Op.Target().Whole()}
		if e.Op.Action == crm.RevokeAll || recordLevel && whole == at {
			here = whole
		}
		if here != at {
			if err := end(); err != nil {
				return err
			}
			at, past, rows, recordLevel = here, nil, nil, false
		}
		recordLevel = recordLevel || e.Op.Action == crm.RevokeAll
		if e.Ord == 0 {
			past = append(past, e)
		} else {
			rows = append(rows, e)
		}
	}
	return end()
}

// Overlap is a small stand-in for the rule of pkg/batch/plan: a row takes the
// oldest untaken past operation that is equal, and is done again if that failed.
func Overlap(past, rows []ledger.Entry) []ledger.Choice {
	choices := make([]ledger.Choice, len(rows))
	used := make([]bool, len(past))
	for i, r := range rows {
		choices[i] = ledger.Choice{Take: -1, Head: i, Turn: ledger.TurnNormal}
		for j, p := range past {
			if used[j] || *p.Op != *r.Op {
				continue
			}
			used[j] = true
			choices[i].Take = j
			switch p.Status {
			case crm.Done, crm.Unchanged:
				choices[i].Turn = ledger.TurnNone
			case crm.Accepted:
				choices[i].Turn, choices[i].Prior = ledger.TurnAsk, crm.PriorAccepted
			case crm.Failed:
				choices[i].Turn = ledger.TurnLate
			case crm.Sent:
				choices[i].Prior = crm.PriorUnanswered
			}
			break
		}
		if i > 0 && choices[i].Take < 0 && choices[i-1].Take < 0 && *rows[i-1].Op == *r.Op {
			choices[i].Head = choices[i-1].Head
		}
	}
	return choices
}

// Import adds the rows to a new import.
func Import(t testing.TB, l *ledger.Ledger, rows []ledger.ImportRow) *ledger.Import {
	t.Helper()
	s, err := l.Import(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if err := s.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// Matched is Import and Match.
func Matched(t testing.TB, l *ledger.Ledger, rows []ledger.ImportRow) *ledger.Import {
	t.Helper()
	s := Import(t, l, rows)
	Match(t, s)
	return s
}

// Match matches by Overlap.
func Match(t testing.TB, s *ledger.Import) {
	t.Helper()
	if err := s.Match(t.Context(), EachTarget(Overlap)); err != nil {
		t.Fatal(err)
	}
}

// Commit makes the rows the ledger's sheet.
func Commit(t testing.TB, l *ledger.Ledger, rows []ledger.ImportRow) {
	t.Helper()
	s := Matched(t, l, rows)
	if err := s.Commit(t.Context(), ledger.Source{Name: "sheet.csv", SHA256: "ab"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// CommitAs makes the rows of the words a sheet of that name, by lastCounts.
func CommitAs(t testing.TB, l *ledger.Ledger, sheet, words string) {
	t.Helper()
	s := Import(t, l, Rows(words))
	if err := s.Match(t.Context(), EachTarget(lastCounts)); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(t.Context(), ledger.Source{Name: "off" + sheet + ".csv", Sheet: sheet}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// Begin begins a run.
func Begin(t testing.TB, l *ledger.Ledger) int64 {
	t.Helper()
	run, err := l.BeginRun(t.Context(), ledger.RunInfo{Version: "v1", Operator: "op", Args: []string{"run", "sheet.csv"}})
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// Next is what account main has to do.
func Next(t testing.TB, l *ledger.Ledger) []ledger.Op {
	t.Helper()
	ops, err := l.Next(t.Context(), "main", ledger.Cursor{}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return ops
}

// Finish intends one head and records that it has come to the state.
func Finish(t testing.TB, l *ledger.Ledger, op ledger.Op, state crm.Status) {
	t.Helper()
	call := fmt.Sprintf("call-%d", op.ID)
	if err := l.Intend(t.Context(), ledger.Intent{CallID: call, Account: op.Account, Ops: []ledger.Op{op}, Attempt: 1, At: At}); err != nil {
		t.Fatal(err)
	}
	if err := l.Record(t.Context(), []ledger.Outcome{OutcomeOf(op, call, state)}); err != nil {
		t.Fatal(err)
	}
}

// OutcomeOf is an outcome as a CRM would give it.
func OutcomeOf(op ledger.Op, call string, state crm.Status) ledger.Outcome {
	s := ledger.Outcome{CallID: call, Op: op, Status: state, RequestID: "R" + call, HTTPStatus: 200, Attempts: 1, SentAt: At}
	switch state {
	case crm.Done, crm.Unchanged:
		s.ConfirmedAt = At.Add(time.Second)
	case crm.Accepted:
		s.Ticket, s.Open = "T"+call, true
	case crm.Failed:
		s.Code, s.Message = "MXError", "no such lead"
	}
	return s
}

// Collect reads a stream to its end.
func Collect[T any](t testing.TB, seq func(func(T, error) bool)) []T {
	t.Helper()
	var all []T
	for v, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	return all
}

// States writes the results as "word:state" in sheet order.
func States(t testing.TB, l *ledger.Ledger) string {
	t.Helper()
	var words []string
	for _, r := range Collect(t, l.Results(t.Context())) {
		state := r.Status.String()
		if r.Invalid {
			state = "invalid"
		}
		words = append(words, r.Cells[0]+":"+state)
	}
	return strings.Join(words, " ")
}

// Words writes what is to be done as "word/turn" in the order of work.
func Words(ops []ledger.Op) string {
	var all []string
	for _, o := range ops {
		letter := map[crm.Action]string{crm.Revoke: "r", crm.Share: "s", crm.RevokeAll: "*"}[o.Operation.Action]
		all = append(all, fmt.Sprintf("%s%s%s/%d", letter, o.Operation.Record, o.Operation.User, o.Turn))
	}
	return strings.Join(all, " ")
}

// ByRecord is the key of an operation where a record goes as a whole.
func ByRecord(op crm.Operation) crm.Target { return op.Target().Whole() }

// WantIs checks what kind of error it is.
func WantIs(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got error %v, want %v", err, want)
	}
}

// Must ends the test on an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Exec runs a script behind the ledger's back.
func Exec(t testing.TB, s Store, script string) {
	t.Helper()
	_, err := s.DB(t).Exec(script)
	Must(t, err)
}

// Dump writes down all that stands in the tables.
func Dump(t testing.TB, s Store) string {
	t.Helper()
	var b strings.Builder
	db, err := s.DB(t).Conn(t.Context())
	Must(t, err)
	defer db.Close()
	for _, table := range []string{"meta", "head", "account", "email", "run", "output", "event", "seen", "sheet_row", "earlier_row", "op"} {
		rows, err := db.QueryContext(t.Context(), "SELECT * FROM "+table+" ORDER BY 1")
		Must(t, err)
		columns, err := rows.Columns()
		Must(t, err)
		values, places := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			places[i] = &values[i]
		}
		for rows.Next() {
			Must(t, rows.Scan(places...))
			fmt.Fprintf(&b, "%s", table)
			for i, name := range columns {
				if values[i] != nil {
					fmt.Fprintf(&b, " %s=%v", name, values[i])
				}
			}
			b.WriteByte('\n')
		}
		Must(t, errors.Join(rows.Err(), rows.Close()))
	}
	return b.String()
}

// Agrees checks that a ledger agrees with itself: its chain, and its rows with its events.
func Agrees(t testing.TB, l *ledger.Ledger) {
	t.Helper()
	if err := errors.Join(l.VerifyChain(t.Context()), l.VerifyRows(t.Context())); err != nil {
		t.Errorf("the ledger does not agree with itself: %v", err)
	}
}
