package sheet

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// dialect is how the cells of a text are told apart.
type dialect struct {
	comma    byte
	declared bool // by a first line "sep=;", as Excel reads and writes it
}

// delimiters are what may stand between cells, the likeliest first.
const delimiters = ",;\t|"

// detect finds the delimiter of a text from its beginning: the one under which
// the header has most of the needed columns. Where none has any, the one that
// gives most columns, so that the refusal speaks of the right ones.
func detect(head []byte, name string) (dialect, *fault) {
	if d, f, ok := declaration(head); ok {
		return d, f
	}
	order := []byte(delimiters)
	if strings.EqualFold(filepath.Ext(name), ".tsv") {
		order = []byte{'\t', ',', ';', '|'}
	}
	type guess struct {
		comma                     byte
		needed, recognised, count int
		fault                     *fault
	}
	var best, broken guess
	for _, comma := range order {
		sc := newScanner(bufio.NewReaderSize(bytes.NewReader(head), 2*maxRecord), comma)
		g := guess{comma: comma}
		err := sc.next()
		if errors.Is(err, io.EOF) {
			return dialect{}, &fault{line: 1, reason: "the sheet is empty, it has no header"}
		}
		if f, ok := errors.AsType[*fault](err); ok {
			g.fault = f
			g.count = len(sc.spans) + 1
			if broken.fault == nil || g.count > broken.count {
				broken = g
			}
			continue
		}
		h, _ := understand(sc.cells(len(sc.spans)), sc.start)
		g.needed, g.recognised = h.needed()
		g.count = len(sc.spans)
		if best.comma == 0 || g.needed > best.needed ||
			g.needed == best.needed && (g.recognised > best.recognised || g.recognised == best.recognised && g.count > best.count) {
			best = g
		}
	}
	if broken.fault != nil && (best.comma == 0 || best.needed == 0 && broken.count > best.count) {
		return dialect{comma: broken.comma}, broken.fault
	}
	return dialect{comma: best.comma}, nil
}

// declaration reads a first line such as "sep=;".
func declaration(head []byte) (d dialect, f *fault, ok bool) {
	line, _, _ := bytes.Cut(head, []byte("\n"))
	text := strings.Trim(strings.TrimRight(string(line), "\r"), `"`)
	if len(text) < len("sep=") || !strings.EqualFold(text[:len("sep=")], "sep=") {
		return dialect{}, nil, false
	}
	sign := text[len("sep="):]
	if utf8.RuneCountInString(sign) != 1 {
		return dialect{}, nil, false // a column's name, or nothing that means anything
	}
	switch sign {
	case ",", ";", "\t", "|":
		return dialect{comma: sign[0], declared: true}, nil, true
	default:
		return dialect{}, &fault{line: 1,
			reason: fmt.Sprintf("the first line declares the delimiter %q", printable(sign)),
			hint:   "Delimiters may be the comma, the semicolon, the tab and the bar."}, true
	}
}
