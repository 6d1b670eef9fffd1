package sheet_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

func TestCellsComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	text := "Action,note,object,record_id,user\r\n" +
		" revoke ,\"two\r\nlines\",lead,\u00a0 12 \u200b,\"u,1\"\r\n" +
		"\r\n" +
		",\" \",,\u00a0,\r\n" +
		"revoke,\"say \"\"no\"\"\",\ufefflead,\t13,\"\"\n" +
		"revoke,\"\"\"\",lead,14,\"\n\rx\"\n" +
		"revoke,=1+1,lead,15,ü💡"
	r, got := mustRead(t, text, "s.csv")
	want := []sheet.Record{
		{Line: 2, Cells: []string{" revoke ", "two\r\nlines", "lead", "\u00a0 12 \u200b", "u,1"},
			Fields: sheet.Fields{Action: "revoke", Object: "lead", Record: "12", User: "u,1"}},
		{Line: 6, Cells: []string{"revoke", `say "no"`, "\ufefflead", "\t13", ""},
			Fields: sheet.Fields{Action: "revoke", Object: "lead", Record: "13"}},
		{Line: 7, Cells: []string{"revoke", `"`, "lead", "14", "\n\rx"},
			Fields: sheet.Fields{Action: "revoke", Object: "lead", Record: "14", User: "x"}},
		{Line: 9, Cells: []string{"revoke", "=1+1", "lead", "15", "ü💡"},
			Fields: sheet.Fields{Action: "revoke", Object: "lead", Record: "15", User: "ü💡"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	wantLayout := sheet.Layout{Delimiter: ",", Newline: "\r\n",
		Columns: []string{"Action", "note", "object", "record_id", "user"}, Keep: []int{0, 1, 2, 3, 4}}
	if diff := cmp.Diff(wantLayout, r.Layout()); diff != "" {
		t.Errorf("layout (-want +got):\n%s", diff)
	}
	sum := sha256.Sum256([]byte(text))
	if got, want := r.SHA256(), hex.EncodeToString(sum[:]); got != want {
		t.Errorf("got hash %s, want %s", got, want)
	}
}

func TestLayoutSurvivesJSON(t *testing.T) {
	t.Parallel()
	r, _ := mustRead(t, "\ufeffaction;object;record_id;user;;n\r\nrevoke;lead;1;u;;\r\n", "s.csv")
	want := sheet.Layout{Delimiter: ";", Newline: "\r\n", BOM: true,
		Columns: []string{"action", "object", "record_id", "user", "", "n"}, Keep: []int{0, 1, 2, 3, 4, 5}, Dropped: []int{4}}
	text, err := json.Marshal(r.Layout())
	if err != nil {
		t.Fatal(err)
	}
	var got sheet.Layout
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("layout (-want +got):\n%s", diff)
	}
}

func TestDelimiters(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, file, text string
		delimiter        string
		line             int
	}{
		{"comma", "s.csv", "action,object,record_id,user\nrevoke,lead,1,u\n", ",", 2},
		{"semicolon", "s.csv", "action;object;record_id;user\nrevoke;lead;1;u\n", ";", 2},
		{"tab", "-", "action\tobject\trecord_id\tuser\nrevoke\tlead\t1\tu\n", "\t", 2},
		{"bar", "s.txt", "action|object|record_id|user\nrevoke|lead|1|u\n", "|", 2},
		{"comma in a .tsv", "s.tsv", "action,object,record_id,user\nrevoke,lead,1,u\n", ",", 2},
		{"others inside quotes", "s.csv", "\"a,b,c,d,e\"|action|object|record_id|user\nx|revoke|lead|1|u\n", "|", 2},
		{"others in names", "s.csv", "action;object;record_id;user;a,b,c,d,e,f|g\nrevoke;lead;1;u;\n", ";", 2},
		{"quoted over lines", "s.csv", "\n\"a\n\";action;object;record_id;user\n;revoke;lead;1;u\n", ";", 4},
		{"declared", "s.csv", "sep=;\r\naction;object;record_id;user\nrevoke;lead;1;u\n", ";", 3},
		{"declared in quotes", "s.csv", "\"SEP=|\"\naction|object|record_id|user\nrevoke|lead|1|u\n", "|", 3},
		{"declared tab", "s.csv", "\ufeffsep=\t\naction\tobject\trecord_id\tuser\nrevoke\tlead\t1\tu\n", "\t", 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r, records := mustRead(t, tc.text, tc.file)
			if got := r.Layout().Delimiter; got != tc.delimiter {
				t.Errorf("got delimiter %q, want %q", got, tc.delimiter)
			}
			want := sheet.Fields{Action: "revoke", Object: "lead", Record: "1", User: "u"}
			if len(records) != 1 || records[0].Line != tc.line || records[0].Fields != want {
				t.Errorf("got %+v, want one record of line %d", records, tc.line)
			}
		})
	}
}

