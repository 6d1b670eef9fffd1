package ledger

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// asked runs Match and returns what decide was asked, as "past|rows".
func asked(t *testing.T, l *Ledger, sheet string) []string {
	t.Helper()
	s := stageOf(t, l, stagedRows(sheet))
	if err := s.Index(t.Context(), recordKey, nil); err != nil {
		t.Fatal(err)
	}
	spell := func(op crm.Operation) string {
		return map[crm.Action]string{crm.Revoke: "r", crm.Share: "s", crm.RevokeAll: "*"}[op.Action] + op.Record + op.User
	}
	var got []string
	if err := s.Match(t.Context(), func(past []Past, rows []crm.Operation) []Choice {
		var p, r []string
		for _, x := range past {
			p = append(p, spell(x.Op)+":"+x.State.String())
		}
		for _, x := range rows {
			r = append(r, spell(x))
		}
		got = append(got, strings.Join(p, " ")+"|"+strings.Join(r, " "))
		return overlap(past, rows)
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.Adopt(t.Context(), Source{}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	return got
}

func TestMatchAsks(t *testing.T) {
	t.Parallel()
	type night struct {
		sheet string
		want  []string
		// finish says how each leader ends, in the order of work.
		finish []State
	}
	for _, tt := range []struct {
		name   string
		nights []night
	}{
		{"a lone new row is not asked about", []night{{"r1a r2a r1b", nil, nil}}},
		{"rows of one target come together, in sheet order", []night{{"r1a r2b s1a r1a s2b", []string{"|r1a s1a r1a", "|r2b s2b"}, nil}}},
		{"what was never tried is no history", []night{{"r1a", nil, nil}, {"r1a", nil, nil}}},
		{"history is in the order in which it happened", []night{
			{"r1a s1a r1a", []string{"|r1a s1a r1a"}, []State{Done, Unchanged, Failed}},
			{"s1a r1a", []string{"r1a:done s1a:unchanged r1a:failed|s1a r1a"}, []State{Done}},
		}},
		{"an operation tried again goes to the end of the history", []night{
			{"r1a s1a", []string{"|r1a s1a"}, []State{Failed, Done}},
			{"r1a s1a", []string{"r1a:failed s1a:done|r1a s1a"}, []State{Done}},
			{"r1a", []string{"s1a:done r1a:done|r1a"}, nil},
		}},
		{"rows that leave the sheet stay as history", []night{
			{"r1a r2b", nil, []State{Done, Accepted}},
			{"r3c", nil, nil},
			{"r1a r2b", []string{"r1a:done|r1a", "r2b:accepted|r2b"}, nil},
		}},
		{"a revoke_all makes the record one target, in the history too", []night{
			{"s1a s1b s2a", nil, []State{Done, Done, Done}},
			{"*1", []string{"s1a:done s1b:done|*1"}, []State{Done}},
			{"s1c", []string{"s1a:done s1b:done *1:done|s1c"}, []State{Done}},
			{"s1a s1b s2a", []string{"s1a:done s1b:done *1:done s1c:done|s1a s1b", "s2a:done|s2a"}, nil},
		}},
		{"a revoke_all and its record's rows in one sheet", []night{{"s1a *1 s2b s1b", []string{"|s1a *1 s1b"}, nil}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			// The same with every hash colliding: the answers must not depend on them.
			for _, hash := range []hasher{hashParts, func(...string) int64 { return 1 }} {
				l := mustOpen(t, newFile(t))
				l.hash = hash
				for i, n := range tt.nights {
					if diff := cmp.Diff(n.want, asked(t, l, n.sheet)); diff != "" {
						t.Errorf("night %d (-want +got):\n%s", i+1, diff)
					}
					begun(t, l)
					for j, op := range todo(t, l) {
						if j < len(n.finish) {
							finish(t, l, op, n.finish[j])
						}
					}
				}
			}
		})
	}
}

func TestMatchRefusesAnswersThatDoNotFit(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		choices []Choice
	}{
		{"too few", []Choice{{Take: -1}}},
		{"a past that is not there", []Choice{{Take: 0}, {Take: -1, Join: 1}}},
		{"a join forward", []Choice{{Take: -1, Join: 1}, {Take: -1, Join: 1}}},
		{"a join to one that joins", []Choice{{Take: -1, Join: 0}, {Take: -1, Join: 0}, {Take: -1, Join: 1}}},
		{"no such turn", []Choice{{Take: -1, Turn: 9}, {Take: -1, Join: 1}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := mustOpen(t, newFile(t))
			s := stageOf(t, l, stagedRows("r1a r1a r1a"[:4*max(2, len(tt.choices))-1]))
			if err := s.Index(t.Context(), recordKey, nil); err != nil {
				t.Fatal(err)
			}
			if err := s.Match(t.Context(), func([]Past, []crm.Operation) []Choice { return tt.choices }); err == nil {
				t.Error("the answer was taken")
			}
		})
	}
}

// TestMatchPages has more targets, and one larger target, than a page or a batch
// holds.
func TestMatchPages(t *testing.T) {
	t.Parallel()
	l := mustOpen(t, newFile(t))
	var rows []Staged
	for i := range groupBatch + 100 {
		op := crm.Operation{Action: crm.Revoke, Object: crm.Lead, Record: fmt.Sprint(i), User: "u"}
		if i%4 == 0 {
			op.Record = "same"
		}
		rows = append(rows, Staged{Line: i, Account: "main", Op: op})
	}
	adopted(t, l, rows)
	if err := l.change(t.Context(), func(c *conn) error {
		_, err := c.exec("UPDATE op SET state = 3, seq = id, turn = 0, open = 0")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	s := matched(t, l, rows)
	got, err := s.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []Tally{{Account: "main", Action: crm.Revoke, Object: crm.Lead, Taken: true, State: Done, Rows: int64(len(rows))}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}
