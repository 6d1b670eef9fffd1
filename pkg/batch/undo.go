package batch

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// UndoRow is a row of the sheet that puts back what a ledger's runs have changed,
// or says what no row can put back.
type UndoRow struct {
	Account string
	Op      crm.Operation
	Note    string // what is not known of how it was; empty where all of it is
	// Left, if not empty, says what is to be seen to by hand: there is no row for it,
	// and Op only says where.
	Left string
}

// Undo streams what it takes to have every target as it was before the ledger's
// first change of it, whoever asked for that change and whether the sheet still has
// the row or not. Each user on a record (and context) comes once at most, and the
// record where something happened last comes first. It asks nobody: what others
// have changed since is not known, and a row sets its target to what it was all the
// same.
//
// What counts as changed is what the CRM has confirmed or accepted, also where the
// confirmation was that the user has the record by another way still. What was so
// already, was refused or was never sent has changed nothing. What may have been
// done (an answer was lost) is put back too where the ledger has seen what was
// there, because a row that asks for what is there changes nothing; elsewhere it is
// Left.
//
// Where the ledger has seen what was there, the row gives back
// exactly that; what is not a user's own, such as a group or a public share that a
// revoke_all took, is Left. Elsewhere the sheet is all that is known: a revoke is
// taken for one of an access that was there, at the level that it was sent with, and a
// share for one of an access that was not. Where there was no level, it is Left. Every
// row is valid as it is.
func Undo(ctx context.Context, led *ledger.Ledger) iter.Seq2[UndoRow, error] {
	return func(yield func(UndoRow, error) bool) {
		u := undoing{ctx: ctx, led: led}
		var record []ledger.Tried
		flush := func() bool {
			rows, err := u.record(record)
			record = record[:0]
			for _, r := range rows {
				if err == nil && !yield(r, nil) {
					return false
				}
			}
			if err != nil {
				yield(UndoRow{}, err)
			}
			return err == nil
		}
		for t, err := range led.History(ctx) {
			if err != nil {
				yield(UndoRow{}, err)
				return
			}
			if len(record) > 0 && recordOf(record[0]) != recordOf(t) && !flush() {
				return
			}
			record = append(record, t)
		}
		flush()
	}
}

// recordOf is the record that an operation was about.
func recordOf(t ledger.Tried) place { return place{t.Account, t.Op.Target().Whole()} }

// undoing works out rows, a record at a time.
type undoing struct {
	ctx  context.Context
	led  *ledger.Ledger
	seen ledger.Seen // the one read last: operations of one call have one
}

// traces is what is known of one target's past.
type traces struct {
	first   ledger.Tried // the first change that was made, or may have been
	had     crm.Grant    // what the target had before
	hadIt   bool
	changed bool // a change was made for certain
	last    ledger.Tried
	through string // a record through which the user had this one too
}

// made says whether an operation has changed something, and maybe whether it may
// have.
func made(t ledger.Tried) (made, maybe bool) {
	switch t.Status {
	case crm.Done, crm.Accepted:
		return true, false
	case crm.Sent, crm.Uncertain:
		return false, true
	case crm.Failed:
		if t.Happened && t.Attempts > 0 {
			return true, false
		}
	}
	return false, t.Uncertain
}

// record works out the rows of a record, what happened last first.
func (u *undoing) record(history []ledger.Tried) ([]UndoRow, error) {
	// What was looked at is in the order of the looks: of what is sent again later, the
	// look before the first sending counts.
	slices.SortStableFunc(history, func(a, b ledger.Tried) int {
		return cmp.Or(cmp.Compare(a.Seen, b.Seen), cmp.Compare(a.Seq, b.Seq))
	})
	known := make(map[place]*traces)
	var left []UndoRow
	var wholes []ledger.Tried // that took the record from everybody
	for _, t := range history {
		done, maybe := made(t)
		if t.Code == crm.CodeBystanderLost {
			left = append(left, leftOf(t, "somebody whom the row does not name has lost access by it: "+t.Message))
		}
		if !done && !maybe {
			continue
		}
		if t.Seen == 0 && t.Op.Action == crm.RevokeAll {
			left = append(left, leftOf(t, "nobody looked who had the record before everybody lost it"))
			continue
		}
		more, err := u.note(known, t, done)
		if err != nil {
			return nil, err
		}
		left = append(left, more...)
		if t.Op.Action == crm.RevokeAll {
			wholes = append(wholes, t)
		}
	}
	for _, t := range wholes {
		// Whoever was given the record before has lost it then.
		done, _ := made(t)
		for at, tr := range known {
			if at.whole() == (place{t.Account, t.Op.Target()}) {
				tr.after(t, done)
			}
		}
	}
	rows := make([]UndoRow, 0, len(known))
	for _, tr := range slices.SortedFunc(maps.Values(known), func(a, b *traces) int {
		return cmp.Or(cmp.Compare(b.last.Seq, a.last.Seq), cmp.Compare(a.first.Op.User+a.had.ID, b.first.Op.User+b.had.ID))
	}) {
		if row, ok := tr.row(); ok {
			rows = append(rows, row)
		}
	}
	return append(rows, left...), nil
}

