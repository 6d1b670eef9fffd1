package sheet

import (
	"archive/zip"
	"bytes"
	"io"
	"strings"
	"testing"
)

// All that is read of a workbook counts for one limit: what is packed well does not
// fill a disk or the memory.
func TestUnpackedSizeIsLimited(t *testing.T) {
	t.Parallel()
	var packed bytes.Buffer
	w := zip.NewWriter(&packed)
	part, err := w.Create("a.xml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(part, strings.Repeat("<a/>", 100)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	archive, err := zip.NewReader(bytes.NewReader(packed.Bytes()), int64(packed.Len()))
	if err != nil {
		t.Fatal(err)
	}
	wb := &workbook{parts: map[string]*zip.File{"a.xml": archive.File[0]}, left: 1000}
	for i, want := range []string{"", "", "the workbook is over 1 GiB when it is unpacked"} {
		dec, err := wb.open("A.xml")
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if _, err := io.Copy(io.Discard, dec.in); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("reading %d: got error %q, want %q", i, got, want)
		}
		if err := dec.in.Close(); err != nil {
			t.Error(err)
		}
	}
}
