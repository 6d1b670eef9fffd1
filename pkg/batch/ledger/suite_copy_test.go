package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// Content is what a ledger holds wherever it stands: all but its mark, and the version of
// its tables, which stands in a table in PostgreSQL alone.
func Content(t testing.TB, s Store) string {
	t.Helper()
	lines := slices.Sorted(strings.Lines(wayTo.ReplaceAllString(databaseOnly.ReplaceAllString(Dump(t, s), ""), "output path=")))
	return strings.Join(slices.DeleteFunc(lines, func(line string) bool {
		return strings.HasPrefix(line, "meta name=schema ") || strings.HasPrefix(line, "meta name=mark ")
	}), "")
}

// wayTo is the way to what a ledger has written, which is another one from each folder.
var wayTo = regexp.MustCompile(`output path=.*/`)

// databaseOnly are columns that a database alone has: which ledger it is, and one that is made of
// others.
var databaseOnly = regexp.MustCompile(`(?m)( unconfirmed=\d+)?( ledger=\d+)?( unconfirmed=\d+)?$`)

func isDatabase(s Store) bool {
	_, ok := s.(database)
	return ok
}

// forget has the database know the ledger no more as the one that it is, so that it can be
// brought in once more.
func forget(t testing.TB, s Store) {
	t.Helper()
	if d, ok := s.(database); ok {
		_, err := d.db.Exec("UPDATE ledger SET uuid = 'forgotten' WHERE name = $1", d.name)
		Must(t, err)
	}
}

// same compares what two ledgers hold.
func same(t testing.TB, what string, want, got Store) {
	t.Helper()
	if diff := cmp.Diff(Content(t, want), Content(t, got)); diff != "" {
		t.Errorf("%s: (-want +got):\n%s", what, diff)
	}
}

