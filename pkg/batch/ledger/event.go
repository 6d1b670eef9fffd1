package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"time"
)

const hashSize = sha256.Size

// eventHash is SHA-256 over the hash before, the number, the time in milliseconds,
// and the kind and body with their lengths before them, so that no two events are
// the same bytes.
func eventHash(prev []byte, seq, at int64, kind, text string) [hashSize]byte {
	b := append(make([]byte, 0, 1024), prev...)
	b = binary.BigEndian.AppendUint64(b, uint64(seq))
	b = binary.BigEndian.AppendUint64(b, uint64(at))
	b = binary.BigEndian.AppendUint64(b, uint64(len(kind)))
	b = append(b, kind...)
	b = binary.BigEndian.AppendUint64(b, uint64(len(text)))
	b = append(b, text...)
	return sha256.Sum256(b)
}

// newEvent is an event that its transaction writes down when it ends.
type newEvent struct {
	seq, at    int64
	kind, body string
	prev, hash [hashSize]byte
}

// appendEvent adds an event to the chain, in the transaction that makes true what
// it says.
func appendEvent(c *conn, at time.Time, kind string, body any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	e, err := c.theEnd()
	if err != nil {
		return err
	}
	seq, ms := e.event+1, at.UnixMilli()
	sum := eventHash(e.hash[:], seq, ms, kind, string(raw))
	e.events = append(e.events, newEvent{seq, ms, kind, string(raw), e.hash, sum})
	e.event, e.hash, e.dirty = seq, sum, true
	return nil
}

// checkHead compares the last event with the end of the chain as written down.
func checkHead(c *conn) error {
	last, sum := int64(0), [hashSize]byte{}
	if err := c.query("SELECT seq, at, kind, body, prev FROM event ORDER BY seq DESC LIMIT 1", func(r row) error {
		last = r.int64("seq")
		sum = eventHash(r.bytes("prev"), last, r.int64("at"), r.text("kind"), r.text("body"))
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
					WHERE seq >= ? ORDER BY seq LIMIT 1000`, func(r row) error {
					if err := checkLink(r, next, prev); err != nil {
						return err
					}
					prev, next, n = r.bytes("hash"), next+1, n+1
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

func checkLink(r row, next int64, prev []byte) error {
	seq := r.int64("seq")
	switch {
	case seq != next:
		return &ChainError{Seq: next, Reason: "it is missing"}
	case !bytes.Equal(r.bytes("prev"), prev):
		return &ChainError{Seq: seq, Reason: "it does not follow the one before"}
	}
	if sum := eventHash(prev, seq, r.int64("at"), r.text("kind"), r.text("body")); !bytes.Equal(r.bytes("hash"), sum[:]) {
		return &ChainError{Seq: seq, Reason: "it is not what was written"}
	}
	return nil
}

// Events streams the chain from the event after the given number on, 0 for all.
func (l *Ledger) Events(ctx context.Context, after int64) iter.Seq2[Event, error] {
	return paged(ctx, l.read, func() pager[Event] {
		after := after
		return func(c *conn, page []Event) ([]Event, error) {
			err := c.query("SELECT seq, at, kind, body, prev, hash FROM event WHERE seq > ? ORDER BY seq LIMIT 500", func(r row) error {
				after = r.int64("seq")
				page = append(page, Event{
					Seq: after, At: r.time("at"), Kind: r.text("kind"), Body: json.RawMessage(r.text("body")),
					Prev: hex.EncodeToString(r.bytes("prev")), Hash: hex.EncodeToString(r.bytes("hash")),
				})
				return nil
			}, after)
			return page, err
		}
	})
}
