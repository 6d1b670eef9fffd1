package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What people bring as a sheet that is none, or is broken in a usual way, is refused
// with the hint that fits, and nothing is left. The kinds in full are in package sheet.
func TestMisleadingSheets(t *testing.T) {
	t.Parallel()
	const (
		head = "ticket,action,object,record_id,user,context_id,note\n"
		row  = "T1,revoke,lead,869191,00000001-0000-4000-8000-000000000001,00000001-0000-4000-8000-000000000002,\n"
	)
	for _, tc := range []struct{ name, file, text, place, hint string }{
		{"a comment at the end", "off.csv", head + row + "# end\n", ":3:2 (action): ", "looks like a comment"},
		{"line ends converted twice", "off.csv", strings.ReplaceAll(head+row, "\n", "\r\r\n"), ":1:7: ", "CR CR LF"},
		{"the end mark of DOS", "off.csv", head + row + "\x1a", ":3:2 (action): ", "^Z"},
		{"empty cells left out", "off.csv", strings.Replace(head, "note", "note,x,y", 1) + row, ":2:8 (x): ", "The row ends early"},
		{"JSON", "off.csv", `[{"action":"revoke"}]`, ": is JSON", "Export the list again"},
		{"another delimiter in the rows", "off.csv", head + strings.ReplaceAll(row, ",", ";"), ":2:2 (action): ", "separated by semicolons and the header by commas"},
		{"a delimiter at the end", "off.csv", head + strings.Replace(row, "\n", ",\n", 1), ":2:8: ", "1 comma more than the header"},
		{"a shortcut of Google Drive", "off.gsheet", `{"doc_id":"abc"}`, ": is a shortcut of Google Drive", "download it as .xlsx or .csv"},
		{"another language", "off.csv", "Aktion,Objekt,Datensatz-ID,Benutzer\nrevoke,lead,1,u\n", ":1: the header lacks", `--map "Aktion=action,Objekt=object,...`},
		{"a title", "off.csv", "Leavers\n" + head + row, ":1: the header lacks", "--header-row 2"},
		{"a ledger", "off.ledger.db", "SQLite format 3\x00", ": is a database", "Name the sheet"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			name := filepath.Join(dir, tc.file)
			must(t, os.WriteFile(name, []byte(tc.text), 0o600))
			for _, command := range []string{"plan", "run"} {
				var stdout, stderr bytes.Buffer
				code := run(t.Context(), []string{command, "--sandbox", name}, strings.NewReader(""), &stdout, &stderr)
				failure, hint, _ := strings.Cut(stderr.String(), "\n")
				if code != exitRefused || !strings.HasPrefix(failure, "bulkrevoke: error: "+name+tc.place) {
					t.Errorf("%s ended with %d and %q, want the place %s", command, code, failure, tc.place)
				}
				if !strings.HasPrefix(hint, "bulkrevoke: hint: ") || !strings.Contains(hint, tc.hint) {
					t.Errorf("%s: got %q, want %q in the hint", command, hint, tc.hint)
				}
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
				t.Errorf("%d files are there, %v; want the sheet alone", len(left), err)
			}
		})
	}
}
