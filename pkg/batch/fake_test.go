package batch

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// fake is a CRM and its provider in one: it accepts what it is sent, does it when
// it is asked about, and notices what a provider must never be asked to do.
type fake struct {
	t testing.TB

	// answer, if not nil, may give another outcome for an item than acceptance. It is
	// called after the intent, and its Status Accepted means "as usual".
	answer func(item crm.Item) crm.Outcome
	// settle, if not nil, may give another outcome of a look than Done.
	settle  func(item crm.Item) crm.Outcome
	latency time.Duration
	users   []crm.User
	owner   crm.Identity
	preErr  error
	clock   time.Time // zero does not say

	mu      sync.Mutex // guards what follows
	inForce map[crm.Target]crm.Operation
	open    map[crm.Target]int
	sent    []crm.Operation
	guarded [][]string // the protected users of each call
	priors  []crm.Prior
	tickets map[string]crm.Operation
	looks   int
	lists   int
}

func newFake(t testing.TB) *fake {
	return &fake{
		t: t, inForce: make(map[crm.Target]crm.Operation), open: make(map[crm.Target]int),
		tickets: make(map[string]crm.Operation), owner: crm.Identity{User: "owner", Org: "org"},
	}
}

func (f *fake) Check(op crm.Operation) (crm.Operation, error) {
	if !strings.HasPrefix(op.Record, "r") {
		return op, &crm.FieldError{Column: "record_id", Reason: "does not begin with r"}
	}
	if op.Action == crm.Revoke && op.Access == crm.AccessUnset {
		op.Access = crm.Read
	}
	return op, nil
}

func (f *fake) Key(op crm.Operation) crm.Target { return op.Target().Whole() }

func (f *fake) Bundle(crm.Operation) (string, int) { return "", 0 }

func (f *fake) Cost(_ crm.Operation, n int64, confirm bool) float64 {
	if confirm {
		n *= 2
	}
	return float64(n)
}

func (f *fake) Shows(crm.Operation) bool { return false }

func (f *fake) Do(ctx context.Context, call crm.Call, j crm.Journal) []crm.Outcome {
	key := f.Key(call.Items[0].Op)
	f.mu.Lock()
	f.guarded = append(f.guarded, call.Protected)
	if f.open[key]++; f.open[key] > 1 {
		f.t.Errorf("two open calls on %s", key)
	}
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.open[key]--
		f.mu.Unlock()
	}()
	out := make([]crm.Outcome, len(call.Items))
	if ctx.Err() != nil {
		for i := range out {
			out[i].Status = crm.Pending
		}
		return out
	}
	if err := j.Intend(ctx, crm.State{}); err != nil {
		return out
	}
	time.Sleep(f.latency)
	seen := make(map[crm.Target]bool)
	for i, item := range call.Items {
		if seen[item.Op.Target()] {
			f.t.Errorf("two operations of target %v in one call", item.Op.Target())
		}
		seen[item.Op.Target()] = true
		out[i] = f.do(item)
	}
	return out
}

func (f *fake) do(item crm.Item) crm.Outcome {
	out := crm.Outcome{Status: crm.Accepted}
	if f.answer != nil {
		out = f.answer(item)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if out.Status == crm.Pending {
		return out
	}
	f.sent = append(f.sent, item.Op)
	f.priors = append(f.priors, item.Prior)
	out.Attempts = 1
	switch out.Status {
	case crm.Done:
		f.inForce[item.Op.Target()] = item.Op
	case crm.Accepted:
		out.Ticket = fmt.Sprintf("t%d", len(f.tickets)+1)
		out.RequestID = "q" + out.Ticket[1:]
		f.tickets[out.Ticket] = item.Op
	}
	return out
}

func (f *fake) Confirm(_ context.Context, items []crm.Item) ([]crm.Outcome, crm.State) {
	out := make([]crm.Outcome, len(items))
	for i, item := range items {
		out[i] = crm.Outcome{Status: crm.Done}
		if f.settle != nil {
			out[i] = f.settle(item)
		}
		f.mu.Lock()
		f.looks++
		if f.tickets[item.Ticket] != item.Op {
			f.t.Errorf("asked about ticket %q of %v as if it were of %v", item.Ticket, f.tickets[item.Ticket], item.Op)
		}
		if out[i].Status == crm.Done {
			f.inForce[item.Op.Target()] = item.Op
		}
		f.mu.Unlock()
	}
	return out, crm.State{}
}

func (f *fake) Users(_ context.Context, part crm.Part) iter.Seq2[crm.User, error] {
	if part == crm.Deleted {
		return func(func(crm.User, error) bool) {}
	}
	f.mu.Lock()
	f.lists++
	f.mu.Unlock()
	return func(yield func(crm.User, error) bool) {
		for _, u := range f.users {
			if !yield(u, nil) {
				return
			}
		}
	}
}

func (f *fake) Identify(context.Context) (crm.Identity, error) { return f.owner, f.preErr }

func (f *fake) Clock(context.Context) (time.Time, error) { return f.clock, nil }

// sentWords returns what was sent since the last call, as "action record user".
func (f *fake) sentWords() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var words []string
	for _, op := range f.sent {
		words = append(words, fmt.Sprintf("%v %s %s", op.Action, op.Record, op.User))
	}
	f.sent, f.priors = nil, nil
	return words
}

