package sheet

import (
	"encoding/xml"
	"fmt"
	"math"
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
func (wb *workbook) readStyles(name string) (styles, error) {
	if name == "" {
		return nil, nil
	}
	var sheet struct {
		XMLName xml.Name `xml:"styleSheet"`
		Formats []struct {
			ID   int    `xml:"numFmtId,attr"`
			Code string `xml:"formatCode,attr"`
		} `xml:"numFmts>numFmt"`
		Styles []struct {
			Format int `xml:"numFmtId,attr"`
		} `xml:"cellXfs>xf"`
	}
	if err := wb.decode(name, &sheet); err != nil {
		return nil, err
	}
	custom := make(map[int]string)
	for _, f := range sheet.Formats {
		custom[f.ID] = f.Code
	}
	list := make(styles, len(sheet.Styles))
	for i, s := range sheet.Styles {
		code, ok := custom[s.Format]
		switch {
		case ok:
			list[i] = codeLook(code)
		case s.Format == 46:
			list[i] = elapsed
		case dateID(s.Format):
			list[i] = moment
		}
	}
	return list, nil
}

// dateID reports whether a built-in format shows a date or a time (ECMA-376 part
// 1, 18.8.30; 27 to 36 and 50 to 58 are the East Asian ones).
func dateID(id int) bool {
	return 14 <= id && id <= 22 || 27 <= id && id <= 36 || 45 <= id && id <= 47 || 50 <= id && id <= 58
}

// codeLook says what a format of the workbook's own shows: a date or a time if a
// letter of one stands outside of literals.
func codeLook(code string) look {
	if strings.EqualFold(code, "general") {
		return plain
	}
	for i := 0; i < len(code); i++ {
		switch c := code[i]; c {
		case '\\', '_', '*':
			i++
		case '"', '[':
			end := c
			if c == '[' {
				end = ']'
			}
			n := strings.IndexByte(code[i+1:], end)
			if n < 0 {
				return plain
			}
			if c == '[' && n > 0 && strings.Trim(strings.ToLower(code[i+1:i+1+n]), "hms") == "" {
				return elapsed
			}
			i += n + 1
		case 'd', 'm', 'y', 'h', 's', 'D', 'M', 'Y', 'H', 'S':
			return moment
		}
	}
	return plain
}

// value returns the text of a cell: what it holds, and not how it is shown. never
// says that it is a formula whose value the file does not have.
func (wb *workbook) value(c rawCell) (text string, never bool, err error) {
	bad := func(what string) error {
		return &fault{damaged: true, line: c.row, column: c.column, reason: fmt.Sprintf("the cell says that it is %s, and holds %q", what, printable(c.value)),
			hint: "Open the workbook in a spreadsheet, mend the cell and save it."}
	}
	if c.formula {
		empty := strings.TrimSpace(c.value) == "" && !c.inline
		if wb.stale || !c.stored && !c.inline || empty && c.kind != "str" {
			return "", true, nil
		}
	}
	if c.inline != (c.kind == "inlineStr") && (c.inline || c.stored) {
		return "", false, bad("text that stands in it")
	}
	switch c.kind {
	case "inlineStr":
		return c.value, false, nil
	case "str":
		return unescape(c.value), false, nil
	case "e": // as it is shown, which no column takes for a value
		return strings.TrimSpace(c.value), false, nil
	case "s":
		text, err = wb.shared(c)
		return text, false, err
	}
	value := strings.TrimSpace(c.value)
	if value == "" {
		return "", false, nil
	}
	switch c.kind {
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
			err = bad("a date")
		}
		return text, false, err
	case "", "n":
		n, ok := number(value)
		if !ok {
			return "", false, bad("a number")
		}
		how, err := wb.look(c)
		if err != nil {
			return "", false, err
		}
		return wb.show(n, how), false, nil
	}
	return "", false, bad(fmt.Sprintf("of the kind %q", printable(c.kind)))
}

// shared returns the shared text that a cell refers to.
func (wb *workbook) shared(c rawCell) (string, error) {
	value := strings.TrimSpace(c.value)
	if value == "" {
		return "", nil
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 {
		return "", fmt.Errorf("a cell of row %d has text %q", c.row, printable(c.value))
	}
	if n >= len(wb.texts.ends) {
		return "", damaged(fmt.Errorf("a cell has text %d of %d", n+1, len(wb.texts.ends)))
	}
	return wb.texts.get(n)
}

// look says how a cell shows a number. A cell without a style has the first one.
func (wb *workbook) look(c rawCell) (look, error) {
	i := 0
	if c.style != "" {
		var err error
		if i, err = strconv.Atoi(c.style); err != nil || i < 0 || i >= max(1, len(wb.styles)) {
			return 0, fmt.Errorf("a cell of row %d has style %q of %d", c.row, printable(c.style), len(wb.styles))
		}
	}
	if i >= len(wb.styles) {
		return plain, nil
	}
	return wb.styles[i], nil
}

// number reads a number as the format has it.
func number(s string) (float64, bool) {
	if strings.Trim(s, "+-.0123456789eE") != "" {
		return 0, false
	}
	n, err := strconv.ParseFloat(s, 64)
	return n, err == nil
}

// show writes a number. A date has one form, whatever the sheet shows: which of day
// and month comes first depends on who looks.
func (wb *workbook) show(n float64, how look) string {
	const lastDay = 2958465 // 9999-12-31, where dates end
	switch {
	case how == elapsed && n >= 0 && n <= lastDay:
		s := int64(math.Round(n * 24 * 60 * 60))
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	case how == moment && n >= 0 && n <= lastDay:
		return wb.showMoment(n)
	}
	// A number has 15 exact digits. What is longer has the digits of an exponent, so
	// that it is not taken for an identifier.
	long := strconv.FormatFloat(n, 'f', -1, 64)
	if len(strings.ReplaceAll(long, ".", "")) > 15 {
		return strconv.FormatFloat(n, 'G', 15, 64)
	}
	return long
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
