package ledger

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// at is when everything happens in these tests.
var at = time.Date(2026, 3, 1, 2, 3, 4, 5e6, time.UTC)

func options() Options { return Options{Create: true, Now: func() time.Time { return at }} }

func newFile(t testing.TB) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "sheet.ledger.db")
}

func mustOpen(t testing.TB, path string) *Ledger {
	t.Helper()
	l, err := Open(path, options())
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

// lead makes an operation on a lead from a few letters: "r1a" is a revoke of
// record 1 for user a, "s1a" a share, "*1" a revoke_all.
func lead(word string) crm.Operation {
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

func stagedRows(words string) (rows []Staged) {
	for i, w := range strings.Fields(words) {
		rows = append(rows, Staged{Line: i + 2, Cells: []string{w, ""}, Account: "main", Op: lead(w)})
	}
	return rows
}

func recordKey(_ string, op crm.Operation) (string, string) { return op.Object + "/" + op.Record, "" }

// overlap is a small stand-in for the rule of pkg/batch/plan: a row takes the
// oldest untaken past operation that is equal, and is done again if that failed.
func overlap(past []Past, rows []crm.Operation) []Choice {
	choices := make([]Choice, len(rows))
	used := make([]bool, len(past))
	for i, op := range rows {
		choices[i] = Choice{Take: -1, Join: i, Turn: TurnNormal}
		for j, p := range past {
			if used[j] || p.Op != op {
				continue
			}
			used[j] = true
			choices[i].Take = j
			switch p.State {
			case Done, Unchanged:
				choices[i].Turn = TurnNone
			case Accepted:
				choices[i].Turn, choices[i].Prior = TurnAsk, crm.PriorAccepted
			case Failed:
				choices[i].Turn = TurnLate
			case Sent:
				choices[i].Prior = crm.PriorLost
			}
			break
		}
		if i > 0 && choices[i].Take < 0 && choices[i-1].Take < 0 && rows[i-1] == op {
			choices[i].Join = choices[i-1].Join
		}
	}
	return choices
}

func stageOf(t testing.TB, l *Ledger, rows []Staged) *Stage {
	t.Helper()
	s, err := l.Stage(t.Context())
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

func matched(t testing.TB, l *Ledger, rows []Staged) *Stage {
	t.Helper()
	s := stageOf(t, l, rows)
	match(t, s)
	return s
}

func match(t testing.TB, s *Stage) {
	t.Helper()
	if err := s.Index(t.Context(), recordKey, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Match(t.Context(), overlap); err != nil {
		t.Fatal(err)
	}
}

func adopted(t testing.TB, l *Ledger, rows []Staged) {
	t.Helper()
	s := matched(t, l, rows)
	if err := s.Adopt(t.Context(), Source{Name: "sheet.csv", SHA256: "ab"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func begun(t testing.TB, l *Ledger) int64 {
	t.Helper()
	run, err := l.BeginRun(t.Context(), RunInfo{Version: "v1", Operator: "op", Args: []string{"run", "sheet.csv"}})
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func todo(t testing.TB, l *Ledger) []Op {
	t.Helper()
	ops, err := l.Todo(t.Context(), "main", Cursor{}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return ops
}

// finish intends and settles one leader.
func finish(t testing.TB, l *Ledger, op Op, state State) {
	t.Helper()
	call := fmt.Sprintf("call-%d", op.ID)
	if err := l.Intend(t.Context(), Intent{CallID: call, Account: op.Account, Ops: []int64{op.ID}, Attempt: 1, At: at}); err != nil {
		t.Fatal(err)
	}
	if err := l.Settle(t.Context(), []Settle{outcome(op, call, state)}); err != nil {
		t.Fatal(err)
	}
}

func outcome(op Op, call string, state State) Settle {
	s := Settle{CallID: call, Op: op.ID, State: state, RequestID: "R" + call, HTTPStatus: 200, Attempts: 1, SentAt: at}
	switch state {
	case Done, Unchanged:
		s.ConfirmedAt = at.Add(time.Second)
	case Accepted:
		s.Ticket, s.Open = "T"+call, true
	case Failed:
		s.Code, s.Message = "MXError", "no such lead"
	}
	return s
}

func collect[T any](t testing.TB, seq func(func(T, error) bool)) []T {
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

// states writes the results as "word:state" in sheet order.
func states(t testing.TB, l *Ledger) string {
	t.Helper()
	var words []string
	for _, r := range collect(t, l.Results(t.Context())) {
		state := r.State.String()
		if r.Invalid {
			state = "invalid"
		}
		words = append(words, r.Cells[0]+":"+state)
	}
	return strings.Join(words, " ")
}

// words writes what is to be done as "word/turn" in the order of work.
func words(ops []Op) string {
	var all []string
	for _, o := range ops {
		letter := map[crm.Action]string{crm.Revoke: "r", crm.Share: "s", crm.RevokeAll: "*"}[o.Operation.Action]
		all = append(all, fmt.Sprintf("%s%s%s/%d", letter, o.Operation.Record, o.Operation.User, o.Turn))
	}
	return strings.Join(all, " ")
}

func wantIs(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got error %v, want %v", err, want)
	}
}

func background() context.Context { return context.Background() }
