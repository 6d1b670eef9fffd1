package sheet

import (
	"strings"

	"github.com/xuri/excelize/v2"
)

// noFormat is no format's id: excelize gives the value as it is then. Even the
// format "General", id 0, would round it.
const noFormat = -1

// plainNumbers takes the number formats off a workbook that is open for reading,
// but for those of dates and times. A number then comes as it is stored, and in
// scientific notation if it has more digits than are exact: a format such as "0"
// would fill them up with digits that look like an identifier's. Text is not
// touched.
func plainNumbers(file *excelize.File) {
	if file.Styles == nil || file.Styles.CellXfs == nil {
		return
	}
	custom := make(map[int]string)
	if file.Styles.NumFmts != nil {
		for _, f := range file.Styles.NumFmts.NumFmt {
			custom[f.NumFmtID] = f.FormatCode
		}
	}
	for i := range file.Styles.CellXfs.Xf {
		xf := &file.Styles.CellXfs.Xf[i]
		id := 0
		if xf.NumFmtID != nil {
			id = *xf.NumFmtID
		}
		code, ok := custom[id]
		if ok && !dateCode(code) || !ok && !dateID(id) {
			xf.NumFmtID = new(noFormat)
		}
	}
}

// dateID reports whether a built-in format shows a date or a time (ECMA-376 part
// 1, 18.8.30; 27 to 36 and 50 to 58 are the East Asian ones).
func dateID(id int) bool {
	return 14 <= id && id <= 22 || 27 <= id && id <= 36 || 45 <= id && id <= 47 || 50 <= id && id <= 58
}

// dateCode reports whether a format of the workbook's own shows a date or a time:
// whether a letter of one stands outside literals.
func dateCode(code string) bool {
	if strings.EqualFold(code, "general") {
		return false
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
				return false
			}
			if c == '[' && n > 0 && strings.Trim(strings.ToLower(code[i+1:i+1+n]), "hms") == "" {
				return true // elapsed hours, minutes or seconds
			}
			i += n + 1
		case 'd', 'm', 'y', 'h', 's', 'D', 'M', 'Y', 'H', 'S':
			return true
		}
	}
	return false
}
