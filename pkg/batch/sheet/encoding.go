package sheet

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"

	"golang.org/x/text/encoding/unicode"
)

// errSurrogate is what a UTF-16 input without meaning ends in.
var errSurrogate = errors.New("not UTF-16 (half a character)")

// decode finds out how text is encoded and returns it as UTF-8, without its byte
// order mark and with room for a scanner. It refuses, by its name, what is no
// text or in an encoding that can not be told for sure; bytes that are no UTF-8
// are left to the scanner, which knows their place.
func decode(in io.Reader) (text *bufio.Reader, bom bool, err error) {
	const size = 2 * maxRecord
	raw := bufio.NewReaderSize(in, size)
	head, err := raw.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	if f := foreign(head); f != nil {
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

// foreign recognises input that is no text in UTF-8 or UTF-16 by its first bytes.
func foreign(head []byte) *fault {
	const save = "Save the sheet as CSV UTF-8."
	for _, known := range []struct{ magic, reason, hint string }{
		{"\xFF\xFE\x00\x00", "is UTF-32, which is not read", save},
		{"\x00\x00\xFE\xFF", "is UTF-32, which is not read", save},
		{"\xD0\xCF\x11\xE0", "is an old Excel workbook (.xls) or an encrypted one, not text", "Save it as .xlsx without a password, or as CSV UTF-8."},
		{"\x1F\x8B", "is compressed (gzip), not text", "Unpack it first."},
		{"BZh", "is compressed (bzip2), not text", "Unpack it first."},
		{"\xFD7zXZ", "is compressed (xz), not text", "Unpack it first."},
		{"\x28\xB5\x2F\xFD", "is compressed (zstd), not text", "Unpack it first."},
		{"%PDF", "is a PDF document, not text", save},
		{"{\\rtf", "is an RTF document, not text", save},
	} {
		if bytes.HasPrefix(head, []byte(known.magic)) {
			return &fault{reason: known.reason, hint: known.hint}
		}
	}
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		return packed(head)
	case wide(head, 4):
		return &fault{reason: "looks like UTF-32, which is not read", hint: save}
	case wide(head, 2):
		return &fault{reason: "looks like UTF-16 without a byte order mark", hint: save}
	}
	start := strings.ToLower(trim(string(bytes.TrimPrefix(head, []byte("\xEF\xBB\xBF")))))
	for _, tag := range []string{"<!doctype html", "<html", "<head", "<table", "<meta"} {
		if strings.HasPrefix(start, tag) {
			return &fault{reason: "is an HTML page, not text", hint: "Open it in a spreadsheet and save it as CSV UTF-8; a download may have given a login page instead of the file."}
		}
	}
	if strings.HasPrefix(start, "<?xml") {
		return &fault{reason: "is an XML document, not text", hint: "Open it in a spreadsheet and save it as CSV UTF-8."}
	}
	return nil
}

// packed tells the formats that are zip archives apart.
func packed(head []byte) *fault {
	switch {
	case bytes.Contains(head, []byte("opendocument.spreadsheet")):
		return &fault{reason: "is an OpenDocument spreadsheet (.ods), not text", hint: "Save it as .xlsx or as CSV UTF-8."}
	case bytes.Contains(head, []byte("[Content_Types].xml")), bytes.Contains(head, []byte("xl/")), bytes.Contains(head, []byte("_rels/.rels")):
		return &fault{reason: "is an Excel workbook (.xlsx), not text", hint: "Give the file a name that ends in .xlsx."}
	}
	return &fault{reason: "is a zip archive, not text", hint: "Unpack it first; an Excel workbook needs a name that ends in .xlsx."}
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
