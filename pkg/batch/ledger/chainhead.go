package ledger

import (
	"fmt"
)

// end is where the chain of events and the count of the history end, and which run
// goes on. The writer keeps it in memory, because it alone changes the file, and
// writes it down once in a transaction, however many events that has.
type end struct {
	known bool // the rest has been read
	dirty bool // the rest has moved since it was written down

	events []newEvent // that are not written down yet

	event int64 // the number of the last event
	hash  [hashSize]byte
	opseq int64 // the last place given in the history
	run   int64 // the run that goes on, 0 before the first
}

// theEnd returns the end, read if need be, for a transaction to move on.
func (c *conn) theEnd() (*end, error) {
	e := &c.end
	if e.known {
		return e, nil
	}
	event, hash, err := head(c)
	if err != nil {
		return nil, err
	}
	if e.opseq, err = c.count("SELECT opseq AS n FROM head WHERE id = 1"); err != nil {
		return nil, err
	}
	if e.run, err = c.count("SELECT max(id) AS n FROM run"); err != nil {
		return nil, err
	}
	e.event, e.known = event, true
	copy(e.hash[:], hash)
	return e, nil
}

// saveEnd writes the events and the end down if it has moved.
func (c *conn) saveEnd() error {
	if !c.end.dirty {
		return nil
	}
	e := &c.end
	if err := c.insert("event", "seq, at, kind, body, prev, hash", len(e.events), func(args []any, i int) []any {
		n := &e.events[i]
		return append(args, n.seq, n.at, n.kind, n.body, n.prev[:], n.hash[:])
	}); err != nil {
		return fmt.Errorf("write events: %w", err)
	}
	clear(e.events)
	e.events = e.events[:0]
	if _, err := c.exec("UPDATE head SET event = ?, hash = ?, opseq = ? WHERE id = 1", e.event, e.hash[:], e.opseq); err != nil {
		return fmt.Errorf("write down the end of the events: %w", err)
	}
	e.dirty = false
	return nil
}

// takeSeqs reserves n places in the history and returns the first.
func takeSeqs(c *conn, n int) (int64, error) {
	e, err := c.theEnd()
	if err != nil {
		return 0, err
	}
	e.opseq += int64(n)
	e.dirty = true
	return e.opseq - int64(n) + 1, nil
}

// head reads the end of the chain as it was last written down.
func head(c *conn) (seq int64, hash []byte, err error) {
	found := false
	err = c.query("SELECT event, hash FROM head WHERE id = 1", func(r row) error {
		seq, hash, found = r.int64("event"), r.bytes("hash"), true
		return nil
	})
	if err == nil && (!found || len(hash) != hashSize) {
		err = fmt.Errorf("%w: the end of the event chain is not written down", ErrDamaged)
	}
	return seq, hash, err
}
