package ledger_test

import (
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

func testReadOnly(t *testing.T, newStore NewStore) {
	store := newStore(t)
	w := Open(t, store)
	Commit(t, w, Rows("r1a s2b"))
	r, err := store.Open(ledger.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, want := States(t, r), "r1a:not_attempted s2b:not_attempted"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	s := Matched(t, r, Rows("r1a s2b r3c"))
	if got, err := s.Counts(t.Context()); err != nil || len(got) != 2 {
		t.Errorf("a plan over an open ledger: got %+v, %v", got, err)
	}
	WantIs(t, s.Commit(t.Context(), ledger.Source{}), ledger.ErrReadOnly)
	WantIs(t, r.Bind(t.Context(), ledger.Binding{Account: "main", Host: "h"}), ledger.ErrReadOnly)
	_, err = r.BeginRun(t.Context(), ledger.RunInfo{})
	WantIs(t, err, ledger.ErrReadOnly)

	Finish(t, w, Next(t, w)[0], crm.Done)
	if got, want := States(t, r), "r1a:done s2b:not_attempted"; got != want {
		t.Errorf("during a run: got %q, want %q", got, want)
	}
}

func testClosed(t *testing.T, newStore NewStore) {
	l := Open(t, newStore(t))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := l.Import(t.Context())
	WantIs(t, err, ledger.ErrClosed)
	_, err = l.Bindings(t.Context())
	WantIs(t, err, ledger.ErrClosed)
	WantIs(t, l.Wrote(t.Context(), "x"), ledger.ErrClosed)
}
