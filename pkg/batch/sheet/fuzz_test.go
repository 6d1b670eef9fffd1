package sheet_test

import (
	"encoding/csv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
)

func FuzzReader(f *testing.F) {
	for _, text := range []string{
		"", head, head + "revoke,lead,1,u\n", "\ufeff" + head + "revoke,\"le\r\nad\",\"1\"\"\",u",
		"sep=;\naction;object;record_id;user\n\n;;;\nrevoke;lead;1;a@b.c\r\n",
		"action|object|record_id|user||" + strings.Join(sheet.ResultColumns(), "|") + "\nrevoke|lead|1|u||2|done||||||||\n",
		bytes16(head+"revoke,lead,1,ü💡\n", false), bytes16(head+"revoke,lead,1,u\n", true),
		head + "revoke,\"lead,1,u\n", head + "revoke,lead\n", head + "a\"b,,,\n", head + "\xE9,,,\n", head + "\x00,,,\n",
		"action\tobject\trecord_id\tuser\rrevoke\tlead\t1\tu\r", "PK\x03\x04", "\xFF\xFE\x00",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r, records, err := read(string(text), "s.csv")
		line, columns := 1, 0
		if r != nil {
			columns = len(r.Layout().Columns)
		}
		for _, rec := range records {
			if rec.Line <= line {
				t.Fatalf("line %d comes after line %d", rec.Line, line)
			}
			line = rec.Line
			if len(rec.Cells) != columns {
				t.Fatalf("line %d has %d cells, the header has %d", rec.Line, len(rec.Cells), columns)
			}
			for _, cell := range rec.Cells {
				if !utf8.ValidString(cell) || strings.Contains(cell, "\x00") {
					t.Fatalf("line %d has the cell %q", rec.Line, cell)
				}
			}
		}
		if err != nil {
			if e := refused(t, err); e.Reason == "" || !utf8.ValidString(e.Error()) || strings.ContainsAny(e.Error(), "\n\x1b") {
				t.Fatalf("refused with %q", e.Error())
			}
			return
		}
		if len(records) == 0 || r.SHA256() == "" {
			t.Fatalf("got %d records and hash %q without an error", len(records), r.SHA256())
		}
		again(t, r.Layout(), records, sheet.Options{})
	})
}

// Titles and names of one's own lose no row, and what is below the header is read as
// if nothing stood above it.
func FuzzHeader(f *testing.F) {
	for _, text := range []string{
		"Leavers\n" + head + "revoke,lead,1,u\n", "\"Leavers\n\n\"x\naction;object;Nr;user\n\nrevoke;lead;1;u\n", "sep=;\nx\naction;object;Nr;user\nrevoke;lead;1;u",
		"\xE9\x00\r\n" + head + "a,b,c,d", head + "revoke,lead,1,u\n", bytes16("x\n"+head+"revoke,lead,1,u\n", false),
		"Nr,action,object,user," + strings.Join(sheet.ResultColumns(), ",") + "\n1,revoke,lead,u,2,done,,,,,,,,\n",
	} {
		for at := range 4 {
			f.Add([]byte(text), uint16(at), "Nr")
		}
	}
	f.Fuzz(func(t *testing.T, text []byte, at uint16, header string) {
		opt := sheet.Options{HeaderRow: int(at), Map: []sheet.Mapping{{Header: header, Column: "record_id"}}}
		r, records, err := readWith(string(text), opt)
		if err != nil {
			e := refused(t, err)
			if said := e.Error() + e.Hint; !utf8.ValidString(said) || strings.ContainsAny(said, "\n\x1b") {
				t.Fatalf("refused with %q, %q", e.Error(), e.Hint)
			}
			return
		}
		if l := r.Layout(); !l.IsResult && len(records) > 0 && records[0].Line <= int(at) {
			t.Fatalf("line %d is a row, the header was to be in line %d", records[0].Line, at)
		}
		again(t, r.Layout(), records, sheet.Options{Map: opt.Map})
	})
}

// again writes the records as the standard library does and reads them back.
func again(t *testing.T, l sheet.Layout, records []sheet.Record, opt sheet.Options) {
	t.Helper()
	var b strings.Builder
	b.WriteString("\ufeff") // so that a first cell which begins with one keeps it
	w := csv.NewWriter(&b)
	w.Comma = rune(l.Delimiter[0])
	rows := [][]string{l.Columns}
	for _, rec := range records {
		rows = append(rows, rec.Cells)
	}
	if err := w.WriteAll(rows); err != nil {
		t.Fatal(err)
	}
	r, copies, err := readWith(b.String(), opt)
	if err != nil {
		t.Fatalf("read what was written, %q: %v", b.String(), err)
	}
	if len(copies) != len(records) || !cmp.Equal(r.Layout().Columns, l.Columns) {
		t.Fatalf("got %d records under %q back, want %d under %q", len(copies), r.Layout().Columns, len(records), l.Columns)
	}
	for i, rec := range records {
		if !cmp.Equal(copies[i].Cells, rec.Cells) {
			t.Fatalf("got %q back, want %q", copies[i].Cells, rec.Cells)
		}
	}
}