// marked opens the ledger so that it can be brought in and moved.
func marked(t testing.TB, s Store) *ledger.Ledger {
	t.Helper()
	o := Options()
	o.Marked = true
	l, err := s.Open(o)
	Must(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

// openError is what to open the ledger for a change reports.
func openError(t testing.TB, s Store) error {
	t.Helper()
	l, err := s.Open(ledger.Options{})
	if err == nil {
		Must(t, l.Close())
	}
	return err
}

// export takes the ledger out.
func export(t testing.TB, l *ledger.Ledger) file {
	t.Helper()
	f := newFile(t).(file)
	Must(t, l.Export(t.Context(), string(f)))
	return f
}

// bringIn brings the file in, and checks whether there was anything to do.
func bringIn(t testing.TB, l *ledger.Ledger, f file, want bool) {
	t.Helper()
	already, err := l.BringIn(t.Context(), string(f))
	Must(t, err)
	if already == want {
		t.Errorf("brought in before: %t, want %t", already, !want)
	}
}

// left are the names in the file's folder.
func left(t testing.TB, f file) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(string(f)))
	Must(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// After every step of two nights, a copy holds what the ledger holds, in a file and brought in
// elsewhere, and the next step makes of it what it makes of the ledger itself.
func testCopiesOfEveryState(t *testing.T, newStore NewStore) {
	testCopiesOf(t, newStore(t), newFile)
	testCopiesOf(t, newFile(t), newStore)
}

// testCopiesOf brings the copies of the store's ledger into new stores.
func testCopiesOf(t *testing.T, store Store, newStore NewStore) {
	l := Open(t, store)
	lose := func(ctx context.Context, l *ledger.Ledger) error {
		ops, err := l.Next(ctx, "main", ledger.Cursor{}, 1)
		if err != nil || len(ops) == 0 {
			return fmt.Errorf("%d operations, %w", len(ops), err)
		}
		o := OutcomeOf(ops[0], "c9", crm.Failed)
		o.Happened, o.Note = true, "sent again"
		o.Lost = []crm.Grant{{Kind: crm.KindUser, ID: "z", Access: crm.Write, Related: true}}
		return l.Record(ctx, []ledger.Outcome{o})
	}
	nothing := func(context.Context, *ledger.Ledger) error { return nil }
	steps := slices.Concat([]Step{{Name: "make it", Do: nothing}}, Steps(), []Step{{Name: "a bystander loses", Do: lose}, {Name: "look again", Do: nothing}})
	var ahead *ledger.Ledger // brought in before this step
	var other Store
	for _, step := range steps {
		Must(t, step.Do(t.Context(), l))
		if ahead != nil {
			Must(t, step.Do(t.Context(), ahead))
			same(t, step.Name+", done with a copy", store, other)
			Agrees(t, ahead)
			Must(t, ahead.Close())
			forget(t, other)
		}
		f := export(t, l)
		same(t, step.Name+", taken out", store, f)
		if got := left(t, f); len(got) != 1 {
			t.Errorf("%s: beside the file there are %q", step.Name, got)
		}
		WantIs(t, openError(t, f), ledger.ErrCopy)
		r, err := f.Open(ledger.Options{ReadOnly: true})
		Must(t, err)
		WantIs(t, r.Marked(), ledger.ErrCopy)
		Agrees(t, r)
		if got, want := States(t, r), States(t, l); got != want {
			t.Errorf("%s: the copy's rows are %q, want %q", step.Name, got, want)
		}
		Must(t, r.Close())

		other = newStore(t)
		ahead = marked(t, other)
		bringIn(t, ahead, f, true)
		if ahead.ID() != l.ID() || ahead.Marked() != nil {
			t.Errorf("%s: brought in it is %s (%v), want %s", step.Name, ahead.ID(), ahead.Marked(), l.ID())
		}
		same(t, step.Name+", brought in", store, other)
		again := export(t, ahead)
		same(t, step.Name+", taken out again", f, again)
		bringIn(t, l, again, false)
	}
	Must(t, openError(t, other))
	if n, err := ahead.CountLost(t.Context()); n != 1 || err != nil {
		t.Errorf("bystanders have lost something by %d rows, %v", n, err)
	}
}

// What is taken out while others are at work is the ledger of one moment.
func testExportDuringARun(t *testing.T, newStore NewStore) {
	store := newStore(t)
	l := Open(t, store)
	var words []string
	for i := range 60 {
		words = append(words, fmt.Sprintf("r%d%c", i%10, 'a'+i/10))
	}
	Commit(t, l, Rows(strings.Join(words, " ")))
	Begin(t, l)
	var done atomic.Bool
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for !done.Load() {
			ops, err := l.Next(context.Background(), "main", ledger.Cursor{}, 2)
			if err != nil || len(ops) == 0 {
				t.Errorf("next: %d operations, %v", len(ops), err)
				return
			}
			for _, op := range ops {
				call := "c" + strconv.FormatInt(op.Seq, 10)
				again := OutcomeOf(op, call, crm.Failed)
				again.Turn, again.Open = ledger.TurnNormal, true
				err := errors.Join(
					l.Intend(context.Background(), ledger.Intent{CallID: call, Account: "main", Ops: []ledger.Op{op}, Attempt: 1, At: At}),
					l.Record(context.Background(), []ledger.Outcome{again}))
				if err != nil {
					t.Error(err)
					return
				}
			}
		}
	}()
	last := int64(0)
	for range 5 {
		for {
			seq, _, err := l.Head(t.Context())
			Must(t, err)
			if seq > last {
				break
			}
			runtime.Gosched()
		}
		r, err := export(t, l).Open(ledger.Options{ReadOnly: true})
		Must(t, err)
		Agrees(t, r)
		seq, _, err := r.Head(t.Context())
		Must(t, err)
		if seq <= last {
			t.Errorf("the copy ends with event %d, an earlier one with %d", seq, last)
		}
		last = seq
		Must(t, r.Close())
	}
	done.Store(true)
	<-ended
	Agrees(t, l)
}

// An export that can not be finished leaves nothing, and a name that is in use stays.
func testExportLeavesNothingBehind(t *testing.T, newStore NewStore) {
	store := newStore(t)
	for _, step := range Steps() {
		l := Open(t, store)
		Must(t, step.Do(t.Context(), l))
		Must(t, l.Close())
	}
	// It is given up at each of its statements.
	var stop func(query string) error
	l, err := store.Open(tap{before: func(query string, _ []any) error {
		if stop == nil {
			return nil
		}
		return stop(query)
	}}.on(Options()))
	Must(t, err)
	defer l.Close()
	before := Dump(t, store)
	for _, cancels := range []bool{true, false} {
		for at, ended := 1, false; !ended; at++ {
			ctx, cancel := context.WithCancelCause(t.Context())
			count := 0
			stop = func(query string) error {
				if count++; count != at || query == "ROLLBACK" {
					return nil
				}
				if cancels {
					cancel(errFault)
					return nil
				}
				return errFault
			}
			f := newFile(t).(file)
			err := l.Export(ctx, string(f))
			stop = nil
			cancel(nil)
			switch {
			case err == nil:
				ended = count < at || cancels
				same(t, "taken out", store, f)
			case !errors.Is(err, errFault):
				t.Errorf("at statement %d: got %v", at, err)
			case len(left(t, f)) > 0:
				t.Errorf("at statement %d: it leaves %q", at, left(t, f))
			}
			if at > 500 {
				t.Fatal("it does not end")
			}
		}
	}
	if after := Dump(t, store); after != before {
		t.Errorf("the ledger has changed (-before +after):\n%s", cmp.Diff(before, after))
	}

	f := newFile(t).(file)
	Must(t, os.WriteFile(string(f), []byte("mine"), 0o600))
	WantIs(t, l.Export(t.Context(), string(f)), fs.ErrExist)
	WantIs(t, l.MoveTo(t.Context(), string(f)), fs.ErrExist)
	if text, err := os.ReadFile(string(f)); string(text) != "mine" || err != nil || len(left(t, f)) != 1 {
		t.Errorf("what was there is %q now (%v), beside %q", text, err, left(t, f))
	}
	nowhere := filepath.Join(filepath.Dir(string(f)), "no", "such", "folder")
	WantIs(t, l.Export(t.Context(), nowhere), ledger.ErrStorage)
	WantIs(t, l.Export(t.Context(), filepath.Join(string(f), "x")), ledger.ErrStorage)
	WantIs(t, l.MoveTo(t.Context(), nowhere), ledger.ErrStorage)
	Must(t, l.Marked())
	Must(t, l.Wrote(t.Context(), "y.csv"))
}

// A file that is broken, or of another ledger, or of the same and not as it was, is
// not brought in.
func testBringInRefuses(t *testing.T, newStore NewStore) {
	store := worked(t, newFile)
	l := marked(t, store)
	var broken *ledger.ChainError
	for _, script := range []string{
		"UPDATE event SET body = '{}' WHERE seq = 4",
		"DELETE FROM event WHERE seq = 9",
		"UPDATE op SET state = 'failed' WHERE id = 1",
	} {
		f := export(t, l)
		Exec(t, f, script)
		into := newStore(t)
		empty := marked(t, into)
		before := Dump(t, into)
		if _, err := empty.BringIn(t.Context(), string(f)); !errors.As(err, &broken) && !errors.Is(err, ledger.ErrDamaged) {
			t.Errorf("%s: got %v", script, err)
		}
		if after := Dump(t, into); after != before {
			t.Errorf("%s: it has left something (-before +after):\n%s", script, cmp.Diff(before, after))
		}
		// The same call can be made with a file that is whole.
		bringIn(t, empty, export(t, l), true)
		same(t, "brought in after all", store, into)
		second := marked(t, newStore(t))
		if _, err := second.BringIn(t.Context(), string(export(t, l))); errors.Is(err, ledger.ErrElsewhere) != isDatabase(into) {
			t.Errorf("brought in under another name: got %v", err)
		}
		forget(t, into)
	}

	f := export(t, l)
	other := newStore(t)
	o := marked(t, other)
	Commit(t, o, Rows("r9z"))
	_, err := o.BringIn(t.Context(), string(f))
	WantIs(t, err, ledger.ErrNotEmpty)
	Must(t, o.Marked())
	_, err = o.BringIn(t.Context(), string(newFile(t).(file)))
	WantIs(t, err, fs.ErrNotExist)

	Commit(t, l, Rows("r1a"))
	var diverged *ledger.DivergedError
	if _, err := l.BringIn(t.Context(), string(f)); !errors.As(err, &diverged) {
		t.Errorf("an older copy: got %v", err)
	} else if diverged.File.Seq != 9 || diverged.Here.Seq != 10 || len(diverged.Here.Hash) != 64 || diverged.ID != l.ID() {
		t.Errorf("an older copy: got %+v", diverged)
	}
	Commit(t, l, Rows("r1a")) // nothing is shut by a refusal
	r, err := store.Open(ledger.Options{ReadOnly: true})
	Must(t, err)
	defer r.Close()
	_, err = r.BringIn(t.Context(), string(f))
	WantIs(t, err, ledger.ErrReadOnly)
	WantIs(t, r.MoveTo(t.Context(), string(newFile(t).(file))), ledger.ErrReadOnly)
	_, err = newRefused(t, f).BringIn(t.Context(), string(f))
	WantIs(t, err, ledger.ErrCopy)
}

// newRefused opens a copy so that it could be brought in, and checks that it takes no
// other change.
func newRefused(t testing.TB, f file) *ledger.Ledger {
	t.Helper()
	l := marked(t, f)
	WantIs(t, l.Marked(), ledger.ErrCopy)
	WantIs(t, l.Wrote(t.Context(), "x"), ledger.ErrCopy)
	WantIs(t, l.MoveTo(t.Context(), newPath(t)), ledger.ErrCopy)
	s := Matched(t, l, Rows("r1a"))
	WantIs(t, s.Commit(t.Context(), ledger.Source{}), ledger.ErrCopy)
	return l
}

// A ledger that moves from a file to a database and back, and again, is one ledger that
// is worked on in one place at a time.
func testMoveThereAndBack(t *testing.T, newStore NewStore) {
	store := newStore(t)
	at := newFile(t).(file)
	l := Open(t, at)
	Commit(t, l, Rows("r1a r2b r3c r4d"))
	Begin(t, l)
	finish := func(l *ledger.Ledger) {
		t.Helper()
		Finish(t, l, Next(t, l)[0], crm.Done)
	}
	finish(l)
	id := l.ID()
	Must(t, l.Close())
	for range 3 {
		in := marked(t, store)
		bringIn(t, in, at, true)
		same(t, "moved in", at, store)
		WantIs(t, openError(t, at), ledger.ErrMoved)
		bringIn(t, in, at, false) // again
		finish(in)
		bringIn(t, in, at, false)
		if in.ID() != id {
			t.Errorf("the id is %s, was %s", in.ID(), id)
		}
		// The file that it came from is where it was, and can be read.
		old, err := at.Open(ledger.Options{ReadOnly: true})
		Must(t, err)
		Agrees(t, old)
		Must(t, old.Close())

		f := newFile(t).(file)
		Must(t, in.MoveTo(t.Context(), string(f)))
		Must(t, in.MoveTo(t.Context(), string(f))) // again
		WantIs(t, in.MoveTo(t.Context(), newPath(t)), ledger.ErrMoved)
		WantIs(t, in.Wrote(t.Context(), "x"), ledger.ErrMoved)
		_, err = in.BringIn(t.Context(), string(at))
		WantIs(t, err, ledger.ErrMoved)
		Must(t, in.Close())
		same(t, "moved out", store, f)
		WantIs(t, openError(t, store), ledger.ErrMoved)
		r, err := store.Open(ledger.Options{ReadOnly: true})
		Must(t, err)
		Agrees(t, r)
		same(t, "a copy of what was moved", store, export(t, r))
		Must(t, r.Close())
		Must(t, openError(t, f))
		at = f
	}
	l = Open(t, at)
	Agrees(t, l)
	if got, want := States(t, l), "r1a:done r2b:done r3c:done r4d:done"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	// A file that has gone on by itself is not brought in over one that has, too.
	copied := file(newPath(t))
	Must(t, l.Close())
	data, err := os.ReadFile(string(at))
	Must(t, errors.Join(err, os.WriteFile(string(copied), data, 0o600)))
	in := marked(t, store)
	bringIn(t, in, at, true)
	Must(t, in.Wrote(t.Context(), "x.csv"))
	bringIn(t, in, copied, false) // the same, and now it says that it moved
	WantIs(t, openError(t, copied), ledger.ErrMoved)
	Must(t, os.Remove(string(copied)))
	Must(t, os.WriteFile(string(copied), data, 0o600))
	Begin(t, in)
	var diverged *ledger.DivergedError
	if _, err := in.BringIn(t.Context(), string(copied)); !errors.As(err, &diverged) {
		t.Errorf("an old copy: got %v", err)
	}
}

// deciding tells statements that a move hangs on: those that end a transaction, begin one that
// changes a mark, or make a copy whole.
var deciding = regexp.MustCompile(`^COMMIT|^UPDATE head|^(INSERT INTO|DELETE FROM) meta|FOR UPDATE`)

// Whatever statement of a move is the last one, before it or after it, at most one of the
// two places can be worked on, and the same call again finishes the move.
func testMoveIsInterrupted(t *testing.T, newStore NewStore) {
	var at, count int // at 0 nothing fails
	var after bool
	dead := func(query string, is bool) error {
		if after != is || at == 0 {
			return nil
		}
		// Between these statements a kill leaves what it leaves at the one before.
		if count < at {
			if !deciding.MatchString(query) {
				return nil
			}
			count++
		}
		if count < at {
			return nil
		}
		return errFault
	}
	o := tap{
		before: func(query string, _ []any) error { return dead(query, false) },
		after:  func(query string) error { return dead(query, true) },
	}.on(Options())
	o.Marked = true
	// try does a part of a move with all that fails from statement n on, and says whether any
	// has. Then it does it again, with the ledger as it is now or opened anew.
	try := func(t *testing.T, store Store, n int, reopen bool, between func(), do func(l *ledger.Ledger) error) bool {
		t.Helper()
		l, err := store.Open(o)
		Must(t, err)
		defer func() { l.Close() }()
		at, count = n, 0
		err = do(l)
		hit := count >= at
		at = 0
		if !hit && err != nil || hit && !after && err == nil || err != nil && !errors.Is(err, errFault) {
			t.Errorf("all fails from statement %d, after it %t: it is %t, and the error is %v", n, after, hit, err)
		}
		if !hit {
			return false
		}
		if reopen {
			l.Close() // as well as it can
			between()
			l, err = store.Open(o)
			Must(t, err)
		}
		Must(t, do(l))
		if in := l.Marked(); in != nil && !errors.Is(in, ledger.ErrMoved) {
			t.Errorf("after statement %d it is %v", n, in)
		}
		return true
	}
	once := func(t *testing.T, from, to Store) (moved bool) {
		t.Helper()
		a, b := openError(t, from), openError(t, to)
		for _, err := range []error{a, b} {
			if err != nil && !errors.Is(err, ledger.ErrCopy) && !errors.Is(err, ledger.ErrMoved) && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("got %v", err)
			}
		}
		return a != nil && b == nil
	}
	source := newFile(t).(file)
	l := Open(t, source)
	for _, step := range Steps()[:8] {
		Must(t, step.Do(t.Context(), l))
	}
	Must(t, l.Close())
	data, err := os.ReadFile(string(source))
	Must(t, err)
	for _, after = range []bool{false, true} {
		for _, reopen := range []bool{false, true} {
			outs, ins := 0, 0
			for n := 1; ; n++ {
				f, store := newFile(t).(file), newStore(t)
				Must(t, os.WriteFile(string(f), data, 0o600))
				Open(t, store).Close() // an empty one
				if !try(t, store, n, reopen, func() {
					if openError(t, f) != nil {
						return
					}
					in, err := store.Open(ledger.Options{ReadOnly: true})
					Must(t, err)
					defer in.Close()
					if seq, _, err := in.Head(t.Context()); err != nil || in.Marked() == nil && seq != 1 {
						t.Errorf("after statement %d both can be worked on, %v", n, err)
					}
				}, func(l *ledger.Ledger) error { _, err := l.BringIn(t.Context(), string(f)); return err }) {
					forget(t, store)
					break
				}
				ins++
				if !once(t, f, store) {
					t.Errorf("after statement %d the move in does not end", n)
				}
				same(t, "moved in", source, store)
				forget(t, store)
			}
			for n := 1; ; n++ {
				f, store := newFile(t).(file), newStore(t)
				whole := newFile(t).(file)
				Must(t, os.WriteFile(string(whole), data, 0o600))
				l := marked(t, store)
				bringIn(t, l, whole, true)
				Must(t, l.Close())
				if !try(t, store, n, reopen, func() {
					if openError(t, store) == nil && openError(t, f) == nil {
						t.Errorf("after statement %d both can be worked on", n)
					}
				}, func(l *ledger.Ledger) error { return l.MoveTo(t.Context(), string(f)) }) {
					forget(t, store)
					break
				}
				outs++
				if !once(t, store, f) {
					t.Errorf("after statement %d the move out does not end", n)
				}
				same(t, "moved out", source, f)
				forget(t, store)
			}
			t.Logf("after a statement %t, opened anew %t: %d moves in and %d out", after, reopen, ins, outs)
		}
	}
}
