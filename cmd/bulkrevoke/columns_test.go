package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

func TestMapFlag(t *testing.T) {
	t.Parallel()
	pair := func(header, column string) sheet.Mapping {
		return sheet.Mapping{Header: header, Column: column, Must: true}
	}
	for _, tc := range []struct {
		name string
		args []string
		want []sheet.Mapping
	}{
		{"one", []string{"Lead No=record_id"}, []sheet.Mapping{pair("Lead No", "record_id")}},
		{"several", []string{"Lead No=record_id, Owner mail = user"}, []sheet.Mapping{pair("Lead No", "record_id"), pair("Owner mail", "user")}},
		{"given again", []string{"Lead No=record_id", "Owner mail=user"}, []sheet.Mapping{pair("Lead No", "record_id"), pair("Owner mail", "user")}},
		{"a name with a comma and quotes", []string{`"Name, ""full""=user",X=none`}, []sheet.Mapping{pair(`Name, "full"`, "user"), pair("X", "none")}},
		{"a name with the sign", []string{"a=b=user"}, []sheet.Mapping{pair("a=b", "user")}},
		{"several for nothing", []string{"A=none,B=none"}, []sheet.Mapping{pair("A", "none"), pair("B", "none")}},
		{"id and address", []string{"A=user,B=email"}, []sheet.Mapping{pair("A", "user"), pair("B", "email")}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var got mapFlag
			for _, arg := range tc.args {
				must(t, got.Set(arg))
			}
			if diff := cmp.Diff(tc.want, []sheet.Mapping(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// What contradicts itself, or means nothing, is refused with what could be chosen.
func TestWrongMappings(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, flag string
		want       []string
	}{
		{"no sign", "Lead No", []string{`"Lead No" is not a column of the sheet, =, and one of ours, as in Lead No=record_id`}},
		{"three dots", "Lead No=record_id,...", []string{`"..." is not a column of the sheet`}},
		{"no column of the sheet", "=user", []string{`the column "" is no name of a column`}},
		{"no column of ours", "Lead No=number", []string{`the column "Lead No" is to stand for "number", which is no column of ours; There are action, object, record_id, user,`, "none for a column that means nothing to us"}},
		{"nothing", "Lead No=", []string{`is to stand for "", which is no column of ours`}},
		{"a slip", "Lead No=reord_id", []string{"did you mean record_id?"}},
		{"the other way round", "record_id=Lead No", []string{`the name in the sheet comes first: Lead No=record_id`}},
		{"one name for two columns", "Lead No=record_id,lead_no=context_id", []string{`the column "lead_no" is mapped twice, to record_id and to context_id`}},
		{"one column twice", "Lead No=record_id,Lead No=record_id", []string{`the column "Lead No" is mapped twice`}},
		{"two names for one column", "Lead No=record_id,Deal No=EntityId", []string{`the columns "Lead No" and "Deal No" can not both stand for record_id`}},
		{"an open quote", `"Lead No=record_id`, []string{"must stand in quotes"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			if code := run(t.Context(), []string{"run", "--sandbox", "none.csv", "--map", tc.flag}, strings.NewReader(""), &stdout, &stderr); code != exitRefused {
				t.Errorf("exit code is %d, want %d", code, exitRefused)
			}
			for _, want := range tc.want {
				if !strings.Contains(stderr.String(), want) {
					t.Errorf("got %q, want %q in it", stderr.String(), want)
				}
			}
		})
	}
}

// What the flag says of a column, or of what one stands for, is stronger than the
// configuration.
func TestFlagOverConfiguredColumns(t *testing.T) {
	t.Parallel()
	cfg, err := parseConfig([]byte("columns:\n  Lead No: record_id\n  Deal No: record_id\n  Owner: user\n  Boss mail: none\n  Email: none\n"), knownCRMs())
	must(t, err)
	mapping := func(header, column string) sheet.Mapping { return sheet.Mapping{Header: header, Column: column} }
	all := []sheet.Mapping{mapping("Lead No", "record_id"), mapping("Deal No", "record_id"), mapping("Owner", "user"), mapping("Boss mail", "none"), mapping("Email", "none")}
	for _, tc := range []struct {
		name, flag string
		kept       []sheet.Mapping
	}{
		{"nothing given", "", all},
		{"the same header", "boss_mail=user_email", append(slices.Clone(all[:3]), all[4])},
		{"the same meaning", "Nr=record_id", all[2:]},
		{"by another name", "Nr=EntityId", all[2:]},
		{"nothing of ours", "X=none", all},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			a := &job{cfg: cfg, opts: newOptions()}
			must(t, a.opts.columns.Set(tc.flag))
			want := append(slices.Clone(tc.kept), a.opts.columns...)
			if diff := cmp.Diff(want, a.sheetOptions("").Map); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// --sheet is for workbooks: on the command line for a text it is a mistake, from
// elsewhere it is meant for others.
func TestSheetFlagOnText(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"off.csv", "off.txt", "off.tsv", "-"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{})
			path, more := name, []string{"-o", r.path("r.csv"), "--ledger", r.path("l.db")}
			if name != standardInput {
				data, err := os.ReadFile(r.sheet(lead("revoke", 1)))
				must(t, err)
				path = r.write(name, string(data))
			}
			got := r.runs(exitRefused, append([]string{"run", path, "--sheet", "June"}, more...)...)
			if want := "--sheet June: " + title(path) + " is text, which has no sheets"; !strings.Contains(got.stderr, want) {
				t.Errorf("got %q, want %q in it", got.stderr, want)
			}
			if name == standardInput {
				return // it has nothing to read
			}
			r.env["BULKREVOKE_SHEET"] = "June"
			got = r.runs(exitDone, append([]string{"run", path}, more...)...)
			if want := "--sheet has no say"; !strings.Contains(got.stderr, want) {
				t.Errorf("got %q, want %q in it", got.stderr, want)
			}
			if n := r.changes(); n != 1 {
				t.Errorf("%d changes, want 1", n)
			}
		})
	}
	r := newRig(t, sandbox.Config{})
	r.configure(rigConfig + "\nsheet: June\n")
	if got := r.runs(exitDone, "plan", r.sheet(lead("revoke", 1))); !strings.Contains(got.stderr, "--sheet has no say") {
		t.Errorf("got %q, want a warning of the configuration's sheet", got.stderr)
	}
}

// The sandbox reads its seeds as run reads sheets.
func TestSandboxSeedsByOwnNames(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	name := r.write("own.csv", "Leavers\nWhat,object,Nr,user,context_id\nrevoke,lead,869196,00000000-0000-4000-8000-000000000001,00000000-0000-4000-8000-000000000002\n")
	got := r.runs(exitRefused, "sandbox", "--seed", name, "--header-row", "2")
	if want := "own.csv:2: the header lacks the needed columns action, record_id"; !strings.Contains(got.stderr, want) {
		t.Errorf("got %q, want %q in it", got.stderr, want)
	}
	served, stop := context.WithCancel(t.Context())
	printed, stdout := io.Pipe()
	var stderr bytes.Buffer
	done := make(chan int, 1)
	go func() {
		done <- run(served, []string{"sandbox", "--seed", name, "--header-row", "2", "--map", "What=action,Nr=record_id", "--quiet"}, strings.NewReader(""), stdout, &stderr)
	}()
	if _, err := printed.Read(make([]byte, 4096)); err != nil {
		t.Error(err)
	}
	stop()
	if code := <-done; code != exitDone {
		t.Errorf("it ended with %d: %s", code, stderr.String())
	}
}
