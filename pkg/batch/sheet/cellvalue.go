package sheet

import (
	"encoding/xml"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// calculate is what to do about a formula without a value.
const calculate = "Open the workbook in a spreadsheet and save it, or paste values."

// look says how numbers are shown.
type look int

const (
	plain   look = iota // as a number of whatever format
	moment              // as a date, a time of day or both
	elapsed             // as hours that go on beyond 24
)

// styles holds, for the index of each style, how it shows a number.
type styles []look

// readStyles reads the number formats; a workbook may have none.
func (wb *workbook) readStyles(part string) (list styles, err error) {
	if part == "" {
		return nil, nil
	}
	custom := make(map[int]look)
	var ids []int
	number := func(el xml.StartElement) (int, error) {
		id := strings.TrimSpace(attr(el, "numFmtId"))
		if id == "" {
			return 0, nil
		}
		n, err := strconv.Atoi(id)
		if err != nil {
			return 0, fmt.Errorf("a number format is called %q", printable(id))
		}
		return n, nil
	}
	err = wb.read(part, "styleSheet", func(dec *decoder, el xml.StartElement) error {
		switch {
		case ours(el.Name, "numFmts"):
			return dec.each("numFmt", func(el xml.StartElement) error {
				id, err := number(el)
				custom[id] = codeLook(attr(el, "formatCode"))
				return err
			})
		case ours(el.Name, "cellXfs"):
			return dec.each("xf", func(el xml.StartElement) error {
				id, err := number(el)
				ids = append(ids, id)
				return err
			})
		}
		return nil
	})
	for _, id := range ids {
		how, ok := custom[id]
		switch { // the built-in formats (ECMA-376 part 1, 18.8.30; 27 to 36 and 50 to 58 are the East Asian ones)
		case ok:
		case id == 46:
			how = elapsed
		case 14 <= id && id <= 22, 27 <= id && id <= 36, 45 <= id && id <= 47, 50 <= id && id <= 58:
			how = moment
		}
		list = append(list, how)
	}
	return list, err
}

// formatPart finds in a number format, in this order: hours, minutes or seconds that go
// on, literals, and a letter of a date or a time.
var formatPart = regexp.MustCompile(`(?s)(\[[hmsHMS]+\])|\[[^\]]*(?:\]|$)|"[^"]*(?:"|$)|[\\_*].|([dmyhsDMYHS])`)

// codeLook says what a format of the workbook's own shows: a date or a time if a
// letter of one stands outside of literals.
func codeLook(code string) look {
	for _, part := range formatPart.FindAllStringSubmatch(code, -1) {
		switch {
		case part[1] != "":
			return elapsed
		case part[2] != "":
			return moment
		}
	}
	return plain
}

// value returns the text of a cell: what it holds, and not how it is shown. never
// says that it is a formula whose value the file does not have.
func (wb *workbook) value(c rawCell) (text string, never bool, err error) {
	bad := func(what string) error {
		return &Error{damaged: true, Line: c.row, Column: c.column, Reason: fmt.Sprintf("the cell says that it is %s, and holds %q", what, printable(c.value)),
			Hint: "Open the workbook in a spreadsheet, mend the cell and save it."}
	}
	value := strings.TrimSpace(c.value)
	switch {
	case c.formula && (wb.stale || !c.stored && !c.inline || value == "" && !c.inline && c.kind != "str"):
		return "", true, nil
	case c.inline != (c.kind == "inlineStr") && (c.inline || c.stored):
		return "", false, bad("text that stands in it")
	case c.kind == "inlineStr":
		return c.value, false, nil
	case c.kind == "str":
		return unescape(c.value), false, nil
	case value == "" || c.kind == "e": // an error is as it is shown, which no column takes for a value
		return value, false, nil
	}
	switch c.kind {
	case "s":
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 {
			return "", false, fmt.Errorf("a cell of row %d has text %q", c.row, printable(c.value))
		}
		if n >= len(wb.texts.ends) {
			return "", false, damaged(fmt.Errorf("a cell has text %d of %d", n+1, len(wb.texts.ends)))
		}
		text, err = wb.texts.get(n)
		return text, false, err
	case "b":
		switch value {
		case "1", "true":
			return "TRUE", false, nil
		case "0", "false":
			return "FALSE", false, nil
		}
		return "", false, bad("a truth value")
	case "d":
		if text = isoDate(value); text == "" {
			return "", false, bad("a date")
		}
		return text, false, nil
	case "", "n":
		n, err := strconv.ParseFloat(value, 64)
		if err != nil || strings.Trim(value, "+-.0123456789eE") != "" {
			return "", false, bad("a number")
		}
		text, err = wb.show(c, n)
		return text, false, err
	}
	return "", false, bad(fmt.Sprintf("of the kind %q", printable(c.kind)))
}

// show writes the number of a cell. A date has one form, whatever the sheet shows:
// which of day and month comes first depends on who looks.
func (wb *workbook) show(c rawCell, n float64) (string, error) {
	const lastDay = 2958465     // 9999-12-31, where dates end
	style, err := 0, error(nil) // a cell without a style has the first one
	if c.style != "" {
		if style, err = strconv.Atoi(c.style); err != nil || style < 0 || style >= max(1, len(wb.styles)) {
			return "", fmt.Errorf("a cell of row %d has style %q of %d", c.row, printable(c.style), len(wb.styles))
		}
	}
	if style < len(wb.styles) && n >= 0 && n <= lastDay {
		switch wb.styles[style] {
		case elapsed:
			s := int64(math.Round(n * 24 * 60 * 60))
			return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60), nil
		case moment:
			return wb.showMoment(n), nil
		}
	}
	// A number has 15 exact digits. What is longer has the digits of an exponent, so
	// that it is not taken for an identifier.
	long := strconv.FormatFloat(n, 'f', -1, 64)
	if len(strings.ReplaceAll(long, ".", "")) > 15 {
		return strconv.FormatFloat(n, 'G', 15, 64), nil
	}
	return long, nil
}

