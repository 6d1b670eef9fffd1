package sheet_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
)

// What a refused header is told: what was found, and what may have been meant.
func TestWrongHeaders(t *testing.T) {
	t.Parallel()
	const row = "revoke,lead,869191,jo@example.com\n"
	for _, tc := range []struct {
		name, text string
		line       int
		want       string // the whole hint
	}{
		{"another language", "Aktion;Objekt;Datensatz-ID;Benutzer\nrevoke;lead;1;u\n", 1,
			`Found in row 1: Aktion, Objekt, Datensatz-ID, Benutzer. Did you mean "Aktion" for action, "Objekt" for object? Rename the columns, or say what they stand for: --map "Aktion=action,Objekt=object,...".`},
		{"a slip", "action,object,record_idd,user\n" + row, 1,
			`Found in row 1: action, object, record_idd, user. Did you mean "record_idd" for record_id? Rename the columns, or say what they stand for: --map "record_idd=record_id".`},
		{"a slip in another name of it", "action,object,record_id,usr_email\n" + row, 1,
			`Found in row 1: action, object, record_id, usr_email. Did you mean "usr_email" for user? Rename the columns, or say what they stand for: --map "usr_email=user".`},
		{"one missing, and all others ours", "action,object,user,\nrevoke,lead,u,\n", 1,
			`Found in row 1: action, object, user. record_id may also be called EntityId, ProspectAutoId, LeadAutoId, OpportunityId, GroupId. Add what is missing; or is this another sheet?`},
		{"a name that a shell would read", "action,object,\"Record, $id\",user\nrevoke,lead,1,u\n", 1,
			`Found in row 1: action, object, "Record, $id", user. Did you mean "Record, $id" for record_id? Rename the columns, or say what they stand for: --map '"Record, $id=record_id"'.`},
		{"one missing", "action,object,user,note\nrevoke,lead,u,n\n", 1,
			`Found in row 1: action, object, user, note. record_id may also be called EntityId, ProspectAutoId, LeadAutoId, OpportunityId, GroupId. Rename the columns, or say what they stand for, as in --map "note=record_id".`},
		{"a title", "Offboarding list November 2026\n" + head + row, 1,
			`Found in row 1: Offboarding list November 2026. Row 2 looks like the header: give --header-row 2, or delete the rows above it.`},
		{"a title with a delimiter of its own", "Offboarding, November\nowner: jo\n\naction;object;record_id;user\nrevoke;lead;1;u\n", 1,
			`Found in row 1: Offboarding, November. Row 4 looks like the header: give --header-row 4, or delete the rows above it.`},
		{"a title over lines", "\"Offboarding\nNovember\",,,\n" + head + row, 1,
			`Found in row 1: Offboarding November. Row 3 looks like the header: give --header-row 3, or delete the rows above it.`},
		{"a title with quotes", "List \"Leavers\"\n" + head + row, 1,
			`A quote that belongs to the text is written twice, as "", in a cell that begins and ends with a quote. Row 2 looks like the header: give --header-row 2, or delete the rows above it.`},
		{"comments above", "# made by hr-export\n# 2026-11-26\n" + head + row, 1,
			`Found in row 1: # made by hr-export. Row 3 looks like the header: give --header-row 3, or delete the rows above it.`},
		{"a header in another language below", "Abgänge\n\nAktion;Objekt;Datensatz;Benutzer\nrevoke;lead;1;u\n", 1,
			`Found in row 1: Abgänge. Row 3 looks like the header: give --header-row 3, or delete the rows above it.`},
		{"a header with slips, and one below", "acton,objekt,record,usr\n" + head + row, 1,
			`Found in row 1: acton, objekt, record, usr. Row 2 looks like the header: give --header-row 2, or delete the rows above it.`},
		{"a header with a slip below", "Leavers\naction,object,recordid,usr\n" + row, 1,
			`Found in row 1: Leavers. Row 2 looks like the header: give --header-row 2, or delete the rows above it.`},
		{"the last row that is looked at", strings.Repeat("x\n", 20) + head + row, 1,
			`Found in row 1: x. Row 21 looks like the header: give --header-row 21, or delete the rows above it.`},
		{"too far down", strings.Repeat("x\n", 21) + head + row, 1, `Found in row 1: x. Add what is missing; or is this another sheet?`},
		{"after blank lines", "\n,,,\nx\n" + head + row, 3, `Found in row 3: x. Row 4 looks like the header: give --header-row 4, or delete the rows above it.`},
		{"no header", strings.Repeat(row, 3), 1,
			`Found in row 1: revoke, lead, 869191, jo@example.com. Row 1 looks like a row already: put one above it that names the columns, such as action,object,record_id,user.`},
		{"no header, ids", "revoke,opportunity,a9fa0f2d-0000-4000-8000-000000000001,x\n", 1,
			`Found in row 1: revoke, opportunity, a9fa0f2d-0000-4000-8000-000000000001, x. Row 1 looks like a row already: put one above it that names the columns, such as action,object,record_id,user.`},
		{"another delimiter", "action:object:record_id:user\nrevoke:lead:1:u\n", 1,
			`Found in row 1: action:object:record_id:user. The names are separated by ":": save the sheet with commas, semicolons, tabs or bars between the cells.`},
		{"spaces", "action object record_id user\nrevoke lead 1 u\n", 1,
			`Found in row 1: action object record_id user. The names are separated by spaces: save the sheet with commas, semicolons, tabs or bars between the cells.`},
		{"lines in quotes", "\"action,object,record_id,user\"\n\"revoke,lead,1,u\"\n", 1,
			`Found in row 1: "action,object,record_id,user". The line is one cell, although "," stands in it: is it in quotes as a whole, or does the first line declare another delimiter?`},
		{"a wrong declaration", "sep=;\n" + head + row, 2,
			`Found in row 2: "action,object,record_id,user". The line is one cell, although "," stands in it: is it in quotes as a whole, or does the first line declare another delimiter?`},
		{"a declaration of what is no delimiter", "sep=:\n" + head + row, 1,
			`Delimiters may be the comma, the semicolon, the tab and the bar. Row 2 looks like the header: give --header-row 2, or delete the rows above it.`},
		{"many columns", strings.Repeat("a,", 14) + "b\n", 1, ""}, // said twice, which is told first
		{"very many columns", "a,b,c,d,e,f,g,h,i,j,k,l,m,n\n", 1,
			`Found in row 1: a, b, c, d, e, f, g, h, i, j, k, l, and 2 more. Rename the columns, or say what they stand for, as in --map "a=action,...".`},
		{"only a result's columns", "x,line,result,request_id,code,message,http_status,attempts,call_id,sent_at,confirmed_at\n", 1,
			`Found in row 1: x, the columns of a result. Add what is missing; or is this another sheet?`},
		{"nothing", "", 1, `A sheet without rows has at least the names of its columns: did the export fail?`},
		{"empty columns without end", head[:len(head)-1] + strings.Repeat(",", 300) + "\n", 1,
			`Those from column 5 on have no name: delete them, and save the sheet again.`},
		{"too many columns", head[:len(head)-1] + strings.Repeat(",x", 300) + "\n", 1, `Delete columns that are not needed here.`},
		{"a record without end", head[:len(head)-1] + strings.Repeat("x", 100<<10) + "\n", 1,
			`Shorten the cells, or leave out columns that are not needed here.`},
		{"control characters", "\"a\x1b[31m\nb\",c\n", 1, `Found in row 1: a [31m b, c. Add what is missing; or is this another sheet?`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := read(tc.text, "s.csv")
			e := refused(t, err)
			if tc.want == "" {
				if !strings.Contains(e.Reason, "says the same as") {
					t.Errorf("got %q, want the columns that say the same", e.Reason)
				}
				return
			}
			if e.Hint != tc.want || e.Line != tc.line {
				t.Errorf("line %d: %s\ngot hint  %s\nwant line %d, %s", e.Line, e.Reason, e.Hint, tc.line, tc.want)
			}
		})
	}
}

// A workbook is told the same.
func TestWrongHeaderOfWorkbook(t *testing.T) {
	t.Parallel()
	row := func(n int, values ...string) string { return fmt.Sprintf(`<row r="%d">%s</row>`, n, texts(values...)) }
	title := row(1, "Offboarding list November 2026")
	for _, tc := range []struct {
		name, rows, want string
	}{
		{"a title", title + row(3, "action", "object", "record_id", "user") + row(4, "revoke", "lead", "1", "u"),
			`Found in row 1: Offboarding list November 2026. Row 3 looks like the header: give --header-row 3, or delete the rows above it.`},
		{"a slip", row(2, "action", "object", "record_idd", "user"),
			`Found in row 2: action, object, record_idd, user. Did you mean "record_idd" for record_id? Rename the columns, or say what they stand for: --map "record_idd=record_id".`},
		{"nothing below", title, `Found in row 1: Offboarding list November 2026. Add what is missing; or is this another sheet?`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := readBook(rawBook(t, tc.rows, ""), sheet.Options{})
			if got := refused(t, err).Hint; got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}
