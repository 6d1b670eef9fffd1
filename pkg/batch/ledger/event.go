package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql/driver"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"iter"
	"time"
)

const hashSize = sha256.Size

// eventHash is SHA-256 over the hash before, the number, the time in milliseconds,
// and the kind and body with their lengths before them, so that no two events are
// the same bytes.
func eventHash(prev []byte, seq, at int64, kind, body string) []byte {
	h := sha256.New()
	h.Write(prev)
	write64(h, seq)
	write64(h, at)
	write64(h, int64(len(kind)))
	h.Write([]byte(kind))
	write64(h, int64(len(body)))
	h.Write([]byte(body))
	return h.Sum(nil)
}

func write64(h hash.Hash, n int64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(n))
	h.Write(b[:])
}

// appendEvent adds an event to the chain, in the transaction that makes true what
// it says.
func appendEvent(c *conn, at time.Time, kind string, body any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	seq, prev, err := head(c)
	if err != nil {
		return err
	}
	seq++
	ms := at.UnixMilli()
	sum := eventHash(prev, seq, ms, kind, string(raw))
	if _, err := c.exec("INSERT INTO event (seq, at, kind, body, prev, hash) VALUES (?, ?, ?, ?, ?, ?)",
		seq, ms, kind, string(raw), prev, sum); err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	if _, err := c.exec("UPDATE head SET event = ?, hash = ? WHERE id = 1", seq, sum); err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	return nil
}

// head reads the end of the chain as it was last written down.
func head(c *conn) (seq int64, hash []byte, err error) {
	found := false
	err = c.query("SELECT event, hash FROM head WHERE id = 1", func(v []driver.Value) error {
		seq, hash, found = integer(v[0]), blob(v[1]), true
		return nil
	})
	if err == nil && (!found || len(hash) != hashSize) {
		err = fmt.Errorf("%w: the end of the event chain is not written down", ErrDamaged)
	}
	return seq, hash, err
}

// checkHead compares the last event with the end of the chain as written down.
func checkHead(c *conn) error {
	last, sum := int64(0), make([]byte, hashSize)
	if err := c.query("SELECT seq, at, kind, body, prev FROM event ORDER BY seq DESC LIMIT 1", func(v []driver.Value) error {
		last = integer(v[0])
		sum = eventHash(blob(v[4]), last, integer(v[1]), text(v[2]), text(v[3]))
		return nil
	}); err != nil {
		return err
	}
	return checkEnd(c, last, sum)
}

// Head returns the number and the hash, in hexadecimal, of the last event. Kept
// elsewhere, they prove later that nothing before them was changed.
func (l *Ledger) Head(ctx context.Context) (seq int64, hash string, err error) {
	err = l.read(ctx, func(c *conn) error {
		n, h, err := head(c)
		seq, hash = n, hex.EncodeToString(h)
		return err
	})
	return seq, hash, err
}

// VerifyChain reads every event and returns a *ChainError for the first that was
// changed, taken out, put in, swapped or cut off since it was written.
func (l *Ledger) VerifyChain(ctx context.Context) error {
	prev, next, end := make([]byte, hashSize), int64(1), false
	for !end {
		err := l.read(ctx, func(c *conn) error {
			return c.snapshot(func() error {
				n := 0
				if err := c.query(`SELECT seq, at, kind, body, prev, hash FROM event
					WHERE seq >= ? ORDER BY seq LIMIT 1000`, func(v []driver.Value) error {
					if err := checkLink(v, next, prev); err != nil {
						return err
					}
					prev, next, n = blob(v[5]), next+1, n+1
					return nil
				}, next); err != nil || n > 0 {
					return err
				}
				end = true
				return checkEnd(c, next-1, prev)
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// checkEnd compares the last event read with the end as it was written down.
func checkEnd(c *conn, last int64, sum []byte) error {
	seq, hash, err := head(c)
	switch {
	case err != nil:
		return err
	case last < seq:
		return &ChainError{last + 1, "it is missing at the end"}
	case last > seq:
		return &ChainError{seq + 1, "it was added by somebody else"}
	case !bytes.Equal(sum, hash):
		return &ChainError{seq, "it is not what was written"}
	}
	return nil
}

func checkLink(v []driver.Value, next int64, prev []byte) error {
	seq := integer(v[0])
	switch {
	case seq != next:
		return &ChainError{next, "it is missing"}
	case !bytes.Equal(blob(v[4]), prev):
		return &ChainError{seq, "it does not follow the one before"}
	case !bytes.Equal(blob(v[5]), eventHash(prev, seq, integer(v[1]), text(v[2]), text(v[3]))):
		return &ChainError{seq, "it is not what was written"}
	}
	return nil
}

// Events streams the chain from the event after the given number on, 0 for all.
func (l *Ledger) Events(ctx context.Context, after int64) iter.Seq2[Event, error] {
	return paged(ctx, l.read, func() pager[Event] {
		after := after
		return func(c *conn, page []Event) ([]Event, error) {
			err := c.query("SELECT seq, at, kind, body, prev, hash FROM event WHERE seq > ? ORDER BY seq LIMIT 500", func(v []driver.Value) error {
				after = integer(v[0])
				page = append(page, Event{
					Seq: after, At: instant(v[1]), Kind: text(v[2]), Body: json.RawMessage(text(v[3])),
					Prev: hex.EncodeToString(blob(v[4])), Hash: hex.EncodeToString(blob(v[5])),
				})
				return nil
			}, after)
			return page, err
		}
	})
}
