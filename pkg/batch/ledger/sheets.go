package ledger

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// A ledger keeps the rows of two sheets: of the one that was adopted last, in table
// row, and of the last one of another name before it, in table earlier. A sheet and
// its undo sheet are such a pair. The operations of all sheets are one history.

// earlierTable makes the table of the earlier sheet. Most ledgers never need it, so
// that it is made with the first sheet of another name.
const earlierTable = `CREATE TABLE IF NOT EXISTS earlier (ord INTEGER PRIMARY KEY, line INTEGER NOT NULL, cells BLOB, op INTEGER, account INTEGER, code TEXT, message TEXT)`

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
	State  State
	SentAt time.Time // zero if it was never sent because it was so already
	CallID string
}

// Certain says whether the operation has taken effect, as far as the CRM says.
func (u Undoing) Certain() bool { return u.State == Done || u.State == Unchanged }

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

// keepEarlier puts the rows of the ledger's sheet aside if the new one has another
// name. The sheet that was aside before goes.
func (a *adoption) keepEarlier(sheet string) {
	if a.err != nil {
		return
	}
	old, ok, err := source(a.c, metaSource)
	if a.err = err; err == nil && ok && old.Sheet != sheet {
		a.do(earlierTable)
		a.do("DELETE FROM earlier")
		a.do("INSERT INTO earlier (ord, line, cells, op, account, code, message) SELECT ord, line, cells, op, account, code, message FROM row")
		a.do("INSERT INTO meta (name, value) SELECT ?1, value FROM meta WHERE name = ?2 ON CONFLICT (name) DO UPDATE SET value = excluded.value",
			metaEarlier, metaSource)
	}
	if a.err == nil {
		_, a.keeps, a.err = source(a.c, metaEarlier)
	}
}

// unwanted is the condition for operations that were never tried and that no sheet
// has any more.
func (a *adoption) unwanted() string {
	if a.keeps {
		return "seq = 0 AND id NOT IN (SELECT op FROM earlier WHERE op IS NOT NULL)"
	}
	return "seq = 0"
}

// source reads the description of a sheet.
func source(c *conn, name string) (src Source, ok bool, err error) {
	err = c.query("SELECT value FROM meta WHERE name = ?", func(v []driver.Value) error {
		ok = true
		return json.Unmarshal([]byte(text(v[0])), &src)
	}, name)
	if err != nil {
		err = fmt.Errorf("read the sheet's description: %w", err)
	}
	return src, ok, err
}

// Sheets returns the sheets whose rows the ledger keeps, the one that was adopted
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

// Choose has Source, Results, Counts, Review and History speak of the sheet of that
// name from now on, and not of the one that was adopted last. ok is false if the
// ledger does not keep its rows. It is called before any of them, and changes nothing
// durable.
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
			return true, l.listOthers(ctx)
		}
	}
	return false, nil
}

// rows is the table of the chosen sheet's rows.
func (l *Ledger) rows() string {
	if l.earlier {
		return metaEarlier
	}
	return "row"
}

// reading is read, or alone where what the earlier sheet's reader needs is known to
// the writer's connection only.
func (l *Ledger) reading() func(context.Context, func(*conn) error) error {
	if l.earlier {
		return l.alone
	}
	return l.read
}

// othersTable is the history that the earlier sheet has no row for, by target.
const othersTable = `
DROP TABLE IF EXISTS temp.vother;
CREATE TEMP TABLE vother (target INTEGER, seq INTEGER, op INTEGER, PRIMARY KEY (target, seq)) WITHOUT ROWID;
`

func (l *Ledger) listOthers(ctx context.Context) error {
	err := l.alone(ctx, func(c *conn) error {
		if err := c.once(othersTable); err != nil {
			return err
		}
		_, err := c.execContext(ctx, `INSERT INTO vother (target, seq, op) SELECT target, seq, id FROM op
			WHERE seq > 0 AND id NOT IN (SELECT op FROM earlier WHERE op IS NOT NULL) ORDER BY target, seq`)
		return err
	})
	if err != nil {
		return fmt.Errorf("list what other sheets have done: %w", err)
	}
	return nil
}

// trace is where an operation stands in the history.
type trace struct{ account, target, seq int64 }

// undoing finds what has undone an operation of the earlier sheet since: the last
// thing that happened to its user on the record, if that asks for something else.
func (c *conn) undoing(at trace, op crm.Operation) (found *Undoing, err error) {
	if at.seq == 0 {
		return nil, nil
	}
	met := make(map[string]bool) // users about whom something later has been seen
	decided := false
	err = c.query(`SELECT o.account, o.body, o.user, o.state, o.maybe, o.sent_at, o.call_id FROM vother v JOIN op o ON o.id = v.op
		WHERE v.target = ? AND v.seq > ? ORDER BY v.seq DESC`, func(v []driver.Value) error {
		u := Undoing{State: State(integer(v[3])), SentAt: instant(v[5]), CallID: text(v[6])}
		happened := u.Certain() || u.State == Accepted || u.State == Sent || u.State == InDoubt || truth(v[4])
		if decided || !happened || integer(v[0]) != at.account {
			return nil
		}
		var err error
		if u.Op, err = unpackOp(blob(v[1]), text(v[2])); err != nil {
			return err
		}
		a, b := u.Op.Target(), op.Target()
		if a != b && (a.Whole() != b.Whole() || u.Op.Action != crm.RevokeAll && op.Action != crm.RevokeAll) {
			return nil
		}
		if met[u.Op.User] {
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
	}, at.target, at.seq)
	return found, err
}
