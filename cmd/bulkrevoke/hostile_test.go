package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// What is refused as a whole is refused by the command with line and column, and
// nothing is sent or left behind.
func TestSheetsRefusedAsAWhole(t *testing.T) {
	t.Parallel()
	const head = "action,object,record_id,user,context_id\n"
	row := fmt.Sprintf("revoke,lead,7001,%s,%s\n", guidOf('u', 1), guidOf('c', 1))
	for _, tc := range []struct{ name, text, want string }{
		{"empty", "", "off.csv"},
		{"header only", head, "off.csv"},
		{"no header", row, "off.csv:1"},
		{"missing column", "action,object,user\nrevoke,lead,u\n", "off.csv:1: "},
		{"column twice", "action,action,object,record_id,user\n", "off.csv:1:2"},
		{"column by two names", "action,operation,object,record_id,user\n", "off.csv:1:2"},
		{"unclosed quote", head + row + "revoke,lead,\"7002\n", "off.csv:3:3"},
		{"quote inside a cell", head + row + "revoke,le\"ad,7002,u,c\n", "off.csv:3:2"},
		{"too many fields", head + row + "revoke,lead,7002,u,c,more\n", "off.csv:3:6"},
		{"too few fields", head + row + "revoke,lead\n", "off.csv:3:3"},
		{"NUL", head + row + "revoke,lead,70\x0002,u,c\n", "off.csv:3:3"},
		{"invalid UTF-8", head + row + "revoke,lead,70\xff02,u,c\n", "off.csv:3:3"},
		{"record over 64 KiB", head + row + "revoke,lead," + strings.Repeat("7", 65<<10) + ",u,c\n", "off.csv:3"},
		{"257 columns", strings.TrimSuffix(head, "\n") + strings.Repeat(",x", 252) + "\n", "off.csv:1"},
		{"quotes only", strings.Repeat(`"`, 1001), "off.csv:1"},
		{"UTF-16 of half a character", "\xff\xfea\x00\x00", "off.csv"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{})
			path := r.write("off.csv", tc.text)
			for _, command := range []string{"run", "plan"} {
				got := r.runs(exitRefused, command, path)
				place := regexp.MustCompile(regexp.QuoteMeta(tc.want) + `\b`)
				if !place.MatchString(got.stderr) {
					t.Errorf("%s says\n%s\nwant %q in it", command, got.stderr, tc.want)
				}
			}
			if calls := len(r.server.Arrivals()); calls > 0 {
				t.Errorf("%d calls were made", calls)
			}
			r.only("off.csv")
		})
	}
}

// A line of 100 MB, a million columns, a file of quotes: refused within a second of
// the processor's time and 64 MiB of memory.
func TestGiantSheetsAreRefusedQuickly(t *testing.T) {
	t.Parallel()
	const head = "action,object,record_id,user,context_id\n"
	for name, text := range map[string]string{
		"a line of 100 MB":           head + strings.Repeat("x", 100<<20),
		"a header of 100 MB":         strings.Repeat("x", 100<<20),
		"a million columns":          "action" + strings.Repeat(",x", 1_000_000) + "\n",
		"a row of a million columns": head + "revoke" + strings.Repeat(",x", 1_000_000) + "\n",
		"a file of quotes":           head + strings.Repeat(`"`, 100<<20+1),
		"a quote that is not closed": head + `"` + strings.Repeat("revoke,lead\n", 8<<20),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{})
			p := r.start("run", r.write("off.csv", text))
			code, kilobytes := p.peak()
			if code != exitRefused || !strings.Contains(p.stderr.String(), "off.csv") {
				t.Errorf("ended with %d, want %d:\n%s", code, exitRefused, p.stderr.String())
			}
			state := p.cmd.ProcessState
			if took := state.UserTime() + state.SystemTime(); took > time.Second {
				t.Errorf("took %v of the processor", took)
			}
			if kilobytes > 64<<10 {
				t.Errorf("%d KiB were resident", kilobytes)
			}
			if len(r.server.Arrivals()) > 0 {
				t.Error("calls were made")
			}
		})
	}
}

// Ids that would lead a URL elsewhere are refused before any is made: not even the
// preflight is sent.
func TestHostileIdsAreRefusedBeforeAnyURL(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	defer c.wait()
	for _, id := range []string{
		"../users", "..", ".", "%2e%2e", "%2e%2e%2fusers", "7001/../users", "7001?x=1", "7001#x", "7001;x", `..\users`, "７００１",
		"\"70\r\n01\"", "\"7001\r\nHost: evil\"", "-1", "0x1F", "7001&x=1", "$(id)", "7001 7002",
	} {
		for _, row := range []string{
			fmt.Sprintf("lsq,revoke,lead,%s,%s,%s,read", id, guidOf('c', 1), guidOf('u', 1)),
			fmt.Sprintf("lsq,revoke,lead,7001,%s,%s,read", id, guidOf('u', 1)),
			fmt.Sprintf("lsq,revoke,lead,7001,%s,%s,read", guidOf('c', 1), id),
			fmt.Sprintf("lsq,revoke,sales_group,%s,,%s,", id, guidOf('u', 1)),
			fmt.Sprintf("crm,revoke,Quotes,%s,,%s,", id, zohoUser(1)),
			fmt.Sprintf("crm,revoke,Quotes,%s,,%s,", zohoRecord(1), id),
			fmt.Sprintf("crm,revoke,%s,%s,,%s,", id, zohoRecord(1), zohoUser(1)),
		} {
			c.run(row, func(t *testing.T) {
				r := newRig(t, sandbox.Config{})
				got := r.runs(exitRefused, "run", r.sheet(row))
				if calls := r.server.Arrivals(); len(calls) > 0 {
					t.Errorf("%d calls were made, the first is %s %s", len(calls), calls[0].Method, calls[0].Path)
				}
				if !strings.Contains(got.stderr, "off.csv:2") {
					t.Errorf("the refusal names no line:\n%s", got.stderr)
				}
			})
		}
	}
}

