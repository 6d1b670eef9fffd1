package report

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

func done() *ledger.Outcome { return &ledger.Outcome{Status: crm.Done, ConfirmedAt: at} }

// What a verification writes is inert, each row is counted once, and a row without
// an answer is not said to hold.
func TestPrintVerified(t *testing.T) {
	t.Parallel()
	layout := sheet.Layout{Delimiter: ";", Newline: "\r\n", Columns: []string{"action", "object", "record_id", "user", "why"}}
	cells := func(why string) []string { return []string{"revoke", "lead", "1001", "u", why} }
	led := newLedger(t, layout, []sheetRow{
		{cells: cells("a"), op: revoke(1), settle: done()},
		{cells: cells("=b"), op: revoke(2), settle: done()},
		{cells: cells("c"), op: revoke(3), settle: &ledger.Outcome{Status: crm.Failed}},
		{cells: cells("d"), op: revoke(4), settle: done()},
		{cells: cells("e"), op: revoke(5), settle: done()},
	})
	review, err := led.Review(t.Context())
	must(t, err)
	must(t, review.Answer(t.Context(), []ledger.Answer{
		{Ord: 1, Holds: batch.Holds},
		{Ord: 2, Holds: batch.HoldsNot, Code: "given_back", Message: "=HYPERLINK(\"http://evil\")\n\x1b[2J"},
		{Ord: 3, Holds: batch.HoldsNot, Code: crm.CodeNeverDone},
		{Ord: 4, Code: crm.CodeSuperseded, Later: 2},
	}))
	var out bytes.Buffer
	counts, err := PrintVerified(t.Context(), &out, review)
	must(t, err)
	want := "line,result,holds,code,message\n2,done,yes,,\n" +
		"3,done,no,given_back,\"'=HYPERLINK(\"\"http://evil\"\") \uFFFD[2J\"\n" +
		"4,failed,no,never_done,\n5,done,no,superseded,\n6,done,unknown,,\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("printed (-want +got):\n%s", diff)
	}
	wantCounts := VerifyCounts{Rows: 5, Holds: 1, Broken: 2, NeverDone: 1, Unknown: 1, Superseded: 1}
	if counts != wantCounts || counts.Open() != 4 {
		t.Errorf("counts %+v, want %+v", counts, wantCounts)
	}
	path := filepath.Join(t.TempDir(), "v.csv")
	again, err := WriteVerified(t.Context(), led, review, path)
	must(t, err)
	raw, err := os.ReadFile(path)
	must(t, err)
	if again != counts || !strings.HasPrefix(string(raw), "action;object;record_id;user;why;line;result;holds;code;message\r\nrevoke;lead;1001;u;a;2;done;yes;;\r\n") {
		t.Errorf("the file is %q", raw)
	}
}

// Nothing is written over that is not a verification, and an undo sheet takes no
// name that is in use.
func TestVerifiedAndUndoSheetsReplaceNothingElse(t *testing.T) {
	t.Parallel()
	layout := sheet.Layout{Delimiter: ",", Newline: "\n", Columns: []string{"action", "object", "record_id", "user"}}
	led := newLedger(t, layout, []sheetRow{{cells: []string{"revoke", "lead", "1001", "u"}, op: revoke(1), settle: done()}})
	review, err := led.Review(t.Context())
	must(t, err)
	dir := t.TempDir()
	own := filepath.Join(dir, "own.csv")
	_, err = WriteVerified(t.Context(), led, review, own)
	must(t, err)
	must(t, CheckVerified(own))
	other, link := filepath.Join(dir, "other.csv"), filepath.Join(dir, "link.csv")
	must(t, os.WriteFile(other, []byte("action,object,record_id,user\nrevoke,lead,1,u\n"), 0o600))
	must(t, os.Symlink(own, link))
	for _, path := range []string{other, link, dir} {
		_, err := WriteVerified(t.Context(), led, review, path)
		for what, err := range map[string]error{"WriteVerified": err, "CheckVerified": CheckVerified(path)} {
			if _, ok := errors.AsType[*TargetError](err); !ok {
				t.Errorf("%s %s: error %v, want a *TargetError", what, path, err)
			}
		}
	}
	for _, path := range []string{own, other, link, dir} {
		_, err := WriteUndo(t.Context(), led, path, nil)
		if _, ok := errors.AsType[*TargetError](err); !ok {
			t.Errorf("WriteUndo %s: error %v, want a *TargetError", path, err)
		}
	}
	undo := filepath.Join(dir, "undo.csv")
	counts, err := WriteUndo(t.Context(), led, undo, nil)
	must(t, err)
	raw, err := os.ReadFile(undo)
	must(t, err)
	want := "action,object,record_id,user,context_id,access,duration_minutes,share_related,group_permissions,account,note,undo_of\nshare,lead,1001,u,c,read,,,,main,"
	if counts.Rows != 1 || counts.Noted != 1 || !strings.HasPrefix(string(raw), want) {
		t.Errorf("%+v, and the sheet is %q", counts, raw)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 4 {
		t.Errorf("the folder has %v, %v", entries, err)
	}
}

// Rows need somebody unless they are settled as the sheet asks; one by which
// somebody else has lost access needs them all the same.
func TestNeedsSomebody(t *testing.T) {
	t.Parallel()
	row := func(state crm.Status, op crm.Operation) ledger.Result { return ledger.Result{Status: state, Op: op} }
	for _, tc := range []struct {
		name string
		res  ledger.Result
		want bool
	}{
		{"done", row(crm.Done, revoke(1)), false},
		{"unchanged", row(crm.Unchanged, revoke(1)), false},
		{"accepted", row(crm.Accepted, revoke(1)), true},
		{"failed", row(crm.Failed, revoke(1)), true},
		{"in doubt", row(crm.Uncertain, share(1)), true},
		{"cut off", row(crm.Sent, revoke(1)), true},
		{"not attempted", row(crm.Pending, revoke(1)), true},
		{"invalid", ledger.Result{Invalid: true}, true},
		{"somebody else lost access", ledger.Result{Status: crm.Done, Code: crm.CodeBystanderLost}, true},
	} {
		if got := NeedsSomebody(tc.res); got != tc.want {
			t.Errorf("%s: %t, want %t", tc.name, got, tc.want)
		}
	}
}
