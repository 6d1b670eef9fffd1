package sheet_test

import (
	"strings"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
)

func TestExtent(t *testing.T) {
	t.Parallel()
	const head = "action,object,record_id,user,note\n"
	for _, tc := range []struct {
		name, text string
		want       sheet.Extent
	}{
		{"header alone is longest", head + "a,b,c,d,e\na,b,c,d,e\n", sheet.Extent{Rows: 2, Longest: 9, Line: 1, Column: 3, Bytes: 54}},
		{"the first of the longest", head + "a,b,c,d,0123456789\na,0123456789,c,d,e\n", sheet.Extent{Rows: 2, Longest: 10, Line: 2, Column: 5, Bytes: 72}},
		{"UTF-16 units", head + "a,b,c,d," + strings.Repeat("é", 9) + "\na,b,c,d," + strings.Repeat("😀", 5) + "\n", sheet.Extent{Rows: 2, Longest: 10, Line: 3, Column: 5, Bytes: 90}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r, err := sheet.Open(strings.NewReader(tc.text), "s.csv", sheet.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, err := range r.All() {
				if err != nil {
					t.Fatal(err)
				}
			}
			if got := r.Extent(); got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}