// nasty is what a CRM may say: it would run in a spreadsheet, move a terminal's
// cursor, end a log line and turn the direction of writing.
const nasty = "=HYPERLINK(\"http://evil.example\")\r\nlevel=ERROR msg=forged\x1b[2J\x1b]0;x\x07\u202egnp\u2066\u2028\u0085\x00+cmd|' /C calc'!A0"

// What the CRM says is inert in the result, and reaches neither the terminal nor a
// line of the log as it came, whichever of its fields it stands in.
func TestHostileMessagesAreInert(t *testing.T) {
	t.Parallel()
	quoted := strings.Trim(strings.ReplaceAll(fmt.Sprintf("%q", nasty), `\x1b`, `\u001b`), `"`)
	quoted = strings.NewReplacer(`\a`, `\u0007`, `\x07`, `\u0007`, `\x00`, `\u0000`).Replace(quoted)
	faults := map[string]sandbox.Fault{
		"message":        {Op: "EntityAccess.Revoke", Kind: sandbox.FaultException, Type: "MXNoException", Text: nasty},
		"type":           {Op: "EntityAccess.Revoke", Kind: sandbox.FaultException, Type: "MX" + nasty, Text: "no"},
		"type alone":     {Op: "EntityAccess.Revoke", Kind: sandbox.FaultException, Type: nasty, Text: "no"},
		"request id":     {Op: "EntityAccess.Revoke", Kind: sandbox.FaultVerbatim, Body: `{"Status":"Success","Message":{"Id":"` + quoted + `"}}`},
		"status":         {Op: "EntityAccess.Revoke", Kind: sandbox.FaultProcessFailed, Text: nasty},
		"page":           {Op: "EntityAccess.Revoke", Kind: sandbox.FaultVerbatim, Status: 400, Body: nasty},
		"429":            {Op: "EntityAccess.Revoke", Kind: sandbox.FaultVerbatim, Status: 429, Body: nasty, Times: 1, Header: map[string]string{"Retry-After": "1"}},
		"401":            {Op: "EntityAccess.Revoke", Kind: sandbox.FaultVerbatim, Status: 401, Body: `{"Status":"Error","ExceptionMessage":"` + quoted + `"}`},
		"redirect":       {Op: "EntityAccess.Revoke", Kind: sandbox.FaultRedirect, URL: "http://evil.example/%1b[2J"},
		"header":         {Op: "EntityAccess.Revoke", Kind: sandbox.FaultVerbatim, Status: 500, Header: map[string]string{"Retry-After": "\u202e=1+1"}},
		"Zoho message":   {Op: "Zoho.Share.Put", Kind: sandbox.FaultException, Type: "NO_PERMISSION", Text: nasty, Status: 403},
		"Zoho code":      {Op: "Zoho.Share.Put", Kind: sandbox.FaultException, Type: nasty, Text: "no", Status: 403},
		"Zoho entry":     {Op: "Zoho.Share.Post", Kind: sandbox.FaultRefuseEntry, Type: "INVALID_DATA", Text: nasty},
		"Zoho preflight": {Op: "Zoho.Users", Kind: sandbox.FaultException, Type: "NO_PERMISSION", Text: nasty, Status: 403},
		"Zoho token":     {Op: "Zoho.Token", Kind: sandbox.FaultVerbatim, Body: `{"error":"` + quoted + `"}`},
		"preflight":      {Op: "Authentication", Kind: sandbox.FaultException, Type: nasty, Text: nasty},
		"user list":      {Op: "Users.Get", Kind: sandbox.FaultException, Type: nasty, Text: nasty},
	}
	c := newCrowd(t)
	defer c.wait()
	for name, fault := range faults {
		for _, format := range []string{"text", "json"} {
			c.run(name+" "+format, func(t *testing.T) {
				r := newRig(t, sandbox.Config{})
				r.seedGroup(1, 1)
				r.seedQuote(1, 1, 2)
				r.seedQuote(2, 1)
				r.server.Fault(fault)
				named := strings.Replace(lead("revoke", 2), guidOf('u', 2), "u1@rig.example", 1)
				path := r.sheet(lead("revoke", 1), named, quote("revoke", 1, 1), quote("share", 2, 9))
				got := r.run("run", "--log-level", "debug", "--log-format", format, "--confirm-timeout", "1s", "--progress", "always", path)
				if got.code == exitRefused {
					t.Fatalf("refused:\n%s", got.stderr)
				}
				for _, out := range []string{got.stderr, r.run("plan", path).stdout} {
					if at := strings.IndexFunc(strings.NewReplacer("\n", "", "\r", "", "\x1b[2K", "", "\x1b[K", "").Replace(out), unprintable); at >= 0 {
						t.Errorf("the terminal gets %q", out[max(0, at-60):min(len(out), at+60)])
					}
				}
				for line := range strings.Lines(got.stderr) {
					if strings.HasPrefix(line, "level=ERROR msg=forged") {
						t.Errorf("a line of the log was forged: %q", line)
					}
				}
				for _, row := range r.results("off.results.csv") {
					for _, column := range []string{"request_id", "code", "message"} {
						cell := row[column]
						if strings.IndexFunc(cell, unprintable) >= 0 || strings.IndexAny(strings.TrimSpace(cell), "=+-@") == 0 {
							t.Errorf("line %s, %s is %q", row["line"], column, cell)
						}
					}
				}
			})
		}
	}
}

