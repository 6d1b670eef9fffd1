package ledger

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
)

// mark says why a ledger is not to be worked on. It stands in meta, and is no part of the
// chain: the events are what they are wherever the ledger stands.
type mark string

// metaMark is the mark's name in meta. A ledger that is worked on has none.
const metaMark = "mark"

const (
	unmarked  mark = ""
	markCopy  mark = "copy"  // taken out of another place, or on its way to this one
	markMoved mark = "moved" // worked on elsewhere
)

// refusal is the error that a change is refused with, nil if it is not.
func (m mark) refusal() error {
	switch m {
	case unmarked:
		return nil
	case markCopy:
		return ErrCopy
	case markMoved:
		return ErrMoved
	}
	return fmt.Errorf("%w: it is marked %q", ErrNewer, string(m))
}

// Marked returns ErrCopy or ErrMoved if the ledger is not to be worked on, and nil if it is.
func (l *Ledger) Marked() error { return l.marked().refusal() }

func (l *Ledger) marked() mark {
	m, _ := l.mark.Load().(mark) // none is known while the ledger is being opened
	return m
}

func readMark(c *conn) (m mark, err error) {
	err = c.query("SELECT value FROM meta WHERE name = ?", func(r row) error {
		m = mark(r.text("value"))
		return nil
	}, metaMark)
	return m, err
}

func writeMark(c *conn, m mark) error {
	if m == unmarked {
		_, err := c.exec("DELETE FROM meta WHERE name = ?", metaMark)
		return err
	}
	return writeMeta(c, metaMark, string(m))
}

func writeMeta(c *conn, name, value string) error {
	_, err := c.exec("INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT ({{ledger}}name) DO UPDATE SET value = excluded.value", name, value)
	return err
}

// setMark marks the ledger, durably, if its chain still ends as at says. Where the mark
// shuts the ledger, it is shut for this process before, and stays so after an error.
func (l *Ledger) setMark(ctx context.Context, m mark, at ChainHead) error {
	if m != unmarked {
		l.mark.Store(m)
	}
	err := l.queue(ctx, l.job(ctx, nil, func(c *conn) error {
		now, err := headOf(c)
		if err != nil {
			return err
		}
		if now != at || len(c.end.events) > 0 {
			return errors.New("somebody has worked on it meanwhile: event " + now.String() + " has followed event " + at.String())
		}
		*c.end = end{} // the whole content may be another than this connection knows
		return writeMark(c, m)
	}, true))
	if err == nil {
		l.mark.Store(m)
	}
	return err
}

// changeAll is change for one that makes all of the ledger's content another, whatever its mark
// says.
func (l *Ledger) changeAll(ctx context.Context, do func(c *conn) error) error {
	if l.shared != nil {
		return l.shared.changeAlone(ctx, l.job(ctx, nil, do, true))
	}
	return l.alone(ctx, func(c *conn) error { return c.transact(func() error { return do(c) }) })
}

// ChainHead is where a chain of events ends.
type ChainHead struct {
	Seq  int64  // the number of the last event
	Hash string // its hash, in hexadecimal
}

func (h ChainHead) String() string { return fmt.Sprintf("%d (%s)", h.Seq, h.Hash) }

func headOf(c *conn) (ChainHead, error) {
	seq, hash, err := head(c)
	return ChainHead{seq, hex.EncodeToString(hash)}, err
}

// headNow is Head as one value.
func (l *Ledger) headNow(ctx context.Context) (at ChainHead, err error) {
	at.Seq, at.Hash, err = l.Head(ctx)
	return at, err
}

// within says whether a chain goes through that event.
func (h ChainHead) within(c *conn) (so bool, err error) {
	err = c.query("SELECT hash FROM event WHERE seq = ?", func(r row) error {
		so = hex.EncodeToString(r.bytes("hash")) == h.Hash
		return nil
	}, h.Seq)
	return so, err
}
