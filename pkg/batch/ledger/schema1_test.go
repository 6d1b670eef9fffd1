package ledger_test

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// schema1 returns the path of a ledger that the last version with schema 1 has written.
func schema1(t *testing.T, name string) string {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	Must(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	Must(t, err)
	b, err := io.ReadAll(z)
	Must(t, err)
	path := newPath(t)
	Must(t, os.WriteFile(path, b, 0o600))
	return path
}

// The last version with schema 1 has written testdata/schema1.db: two sheets, the first
// again after another that was dropped, rows in every state, equal rows that went together,
// rows of a record that is taken from everybody, looks before and between sendings, an
// address, and an undo that has undone a row. testdata/schema1.json is what that version
// said of it.
func TestMigrateFromSchema1(t *testing.T) {
	t.Parallel()
	path := schema1(t, "schema1.db.gz")
	_, err := ledger.Open(path, ledger.Options{ReadOnly: true})
	WantIs(t, err, ledger.ErrReadOnly)
	ctx := t.Context()
	l := Open(t, file(path))
	said := make(map[string]any)
	for _, sheet := range []string{".undo", ""} {
		if ok, err := l.Choose(ctx, sheet); !ok || err != nil {
			t.Fatal(sheet, ok, err)
		}
		src, _, err := l.Source(ctx)
		Must(t, err)
		counts, err := l.Counts(ctx)
		Must(t, err)
		review := []string{}
		for _, r := range Collect(t, Review(t, l).Rows(ctx)) {
			undone := ""
			if r.Undone != nil {
				undone = r.Undone.String()
			}
			review = append(review, fmt.Sprintf("%d line %d %s %s invalid=%t %s uncertain=%t ticket=%q message=%q undone=%q",
				r.Ord, r.Line, r.Account, opText(r.Op), r.Invalid, r.Status.Name(), r.Uncertain, r.Ticket, r.Message, undone))
		}
		slices.Sort(review) // records come in an order of their own
		said["sheet"+sheet] = map[string]any{
			"source": src, "results": resultsText(t, l), "counts": countsText(counts), "history": historyText(t, l), "review": review,
		}
	}
	runs, err := l.Runs(ctx)
	Must(t, err)
	bindings, err := l.Bindings(ctx)
	Must(t, err)
	seq, hash, err := l.Head(ctx)
	Must(t, err)
	unconfirmed, err := l.Unconfirmed(ctx, "main", 0, 9)
	Must(t, err)
	user, _, err := l.EmailBinding(ctx, "main", "I@x.de")
	Must(t, err)
	said["id"], said["runs"], said["bindings"], said["head"], said["email"] = l.ID(), runs, bindings, fmt.Sprint(seq, " ", hash), user
	said["next"], said["unconfirmed"] = queueText(Next(t, l)), queueText(unconfirmed)
	var seen []string
	for ref := int64(1); ; ref++ {
		s, ok, err := l.Seen(ctx, ref)
		Must(t, err)
		if !ok {
			break
		}
		raw, err := json.Marshal(s.Before)
		Must(t, err)
		seen = append(seen, fmt.Sprintf("%d %s %s run=%d attempt=%d sent=%s %s", s.Ref, s.CallID, s.Account, s.Run, s.Attempt, s.SentAt.Format(time.RFC3339Nano), raw))
	}
	said["seen"] = seen
	for _, h := range Collect(t, l.History(ctx)) {
		if want := h.Status == crm.Failed && h.Code == crm.CodeInherited; h.Happened != want {
			t.Errorf("operation %d, %s %s, has happened: %t, want %t", h.ID, h.Status.Name(), h.Code, h.Happened, want)
		}
	}
	if ok, err := l.HasWritten(ctx, filepath.Join(filepath.Dir(path), "off.results.csv")); !ok || err != nil {
		t.Errorf("the result is forgotten: %v, %v", ok, err)
	}
	Must(t, l.VerifyChain(ctx))
	Must(t, l.VerifyRows(ctx))

	s := Import(t, l, schema1Rows())
	Must(t, s.Resolve(ctx, "main", "i@x.de", "i"))
	Match(t, s)
	again, err := s.Counts(ctx)
	Must(t, err)
	said["again"] = countsText(again)

	raw, err := json.Marshal(said)
	Must(t, err)
	var got, want map[string]any
	Must(t, json.Unmarshal(raw, &got))
	raw, err = os.ReadFile("testdata/schema1.json")
	Must(t, err)
	Must(t, json.Unmarshal(raw, &want))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what the ledger says (-before +after):\n%s", diff)
	}

	// It goes on as if it had always been of this version.
	Must(t, s.Commit(ctx, ledger.Source{Name: "off.csv"}))
	Begin(t, l)
	for _, op := range Next(t, l) {
		Finish(t, l, op, crm.Done)
	}
	Must(t, l.VerifyChain(ctx))
	Must(t, l.VerifyRows(ctx))
	Must(t, l.Close())
	if l, err = ledger.Open(path, ledger.Options{ReadOnly: true}); err != nil {
		t.Fatal(err)
	}
	Must(t, l.Close())
	if got, want := names(t, filepath.Dir(path)), filepath.Base(path)+" "+filepath.Base(path)+".v1.bak"; got != want {
		t.Errorf("the folder has %q, want %q", got, want)
	}
	bak, err := os.ReadFile(path + ".v1.bak")
	if err != nil || !strings.Contains(string(bak), "CREATE TABLE whole") {
		t.Errorf("the copy is not of schema 1: %v", err)
	}
}

