package ledger_test

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
)

func testBind(t *testing.T, newStore NewStore) {
	store := newStore(t)
	l := Open(t, store)
	b := ledger.Binding{Account: "main", CRM: "leadsquared", Host: "api.example.com", Org: "17"}
	other := ledger.Binding{Account: "eu", CRM: "zoho", Host: "www.zohoapis.eu", Org: "18"}
	for _, b := range []ledger.Binding{b, b, other} {
		if err := l.Bind(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = Open(t, store)
	got, err := l.Bindings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]ledger.Binding{other, b}, got); diff != "" {
		t.Errorf("bindings (-want +got):\n%s", diff)
	}
	for _, wrong := range []ledger.Binding{
		{Account: "main", CRM: "zoho", Host: b.Host, Org: b.Org}, {Account: "main", CRM: b.CRM, Host: "api2.example.com", Org: b.Org}, {Account: "main", CRM: b.CRM, Host: b.Host, Org: "19"},
	} {
		err := l.Bind(t.Context(), wrong)
		e, ok := errors.AsType[*ledger.BindingError](err)
		if !ok || e.Recorded != b || e.Now != wrong {
			t.Errorf("Bind(%+v): got %v", wrong, err)
			continue
		}
		for _, part := range []string{"main", b.Host, wrong.Host, b.Org, wrong.Org} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q does not name %q", err, part)
			}
		}
	}
	seq, _, err := l.Head(t.Context())
	if err != nil || seq != 3 {
		t.Errorf("got %d events, %v; want one for the ledger and one per account", seq, err)
	}
}

func testRuns(t *testing.T, newStore NewStore) {
	l := Open(t, newStore(t))
	first, second := Begin(t, l), Begin(t, l)
	if err := l.EndRun(t.Context(), second, json.RawMessage(`{"done":1}`)); err != nil {
		t.Fatal(err)
	}
	if err := l.EndRun(t.Context(), 99, nil); err == nil {
		t.Error("a run that never began was ended")
	}
	got, err := l.Runs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	info := ledger.RunInfo{Version: "v1", Operator: "op", Args: []string{"run", "sheet.csv"}}
	want := []ledger.Run{
		{ID: first, Started: At, RunInfo: info},
		{ID: second, Started: At, Ended: At, RunInfo: info, Summary: json.RawMessage(`{"done":1}`)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("runs (-want +got):\n%s", diff)
	}
	if got[0].Ended != (time.Time{}) {
		t.Error("a run that goes on has an end")
	}
}

func testSource(t *testing.T, newStore NewStore) {
	l := Open(t, newStore(t))
	if _, ok, err := l.Source(t.Context()); ok || err != nil {
		t.Errorf("a new ledger: got %v, %v", ok, err)
	}
	want := ledger.Source{Name: "a.csv", SHA256: "ff", Layout: json.RawMessage(`{"header":["action"]}`)}
	s := Matched(t, l, Rows("r1a"))
	if err := s.Commit(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	got, ok, err := l.Source(t.Context())
	if diff := cmp.Diff(want, got); diff != "" || !ok || err != nil {
		t.Errorf("ok %v, %v, (-want +got):\n%s", ok, err, diff)
	}
}

// testWrote: what is remembered of a file does not depend on how it is named.
func testWrote(t *testing.T, newStore NewStore) {
	store := newStore(t)
	l := Open(t, store)
	for range 2 {
		Must(t, l.Wrote(t.Context(), "x.csv"))
	}
	path, err := filepath.Abs("x.csv")
	Must(t, err)
	for _, l := range []*ledger.Ledger{l, Open(t, store)} {
		for name, want := range map[string]bool{"x.csv": true, path: true, "y.csv": false} {
			if ok, err := l.HasWritten(t.Context(), name); ok != want || err != nil {
				t.Errorf("%s: written is %t, %v, want %t", name, ok, err, want)
			}
		}
	}
}
