package sheet

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"unicode/utf16"
	"unicode/utf8"
)

// errSurrogate is what a UTF-16 input without meaning ends in.
var errSurrogate = errors.New("not UTF-16 (half a character)")

// decode finds out how text is encoded and returns it as UTF-8, without its byte
// order mark and with room for a scanner. It refuses, by its name, what is no
// text or in an encoding that can not be told for sure; bytes that are no UTF-8
// are left to the scanner, which knows their place.
func decode(in io.Reader, name string) (text *bufio.Reader, bom bool, err error) {
	const size = 2 * maxRecord
	raw := bufio.NewReaderSize(in, size)
	head, err := raw.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	if refusal := foreign(head, name); refusal != nil {
		return nil, false, refusal
	}
	for _, mark := range []struct {
		bytes string
		order binary.ByteOrder // nil for UTF-8
	}{{"\xEF\xBB\xBF", nil}, {"\xFF\xFE", binary.LittleEndian}, {"\xFE\xFF", binary.BigEndian}} {
		if !bytes.HasPrefix(head, []byte(mark.bytes)) {
			continue
		}
		_, err := raw.Discard(len(mark.bytes))
		if mark.order != nil {
			raw = bufio.NewReaderSize(&utf16Reader{src: raw, order: mark.order}, size)
		}
		return raw, true, err
	}
	return raw, false, nil
}

// wide reports whether the first two characters look like ASCII in units of n
// bytes: all NUL but the first or the last of each.
func wide(head []byte, n int) bool {
	if len(head) < 2*n {
		return false
	}
	for _, at := range []int{0, n - 1} {
		fits := true
		for i, c := range head[:2*n] {
			fits = fits && (c != 0) == (i%n == at)
		}
		if fits {
			return true
		}
	}
	return false
}

// utf16Reader reads UTF-16 as UTF-8 up to the first unit that is half a character, and
// ends with errSurrogate there. The decoder of x/text would put U+FFFD in its place,
// and the cell would not come back as it was.
type utf16Reader struct {
	src   *bufio.Reader
	order binary.ByteOrder
	text  []byte // that was read, and not handed out yet
	err   error
}

// Read implements io.Reader.
func (u *utf16Reader) Read(p []byte) (int, error) {
	for u.err == nil && len(u.text) < len(p) {
		var r rune
		if r, u.err = u.unit(); utf16.IsSurrogate(r) {
			low, err := u.unit()
			if r = utf16.DecodeRune(r, low); err != nil || r == utf8.RuneError {
				u.err = errSurrogate
			}
		}
		if u.err == nil {
			u.text = utf8.AppendRune(u.text, r)
		}
	}
	n := copy(p, u.text)
	if u.text = append(u.text[:0], u.text[n:]...); n > 0 {
		return n, nil
	}
	return 0, u.err
}

// unit reads one code unit.
func (u *utf16Reader) unit() (rune, error) {
	var b [2]byte
	if _, err := io.ReadFull(u.src, b[:]); errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, errSurrogate
	} else if err != nil {
		return 0, err
	}
	return rune(u.order.Uint16(b[:])), nil
}
