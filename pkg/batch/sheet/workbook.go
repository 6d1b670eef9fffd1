package sheet

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// The limits of a workbook and its parts. The packed file is held in memory, its rows
// are not. A million rows of about 100 bytes are some 50 MiB packed and 400 MiB
// unpacked.
const (
	maxPacked   = 96 << 20
	maxUnpacked = 1 << 30
	// maxRun is the longest tag or text. A cell has at most 32767
	// characters, which take up to six bytes each when they are escaped.
	maxRun = 1 << 20
	// maxSmall is for the parts of which all is held in memory: the list of
	// sheets, relationships, styles and tables.
	maxSmall = 64 << 20
)

// workbook is a package of parts. Nothing in it is looked up by a customary name:
// the relationships say where the workbook, its sheets, its texts and its styles
// are, and writers differ in what they call them.
type workbook struct {
	parts    map[string]*zip.File // by name in lower case
	left     int64                // bytes that may still be unpacked
	sheets   []tab
	date1904 bool // days are counted from 1904 on
	// stale says that the values of formulas are not to be relied on: the workbook asks
	// for all of them to be calculated when it is opened, or was saved while they were
	// not. Libraries that cannot calculate write 0 and say so here.
	stale  bool
	texts  texts
	styles styles
}

// tab is a sheet as the workbook lists it.
type tab struct {
	name   string
	hidden bool   // or very hidden
	kind   string // kindRows, or what else it is
	part   string // where its rows are
}

// kindRows is the kind of a sheet that holds rows: a worksheet.
const kindRows = "worksheet"

// relationship says where a part is that another one needs.
type relationship struct {
	id     string
	kind   string // what it is for: the end of its type, which is the same in both variants of the format
	target string // the name of the part
}

// damaged refuses a workbook that can not be read as one.
func damaged(err error) *Error {
	return &Error{damaged: true, Reason: "the workbook is damaged: " + oneLine(err.Error(), 240),
		Hint: "Open it in a spreadsheet and save it again as .xlsx or as CSV UTF-8."}
}

