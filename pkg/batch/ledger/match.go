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

// Decide says what becomes of the rows of one target: one Choice per row. past is
// the target's history, the oldest first: every operation on it that was ever
// intended or settled, and one that is Pending again among them only if it was
// sent. rows are in sheet order.
//
// It is a pure rule. For a single row without history it is not asked: the answer
// is {Take: -1, Join: 0, Turn: TurnNormal}.
type Decide func(past []Past, rows []crm.Operation) []Choice

// group is the rows and the history that share a target's hash.
type group struct {
	rows []matchRow
	past []matchPast
}

type matchRow struct {
	ord     int64
	account string
	op      *crm.Operation // shared by equal rows that are read one after the other
	whole   bool
}

type matchPast struct {
	Past
	account string
	seq     int64
}

// groupBatch is how many operations are looked up at a time.
const groupBatch = 1000

// Match asks decide about every target of the sheet and keeps what it says for
// Counts and Adopt. It changes nothing durable. It is an error if decide's answer
// does not fit its question.
func (s *Stage) Match(ctx context.Context, decide Decide) error {
	if err := s.at(stepIndexed); err != nil {
		return err
	}
	if err := s.l.alone(ctx, func(c *conn) (err error) {
		if s.base, err = c.count("SELECT max(id) FROM op"); err != nil {
			return err
		}
		if err := c.once("DELETE FROM sgot; DELETE FROM shist"); err != nil { // of an attempt that was cut short
			return err
		}
		_, err = c.execContext(ctx, "INSERT INTO shist (target, seq, op) SELECT target, seq, id FROM op WHERE seq > 0 ORDER BY target, seq")
		return err
	}); err != nil {
		return fmt.Errorf("match the sheet: %w", err)
	}
	s.counts = maps.Clone(s.indexed)
	m := &merge{s: s, pairs: make([]twosome, 0, min(s.base, mostPairs))}
	for !m.ended {
		if err := s.matchSome(ctx, m, decide); err != nil {
			return fmt.Errorf("match the sheet: %w", err)
		}
	}
	// Sorted once, the choices cost a fraction of being put in place one by one.
	if err := s.l.alone(ctx, func(c *conn) error {
		return c.temporary(func() error {
			if _, err := c.execContext(ctx, "INSERT INTO spick SELECT * FROM sgot ORDER BY ord"); err != nil {
				return err
			}
			return c.once("DELETE FROM sgot; DELETE FROM shist")
		})
	}); err != nil {
		return fmt.Errorf("match the sheet: %w", err)
	}
	s.step = stepMatched
	return nil
}

// matchSome goes on with the merge until it has many pairs of a row and its only
// past, decides about what is not such a pair on the way, and about the pairs in
// sheet order, so that what belongs to them is read from front to back.
func (s *Stage) matchSome(ctx context.Context, m *merge, decide Decide) error {
	m.pairs = m.pairs[:0]
	for !m.ended && len(m.pairs) < mostPairs {
		if err := s.l.alone(ctx, func(c *conn) error {
			batch, err := m.next(c)
			if err != nil {
				return err
			}
			return s.decideAll(c, m, batch, decide)
		}); err != nil {
			return err
		}
	}
	slices.SortFunc(m.pairs, func(a, b twosome) int { return cmp.Compare(a.ord, b.ord) })
	for some := range slices.Chunk(m.pairs, groupBatch) {
		if err := s.l.alone(ctx, func(c *conn) error {
			batch := make([]*group, len(some))
			for i, p := range some {
				batch[i] = &group{
					rows: []matchRow{{ord: int64(p.ord), whole: p.whole}}, past: []matchPast{{Past: Past{ID: p.op}}},
				}
			}
			return s.decideAll(c, m, batch, decide)
		}); err != nil {
			return err
		}
	}
	return nil
}

// decideAll asks about the groups and keeps the answers.
func (s *Stage) decideAll(c *conn, m *merge, batch []*group, decide Decide) error {
	if err := m.load(c, batch); err != nil {
		return err
	}
	return c.temporary(func() error {
		for _, g := range batch {
			if err := s.decide(c, g, decide); err != nil {
				return err
			}
		}
		return nil
	})
}

// twosome is a row and the only operation in its target's history.
type twosome struct {
	op    int64
	ord   uint32
	whole bool
}

// mostPairs bounds the pairs that are held in memory to be sorted: 4 MB. They come by
// hash, so that the more there are, the closer together their rows lie.
const mostPairs = 1 << 18

// merge walks through the sheet's targets and the history's side by side, both
// sorted by hash, and picks those that must be decided about.
type merge struct {
	s     *Stage
	rows  lane // target and ordinal
	past  lane // target and place in the sorted history, with the operation's id
	pairs []twosome
	ended bool
}

