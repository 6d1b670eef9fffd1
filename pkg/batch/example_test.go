package batch_test

import (
	"context"
	"fmt"
	"iter"
	"log"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/leadsquared"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

const leavers = `action,object,record_id,context_id,user,access,name
revoke,lead,869196,f2dbf1d5-bbab-418b-bddc-4c92ecdef214,0203f172-8642-11e7-9bed-069b743e848f,read,Leaver A
share,lead,869196,f2dbf1d5-bbab-418b-bddc-4c92ecdef214,96105aa0-61f2-11ea-8109-022edb41208c,write,Successor
`

// A sheet is loaded, prepared, committed and run; here against a sandbox. The ledger
// is what the results are read from.
func Example() {
	ctx := context.Background()
	server, err := sandbox.New(sandbox.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	gate, err := transport.NewGate(transport.GateConfig{Limit: 25, Window: 5 * time.Second, Share: 0.8})
	if err != nil {
		log.Fatal(err)
	}
	defer gate.Close()
	provider, err := leadsquared.New(leadsquared.Config{
		Host: "api.leadsquared.example", AccessKey: transport.NewSecret("access-key"), SecretKey: transport.NewSecret("secret-key"),
	}, transport.Config{Gate: gate, RoundTripper: server.RoundTripper()}, nil)
	if err != nil {
		log.Fatal(err)
	}
	err = runSheet(ctx, leavers, batch.Account{Name: "main", CRM: "leadsquared", Host: "api.leadsquared.example", Provider: provider, Meter: gate, Workers: 20})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// line 2: revoke lead 869196: done
	// line 3: share lead 869196: done
}

// runSheet takes a sheet through a batch.
func runSheet(ctx context.Context, text string, account batch.Account) error {
	in, err := sheet.Open(strings.NewReader(text), "leavers.csv", sheet.Options{})
	if err != nil {
		return err
	}
	return runBatch(ctx, account, func(b *batch.Batch) error { return b.LoadSheet(ctx, in) })
}

// runBatch takes what is loaded through a batch, with a ledger of its own.
func runBatch(ctx context.Context, account batch.Account, load func(b *batch.Batch) error) error {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	led, err := ledger.Open(filepath.Join(dir, "leavers.ledger.db"), ledger.Options{Create: true})
	if err != nil {
		return err
	}
	defer led.Close()
	b, err := batch.New(led, batch.Options{Accounts: []batch.Account{account}, Default: account.Name})
	if err != nil {
		return err
	}
	if err := load(b); err != nil {
		return err
	}
	if _, err := b.Prepare(ctx); err != nil {
		return err
	}
	if err := b.Commit(ctx); err != nil {
		return err
	}
	if _, err := b.Run(ctx); err != nil {
		return err
	}
	for r, err := range led.Results(ctx) {
		if err != nil {
			return err
		}
		fmt.Printf("line %d: %v %s %s: %v\n", r.Line, r.Op.Action, r.Op.Object, r.Op.Record, r.Status)
	}
	return nil
}

// Rows need not come from a sheet: any sequence of them is loaded as a sheet is.
func ExampleBatch_Load() {
	ctx := context.Background()
	leavers := func(yield func(batch.Row, error) bool) { // from a database, for one
		for _, book := range []string{"b1", "b2"} {
			if !yield(batch.Row{Op: crm.Operation{Action: crm.Revoke, Object: "book", Record: book, User: "ann"}}, nil) {
				return
			}
		}
	}
	books := &shelf{has: map[crm.Target]bool{{Object: "book", Record: "b1", User: "ann"}: true}}
	account := batch.Account{Name: "shelf", CRM: "shelf", Host: "here", Provider: books, Workers: 2}
	if err := runBatch(ctx, account, func(b *batch.Batch) error { return b.Load(ctx, leavers) }); err != nil {
		log.Fatal(err)
	}
	// Output:
	// line 1: revoke book b1: done
	// line 2: revoke book b2: unchanged
}

var _ crm.Provider = (*shelf)(nil)

// shelf is a provider of one's own: a CRM that lends records, and shows who has them.
type shelf struct {
	mu  sync.Mutex // guards has
	has map[crm.Target]bool
}

// Check takes any operation that names a record and is no revoke_all.
func (s *shelf) Check(op crm.Operation) (crm.Operation, error) {
	switch {
	case op.Record == "":
		return op, &crm.FieldError{Column: "record_id", Reason: "is empty"}
	case op.Action == crm.RevokeAll:
		return op, &crm.FieldError{Column: "action", Reason: "a shelf knows revoke and share"}
	}
	op.Access = crm.AccessUnset // nothing that would be sent
	return op, nil
}

// Key lets one call at a time work on a record.
func (s *shelf) Key(op crm.Operation) crm.Target { return op.Target().Whole() }

// Bundle lets no call work on several records.
func (s *shelf) Bundle(crm.Operation) (name string, most int) { return "", 0 }

// Cost is one call for each operation.
func (s *shelf) Cost(_ crm.Operation, n int64, _ bool) float64 { return float64(n) }

// Shows says that anybody can see who has a record.
func (s *shelf) Shows(crm.Operation) bool { return true }

// Do announces what it is about to change, and then changes it.
func (s *shelf) Do(ctx context.Context, call crm.Call, j crm.Journal) []crm.Outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	outcomes := make([]crm.Outcome, len(call.Items))
	for i, item := range call.Items {
		want := item.Op.Action == crm.Share
		switch {
		case s.has[item.Op.Target()] == want:
			outcomes[i].Status = crm.Unchanged
		case ctx.Err() != nil || j.Intend(ctx, crm.State{Looked: true}) != nil:
			outcomes[i].Status = crm.Pending
		default:
			s.has[item.Op.Target()] = want
			outcomes[i] = crm.Outcome{Status: crm.Done, Attempts: 1}
		}
	}
	return outcomes
}

// Confirm looks at who has the records.
func (s *shelf) Confirm(_ context.Context, items []crm.Item) ([]crm.Outcome, crm.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	outcomes := make([]crm.Outcome, len(items))
	for i, item := range items {
		outcomes[i].Status = crm.Accepted
		if s.has[item.Op.Target()] == (item.Op.Action == crm.Share) {
			outcomes[i].Status = crm.Done
		}
	}
	return outcomes, crm.State{Looked: true}
}

// Users ends at once: rows for a shelf name people by id.
func (s *shelf) Users(context.Context, crm.Part) iter.Seq2[crm.User, error] {
	return func(yield func(crm.User, error) bool) { yield(crm.User{}, crm.ErrNoUserList) }
}

// Identify knows nobody: a shelf has no keys.
func (s *shelf) Identify(context.Context) (crm.Identity, error) { return crm.Identity{}, nil }
func (s *shelf) Clock(context.Context) (time.Time, error)       { return time.Now(), nil }

// A provider of one's own: its rules, which ask nobody, and what it does.
func Example_provider() {
	books := &shelf{has: map[crm.Target]bool{{Object: "book", Record: "b1", User: "ann"}: true}}
	err := runSheet(context.Background(), `action,object,record_id,user
revoke,book,b1,ann
revoke,book,b2,ann
share,book,b1,bob
`, batch.Account{Name: "shelf", CRM: "shelf", Host: "here", Provider: books, Workers: 2})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// line 2: revoke book b1: done
	// line 3: revoke book b2: unchanged
	// line 4: share book b1: done
}