// A ledger that a killed run has left, and that never had a second sheet.
func TestMigrateAnInterruptedRun(t *testing.T) {
	t.Parallel()
	l := Open(t, file(schema1(t, "schema1-one.db.gz")))
	if got, want := States(t, l), "r1a:done r1a:done s2b:not_attempted r3c:not_attempted r3c:not_attempted *4:not_attempted s4x:not_attempted s5x:not_attempted"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	ops := Next(t, l)
	if got, want := Words(ops), "s2b/2 r3c/2 *4/2 s4x/2 s5x/2"; got != want {
		t.Fatalf("to do: got %q, want %q", got, want)
	}
	for i, op := range ops {
		if want := i == 2 || i == 3; op.RecordLevel != want {
			t.Errorf("%s: record level is %t, want %t", Words(ops[i:i+1]), op.RecordLevel, want)
		}
	}
	Finish(t, l, ops[1], crm.Failed)
	if got, want := States(t, l), "r1a:done r1a:done s2b:not_attempted r3c:failed r3c:failed *4:not_attempted s4x:not_attempted s5x:not_attempted"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	CommitAs(t, l, ".undo", "s1a")
	if got, want := Chosen(t, l, ""), "r1a:done r1a:done s2b:not_attempted r3c:failed r3c:failed *4:not_attempted s4x:not_attempted s5x:not_attempted"; got != want {
		t.Errorf("as the earlier sheet: got %q, want %q", got, want)
	}
	Must(t, l.VerifyChain(t.Context()))
	Must(t, l.VerifyRows(t.Context()))
}

// schema1Rows is the first sheet of testdata/schema1.db.
func schema1Rows() []ledger.ImportRow {
	rows := Rows("r1a r2b s3c r4d r5e r6a r6a r7f r8g r9h s9x *9 r0i r0j sAa")
	rows[2].Op = crm.Operation{Action: crm.Share, Object: crm.SalesGroup, Record: "3", User: "c", Permissions: 5}
	rows[3].Op = crm.Operation{Action: crm.Share, Object: crm.Opportunity, Record: "4", Context: "ctx", User: "d", Access: crm.Write, Minutes: 90}
	rows[8].Cells = []string{"r8g", "=1+1", "ü\x00\t"}
	rows[9].Account, rows[10].Account, rows[11].Account = "eu", "eu", "eu"
	rows[10].Op.Related, rows[10].Op.Access = crm.Yes, crm.Full
	rows[12].Op.User, rows[12].Email = "", "I@x.de"
	rows[13].Code, rows[13].Problem, rows[13].Column, rows[13].Value = "invalid", "user: is odd", "user", "j"
	return rows
}

