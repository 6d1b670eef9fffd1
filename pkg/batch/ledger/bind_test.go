package ledger

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestBind(t *testing.T) {
	t.Parallel()
	path := newFile(t)
	l := mustOpen(t, path)
	b := Binding{"main", "leadsquared", "api.example.com", "17"}
	other := Binding{"eu", "zoho", "www.zohoapis.eu", "18"}
	for _, b := range []Binding{b, b, other} {
		if err := l.Bind(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = mustOpen(t, path)
	got, err := l.Bindings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Binding{other, b}, got); diff != "" {
		t.Errorf("bindings (-want +got):\n%s", diff)
	}
	for _, wrong := range []Binding{
		{"main", "zoho", b.Host, b.Org}, {"main", b.CRM, "api2.example.com", b.Org}, {"main", b.CRM, b.Host, "19"},
	} {
		err := l.Bind(t.Context(), wrong)
		e, ok := errors.AsType[*BindingError](err)
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

func TestRuns(t *testing.T) {
	t.Parallel()
	l := mustOpen(t, newFile(t))
	first, second := begun(t, l), begun(t, l)
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
	info := RunInfo{Version: "v1", Operator: "op", Args: []string{"run", "sheet.csv"}}
	want := []Run{
		{ID: first, Started: at, RunInfo: info},
		{ID: second, Started: at, Ended: at, RunInfo: info, Summary: json.RawMessage(`{"done":1}`)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("runs (-want +got):\n%s", diff)
	}
	if got[0].Ended != (time.Time{}) {
		t.Error("a run that goes on has an end")
	}
}

func TestSource(t *testing.T) {
	t.Parallel()
	l := mustOpen(t, newFile(t))
	if _, ok, err := l.Source(t.Context()); ok || err != nil {
		t.Errorf("a new ledger: got %v, %v", ok, err)
	}
	want := Source{Name: "a.csv", SHA256: "ff", Layout: json.RawMessage(`{"header":["action"]}`)}
	s := matched(t, l, stagedRows("r1a"))
	if err := s.Adopt(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	got, ok, err := l.Source(t.Context())
	if diff := cmp.Diff(want, got); diff != "" || !ok || err != nil {
		t.Errorf("ok %v, %v, (-want +got):\n%s", ok, err, diff)
	}
}
