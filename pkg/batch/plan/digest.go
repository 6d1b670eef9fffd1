package plan

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// Digest is a fingerprint of everything that a sheet asks for: every row in
// order, done or not, with its account and host. Two runs with the same digest
// ask for the same thing of the same people in the same place.
type Digest struct {
	sum hash.Hash
	buf []byte // of the row being added
}

// NewDigest returns the digest of no rows.
func NewDigest() *Digest { return &Digest{sum: sha256.New()} }

// Add counts a valid row; due is when its date comes, zero where it has none.
func (d *Digest) Add(account, host string, op crm.Operation, due time.Time) {
	d.text("row", account, host, op.Action.String(), op.Object, op.Record, op.Context, op.User,
		op.Access.String(), op.Related.String(), op.Permissions.String())
	d.number(uint64(op.Minutes))
	if !due.IsZero() {
		d.text("due")
		d.number(uint64(due.UnixMilli()))
	}
	d.flush()
}

// AddInvalid counts a row that will not be sent.
func (d *Digest) AddInvalid(account, code string) {
	d.text("invalid", account, code)
	d.flush()
}

// Sum returns the digest so far, as 64 hexadecimal digits.
func (d *Digest) Sum() string { return hex.EncodeToString(d.sum.Sum(nil)) }

// text writes each part with its length before it, so that no two lists of parts
// read the same.
func (d *Digest) text(parts ...string) {
	for _, p := range parts {
		d.number(uint64(len(p)))
		d.buf = append(d.buf, p...)
	}
}

func (d *Digest) number(n uint64) { d.buf = binary.BigEndian.AppendUint64(d.buf, n) }

func (d *Digest) flush() {
	d.sum.Write(d.buf)
	d.buf = d.buf[:0]
}
