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

// delimiters are what may stand between cells, the likeliest first.
const delimiters = ",;\t|"

// detect finds the delimiter of a text from its beginning, or from the line of its
// header, of which above says how many stand before it: the one under which
// the header has most of the needed columns. Where none has any, the one that
// gives most columns, so that the refusal speaks of the right ones. The block of a
// result is stronger than any name.
func detect(head []byte, name string, above int, names naming) (comma byte, f *fault) {
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
		sc.line = above
		g := guess{comma: comma}
		err := sc.next()
		if errors.Is(err, io.EOF) {
			return order[0], nil // nothing to tell apart
		}
		if f, ok := errors.AsType[*fault](err); ok {
			g.fault = f
			g.count = len(sc.spans) + 1
			if broken.fault == nil || g.count > broken.count {
				broken = g
			}
			continue
		}
		h, _ := understand(sc.cells(len(sc.spans)), sc.start, names)
		g.needed, g.recognised = h.needed()
		if h.isResult {
			g.needed += len(ResultColumns())
		}
		g.count = len(sc.spans)
		if best.comma == 0 || g.needed > best.needed ||
			g.needed == best.needed && (g.recognised > best.recognised || g.recognised == best.recognised && g.count > best.count) {
			best = g
		}
	}
	if broken.fault != nil && (best.comma == 0 || best.needed == 0 && broken.count > best.count) {
		return broken.comma, broken.fault
	}
	return best.comma, nil
}

// declaration reads a first line such as "sep=;", as Excel reads and writes it.
func declaration(head []byte) (comma byte, declared bool, f *fault) {
	line, _, _ := bytes.Cut(head, []byte("\n"))
	text := strings.Trim(strings.TrimRight(string(line), "\r"), `"`)
	if len(text) < len("sep=") || !strings.EqualFold(text[:len("sep=")], "sep=") {
		return 0, false, nil
	}
	sign := text[len("sep="):]
	if utf8.RuneCountInString(sign) != 1 {
		return 0, false, nil // a column's name, or nothing that means anything
	}
	if !strings.Contains(delimiters, sign) {
		return 0, true, &fault{line: 1,
			reason: fmt.Sprintf("the first line declares the delimiter %q", printable(sign)),
			hint:   "Delimiters may be the comma, the semicolon, the tab and the bar."}
	}
	return sign[0], true, nil
}
