package batch

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// exactIDs are n ids of 19 digits that nothing has rounded.
func exactIDs(n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprintf("4150868000000%06d", 650_001+2*i))
	}
	return ids
}

// TestRoundedIDs gives sheets whose record ids are these, by a provider that wants an
// "r" before them only where the id is none.
func TestRoundedIDs(t *testing.T) {
	t.Parallel()
	const rounded = "3652397000000620000" // of 3652397000000624001
	for _, tc := range []struct {
		name    string
		ids     []string
		user    string
		invalid int    // rows
		says    string // part of their reason
		note    string // part of the plan's note
	}{
		{name: "nothing rounded", ids: exactIDs(5)},
		{name: "one", ids: append(exactIDs(3), rounded), note: `1 of 4 long ids ends in zeros after 15 digits, as a spreadsheet rounds long numbers; the first is record_id "3652397000000620000" in line 5`},
		{name: "one alone", ids: []string{rounded}, note: "1 of 1 long ids"},
		{name: "all", ids: []string{rounded, rounded, rounded}, invalid: 3, says: `record_id: "3652397000000620000" ends in zeros after 15 digits, as a spreadsheet rounds long numbers; the same in 3 of 3 rows`},
		{name: "two of many", ids: append(exactIDs(198), rounded, rounded), note: "2 of 200 long ids end in zeros"},
		{name: "two of a little less", ids: append(exactIDs(197), rounded, rounded), invalid: 2, says: "the same in 2 of 199 rows"},
		{name: "sixteen digits", ids: []string{"1234567890123450", "1234567890123460"}, invalid: 2, says: "15 digits"},
		{name: "fifteen digits are exact", ids: []string{"123456789012000", "123456789012000"}},
		{name: "a last digit that is none", ids: []string{"3652397000000620001", "3652397000000620001"}},
		{name: "the user's", ids: exactIDs(2), user: "3652397000000000000", invalid: 2, says: `user: "3652397000000000000" ends in zeros`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, newFake(t))
			b.opts.Accounts[0].Provider = anyRecord{b.opts.Accounts[0].Provider.(*fake)}
			var rows []string
			for i, id := range tc.ids {
				user := tc.user
				if user == "" {
					user = fmt.Sprintf("u%d", i)
				}
				rows = append(rows, "revoke "+id+" "+user)
			}
			_, p, err := b.prepare(rows...)
			invalid, refused := errors.AsType[*InvalidError](err)
			switch {
			case err != nil && !refused:
				t.Fatal(err)
			case refused != (tc.invalid > 0) || refused && invalid.Total != int64(tc.invalid):
				t.Fatalf("got %v, want %d invalid rows", err, tc.invalid)
			case refused:
				if row := invalid.First[0]; !strings.Contains(row.Reason, tc.says) || row.Code != crm.CodeRoundedID || len(invalid.Groups) != 1 {
					t.Errorf("%+v in %d groups, want one that says %q", row, len(invalid.Groups), tc.says)
				}
			case strings.Join(p.Notes, "\n") != tc.note && (tc.note == "" || !strings.Contains(strings.Join(p.Notes, "\n"), tc.note)):
				t.Errorf("notes %q, want %q", p.Notes, tc.note)
			}
			b.opts.AllowRoundedIDs = true
			if _, p, err = b.prepare(rows...); err != nil || p.Invalid > 0 {
				t.Fatalf("allowed, it is %v", err)
			}
			if tc.invalid > 0 && (len(p.Notes) != 1 || !strings.Contains(p.Notes[0], "in zeros after 15 digits")) {
				t.Errorf("allowed, the plan notes %q", p.Notes)
			}
			b.opts.AllowRoundedIDs, b.opts.SkipInvalid = false, true
			if _, p, err = b.prepare(rows...); err != nil || p.Invalid != int64(tc.invalid) || p.ToSend != int64(len(tc.ids)-tc.invalid) {
				t.Errorf("skipped, the plan is %+v, %v; want %d invalid", p, err, tc.invalid)
			}
		})
	}
}

// anyRecord is a fake that takes every record.
type anyRecord struct{ *fake }

func (a anyRecord) Check(op crm.Operation) (crm.Operation, error) {
	id := op.Record
	op.Record = "r"
	op, err := a.fake.Check(op)
	op.Record = id
	return op, err
}
