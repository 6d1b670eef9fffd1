package sheet_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
)

// readWith reads a text with options.
func readWith(text string, opt sheet.Options) (*sheet.Reader, []sheet.Record, error) {
	r, err := sheet.Open(strings.NewReader(text), "s.csv", opt)
	if err != nil {
		return nil, nil, err
	}
	records, err := collect(r)
	return r, records, err
}

// flagMaps are mappings of a flag, in pairs.
func flagMaps(pairs ...string) (m []sheet.Mapping) {
	for i := 0; i < len(pairs); i += 2 {
		m = append(m, sheet.Mapping{Header: pairs[i], Column: pairs[i+1], Must: true})
	}
	return m
}

func TestMapping(t *testing.T) {
	t.Parallel()
	full := sheet.Fields{Action: "revoke", Object: "lead", Record: "1", User: "u"}
	with := func(change func(*sheet.Fields)) sheet.Fields {
		f := full
		change(&f)
		return f
	}
	for _, tc := range []struct {
		name, header, row string
		maps              []sheet.Mapping
		want              sheet.Fields
		mapped            map[int]string
	}{
		{"own names", "What,Kind,Lead No,Who", "revoke,lead,1,u", flagMaps("What", "action", "Kind", "object", "Lead No", "record_id", "Who", "user"), full,
			map[int]string{0: "action", 1: "object", 2: "record_id", 3: "user"}},
		{"without regard to case, spaces and signs", "action,object, LEAD-no ,user", "revoke,lead,1,u", flagMaps("lead_No", "Record ID"), full, map[int]string{2: "record_id"}},
		{"another name of ours", "action,object,Nr,user", "revoke,lead,1,u", flagMaps("nr", "ProspectAutoId"), full, map[int]string{2: "record_id"}},
		{"an address", "action,object,record_id,Who", "revoke,lead,1,u@example.com", flagMaps("Who", "user"),
			with(func(f *sheet.Fields) { f.User, f.Email = "", "u@example.com" }), map[int]string{3: "user"}},
		{"an address beside the id", "action,object,record_id,user,Owner mail", "revoke,lead,1,u,u@example.com", flagMaps("Owner mail", "email"),
			with(func(f *sheet.Fields) { f.Email = "u@example.com" }), map[int]string{4: "user_email"}},
		{"over what a name means", "action,object,record_id,user,permission,Account", "revoke,lead,1,u,write,read", flagMaps("permission", "account", "Account", "access"),
			with(func(f *sheet.Fields) { f.Access, f.Account = "read", "write" }), map[int]string{4: "account", 5: "access"}},
		{"no meaning", "action,object,record_id,user,Account,Email", "revoke,lead,1,u,ACME,boss@example.com", flagMaps("account", "none", "e-mail", "None"), full,
			map[int]string{4: "", 5: ""}},
		{"a permission", "action,object,record_id,user,Adds", "revoke,lead,1,u,yes", flagMaps("Adds", "AddUsersToGroup"),
			with(func(f *sheet.Fields) { f.Permission[4] = "yes" }), map[int]string{4: "AddUsersToGroup"}},
		{"not in the sheet", "action,object,record_id,user", "revoke,lead,1,u",
			[]sheet.Mapping{{Header: "Lead No", Column: "record_id"}, {Header: "Deal No", Column: "record_id"}}, full, nil},
		{"a later one counts", "action,object,record_id,user,X", "revoke,lead,1,u,read",
			[]sheet.Mapping{{Header: "x", Column: "account"}, {Header: "X", Column: "access", Must: true}},
			with(func(f *sheet.Fields) { f.Access = "read" }), map[int]string{4: "access"}},
		{"a result", "action,object,Nr,user," + strings.Join(sheet.ResultColumns(), ","), "revoke,lead,1,u" + strings.Repeat(",", 10), flagMaps("Nr", "record_id"), full, map[int]string{2: "record_id"}},
		{"an unnamed column", "action,object,Nr,user,", "revoke,lead,1,u,", flagMaps("Nr", "record_id"), full, map[int]string{2: "record_id"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for _, comma := range []string{",", ";", "\t", "|"} {
				text := strings.ReplaceAll(tc.header+"\n"+tc.row+"\n", ",", comma)
				r, records, err := readWith(text, sheet.Options{Map: tc.maps})
				if err != nil {
					t.Fatal(err)
				}
				if got := r.Layout().Delimiter; got != comma {
					t.Errorf("got delimiter %q, want %q", got, comma)
				}
				if diff := cmp.Diff(tc.want, records[0].Fields); diff != "" {
					t.Errorf("fields (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(tc.mapped, r.Layout().Mapped); diff != "" {
					t.Errorf("mapped (-want +got):\n%s", diff)
				}
			}
			data := rawBook(t, fmt.Sprintf(`<row r="1">%s</row><row r="2">%s</row>`, texts(strings.Split(tc.header, ",")...), texts(strings.Split(tc.row, ",")...)), "")
			_, records := mustReadBook(t, data, sheet.Options{Map: tc.maps})
			if diff := cmp.Diff(tc.want, records[0].Fields); diff != "" {
				t.Errorf("fields of a workbook (-want +got):\n%s", diff)
			}
		})
	}
}

// What a column stands for is kept with the layout, so that evidence knows it.
func TestLayoutColumns(t *testing.T) {
	t.Parallel()
	r, _, err := readWith("Operation,object,Nr,Owner mail,Account,note,\nrevoke,lead,1,u@example.com,ACME,n,\n",
		sheet.Options{Map: flagMaps("Nr", "record_id", "Owner mail", "user_email", "Account", "none")})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(r.Layout())
	if err != nil {
		t.Fatal(err)
	}
	var layout sheet.Layout
	if err := json.Unmarshal(text, &layout); err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range layout.Columns {
		got = append(got, layout.Column(i))
	}
	if diff := cmp.Diff([]string{"action", "object", "record_id", "user_email", "", "", ""}, got); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
}

func TestMappingRefusals(t *testing.T) {
	t.Parallel()
	const choices = " There are action, object, record_id, user, context_id, access, duration_minutes, share_related, group_permissions, account, not_before, last_day, " +
		"the permissions of a sales group, and none for a column that means nothing to us"
	for _, tc := range []struct {
		name, text string
		maps       []sheet.Mapping
		want, hint string
	}{
		{"not in the sheet", "action,object,Lead Nr,user\n", flagMaps("Led Nr", "record_id"),
			`s.csv:1: the sheet has no column "Led Nr", which --map names`, `Found in row 1: action, object, Lead Nr, user. Did you mean "Lead Nr"?`},
		{"not in the sheet, and nothing near", head, flagMaps("Owner mail", "account"),
			`s.csv:1: the sheet has no column "Owner mail", which --map names`, `Found in row 1: action, object, record_id, user. Name one of these, or leave the mapping out.`},
		{"not in the title", "Leavers\naction,object,Nr,user\n", flagMaps("Nr", "record_id"),
			`s.csv:1: the sheet has no column "Nr", which --map names`, `Found in row 1: Leavers. Row 2 looks like the header: give --header-row 2, or delete the rows above it.`},
		{"two of a meaning", "action,object,record_id,user,Nr\n", flagMaps("Nr", "record_id"),
			`s.csv:1:5 (Nr): column 5 "Nr" says the same as column 3 "record_id"`,
			`Leave one of the two columns in the sheet, or rename the other; or say that one of them means something else: --map "record_id=none".`},
		{"two of a meaning, the other way round", "action,object,Nr,user,record_id\n", flagMaps("Nr", "record_id"),
			`s.csv:1:5 (record_id): column 5 "record_id" says the same as column 3 "Nr"`,
			`Leave one of the two columns in the sheet, or rename the other; or say that one of them means something else: --map "record_id=none".`},
		{"two of the sheets' own", "action,object,Lead No,user,Deal No\n", []sheet.Mapping{{Header: "Lead No", Column: "record_id"}, {Header: "Deal No", Column: "record_id"}},
			`s.csv:1:5 (Deal No): column 5 "Deal No" says the same as column 3 "Lead No"`,
			`Leave one of the two columns in the sheet, or rename the other; or say that one of them means something else: --map "Deal No=none".`},
		{"no column of ours", head, flagMaps("record_id", "record_idd"),
			`s.csv: the column "record_id" is to stand for "record_idd", which is no column of ours; the name in the sheet comes first: record_idd=record_id`, ""},
		{"a slip in the meaning", head, flagMaps("Nr", "record_idd"),
			`s.csv: the column "Nr" is to stand for "record_idd", which is no column of ours; did you mean record_id?` + choices, ""},
		{"no such meaning", head, flagMaps("Nr", "number"), `s.csv: the column "Nr" is to stand for "number", which is no column of ours;` + choices, ""},
		{"no header", head, flagMaps(" ", "user"), `s.csv: the column "" is no name of a column`, ""},
		{"a needed column without meaning", head, flagMaps("user", "none"), "s.csv:1: the header lacks the needed column user",
			`Found in row 1: action, object, record_id, user. user may also be called UserId, user_email, email. Add what is missing; or is this another sheet?`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := readWith(tc.text, sheet.Options{Map: tc.maps})
			e := refused(t, err)
			if diff := cmp.Diff([]string{tc.want, tc.hint}, []string{e.Error(), e.Hint}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// The header of another row, and what stands above it.
func TestHeaderRow(t *testing.T) {
	t.Parallel()
	const row = "revoke,lead,1,u\n"
	long := strings.Repeat("x", 300<<10)
	for _, tc := range []struct {
		name, text string
		at         int
		line       int // of the first row
	}{
		{"a title", "Leavers, November\n" + head + row, 2, 3},
		{"a title that can not be read", "Andr\xE9's \"list\" of \x00\r of leavers\n" + head + row, 2, 3},
		{"an open quote", "\"Leavers\n\n" + head + "\n" + row, 3, 5},
		{"a long title", long + "\n" + long + "\n" + head + row, 3, 4},
		{"another delimiter above", "a;b;c;d\n;;;\n" + head + row, 3, 4},
		{"another header above", "action;object;record_id;user\n" + head + row, 2, 3},
		{"the first row", head + row, 1, 2},
		{"a declared delimiter", "sep=,\nLeavers\n" + head + row, 3, 4},
		{"below a declaration", "sep=,\n" + head + row, 2, 3},
		{"Windows", "Leavers\r\n\r\n" + strings.ReplaceAll(head+row, "\n", "\r\n"), 3, 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r, records, err := readWith(tc.text, sheet.Options{HeaderRow: tc.at})
			if err != nil {
				t.Fatal(err)
			}
			if len(records) != 1 || records[0].Line != tc.line || records[0].Fields.User != "u" {
				t.Errorf("got %+v, want one record of line %d", records, tc.line)
			}
			if got := r.Layout().Columns; !cmp.Equal(got, []string{"action", "object", "record_id", "user"}) {
				t.Errorf("got columns %q", got)
			}
			_, same := mustRead(t, head+row, "s.csv")
			if diff := cmp.Diff(same[0].Cells, records[0].Cells); diff != "" {
				t.Errorf("cells (-want +got):\n%s", diff)
			}
		})
	}
	result := "action,object,record_id,user," + strings.Join(sheet.ResultColumns(), ",") + "\n" + "revoke,lead,1,u" + strings.Repeat(",", 10) + "\n"
	r, records, err := readWith(result, sheet.Options{HeaderRow: 7})
	if err != nil || len(records) != 1 || records[0].Line != 2 || !r.Layout().IsResult {
		t.Errorf("a result begins with its header: got %v, %+v", err, records)
	}
}

func TestHeaderRowOfWorkbook(t *testing.T) {
	t.Parallel()
	row := func(n int, values ...string) string { return fmt.Sprintf(`<row r="%d">%s</row>`, n, texts(values...)) }
	title := row(1, "Leavers") + row(2, "November")
	table := row(4, "action", "object", "record_id", "user") + row(6, "revoke", "lead", "1", "u")
	_, records := mustReadBook(t, rawBook(t, title+table, ""), sheet.Options{HeaderRow: 4})
	if len(records) != 1 || records[0].Line != 6 || records[0].Fields.User != "u" {
		t.Errorf("got %+v, want one record of row 6", records)
	}
	for at, want := range map[int][2]string{
		2: {"s.xlsx:2: the header lacks the needed columns action, object, record_id, user", "Found in row 2: November. Row 4 looks like the header: give --header-row 4, or delete the rows above it."},
		3: {"s.xlsx:3: no header begins in the row that --header-row names", "Row 4 looks like the header: give --header-row 4, or delete the rows above it."},
		6: {"s.xlsx:6: the header lacks the needed columns action, object, record_id, user", "Found in row 6: revoke, lead, 1, u. Row 4 looks like the header: give --header-row 4, or delete the rows above it."},
		9: {"s.xlsx: --header-row 9 is beyond the sheet, which has 6 rows", "Row 4 looks like the header: give --header-row 4, or delete the rows above it."},
	} {
		_, _, err := readBook(rawBook(t, title+table, ""), sheet.Options{HeaderRow: at})
		e := refused(t, err)
		if diff := cmp.Diff(want, [2]string{e.Error(), e.Hint}); diff != "" {
			t.Errorf("--header-row %d (-want +got):\n%s", at, diff)
		}
	}
	var cells []string
	cells = append(append(cells, "action", "object", "record_id", "user"), sheet.ResultColumns()...)
	_, records = mustReadBook(t, rawBook(t, row(1, cells...)+row(2, "revoke", "lead", "1", "u"), ""), sheet.Options{HeaderRow: 4})
	if len(records) != 1 || records[0].Line != 2 {
		t.Errorf("a result begins with its header: got %+v", records)
	}
}

func TestHeaderRowRefusals(t *testing.T) {
	t.Parallel()
	const row = "revoke,lead,1,u\n"
	for _, tc := range []struct {
		name, text string
		at         int
		want, hint string
	}{
		{"beyond the sheet", "x\n" + head + row, 30, "s.csv: --header-row 30 is beyond the sheet, which has 3 lines",
			"Row 2 looks like the header: give --header-row 2, or delete the rows above it."},
		{"just beyond the sheet", head + row, 3, "s.csv: --header-row 3 is beyond the sheet, which has 2 lines", "Row 1 looks like the header: give --header-row 1."},
		{"the last row, without an end", head + "revoke,lead,1,u", 2, "s.csv:2: the header lacks the needed columns action, object, record_id, user",
			"Found in row 2: revoke, lead, 1, u. Row 1 looks like the header: give --header-row 1."},
		{"nothing", "", 2, "s.csv: --header-row 2 is beyond the sheet, which has 0 lines", ""},
		{"a blank row", "Leavers\n,,\n" + head + row, 2, "s.csv:2: no header begins in the row that --header-row names",
			"Row 3 looks like the header: give --header-row 3, or delete the rows above it."},
		{"a blank row at the end", "Leavers\n\n\n", 2, "s.csv: --header-row 2 is beyond the sheet, which has 3 lines", ""},
		{"a row too late", "Leavers\n" + head + row + row, 3, "s.csv:3: the header lacks the needed columns action, object, record_id, user",
			"Found in row 3: revoke, lead, 1, u. Row 2 looks like the header: give --header-row 2, or delete the rows above it."},
		{"a row too early", "Leavers\nNovember\n" + head + row, 2, "s.csv:2: the header lacks the needed columns action, object, record_id, user",
			"Found in row 2: November. Row 3 looks like the header: give --header-row 3, or delete the rows above it."},
		{"a fault in it", "Leavers\naction,\"object,record_id,user\n", 2, "s.csv:2:2: the quote that opens here is never closed", `A quote that belongs to the text is written twice, as "".`},
		{"a fault below it", "Leavers\n" + head + row + "revoke\n", 2, "s.csv:4:2 (object): the row has 1 field, the header has 4", "The line is one cell: a title, a total or a note is no row, delete it."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := readWith(tc.text, sheet.Options{HeaderRow: tc.at})
			e := refused(t, err)
			if diff := cmp.Diff([]string{tc.want, tc.hint}, []string{e.Error(), e.Hint}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Whoever asks how a file is written takes any header: that of a result too whose
// columns mean something by a mapping only.
func TestAnyHeader(t *testing.T) {
	t.Parallel()
	block := strings.Join(sheet.ResultColumns(), ",")
	for _, tc := range []struct {
		name, header string
		columns      []string
		isResult     bool
	}{
		{"names of its own", "What,Nr", []string{"What", "Nr"}, false},
		{"two of a meaning", "Account,crm", []string{"Account", "crm"}, false},
		{"a result", "What,Nr," + block, []string{"What", "Nr"}, true},
		{"a result with two of a meaning", "email,user_email," + block, []string{"email", "user_email"}, true},
		{"a result with other delimiters in a name", "\"a|b|c|d|e|f|g|h|i|j|k|l|m\"," + block, []string{"a|b|c|d|e|f|g|h|i|j|k|l|m"}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			cells := make([]string, len(tc.columns))
			row := strings.Join(cells, ",")
			if tc.isResult {
				row += ",2,done,,,,,,CALL,,"
			}
			r, records, err := readWith(tc.header+"\n"+row+"x\n", sheet.Options{AnyHeader: true, HeaderRow: 5, Map: flagMaps("gone", "user")})
			if err != nil {
				t.Fatal(err)
			}
			if l := r.Layout(); !cmp.Equal(l.Columns, tc.columns) || l.IsResult != tc.isResult || l.Mapped != nil {
				t.Errorf("got %+v", l)
			}
			if len(records) != 1 || tc.isResult != (records[0].CallID == "CALL") || records[0].Fields != (sheet.Fields{}) {
				t.Errorf("got %+v", records)
			}
		})
	}
}