// lane is a sorted stream read page by page.
type lane struct {
	page   []entry
	target int64 // of the last entry read
	second int64 // ordinal or place of the last entry read
	begun  bool
}

type entry struct{ target, second, op int64 }

const (
	rowLane = `SELECT target, ord, whole FROM slane
		WHERE (target, ord) > (?, ?) ORDER BY target, ord LIMIT 5000`
	pastLane = `SELECT target, n, op FROM shist WHERE target >= ? AND n > ? ORDER BY n LIMIT 5000`
)

// peek returns the next entry, which stays; ok is false at the end.
func (n *lane) peek(c *conn, query string) (e entry, ok bool, err error) {
	if len(n.page) == 0 {
		if !n.begun {
			n.target, n.begun = -1<<63, true
		}
		if err := c.query(query, func(v []driver.Value) error {
			n.page = append(n.page, entry{integer(v[0]), integer(v[1]), integer(v[2])})
			return nil
		}, n.target, n.second); err != nil || len(n.page) == 0 {
			return entry{}, false, err
		}
		last := n.page[len(n.page)-1]
		n.target, n.second = last.target, last.second
	}
	return n.page[0], true, nil
}

// take collects the entries of the target.
func (n *lane) take(c *conn, query string, target int64) (all []entry, err error) {
	for {
		e, ok, err := n.peek(c, query)
		if err != nil || !ok || e.target > target {
			return all, err
		}
		if e.target == target {
			all = append(all, e)
		}
		n.page = n.page[1:]
	}
}

// next returns the next groups to decide about, with the ordinals of their rows
// and the ids of their history. Pairs it keeps for later.
func (m *merge) next(c *conn) (batch []*group, err error) {
	for n := 0; n < groupBatch && !m.ended && len(m.pairs) < mostPairs; {
		e, ok, err := m.rows.peek(c, rowLane)
		if err != nil || !ok {
			m.ended = true
			return batch, err
		}
		g, err := m.group(c, e.target)
		if err != nil {
			return nil, err
		}
		if len(g.rows) == 1 && len(g.past) < 2 {
			if len(g.past) == 1 {
				m.pairs = append(m.pairs, twosome{g.past[0].ID, uint32(g.rows[0].ord), g.rows[0].whole})
			}
			continue
		}
		n += len(g.rows) + len(g.past)
		batch = append(batch, &g)
	}
	return batch, nil
}

func (m *merge) group(c *conn, target int64) (group, error) {
	rows, err := m.rows.take(c, rowLane, target)
	if err != nil {
		return group{}, err
	}
	past, err := m.past.take(c, pastLane, target)
	if err != nil {
		return group{}, err
	}
	g := group{rows: make([]matchRow, len(rows))}
	for i, r := range rows {
		g.rows[i] = matchRow{ord: r.second, whole: r.op != 0}
	}
	for _, p := range past {
		g.past = append(g.past, matchPast{Past: Past{ID: p.op}})
	}
	if !m.s.all {
		return g, nil
	}
	// A record that becomes whole with this sheet has its history under other targets.
	err = c.query("SELECT op FROM spast WHERE target = ?", func(v []driver.Value) error {
		id := integer(v[0])
		if !slices.ContainsFunc(g.past, func(p matchPast) bool { return p.ID == id }) {
			g.past = append(g.past, matchPast{Past: Past{ID: id}})
		}
		return nil
	}, target)
	return g, err
}

// load fills in the operations of the groups.
func (m *merge) load(c *conn, batch []*group) error {
	rows, past := make(map[int64]*matchRow), make(map[int64]*matchPast)
	for _, g := range batch {
		for i := range g.rows {
			rows[g.rows[i].ord] = &g.rows[i]
		}
		for i := range g.past {
			past[g.past[i].ID] = &g.past[i]
		}
	}
	var ops lastOp
	err := eachID(c, listed{"s.ord, w.account, s.op, w.user", "srow s", "s.ord", "CROSS JOIN swho w ON w.id = s.who"}, rows, func(r *matchRow, v []driver.Value) (err error) {
		r.account, r.op, err = ops.unpack(text(v[1]), blob(v[2]), text(v[3]))
		return err
	})
	if err != nil {
		return err
	}
	return eachID(c, listed{"o.id, a.name, o.body, o.user, o.state, o.maybe, o.seq, o.prior", "op o", "o.id", "CROSS JOIN account a ON a.id = o.account"}, past, func(p *matchPast, v []driver.Value) error {
		p.State, p.Maybe, p.seq, p.Prior = State(integer(v[4])), truth(v[5]), integer(v[6]), crm.Prior(integer(v[7]))
		account, op, err := ops.unpack(text(v[1]), blob(v[2]), text(v[3]))
		if err == nil {
			p.account, p.Op = account, *op
		}
		return err
	})
}

