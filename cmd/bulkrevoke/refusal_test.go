package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

// read returns a file of the folder as text.
func (r *rig) read(name string) string {
	r.t.Helper()
	data, err := os.ReadFile(r.path(name))
	must(r.t, err)
	return string(data)
}

// A command that is refused, or stopped before it sent anything, puts that in the place
// of the page of the night before, and of summary and metrics, whatever it was refused
// for. The next good run puts its own in that place again.
func TestRefusalsReplaceYesterdaysEvidence(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		before  bool // a good run was there before
		prepare func(r *rig)
		args    []string
		code    int
		page    string // what the page says
	}{
		{"an invalid row", true, func(r *rig) { r.sheet(append(leads(1), "lsq,revoke,lead,x,,,")...) }, nil, exitRefused, "Refused: nothing was sent."},
		{"no header", true, func(r *rig) { r.write("off.csv", "a,b\n1,2\n") }, nil, exitRefused, "Refused: nothing was sent."},
		{"an empty file", true, func(r *rig) { r.write("off.csv", "") }, nil, exitRefused, "Refused: nothing was sent."},
		{"no sheet", true, func(r *rig) { must(r.t, os.Remove(r.path("off.csv"))) }, nil, exitRefused, "Refused: nothing was sent."},
		{"a wrong configuration", true, func(r *rig) { r.configure(rigConfig + "  x: 1\n") }, nil, exitRefused, "Refused: nothing was sent."},
		{"a setting that is none", true, func(r *rig) { r.env["BULKREVOKE_LIMIT"] = "fast" }, nil, exitRefused, "Refused: nothing was sent."},
		{"a flag that is none", true, nil, []string{"--bogus"}, exitRefused, "Refused: nothing was sent."},
		{"a flag that is none, and its value", true, nil, []string{"--bogus=1", "-x"}, exitRefused, "Refused: nothing was sent."},
		{"a wrong value of a flag", true, nil, []string{"--max-rows", "many"}, exitRefused, "Refused: nothing was sent."},
		{"a flag without its value", true, nil, []string{"--account"}, exitRefused, "Refused: nothing was sent."},
		{"a configuration that is no YAML", true, func(r *rig) { r.configure("accounts:\n\tlsq:\n") }, nil, exitRefused, "Refused: nothing was sent."},
		{"another digest", true, nil, []string{"--approve", strings.Repeat("0", 64)}, exitRefused, "Refused: nothing was sent."},
		{"too many rows", true, func(r *rig) { r.sheet(leads(3)...) }, []string{"--max-rows", "1"}, exitRefused, "Refused: nothing was sent."},
		{"an approval that is not asked for", true, nil, []string{"--fresh", "--max-rows", "0"}, exitRefused, "Refused: nothing was sent."},
		{"no time", true, nil, []string{"--max-duration", "1ns"}, exitStopped, "Ended before anything was sent."},
		{"a ledger that is damaged", true, func(r *rig) { r.write("off.ledger.db", r.read("off.ledger.db")[:8192]) }, nil, exitRefused, "Refused: nothing was sent."},
		{"the first run of all", false, func(r *rig) { r.sheet("lsq,revoke,lead,x,,,") }, nil, exitRefused, "Refused: nothing was sent."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{})
			path := r.sheet(leads(1)...)
			args := []string{"run", path, "--report", r.path("r.html"), "--summary", r.path("s.json"), "--metrics-file", r.path("m.prom")}
			if tc.before {
				r.runs(exitDone, args...)
				if !strings.Contains(r.read("r.html"), "The one row is as the sheet asks.") {
					t.Fatal("the page of a good run does not say so")
				}
			}
			if tc.prepare != nil {
				tc.prepare(r)
			}
			sent := r.changes()
			got := r.runs(tc.code, append(args, tc.args...)...)
			if r.changes() != sent {
				t.Fatal("something was sent")
			}
			page := r.read("r.html")
			for _, want := range []string{tc.page, "off.csv", "Exit code"} {
				if !strings.Contains(page, want) {
					t.Errorf("the page does not say %q:\n%s", want, page[strings.Index(page, "<body>"):])
				}
			}
			for _, never := range []string{"as the sheet asks", "Rows to look at", "of this sheet's ledger"} {
				if strings.Contains(page, never) || strings.Contains(got.stderr, never) {
					t.Errorf("page or command say %q", never)
				}
			}
			var summary report.SummaryFile
			must(t, json.Unmarshal([]byte(r.read("s.json")), &summary))
			if summary.ExitCode != tc.code || summary.Error == "" || summary.Run != 0 {
				t.Errorf("the summary says %d, %q, run %d", summary.ExitCode, summary.Error, summary.Run)
			}
			if m := r.read("m.prom"); strings.Contains(m, "exit_code{sheet=\""+path+"\"} 0") {
				t.Errorf("the metrics tell of a success:\n%s", m)
			}
			// And back.
			r.env["BULKREVOKE_LIMIT"] = ""
			r.configure(rigConfig)
			if strings.Contains(tc.name, "damaged") {
				args = append(args, "--fresh")
			}
			r.sheet(leads(1)...)
			r.runs(exitDone, args...)
			if !strings.Contains(r.read("r.html"), "The one row is as the sheet asks.") {
				t.Error("the page of the run after it does not say that all is well")
			}
		})
	}
}