func TestAliases(t *testing.T) {
	t.Parallel()
	rest := func(column string) string {
		var cells []string
		for _, c := range []string{"action", "object", "record_id", "user"} {
			if c != column {
				cells = append(cells, c)
			}
		}
		return strings.Join(cells, ",")
	}
	for column, tc := range map[string]struct {
		names []string
		value func(sheet.Fields) string
	}{
		"action":            {[]string{"action", "ACTION", "Operation"}, func(f sheet.Fields) string { return f.Action }},
		"object":            {[]string{"object", "Module", "entity"}, func(f sheet.Fields) string { return f.Object }},
		"record_id":         {[]string{"record_id", "Record ID", "record-id", "EntityId", "Entity_Id", "ProspectAutoId", "LeadAutoId", "OpportunityId", "GroupId", "\u200bRecord\u00a0Id"}, func(f sheet.Fields) string { return f.Record }},
		"user":              {[]string{"user", "UserId", "User ID", "user_email", "Email", "E-Mail"}, func(f sheet.Fields) string { return f.User }},
		"context_id":        {[]string{"context_id", "ContextEntityId", "ActivityId"}, func(f sheet.Fields) string { return f.Context }},
		"access":            {[]string{"access", "AccessType", "permission"}, func(f sheet.Fields) string { return f.Access }},
		"duration_minutes":  {[]string{"duration_minutes", "DurationInMinutes", "duration"}, func(f sheet.Fields) string { return f.Duration }},
		"share_related":     {[]string{"share_related", "share_related_records"}, func(f sheet.Fields) string { return f.Related }},
		"not_before":        {[]string{"not_before", "Effective Date", "due", "DueDate"}, func(f sheet.Fields) string { return f.NotBefore }},
		"last_day":          {[]string{"last_day", "Last Working Day", "leaving-date", "TerminationDate", "exit date"}, func(f sheet.Fields) string { return f.LastDay }},
		"group_permissions": {[]string{"group_permissions", "Group Permissions"}, func(f sheet.Fields) string { return f.Permissions }},
		"account":           {[]string{"account", "CRM"}, func(f sheet.Fields) string { return f.Account }},
	} {
		for _, name := range tc.names {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				header := rest(column)
				r, records := mustRead(t, name+","+header+"\nvalue"+strings.Repeat(",x", strings.Count(header, ",")+1), "s.csv")
				if got := tc.value(records[0].Fields); got != "value" {
					t.Errorf("got %q in %+v, want the value", got, records[0].Fields)
				}
				if !r.Has(column) {
					t.Errorf("Has(%q) is false", column)
				}
			})
		}
	}
}

func TestColumnsMatchTheirNames(t *testing.T) {
	t.Parallel()
	columns := append(sheet.Columns(), sheet.PermissionColumns()...)
	r, records := mustRead(t, strings.Join(columns, ",")+"\n"+strings.Join(columns, ","), "s.csv")
	f := records[0].Fields
	got := []string{f.Action, f.Object, f.Record, f.User, f.Context, f.Access, f.Duration, f.Related, f.Permissions, f.Account, f.NotBefore, f.LastDay}
	for i := range sheet.PermissionColumns() {
		got = append(got, f.Permission[i])
	}
	if diff := cmp.Diff(columns, got); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	for _, c := range columns {
		if !r.Has(c) {
			t.Errorf("Has(%q) is false", c)
		}
	}
	short, _ := mustRead(t, head+"revoke,lead,1,u\n", "s.csv")
	for _, c := range append(columns[4:], "", "note", "user_email") {
		if short.Has(c) {
			t.Errorf("Has(%q) is true of a sheet without it", c)
		}
	}
	if diff := cmp.Diff(crm.PermissionNames(), sheet.PermissionColumns()); diff != "" {
		t.Errorf("permissions differ from the domain's (-crm +sheet):\n%s", diff)
	}
}

