package ledger

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// row is a row of a query's answer, read by the names of its columns. A column that is
// null reads as the zero value. A name that the query does not have is an error that the
// query returns.
type row struct{ *stmt }

func (r row) value(name string) any {
	i, ok := r.at[name]
	if !ok {
		r.unknown = name
		return nil
	}
	return r.values[i]
}

func (r row) null(name string) bool { return r.value(name) == nil }

func (r row) int64(name string) int64 {
	n, _ := r.value(name).(int64)
	return n
}

func (r row) int(name string) int { return int(r.int64(name)) }

func (r row) bool(name string) bool { return r.int64(name) != 0 }

func (r row) text(name string) string {
	s, _ := r.value(name).(string)
	return s
}

func (r row) bytes(name string) []byte {
	b, _ := r.value(name).([]byte)
	return b
}

// time reads milliseconds since 1970.
func (r row) time(name string) time.Time {
	if r.null(name) {
		return time.Time{}
	}
	return time.UnixMilli(r.int64(name)).UTC()
}

func (r row) state(name string) (crm.Status, error) {
	s, ok := crm.ParseStatus(r.text(name))
	if !ok {
		return s, fmt.Errorf("%w: a state %q", ErrDamaged, r.text(name))
	}
	return s, nil
}

// operation reads the columns that an operation is kept in: those of operationColumns.
func (r row) operation() (crm.Operation, error) {
	op := crm.Operation{
		Object: r.text("object"), Record: r.text("record_id"), Context: r.text("context_id"), User: r.text("user_id"), Minutes: r.int("minutes"),
	}
	var ok [3]bool
	op.Action, ok[0] = crm.ParseAction(r.text("action"))
	op.Access, ok[1] = crm.ParseAccess(r.text("access"))
	op.Related, ok[2] = crm.ParseChoice(r.text("related"))
	if ok != [3]bool{true, true, true} {
		return op, fmt.Errorf("%w: an operation with action %q, access %q, related %q", ErrDamaged, r.text("action"), r.text("access"), r.text("related"))
	}
	if names := r.text("permissions"); names != "" {
		for name := range strings.SplitSeq(names, ";") {
			p, known := crm.ParsePermission(name)
			if !known {
				return op, fmt.Errorf("%w: a permission %q", ErrDamaged, name)
			}
			op.Permissions |= p
		}
	}
	return op, nil
}

// operationColumns are the columns of an operation but for its user.
const operationColumns = "action, object, record_id, context_id, access, minutes, related, permissions"

// operationOf are these columns of a table or alias.
func operationOf(alias string) string {
	return alias + "." + strings.ReplaceAll(operationColumns, ", ", ", "+alias+".")
}

// appendOperation appends the values of operationColumns.
func appendOperation(args []any, op crm.Operation) []any {
	return append(args, op.Action.String(), op.Object, op.Record, op.Context, orNull(op.Access.String()), int64(op.Minutes),
		orNull(op.Related.String()), orNull(op.Permissions.String()))
}

// bit is how a bool is stored.
func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// orNull stores an empty string as null, which takes no room in a row.
func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// plain is a text as every database keeps it: in UTF-8, without zero bytes.
func plain(s string) string {
	if utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 {
		return s
	}
	return strings.ReplaceAll(string([]rune(s)), "\x00", "\ufffd")
}

// millis stores a time as milliseconds since 1970, the zero time as null.
func millis(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMilli()
}

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
