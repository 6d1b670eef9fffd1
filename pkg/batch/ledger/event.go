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

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
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

const eventColumns = "seq, at, kind, body, prev, hash"

func (n *newEvent) values(args []any) []any {
	return append(args, n.seq, n.at, n.kind, n.body, n.prev[:], n.hash[:])
}

// newSeen is what was seen before a sending, which its transaction writes down when it ends.
type newSeen struct {
	id, account, run, attempt int64
	call, state               string
	sentAt                    any
}

const seenColumns = "id, call_id, account, run, attempt, sent_at, state"

func (n *newSeen) values(args []any) []any {
	return append(args, n.id, n.call, n.account, n.run, n.attempt, n.sentAt, n.state)
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

	looks    []newSeen        // what was seen before sendings, not written down yet
	seen     int64            // the number of the last one
	accounts map[string]int64 // the numbers of accounts, as far as they were needed
}

// theEnd returns the end, read if need be, for a transaction to move on.
func (c *conn) theEnd() (*end, error) {
	e := c.end
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
	if e.seen, err = c.count("SELECT coalesce(max(id), 0) AS n FROM seen"); err != nil {
		return nil, err
	}
	e.event, e.known = event, true
	copy(e.hash[:], hash)
	return e, nil
}

// saveEvents writes the new events down, and what they say was seen.
func (c *conn) saveEvents() error {
	e := c.end
	if err := c.insert("seen", seenColumns, len(e.looks), func(args []any, i int) []any { return e.looks[i].values(args) }); err != nil {
		return fmt.Errorf("write down what was seen: %w", err)
	}
	clear(e.looks)
	e.looks = e.looks[:0]
	if err := c.insert("event", eventColumns, len(e.events), func(args []any, i int) []any { return e.events[i].values(args) }); err != nil {
		return fmt.Errorf("write events: %w", err)
	}
	clear(e.events)
	e.events = e.events[:0]
	return nil
}

// saveEnd writes the events and the end down if it has moved.
func (c *conn) saveEnd() error {
	if !c.end.dirty {
		return nil
	}
	if err := c.saveEvents(); err != nil {
		return err
	}
	e := c.end
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

// The kinds of events that tell of operations.
const (
	kindIntent  = "intent"
	kindOutcome = "outcome"
	kindConfirm = "confirm"
)

// callEvent is the body of an event of these kinds: a call, or a look at what became of
// it, and its operations.
type callEvent struct {
	Call    string          `json:"call"`
	Attempt int             `json:"attempt,omitempty"`
	Account string          `json:"account"`
	Run     int64           `json:"run,omitempty"`
	Rows    []eventRow      `json:"rows"`
	Before  json.RawMessage `json:"before,omitempty"` // what was seen before the change
}

// eventRow is an operation of an event, with the lines that ask for it, as the sheet was
// then, and, of an outcome, what became of it.
type eventRow struct {
	Lines       []int  `json:"lines"`
	Action      string `json:"action"`
	Object      string `json:"object"`
	Record      string `json:"record"`
	Context     string `json:"context,omitempty"`
	User        string `json:"user,omitempty"`
	Access      string `json:"access,omitempty"`
	Minutes     int    `json:"minutes,omitempty"`
	Related     string `json:"related,omitempty"`
	Permissions string `json:"permissions,omitempty"`
	// Ops are the operations by their ids: "7", or "7-9,12" for equal rows that go
	// together. Versions before 2 did not always name them.
	Ops string `json:"ops,omitempty"`

	Result     string `json:"result,omitempty"`
	Uncertain  bool   `json:"maybe,omitempty"`
	RequestID  string `json:"request_id,omitempty"`
	Code       string `json:"code,omitempty"`
	Message    string `json:"message,omitempty"`
	Note       string `json:"note,omitempty"`
	HTTPStatus int    `json:"http_status,omitempty"`
	Attempts   int    `json:"attempts,omitempty"`
}

// eventRowOf tells of an operation.
func eventRowOf(op crm.Operation) eventRow {
	return eventRow{
		Lines: []int{}, Action: op.Action.String(), Object: op.Object, Record: op.Record, Context: op.Context, User: op.User,
		Access: op.Access.String(), Minutes: op.Minutes, Related: op.Related.String(), Permissions: op.Permissions.String(),
	}
}

// outcome adds what became of the operation.
func (r eventRow) outcome(o Outcome) eventRow {
	r.Result, r.Uncertain, r.RequestID = o.Status.String(), o.Uncertain, o.RequestID
	r.Code, r.Message, r.Note, r.HTTPStatus, r.Attempts = o.Code, o.Message, o.Note, o.HTTPStatus, o.Attempts
	return r
}
