package ledger_test

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// asked runs Match and returns the targets that its stream had, as "past|rows".
func asked(t *testing.T, l *ledger.Ledger, sheet string) []string {
	t.Helper()
	s := Import(t, l, Rows(sheet))
	spell := func(e ledger.Entry) string {
		return map[crm.Action]string{crm.Revoke: "r", crm.Share: "s", crm.RevokeAll: "*"}[e.Op.Action] + e.Op.Record + e.Op.User
	}
	var got []string
	if err := s.Match(t.Context(), func(entries iter.Seq2[ledger.Entry, error], choose func([]ledger.Entry, []ledger.Entry, bool, []ledger.Choice) error) error {
		return Targets(inOrder(t, entries), func(past, rows []ledger.Entry, recordLevel bool) error {
			var p, r []string
			for _, e := range past {
				p = append(p, spell(e)+":"+e.Status.String())
			}
			for _, e := range rows {
				r = append(r, spell(e))
			}
			got = append(got, strings.Join(p, " ")+"|"+strings.Join(r, " "))
			if len(rows) == 0 {
				return nil
			}
			return choose(past, rows, recordLevel, Overlap(past, rows))
		})
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(t.Context(), ledger.Source{}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	return got
}

// inOrder checks the order of a stream: record by record, of a record what is about everybody
// first and then user by user, and of a user the history before the rows.
func inOrder(t *testing.T, entries iter.Seq2[ledger.Entry, error]) iter.Seq2[ledger.Entry, error] {
	return func(yield func(ledger.Entry, error) bool) {
		var last []string
		for e, err := range entries {
			key := []string{e.Account, e.Op.Object, e.Op.Record, e.Op.User, e.Op.Context, "history", fmt.Sprintf("%09d", e.Seq)}
			if e.Ord > 0 {
				key[5], key[6] = "row", fmt.Sprintf("%09d", e.Ord)
			}
			if slices.Compare(last, key) >= 0 {
				t.Errorf("%v comes after %v", key, last)
			}
			if last = key; !yield(e, err) {
				return
			}
		}
	}
}

func testMatchAsks(t *testing.T, newStore NewStore) {
	type night struct {
		sheet string
		want  []string
		// finish says how each head ends, in the order of work.
		finish []crm.Status
	}
	for _, tt := range []struct {
		name   string
		nights []night
	}{
		{"a lone new row of a record is left out", []night{{"r1a r2a r1b", []string{"|r1a", "|r1b"}, nil}}},
		{"rows of one target come together, in sheet order", []night{{"r1a r2b s1a r1a s2b", []string{"|r1a s1a r1a", "|r2b s2b"}, nil}}},
		{"what was never tried is no history", []night{{"r1a", nil, nil}, {"r1a", nil, nil}}},
		{"history is in the order in which it happened", []night{
			{"r1a s1a r1a", []string{"|r1a s1a r1a"}, []crm.Status{crm.Done, crm.Unchanged, crm.Failed}},
			{"s1a r1a", []string{"r1a:done s1a:unchanged r1a:failed|s1a r1a"}, []crm.Status{crm.Done}},
		}},
		{"an operation tried again goes to the end of the history", []night{
			{"r1a s1a", []string{"|r1a s1a"}, []crm.Status{crm.Failed, crm.Done}},
			{"r1a s1a", []string{"r1a:failed s1a:done|r1a s1a"}, []crm.Status{crm.Done}},
			{"r1a", []string{"s1a:done r1a:done|r1a"}, nil},
		}},
		{"rows that leave the sheet stay as history", []night{
			{"r1a r2b", nil, []crm.Status{crm.Done, crm.Accepted}},
			{"r3c", []string{"r1a:done|", "r2b:accepted|", "|r3c"}, nil},
			{"r1a r2b", []string{"r1a:done|r1a", "r2b:accepted|r2b"}, nil},
		}},
		{"a revoke_all makes the record one target, in the history too", []night{
			{"s1a s1b s2a", []string{"|s1a", "|s1b"}, []crm.Status{crm.Done, crm.Done, crm.Done}},
			{"*1", []string{"s1a:done s1b:done|*1", "s2a:done|"}, []crm.Status{crm.Done}},
			{"s1c", []string{"s1a:done s1b:done *1:done|s1c", "s2a:done|"}, []crm.Status{crm.Done}},
			{"s1a s1b s2a", []string{"s1a:done s1b:done *1:done s1c:done|s1a s1b", "s2a:done|s2a"}, nil},
		}},
		{"a revoke_all and its record's rows in one sheet", []night{{"s1a *1 s2b s1b", []string{"|s1a *1 s1b"}, nil}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := Open(t, newStore(t))
			for i, n := range tt.nights {
				if diff := cmp.Diff(n.want, asked(t, l, n.sheet)); diff != "" {
					t.Errorf("night %d (-want +got):\n%s", i+1, diff)
				}
				Begin(t, l)
				for j, op := range Next(t, l) {
					if j < len(n.finish) {
						Finish(t, l, op, n.finish[j])
					}
				}
			}
		})
	}
}

func testMatchRefusesAnswersThatDoNotFit(t *testing.T, newStore NewStore) {
	for _, tt := range []struct {
		name    string
		choices []ledger.Choice
	}{
		{"too few", []ledger.Choice{{Take: -1}}},
		{"a past that is not there", []ledger.Choice{{Take: 0}, {Take: -1, Head: 1}}},
		{"a head behind it", []ledger.Choice{{Take: -1, Head: 1}, {Take: -1, Head: 1}}},
		{"a head that goes with another", []ledger.Choice{{Take: -1, Head: 0}, {Take: -1, Head: 0}, {Take: -1, Head: 1}}},
		{"no such turn", []ledger.Choice{{Take: -1, Turn: 9}, {Take: -1, Head: 1}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := Open(t, newStore(t))
			s := Import(t, l, Rows("r1a r1a r1a"[:4*max(2, len(tt.choices))-1]))
			if err := s.Match(t.Context(), EachTarget(func(_, _ []ledger.Entry) []ledger.Choice { return tt.choices })); err == nil {
				t.Error("the answer was taken")
			}
		})
	}
}

// testMatchPages has more targets, and one larger target, than a page or a batch
// holds.
func testMatchPages(t *testing.T, newStore NewStore) {
	store := newStore(t)
	l := Open(t, store)
	var rows []ledger.ImportRow
	for i := range pageRows + 100 {
		op := crm.Operation{Action: crm.Revoke, Object: crm.Lead, Record: fmt.Sprint(i), User: "u"}
		if i%4 == 0 {
			op.Record = "same"
		}
		rows = append(rows, ledger.ImportRow{Line: i, Account: "main", Op: op})
	}
	Commit(t, l, rows)
	Exec(t, store, "UPDATE op SET state = 'done', seq = id, turn = 0, open = 0")
	s := Matched(t, l, rows)
	got, err := s.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []ledger.Count{{Account: "main", Action: crm.Revoke, Object: crm.Lead, Taken: true, Status: crm.Done, Rows: int64(len(rows))}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}
