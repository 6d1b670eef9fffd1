package ledger

import (
	"cmp"
	"context"
	"database/sql/driver"
	"fmt"
	"maps"
	"slices"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// plain is the tally of a row that is simply new: of most rows, most of the time.
func plain(account string, op crm.Operation) Tally {
	return Tally{Account: account, Action: op.Action, Object: op.Object, State: Pending, Turn: TurnNormal}
}

// Counts says how many rows of the staged sheet are alike, after Match: what
// adopting it would lead to. An operation that Match found to be new is Pending
// and not Taken.
func (s *Stage) Counts(ctx context.Context) ([]Tally, error) {
	if err := s.at(stepMatched); err != nil {
		return nil, err
	}
	counts := maps.Clone(s.counts)
	some := false
	if err := s.l.alone(ctx, func(c *conn) (err error) {
		some, err = someInvalid(c)
		return err
	}); err != nil || !some {
		return sorted(counts), err
	}
	// Rows may have become invalid after they were indexed.
	for _, q := range []string{staleTally, invalidTally} {
		step := int64(1)
		if q == staleTally {
			step = -1
		}
		if err := tally(ctx, s.l.alone, fmt.Sprintf(q, s.base), counts, step); err != nil {
			return nil, err
		}
	}
	return sorted(counts), nil
}

// Counts says how many rows of the adopted sheet are alike. It reads every row.
func (l *Ledger) Counts(ctx context.Context) ([]Tally, error) {
	counts := make(map[Tally]int64)
	if err := tally(ctx, l.read, fmt.Sprintf(`SELECT r.ord, a.name, o.body, o.id IS NULL, o.seq > 0, o.state, o.turn, o.lead <> o.id
		FROM %s r LEFT JOIN op o ON o.id = r.op LEFT JOIN account a ON a.id = coalesce(o.account, r.account)
		WHERE r.ord > ? ORDER BY r.ord LIMIT ?`, l.rows()), counts, 1); err != nil {
		return nil, err
	}
	return sorted(counts), nil
}

// The invalid rows of the staged sheet: as they were counted, if they were indexed;
// and as they are.
const (
	staleTally = `SELECT s.ord, w.account, s.op, 0, p.take IS NOT NULL,
		coalesce(o.state, 0), coalesce(p.turn, 2), coalesce(p.lead <> coalesce(p.take, s.ord + %d), 0)
		FROM srow s CROSS JOIN swho w ON w.id = s.who CROSS JOIN skey k ON k.ord = s.ord
		LEFT JOIN spick p ON p.ord = s.ord LEFT JOIN op o ON o.id = p.take
		WHERE s.ord > ? AND (s.bad = 1 OR w.code IS NOT NULL) ORDER BY s.ord LIMIT ?`
	invalidTally = `SELECT s.ord, w.account, s.op, 1, 0, 0, 0, 0 * %d FROM srow s CROSS JOIN swho w ON w.id = s.who
		WHERE s.ord > ? AND (s.bad = 1 OR w.code IS NOT NULL) ORDER BY s.ord LIMIT ?`
)

// tally adds step to the count of what the query says of each row: ordinal, account,
// operation, invalid, taken, state, turn, joined.
func tally(ctx context.Context, read func(context.Context, func(*conn) error) error, query string, counts map[Tally]int64, step int64) error {
	after, last := int64(0), int64(-1)
	for after != last {
		last = after
		err := read(ctx, func(c *conn) error {
			return c.query(query, func(v []driver.Value) error {
				after = integer(v[0])
				t, err := tallyOf(v)
				counts[t] += step
				return err
			}, after, int64(10*pageRows))
		})
		if err != nil {
			return fmt.Errorf("count the rows: %w", err)
		}
	}
	return nil
}

// sorted lists the counts in a fixed order, without those of nothing.
func sorted(counts map[Tally]int64) []Tally {
	all := make([]Tally, 0, len(counts))
	for t, n := range counts {
		if t.Rows = n; n != 0 {
			all = append(all, t)
		}
	}
	slices.SortFunc(all, compareTallies)
	return all
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
