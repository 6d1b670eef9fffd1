package sheet

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// batchSize is how many records go through gocsv together. Its preparation costs
// about as much as ten rows; beyond some hundred rows nothing more is gained.
const batchSize = 256

// Reader reads one sheet, once. It is not safe for concurrent use.
type Reader struct {
	name   string
	src    source
	header *header
	layout Layout
	opt    Options
	hash   hash.Hash
	sum    string
	used   bool
	filled []bool // by position in header.unnamed: some row has a value there
	extent Extent
}

// source is where rows come from.
type source interface {
	// next returns the next row that is not blank, without its fields. The error is
	// io.EOF at the end, a *fault, or what the input failed with.
	next() (Record, error)
	// close gives back what the source holds, but for the input itself.
	close() error
}

// Open reads the header of a sheet. The name is used in messages, and its
// extension decides the format: .xlsx is a workbook, anything else, "-" for
// standard input too, is text whose encoding and delimiter are detected.
//
// It reads as far as it must; the rest is read by All. A sheet that is refused
// gives an *Error, an input that can not be read another one. Whoever does not
// range over All calls Close. The input stays the caller's to close.
func Open(in io.Reader, name string, opt Options) (*Reader, error) {
	r := &Reader{name: name, opt: opt, hash: sha256.New()}
	err := r.open(in, opt)
	if err != nil {
		return nil, r.explain(err)
	}
	for i := range r.layout.Columns {
		r.layout.Keep = append(r.layout.Keep, i)
	}
	r.layout.IsResult = r.header.isResult
	r.layout.Mapped = r.header.names.meanings(r.layout.Columns)
	r.filled = make([]bool, len(r.header.unnamed))
	return r, nil
}

func (r *Reader) open(in io.Reader, opt Options) error {
	if opt.AnyHeader {
		opt.Map, opt.HeaderRow = nil, 0
	}
	names, f := newNaming(opt)
	if f != nil {
		return f
	}
	if strings.EqualFold(filepath.Ext(r.name), ".xlsx") {
		book, layout, err := openBook(in, r.hash, opt, names)
		r.layout = layout
		if err != nil {
			return err
		}
		r.src, r.header = book, book.header
		r.extent.measure(book.line, layout.Columns)
		return nil
	}
	text, layout, err := openText(io.TeeReader(in, r.hash), r.name, opt, names)
	r.layout = layout
	if err != nil {
		return err
	}
	r.src, r.header = text, text.header
	r.extent.measure(text.scan.start, layout.Columns)
	return nil
}

// explain gives a fault the names that belong to it, and any other error its
// context.
func (r *Reader) explain(err error) error {
	if f, ok := errors.AsType[*fault](err); ok {
		return f.refusal(r.name, r.layout.Columns)
	}
	return fmt.Errorf("read %s: %w", display(r.name), err)
}

// Layout returns how the sheet is written. Dropped is final after All has ended
// without an error.
func (r *Reader) Layout() Layout {
	l := r.layout
	l.Columns, l.Keep, l.Dropped, l.Mapped = slices.Clone(l.Columns), slices.Clone(l.Keep), slices.Clone(l.Dropped), maps.Clone(l.Mapped)
	return l
}

// Worksheet returns which sheet of an .xlsx is read; nil for a text.
func (r *Reader) Worksheet() *Worksheet {
	book, ok := r.src.(*bookSource)
	if !ok {
		return nil
	}
	sheet := book.sheet
	return &sheet
}

// Has reports whether the sheet has a column, by the name that Columns or
// PermissionColumns gives it. A sheet that names its users by e-mail address has
// the column "user".
func (r *Reader) Has(column string) bool {
	key := columnKey(column)
	return key != "" && (r.header.has(key) || key == "user" && r.header.has(keyEmail))
}

// All returns the records in the order of the sheet, once. An error is the last
// thing that it yields: an *Error if the sheet is refused, one without any row
// too unless Options.AllowEmpty takes it. Records that were yielded before it count for nothing then.
func (r *Reader) All() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		if r.used {
			yield(Record{}, errors.New("the sheet was read already"))
			return
		}
		r.used = true
		defer r.src.close()
		fill := newFiller(r.header)
		var batch []Record
		var end error
		rows := 0
		for end == nil {
			batch, end = r.batch(batch[:0])
			if err := fill.fill(batch); err != nil {
				yield(Record{}, fmt.Errorf("read %s: %w", display(r.name), err))
				return
			}
			for _, rec := range batch {
				if !yield(rec, nil) {
					return
				}
			}
			rows += len(batch)
		}
		if !errors.Is(end, io.EOF) {
			yield(Record{}, r.explain(end))
			return
		}
		if rows == 0 && !r.opt.AllowEmpty {
			reason := "the sheet has a header and no row"
			if w := r.Worksheet(); w != nil && w.SkippedRows > 0 {
				reason += " that is not hidden"
			}
			yield(Record{}, &Error{Name: r.name, Reason: reason,
				Hint: "If it may be empty, as on a night on which nobody leaves, give --allow-empty."})
			return
		}
		r.finish()
	}
}

// batch reads the next records, without their fields, and what stopped it.
func (r *Reader) batch(records []Record) ([]Record, error) {
	for len(records) < batchSize {
		rec, err := r.src.next()
		if err != nil {
			return records, err
		}
		for i, pos := range r.header.unnamed {
			r.filled[i] = r.filled[i] || rec.Cells[pos] != ""
		}
		r.extent.Rows++
		r.extent.measure(rec.Line, rec.Cells)
		records = append(records, rec)
	}
	return records, nil
}

// finish settles what is known only when every row was seen.
func (r *Reader) finish() {
	for i, pos := range r.header.unnamed {
		if !r.filled[i] {
			r.layout.Dropped = append(r.layout.Dropped, pos)
		}
	}
	r.sum = hex.EncodeToString(r.hash.Sum(nil))
}

// SHA256 returns the hash of the input's bytes in hex, or "" as long as All has
// not ended without an error.
func (r *Reader) SHA256() string { return r.sum }

// Close gives back what the reader holds; All does so by itself. It may be called
// at any time and more than once, and does not close the input.
func (r *Reader) Close() error {
	r.used = true
	return r.src.close()
}
