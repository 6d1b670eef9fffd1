package report

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xuri/excelize/v2"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/find"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
)

// foundRows are rows of which the first two cells are ours.
func foundRows(rows ...[]string) Found {
	return Found{
		Layout: sheet.Layout{Delimiter: ";", Newline: "\r\n"}, Columns: []string{"decision", "note", "person_x"}, Ours: 2, Writing: func(string) error { return nil },
		Rows: func(yield func([]string, error) bool) {
			for _, row := range rows {
				if !yield(row, nil) {
					return
				}
			}
		},
	}
}

func TestWriteFoundText(t *testing.T) {
	t.Parallel()
	f := foundRows([]string{"", "=evil()", "=theirs"}, []string{"keep", "a;b", "00123"})
	f.Path = filepath.Join(t.TempDir(), "f.csv")
	told := ""
	f.Writing = func(hash string) error { told = hash; return nil }
	hash, err := WriteFound(t.Context(), f)
	if err != nil || hash == "" || hash != told {
		t.Fatalf("hash %q, told %q, %v", hash, told, err)
	}
	text, err := os.ReadFile(f.Path)
	if want := "decision;note;person_x\r\n;'=evil();=theirs\r\nkeep;\"a;b\";00123\r\n"; err != nil || string(text) != want {
		t.Errorf("got %q, want %q, %v", text, want, err)
	}
	// What find wrote is replaced; what somebody has changed is not, nor what find never wrote.
	f.Written = []string{hash}
	if _, err := WriteFound(t.Context(), f); err != nil {
		t.Errorf("its own file: %v", err)
	}
	for name, change := range map[string]func() error{
		"changed": func() error { return os.WriteFile(f.Path, append(text, '\n'), 0o600) },
		"a link":  func() error { return errors.Join(os.Rename(f.Path, f.Path+"2"), os.Symlink(f.Path+"2", f.Path)) },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		before, _ := os.ReadFile(f.Path)
		if _, err := WriteFound(t.Context(), f); err == nil {
			t.Errorf("%s: it was written over", name)
		}
		if after, _ := os.ReadFile(f.Path); string(before) != string(after) {
			t.Errorf("%s: it is %q now", name, after)
		}
	}
	// Nothing is put in place of which the hash is not known.
	g := foundRows()
	g.Path, g.Writing = filepath.Join(t.TempDir(), "g.csv"), func(string) error { return errors.New("full") }
	if _, err := WriteFound(t.Context(), g); err == nil {
		t.Error("an error of Writing is lost")
	}
	if _, err := os.Stat(g.Path); err == nil {
		t.Error("the file was put in place all the same")
	}
}

func TestWriteFoundBook(t *testing.T) {
	t.Parallel()
	f := foundRows([]string{"", "n", "00123"}, []string{"", "4150868000001248015", "4150868000001248015"})
	f.Path = filepath.Join(t.TempDir(), "f.xlsx")
	if _, err := WriteFound(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	book, err := excelize.OpenFile(f.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer book.Close() // it is only read
	for cell, want := range map[string]string{"A1": "decision", "C2": "00123", "B3": "4150868000001248015"} {
		got, err := book.GetCellValue(foundSheet, cell)
		kind, err2 := book.GetCellType(foundSheet, cell)
		if err := errors.Join(err, err2); err != nil || got != want || kind != excelize.CellTypeInlineString {
			t.Errorf("%s: %q of type %v, want the text %q, %v", cell, got, kind, want, err)
		}
	}
	lists, err := book.GetDataValidations(foundSheet)
	if err != nil || len(lists) != 1 || lists[0].Sqref != "A2:A1048576" || lists[0].Formula1 != `"revoke,share,keep"` {
		t.Errorf("drop-downs: %+v, %v", lists, err)
	}
}

func TestCoverageFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "c.json")
	c := &find.Coverage{Schema: find.CoverageSchema, SHA256: "abc", Accounts: []find.CoverageAccount{}, NotCovered: []string{"x > y"}}
	for range 2 {
		if err := WriteCoverage(t.Context(), path, c); err != nil {
			t.Fatal(err)
		}
	}
	if got := CoverageHash(path); got != "abc" {
		t.Errorf("the hash is %q", got)
	}
	text, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(text), "x > y") {
		t.Errorf("%s, %v", text, err)
	}
	if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := WriteCoverage(t.Context(), path, c); err == nil {
		t.Error("another file was written over")
	}
}