func opText(op crm.Operation) string {
	return fmt.Sprintf("%v %s/%s/%s user=%q access=%v minutes=%d related=%v permissions=%v", op.Action, op.Object, op.Record, op.Context, op.User, op.Access, op.Minutes, op.Related, op.Permissions)
}

func resultsText(t *testing.T, l *ledger.Ledger) (all []string) {
	for _, r := range Collect(t, l.Results(t.Context())) {
		all = append(all, fmt.Sprintf("%d line %d %q %s %s invalid=%t id=%d %s turn=%d open=%t prior=%d uncertain=%t member=%t code=%q message=%q note=%q request=%q ticket=%q call=%q http=%d attempts=%d sent=%s confirmed=%s run=%d seen=%d",
			r.Ord, r.Line, r.Cells, r.Account, opText(r.Op), r.Invalid, r.ID, r.Status.Name(), r.Turn, r.Open, r.Prior, r.Uncertain, r.Member, r.Code, r.Message, r.Note,
			r.RequestID, r.Ticket, r.CallID, r.HTTPStatus, r.Attempts, r.SentAt.Format(time.RFC3339Nano), r.ConfirmedAt.Format(time.RFC3339Nano), r.FirstRun, r.Seen))
	}
	return all
}

func historyText(t *testing.T, l *ledger.Ledger) (all []string) {
	for _, h := range Collect(t, l.History(t.Context())) {
		all = append(all, fmt.Sprintf("%d line %d %s %s %s uncertain=%t seq=%d attempts=%d ticket=%q code=%q message=%q note=%q seen=%d",
			h.ID, h.Line, h.Account, opText(h.Op), h.Status.Name(), h.Uncertain, h.Seq, h.Attempts, h.Ticket, h.Code, h.Message, h.Note, h.Seen))
	}
	return all
}

func countsText(counts []ledger.Count) (all []string) {
	for _, n := range counts {
		state := n.Status.Name()
		if n.Invalid {
			state = "invalid"
		}
		all = append(all, fmt.Sprintf("%s %v %s %s taken=%t turn=%d member=%t: %d", n.Account, n.Action, n.Object, state, n.Taken, n.Turn, n.Member, n.Rows))
	}
	slices.Sort(all)
	return all
}

func queueText(ops []ledger.Op) (all []string) {
	for _, o := range ops {
		all = append(all, fmt.Sprintf("%d ord %d line %d %s %s %s turn=%d prior=%d uncertain=%t ticket=%q seq=%d sent=%s attempts=%d run=%d rows=%d",
			o.ID, o.Ord, o.Line, o.Account, opText(o.Operation), o.Status.Name(), o.Turn, o.Prior, o.Uncertain, o.Ticket, o.Seq, o.SentAt.Format(time.RFC3339Nano), o.Attempts, o.FirstRun, o.Rows))
	}
	return all
}

// The version with schema 2 has written testdata/schema2.db: a sheet of three rows that are
// done and one that is invalid.
func TestMigrateFromSchema2(t *testing.T) {
	t.Parallel()
	l := Open(t, file(schema1(t, "schema2.db.gz")))
	var got []string
	for _, res := range Collect(t, l.Results(t.Context())) {
		got = append(got, fmt.Sprintf("%d %s invalid=%t %s", res.Line, res.Status.Name(), res.Invalid, res.Code))
	}
	want := []string{"2 done invalid=false status_6", "3 pending invalid=true invalid", "4 done invalid=false ", "5 done invalid=false "}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	Must(t, l.VerifyRows(t.Context()))
}
