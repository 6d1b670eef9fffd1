package ledger

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql/driver"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// lastWord is what the events say of an operation, the newest of each: its result, its
// request Id, and a digest of what was asked for.
const lastWordTable = `
DROP TABLE IF EXISTS temp.vlast;
CREATE TEMP TABLE vlast (op INTEGER PRIMARY KEY, result TEXT, request TEXT, asked BLOB);
`

// wordSent is the result of an operation that was intended and has no outcome yet.
var wordSent = Sent.String()

// VerifyRows compares the ledger's rows with its events, which VerifyChain has found
// whole: state, request Id and operation (account, action, object, record, user and
// the rest) of everything that was ever tried must be what the last event about it
// says, what was never tried must show no trace, and the sheet has as many rows as it
// was taken up with. The error is a *ChainError for the first that differs.
//
// What it compares lies in temporary tables, so that memory stays flat. It is not
// called while the ledger changes. Events of versions that named no operations tell
// nothing, and what only they tell of is not compared.
func (l *Ledger) VerifyRows(ctx context.Context) error {
	if err := l.alone(ctx, func(c *conn) error { return c.once(lastWordTable) }); err != nil {
		return fmt.Errorf("compare the rows with the events: %w", err)
	}
	words := lastWords{}
	for after, more := int64(0), true; more; {
		if err := l.alone(ctx, func(c *conn) (err error) {
			after, more, err = words.gather(c, after)
			return err
		}); err != nil {
			return fmt.Errorf("compare the rows with the events: %w", err)
		}
	}
	for after, more := int64(0), true; more; {
		if err := l.alone(ctx, func(c *conn) (err error) {
			after, more, err = words.compare(c, after)
			return err
		}); err != nil {
			return err
		}
	}
	return l.alone(ctx, words.count)
}

// lastWords is a comparison of events and rows under way.
type lastWords struct {
	nameless bool  // some event names no operations
	rows     int64 // of the sheet that was taken up last, as its event says
	invalid  int64
	taken    bool // there is such an event
}

// eventRow is a row of an event as far as it is compared.
type eventRow struct {
	Ops, Action, Object, Record, Context, User, Access, Related, Permissions, Result string
	Minutes                                                                          int64
	RequestID                                                                        string `json:"request_id"`
}

// asked is a digest of what an operation asks for, and in which account.
func (r eventRow) asked(account string) []byte {
	var b []byte
	for _, s := range []string{account, r.Action, r.Object, r.Record, r.Context, r.User, r.Access, r.Related, r.Permissions, strconv.FormatInt(r.Minutes, 10)} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	sum := sha256.Sum256(b)
	return sum[:16]
}

