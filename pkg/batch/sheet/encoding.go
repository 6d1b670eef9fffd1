package sheet

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"golang.org/x/text/encoding/unicode"
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
	if f := foreign(head, name); f != nil {
		return nil, false, f
	}
	var order unicode.Endianness
	var mark int
	switch {
	case bytes.HasPrefix(head, []byte("\xEF\xBB\xBF")):
		_, err := raw.Discard(3)
		return raw, true, err
	case bytes.HasPrefix(head, []byte("\xFF\xFE")):
		order, mark = unicode.LittleEndian, 2
	case bytes.HasPrefix(head, []byte("\xFE\xFF")):
		order, mark = unicode.BigEndian, 2
	default:
		return raw, false, nil
	}
	if _, err := raw.Discard(mark); err != nil {
		return nil, false, err
	}
	units := &surrogates{src: raw, big: order == unicode.BigEndian}
	utf8 := unicode.UTF16(order, unicode.IgnoreBOM).NewDecoder().Reader(units)
	return bufio.NewReaderSize(utf8, size), true, nil
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

// surrogates passes UTF-16 on up to the first unit that is half a character, and
// ends with errSurrogate there. A decoder alone would put U+FFFD in its place,
// and the cell would not come back as it was.
type surrogates struct {
	src *bufio.Reader
	big bool
	err error
}

// Read implements io.Reader. It hands out whole characters only.
func (s *surrogates) Read(p []byte) (int, error) {
	n := 0
	for s.err == nil && n+4 <= len(p) {
		unit, err := s.unit(0)
		if err != nil {
			s.err = err
			break
		}
		size := 2
		switch {
		case 0xD800 <= unit && unit < 0xDC00:
			low, err := s.unit(2)
			if err != nil || low < 0xDC00 || low > 0xDFFF {
				s.err = errSurrogate
			}
			size = 4
		case 0xDC00 <= unit && unit < 0xE000:
			s.err = errSurrogate
		}
		if s.err != nil {
			break
		}
		k, err := io.ReadFull(s.src, p[n:n+size])
		n += k
		s.err = err
	}
	return n, s.err
}

// unit looks at the code unit that starts after skip bytes.
func (s *surrogates) unit(skip int) (uint16, error) {
	b, err := s.src.Peek(skip + 2)
	if len(b) < skip+2 {
		if errors.Is(err, io.EOF) && len(b) > skip {
			return 0, errSurrogate
		}
		return 0, err
	}
	if s.big {
		return uint16(b[skip])<<8 | uint16(b[skip+1]), nil
	}
	return uint16(b[skip+1])<<8 | uint16(b[skip]), nil
}