// unprintable says whether a character does something to a terminal or to a line.
func unprintable(r rune) bool {
	switch {
	case r < ' ', 0x7f <= r && r < 0xa0, r == 0x2028, r == 0x2029, 0x202a <= r && r <= 0x202e, 0x2066 <= r && r <= 0x2069:
		return true
	}
	return false
}

// A result or a ledger that is a link or somebody else's file is not touched, and
// nothing is sent.
func TestForeignFilesAreNotTouched(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"off.results.csv", "off.ledger.db", "off.ledger.db-wal", "off.ledger.db.lock"} {
		for _, kind := range []string{"link", "dangling link", "folder", "file"} {
			if kind == "file" && (name == "off.ledger.db.lock" || name == "off.ledger.db-wal") {
				continue // a lock file that was left behind is nobody's; a journal without its ledger is none
			}
			t.Run(name+" "+kind, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, sandbox.Config{})
				path := r.sheet(leads(1)...)
				victim := filepath.Join(t.TempDir(), "victim")
				switch kind {
				case "link":
					must(t, os.WriteFile(victim, []byte("precious\n"), 0o644))
					must(t, os.Symlink(victim, r.path(name)))
				case "dangling link":
					must(t, os.Symlink(victim, r.path(name)))
				case "folder":
					must(t, os.Mkdir(r.path(name), 0o755))
				case "file":
					r.write(name, "precious\n")
				}
				for _, args := range [][]string{{"run", path}, {"run", "--fresh", path}} {
					got := r.run(args...)
					if got.code != exitRefused || len(r.server.Arrivals()) > 0 && r.changes() > 0 {
						t.Errorf("%v ended with %d after %d changes, want %d:\n%s", args[1], got.code, r.changes(), exitRefused, got.stderr)
					}
				}
				data, err := os.ReadFile(victim)
				switch {
				case kind == "link" && string(data) != "precious\n":
					t.Errorf("the link's target holds %q", data)
				case kind == "dangling link" && err == nil:
					t.Error("the link's target was made")
				}
				if text, _ := os.ReadFile(r.path(name)); kind == "file" && string(text) != "precious\n" {
					t.Errorf("the file holds %q", text)
				}
			})
		}
	}
}

// Everything is written for its owner alone, whatever the umask lets through, and
// while the run goes on too.
func TestEverythingIsWrittenForItsOwnerAlone(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		return // it has no such bits
	}
	r := newRig(t, sandbox.Config{})
	r.seedQuote(1, 1, 2)
	r.server.AddUser(crm.User{ID: guidOf('u', 1), Email: "u1@rig.example", Active: true}, "Sales_User")
	r.server.Fault(sandbox.Fault{Op: "EntityAccess.Revoke", Kind: sandbox.FaultSlow, Delay: time.Second})
	path := r.sheet(lead("revoke", 1), quote("revoke", 1, 1))
	program, err := program()
	must(t, err)
	p := r.startCommand(shell(`umask 0; exec "$0" "$@"`, program, "run", path))
	until(t, "nothing was sent", func() bool { return r.changes() > 0 })
	check := func() {
		must(t, filepath.WalkDir(r.dir, func(name string, entry fs.DirEntry, err error) error {
			if err != nil || name == r.dir || name == path {
				return nil // gone by now
			}
			info, err := entry.Info()
			if err != nil {
				return nil
			}
			want := fs.FileMode(0o600)
			if entry.IsDir() {
				want = 0o700
			}
			if info.Mode().Perm()&^want != 0 {
				t.Errorf("%s has mode %04o", name, info.Mode().Perm())
			}
			return nil
		}))
	}
	check()
	if code := p.wait(); code != exitDone {
		t.Errorf("ended with %d:\n%s", code, p.stderr.String())
	}
	check()
}
