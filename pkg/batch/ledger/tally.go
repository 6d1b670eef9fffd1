package ledger

import (
	"cmp"
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
)

// Counts says how many rows of the staged sheet are alike, after Match: what
// adopting it would lead to. An operation that Match found to be new is Pending
// and not Taken. It reads every row.
func (s *Stage) Counts(ctx context.Context) ([]Tally, error) {
	if err := s.at(stepMatched); err != nil {
		return nil, err
	}
	return tally(ctx, s.l.alone, fmt.Sprintf(`SELECT s.ord, w.account, s.op, s.bad = 1 OR w.code IS NOT NULL, p.take IS NOT NULL,
		o.state, coalesce(p.turn, %d), coalesce(p.lead <> coalesce(p.take, s.ord + %d), 0)
		FROM srow s JOIN swho w ON w.id = s.who LEFT JOIN spick p ON p.ord = s.ord LEFT JOIN op o ON o.id = p.take
		WHERE s.ord > ? ORDER BY s.ord LIMIT ?`, TurnNormal, s.base))
}

// Counts says how many rows of the adopted sheet are alike. It reads every row.
func (l *Ledger) Counts(ctx context.Context) ([]Tally, error) {
	return tally(ctx, l.read, `SELECT r.ord, a.name, o.body, o.id IS NULL, o.seq > 0, o.state, o.turn, o.lead <> o.id
		FROM row r LEFT JOIN op o ON o.id = r.op LEFT JOIN account a ON a.id = coalesce(o.account, r.account)
		WHERE r.ord > ? ORDER BY r.ord LIMIT ?`)
}

// tally counts what the query says of each row: ordinal, account, operation,
// invalid, taken, state, turn, joined.
func tally(ctx context.Context, read func(context.Context, func(*conn) error) error, query string) ([]Tally, error) {
	counts := make(map[Tally]int64)
	after, last := int64(0), int64(-1)
	for after != last {
		last = after
		err := read(ctx, func(c *conn) error {
			return c.query(query, func(v []driver.Value) error {
				after = integer(v[0])
				t, err := tallyOf(v)
				counts[t]++
				return err
			}, after, int64(10*pageRows))
		})
		if err != nil {
			return nil, fmt.Errorf("count the rows: %w", err)
		}
	}
	all := make([]Tally, 0, len(counts))
	for t, n := range counts {
		t.Rows = n
		all = append(all, t)
	}
	slices.SortFunc(all, compareTallies)
	return all, nil
}

func tallyOf(v []driver.Value) (Tally, error) {
	t := Tally{Account: text(v[1]), Invalid: truth(v[3])}
	if b := blob(v[2]); b != nil {
		op, err := unpackOp(b, "")
		if err != nil {
			return t, err
		}
		t.Action, t.Object = op.Action, op.Object
	}
	if !t.Invalid {
		t.Taken, t.State, t.Turn, t.Joined = truth(v[4]), State(integer(v[5])), Turn(integer(v[6])), truth(v[7])
	}
	return t, nil
}

func compareTallies(a, b Tally) int {
	return cmp.Or(
		cmp.Compare(a.Account, b.Account), cmp.Compare(a.Action, b.Action), cmp.Compare(a.Object, b.Object),
		cmp.Compare(bit(a.Invalid), bit(b.Invalid)), cmp.Compare(a.State, b.State), cmp.Compare(a.Turn, b.Turn),
		cmp.Compare(bit(a.Taken), bit(b.Taken)), cmp.Compare(bit(a.Joined), bit(b.Joined)),
	)
}
