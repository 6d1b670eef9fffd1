package sheet_test

import (
	"strings"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
)

func TestNear(t *testing.T) {
	t.Parallel()
	columns := []string{"action", "object", "record_id", "user", "context_id", "access", "account"}
	for _, tc := range []struct {
		name, word, want string
	}{
		{"a letter too many", "record_idd", "record_id"},
		{"a letter too few", "recrd_id", "record_id"},
		{"another letter", "Aktion", "action"},
		{"two letters changed over", "usre", "user"},
		{"two slips in a long word", "contxt_di", "context_id"},
		{"case, spaces and signs do not count", "RECORD - ID", "record_id"},
		{"a plural", "Users", "user"},
		{"the nearer of two", "acces", "access"},
		{"two slips in a short word", "uesr2", ""},
		{"a letter of two", "us", ""},
		{"another word", "Datensatz", ""},
		{"nothing", "", ""},
		{"very long", strings.Repeat("user", 100), ""},
		{"letters of other alphabets", "úser", "user"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := sheet.Near(tc.word, columns...); got != tc.want {
				t.Errorf("got %q for %q, want %q", got, tc.word, tc.want)
			}
		})
	}
	for _, n := range []int{63, 64, 65} {
		word := strings.Repeat("x", n)
		if got, want := sheet.Near(word+"y", word), n < 64; (got != "") != want {
			t.Errorf("%d letters: got %t, want near to be %t", n, got != "", want)
		}
	}
}
