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
	extent Extent
}

// source is where rows come from.
type source interface {
	// next returns the next row that is not blank, without its fields. The error is
	// io.EOF at the end, an *Error, or what the input failed with.
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
	if opt.AnyHeader {
		r.opt.Map, r.opt.HeaderRow = nil, 0
	}
	names, err := newNaming(r.opt)
	switch {
	case err != nil:
	case strings.EqualFold(filepath.Ext(name), ".xlsx"):
		err = r.openBook(in, names)
	default:
		err = r.openText(in, names)
	}
	if err != nil {
		return nil, r.explain(err)
	}
	r.layout.Columns, r.layout.IsResult = r.header.columns, r.header.isResult
	for i := range r.layout.Columns {
		r.layout.Keep = append(r.layout.Keep, i)
	}
	r.layout.Mapped = names.meanings(r.layout.Columns)
	r.extent.measure(r.header.line, r.layout.Columns)
	return r, nil
}

// explain gives a refusal the names that belong to it, and any other error its
// context.
func (r *Reader) explain(err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return fmt.Errorf("read %s: %w", display(r.name), err)
	}
	e.Name = r.name
	if r.header != nil && 0 < e.Column && e.Column <= len(r.header.columns) {
		e.Header = printable(r.header.columns[e.Column-1])
	}
	return e
}

// Layout returns how the sheet is written. Dropped and Dates are final after All has ended
// without an error.
func (r *Reader) Layout() Layout {
	l := r.layout
	l.Columns, l.Keep, l.Dropped, l.Mapped = slices.Clone(l.Columns), slices.Clone(l.Keep), slices.Clone(l.Dropped), maps.Clone(l.Mapped)
	l.Dates = slices.Clone(l.Dates)
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
		batch := make([]Record, 0, batchSize)
		empty := slices.Clone(r.header.unnamed) // columns without a name or a value
		var end error
		for end == nil {
			for batch = batch[:0]; end == nil && len(batch) < batchSize; {
				var rec Record
				if rec, end = r.src.next(); end == nil {
					cells := rec.Cells
					empty = slices.DeleteFunc(empty, func(pos int) bool { return cells[pos] != "" })
					r.extent.Rows++
					r.extent.measure(rec.Line, cells)
					batch = append(batch, rec)
				}
			}
			if err := fill.fill(batch); err != nil {
				yield(Record{}, fmt.Errorf("read %s: %w", display(r.name), err))
				return
			}
			for _, rec := range batch {
				if !yield(rec, nil) {
					return
				}
			}
		}
		switch {
		case !errors.Is(end, io.EOF):
			yield(Record{}, r.explain(end))
		case r.extent.Rows == 0 && !r.opt.AllowEmpty:
			reason := "the sheet has a header and no row"
			if w := r.Worksheet(); w != nil && w.SkippedRows > 0 {
				reason += " that is not hidden"
			}
			yield(Record{}, &Error{Name: r.name, Reason: reason,
				Hint: "If it may be empty, as on a night on which nobody leaves, give --allow-empty."})
		default:
			r.layout.Dropped = append(r.layout.Dropped, empty...)
			if book, ok := r.src.(*bookSource); ok {
				r.layout.Dates = book.dateColumns()
			}
			r.sum = hex.EncodeToString(r.hash.Sum(nil))
		}
	}
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
