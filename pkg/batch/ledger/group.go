package ledger

import "fmt"

// member is a row of a group: the head, or one that goes with it.
type member struct {
	id  int64
	seq int64 // its place in the history, 0 if it has none
}

// group is a head with the rows that go with it, in sheet order.
type group struct {
	Op
	members []member
	lines   []int
}

// groupOf reads the members of a head.
func groupOf(c *conn, head Op) (group, error) {
	g := group{Op: head, members: []member{{head.ID, head.Seq}}, lines: []int{}}
	if head.Line > 0 {
		g.lines = append(g.lines, head.Line)
	}
	if head.Rows < 2 {
		return g, nil
	}
	seq, err := c.count("SELECT seq AS n FROM op WHERE id = ?", head.ID)
	if err != nil {
		return g, err
	}
	g.members[0].seq = seq
	err = c.query(`SELECT o.id, o.seq, s.line FROM op o LEFT JOIN sheet_row s ON s.ord = o.ord AND s.op = o.id
		WHERE o.head = ? AND o.open = 1 AND o.head <> o.id ORDER BY o.ord`, func(r row) error {
		g.members = append(g.members, member{r.int64("id"), r.int64("seq")})
		if !r.null("line") {
			g.lines = append(g.lines, r.int("line"))
		}
		return nil
	}, head.ID)
	return g, err
}

// event tells of the group.
func (g group) event() eventRow {
	r := eventRowOf(g.Operation)
	r.Lines, r.Ops = g.lines, opsText(g.members)
	return r
}

// exactlyOne checks that a change of an operation has found it.
func exactlyOne(id, changed int64, err error) error {
	if err == nil && changed != 1 {
		return fmt.Errorf("%w: %d", ErrUnknownOp, id)
	}
	return err
}
