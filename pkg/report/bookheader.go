package report

import (
	"archive/zip"
	"encoding/xml"
	"errors"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
)

// headerSpan is how much of a part of a workbook is searched for what a header
// needs. Spreadsheet programs write the texts of the first row first.
const headerSpan = 64 << 20

// isWorkbookResult says whether the header of a workbook's first sheet ends in the
// block of result columns, also after a spreadsheet program has saved it.
//
// It reads no further than the header. The sheet package, which reads a workbook
// whole before it believes any of it, would take seconds for a large one.
func isWorkbookResult(name string) bool {
	archive, err := zip.OpenReader(name)
	if err != nil {
		return false
	}
	defer archive.Close() // it was only read
	cells, err := firstRow(&archive.Reader)
	if err != nil {
		return false
	}
	for len(cells) > 0 && strings.TrimSpace(cells[len(cells)-1]) == "" {
		cells = cells[:len(cells)-1]
	}
	block := sheet.ResultColumns()
	n := len(cells) - len(block)
	return n >= 0 && slices.EqualFunc(cells[n:], block, func(cell, name string) bool { return strings.TrimSpace(cell) == name })
}

// errNoHeader says that a workbook has no row with anything in it where one would
// have to be.
var errNoHeader = errors.New("the workbook has no header")

// firstRow returns the cells of the first row with a value in a workbook's first
// sheet. What stands beside them may be missing at the end.
func firstRow(archive *zip.Reader) ([]string, error) {
	part, err := firstSheet(archive)
	if err != nil {
		return nil, err
	}
	var cells []string
	shared := make(map[int][]int) // positions in cells by number of the shared text
	err = elements(archive, part, "row", func(dec *xml.Decoder, start xml.StartElement) (bool, error) {
		var row bookRow
		if err := dec.DecodeElement(&row, &start); err != nil {
			return false, err
		}
		cells = row.cells(shared)
		return len(shared) == 0 && strings.Join(cells, "") == "", nil
	})
	if err != nil || len(shared) == 0 {
		return cells, err
	}
	n := 0
	err = elements(archive, "xl/sharedStrings.xml", "si", func(dec *xml.Decoder, start xml.StartElement) (bool, error) {
		places := shared[n]
		n++
		if places == nil {
			return true, dec.Skip()
		}
		var text bookText
		if err := dec.DecodeElement(&text, &start); err != nil {
			return false, err
		}
		for _, at := range places {
			cells[at] = text.String()
		}
		delete(shared, n-1)
		return len(shared) > 0, nil
	})
	return cells, err
}

// firstSheet returns the name of the part that holds a workbook's first sheet.
func firstSheet(archive *zip.Reader) (string, error) {
	const relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
	id, target := "", ""
	err := elements(archive, "xl/workbook.xml", "sheet", func(_ *xml.Decoder, start xml.StartElement) (bool, error) {
		for _, a := range start.Attr {
			if a.Name.Local == "id" && (a.Name.Space == relations || strings.HasSuffix(a.Name.Space, "/relationships")) {
				id = a.Value
			}
		}
		return false, nil
	})
	if err != nil {
		return "", err
	}
	err = elements(archive, "xl/_rels/workbook.xml.rels", "Relationship", func(_ *xml.Decoder, start xml.StartElement) (bool, error) {
		var its, to string
		for _, a := range start.Attr {
			switch a.Name.Local {
			case "Id":
				its = a.Value
			case "Target":
				to = a.Value
			}
		}
		if its == id {
			target = to
		}
		return target == "", nil
	})
	if rooted, ok := strings.CutPrefix(target, "/"); ok {
		return rooted, err
	}
	return path.Join("xl", target), err
}

// elements calls visit at every element of a name in a part, until it returns false
// or an error. A part that ends before that is an error too.
func elements(archive *zip.Reader, part, name string, visit func(*xml.Decoder, xml.StartElement) (bool, error)) error {
	in, err := archive.Open(part)
	if err != nil {
		return err
	}
	defer in.Close()
	dec := xml.NewDecoder(io.LimitReader(in, headerSpan))
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return errNoHeader
		}
		if err != nil {
			return err
		}
		if start, ok := token.(xml.StartElement); ok && start.Name.Local == name {
			if more, err := visit(dec, start); err != nil || !more {
				return err
			}
		}
	}
}

// bookRow is a row of a workbook.
type bookRow struct {
	Cells []struct {
		Name   string   `xml:"r,attr"`
		Type   string   `xml:"t,attr"`
		Value  string   `xml:"v"`
		Inline bookText `xml:"is"`
	} `xml:"c"`
}

// bookText is a text of a workbook, whole or in runs of different looks.
type bookText struct {
	Whole string   `xml:"t"`
	Runs  []string `xml:"r>t"`
}

func (t bookText) String() string { return t.Whole + strings.Join(t.Runs, "") }

// cells returns the values of the row, with gaps for cells that are not there. A
// shared text stays empty; shared is told which one belongs there.
func (r bookRow) cells(shared map[int][]int) []string {
	var cells []string
	for _, c := range r.Cells {
		for column := columnOf(c.Name); len(cells) < column-1 && column <= 1<<14; {
			cells = append(cells, "")
		}
		value := c.Value
		switch c.Type {
		case "inlineStr":
			value = c.Inline.String()
		case "s":
			if n, err := strconv.Atoi(value); err == nil {
				shared[n] = append(shared[n], len(cells))
			}
			value = ""
		}
		cells = append(cells, value)
	}
	return cells
}

// columnOf returns the number of the column in a cell's name, 0 if it has none.
func columnOf(name string) int {
	n := 0
	for i := 0; i < len(name) && i < 3 && 'A' <= name[i] && name[i] <= 'Z'; i++ {
		n = n*26 + int(name[i]-'A') + 1
	}
	return n
}