// The refusal of one sheet does not take the place of another sheet's page, and no
// other file's.
func TestRefusalLeavesOtherFiles(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	path := r.sheet(leads(1)...)
	r.runs(exitDone, "run", path, "--report", r.path("r.html"))
	other := r.write("other.csv", rigHead+strings.Join(leads(2), "\n")+"\n")
	r.runs(exitDone, "run", other)
	before := r.read("r.html")
	r.write("other.csv", "no header\n")
	r.runs(exitRefused, "run", other, "--report", r.path("r.html"))
	if r.read("r.html") != before {
		t.Error("another sheet's page was replaced")
	}
	mine := r.write("mine.html", "<p>mine</p>\n")
	r.runs(exitRefused, "run", other, "--report", mine)
	r.runs(exitRefused, "run", other, "--report", r.path("r.pdf"))
	if r.read("mine.html") != "<p>mine</p>\n" {
		t.Error("a file that is no page was replaced")
	}
	if there, _ := exists(r.path("r.pdf")); there {
		t.Error("a page was written under a name that was refused")
	}
}

// A run that is stopped before it sends anything says that the result which is there
// is not its own.
func TestStopBeforeTheImportSaysWhoseResultItIs(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	path := r.sheet(leads(1)...)
	r.runs(exitDone, "run", path)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(&signalError{os.Interrupt})
	got := r.runUnder(ctx, "run", path)
	if got.code != exitInterrupt || !strings.Contains(got.stderr, "nothing was sent, and the result file is not of this run") {
		t.Errorf("ended with %d and said:\n%s", got.code, got.stderr)
	}
	if got := r.runs(exitDone, "run", path); strings.Contains(got.stderr, "not of this run") {
		t.Errorf("a run that did its work says:\n%s", got.stderr)
	}
}

// What stands in the environment or in the configuration counts for a command line
// that is wrong, too, and so it does where it is the configuration that is wrong.
func TestRefusalsFindTheEvidenceWhereverItIsNamed(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		conf string // added to the configuration once the good run is over
		args []string
	}{
		{"a wrong value before all flags", "", []string{"--limit", "fast"}},
		{"an unknown flag with a value", "", []string{"--bogus", "5"}},
		{"an unknown setting", "\nbogus: 1\n", nil},
		{"no YAML", "\naccounts:\n\tlsq:\n", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{})
			path := r.sheet(leads(1)...)
			conf := fmt.Sprintf("%s\nreport: %s\nmetrics-file: '%s' # for the collector\n", rigConfig, r.path("r.html"), r.path("m.prom"))
			r.configure(conf)
			r.env["BULKREVOKE_SUMMARY"] = r.path("s.json")
			r.runs(exitDone, "run", path)
			r.configure(conf + tc.conf)
			r.runs(exitRefused, append(append([]string{"run"}, tc.args...), path)...)
			for name, want := range map[string]string{"r.html": "Refused: nothing was sent.", "s.json": `"exit_code": 2`, "m.prom": "last_run_exit_code{sheet=\"" + path + "\"} 2"} {
				if !strings.Contains(r.read(name), want) {
					t.Errorf("%s does not say %q:\n%s", name, want, r.read(name))
				}
			}
		})
	}
}