// gather takes in a page of events.
func (w *lastWords) gather(c *conn, after int64) (last int64, more bool, err error) {
	type told struct {
		kind, body string
	}
	var page []told
	last = after
	if err := c.query("SELECT seq, kind, body FROM event WHERE seq > ? ORDER BY seq LIMIT 1000", func(v []driver.Value) error {
		last = integer(v[0])
		page = append(page, told{text(v[1]), text(v[2])})
		return nil
	}, after); err != nil || len(page) == 0 {
		return last, false, err
	}
	return last, true, c.temporary(func() error {
		for _, e := range page {
			var err error
			switch e.kind {
			case "sheet":
				err = w.sheet(e.body)
			case kindIntent, kindOutcome, kindConfirm:
				err = w.event(c, e.kind, e.body)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (w *lastWords) sheet(body string) error {
	var s struct{ Rows, Invalid int64 }
	err := json.Unmarshal([]byte(body), &s)
	w.rows, w.invalid, w.taken = s.Rows, s.Invalid, true
	return err
}

// event books what an event says of its operations. An intent leaves the request Id of
// an earlier sending, and so does a look that brings none.
func (w *lastWords) event(c *conn, kind, body string) error {
	var e struct {
		Account string
		Rows    []eventRow
	}
	if err := json.Unmarshal([]byte(body), &e); err != nil {
		return fmt.Errorf("%w: an event that is no JSON: %w", ErrDamaged, err)
	}
	for _, r := range e.Rows {
		if r.Ops == "" {
			w.nameless = true
			continue
		}
		keeps := kind != kindOutcome || r.Result == Pending.String()
		if kind == kindIntent {
			r.Result = wordSent
		}
		asked := r.asked(e.Account)
		if err := eachMember(r.Ops, func(id int64) error {
			_, err := c.exec(`INSERT INTO vlast (op, result, request, asked) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (op) DO UPDATE
				SET result = ?2, request = CASE WHEN ?5 AND ?3 = '' THEN request ELSE ?3 END, asked = ?4`,
				id, r.Result, r.RequestID, asked, bit(keeps))
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// compare holds a page of operations against what the events say of them.
func (w *lastWords) compare(c *conn, after int64) (last int64, more bool, err error) {
	names, err := accountNames(c)
	if err != nil {
		return after, false, err
	}
	last = after
	wrong, reason := int64(0), ""
	err = c.query(`SELECT o.id, o.account, o.body, o.user, o.state, o.request_id, o.seq, o.attempts, v.op, v.result, v.request, v.asked
		FROM op o LEFT JOIN vlast v ON v.op = o.id WHERE o.id > ? ORDER BY o.id LIMIT 1000`, func(v []driver.Value) error {
		last, more = integer(v[0]), true
		if wrong == 0 {
			if reason = w.differs(v, names); reason != "" {
				wrong = last
			}
		}
		return nil
	}, after)
	if err == nil && wrong != 0 {
		return last, false, rowError(c, wrong, reason)
	}
	return last, more, err
}

// differs says in what an operation is not what the events say, "" if in nothing.
func (w *lastWords) differs(v []driver.Value, names map[int64]string) string {
	state := State(integer(v[4])).String()
	request := string([]rune(text(v[5]))) // as JSON has it, whatever bytes it is of
	if v[8] == nil {
		switch {
		case w.nameless && integer(v[6]) > 0:
			return ""
		case state != Pending.String() || request != "" || integer(v[6]) > 0 || integer(v[7]) > 0:
			return fmt.Sprintf("it is %s, and no event says that it was ever tried", state)
		}
		return ""
	}
	op, err := unpackOp(blob(v[2]), text(v[3]))
	switch {
	case err != nil:
		return "what it asks for can not be read"
	case state != text(v[9]):
		return fmt.Sprintf("it is %s, and the last event about it says %s", state, text(v[9]))
	case request != text(v[10]):
		return fmt.Sprintf("its request Id is %q, and the last event about it says %q", request, text(v[10]))
	case !slices.Equal(rowOf(op).asked(names[integer(v[1])]), blob(v[11])):
		return fmt.Sprintf("it asks for %s of %s %s, user %q, account %q, and the last event about it says otherwise",
			op.Action, op.Object, op.Record, op.User, names[integer(v[1])])
	}
	return ""
}

// rowOf is an operation as an event tells it.
func rowOf(op crm.Operation) eventRow {
	return eventRow{
		Action: op.Action.String(), Object: op.Object, Record: op.Record, Context: op.Context, User: op.User, Access: op.Access.String(),
		Related: op.Related.String(), Permissions: op.Permissions.String(), Minutes: int64(op.Minutes),
	}
}

// count finds what the sheet's rows can be compared with as a whole: operations that
// are gone, rows that stand for one operation, and how many rows there are.
func (w *lastWords) count(c *conn) error {
	gone, err := c.count(`SELECT op FROM vlast v WHERE result <> ? AND NOT EXISTS (SELECT 1 FROM op WHERE id = v.op) LIMIT 1`, Pending.String())
	if err != nil {
		return err
	}
	if gone > 0 {
		return rowError(c, gone, "its operation is not there any more, and the events tell of it")
	}
	twice, err := c.count("SELECT op FROM row WHERE op IS NOT NULL GROUP BY op HAVING count(*) > 1 LIMIT 1")
	if err != nil {
		return err
	}
	if twice > 0 {
		return rowError(c, twice, "it stands for the same operation as another row")
	}
	rows, err := c.count("SELECT count(*) FROM row")
	if err != nil {
		return err
	}
	valid, err := c.count("SELECT count(r.op) FROM row r JOIN op o ON o.id = r.op")
	if err == nil && w.taken && (rows != w.rows || valid != w.rows-w.invalid) {
		return &ChainError{Reason: fmt.Sprintf("the sheet has %d rows with %d to be done, and was taken up with %d and %d", rows, valid, w.rows, w.rows-w.invalid)}
	}
	return err
}

// rowError names the row of an operation, by its line if a sheet has it.
func rowError(c *conn, op int64, reason string) error {
	line, err := c.count("SELECT line FROM row WHERE op = ? LIMIT 1", op)
	if err != nil {
		return err
	}
	if line == 0 {
		reason = fmt.Sprintf("operation %d, of an earlier sheet: %s", op, reason)
	}
	return &ChainError{Line: int(line), Reason: reason}
}

// members adds which operations a row of an event is about: "7", or "7-9,12" for equal
// rows that go together.
func (t telling) members(members []member) telling {
	t = append(t.field("ops"), '"')
	for i := 0; i < len(members); {
		n := i + 1
		for n < len(members) && members[n].id == members[n-1].id+1 {
			n++
		}
		if i > 0 {
			t = append(t, ',')
		}
		t = strconv.AppendInt(t, members[i].id, 10)
		if n > i+1 {
			t = strconv.AppendInt(append(t, '-'), members[n-1].id, 10)
		}
		i = n
	}
	return append(t, '"')
}

// eachMember hands over what members has written down.
func eachMember(ops string, each func(id int64) error) error {
	for part := range strings.SplitSeq(ops, ",") {
		first, last, isRange := strings.Cut(part, "-")
		from, err := strconv.ParseInt(first, 10, 64)
		to := from
		if err == nil && isRange {
			to, err = strconv.ParseInt(last, 10, 64)
		}
		if err = cmp.Or(err, errorIf(to < from, "a range that ends before it begins")); err != nil {
			return fmt.Errorf("%w: an event is about the operations %q: %w", ErrDamaged, ops, err)
		}
		for id := from; id <= to; id++ {
			if err := each(id); err != nil {
				return err
			}
		}
	}
	return nil
}

func errorIf(so bool, what string) error {
	if so {
		return errors.New(what)
	}
	return nil
}
