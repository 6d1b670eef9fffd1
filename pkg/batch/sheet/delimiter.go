package sheet

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
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
func detect(head []byte, name string, above int, names naming) (comma byte, refusal *Error) {
	order := []byte(delimiters)
	if strings.EqualFold(filepath.Ext(name), ".tsv") {
		order = []byte{'\t', ',', ';', '|'}
	}
	var best []int // needed columns, recognised ones, and all
	broken := 0    // most columns before a fault
	var unread byte
	for _, sign := range order {
		sc := newScanner(bufio.NewReaderSize(bytes.NewReader(head), 2*maxRecord), sign)
		sc.line = above
		err := sc.next()
		if errors.Is(err, io.EOF) {
			return order[0], nil // nothing to tell apart
		}
		if f, ok := errors.AsType[*Error](err); ok {
			if n := len(sc.spans) + 1; n > broken {
				unread, broken, refusal = sign, n, f
			}
			continue
		}
		h, _ := understand(sc.cells(), sc.start, names)
		score := []int{len(neededColumns()) - len(h.missing()), len(h.known), len(sc.spans)}
		if h.isResult {
			score[0] += len(ResultColumns())
		}
		if slices.Compare(score, best) > 0 {
			comma, best = sign, score
		}
	}
	if refusal != nil && (best == nil || best[0] == 0 && broken > best[2]) {
		return unread, refusal
	}
	return comma, nil
}

// declaration reads a first line such as "sep=;", as Excel reads and writes it.
func declaration(head []byte) (comma byte, declared bool, refusal *Error) {
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
		return 0, true, &Error{Line: 1,
			Reason: fmt.Sprintf("the first line declares the delimiter %q", printable(sign)),
			Hint:   "Delimiters may be the comma, the semicolon, the tab and the bar."}
	}
	return sign[0], true, nil
}

// delimiterName is what messages call a delimiter.
func delimiterName(comma byte) string {
	return [...]string{"commas", "semicolons", "tabs", "bars"}[strings.IndexByte(delimiters, comma)]
}
