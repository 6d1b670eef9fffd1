package ledger

import (
	"encoding/binary"
	"fmt"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// packCells makes one blob of a row's cells: how many, then the length and the
// bytes of each.
func packCells(cells []string) []byte {
	n := binary.MaxVarintLen64
	for _, c := range cells {
		n += len(c) + 3
	}
	b := binary.AppendUvarint(make([]byte, 0, n), uint64(len(cells)))
	for _, c := range cells {
		b = appendString(b, c)
	}
	return b
}

// unpackCells is the inverse of packCells.
func unpackCells(b []byte) ([]string, error) {
	u := unpacker{s: string(b)}
	n := u.uint()
	if n > uint64(len(b)) {
		return nil, fmt.Errorf("%w: a row of %d cells in %d bytes", ErrDamaged, n, len(b))
	}
	cells := make([]string, n)
	for i := range cells {
		cells[i] = u.string()
	}
	return cells, u.end("cells")
}

// packOp makes one blob of an operation without its user, which is stored beside
// it: in a sheet that is being read it may not be known yet.
func packOp(op crm.Operation) []byte {
	b := make([]byte, 0, 12+len(op.Object)+len(op.Record)+len(op.Context))
	b = append(b, byte(op.Action), byte(op.Access), byte(op.Related), byte(op.Permissions))
	b = binary.AppendVarint(b, int64(op.Minutes))
	b = appendString(b, op.Object)
	b = appendString(b, op.Record)
	return appendString(b, op.Context)
}

// unpackOp is the inverse of packOp.
func unpackOp(b []byte, user string) (crm.Operation, error) {
	if len(b) < 4 {
		return crm.Operation{}, fmt.Errorf("%w: an operation in %d bytes", ErrDamaged, len(b))
	}
	u := unpacker{s: string(b[4:])}
	op := crm.Operation{
		Action:      crm.Action(b[0]),
		Access:      crm.Access(b[1]),
		Related:     crm.Choice(b[2]),
		Permissions: crm.Permissions(b[3]),
		Minutes:     int(u.int()),
		Object:      u.string(),
		Record:      u.string(),
		Context:     u.string(),
		User:        user,
	}
	return op, u.end("operation")
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// unpacker takes values off the front of s. Once something does not fit, all that
// follows is zero and end reports it.
type unpacker struct {
	s   string
	bad bool
}

func (u *unpacker) uint() uint64 {
	var v uint64
	for i := 0; i < len(u.s) && i < binary.MaxVarintLen64; i++ {
		c := u.s[i]
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			u.s = u.s[i+1:]
			return v
		}
	}
	u.bad = true
	return 0
}

func (u *unpacker) int() int64 {
	v := u.uint()
	return int64(v>>1) ^ -int64(v&1)
}

func (u *unpacker) string() string {
	n := u.uint()
	if u.bad || n > uint64(len(u.s)) {
		u.bad = true
		return ""
	}
	s := u.s[:n]
	u.s = u.s[n:]
	return s
}

func (u *unpacker) end(what string) error {
	if u.bad || u.s != "" {
		return fmt.Errorf("%w: the %s of a row can not be read", ErrDamaged, what)
	}
	return nil
}

// A hasher makes the 64-bit hashes that rows are grouped by. They are stored, so
// the function must never change. Wherever two things that share a hash must not
// be taken for one, the things themselves are compared.
type hasher func(parts ...string) int64

// hashParts is 64-bit FNV-1a over the parts, each with its length before it, and
// a final mix so that sorted keys spread.
func hashParts(parts ...string) int64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for _, p := range parts {
		for n := len(p); ; n >>= 8 {
			h = (h ^ uint64(n&0xff)) * prime
			if n < 256 {
				break
			}
		}
		for i := range len(p) {
			h = (h ^ uint64(p[i])) * prime
		}
	}
	h ^= h >> 30
	h *= 0xbf58476d1ce4e5b9
	h ^= h >> 27
	h *= 0x94d049bb133111eb
	h ^= h >> 31
	return int64(h)
}

func (h hasher) target(account string, t crm.Target) int64 {
	return h("target", account, t.Object, t.Record, t.Context, t.User)
}

func (h hasher) record(account, object, record string) int64 {
	return h("record", account, object, record)
}

func (h hasher) key(account, key string) int64 { return h("key", account, key) }

// bundle is 0 for no bundle, and never for one.
func (h hasher) bundle(account, name string) int64 {
	if name == "" {
		return 0
	}
	return h("bundle", account, name) | 1
}
