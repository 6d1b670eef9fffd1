package sheet

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
)

// The limits of a workbook's parts. The first two are the file format's.
const (
	maxRows   = 1 << 20
	maxColumn = 1 << 14
	// maxRun is the longest run of bytes between two tags. A cell has at most 32767
	// characters, which take up to six bytes each when they are escaped.
	maxRun = 1 << 20
	// maxInsides is for all parts that are neither rows nor shared strings: excelize
	// holds them in memory.
	maxInsides = 64 << 20
)

// verify reads the parts of a workbook once for what excelize passes over in
// silence: it ends a sheet where its XML breaks, takes the index of a shared
// string that does not exist for its text, and moves cells that are out of order.
// Each could make a row disappear or touch another record.
func verify(archive *zip.Reader) error {
	strs, most, insides := 0, -1, int64(0)
	for _, part := range archive.File {
		if strings.Contains(part.Name, "../") {
			return damaged(fmt.Errorf("it has a part named %q", part.Name))
		}
		p := &partCheck{most: -1}
		if strings.EqualFold(path.Ext(part.Name), ".xml") {
			if err := p.read(part); err != nil {
				return damaged(fmt.Errorf("%s: %w", part.Name, err))
			}
		}
		switch p.root {
		case "sst":
			strs += p.strings
		case "worksheet":
			most = max(most, p.most)
		default:
			if insides += int64(part.UncompressedSize64); insides > maxInsides {
				return &fault{reason: fmt.Sprintf("the workbook has over %d MiB of pictures and other parts", maxInsides>>20),
					hint: "Save the sheet alone, or as CSV UTF-8."}
			}
		}
	}
	if most >= strs {
		return damaged(fmt.Errorf("a cell has text %d of %d", most+1, strs))
	}
	return nil
}

// partCheck is what is seen of one part.
type partCheck struct {
	root    string
	strings int // shared strings in it
	most    int // highest index of a shared string that a cell has, -1 for none
	row     int // number of the open or last row
	column  int // number of the open or last cell
	shared  bool
	inValue bool
	value   []byte
}

// read goes through a part if it is a worksheet or the shared strings.
func (p *partCheck) read(part *zip.File) error {
	in, err := part.Open()
	if err != nil {
		return err
	}
	defer in.Close()
	dec := xml.NewDecoder(&runs{in: in})
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch t := token.(type) {
		case xml.StartElement:
			if p.root == "" {
				if p.root = t.Name.Local; p.root != "worksheet" && p.root != "sst" {
					return nil
				}
			}
			if err := p.start(t); err != nil {
				return err
			}
		case xml.CharData:
			if p.inValue {
				p.value = append(p.value, t...)
			}
		case xml.EndElement:
			if p.inValue && t.Name.Local == "v" {
				p.inValue = false
				if err := p.index(); err != nil {
					return err
				}
			}
		}
	}
}

// start takes the beginning of an element.
func (p *partCheck) start(t xml.StartElement) error {
	switch t.Name.Local {
	case "si":
		p.strings++
	case "row":
		p.column = 0
		return p.rising(&p.row, attr(t, "r"), maxRows)
	case "c":
		p.shared = attr(t, "t") == "s"
		number := ""
		if name := attr(t, "r"); name != "" {
			column, row := coordinates(name)
			if column == 0 || row != p.row {
				return fmt.Errorf("a cell of row %d is called %q", p.row, printable(name))
			}
			number = strconv.Itoa(column)
		}
		return p.rising(&p.column, number, maxColumn)
	case "v":
		p.inValue = p.shared
		p.value = p.value[:0]
	}
	return nil
}

// rising counts to the number that an element gives itself, or by one if it gives
// none.
func (p *partCheck) rising(at *int, number string, most int) error {
	n := *at + 1
	if number != "" {
		var err error
		if n, err = strconv.Atoi(number); err != nil || n <= *at {
			return fmt.Errorf("in row %d, %q comes after %d", p.row, printable(number), *at)
		}
	}
	if *at = n; n > most {
		return fmt.Errorf("it goes to row %d, column %d", p.row, p.column)
	}
	return nil
}

// index reads the value of a cell that stands for a shared string.
func (p *partCheck) index() error {
	value := bytes.TrimSpace(p.value)
	if len(value) == 0 {
		return nil
	}
	n, err := strconv.Atoi(string(value))
	if err != nil || n < 0 {
		return fmt.Errorf("a cell of row %d has text %q", p.row, printable(string(p.value)))
	}
	p.most = max(p.most, n)
	return nil
}

func attr(t xml.StartElement, name string) string {
	for _, a := range t.Attr {
		if a.Name.Local == name && a.Name.Space == "" {
			return a.Value
		}
	}
	return ""
}

// coordinates reads a cell's name, as in "AB12"; 0 is what has no meaning.
func coordinates(name string) (column, row int) {
	i := 0
	for ; i < len(name) && i < 4 && name[i]|0x20 >= 'a' && name[i]|0x20 <= 'z'; i++ {
		column = column*26 + int(name[i]|0x20-'a') + 1
	}
	row, err := strconv.Atoi(name[i:])
	if err != nil {
		return 0, 0
	}
	return column, row
}

// runs passes XML on and refuses a tag or text without end before a decoder
// takes it into memory.
type runs struct {
	in  io.Reader
	run int
}

// Read implements io.Reader.
func (r *runs) Read(p []byte) (int, error) {
	n, err := r.in.Read(p)
	if i := bytes.LastIndexByte(p[:n], '<'); i >= 0 {
		r.run = n - i
	} else if r.run += n; r.run > maxRun {
		return 0, fmt.Errorf("a tag or text is over %d MiB", maxRun>>20)
	}
	return n, err
}