// bench is a ledger with the settings for runs on it.
type bench struct {
	t    testing.TB
	led  *ledger.Ledger
	opts Options
}

func newBench(t testing.TB, fakes ...*fake) *bench {
	t.Helper()
	led, err := ledger.Open(t.TempDir()+"/sheet.ledger.db", ledger.Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := led.VerifyRows(context.Background()); err != nil {
			t.Errorf("the rows are not what the events say: %v", err)
		}
		if err := led.Close(); err != nil {
			t.Errorf("close the ledger: %v", err)
		}
	})
	b := &bench{t: t, led: led, opts: Options{ConfirmTimeout: time.Minute}}
	for i, f := range fakes {
		name := string(rune('a' + i))
		b.opts.Accounts = append(b.opts.Accounts, Account{Name: name, CRM: "fake", Host: name + ".example", Provider: f, Workers: 4})
	}
	b.opts.Default = "a"
	return b
}

// prepare loads a sheet of short rows ("revoke r1 u1" or "share r1 u1 write", and
// an account after "@@" and a date after "##") and prepares it.
func (b *bench) prepare(rows ...string) (*Batch, *Plan, error) {
	b.t.Helper()
	text := "action,object,record_id,user,access,account,not_before\n"
	for _, row := range rows {
		row, date, _ := strings.Cut(row, "##")
		row, account, _ := strings.Cut(row, "@@")
		words := append(strings.Fields(row), "", "", "")
		text += fmt.Sprintf("%s,thing,%s,%s,%s,%s,%s\n", words[0], words[1], words[2], words[3], strings.TrimSpace(account), strings.TrimSpace(date))
	}
	batch, err := b.load(text)
	if err != nil {
		return batch, nil, err
	}
	p, err := batch.Prepare(b.t.Context())
	return batch, p, err
}

// load loads a sheet of that text.
func (b *bench) load(text string) (*Batch, error) {
	b.t.Helper()
	in, err := sheet.Open(strings.NewReader(text), "sheet.csv", sheet.Options{})
	if err != nil {
		b.t.Fatal(err)
	}
	batch, err := New(b.led, b.opts)
	if err != nil {
		b.t.Fatal(err)
	}
	return batch, batch.LoadSheet(b.t.Context(), in)
}

// run takes a sheet through a whole run and returns the results in sheet order.
func (b *bench) run(ctx context.Context, rows ...string) (Summary, []ledger.Result) {
	b.t.Helper()
	batch, _, err := b.prepare(rows...)
	if err != nil {
		b.t.Fatalf("prepare: %v", err)
	}
	if err := batch.Commit(context.WithoutCancel(ctx)); err != nil {
		b.t.Fatalf("commit: %v", err)
	}
	s, err := batch.Run(ctx)
	if err != nil {
		b.t.Fatalf("run: %v", err)
	}
	return s, b.results(len(rows))
}

func (b *bench) results(n int) []ledger.Result {
	b.t.Helper()
	var results []ledger.Result
	for r, err := range b.led.Results(context.Background()) {
		if err != nil {
			b.t.Fatal(err)
		}
		results = append(results, r)
	}
	if len(results) != n {
		b.t.Fatalf("%d results for %d rows", len(results), n)
	}
	return results
}

// states returns the results' words, a word a row.
func states(results []ledger.Result) string {
	var words []string
	for _, r := range results {
		word := r.Status.String()
		if r.Invalid {
			word = "invalid"
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

func wantStates(t testing.TB, results []ledger.Result, want string) {
	t.Helper()
	if got := states(results); got != want {
		t.Errorf("results %q, want %q", got, want)
	}
}

func wantSent(t testing.TB, f *fake, want ...string) {
	t.Helper()
	got := f.sentWords()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
}
