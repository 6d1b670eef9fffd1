package sheet

import (
	"bufio"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/text/encoding/unicode"
)

// mostDepth is how deep the elements of a part may stand in each other. A decoder
// remembers each that is open, and a file that packs well may open millions.
const mostDepth = 256

// decoder reads the XML of a part. What it takes into memory at once is bounded,
// however much a small file unpacks to.
type decoder struct {
	xml     *xml.Decoder
	in      *partReader
	depth   int
	charset string // that the part says it is written in, and that is not read
	// choices says that all contents count that programs offer each other to choose from.
	choices bool
}

// newDecoder reads a part in one of the two encodings that the format allows.
func newDecoder(in *partReader) *decoder {
	d := &decoder{in: in}
	text := bufio.NewReader(in)
	wide := false
	if mark, err := text.Peek(2); err == nil && (string(mark) == "\xFE\xFF" || string(mark) == "\xFF\xFE") {
		wide = true
		text = bufio.NewReader(unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewDecoder().Reader(text))
	}
	d.xml = xml.NewDecoder(text)
	d.xml.CharsetReader = func(label string, in io.Reader) (io.Reader, error) {
		if wide && strings.EqualFold(label, "UTF-16") {
			return in, nil
		}
		d.charset = label
		return nil, errors.ErrUnsupported
	}
	return d
}

// Token returns the next token, as xml.Decoder does.
func (d *decoder) Token() (xml.Token, error) {
	d.in.run = 0
	token, err := d.xml.Token()
	switch {
	case d.charset != "":
		return nil, fmt.Errorf("it says that it is written in %s, and parts of a workbook are in UTF-8 or UTF-16", printable(d.charset))
	case err != nil:
		return nil, err
	}
	switch token.(type) {
	case xml.StartElement:
		if d.depth++; d.depth > mostDepth {
			return nil, fmt.Errorf("over %d elements stand in each other", mostDepth)
		}
	case xml.EndElement:
		d.depth--
	}
	return token, nil
}

// root opens the root element, which is to have this name.
func (d *decoder) root(name string) error {
	el, _, err := d.child(0)
	switch {
	case errors.Is(err, io.EOF):
		return fmt.Errorf("it has no %s", name)
	case err != nil:
		return err
	case name == "Relationships" && el.Name.Local == name: // some leave out its namespace
	case el.Name.Local == name && !ours(el.Name, name):
		return fmt.Errorf("its %s belongs to another format", name)
	case el.Name.Local != name:
		return fmt.Errorf("it is a %s and not a %s", printable(el.Name.Local), name)
	}
	return nil
}

// child opens the next child of the element at a depth, and passes over what was not
// read of the one before. ok is false at the end of the element.
func (d *decoder) child(depth int) (el xml.StartElement, ok bool, err error) {
	for {
		token, err := d.Token()
		if err != nil || d.depth < depth {
			return el, false, err
		}
		if el, ok = token.(xml.StartElement); ok && d.depth == depth+1 {
			return el, true, nil
		}
	}
}

// end goes on to the end of the part.
func (d *decoder) end() error {
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// each hands the children of the open element that have a name to do, or all if the
// name is empty. do reads of a child what it needs.
func (d *decoder) each(name string, do func(xml.StartElement) error) error {
	for depth := d.depth; ; {
		el, ok, err := d.child(depth)
		switch {
		case err != nil || !ok:
			return err
		case d.choices && (el.Name.Local == "AlternateContent" || el.Name.Local == "Choice" || el.Name.Local == "Fallback"):
			err = d.each(name, do)
		case name == "" || ours(el.Name, name):
			err = do(el)
		}
		if err != nil {
			return err
		}
	}
}

// text appends the text of the open element, which has nothing but text in it.
func (d *decoder) text(text []byte) ([]byte, error) {
	for {
		token, err := d.Token()
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

// richText appends the text of the open element: that of its t elements, alone or in
// runs of one look each. How East Asian words are pronounced is no part of it. run says
// that the element is such a run.
func (d *decoder) richText(text []byte, run bool) ([]byte, error) {
	err := d.each("", func(el xml.StartElement) (err error) {
		switch {
		case ours(el.Name, "t"):
			text, err = d.text(text)
		case ours(el.Name, "r") && run:
			err = errors.New("a run of text is inside another")
		case ours(el.Name, "r"):
			text, err = d.richText(text, true)
		default:
			err = refuseAlternatives(el)
		}
		return err
	})
	return text, err
}

// refuseAlternatives refuses a choice between several contents where each of them
// would be another value.
func refuseAlternatives(el xml.StartElement) error {
	if el.Name.Local == "AlternateContent" {
		return errors.New("there are several alternatives of a cell")
	}
	return nil
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

// relationshipID returns the relationship that an element names.
func relationshipID(t xml.StartElement) string {
	for _, a := range t.Attr {
		switch a.Name.Space {
		case "", "http://schemas.openxmlformats.org/officeDocument/2006/relationships", "http://purl.oclc.org/ooxml/officeDocument/relationships":
			if a.Name.Local == "id" {
				return a.Value
			}
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