// A command line that names no sheet, or several, replaces nobody's evidence; one that
// asks for a plan neither.
func TestRefusalsOfNobodysSheetLeaveEvidence(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	path := r.sheet(leads(1)...)
	args := []string{"run", "--report", r.path("r.html"), "--summary", r.path("s.json"), "--metrics-file", r.path("m.prom")}
	r.runs(exitDone, append(args, path)...)
	before := []string{r.read("r.html"), r.read("s.json"), r.read("m.prom")}
	for _, more := range [][]string{nil, {path, "other.csv"}, {path, "--dry-run", "--bogus"}, {path, "--dry-run", "--limit", "fast"}} {
		r.runs(exitRefused, append(slices.Clone(args), more...)...)
		if !slices.Equal(before, []string{r.read("r.html"), r.read("s.json"), r.read("m.prom")}) {
			t.Fatalf("%q: evidence was replaced", more)
		}
	}
}

// The page and the summary of a refused sheet say which rows are wrong, and why.
func TestRefusalsNameTheInvalidRows(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	rows := leads(1)
	for range 9 {
		rows = append(rows, "lsq,revoke,lead,<b>x</b>,"+guidOf('c', 1)+","+guidOf('u', 1)+",read")
	}
	path := r.sheet(append(rows, "lsq,grab,lead,7,,u,")...)
	r.runs(exitRefused, "run", path, "--report", r.path("r.html"), "--summary", r.path("s.json"))
	page := r.read("r.html")
	for _, want := range []string{
		"<li>off.csv:3: record_id: ", "&#34;&lt;b&gt;x&lt;/b&gt;&#34;", "<li>off.csv: and 4 more like it (lines 8-11)</li>", "<li>off.csv:12: action: ",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q:\n%s", want, page[strings.Index(page, "<body>"):])
		}
	}
	var summary report.SummaryFile
	must(t, json.Unmarshal([]byte(r.read("s.json")), &summary))
	if n := len(summary.Invalid); n != 10 {
		t.Fatalf("the summary lists %d rows, want 10", n)
	}
	if row := summary.Invalid[9]; row.Line != 12 || row.Column != "action" || row.Value != "grab" || row.Error == "" || row.Code == "" {
		t.Errorf("of the last row the summary says %+v", row)
	}
}

// A run that is refused after its checks says how many calls those have made.
func TestRefusalsCountTheirCalls(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	got := r.runs(exitRefused, "run", r.sheet(leads(3)...), "--max-rows", "1", "--log-format", "json", "--summary", r.path("s.json"))
	lines := told(t, got.stderr)
	calls := len(r.server.Arrivals())
	if last := lines[len(lines)-1]; calls == 0 || last["calls"] != float64(calls) {
		t.Errorf("after %d calls the last line is %v", calls, last)
	}
	var summary report.SummaryFile
	must(t, json.Unmarshal([]byte(r.read("s.json")), &summary))
	if len(summary.Accounts) != 1 || summary.Accounts[0].Calls != int64(calls) {
		t.Errorf("after %d calls the summary says %+v", calls, summary.Accounts)
	}
}

// So does one that is stopped before it knows what its files are called.
func TestStopBeforeTheNamesSaysWhoseResultItIs(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	path := r.sheet(leads(1)...)
	for _, there := range []bool{false, true} {
		if there {
			r.write("off.results.csv", "x\n")
		}
		var stderr bytes.Buffer
		a := newApp([]string{"run", path}, strings.NewReader(""), io.Discard, &stderr)
		if err := a.refused(t.Context(), &signalError{os.Interrupt}); !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v", err)
		}
		a.shown.Flush()
		if strings.Contains(stderr.String(), "not of this run") != there {
			t.Errorf("with a result there %v it says %q", there, stderr.String())
		}
	}
}

// Without any account the command says how to describe one, for every CRM.
func TestNoAccountIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.configure("# nothing yet\n")
	path := r.sheet(leads(1)...)
	for _, command := range []string{"run", "plan"} {
		got := r.runs(exitRefused, command, path)
		for _, want := range []string{"no account is configured", "LEADSQUARED_HOST, LEADSQUARED_ACCESS_KEY and LEADSQUARED_SECRET_KEY", "ZOHO_REFRESH_TOKEN"} {
			if !strings.Contains(got.stderr, want) {
				t.Errorf("%s does not say %q:\n%s", command, want, got.stderr)
			}
		}
	}
}
