package find

import (
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// RecordsFile is a file with the ids of records that are to be looked at. It is read twice:
// to see that it is good, and how long it is, and then id by id.
type RecordsFile struct {
	path   string
	sha256 string
	sheet  sheet.Options
	column int            // of the ids
	module int            // the column of the modules, -1 without
	object string         // the module where there is no column
	counts map[string]int // records by module
	ids    int64
}

// OpenRecords checks a file of records. module is that of records whose file does not say;
// "" is the first word of the file's name. read returns the record that a module and an id
// name, as it is spelled, or what is wrong with them.
func OpenRecords(path, module string, o sheet.Options, read func(object, id string) (crm.RecordID, error)) (*RecordsFile, error) {
	o.Path, o.AnyHeader, o.Map, o.HeaderRow = path, true, nil, 0
	f := &RecordsFile{path: path, sheet: o, object: module, counts: make(map[string]int)}
	if f.object == "" {
		f.object = firstWord(path)
	}
	var wrong []error
	long, rounded := 0, 0
	for r, err := range f.rows(read) {
		switch {
		case err != nil:
			return nil, err
		case r.wrong != nil:
			wrong = append(wrong, r.wrong)
			continue
		}
		f.ids++
		f.counts[r.id.Object]++
		if id := r.id.Record; len(id) > exactDigits && strings.Trim(id, "0123456789") == "" {
			if long++; strings.Trim(id[exactDigits:], "0") == "" {
				rounded++
			}
		}
	}
	if err := some(wrong); err != nil {
		return nil, err
	}
	if rounded > 1 && rounded*100 > long {
		return nil, &Error{
			Reason: fmt.Sprintf("%s: %d of %d long ids end in zeros after %d digits, as a spreadsheet leaves them that has rounded them", path, rounded, long, exactDigits),
			Hint:   "Export the records again, and do not save the file with a spreadsheet.",
		}
	}
	return f, nil
}

// exactDigits is how many digits of a number a spreadsheet keeps.
const exactDigits = 15

// recordRow is a row of such a file: a record, or what is wrong with it.
type recordRow struct {
	id    crm.RecordID
	wrong error
}

// rows streams the rows of the file. The first error ends them.
func (f *RecordsFile) rows(read func(object, id string) (crm.RecordID, error)) iter.Seq2[recordRow, error] {
	return func(yield func(recordRow, error) bool) {
		file, err := os.Open(f.path)
		if err != nil {
			yield(recordRow{}, &Error{Reason: fmt.Sprintf("--records %s: it can not be read", f.path), Hint: "Check the path, and who may read the file."})
			return
		}
		defer file.Close() // it is only read
		r, err := sheet.Open(file, f.path, f.sheet)
		if err != nil {
			yield(recordRow{}, err)
			return
		}
		defer r.Close()
		if err := f.header(r.Layout().Columns); err != nil {
			yield(recordRow{}, err)
			return
		}
		for rec, err := range r.All() {
			if err != nil {
				yield(recordRow{}, err)
				return
			}
			object := f.object
			if f.module >= 0 {
				if cell := sheet.Trim(rec.Cells[f.module]); cell != "" {
					object = cell
				}
			}
			row := recordRow{}
			id := sheet.Trim(rec.Cells[f.column])
			if row.id, err = read(object, id); err != nil {
				row.wrong = &Error{Reason: fmt.Sprintf("%s:%d: %s", f.path, rec.Line, err), Hint: "Mend the line, or take it out."}
			}
			if !yield(row, nil) {
				return
			}
		}
		f.sha256 = r.SHA256()
	}
}

// header finds the columns of the ids and of the modules.
func (f *RecordsFile) header(columns []string) error {
	find := func(names ...string) int {
		for _, name := range names {
			if i := slices.IndexFunc(columns, func(c string) bool { return sheet.SameName(c, name) }); i >= 0 {
				return i
			}
		}
		return -1
	}
	f.module = find("module", "object", "entity")
	f.column = find("record_id", "id", f.object+" id", strings.TrimSuffix(f.object, "s")+" id")
	if f.column < 0 {
		return &Error{
			Reason: fmt.Sprintf("--records %s: no column holds record ids; it has %s", f.path, strings.Join(columns, ", ")),
			Hint:   fmt.Sprintf("Call the column record_id, Record Id, id or %s Id.", f.object),
		}
	}
	return nil
}

// scope says what the file holds, for people.
func (f *RecordsFile) scope() string {
	var modules []string
	for module := range f.counts {
		modules = append(modules, module)
	}
	slices.Sort(modules)
	return fmt.Sprintf("%s of %s", strings.Join(modules, ", "), filepath.Base(f.path))
}

// records streams the records of the file, without the first so many.
func (f *RecordsFile) records(skip int64, read func(object, id string) (crm.RecordID, error)) iter.Seq2[crm.RecordID, error] {
	return func(yield func(crm.RecordID, error) bool) {
		n, sum := int64(0), f.sha256
		for row, err := range f.rows(read) {
			if err == nil {
				err = row.wrong
			}
			if err != nil {
				yield(crm.RecordID{}, err)
				return
			}
			if n++; n > skip && !yield(row.id, nil) {
				return
			}
		}
		if f.sha256 != sum {
			f.sha256 = sum
			yield(crm.RecordID{}, &Error{Reason: f.path + " was changed while it was read", Hint: "Run again, and leave the file alone."})
		}
	}
}

// firstWord returns what the name of a file begins with: letters, digits and "_" between
// them, without the date or number that exports put behind them.
func firstWord(path string) string {
	name := filepath.Base(path)
	end := strings.IndexFunc(name, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' })
	if end >= 0 {
		name = name[:end]
	}
	for {
		i := strings.LastIndexByte(name, '_')
		if i <= 0 || strings.Trim(name[i+1:], "0123456789") != "" {
			return name
		}
		name = name[:i]
	}
}
