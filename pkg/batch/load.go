package batch

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// The phases of a batch, as Progress shows them.
const (
	PhaseLoading  = "loading"
	PhaseChecking = "checking"
	PhaseRunning  = "running"
)

// Load reads rows to their end, from wherever they come, and has each checked by the
// rules of its account. Nothing is sent and nothing durable changes. An error of the rows
// ends it; what it finds itself is an *InvalidError, where rows are wrong by themselves and
// Options.SkipInvalid is off, or Account.Err, where a row names such an account.
func (b *Batch) Load(ctx context.Context, rows iter.Seq2[Row, error]) error {
	n := 0
	err := b.load(ctx, func(yield func(Row, error) bool) {
		for row, err := range rows {
			if err == nil {
				n++
				row.Line, row.cells = cmp.Or(row.Line, n), row.written()
				row, err = b.checked(row)
			}
			if !yield(row, err) {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	if b.source.Layout, err = b.layout(ctx, sheet.Layout{Delimiter: ",", Newline: "\n", Columns: rowColumns()}); err != nil {
		return err
	}
	return b.refuseInvalid(ctx)
}

// LoadSheet is Load for the rows of a sheet. The error is a *sheet.Error where the sheet
// is refused as a whole.
func (b *Batch) LoadSheet(ctx context.Context, in *sheet.Reader) error {
	b.header = in.Layout().Columns
	if err := b.findRequired(in.Layout()); err != nil {
		return err
	}
	err := b.load(ctx, func(yield func(Row, error) bool) {
		for rec, err := range in.All() {
			row := Row{}
			if err == nil {
				row, err = b.row(rec)
				row.marks = append(b.rounded.see(rec.Line, rec.Fields), b.seeObject(row, rec.Fields)...)
				row.marks = append(row.marks, b.seeReviewer(row, rec)...)
			}
			if !yield(row, err) {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	layout, err := b.layout(ctx, in.Layout())
	if err != nil {
		return err
	}
	b.source.SHA256, b.source.Layout, b.worksheet = in.SHA256(), layout, in.Worksheet()
	b.log.Info("sheet read", "rows", b.importing.Len())
	if err := b.rejectRounded(ctx); err != nil {
		return err
	}
	if err := b.rejectObjects(ctx); err != nil {
		return err
	}
	return b.refuseInvalid(ctx)
}

// load imports rows that have been checked.
func (b *Batch) load(ctx context.Context, rows iter.Seq2[Row, error]) (err error) {
	b.counters.phase.Store(PhaseLoading)
	b.now = b.opts.Now()
	if b.importing, err = b.led.Import(ctx); err != nil {
		return err
	}
	for row, err := range rows {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if acc := b.accounts[row.Account]; acc != nil && row.Code == "" {
			acc.rows++
			switch {
			case row.Op.Action == crm.Keep:
				b.keeps = true
			case row.Due.After(b.now):
				acc.listed = acc.listed || row.Op.User == "" && row.Email != ""
			default:
				acc.needed = true
			}
			if row.unstated {
				b.unstated++
			}
		}
		err = b.importing.Add(ledger.ImportRow{
			Line: row.Line, Cells: row.cells, Account: row.Account, Op: row.Op, Email: row.Email, Due: row.Due, LastDay: row.LastDay, Code: row.Code, Problem: row.Problem,
			Column: row.Column, Value: row.Value, Marks: row.marks,
		})
		if err != nil {
			return err
		}
	}
	return b.needLists(ctx)
}

// needLists finds the accounts that have to be asked who has an address, although no row of
// theirs is due: an address is bound to its user when the ledger first sees it.
func (b *Batch) needLists(ctx context.Context) error {
	if !slices.ContainsFunc(b.order, func(a *account) bool { return a.listed && !a.needed }) {
		return nil
	}
	for e, err := range b.importing.Addresses(ctx, false) {
		if err != nil {
			return err
		}
		acc := b.accounts[e.Account]
		if acc.needed || !acc.listed {
			continue
		}
		_, bound, err := b.reader.EmailBinding(ctx, e.Account, e.Email)
		if err != nil {
			return err
		}
		acc.needed = !bound
	}
	return nil
}

// Rows returns the good rows that have been loaded, in their order. It is for the time
// before Prepare.
func (b *Batch) Rows(ctx context.Context) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for row, err := range b.importing.Rows(ctx) {
			if err == nil && row.Code != "" {
				continue
			}
			if !yield(Row{Line: row.Line, Account: row.Account, Op: row.Op, Email: row.Email, Due: row.Due, LastDay: row.LastDay}, err) {
				return
			}
		}
	}
}

// layout returns the layout as the ledger keeps it. A result that is no workbook does
// not know any more which sheet of a workbook its rows are from; the ledger does.
func (b *Batch) layout(ctx context.Context, layout sheet.Layout) ([]byte, error) {
	if layout.IsResult && layout.Sheet == "" {
		kept, err := b.reader.Sheets(ctx)
		if err != nil {
			return nil, err
		}
		for _, src := range kept {
			var before sheet.Layout
			if src.Sheet == b.source.Sheet && json.Unmarshal(src.Layout, &before) == nil {
				layout.Sheet = before.Sheet
			}
		}
	}
	text, err := json.Marshal(layout)
	if err != nil {
		return nil, fmt.Errorf("keep the sheet's layout: %w", err)
	}
	return text, nil
}
