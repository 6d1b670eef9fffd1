package batch

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
)

// The phases of a batch, as Progress shows them.
const (
	PhaseLoading  = "loading"
	PhaseChecking = "checking"
	PhaseRunning  = "running"
)

// Load reads the sheet to its end and checks every row by itself. Nothing is sent
// and nothing durable changes. The error is a *sheet.Error where the sheet is
// refused as a whole, an *AheadError where a row is for a later day, and an *InvalidError where rows are wrong by themselves and
// Options.SkipInvalid is off.
func (b *Batch) Load(ctx context.Context, in *sheet.Reader) error {
	b.counters.phase.Store(PhaseLoading)
	stage, err := b.led.Stage(ctx)
	if err != nil {
		return err
	}
	b.stage = stage
	b.header = in.Layout().Columns
	days := dates{columns: in.DateColumns(), now: b.opts.Now()}
	for rec, err := range in.All() {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		days.see(rec)
		if err := b.add(rec); err != nil {
			return err
		}
	}
	if err := stage.Flush(); err != nil {
		return err
	}
	layout, err := b.layout(ctx, in.Layout())
	if err != nil {
		return err
	}
	b.source.SHA256, b.source.Layout, b.worksheet = in.SHA256(), layout, in.Worksheet()
	b.log.Info("sheet read", "rows", stage.Len())
	if days.refused != nil {
		return days.refused
	}
	if err := b.rejectRounded(ctx); err != nil {
		return err
	}
	if err := b.rejectObjects(ctx); err != nil {
		return err
	}
	if err := b.refuseInvalid(ctx); err != nil || b.opts.Saw == nil {
		return err
	}
	for row, err := range stage.Rows(ctx) {
		if err != nil {
			return err
		}
		if row.Code == "" {
			b.opts.Saw(Row{Line: row.Line, Account: row.Account, Op: row.Op, Email: row.Email})
		}
	}
	return nil
}

// layout returns the layout as the ledger keeps it. A result that is no workbook does
// not know any more which sheet of a workbook its rows are from; the ledger does.
func (b *Batch) layout(ctx context.Context, layout sheet.Layout) ([]byte, error) {
	if layout.IsResult && layout.Sheet == "" {
		kept, err := b.led.Sheets(ctx)
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

// add checks one record and stages it.
func (b *Batch) add(rec sheet.Record) error {
	r := b.row(rec)
	marks := append(b.rounded.see(rec.Line, rec.Fields), b.seeObject(r, rec.Fields)...)
	if acc := b.accounts[r.Account]; acc != nil && r.Code == "" {
		acc.rows++
		if r.Unstated {
			b.unstated++
		}
	}
	return b.stage.Add(ledger.Staged{
		Line: r.Line, Cells: rec.Cells, Account: r.Account, Op: r.Op, Email: r.Email, Code: r.Code, Problem: r.Problem,
		Column: r.Column, Value: r.Value, Marks: marks,
	})
}
