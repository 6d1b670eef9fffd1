package ledger

import (
	"context"
	"fmt"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// Counts says how many rows of the sheet are alike, after Match: what committing it
// would lead to. An operation that Match found to be new is Pending and not Taken.
func (im *Import) Counts(ctx context.Context) (all []Count, err error) {
	if err := im.at(stepMatched); err != nil {
		return nil, err
	}
	err = im.l.alone(ctx, func(c *conn) error {
		all, err = counts(c, `SELECT p.account, s.action, s.object, CASE WHEN b.status = ? THEN 1 ELSE 0 END AS invalid,
				CASE WHEN k.take IS NULL THEN 0 ELSE 1 END AS taken, coalesce(b.status, k.status, o.state, ?) AS state,
				CASE WHEN b.status IS NOT NULL THEN 0 ELSE coalesce(k.turn, ?) END AS turn,
				CASE WHEN k.head <> coalesce(k.take, s.ord + ?) THEN 1 ELSE 0 END AS member
			FROM import_row s JOIN import_person p ON p.id = s.person LEFT JOIN import_reject b ON b.ord = s.ord
				LEFT JOIN import_choice k ON k.ord = s.ord LEFT JOIN op o ON o.id = k.take`,
			statusInvalid, crm.Pending.Name(), int64(TurnNormal), im.base)
		return err
	})
	return all, err
}

// Counts says how many rows of the ledger's sheet are alike.
func (l *Ledger) Counts(ctx context.Context) (all []Count, err error) {
	err = l.read(ctx, func(c *conn) error {
		all, err = counts(c, `SELECT coalesce(a.name, '') AS account, coalesce(o.action, '') AS action, coalesce(o.object, '') AS object,
				CASE WHEN r.status = ? THEN 1 ELSE 0 END AS invalid, CASE WHEN o.seq > 0 THEN 1 ELSE 0 END AS taken,
				coalesce(r.status, o.state, ?) AS state, coalesce(o.turn, 0) AS turn, CASE WHEN o.head <> o.id THEN 1 ELSE 0 END AS member
			FROM `+l.rows()+` r LEFT JOIN op o ON o.id = r.op LEFT JOIN account a ON a.id = coalesce(o.account, r.account)`, statusInvalid, crm.Pending.Name())
		return err
	})
	return all, err
}

// counts adds up the rows of a query, in a fixed order.
func counts(c *conn, rows string, args ...any) (all []Count, err error) {
	err = c.query("SELECT account, action, object, invalid, taken, state, turn, member, count(*) AS n FROM ("+rows+`) x
		GROUP BY account, action, object, invalid, taken, state, turn, member ORDER BY account, action, object, invalid, state, turn, taken, member`, func(r row) error {
		n := Count{Account: r.text("account"), Object: r.text("object"), Invalid: r.bool("invalid"), Status: crm.Pending, Rows: r.int64("n")}
		n.Action, _ = crm.ParseAction(r.text("action"))
		var err error
		if !n.Invalid {
			n.Taken, n.Turn, n.Member = r.bool("taken"), Turn(r.int("turn")), r.bool("member")
			n.Status, err = r.state("state")
		}
		all = append(all, n)
		return err
	}, args...)
	if err != nil {
		return nil, fmt.Errorf("count the rows: %w", err)
	}
	return all, nil
}