// lastOp is the operation that was unpacked last: of a million equal rows, one is kept.
type lastOp struct {
	account, body, user string
	op                  *crm.Operation
}

// unpack returns an operation, which must not be changed, with the account's name.
func (l *lastOp) unpack(account string, body []byte, user string) (string, *crm.Operation, error) {
	if l.op == nil || l.account != account || l.body != string(body) || l.user != user {
		op, err := unpackOp(body, user)
		if err != nil {
			return "", nil, err
		}
		*l = lastOp{account, string(body), user, &op}
	}
	return l.account, l.op, nil
}

// decide asks about each true target in the group and keeps the answers.
func (s *Stage) decide(c *conn, g *group, decide Decide) error {
	for len(g.rows) > 0 {
		var t group
		t, *g = g.split()
		if len(t.rows) == 1 && len(t.past) == 0 {
			continue
		}
		past, rows := make([]Past, len(t.past)), make([]crm.Operation, len(t.rows))
		for i, p := range t.past {
			past[i] = p.Past
		}
		for i, r := range t.rows {
			rows[i] = *r.op
		}
		choices := decide(past, rows)
		if err := fits(choices, len(past), len(rows)); err != nil {
			return fmt.Errorf("row %d: %w", t.rows[0].ord, err)
		}
		if err := s.keep(c, t, choices); err != nil {
			return err
		}
	}
	return nil
}

// split takes the first row's target out of the group. Targets that only share a
// hash stay.
func (g group) split() (one, rest group) {
	first := g.rows[0]
	same := func(account string, op crm.Operation) bool {
		a, b := first.op.Target(), op.Target()
		if first.whole {
			a, b = a.Whole(), b.Whole()
		}
		return account == first.account && a == b
	}
	other := func(r matchRow) bool { return !same(r.account, *r.op) || r.whole != first.whole }
	otherPast := func(p matchPast) bool { return !same(p.account, p.Op) }
	if !slices.ContainsFunc(g.rows, other) && !slices.ContainsFunc(g.past, otherPast) {
		one = g // as nearly all are: nothing is copied
	} else {
		for _, r := range g.rows {
			if other(r) {
				rest.rows = append(rest.rows, r)
			} else {
				one.rows = append(one.rows, r)
			}
		}
		for _, p := range g.past {
			if otherPast(p) {
				rest.past = append(rest.past, p)
			} else {
				one.past = append(one.past, p)
			}
		}
	}
	slices.SortFunc(one.past, func(a, b matchPast) int { return cmp.Compare(a.seq, b.seq) })
	return one, rest
}

// fits checks an answer of decide.
func fits(choices []Choice, past, rows int) error {
	if len(choices) != rows {
		return fmt.Errorf("%d choices for %d rows", len(choices), rows)
	}
	taken := make([]bool, past)
	for i, ch := range choices {
		switch {
		case ch.Take < -1 || ch.Take >= past || ch.Take >= 0 && taken[ch.Take]:
			return fmt.Errorf("row %d of the target takes the past operation %d of %d, or one twice", i, ch.Take, past)
		case ch.Join < 0 || ch.Join > i || choices[ch.Join].Join != ch.Join:
			return fmt.Errorf("row %d of the target joins row %d", i, ch.Join)
		case ch.Turn > TurnLate:
			return fmt.Errorf("row %d of the target has turn %d", i, ch.Turn)
		}
		if ch.Take >= 0 {
			taken[ch.Take] = true
		}
	}
	return nil
}

func (s *Stage) keep(c *conn, t group, choices []Choice) error {
	ids, joined := make([]int64, len(choices)), make([]int64, len(choices))
	for i, ch := range choices {
		ids[i] = s.base + t.rows[i].ord
		if ch.Take >= 0 {
			ids[i] = t.past[ch.Take].ID
		}
		joined[ch.Join]++
	}
	for i, ch := range choices {
		var take driver.Value
		if ch.Take >= 0 {
			take = ids[i]
		}
		if _, err := c.exec("INSERT INTO sgot (ord, take, lead, rows, turn, prior) VALUES (?, ?, ?, ?, ?, ?)",
			t.rows[i].ord, take, ids[ch.Join], joined[i], int64(choices[ch.Join].Turn), int64(ch.Prior)); err != nil {
			return err
		}
		kind := plain(t.rows[i].account, *t.rows[i].op)
		s.counts[kind]--
		if kind.Turn, kind.Joined = choices[ch.Join].Turn, ch.Join != i; ch.Take >= 0 {
			kind.Taken, kind.State = true, t.past[ch.Take].State
		}
		s.counts[kind]++
	}
	return nil
}
