package sheet

import (
	"bufio"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf16"
)

// maxTextsInMemory is how many bytes of shared texts stay in memory. A million rows
// may have some hundred MiB of them, which go to a temporary file.
const maxTextsInMemory = 1 << 20

// maxTexts is how many there may be: the places of all are in memory, 4 bytes each. It
// is 32 different texts in each row that a sheet can have.
const maxTexts = 32 * maxRows

// texts are the shared strings of a workbook: cells refer to them by number.
type texts struct {
	ends   []uint32 // where each text ends in data
	memory []byte   // data, if it is small
	file   *os.File // data, if it is not
	recent [4096]struct {
		number int // from 1 on
		text   string
	}
}

// readTexts reads the shared strings; a workbook may have none.
func (wb *workbook) readTexts(part string) error {
	if part == "" {
		return nil
	}
	t := &wb.texts
	var out *bufio.Writer
	var text []byte
	size := 0
	err := wb.read(part, "sst", func(dec *decoder, el xml.StartElement) (err error) {
		if !ours(el.Name, "si") {
			return nil
		}
		if text, err = dec.richText(text[:0], false); err != nil {
			return err
		}
		decoded := unescape(string(text))
		size += len(decoded)
		if t.ends = append(t.ends, uint32(size)); len(t.ends) > maxTexts {
			return fmt.Errorf("it has over %d texts", maxTexts)
		}
		if size <= maxTextsInMemory {
			t.memory = append(t.memory, decoded...)
			return nil
		}
		if out == nil {
			if t.file, err = os.CreateTemp("", "bulkrevoke-texts-"); err != nil {
				return err
			}
			// Where the system allows it, the file has no name any more: a killed
			// program leaves nothing. Windows keeps it; close removes it.
			_ = os.Remove(t.file.Name())
			out = bufio.NewWriterSize(t.file, 64<<10)
			if _, err = out.Write(t.memory); err != nil {
				return err
			}
			t.memory = nil
		}
		_, err = out.WriteString(decoded)
		return err
	})
	if err == nil && out != nil {
		err = out.Flush()
	}
	return err
}

// get returns the text with a number.
func (t *texts) get(number int) (string, error) {
	start, end := uint32(0), t.ends[number]
	if number > 0 {
		start = t.ends[number-1]
	}
	if t.file == nil {
		return string(t.memory[start:end]), nil
	}
	slot := &t.recent[number%len(t.recent)]
	if slot.number == number+1 {
		return slot.text, nil
	}
	text := make([]byte, end-start)
	if _, err := t.file.ReadAt(text, int64(start)); err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if len(text) <= 256 { // long ones are rarely there twice
		slot.number, slot.text = number+1, string(text)
	}
	return string(text), nil
}

// close removes the temporary file.
func (t *texts) close() error {
	if t.file == nil {
		return nil
	}
	err := t.file.Close()
	if removed := os.Remove(t.file.Name()); !errors.Is(removed, os.ErrNotExist) {
		err = errors.Join(err, removed)
	}
	t.file = nil
	return err
}

// escaped is what XML cannot carry and is written as _xHHHH_ (ECMA-376 part 1,
// 22.4.2.4), or two of these that are one character together.
var escaped = regexp.MustCompile(`_x[dD][89abAB][[:xdigit:]]{2}__x[dD][c-fC-F][[:xdigit:]]{2}_|_x[[:xdigit:]]{4}_`)

// unescape reads what is escaped. Half a character alone stays as it is written.
func unescape(s string) string {
	if !strings.Contains(s, "_x") {
		return s
	}
	return escaped.ReplaceAllStringFunc(s, func(code string) string {
		n, _ := strconv.ParseUint(code[2:6], 16, 16)
		r := rune(n)
		if len(code) > len("_xHHHH_") {
			low, _ := strconv.ParseUint(code[9:13], 16, 16)
			r = utf16.DecodeRune(r, rune(low))
		}
		if utf16.IsSurrogate(r) {
			return code
		}
		return string(r)
	})
}
