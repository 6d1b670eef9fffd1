package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

// undoEnding is what the name of an undo sheet has after that of the sheet that it
// undoes, and undoSheetID how the ledger calls it.
const (
	undoEnding  = ".undo"
	undoSheetID = ".undo"
)

// isUndoName says whether a sheet is called as `undo` calls what it writes, or is the
// result of one.
func isUndoName(sheetName string, isResult bool) bool {
	stem := stemOf(sheetName, isResult, false)
	return trimSuffixFold(stem, undoEnding) != stem
}

// undoMark returns what an undo sheet says of the ledger that it came from: the name
// of the sheet that it undoes, and the mark of the ledger. Both are empty for any
// other sheet.
func undoMark(name string) (undoes, mark string) {
	lookInto(name, "", func(r *sheet.Reader) {
		at := slices.IndexFunc(r.Layout().Columns, func(column string) bool {
			return strings.EqualFold(strings.TrimSpace(column), report.UndoColumn)
		})
		for rec, err := range r.All() {
			if at < 0 || err != nil || at >= len(rec.Cells) {
				return
			}
			mark = strings.TrimSpace(rec.Cells[at])
			if cut := strings.LastIndexByte(mark, ' '); cut > 0 {
				undoes, mark = mark[:cut], mark[cut+1:]
			}
			return
		}
	})
	return undoes, mark
}

// ofItsUndone finds the ledger of an undo sheet: the one that it came from. In any
// other, the sheet that it undoes would still count as done, so that what it gives
// back would stay; without that ledger the undo sheet is refused.
func (o *options) ofItsUndone(ctx context.Context, n names, isResult bool) (names, error) {
	undoes, mark := undoMark(n.sheet)
	if mark == "" && !isUndoName(n.sheet, isResult) {
		return n, nil
	}
	if o.fresh {
		return n, refusef("Leave out --fresh, or name another ledger with --ledger.",
			"%s is an undo sheet: it goes on with the ledger of the sheet that it undoes, and --fresh would put that aside", n.sheet)
	}
	there, err := o.ledgers.exists(ctx, n.ledger)
	if err != nil {
		return n, err
	}
	if beside := filepath.Join(filepath.Dir(n.sheet), filepath.Base(n.ledger)); !there && !n.inDatabase {
		if there, err = exists(beside); err != nil {
			return n, err
		} else if there {
			n = n.withLedger(beside)
		}
	}
	if !there {
		from := ""
		if undoes != "" {
			from = " of " + undoes
		}
		return n, refusef(fmt.Sprintf("Name the ledger%s with --ledger. With any other one, the sheet that this undoes would still count as done.", from),
			"%s is an undo sheet, and there is no ledger %s that it could have come from", n.sheet, n.ledger)
	}
	if mark != "" { // without one it has only its name to go by
		led, err := o.ledgers.open(ctx, n.ledger, ledger.Options{ReadOnly: true})
		if err != nil {
			return n, err
		}
		ours := batch.IsCallOf(led, mark)
		if err := led.Close(); err != nil {
			return n, err
		}
		if !ours && !o.sandbox { // nothing is at stake in a sandbox
			return n, refusef("Write it anew with `bulkrevoke undo`, or name the ledger that it came from with --ledger.",
				"%s is an undo sheet, and it was not written from the ledger %s", n.sheet, n.ledger)
		}
	}
	return n, n.check()
}

// sheetID is what tells a sheet apart from the others of its ledger: "" for the one
// that the ledger is named after, or belongs to.
func (o *options) sheetID(n names, isResult bool) string {
	if n.sheet == standardInput {
		return standardInput
	}
	own := trimSuffixFold(strings.TrimSuffix(filepath.Base(n.ledger), ledgerEnding), ".sandbox")
	stem := filepath.Base(stemOf(withTab(n.sheet, n.tab), isResult, false))
	switch undone := trimSuffixFold(stem, undoEnding); {
	case undone != stem && (undone == own || trimSuffixFold(undone, ".sandbox") == own):
		return undoSheetID
	case o.ledger == "" && undone == stem, trimSuffixFold(stem, ".sandbox") == own:
		return ""
	}
	return stem
}

// chooseSheet has the ledger speak of the sheet that was named, of which it may have
// taken up another one since.
func (j *job) chooseSheet(ctx context.Context) error {
	kept, err := j.led.Sheets(ctx)
	if err != nil || len(kept) == 0 {
		return err
	}
	id, ok, err := j.choose(ctx, kept)
	switch {
	case err != nil:
		return err
	case ok && kept[0].Sheet != id:
		j.since = title(kept[0].Name)
		return nil
	case ok, j.sheet == standardInput: // which has no name of its own
		return nil
	}
	// A copy of a ledger, or one that was set aside, has another name than the sheet.
	called := func(src ledger.Source) bool {
		return stemOf(src.Name, false, false) == stemOf(filepath.Base(j.sheet), looksLikeResult(j.sheet), false)
	}
	if i := slices.IndexFunc(kept, called); i >= 0 && !slices.ContainsFunc(kept[i+1:], called) {
		if i > 0 {
			j.since = title(kept[0].Name)
		}
		_, err := j.led.Choose(ctx, kept[i].Sheet)
		return err
	}
	var has []string
	for _, src := range kept {
		has = append(has, title(src.Name))
	}
	return refusef(fmt.Sprintf("Run %s first, or name %s, with --ledger %s.", title(j.sheet), strings.Join(has, " or "), j.names.ledger),
		"the ledger %s has the rows of %s now, and not those of %s", j.names.ledger, strings.Join(has, " and "), title(j.sheet))
}

// choose has the ledger speak of the job's sheet, and says whether it has its rows. How the
// ledger tells its sheets apart goes by its own name; where it has another one by now, as a
// copy may have, by those of the sheets.
func (j *job) choose(ctx context.Context, kept []ledger.Source) (id string, ok bool, err error) {
	id = j.opts.sheetID(j.names, looksLikeResult(j.sheet))
	if ok, err = j.led.Choose(ctx, id); ok || err != nil {
		return id, ok, err
	}
	for _, src := range kept {
		if src.Name == j.sheetBase() {
			ok, err = j.led.Choose(ctx, src.Sheet)
			return src.Sheet, ok, err
		}
	}
	return id, false, nil
}
