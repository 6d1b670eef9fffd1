package ledger

import (
	"encoding/binary"
	"fmt"
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
