package sheet

import (
	"bufio"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
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
		number int
		text   string
	}
}

// readTexts reads the shared strings; a workbook may have none.
func (wb *workbook) readTexts(name string) (t *texts, err error) {
	t = &texts{}
	if name == "" {
		return t, nil
	}
	in, err := wb.open(name)
	if err != nil {
		return nil, err
	}
	defer in.Close() // it is only read
	for i := range t.recent {
		t.recent[i].number = -1
	}
	if err := t.read(newDecoder(in)); err != nil {
		return nil, errors.Join(partError(name, err), t.close())
	}
	return t, nil
}

// read goes through the part.
func (t *texts) read(dec *decoder) error {
	var out *bufio.Writer
	size := 0
	var text []byte
	err := children(dec, "sst", func(item xml.StartElement) (err error) {
		if !ours(item.Name, "si") {
			return dec.Skip()
		}
		if text, err = richText(dec, text[:0], false); err != nil {
			return err
		}
		decoded := unescape(string(text))
		if size += len(decoded); out == nil && size > maxTextsInMemory {
			if out, err = t.spill(); err != nil {
				return err
			}
		}
		if t.ends = append(t.ends, uint32(size)); len(t.ends) > maxTexts {
			return fmt.Errorf("it has over %d texts", maxTexts)
		}
		if out == nil {
			t.memory = append(t.memory, decoded...)
			return nil
		}
		_, err = out.WriteString(decoded)
		return err
	})
	if err == nil && out != nil {
		err = out.Flush()
	}
	return err
}

// spill moves the texts to a temporary file, which has no name any more where the
// system allows that: a killed program leaves nothing.
func (t *texts) spill() (*bufio.Writer, error) {
	file, err := os.CreateTemp("", "bulkrevoke-texts-")
	if err != nil {
		return nil, err
	}
	t.file = file
	_ = os.Remove(file.Name()) // Windows keeps it; close removes it
	out := bufio.NewWriterSize(file, 64<<10)
	_, err = out.Write(t.memory)
	t.memory = nil
	return out, err
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
	if slot.number == number {
		return slot.text, nil
	}
	text := make([]byte, end-start)
	if _, err := t.file.ReadAt(text, int64(start)); err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if len(text) <= 256 { // long ones are rarely there twice
		slot.number, slot.text = number, string(text)
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

// children hands every child of the root element to do, which reads it to its end,
// and goes on to the end of the part.
func children(dec *decoder, root string, do func(xml.StartElement) error) error {
	inside := false
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			if !inside {
				return fmt.Errorf("it has no %s", root)
			}
			return nil
		}
		if err != nil {
			return err
		}
		start, ok := token.(xml.StartElement)
		switch {
		case !ok:
		case inside:
			if err := do(start); err != nil {
				return err
			}
		case !ours(start.Name, root):
			return fmt.Errorf("it is a %s and not a %s", printable(start.Name.Local), root)
		default:
			inside = true
		}
	}
}

// richText appends the text of an element that has been opened: that of its t
// elements, alone or in runs of one look each. How East Asian words are pronounced
// is no part of it. run says that the element is such a run.
func richText(dec *decoder, text []byte, run bool) ([]byte, error) {
	for {
		token, err := dec.Token()
		if err != nil {
			return nil, err
		}
		switch el := token.(type) {
		case xml.EndElement:
			return text, nil
		case xml.StartElement:
			switch {
			case ours(el.Name, "t"):
				text, err = plainText(dec, text)
			case ours(el.Name, "r") && !run:
				text, err = richText(dec, text, true)
			case ours(el.Name, "r"):
				err = errors.New("a run of text is inside another")
			default:
				err = refuseAlternatives(el)
				if err == nil {
					err = dec.Skip()
				}
			}
			if err != nil {
				return nil, err
			}
		}
	}
}

// plainText appends the text of an element that has been opened and has nothing but
// text in it.
func plainText(dec *decoder, text []byte) ([]byte, error) {
	for {
		token, err := dec.Token()
		if err != nil {
			return nil, err
		}
		switch el := token.(type) {
		case xml.CharData:
			text = append(text, el...)
		case xml.EndElement:
			return text, nil
		case xml.StartElement:
			return nil, fmt.Errorf("an element %s is inside a text", printable(el.Name.Local))
		}
	}
}

// refuseAlternatives refuses a choice between several contents where each of them
// would be another value.
func refuseAlternatives(el xml.StartElement) error {
	if el.Name.Local == "AlternateContent" {
		return errors.New("there are several alternatives of a cell")
	}
	return nil
}

// unescape reads what XML cannot carry and is written as _xHHHH_ (ECMA-376 part 1,
// 22.4.2.4). Half a character outside of a pair stays as it is written.
func unescape(s string) string {
	if !strings.Contains(s, "_x") {
		return s
	}
	var b strings.Builder
	for s != "" {
		r, ok := escapeAt(s)
		if !ok {
			_, n := utf8.DecodeRuneInString(s)
			b.WriteString(s[:n])
			s = s[n:]
			continue
		}
		n := escapeLen
		if utf16.IsSurrogate(r) {
			low, _ := escapeAt(s[escapeLen:])
			if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
				b.WriteString(s[:escapeLen])
				s = s[escapeLen:]
				continue
			}
			n = 2 * escapeLen
		}
		b.WriteRune(r)
		s = s[n:]
	}
	return b.String()
}

const escapeLen = len("_xHHHH_")

// escapeAt reads the _xHHHH_ that a text begins with.
func escapeAt(s string) (rune, bool) {
	if len(s) < escapeLen || s[:2] != "_x" || s[escapeLen-1] != '_' {
		return 0, false
	}
	n, err := strconv.ParseUint(s[2:escapeLen-1], 16, 16)
	return rune(n), err == nil
}