// showMoment writes a count of days as a date, a time of day, or both.
func (wb *workbook) showMoment(n float64) string {
	seconds := int64(math.Round(n * 24 * 60 * 60))
	day, ofDay := seconds/(24*60*60), time.Duration(seconds%(24*60*60))*time.Second
	clock := time.Time{}.Add(ofDay).Format(time.TimeOnly)
	if day == 0 && !wb.date1904 {
		return clock
	}
	first := time.Date(1899, 12, 30, 0, 0, 0, 0, time.UTC)
	switch {
	case wb.date1904:
		first = time.Date(1904, 1, 1, 0, 0, 0, 0, time.UTC)
	case day == 60:
		return "1900-02-29" // which spreadsheets have, and the calendar has not
	case day < 60:
		first = first.AddDate(0, 0, 1)
	}
	date := first.AddDate(0, 0, int(day)).Format(time.DateOnly)
	if ofDay == 0 {
		return date
	}
	return date + " " + clock
}

// DateOf reads a cell of an .xlsx that holds a date, as a Record has it: "2006-01-02", with
// " 15:04:05" behind it where clock is true. It takes what a spreadsheet can hold as a date
// and what is the same text again when it is read from there, from March 1900 on: before
// that, spreadsheets count a day that never was.
func DateOf(cell string) (t time.Time, clock, ok bool) {
	if len(cell) < len(time.DateOnly) || len(cell) > len(time.DateTime) || cell[4] != '-' {
		return t, false, false // most cells
	}
	layout := time.DateOnly
	if clock = len(cell) > len(time.DateOnly); clock {
		layout = time.DateTime
	}
	t, err := time.Parse(layout, cell)
	midnight := t.Equal(t.Truncate(24 * time.Hour))
	return t, clock, err == nil && t.Format(layout) == cell && clock != midnight && !t.Before(time.Date(1900, 3, 1, 0, 0, 0, 0, time.UTC))
}

// isoDate reads a date that is stored as one, "" if it is none.
func isoDate(s string) string {
	for _, layout := range []string{time.DateOnly, "2006-01-02T15:04:05.999999999Z07:00", "2006-01-02T15:04:05.999999999", "2006-01-02T15:04", time.TimeOnly} {
		t, err := time.Parse(layout, s)
		switch {
		case err != nil:
		case layout == time.TimeOnly:
			return s
		case t.Equal(t.Truncate(24 * time.Hour)):
			return t.Format(time.DateOnly)
		default:
			return t.Format(time.DateTime)
		}
	}
	return ""
}