func TestUserColumns(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ header, cells, user, email string }{
		{"user", "u1", "u1", ""},
		{"user", " a@b.c ", "", "a@b.c"},
		{"email", "a@b.c", "", "a@b.c"},
		{"user_email", "u1", "u1", ""},
		{"UserId,email", "u1,a@b.c", "u1", "a@b.c"},
		{"email,UserId", "a@b.c,u1", "u1", "a@b.c"},
		{"user,user_email", "a@b.c,", "a@b.c", ""},
		{"user,user_email", ",u1", "", "u1"},
		{"user", "", "", ""},
	} {
		t.Run(tc.header+"="+tc.cells, func(t *testing.T) {
			t.Parallel()
			_, records := mustRead(t, "action,object,record_id,"+tc.header+"\nrevoke,lead,1,"+tc.cells+"\n", "s.csv")
			if f := records[0].Fields; f.User != tc.user || f.Email != tc.email {
				t.Errorf("got user %q, e-mail %q, want %q, %q", f.User, f.Email, tc.user, tc.email)
			}
		})
	}
}

// bytes16 writes text as UTF-16 with a byte order mark.
func bytes16(text string, big bool) string {
	var b strings.Builder
	for _, unit := range utf16.Encode([]rune("\ufeff" + text)) {
		low, high := byte(unit), byte(unit>>8)
		if big {
			low, high = high, low
		}
		b.Write([]byte{low, high})
	}
	return b.String()
}

func TestEncodings(t *testing.T) {
	t.Parallel()
	text := "action\tobject\trecord_id\tuser\r\nrevoke\tlead\t1\t\"jürgen 💡\r\n\ufffd\"\r\n"
	for name, tc := range map[string]struct {
		bytes string
		bom   bool
	}{
		"utf-8":           {text, false},
		"utf-8 with mark": {"\ufeff" + text, true},
		"utf-16 le":       {bytes16(text, false), true},
		"utf-16 be":       {bytes16(text, true), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, in := range []io.Reader{strings.NewReader(tc.bytes), iotest.OneByteReader(strings.NewReader(tc.bytes)), iotest.DataErrReader(strings.NewReader(tc.bytes))} {
				r, err := sheet.Open(in, "-", sheet.Options{})
				if err != nil {
					t.Fatal(err)
				}
				records, err := collect(r)
				if err != nil {
					t.Fatal(err)
				}
				want := []string{"revoke", "lead", "1", "jürgen 💡\r\n\ufffd"}
				if len(records) != 1 || !cmp.Equal(records[0].Cells, want) {
					t.Errorf("got %+v, want one record %+q", records, want)
				}
				if l := r.Layout(); l.BOM != tc.bom || l.Newline != "\r\n" || l.Delimiter != "\t" {
					t.Errorf("got layout %+v, want BOM %t", l, tc.bom)
				}
				sum := sha256.Sum256([]byte(tc.bytes))
				if got, want := r.SHA256(), hex.EncodeToString(sum[:]); got != want {
					t.Errorf("got hash %s, want %s", got, want)
				}
			}
		})
	}
}

