package ledger

import (
	"database/sql/driver"
	"fmt"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// member is a row of a leader: its own, or one that goes with it.
type member struct {
	id  int64
	seq int64 // its place in the history, 0 if it has none
}

// party is a leader with the rows that go with it, in sheet order.
type party struct {
	op      crm.Operation
	account string
	members []member
	lines   []int
}

// single says whether an operation that the caller knows is the leader with that id
// and goes by itself, so that nothing about it has to be read.
func single(known *Op, id int64) bool { return known != nil && known.ID == id && known.Rows == 1 }

// partyOf reads a leader and its rows. Any other id is ErrUnknownOp.
func partyOf(c *conn, id int64) (party, error) {
	var p party
	rows := int64(0)
	add := func(v []driver.Value) {
		p.members = append(p.members, member{integer(v[0]), integer(v[1])})
		if v[2] != nil {
			p.lines = append(p.lines, int(integer(v[2])))
		}
	}
	err := c.query(`SELECT o.id, o.seq, r.line, o.rows, o.body, o.user, a.name FROM op o JOIN account a ON a.id = o.account
		LEFT JOIN row r ON r.ord = o.ord AND r.op = o.id WHERE o.id = ? AND o.lead = o.id`, func(v []driver.Value) (err error) {
		add(v)
		rows, p.account = integer(v[3]), text(v[6])
		p.op, err = unpackOp(blob(v[4]), text(v[5]))
		return err
	}, id)
	if err == nil && len(p.members) == 0 {
		err = unknownOp(id)
	}
	if err != nil || rows < 2 {
		return p, err
	}
	return p, c.query(`SELECT o.id, o.seq, r.line FROM op o INDEXED BY op_follow
		LEFT JOIN row r ON r.ord = o.ord AND r.op = o.id
		WHERE o.lead = ? AND o.open = 1 AND o.lead <> o.id ORDER BY o.ord`, func(v []driver.Value) error {
		add(v)
		return nil
	}, id)
}

func unknownOp(id int64) error { return fmt.Errorf("%w: %d", ErrUnknownOp, id) }

// exactlyOne checks that a change of a leader has found it.
func exactlyOne(id, changed int64, err error) error {
	if err == nil && changed != 1 {
		return unknownOp(id)
	}
	return err
}
