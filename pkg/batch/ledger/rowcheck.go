package ledger

import (
	"cmp"
	"context"
	"crypto/sha256"
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
DROP TABLE IF EXISTS event_last;
CREATE TEMP TABLE event_last (op {{key}}, result {{text}}, request {{text}}, asked {{bytes}});
`

// wordSent is the result of an operation that was intended and has no outcome yet.
var wordSent = crm.Sent.String()

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
	defer l.hold()()
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
	taken    bool    // there is such an event
	held     *string // as heldRows has it; nil of versions that had no such rows
}

// asked is a digest of what an operation asks for, and in which account.
func (r eventRow) asked(account string) []byte {
	var b []byte
	for _, s := range []string{account, r.Action, r.Object, r.Record, r.Context, r.User, r.Access, r.Related, r.Permissions, strconv.Itoa(r.Minutes)} {
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
	if err := c.query("SELECT seq, kind, body FROM event WHERE seq > ? ORDER BY seq LIMIT 1000", func(r row) error {
		last = r.int64("seq")
		page = append(page, told{r.text("kind"), r.text("body")})
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
	var s struct {
		Rows, Invalid int64
		Held          *string
	}
	err := json.Unmarshal([]byte(body), &s)
	w.rows, w.invalid, w.held, w.taken = s.Rows, s.Invalid, s.Held, true
	return err
}

// event takes in what an event says of its operations. An intent leaves the request Id of
// an earlier sending, and so does a look that brings none.
func (w *lastWords) event(c *conn, kind, body string) error {
	var e callEvent
	if err := json.Unmarshal([]byte(body), &e); err != nil {
		return fmt.Errorf("%w: an event that is no JSON: %w", ErrDamaged, err)
	}
	for _, r := range e.Rows {
		if r.Ops == "" {
			w.nameless = true
			continue
		}
		keeps := kind != kindOutcome || r.Result == crm.Pending.String()
		if kind == kindIntent {
			r.Result = wordSent
		}
		asked := r.asked(e.Account)
		if err := eachMember(r.Ops, func(id int64) error {
			_, err := c.exec(`INSERT INTO event_last (op, result, request, asked) VALUES (?, ?, ?, ?) ON CONFLICT (op) DO UPDATE
				SET result = excluded.result, request = CASE WHEN ? = 1 AND excluded.request = '' THEN event_last.request ELSE excluded.request END, asked = excluded.asked`,
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
	last = after
	wrong, reason := int64(0), ""
	err = c.query("SELECT o.id, a.name, o.user_id, o.state, o.request_id, o.seq, o.attempts, v.op, v.result, v.request, v.asked, "+operationOf("o")+`
		FROM op o JOIN account a ON a.id = o.account LEFT JOIN event_last v ON v.op = o.id WHERE o.id > ? ORDER BY o.id LIMIT 1000`, func(r row) error {
		last, more = r.int64("id"), true
		if wrong == 0 {
			if reason = w.differs(r); reason != "" {
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
func (w *lastWords) differs(r row) string {
	is, err := r.state("state")
	if err != nil {
		return "its state can not be read"
	}
	state, request := is.String(), plain(r.text("request_id")) // whatever bytes it is of
	if r.null("op") {
		switch {
		case w.nameless && r.int64("seq") > 0:
			return ""
		case is != crm.Pending || request != "" || r.int64("seq") > 0 || r.int64("attempts") > 0:
			return fmt.Sprintf("it is %s, and no event says that it was ever tried", state)
		}
		return ""
	}
	op, err := r.operation()
	switch {
	case err != nil:
		return "what it asks for can not be read"
	case state != r.text("result"):
		return fmt.Sprintf("it is %s, and the last event about it says %s", state, r.text("result"))
	case request != plain(r.text("request")):
		return fmt.Sprintf("its request Id is %q, and the last event about it says %q", request, r.text("request"))
	case !slices.Equal(eventRowOf(op).asked(r.text("name")), r.bytes("asked")):
		return fmt.Sprintf("it asks for %s of %s %s, user %q, account %q, and the last event about it says otherwise",
			op.Action, op.Object, op.Record, op.User, r.text("name"))
	}
	return ""
}

// count finds what the sheet's rows can be compared with as a whole: operations that
// are gone, rows that stand for one operation, and how many rows there are.
func (w *lastWords) count(c *conn) error {
	gone, err := c.count(`SELECT op AS n FROM event_last v WHERE result <> ? AND NOT EXISTS (SELECT 1 FROM op WHERE id = v.op) LIMIT 1`, crm.Pending.String())
	if err != nil {
		return err
	}
	if gone > 0 {
		return rowError(c, gone, "its operation is not there any more, and the events tell of it")
	}
	twice, err := c.count("SELECT op AS n FROM sheet_row WHERE op IS NOT NULL GROUP BY op HAVING count(*) > 1 LIMIT 1")
	if err != nil {
		return err
	}
	if twice > 0 {
		return rowError(c, twice, "it stands for the same operation as another row")
	}
	rows, err := c.count("SELECT count(*) AS n FROM sheet_row")
	if err != nil {
		return err
	}
	valid, err := c.count("SELECT count(r.op) AS n FROM sheet_row r JOIN op o ON o.id = r.op")
	if err == nil && w.taken && (rows != w.rows || valid != w.rows-w.invalid) {
		return &ChainError{Reason: fmt.Sprintf("the sheet has %d rows with %d to be done, and was taken up with %d and %d", rows, valid, w.rows, w.rows-w.invalid)}
	}
	if err != nil || w.held == nil {
		return err
	}
	held, err := heldRows(c)
	if err == nil && held != *w.held {
		return &ChainError{Reason: fmt.Sprintf("of the sheet's rows that wait or ask for nothing there are %q, and it was taken up with %q", held, *w.held)}
	}
	return err
}

// rowError names the row of an operation, by its line if a sheet has it.
func rowError(c *conn, op int64, reason string) error {
	line, err := c.count("SELECT line AS n FROM sheet_row WHERE op = ? LIMIT 1", op)
	if err != nil {
		return err
	}
	if line == 0 {
		reason = fmt.Sprintf("operation %d, of an earlier sheet: %s", op, reason)
	}
	return &ChainError{Line: int(line), Reason: reason}
}

// opsText says which operations a row of an event is about: "7", or "7-9,12" for equal
// rows that go together.
func opsText(members []member) string {
	var b []byte
	for i := 0; i < len(members); {
		n := i + 1
		for n < len(members) && members[n].id == members[n-1].id+1 {
			n++
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, members[i].id, 10)
		if n > i+1 {
			b = strconv.AppendInt(append(b, '-'), members[n-1].id, 10)
		}
		i = n
	}
	return string(b)
}

// eachMember hands over what opsText has written down.
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
