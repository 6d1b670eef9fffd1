package sheet_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
)

// head is the shortest header that is complete.
const head = "action,object,record_id,user\n"

// read reads a whole text sheet. The error is Open's or All's.
func read(text, name string) (*sheet.Reader, []sheet.Record, error) {
	r, err := sheet.Open(strings.NewReader(text), name, sheet.Options{})
	if err != nil {
		return nil, nil, err
	}
	records, err := collect(r)
	return r, records, err
}

func collect(r *sheet.Reader) (records []sheet.Record, err error) {
	for rec, err := range r.All() {
		if err != nil {
			return records, err
		}
		records = append(records, rec)
	}
	return records, nil
}

// mustRead is read of a sheet that has nothing wrong.
func mustRead(t testing.TB, text, name string) (*sheet.Reader, []sheet.Record) {
	t.Helper()
	r, records, err := read(text, name)
	if err != nil {
		t.Fatalf("read %q: %v", text, err)
	}
	return r, records
}

// refused returns the refusal that err is.
func refused(t testing.TB, err error) *sheet.Error {
	t.Helper()
	e, ok := errors.AsType[*sheet.Error](err)
	if !ok {
		t.Fatalf("got error %v (%T), want a *sheet.Error", err, err)
	}
	return e
}
