package batch

import (
	"context"
	"encoding/json"
	"iter"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// A batch needs three things of a ledger. Package ledger has them, for SQLite and for
// PostgreSQL, and says what each method promises.

// importer is a sheet on its way into the ledger.
type importer interface {
	Add(row ledger.ImportRow) error
	Len() int
	Rows(ctx context.Context) iter.Seq2[ledger.ImportRow, error]
	Invalid(ctx context.Context, limit int) iter.Seq2[ledger.ImportRow, error]
	Marks(ctx context.Context) iter.Seq2[string, error]
	Addresses(ctx context.Context, unsent bool) iter.Seq2[ledger.Address, error]
	Resolve(ctx context.Context, account, email, user string) error
	Touching(ctx context.Context, users []ledger.AccountUser) (touched ledger.AccountUser, line int, ok bool, err error)
	Reject(ctx context.Context, where ledger.Where, why ledger.Rejection) (map[string]int64, error)
	Match(ctx context.Context, decide ledger.Decide) error
	Counts(ctx context.Context) ([]ledger.Count, error)
	Shared(ctx context.Context) ([]ledger.Shared, error)
	Reach(ctx context.Context) (people, records int64, err error)
	Commit(ctx context.Context, src ledger.Source) error
}

// queue is what a run works through.
type queue interface {
	BeginRun(ctx context.Context, info ledger.RunInfo) (run int64, err error)
	Next(ctx context.Context, account string, after ledger.Cursor, n int) ([]ledger.Op, error)
	OfKey(ctx context.Context, account string, key crm.Target, after int64, n int) ([]ledger.Op, error)
	Unconfirmed(ctx context.Context, account string, after int64, n int) ([]ledger.Op, error)
	Bystanders(ctx context.Context, ids []int64, keyOf func(crm.Operation) crm.Target) (map[int64][]crm.Grant, error)
	Lost(ctx context.Context, account string) ([]ledger.Lost, error)
	StillLost(ctx context.Context, o ledger.Lost, still []crm.Grant) error
	Intend(ctx context.Context, in ledger.Intent) error
	Record(ctx context.Context, outcomes []ledger.Outcome) error
	EndRun(ctx context.Context, run int64, summary json.RawMessage) error
}

// reader is what the ledger knows.
type reader interface {
	ID() string
	Head(ctx context.Context) (seq int64, hash string, err error)
	Sheets(ctx context.Context) ([]ledger.Source, error)
	Counts(ctx context.Context) ([]ledger.Count, error)
	CountLost(ctx context.Context) (int64, error)
	Bind(ctx context.Context, b ledger.Binding) error
	Bindings(ctx context.Context) ([]ledger.Binding, error)
	EmailBinding(ctx context.Context, account, email string) (user string, ok bool, err error)
}

var (
	_ importer = (*ledger.Import)(nil)
	_ queue    = (*ledger.Ledger)(nil)
	_ reader   = (*ledger.Ledger)(nil)
)
