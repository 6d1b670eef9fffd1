package batch

import (
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// sequence is rows that were never a sheet.
func sequence(rows ...Row) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for _, row := range rows {
			if !yield(row, nil) {
				return
			}
		}
	}
}

// loaded takes rows through a batch up to Prepare.
func (b *bench) loaded(rows iter.Seq2[Row, error]) (*Batch, error) {
	b.t.Helper()
	batch, err := New(b.led, b.opts)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := batch.Load(b.t.Context(), rows); err != nil {
		return batch, err
	}
	_, err = batch.Prepare(b.t.Context())
	return batch, err
}

// Rows from anywhere are checked as those of a sheet are, each by the rules of its
// account, and done again only as far as they are not done.
func TestLoadRows(t *testing.T) {
	t.Parallel()
	f, other := newFake(t), newFake(t)
	f.users = []crm.User{{ID: "u7", Email: "jo@x.example"}}
	b := newBench(t, f, other)
	b.opts.SkipInvalid = true
	revoke := func(record, user string) crm.Operation {
		return crm.Operation{Action: crm.Revoke, Object: "thing", Record: record, User: user}
	}
	rows := sequence(
		Row{Op: revoke("r1", "u1")},
		Row{Op: revoke("r2", ""), Email: "Jo@x.example"},
		Row{Op: revoke("r3", "jo@x.example")},
		Row{Line: 40, Account: "B", Op: revoke("r1", "u1")},
		Row{Op: revoke("x", "u1")},
		Row{Account: "nobody", Op: revoke("r1", "u1")},
		Row{Op: revoke("r4", "")},
		Row{Op: crm.Operation{Action: crm.RevokeAll, Object: "thing", Record: "r5", User: "u1"}},
		Row{Op: revoke("r6", "u1"), Code: "left_out", Problem: "somebody has said no"},
	)
	batch, err := b.loaded(rows)
	if err != nil {
		t.Fatal(err)
	}
	if got := batch.Used(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("used are %q, want a and b", got)
	}
	if err := batch.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := batch.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	results := b.results(9)
	wantStates(t, results, "done done done done invalid invalid invalid invalid invalid")
	wantSent(t, f, "revoke r1 u1", "revoke r2 u7", "revoke r3 u7")
	wantSent(t, other, "revoke r1 u1")
	var lines, codes []string
	for _, r := range results {
		lines = append(lines, strings.Repeat("i", r.Line))
		codes = append(codes, r.Code)
	}
	if lines[2] != "iii" || len(lines[3]) != 40 || len(lines[4]) != 5 {
		t.Errorf("the lines are %q, want their places but for the one that has its own", lines)
	}
	if want := []string{"", "", "", "", crm.CodeInvalid, crm.CodeUnknownAccount, crm.CodeInvalid, crm.CodeInvalid, "left_out"}; !slices.Equal(codes, want) {
		t.Errorf("codes %q, want %q", codes, want)
	}
	if want := []string{"revoke", "thing", "r2", "", "Jo@x.example", "", "", "", "", "", "", ""}; !slices.Equal(results[1].Cells, want) || len(want) != len(rowColumns()) {
		t.Errorf("the cells of the second row are %q, want %q", results[1].Cells, want)
	}
	batch, err = b.loaded(rows)
	if err != nil {
		t.Fatal(err)
	}
	if err := batch.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := batch.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantSent(t, f)
}

func TestLoadRowsThatEndInAnError(t *testing.T) {
	t.Parallel()
	b := newBench(t, newFake(t))
	broken := errors.New("the database is gone")
	_, err := b.loaded(func(yield func(Row, error) bool) {
		if yield(Row{Op: crm.Operation{Action: crm.Revoke, Object: "thing", Record: "r1", User: "u1"}}, nil) {
			yield(Row{}, broken)
		}
	})
	if !errors.Is(err, broken) {
		t.Errorf("got %v, want what ended the rows", err)
	}
	_, err = b.loaded(sequence(Row{Op: crm.Operation{Action: crm.Share, Object: "thing", Record: "x", User: "u1"}}))
	if invalid, ok := errors.AsType[*InvalidError](err); !ok || invalid.First[0].Value != "x" || invalid.First[0].Column != "record_id" {
		t.Errorf("got %+v, want the invalid row with its value", err)
	}
}

// The good rows can be looked through when they have been loaded.
func TestRowsThatHaveBeenLoaded(t *testing.T) {
	t.Parallel()
	b := newBench(t, newFake(t))
	b.opts.SkipInvalid = true
	batch, err := b.loadText("action,object,record_id,user\nrevoke,thing,r1,u1\nrevoke,thing,x,u1\nshare,thing,r2,jo@x.example\n")
	if err != nil {
		t.Fatal(err)
	}
	var got []Row
	for row, err := range batch.Rows(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, row)
	}
	if len(got) != 2 || got[0].Op.Record != "r1" || got[0].Line != 2 || got[1].Email != "jo@x.example" || got[1].Account != "a" {
		t.Errorf("the rows are %+v", got)
	}
}
