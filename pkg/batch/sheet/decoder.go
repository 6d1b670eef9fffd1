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

// Skip passes over the rest of the open element.
func (d *decoder) Skip() error {
	for outside := d.depth - 1; d.depth > outside; {
		if _, err := d.Token(); err != nil {
			return err
		}
	}
	return nil
}

// decode reads the part as a whole, to its end.
func (d *decoder) decode(into any, from xml.TokenReader) error {
	if err := xml.NewTokenDecoder(from).Decode(into); err != nil {
		return err
	}
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// own passes on what of a part belongs to the spreadsheet format itself. What other
// programs have added must not be taken for it because it is called the same. Of
// contents that they offer each other to choose from, all count. The root passes in any
// case, for whoever reads it to judge.
type own struct{ *decoder }

// Token implements xml.TokenReader.
func (o own) Token() (xml.Token, error) {
	for {
		token, err := o.decoder.Token()
		if err != nil {
			return nil, err
		}
		switch el := token.(type) {
		case xml.StartElement:
			if o.depth == 1 || ours(el.Name, el.Name.Local) {
				return xml.StartElement{Name: el.Name, Attr: ownAttributes(el.Attr)}, nil
			}
			if alternative(el.Name) {
				continue
			}
			if err := o.Skip(); err != nil {
				return nil, err
			}
		case xml.EndElement:
			if o.depth == 0 || ours(el.Name, el.Name.Local) {
				return el, nil
			}
		default:
			return token, nil
		}
	}
}

// ownAttributes leaves those of the format: without a namespace, or naming a
// relationship.
func ownAttributes(all []xml.Attr) (kept []xml.Attr) {
	for _, a := range all {
		switch a.Name.Space {
		case "http://schemas.openxmlformats.org/officeDocument/2006/relationships", "http://purl.oclc.org/ooxml/officeDocument/relationships":
			a.Name.Space = ""
			kept = append(kept, a)
		case "":
			if a.Name.Local != "xmlns" {
				kept = append(kept, a)
			}
		}
	}
	return kept
}

// alternative says whether an element is there only for contents to choose from.
func alternative(name xml.Name) bool {
	return name.Local == "AlternateContent" || name.Local == "Choice" || name.Local == "Fallback"
}
