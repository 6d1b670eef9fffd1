package sheet_test

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
)

func TestRefusals(t *testing.T) {
	t.Parallel()
	wide := func(n int) string { return strings.Repeat(",x", n) }
	for _, tc := range []struct {
		name, text string
		want       string // the whole message; the input is called s.csv
	}{
		{"nothing", "", "s.csv:1: the sheet is empty, it has no header"},
		{"blank lines only", "\n , ,\n\n", "s.csv:1: the sheet is empty, it has no header"},
		{"byte order mark only", "\ufeff", "s.csv:1: the sheet is empty, it has no header"},
		{"declared and empty", "sep=;\n", "s.csv:1: the sheet is empty, it has no header"},
		{"no row", head, "s.csv: the sheet has a header and no row"},
		{"no row but blank ones", head + "\n,,,\n", "s.csv: the sheet has a header and no row"},
		{"no header", "revoke,lead,1,u\nrevoke,lead,2,u\n",
			"s.csv:1: the header lacks the needed columns action, object, record_id, user"},
		{"needed column missing", "\naction,object,user\nrevoke,lead,u\n",
			"s.csv:2: the header lacks the needed column record_id"},
		{"only a result block", strings.Join(sheet.ResultColumns(), ",") + "\n",
			"s.csv:1: the header lacks the needed columns action, object, record_id, user"},
		{"column twice", "action,object,record_id,user,Action\n",
			`s.csv:1:5 (Action): column 5 "Action" says the same as column 1 "action"`},
		{"column twice by two names", "action,object,EntityId,user,Prospect Auto-Id\n",
			`s.csv:1:5 (Prospect Auto-Id): column 5 "Prospect Auto-Id" says the same as column 3 "EntityId"`},
		{"user twice by id", "action,object,record_id,user,user_id\n",
			`s.csv:1:5 (user_id): column 5 "user_id" says the same as column 4 "user"`},
		{"user twice by address", "action,object,record_id,e-mail,UserEmail\n",
			`s.csv:1:5 (UserEmail): column 5 "UserEmail" says the same as column 4 "e-mail"`},
		{"unknown column twice", "action,object,note,record_id,user,Note\n",
			`s.csv:1:6 (Note): column 6 "Note" says the same as column 3 "note"`},
		{"permission twice", head[:len(head)-1] + ",AddUsersToGroup,add users to group\n",
			`s.csv:1:6 (add users to group): column 6 "add users to group" says the same as column 5 "AddUsersToGroup"`},
		{"too many columns", head[:len(head)-1] + wide(253) + "\n",
			"s.csv:1:257 (x): 257 columns are too many, the most is 256"},
		{"too few fields", head + "revoke,lead,1,u\nrevoke,lead,1\n",
			"s.csv:3:4 (user): the row has 3 fields, the header has 4"},
		{"too many fields", head + "\n\nrevoke,lead,1,u,\n",
			"s.csv:4:5: the row has 5 fields, the header has 4"},
		{"a million fields are too long first", head + strings.Repeat(",", 1<<20) + "\n",
			"s.csv:2:65537: the record is over 64 KiB"},
		{"unclosed quote", head + "revoke,lead,1,u\nrevoke,\"lead,1,u\nrevoke,lead,1,u\n",
			"s.csv:3:2 (object): the quote that opens here is never closed"},
		{"unclosed quote in the header", "action,object,record_id,\"user\nrevoke,lead,1,u\n",
			"s.csv:1:4: the quote that opens here is never closed"},
		{"unclosed quote at the end", head + "revoke,lead,1,\"",
			"s.csv:2:4 (user): the quote that opens here is never closed"},
		{"unclosed quote in a long sheet", head + "revoke,lead,\"1,u\n" + strings.Repeat("revoke,lead,1,u\n", 5000),
			"s.csv:2:3 (record_id): the record is over 64 KiB; the quote that opens here may never be closed"},
		{"text after a quote", head + "revoke,\"lead\"s,1,u\n",
			"s.csv:2:2 (object): text after the quote that closes the cell"},
		{"space after a quote", head + "revoke,\"lead\" ,1,u\n",
			"s.csv:2:2 (object): text after the quote that closes the cell"},
		{"text after a quote over lines", head + "revoke,\"le\r\nad\" x,1,u\n",
			"s.csv:3:2 (object): text after the quote that closes the cell"},
		{"bare quote", head + "revoke,le\"ad,1,u\n",
			"s.csv:2:2 (object): a quote inside a cell that does not begin with one"},
		{"bare quote in the header", "action,obj\"ect,record_id,user\nrevoke,lead,1,u\n",
			"s.csv:1:2: a quote inside a cell that does not begin with one"},
		{"NUL", head + "revoke,lead,1,u\nrevoke,lead,1\x00,u\n", "s.csv:3:3 (record_id): a NUL byte"},
		{"NUL in quotes", head + "revoke,lead,1,\"u\n\x00\"\n", "s.csv:3:4 (user): a NUL byte"},
		{"Latin-1", head + "revoke,lead,1,u\nrevoke,Andr\xE9,1,u\n",
			"s.csv:3:2 (object): not UTF-8 (byte 0xE9), it looks like Windows-1252 (Latin-1)"},
		{"Latin-1 header", "action,object,record_id,user,pr\xE9nom\n",
			"s.csv:1:5: not UTF-8 (byte 0xE9), it looks like Windows-1252 (Latin-1)"},
		{"other encoding", head + "revoke,lead,1,\x83\x65\x83\x58\n", "s.csv:2:4 (user): not UTF-8 (byte 0x83), it looks like Windows-1252 (Latin-1)"},
		{"cut character", head + "revoke,lead,1,\xE2\x82\xE2\x82\xAC\n", "s.csv:2:4 (user): not UTF-8 (byte 0xE2)"},
		{"overlong", head + "revoke,lead,1,\xC0\x80\n", "s.csv:2:4 (user): not UTF-8 (byte 0xC0)"},
		{"surrogate in UTF-8", head + "revoke,lead,1,\xED\xA0\x80\n", "s.csv:2:4 (user): not UTF-8 (byte 0xED)"},
		{"old Mac", "action,object,record_id,user\rrevoke,lead,1,u\r",
			"s.csv:1:4: a carriage return without a line feed; line ends of old Macs are not read"},
		{"old Mac, long", strings.Repeat("action,object,record_id,user\r", 9000),
			"s.csv:1:4: a carriage return without a line feed; line ends of old Macs are not read"},
		{"stray carriage return", head + "revoke,lead,1,u\r\r\n",
			"s.csv:2:4 (user): a carriage return without a line feed; line ends of old Macs are not read"},
		{"record too long", head + "revoke,lead,1,u\nrevoke,lead,1," + strings.Repeat("u", 64<<10) + "\n",
			"s.csv:3:4 (user): the record is over 64 KiB"},
		{"header too long", "action,object,record_id," + strings.Repeat("u", 64<<10) + "\n",
			"s.csv:1:4: the record is over 64 KiB"},
		{"unknown declared delimiter", "sep=:\naction:object\n", `s.csv:1: the first line declares the delimiter ":"`},
		{"wrong declared delimiter", "sep=;\n" + head + "revoke,lead,1,u\n",
			"s.csv:2: the header lacks the needed columns action, object, record_id, user"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := read(tc.text, "s.csv")
			if got := refused(t, err).Error(); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

// The limits themselves are within.
func TestLimits(t *testing.T) {
	t.Parallel()
	const row = "revoke,lead,1,"
	long := strings.Repeat("u", 64<<10-len(row)-1)
	_, records := mustRead(t, head+row+long+"\n"+row+"\""+long[3:]+"\"\r\n"+row+long+"u", "s.csv")
	if len(records) != 3 || records[0].Fields.User != long || records[1].Fields.User != long[3:] {
		t.Errorf("got %d records, want the three of 64 KiB", len(records))
	}
	for _, over := range []string{long + "u\n", "\"" + long[2:] + "\"\r\n", long + "uu"} {
		if _, _, err := read(head+row+over, "s.csv"); err == nil {
			t.Errorf("a record of %d bytes was read", len(row+over))
		}
	}
	columns := strings.TrimSuffix(head, "\n")
	cells := "revoke,lead,1,u"
	for i := range 252 {
		columns += fmt.Sprintf(",c%d", i)
		cells += ",x"
	}
	if r, records := mustRead(t, columns+"\n"+cells+"\n", "s.csv"); len(records[0].Cells) != 256 || len(r.Layout().Columns) != 256 {
		t.Errorf("got %d cells, want 256", len(records[0].Cells))
	}
}

func TestRefusalFields(t *testing.T) {
	t.Parallel()
	_, _, err := read(head+"revoke,lead,1,\"u\n", "-")
	got := *refused(t, err)
	want := sheet.Error{Name: "-", Line: 2, Column: 4, Header: "user",
		Reason: "the quote that opens here is never closed",
		Hint:   `A quote that belongs to the text is written twice, as "".`}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := got.Error(), "standard input:2:4 (user): the quote that opens here is never closed"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A column's name goes into messages on one line, short, and without characters
// that a terminal would obey.
func TestRefusalHeaderIsPrintable(t *testing.T) {
	t.Parallel()
	_, _, err := read("action,object,record_id,user,\"a\x1b[31m\nb"+strings.Repeat("c", 100)+"\"\nrevoke,lead,1,u,\x00\n", "s.csv")
	if got, want := refused(t, err).Header, "a [31m b"+strings.Repeat("c", 52)+"..."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestForeignFormats(t *testing.T) {
	t.Parallel()
	utf16 := "a\x00c\x00t\x00i\x00o\x00n\x00"
	for _, tc := range []struct{ name, text, want string }{
		{"xlsx", "PK\x03\x04\x14\x00\x06\x00[Content_Types].xml", "is an Excel workbook (.xlsx), not text"},
		{"ods", "PK\x03\x04\x14\x00mimetypeapplication/vnd.oasis.opendocument.spreadsheet", "is an OpenDocument spreadsheet (.ods), not text"},
		{"zip", "PK\x03\x04\x14\x00offboarding.csv", "is a zip archive, not text"},
		{"xls", "\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1", "is an old Excel workbook (.xls) or an encrypted one, not text"},
		{"gzip", "\x1F\x8B\x08\x00", "is compressed (gzip), not text"},
		{"bzip2", "BZh91AY", "is compressed (bzip2), not text"},
		{"xz", "\xFD7zXZ\x00", "is compressed (xz), not text"},
		{"zstd", "\x28\xB5\x2F\xFD\x24", "is compressed (zstd), not text"},
		{"pdf", "%PDF-1.7\n", "is a PDF document, not text"},
		{"rtf", "{\\rtf1", "is an RTF document, not text"},
		{"html", "\xEF\xBB\xBF\r\n <!DOCTYPE html><html>", "is an HTML page, not text"},
		{"html table", "<table border=1>", "is an HTML page, not text"},
		{"xml", "<?xml version=\"1.0\"?>", "is an XML document, not text"},
		{"utf-32 le", "\xFF\xFE\x00\x00a\x00\x00\x00", "is UTF-32, which is not read"},
		{"utf-32 be", "\x00\x00\xFE\xFF\x00\x00\x00a", "is UTF-32, which is not read"},
		{"utf-32 without mark", "a\x00\x00\x00c\x00\x00\x00", "looks like UTF-32, which is not read"},
		{"utf-16 le without mark", utf16, "looks like UTF-16 without a byte order mark"},
		{"utf-16 be without mark", "\x00" + utf16[:11], "looks like UTF-16 without a byte order mark"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := read(tc.text, "s.csv")
			e := refused(t, err)
			if got, want := e.Error(), "s.csv: "+tc.want; got != want || e.Hint == "" {
				t.Errorf("got %q with hint %q, want %q with a hint", got, e.Hint, want)
			}
		})
	}
}

// endless gives its unit again and again, and counts what was read of it.
type endless struct {
	unit string
	at   int
	read int
}

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = e.unit[e.at]
		e.at = (e.at + 1) % len(e.unit)
	}
	e.read += len(p)
	return len(p), nil
}

// What never ends is refused after a few buffers, wherever it begins.
func TestEndlessRecords(t *testing.T) {
	for _, unit := range []string{"x", ",", `"`, `"",`, "x\r", "\x00", "é", "\"\nx", "a,\"b\"\",", "\xE9"} {
		for _, start := range []string{"", head, head + "revoke,lead,1,\""} {
			t.Run(fmt.Sprintf("%q after %d", unit, len(start)), func(t *testing.T) {
				in := &endless{unit: unit}
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				r, err := sheet.Open(io.MultiReader(strings.NewReader(start), in), "s.csv", sheet.Options{})
				if err == nil {
					_, err = collect(r)
				}
				runtime.ReadMemStats(&after)
				refused(t, err)
				if in.read > 1<<20 {
					t.Errorf("%d bytes were read, want at most 1 MiB", in.read)
				}
				if got := after.TotalAlloc - before.TotalAlloc; got > 64<<20 {
					t.Errorf("%d bytes were allocated, want at most 64 MiB", got)
				}
			})
		}
	}
}

func TestInputErrors(t *testing.T) {
	t.Parallel()
	broken := errors.New("the disk is gone")
	for _, text := range []string{"", "act", head, head + "revoke,lead,1,u\nrev", head + strings.Repeat("revoke,lead,1,u\n", 20000), "\xFF\xFEa\x00"} {
		in := io.MultiReader(strings.NewReader(text), iotest.ErrReader(broken))
		r, err := sheet.Open(in, "-", sheet.Options{})
		if err == nil {
			_, err = collect(r)
			if got := r.SHA256(); got != "" {
				t.Errorf("%d bytes: got hash %s of an input that was not read to its end", len(text), got)
			}
		}
		if !errors.Is(err, broken) || err.Error() != "read standard input: the disk is gone" {
			t.Errorf("%d bytes: got error %v, want that of the input", len(text), err)
		}
	}
}
