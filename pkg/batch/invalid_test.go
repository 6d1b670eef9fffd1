package batch

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

func TestInvalidRowsNameTheirCell(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.users = []crm.User{{ID: "u1", Email: "one@x.example"}}
	b := newBench(t, f)
	for _, tc := range []struct {
		name, row string
		want      InvalidRow
	}{
		{"a word that is no action", "delete r1 u1", InvalidRow{Line: 2, Code: codeInvalid, Column: "action", Value: "delete"}},
		{"an id that does not fit", "revoke x\x1b1 u1", InvalidRow{Line: 2, Code: codeInvalid, Column: "record_id", Value: "x\uFFFD1"}},
		{"an address that nobody has", "revoke r1 No@x.example", InvalidRow{Line: 2, Code: codeUser, Column: "user", Value: "no@x.example"}},
	} {
		_, _, err := b.prepare(tc.row)
		invalid, ok := errors.AsType[*InvalidError](err)
		if !ok || len(invalid.First) != 1 {
			t.Errorf("%s: got %v, want one invalid row", tc.name, err)
			continue
		}
		got := invalid.First[0]
		if got.Reason == "" {
			t.Errorf("%s: no reason is given", tc.name)
		}
		got.Reason = ""
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}
