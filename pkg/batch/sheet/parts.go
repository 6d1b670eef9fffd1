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

// The limits of a workbook's parts.
const (
	// maxRun is the longest tag or text. A cell has at most 32767
	// characters, which take up to six bytes each when they are escaped.
	maxRun = 1 << 20
	// maxSmall is for the parts that are held in memory as a whole: the list of
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
	texts  *texts
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
	ID     string `xml:"Id,attr"`
	Type   string `xml:"Type,attr"`
	Target string `xml:"Target,attr"`
	Mode   string `xml:"TargetMode,attr"`
}

// relationships are those of one part.
type relationships struct {
	XMLName xml.Name       `xml:"Relationships"`
	All     []relationship `xml:"Relationship"`
}

// kind is what a relationship is for: the end of its type, which is the same in the
// transitional and in the strict variant of the format.
func (r relationship) kind() string { return path.Base(r.Type) }

// openWorkbook reads what a workbook says about its sheets.
func openWorkbook(packed []byte) (*workbook, error) {
	archive, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
	if err != nil {
		return nil, damaged(err)
	}
	wb := &workbook{parts: make(map[string]*zip.File), left: maxUnpacked}
	for _, part := range archive.File {
		if strings.Contains(part.Name, "../") {
			return nil, damaged(fmt.Errorf("it has a part named %q", part.Name))
		}
		// Some writers separate folders as Windows does.
		name := strings.ToLower(strings.TrimPrefix(strings.ReplaceAll(part.Name, `\`, "/"), "/"))
		if wb.parts[name] != nil {
			return nil, damaged(fmt.Errorf("it has two parts named %q", part.Name))
		}
		wb.parts[name] = part
	}
	if err := wb.readRoot(); err != nil {
		return nil, errors.Join(err, wb.close())
	}
	return wb, nil
}

// readRoot goes from the package to the workbook, and from there to its parts.
func (wb *workbook) readRoot() error {
	rels, err := wb.relationships("")
	if err != nil {
		return err
	}
	main := ""
	for _, r := range rels {
		if r.kind() == "officeDocument" {
			if main != "" {
				return damaged(errors.New("it names two workbooks"))
			}
			main = r.Target
		}
	}
	switch {
	case strings.EqualFold(path.Ext(main), ".bin"):
		return &fault{reason: "is a binary workbook (.xlsb)", hint: "Save it as .xlsx or as CSV UTF-8."}
	case main == "":
		return damaged(errors.New("it does not say where its workbook is"))
	}
	var book struct {
		XMLName xml.Name `xml:"workbook"`
		Pr      struct {
			Date1904 string `xml:"date1904,attr"`
		} `xml:"workbookPr"`
		Sheets []struct {
			Name  string `xml:"name,attr"`
			State string `xml:"state,attr"`
			ID    string `xml:"id,attr"` // of its relationship
		} `xml:"sheets>sheet"`
		Calculation struct {
			OnLoad    string `xml:"fullCalcOnLoad,attr"`
			Completed string `xml:"calcCompleted,attr"`
		} `xml:"calcPr"`
	}
	if err := wb.decode(main, &book); err != nil {
		return err
	}
	wb.date1904 = yes(book.Pr.Date1904)
	wb.stale = yes(book.Calculation.OnLoad) || book.Calculation.Completed != "" && !yes(book.Calculation.Completed)
	if rels, err = wb.relationships(main); err != nil {
		return err
	}
	byID := make(map[string]relationship)
	one := make(map[string]string) // parts of which there is one
	for _, r := range rels {
		if _, twice := byID[r.ID]; twice {
			return damaged(fmt.Errorf("%s: the relationship %q is there twice", main, printable(r.ID)))
		}
		byID[r.ID] = r
		switch kind := r.kind(); kind {
		case "sharedStrings", "styles":
			if one[kind] != "" {
				return damaged(fmt.Errorf("%s: there are two parts of the kind %s", main, kind))
			}
			one[kind] = r.Target
		}
	}
	named := make(map[string]bool)
	for _, s := range book.Sheets {
		if named[s.Name] {
			return damaged(fmt.Errorf("%s: two sheets are called %q", main, printable(s.Name)))
		}
		named[s.Name] = true
		r := byID[s.ID]
		t := tab{name: s.Name, hidden: s.State != "" && s.State != "visible", kind: r.kind(), part: r.Target}
		if r.ID == "" {
			t.kind = "missing"
		}
		wb.sheets = append(wb.sheets, t)
	}
	if wb.styles, err = wb.readStyles(one["styles"]); err != nil {
		return err
	}
	wb.texts, err = wb.readTexts(one["sharedStrings"])
	return err
}

// relationships returns those of a part, with their targets as names of parts; ""
// is the package. What is outside of the workbook is left out.
func (wb *workbook) relationships(of string) ([]relationship, error) {
	dir, base := path.Split(of)
	name := path.Join(dir, "_rels", base+".rels")
	if wb.parts[strings.ToLower(name)] == nil {
		return nil, nil
	}
	var list relationships
	if err := wb.decode(name, &list); err != nil {
		return nil, err
	}
	var inside []relationship
	for _, r := range list.All {
		if strings.EqualFold(r.Mode, "External") {
			continue
		}
		r.Target = strings.ReplaceAll(r.Target, `\`, "/")
		if rooted, ok := strings.CutPrefix(r.Target, "/"); ok {
			r.Target = path.Clean(rooted)
		} else {
			r.Target = path.Join(dir, r.Target)
		}
		inside = append(inside, r)
	}
	return inside, nil
}

// decode reads a small part as a whole.
func (wb *workbook) decode(name string, into any) error {
	in, err := wb.open(name)
	if err != nil {
		return err
	}
	defer in.Close() // it is only read
	if size := in.part.UncompressedSize64; size > maxSmall {
		return damaged(fmt.Errorf("%s: it is over %d MiB", name, maxSmall>>20))
	}
	dec := newDecoder(in)
	var tokens xml.TokenReader = own{dec}
	if _, ok := into.(*relationships); ok {
		tokens = dec // they have a namespace of their own, which some leave out
	}
	if err := dec.decode(into, tokens); err != nil {
		return partError(name, err)
	}
	return nil
}

// partError says which part an error is about. What a temporary file failed with is no
// fault of the workbook.
func partError(name string, err error) error {
	if _, ok := errors.AsType[*fault](err); ok {
		return err
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return err
	}
	return damaged(fmt.Errorf("%s: %w", name, err))
}

// open opens a part. What is read from it counts for the whole workbook, and a tag
// or text without end is refused before a decoder takes it into memory.
func (wb *workbook) open(name string) (*partReader, error) {
	part := wb.parts[strings.ToLower(name)]
	if part == nil {
		return nil, damaged(fmt.Errorf("it has no part %s", name))
	}
	in, err := part.Open()
	if err != nil {
		return nil, damaged(fmt.Errorf("%s: %w", name, err))
	}
	return &partReader{ReadCloser: in, part: part, left: &wb.left}, nil
}

// close gives back what the workbook holds.
func (wb *workbook) close() error {
	if wb.texts == nil {
		return nil
	}
	return wb.texts.close()
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

// yes reads a truth value of XML.
func yes(s string) bool { return s == "1" || s == "true" }

// attr returns an attribute that has no namespace of its own, "" if it is not there.
func attr(t xml.StartElement, name string) string {
	for _, a := range t.Attr {
		if a.Name.Local == name && a.Name.Space == "" {
			return a.Value
		}
	}
	return ""
}

// ours reports whether an element belongs to the spreadsheet format itself, in
// either of its variants, and has this name. What other programs have added, and
// the alternatives that they offer each other, are in namespaces of their own.
func ours(name xml.Name, local string) bool {
	return name.Local == local &&
		(name.Space == "http://schemas.openxmlformats.org/spreadsheetml/2006/main" || name.Space == "http://purl.oclc.org/ooxml/spreadsheetml/main")
}