// note books what an operation has done to its target, or to everybody.
func (u *undoing) note(known map[place]*traces, t ledger.Tried, done bool) (left []UndoRow, err error) {
	before, err := u.before(t)
	if err != nil {
		return nil, err
	}
	if t.Op.Action != crm.RevokeAll {
		at := place{t.Account, t.Op.Target()}
		g, ok := direct(before, t.Op.User)
		book(known, at, t, done, g, ok, before)
		return nil, nil
	}
	whole := place{t.Account, t.Op.Target()}.whole()
	for _, g := range before.Grants {
		switch {
		case g.Through != "":
		case g.Kind == crm.KindUser:
			at := whole
			at.User = g.ID
			if _, met := known[at]; !met {
				book(known, at, t, done, g, true, before)
			}
		case done:
			left = append(left, leftOf(t, fmt.Sprintf("%s had the record (%s) before everybody lost it; a sheet can give it to users only", whoHas(g), describe(g))))
		}
	}
	return left, nil
}

// book notes a change of one target.
func book(known map[place]*traces, at place, t ledger.Tried, done bool, g crm.Grant, had bool, before crm.State) {
	tr := known[at]
	if tr == nil {
		tr = &traces{first: t, had: g, hadIt: had, through: through(before, at.User)}
		tr.first.Op.User = at.User
		known[at] = tr
	}
	if t.Op.Action == crm.Share && t.Op.Related == crm.Unsaid && t.Seen != 0 && t.Attempts == 1 {
		// A flag that the share said nothing about stayed as it was.
		if t.Op.Related = crm.No; had && g.Related {
			t.Op.Related = crm.Yes
		}
	}
	tr.after(t, done)
}

// after notes a further change. The last one is what happened last, which is not
// what was looked at last: a change that was sent again keeps its first look.
func (tr *traces) after(t ledger.Tried, done bool) {
	tr.changed = tr.changed || done
	if t.Seq >= tr.last.Seq {
		tr.last = t
	}
}

// before returns what was there before an operation was sent first.
func (u *undoing) before(t ledger.Tried) (crm.State, error) {
	if t.Seen == 0 {
		return crm.State{}, nil
	}
	if u.seen.Ref != t.Seen {
		call, ok, err := u.led.Seen(u.ctx, t.Seen)
		if err == nil && !ok {
			err = fmt.Errorf("%w: what was there before operation %d is missing", ledger.ErrDamaged, t.ID)
		}
		if err != nil {
			return crm.State{}, err
		}
		u.seen = call
	}
	return u.seen.Before, nil
}

// through names a record through which a user had this one too.
func through(before crm.State, user string) string {
	for _, g := range before.Grants {
		if g.Through != "" && g.Kind == crm.KindUser && g.ID == user {
			return g.Through
		}
	}
	return ""
}

func leftOf(t ledger.Tried, what string) UndoRow {
	if t.Line > 0 {
		what = fmt.Sprintf("line %d: %s", t.Line, what)
	}
	return UndoRow{Account: t.Account, Op: t.Op, Left: what}
}

// row returns what puts the target back; ok is false if it stands there already.
func (tr *traces) row() (row UndoRow, ok bool) {
	if tr.first.Seen != 0 {
		row, ok = tr.exactly()
		if row.Left == "" && !tr.changed {
			row.Note = "an answer was lost, so that it may never have been changed"
		}
		return row, ok
	}
	if !tr.changed {
		return leftOf(tr.last, "it was sent, and no answer says whether it was done; look at the CRM"), true
	}
	return tr.guess()
}

// exactly is row where what was there was seen.
func (tr *traces) exactly() (row UndoRow, ok bool) {
	first := tr.first.Op
	op := crm.Operation{Action: crm.Revoke, Object: first.Object, Record: first.Record, User: first.User}
	last := tr.last.Op
	if !tr.hadIt {
		return UndoRow{Account: tr.first.Account, Op: op}, last.Action == crm.Share || !tr.certain()
	}
	op.Action, op.Access, op.Permissions = crm.Share, tr.had.Access, tr.had.Permissions
	row = UndoRow{Account: tr.first.Account, Op: op}
	if op.Object == crm.SalesGroup {
		if op.Permissions&(crm.ViewAllAccountsOfGroup|crm.ModifyAllAccountsOfGroup) == 0 {
			row.Note = "the CRM may not have shown permissions about accounts"
		}
		return row, last.Action != crm.Share || last.Permissions != op.Permissions || !tr.certain()
	}
	if row.Op.Related = crm.No; tr.had.Related {
		row.Op.Related = crm.Yes
	}
	switch {
	case op.Access == crm.AccessUnset:
		return leftOf(tr.first, "user "+first.User+" had the record with a level that this program does not know"), true
	case tr.through != "":
		row.Note = "the user had the record through " + tr.through + " too, and as long as that is so the CRM may refuse to share it"
	}
	return row, last.Action != crm.Share || last.Access != op.Access || last.Related != row.Op.Related || !tr.certain()
}

// certain says whether the last change was made without doubt, so that what it asked
// for is what is there.
func (tr *traces) certain() bool {
	done, _ := made(tr.last)
	return done && tr.last.Status != crm.Accepted
}

// guess is row where the CRM shows nobody what was there.
func (tr *traces) guess() (row UndoRow, ok bool) {
	first, last := tr.first.Op, tr.last.Op
	row = UndoRow{Account: tr.first.Account, Op: first}
	row.Op.Minutes = 0
	if first.Action == crm.Share {
		row.Op.Action = crm.Revoke
		row.Note = "whether the user had access before is not known"
		return row, last.Action == crm.Share || !tr.certain()
	}
	row.Op.Action = crm.Share
	if first.Access == crm.AccessUnset && first.Object != crm.SalesGroup {
		// Any level might be more than the user had, and without one there is no share.
		return leftOf(tr.first, "user "+first.User+" has lost the record, and nobody looked at what level they had it"), true
	}
	row.Note = "the level is the one that the revoke named, and for how long it was shared is not known: empty is the account's default"
	return row, last.Action != crm.Share || last.Access != first.Access || !tr.certain()
}
