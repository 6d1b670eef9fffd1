package report

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"

	"github.com/xuri/excelize/v2"
)

// TemplateColumn is a column of an empty sheet for somebody to fill in.
type TemplateColumn struct {
	Name  string
	Help  string   // what a workbook says of its cells
	Words []string // what a workbook offers for them
	// Others says that there are more words than those. Date is a column of days; every
	// other one is text, so that a spreadsheet program leaves its ids as they are.
	Others, Date bool
}

// templateWidth is how wide a workbook's columns are, in characters: as an id of the longer
// kind needs.
const templateWidth = 24

// WriteTemplate writes a sheet with a header and no row, a workbook if path ends in .xlsx.
// It replaces nothing: the error is a *TargetError where path is taken.
func WriteTemplate(ctx context.Context, path string, columns []TemplateColumn) error {
	return newFile().replace(ctx, path, func(w io.Writer) error {
		if IsWorkbook(path) {
			return writeTemplateBook(w, columns)
		}
		header := make([]string, len(columns))
		for i, c := range columns {
			header[i] = c.Name
		}
		out := csv.NewWriter(w)
		err := out.Write(header)
		out.Flush()
		return errors.Join(err, out.Error())
	})
}

// WriteNew writes a text to a file of mode 0600. It replaces nothing: the error is a
// *TargetError where path is taken.
func WriteNew(ctx context.Context, path, text string) error {
	return newFile().replace(ctx, path, func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
}

// writeTemplateBook writes the workbook. Its drop-downs offer words and refuse none: a cell
// may hold what else the word is called.
func writeTemplateBook(w io.Writer, columns []TemplateColumn) error {
	const tab = "Sheet1"
	file := excelize.NewFile()
	defer file.Close() // it is in memory only
	header, err1 := file.NewStyle(&excelize.Style{NumFmt: textFormat, Font: bold(11), Fill: fill("E9ECEF")})
	text, err2 := file.NewStyle(&excelize.Style{NumFmt: textFormat})
	day, err3 := file.NewStyle(&excelize.Style{CustomNumFmt: new("yyyy-mm-dd")})
	errs := []error{err1, err2, err3,
		file.SetSheetName(tab, "Leavers"),
		file.SetPanes("Leavers", &excelize.Panes{Freeze: true, YSplit: 1, TopLeftCell: "A2", ActivePane: "bottomLeft",
			Selection: []excelize.Selection{{SQRef: "A2", ActiveCell: "A2", Pane: "bottomLeft"}}}),
	}
	for i, c := range columns {
		name := columnName(i)
		style := text
		if c.Date {
			style = day
		}
		rows := fmt.Sprintf("%s2:%s%d", name, name, excelize.TotalRows)
		help := excelize.NewDataValidation(true)
		help.SetSqref(rows)
		help.SetInput(c.Name, c.Help)
		if len(c.Words) > 0 {
			errs = append(errs, help.SetDropList(c.Words))
			if !c.Others {
				help.SetError(excelize.DataValidationErrorStyleWarning, c.Name, "Choose a word of the list, unless you know another one for it.")
			}
		}
		errs = append(errs,
			file.SetColWidth("Leavers", name, name, templateWidth),
			file.SetColStyle("Leavers", name, style),
			file.SetCellStr("Leavers", name+"1", c.Name),
			file.SetCellStyle("Leavers", name+"1", name+"1", header),
			file.AddDataValidation("Leavers", help),
			file.AddIgnoredErrors("Leavers", rows, excelize.IgnoredErrorsNumberStoredAsText),
		)
	}
	// A new file says that it is one cell large, and some readers believe it.
	errs = append(errs, file.SetSheetDimension("Leavers", ""))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return file.Write(w)
}
