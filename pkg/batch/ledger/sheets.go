package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// A ledger keeps the rows of two sheets: of the one that was committed last, in table
// sheet_row, and of the last one of another name before it, in table earlier_row. A sheet
// and its undo sheet are such a pair. The operations of all sheets are one history.

// The names under which the descriptions of the two sheets are kept.
const (
	metaSource  = "source"
	metaEarlier = "earlier"
)

// CodeUndone is the code of a row that was done, and that an operation of another
// sheet has undone since.
const CodeUndone = "undone"

// Undoing is an operation of another sheet that came after a row's and asks for
// something else of the same user and record.
type Undoing struct {
	Op     crm.Operation
	Status crm.Status
	SentAt time.Time // zero if it was never sent because it was so already
	CallID string
}

// Certain says whether the operation has taken effect, as far as the CRM says.
func (u Undoing) Certain() bool { return u.Status == crm.Done || u.Status == crm.Unchanged }

// String says what happened, for a message.
func (u Undoing) String() string {
	word := "undone"
	if !u.Certain() {
		word = "perhaps undone"
	}
	s := fmt.Sprintf("%s since by another sheet of this ledger: %s", word, u.Op.Action)
	if u.Op.Access != crm.AccessUnset {
		s += " " + u.Op.Access.String()
	}
	if !u.SentAt.IsZero() {
		s += " at " + u.SentAt.UTC().Format(time.RFC3339)
	}
	if u.CallID != "" {
		s += ", call " + u.CallID
	}
	return s + "; run this sheet again to do the row again"
}

// rowColumns are the columns of sheet_row and earlier_row.
const rowColumns = "ord, line, cells, op, account, code, message, status, due, last_day, email"

// keepEarlier puts the rows of the ledger's sheet aside if the new one has another
// name. The sheet that was aside before goes.
func (t *committing) keepEarlier(sheet string) {
	if t.err != nil {
		return
	}
	old, ok, err := source(t.c, metaSource)
	if t.err = err; err == nil && ok && old.Sheet != sheet {
		t.do("DELETE FROM earlier_row")
		t.do("INSERT INTO earlier_row (" + rowColumns + ") SELECT " + rowColumns + " FROM sheet_row")
		t.do("INSERT INTO meta (name, value) SELECT ?, value FROM meta WHERE name = ? ON CONFLICT ({{ledger}}name) DO UPDATE SET value = excluded.value",
			metaEarlier, metaSource)
	}
}

// source reads the description of a sheet.
func source(c *conn, name string) (src Source, ok bool, err error) {
	err = c.query("SELECT value FROM meta WHERE name = ?", func(r row) error {
		ok = true
		return json.Unmarshal([]byte(r.text("value")), &src)
	}, name)
	if err != nil {
		err = fmt.Errorf("read the sheet's description: %w", err)
	}
	return src, ok, err
}

// Sheets returns the sheets whose rows the ledger keeps, the one that was committed
// last first.
func (l *Ledger) Sheets(ctx context.Context) (all []Source, err error) {
	err = l.read(ctx, func(c *conn) error {
		for _, name := range []string{metaSource, metaEarlier} {
			src, ok, err := source(c, name)
			if err != nil {
				return err
			}
			if ok {
				all = append(all, src)
			}
		}
		return nil
	})
	return all, err
}

// Choose has Source, Results, ResultsByPerson, Counts, Review and History speak of the
// sheet of that name from now on, and not of the one that was committed last. ok is false
// if the ledger does not keep its rows. It is called before any of them, and changes
// nothing durable.
//
// Rows of the earlier sheet that operations of other sheets have undone since are to
// be done again: in Results they are Pending, with the code CodeUndone.
func (l *Ledger) Choose(ctx context.Context, sheet string) (ok bool, err error) {
	all, err := l.Sheets(ctx)
	if err != nil {
		return false, err
	}
	l.earlier = false
	for i, src := range all {
		switch {
		case src.Sheet != sheet:
		case i == 0:
			return true, nil
		default:
			l.earlier = true
			return true, nil
		}
	}
	return false, nil
}

// rows is the table of the chosen sheet's rows.
func (l *Ledger) rows() string {
	if l.earlier {
		return "earlier_row"
	}
	return "sheet_row"
}

// place is an operation's account and its place in the history, 0 if it has none.
type place struct{ account, seq int64 }

// undoing finds what has undone an operation of the earlier sheet since: the last
// thing that happened to its user on the record, if that asks for something else.
func (c *conn) undoing(at place, op crm.Operation) (found *Undoing, err error) {
	if at.seq == 0 {
		return nil, nil
	}
	met := make(map[string]bool) // users about whom something later has been seen
	decided := false
	err = c.query("SELECT o.user_id, o.state, o.uncertain, o.happened, o.sent_at, o.call_id, "+operationOf("o")+` FROM op o
		WHERE o.account = ? AND o.object = ? AND o.record_id = ? AND o.seq > ? AND NOT EXISTS (SELECT 1 FROM earlier_row e WHERE e.op = o.id)
		ORDER BY o.seq DESC`, func(r row) error {
		if decided {
			return nil
		}
		u := Undoing{SentAt: r.time("sent_at"), CallID: r.text("call_id")}
		var err error
		if u.Status, err = r.state("state"); err != nil {
			return err
		}
		if !happened(u.Status) && u.Status != crm.Sent && u.Status != crm.Uncertain && !r.bool("uncertain") && !r.bool("happened") {
			return nil
		}
		if u.Op, err = r.operation(); err != nil {
			return err
		}
		a, b := u.Op.Target(), op.Target()
		if a != b && (a.Whole() != b.Whole() || u.Op.Action != crm.RevokeAll && op.Action != crm.RevokeAll) || met[u.Op.User] {
			return nil
		}
		met[u.Op.User] = true
		switch {
		case u.Op.Undoes(op):
			found, decided = &u, true
		case u.Op.Action == crm.RevokeAll, op.Action != crm.RevokeAll:
			decided = true
		}
		return nil
	}, at.account, op.Object, op.Record, at.seq)
	return found, err
}