func TestHalfCharacters(t *testing.T) {
	t.Parallel()
	row := bytes16(head+"revoke,lead,1,u\nrevoke,le", false)
	for name, tc := range map[string]struct{ bytes, want string }{
		"high alone":         {row + "\x3D\xD8a\x00", "s.csv:3:2 (object): not UTF-16 (half a character)"},
		"low alone":          {row + "\xA1\xDCa\x00", "s.csv:3:2 (object): not UTF-16 (half a character)"},
		"high at the end":    {row + "\x3D\xD8", "s.csv:3:2 (object): not UTF-16 (half a character)"},
		"odd byte":           {row + "a", "s.csv:3:2 (object): not UTF-16 (half a character)"},
		"first of a line":    {bytes16(head, false) + "\xA1\xDC", "s.csv:2:1 (action): not UTF-16 (half a character)"},
		"in the header":      {bytes16("action,ob", false) + "\xA1\xDC", "s.csv:1:2: not UTF-16 (half a character)"},
		"NUL":                {row + "\x00\x00", "s.csv:3:2 (object): a NUL byte"},
		"big, high at end":   {bytes16(head, true) + "\xD8\x3D", "s.csv:2:1 (action): not UTF-16 (half a character)"},
		"after a line break": {bytes16(head+"revoke,\"\n", false) + "\xA1\xDC", "s.csv:3:2 (object): not UTF-16 (half a character)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := read(tc.bytes, "s.csv")
			if got := refused(t, err).Error(); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestResultFile(t *testing.T) {
	t.Parallel()
	block := strings.Join(sheet.ResultColumns(), ",")
	for _, tc := range []struct {
		name, header, row string
		result            bool
		columns           []string
	}{
		{"result", "action,object,record_id,user,note,message," + block, "revoke,lead,1,u,n,m,2,done,,,,,,,,", true,
			[]string{"action", "object", "record_id", "user", "note", "message"}},
		{"a column after the block", "action,object,record_id,user," + block + ",note", "revoke,lead,1,u,2,done,,,,,,,,,n", false,
			append(append([]string{"action", "object", "record_id", "user"}, sheet.ResultColumns()...), "note")},
		{"another order", "action,object,record_id,user,result,line" + strings.TrimPrefix(block, "line,result"), "revoke,lead,1,u,,,,,,,,,,x", false,
			append([]string{"action", "object", "record_id", "user", "result", "line"}, sheet.ResultColumns()[2:]...)},
		{"some of them", "action,object,record_id,user,line,result", "revoke,lead,1,u,2,done", false,
			[]string{"action", "object", "record_id", "user", "line", "result"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r, records := mustRead(t, tc.header+"\n"+tc.row+"\n", "s.csv")
			l := r.Layout()
			if diff := cmp.Diff(tc.columns, l.Columns); diff != "" || l.IsResult != tc.result || len(l.Keep) != len(tc.columns) {
				t.Errorf("got layout %+v (-want +got):\n%s", l, diff)
			}
			if want := strings.Split(tc.row, ",")[:len(tc.columns)]; !cmp.Equal(records[0].Cells, want) {
				t.Errorf("got cells %q, want %q", records[0].Cells, want)
			}
		})
	}
	_, _, err := read("action,object,record_id,user,"+block+"\nrevoke,lead,1,u\n", "s.csv")
	if got, want := refused(t, err).Error(), "s.csv:2:5: the row has 4 fields, the header has 14"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestUnnamedColumns(t *testing.T) {
	t.Parallel()
	r, records := mustRead(t, ",action,object, ,record_id,user,,\n,revoke,lead,,1,u,,\n,revoke,lead,,1,u,x,\n", "s.csv")
	if diff := cmp.Diff([]int{0, 3, 7}, r.Layout().Dropped); diff != "" {
		t.Errorf("dropped (-want +got):\n%s", diff)
	}
	if got := len(records[1].Cells); got != 8 {
		t.Errorf("got %d cells, want one per column, dropped ones too", got)
	}
}

func TestReadOnce(t *testing.T) {
	t.Parallel()
	r, _ := mustRead(t, head+"revoke,lead,1,u\n", "s.csv")
	if records, err := collect(r); err == nil || len(records) != 0 {
		t.Errorf("second reading: got %d records and error %v, want an error alone", len(records), err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	stopped, err := sheet.Open(strings.NewReader(head+strings.Repeat("revoke,lead,1,u\n", 3)), "s.csv", sheet.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range stopped.All() {
		break
	}
	if got := stopped.SHA256(); got != "" {
		t.Errorf("got hash %s of a sheet that was not read to its end", got)
	}
}

// Records before a refused line come out first, over the borders of batches.
func TestRecordsBeforeRefusal(t *testing.T) {
	t.Parallel()
	for _, rows := range []int{1, 255, 256, 257, 600} {
		_, records, err := read(head+strings.Repeat("revoke,lead,1,u\n", rows)+"revoke\n", "s.csv")
		if e := refused(t, err); e.Line != rows+2 || len(records) != rows {
			t.Errorf("got %d records and line %d, want %d and %d", len(records), e.Line, rows, rows+2)
		}
		for i, rec := range records {
			if rec.Line != i+2 {
				t.Fatalf("record %d: got line %d", i, rec.Line)
			}
		}
	}
}

// A record may be kept: those that come after it leave it alone.
func TestRecordsAreTheirOwn(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	text.WriteString(head)
	for i := range 1000 {
		fmt.Fprintf(&text, "revoke,\"lead\",%d,u%d\n", i, i)
	}
	_, records := mustRead(t, text.String(), "s.csv")
	for i, rec := range records {
		want := []string{"revoke", "lead", fmt.Sprint(i), fmt.Sprintf("u%d", i)}
		if !cmp.Equal(rec.Cells, want) || rec.Fields.Record != want[2] || rec.Fields.User != want[3] {
			t.Fatalf("got %+v, want %q", rec, want)
		}
	}
}