// openWorkbook reads what a workbook says about its sheets. The workbook is to be
// closed, with an error too.
func openWorkbook(packed []byte) (*workbook, error) {
	wb := &workbook{parts: make(map[string]*zip.File), left: maxUnpacked}
	archive, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
	if err != nil {
		return wb, damaged(err)
	}
	for _, part := range archive.File {
		if strings.Contains(part.Name, "../") {
			return wb, damaged(fmt.Errorf("it has a part named %q", part.Name))
		}
		// Some writers separate folders as Windows does.
		name := strings.ToLower(strings.TrimPrefix(strings.ReplaceAll(part.Name, `\`, "/"), "/"))
		if wb.parts[name] != nil {
			return wb, damaged(fmt.Errorf("it has two parts named %q", part.Name))
		}
		wb.parts[name] = part
	}
	rels, err := wb.relationships("")
	if err != nil {
		return wb, err
	}
	main := ""
	for _, r := range rels {
		if r.kind == "officeDocument" {
			if main != "" {
				return wb, damaged(errors.New("it names two workbooks"))
			}
			main = r.target
		}
	}
	switch {
	case strings.EqualFold(path.Ext(main), ".bin"):
		return wb, &Error{Reason: "is a binary workbook (.xlsb)", Hint: "Save it as .xlsx or as CSV UTF-8."}
	case main == "":
		return wb, damaged(errors.New("it does not say where its workbook is"))
	}
	return wb, wb.readMain(main)
}

// readMain reads the part that lists the sheets, and goes from there to texts and styles.
func (wb *workbook) readMain(main string) error {
	rels, err := wb.relationships(main)
	if err != nil {
		return err
	}
	byID := make(map[string]relationship)
	one := make(map[string]string) // parts of which there is one
	for _, r := range rels {
		if _, twice := byID[r.id]; twice {
			return damaged(fmt.Errorf("%s: the relationship %q is there twice", main, printable(r.id)))
		}
		byID[r.id] = r
		if r.kind == "sharedStrings" || r.kind == "styles" {
			if one[r.kind] != "" {
				return damaged(fmt.Errorf("%s: there are two parts of the kind %s", main, r.kind))
			}
			one[r.kind] = r.target
		}
	}
	named := make(map[string]bool)
	err = wb.read(main, "workbook", func(dec *decoder, el xml.StartElement) error {
		switch {
		case ours(el.Name, "workbookPr"):
			wb.date1904 = yes(attr(el, "date1904"))
		case ours(el.Name, "calcPr"):
			completed := attr(el, "calcCompleted")
			wb.stale = yes(attr(el, "fullCalcOnLoad")) || completed != "" && !yes(completed)
		case ours(el.Name, "sheets"):
			return dec.each("sheet", func(el xml.StartElement) error {
				t := tab{name: attr(el, "name"), kind: "missing"}
				if named[t.name] {
					return fmt.Errorf("two sheets are called %q", printable(t.name))
				}
				named[t.name] = true
				state := attr(el, "state")
				t.hidden = state != "" && state != "visible"
				if r := byID[relationshipID(el)]; r.id != "" {
					t.kind, t.part = r.kind, r.target
				}
				wb.sheets = append(wb.sheets, t)
				return nil
			})
		}
		return nil
	})
	if err == nil {
		wb.styles, err = wb.readStyles(one["styles"])
	}
	if err == nil {
		err = wb.readTexts(one["sharedStrings"])
	}
	return err
}

// relationships returns those of a part; "" is the package. What is outside of the
// workbook is left out.
func (wb *workbook) relationships(of string) (list []relationship, err error) {
	dir, base := path.Split(of)
	name := path.Join(dir, "_rels", base+".rels")
	if wb.parts[strings.ToLower(name)] == nil {
		return nil, nil
	}
	err = wb.read(name, "Relationships", func(_ *decoder, el xml.StartElement) error {
		if el.Name.Local != "Relationship" || strings.EqualFold(attr(el, "TargetMode"), "External") {
			return nil
		}
		target := strings.ReplaceAll(attr(el, "Target"), `\`, "/")
		if rooted, ok := strings.CutPrefix(target, "/"); ok {
			target = path.Clean(rooted)
		} else {
			target = path.Join(dir, target)
		}
		list = append(list, relationship{attr(el, "Id"), path.Base(attr(el, "Type")), target})
		return nil
	})
	return list, err
}

// read hands the children of a part's root element to do, and goes on to the part's
// end. But for the shared texts, parts are small.
func (wb *workbook) read(name, root string, do func(*decoder, xml.StartElement) error) error {
	dec, err := wb.open(name)
	if err != nil {
		return err
	}
	defer dec.in.Close() // it is only read
	if root != "sst" {
		dec.choices = true
		if dec.in.part.UncompressedSize64 > maxSmall {
			return damaged(fmt.Errorf("%s: it is over %d MiB", name, maxSmall>>20))
		}
	}
	if err = dec.root(root); err == nil {
		err = dec.each("", func(el xml.StartElement) error { return do(dec, el) })
	}
	if err == nil {
		err = dec.end()
	}
	return partError(name, err)
}

// partError says which part an error is about. What a temporary file failed with is no
// fault of the workbook.
func partError(name string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return err
	}
	return damaged(fmt.Errorf("%s: %w", name, err))
}

// open opens a part. What is read from it counts for the whole workbook, and a tag
// or text without end is refused before a decoder takes it into memory.
func (wb *workbook) open(name string) (*decoder, error) {
	part := wb.parts[strings.ToLower(name)]
	if part == nil {
		return nil, damaged(fmt.Errorf("it has no part %s", name))
	}
	in, err := part.Open()
	if err != nil {
		return nil, damaged(fmt.Errorf("%s: %w", name, err))
	}
	return newDecoder(&partReader{ReadCloser: in, part: part, left: &wb.left}), nil
}

// partReader passes the XML of a part on.
type partReader struct {
	io.ReadCloser
	part *zip.File
	left *int64
	run  int // bytes since the last tag or text ended, as the decoder says
}

// Read implements io.Reader.
func (r *partReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if *r.left -= int64(n); *r.left < 0 {
		return 0, fmt.Errorf("the workbook is over %d GiB when it is unpacked", maxUnpacked>>30)
	}
	if r.run += n; r.run > maxRun {
		return 0, fmt.Errorf("a tag or text is over %d MiB", maxRun>>20)
	}
	return n, err
}
