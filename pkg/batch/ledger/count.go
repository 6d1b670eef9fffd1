package ledger

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// kind is what rows are counted by before anything else is known of them.
type kind struct {
	account string
	action  crm.Action
	object  string
}

func kindOf(account string, op crm.Operation) kind {
	return kind{plain(account), op.Action, plain(op.Object)}
}

// Counts says how many rows of the sheet are alike, after Match: what committing it
// would lead to. An operation that Match found to be new is Pending and not Taken.
func (im *Import) Counts(ctx context.Context) (all []Count, err error) {
	if err := im.at(stepMatched); err != nil {
		return nil, err
	}
	found, fresh := maps.Clone(im.chosen), maps.Clone(im.kinds) // fresh are the rows of which nothing else is said
	for n, rows := range found {
		fresh[kind{n.Account, n.Action, n.Object}] -= rows
	}
	err = im.l.alone(ctx, func(c *conn) error {
		return c.query(`SELECT p.account, s.action, s.object, b.status, count(*) AS n
			FROM import_reject b JOIN import_row s ON s.ord = b.ord JOIN import_person p ON p.id = s.person
			GROUP BY p.account, s.action, s.object, b.status`, func(r row) (err error) {
			n := Count{Account: r.text("account"), Object: r.text("object"), Invalid: r.text("status") == statusInvalid, Status: crm.Pending}
			n.Action, _ = crm.ParseAction(r.text("action"))
			if !n.Invalid {
				n.Status, err = r.state("status")
			}
			found[n] += r.int64("n")
			fresh[kind{n.Account, n.Action, n.Object}] -= r.int64("n")
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("count the rows: %w", err)
	}
	for k, rows := range fresh {
		if rows > 0 {
			found[Count{Account: k.account, Action: k.action, Object: k.object, Status: crm.Pending, Turn: TurnNormal}] += rows
		}
	}
	for n, rows := range found {
		n.Rows = rows
		all = append(all, n)
	}
	slices.SortFunc(all, func(a, b Count) int {
		return cmp.Or(strings.Compare(a.Account, b.Account), strings.Compare(a.Action.String(), b.Action.String()), strings.Compare(a.Object, b.Object),
			cmp.Compare(bit(a.Invalid), bit(b.Invalid)), strings.Compare(a.Status.Name(), b.Status.Name()), cmp.Compare(a.Turn, b.Turn),
			cmp.Compare(bit(a.Taken), bit(b.Taken)), cmp.Compare(bit(a.Member), bit(b.Member)))
	})
	return all, nil
}

// countOf says what a row counts as for which Match has decided.
func countOf(past []Entry, e Entry, ch Choice, turn Turn, member bool) Count {
	k := kindOf(e.Account, *e.Op)
	n := Count{Account: k.account, Action: k.action, Object: k.object, Status: crm.Pending, Turn: turn, Member: member}
	if ch.Take >= 0 {
		n.Taken, n.Status = true, past[ch.Take].Status
	}
	if ch.Hold != nil {
		n.Status = ch.Hold.Status
	}
	return n
}

// Counts says how many rows of the ledger's sheet are alike.
func (l *Ledger) Counts(ctx context.Context) (all []Count, err error) {
	err = l.read(ctx, func(c *conn) error {
		return c.query(`SELECT account, action, object, invalid, taken, state, turn, member, count(*) AS n FROM (SELECT coalesce(a.name, '') AS account, coalesce(o.action, '') AS action, coalesce(o.object, '') AS object,
				CASE WHEN r.status = ? THEN 1 ELSE 0 END AS invalid, CASE WHEN o.seq > 0 THEN 1 ELSE 0 END AS taken,
				coalesce(r.status, o.state, ?) AS state, coalesce(o.turn, 0) AS turn, CASE WHEN o.head <> o.id THEN 1 ELSE 0 END AS member
			FROM `+l.rows()+` r LEFT JOIN op o ON o.id = r.op LEFT JOIN account a ON a.id = coalesce(o.account, r.account)) x
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
		}, statusInvalid, crm.Pending.Name())
	})
	if err != nil {
		return nil, fmt.Errorf("count the rows: %w", err)
	}
	return all, nil
}
