package ledger_test

import (
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// A row that has come to something by itself says so in every count and list, has no turn,
// and leaves its operation as it was.
func testHold(t *testing.T, newStore NewStore) {
	store := newStore(t)
	l := Open(t, store)
	rows := Rows("r1a k2b r3c")
	due := At.Add(72 * time.Hour)
	rows[0].Due, rows[0].LastDay = due, "2026-03-03"
	rows[1].Op.Action = crm.Keep
	s := Import(t, l, rows)
	holds := []*ledger.Hold{
		{Status: crm.NotDue, Code: crm.CodeNotDue, Message: "due later"},
		{Status: crm.Unchanged, Code: crm.CodeKept, Message: "kept"},
	}
	met := 0
	decide := func(past, rows []ledger.Entry) []ledger.Choice {
		e := rows[0]
		met++
		if e.Ord == 1 && (e.Due != due.UnixMilli() || e.Line != 2) {
			t.Errorf("got %+v for the row with a date", e)
		}
		return []ledger.Choice{{Take: -1, Hold: holds[e.Ord-1]}}
	}
	Must(t, s.Match(t.Context(), everyTarget(decide)))
	if met != 2 {
		t.Errorf("asked about %d rows, want that with a date and that which is kept", met)
	}
	imported, err := s.Counts(t.Context())
	Must(t, err)
	Must(t, s.Commit(t.Context(), ledger.Source{}))
	committed, err := l.Counts(t.Context())
	Must(t, err)
	if diff := cmp.Diff(imported, committed); diff != "" {
		t.Errorf("counts before and after the commit (-before +after):\n%s", diff)
	}
	if got, want := States(t, l), "r1a:not_due k2b:unchanged r3c:not_attempted"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for i, res := range Collect(t, l.Results(t.Context())) {
		if i < 2 && (res.Code != holds[i].Code || res.Message != holds[i].Message || !res.HasOp() || res.Op.Record == "") {
			t.Errorf("row %d: got %+v", i+1, res)
		}
		if i == 0 && (!res.Due.Equal(due) || res.LastDay != "2026-03-03") {
			t.Errorf("got the date %v, %q", res.Due, res.LastDay)
		}
	}
	for _, r := range Collect(t, Review(t, l).Rows(t.Context())) {
		if want := []crm.Status{crm.NotDue, crm.Unchanged, crm.Pending}[r.Ord-1]; r.Status != want {
			t.Errorf("a review says %v of row %d, want %v", r.Status, r.Ord, want)
		}
	}
	next, err := l.Next(t.Context(), "main", ledger.Cursor{}, 9)
	Must(t, err)
	if len(next) != 1 || next[0].Ord != 3 {
		t.Errorf("got %+v to do, want row 3 alone", next)
	}
	Must(t, l.VerifyRows(t.Context()))
	for _, script := range []string{
		"UPDATE sheet_row SET status = 'unchanged' WHERE ord = 1", "UPDATE sheet_row SET status = NULL WHERE ord = 1", "UPDATE sheet_row SET status = 'unavailable' WHERE ord = 3",
	} {
		if _, err := store.DB(t).Exec(script); err != nil {
			t.Fatal(err)
		}
		if _, ok := errors.AsType[*ledger.ChainError](l.VerifyRows(t.Context())); !ok {
			t.Errorf("nobody sees %q", script)
		}
		if _, err := store.DB(t).Exec("UPDATE sheet_row SET status = CASE ord WHEN 1 THEN 'not_due' WHEN 2 THEN 'unchanged' END"); err != nil {
			t.Fatal(err)
		}
	}

	// When its date has come, the same row is one like all others.
	s = Import(t, l, rows)
	Must(t, s.Match(t.Context(), everyTarget(func(past, rows []ledger.Entry) []ledger.Choice {
		return []ledger.Choice{{Take: -1, Turn: ledger.TurnNormal}}
	})))
	Must(t, s.Commit(t.Context(), ledger.Source{}))
	if got, want := States(t, l), "r1a:not_attempted k2b:not_attempted r3c:not_attempted"; got != want {
		t.Errorf("later: got %q, want %q", got, want)
	}
}

// everyTarget is EachTarget for all that Match hands out.
func everyTarget(decide func(past, rows []ledger.Entry) []ledger.Choice) ledger.Decide {
	return func(entries iter.Seq2[ledger.Entry, error], choose func(past, rows []ledger.Entry, recordLevel bool, choices []ledger.Choice) error) error {
		return Targets(entries, func(past, rows []ledger.Entry, recordLevel bool) error {
			if len(rows) == 0 {
				return nil
			}
			return choose(past, rows, recordLevel, decide(past, rows))
		})
	}
}

// What one row keeps and another changes is found by record, user and, of a revoke_all,
// by record alone.
func testRejectKeptAndChanged(t *testing.T, newStore NewStore) {
	for _, tt := range []struct{ words, rejected string }{
		{"k1a r1a", "k1a r1a"},
		{"k1a r1b", ""},
		{"k1a r2a", ""},
		{"r1a s1a", ""},
		{"k1a k1a", ""},
		{"k1a *1 s2b", "k1a *1"},
		{"k1 *1", "k1 *1"},
		{"k1 r1a", ""},
		{"k1a r1b r1a s1a", "k1a r1a s1a"},
	} {
		l := Open(t, newStore(t))
		rows := Rows(tt.words)
		for i := range rows {
			if rows[i].Cells[0][0] == 'k' {
				rows[i].Op.Action = crm.Keep
			}
		}
		s := Import(t, l, rows)
		counts, err := s.Reject(t.Context(), ledger.Where{KeptAndChanged: true}, ledger.Rejection{Code: crm.CodeKeptAndChanged, Problem: "both"})
		Must(t, err)
		var got []string
		for _, r := range Collect(t, s.Invalid(t.Context(), 0)) {
			got = append(got, rows[r.Ord-1].Cells[0])
		}
		if strings.Join(got, " ") != tt.rejected || counts["main"] != int64(len(got)) {
			t.Errorf("%s: rejected %v, %d, want %s", tt.words, got, counts["main"], tt.rejected)
		}
	}
}

// A review of one record may be a whole sheet: what is kept and changed there is found in a
// time that grows with the rows, not with their square.
func testRejectKeptAndChangedOnOneRecord(t *testing.T, newStore NewStore) {
	template := Rows("r1a")[0]
	reject := func(n int) time.Duration {
		rows := make([]ledger.ImportRow, n)
		for i := range rows {
			rows[i] = template
			rows[i].Line, rows[i].Op.Action, rows[i].Op.User = i+2, crm.Keep, fmt.Sprint("u", i)
		}
		rows[n-1].Op = template.Op
		rows[n-1].Op.User = "u7"
		im := Import(t, Open(t, newStore(t)), rows)
		_, err := im.Reject(t.Context(), ledger.Where{Ord: 1}, ledger.Rejection{Code: "x", Problem: "all rows are in the tables then"})
		Must(t, err)
		began := time.Now()
		counts, err := im.Reject(t.Context(), ledger.Where{KeptAndChanged: true}, ledger.Rejection{Code: crm.CodeKeptAndChanged, Problem: "both"})
		Must(t, err)
		if counts["main"] != 2 {
			t.Errorf("%d rows of %d rejected, want 2", counts["main"], n)
		}
		return time.Since(began)
	}
	// Four times the rows take about four times as long; each with each, it was sixteen times.
	best := 99.0
	for range 3 {
		few := reject(2000)
		if best = min(best, reject(8000).Seconds()/few.Seconds()); best < 9 {
			return
		}
	}
	t.Errorf("four times the rows take %.1f times as long", best)
}
