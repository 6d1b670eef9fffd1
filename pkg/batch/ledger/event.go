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
	"iter"
	"time"
)

const hashSize = sha256.Size

// The kinds of events that tell of operations.
const (
	kindIntent  = "intent"
	kindOutcome = "outcome"
	kindConfirm = "confirm"
)

// eventHash is SHA-256 over the hash before, the number, the time in milliseconds,
// and the kind and body with their lengths before them, so that no two events are
// the same bytes.
func eventHash[body string | []byte](prev []byte, seq, at int64, kind string, text body) [hashSize]byte {
	var room [1024]byte
	b := append(room[:0], prev...)
	b = binary.BigEndian.AppendUint64(b, uint64(seq))
	b = binary.BigEndian.AppendUint64(b, uint64(at))
	b = binary.BigEndian.AppendUint64(b, uint64(len(kind)))
	b = append(b, kind...)
	b = binary.BigEndian.AppendUint64(b, uint64(len(text)))
	b = append(b, text...)
	return sha256.Sum256(b)
}

// appendEvent adds an event to the chain, in the transaction that makes true what
// it says.
func appendEvent(c *conn, at time.Time, kind string, body any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	return appendTold(c, at, kind, raw)
}

// appendTold is appendEvent for a body that is JSON already.
func appendTold(c *conn, at time.Time, kind string, body []byte) error {
	e, err := c.theEnd()
	if err != nil {
		return err
	}
	seq, ms := e.event+1, at.UnixMilli()
	sum := eventHash(e.hash[:], seq, ms, kind, body)
	if _, err := c.exec("INSERT INTO event (seq, at, kind, body, prev, hash) VALUES (?, ?, ?, ?, ?, ?)",
		seq, ms, kind, telling(body), e.hash[:], sum[:]); err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	e.event, e.hash, e.dirty = seq, sum, true
	return nil
}

// checkHead compares the last event with the end of the chain as written down.
func checkHead(c *conn) error {
	last, sum := int64(0), [hashSize]byte{}
	if err := c.query("SELECT seq, at, kind, body, prev FROM event ORDER BY seq DESC LIMIT 1", func(v []driver.Value) error {
		last = integer(v[0])
		sum = eventHash(blob(v[4]), last, integer(v[1]), text(v[2]), text(v[3]))
		return nil
	}); err != nil {
		return err
	}
	return checkEnd(c, last, sum[:])
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
		return &ChainError{Seq: last + 1, Reason: "it is missing at the end"}
	case last > seq:
		return &ChainError{Seq: seq + 1, Reason: "it was added by somebody else"}
	case !bytes.Equal(sum, hash):
		return &ChainError{Seq: seq, Reason: "it is not what was written"}
	}
	return nil
}

func checkLink(v []driver.Value, next int64, prev []byte) error {
	seq := integer(v[0])
	switch {
	case seq != next:
		return &ChainError{Seq: next, Reason: "it is missing"}
	case !bytes.Equal(blob(v[4]), prev):
		return &ChainError{Seq: seq, Reason: "it does not follow the one before"}
	}
	if sum := eventHash(prev, seq, integer(v[1]), text(v[2]), text(v[3])); !bytes.Equal(blob(v[5]), sum[:]) {
		return &ChainError{Seq: seq, Reason: "it is not what was written"}
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
