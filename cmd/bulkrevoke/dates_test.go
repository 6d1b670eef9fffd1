package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xuri/excelize/v2"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// datedHead is rigHead with a last day.
const datedHead = "account,action,object,record_id,context_id,user,access,last_day\n"

// dated writes off.csv with rows that end in a last day.
func (r *rig) dated(rows ...string) string {
	r.t.Helper()
	return r.write("off.csv", datedHead+strings.Join(rows, "\n")+"\n")
}

// day returns a calendar day so many days from today, in UTC.
func day(days int) string { return time.Now().UTC().AddDate(0, 0, days).Format(time.DateOnly) }

// A date cell of a workbook is a date, however it is shown and wherever days are counted
// from; a number that is not shown as a date is none, and a text only in ISO 8601.
func TestDateCells(t *testing.T) {
	t.Parallel()
	ahead := time.Date(2199, 12, 31, 0, 0, 0, 0, time.UTC)
	over := time.Date(2020, 1, 31, 0, 0, 0, 0, time.UTC)
	styled := func(f *excelize.File, value any, format string) {
		style, err := f.NewStyle(&excelize.Style{CustomNumFmt: &format})
		must(t, err)
		must(t, f.SetCellValue("Leavers", "H3", value))
		must(t, f.SetCellStyle("Leavers", "H3", "H3", style))
	}
	for _, tc := range []struct {
		name   string
		header string
		cell   func(f *excelize.File)
		want   string // of the row's message; "" where it is done
	}{
		{"a date cell", "Last Working Day", func(f *excelize.File) { must(t, f.SetCellValue("Leavers", "H3", ahead)) }, "due from 2200-01-01T00:00:00+01:00"},
		{"shown the German way", "due", func(f *excelize.File) { styled(f, ahead, "dd.mm.yyyy") }, "due from 2199-12-31T00:00:00+01:00"},
		{"shown as a month", "exit_date", func(f *excelize.File) { styled(f, ahead, "mmm yy") }, "due from 2200-01-01T00:00:00+01:00"},
		{"counted from 1904", "Effective Date", func(f *excelize.File) {
			must(t, f.SetWorkbookProps(&excelize.WorkbookPropsOptions{Date1904: new(true)}))
			styled(f, 46000, "yyyy-mm-dd")
		}, "due from 2029-12-10T00:00:00+01:00"},
		{"with a time of day", "not_before", func(f *excelize.File) { styled(f, ahead.Add(9*time.Hour), "d/m/yy h:mm") }, "due from 2199-12-31T09:00:00+01:00"},
		{"a number that is shown as one", "due_date", func(f *excelize.File) { must(t, f.SetCellValue("Leavers", "H3", 46356)) }, `not_before: "46356" is not a date`},
		{"a date as a text", "leaving-date", func(f *excelize.File) { must(t, f.SetCellValue("Leavers", "H3", "31.12.2199")) }, `last_day: "31.12.2199" is not a date`},
		{"an ISO date as a text", "leaving-date", func(f *excelize.File) { must(t, f.SetCellValue("Leavers", "H3", "2199-07-31")) }, "due from 2199-08-01T00:00:00+02:00"},
		{"a last day with a time", "last_day", func(f *excelize.File) { styled(f, ahead.Add(9*time.Hour), "d/m/yy h:mm") }, `last_day: "2199-12-31 09:00:00" is not a date`},
		{"an error", "last_day", func(f *excelize.File) { must(t, f.SetCellValue("Leavers", "H3", "#N/A")) }, `last_day: "#N/A" is not a date`},
		{"a day that is over", "termination_date", func(f *excelize.File) { styled(f, over, "mmm yy") }, ""},
		{"no date", "last day", func(*excelize.File) {}, ""},
		{"a column that the sheet says nothing of", "last seen", func(f *excelize.File) { must(t, f.SetCellValue("Leavers", "H3", ahead)) }, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{})
			path := r.workbook("off.xlsx", []string{"Leavers"}, [][]string{{lead("revoke", 1), lead("revoke", 2)}}, func(f *excelize.File) {
				must(t, f.SetCellValue("Leavers", "H1", tc.header))
				must(t, f.SetCellValue("Leavers", "H2", over))
				style, err := f.NewStyle(&excelize.Style{NumFmt: 14})
				must(t, err)
				must(t, f.SetCellStyle("Leavers", "H2", "H2", style))
				tc.cell(f)
			})
			args := []string{"run", "--timezone", "Europe/Berlin", path}
			switch {
			case tc.want == "":
				r.runs(exitDone, args...)
			case strings.HasPrefix(tc.want, "due"):
				r.runs(exitDone, args...)
				if rows := r.results("off.results.csv"); rows[1]["result"] != "not_due" || rows[1]["message"] != tc.want || rows[0]["result"] != "done" {
					t.Errorf("got %v, want %q", rows, tc.want)
				}
			default:
				if got := r.runs(exitRefused, args...); !strings.Contains(got.stderr, "off.xlsx:3: "+tc.want) {
					t.Errorf("it says nothing of %q:\n%s", tc.want, got.stderr)
				}
				if n := r.changes(); n != 0 {
					t.Errorf("%d changes were sent", n)
				}
				r.only("off.xlsx")
			}
			// Whoever says that the column means nothing is believed.
			r.runs(exitDone, "run", "--map", tc.header+"=none", path)
		})
	}
}

// Whoever has not said where days begin is told so, and so is a slip in the name.
func TestTimezone(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	off := r.dated(lead("revoke", 1) + ",2026-01-31")
	for _, tc := range []struct{ zone, want string }{
		{"", "begins at another moment in every time zone"},
		{"Berlin", "did you mean Europe/Berlin?"},
		{"kolkata", "did you mean Asia/Kolkata?"},
		{"Local", `"Local" is no time zone`},
		{"CET+1", `"CET+1" is no time zone`},
	} {
		args := []string{"run", off}
		if tc.zone != "" {
			args = append(args, "--timezone", tc.zone)
		}
		if got := r.runs(exitRefused, args...); !strings.Contains(got.stderr, tc.want) {
			t.Errorf("%s: it says nothing of %q:\n%s", tc.zone, tc.want, got.stderr)
		}
	}
	r.configure("timezone: Asia/Kolkata\n" + rigConfig)
	r.runs(exitDone, "run", off)
}

// A night on which nothing is due makes no call at all, on neither CRM.
func TestNothingDueMakesNoCall(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	off := r.dated(
		lead("revoke", 1)+","+day(3),
		"crm,revoke,Quotes,"+zohoRecord(1)+",,"+zohoUser(1)+",,"+day(2),
		"crm,keep,Quotes,"+zohoRecord(2)+",,"+zohoUser(1)+",,",
		"lsq,keep,lead,7001,"+guidOf('c', 7)+",someone@x.example,,",
	)
	metrics := r.path("off.prom")
	for range 2 {
		r.runs(exitDone, "run", "--timezone", "UTC", "--metrics-file", metrics, off)
		if got := r.words("result"); !slices.Equal(got, []string{"not_due", "not_due", "unchanged", "unchanged"}) {
			t.Errorf("results %q", got)
		}
	}
	r.runs(exitDone, "plan", "--timezone", "UTC", off)
	r.runs(exitOpen, "verify", off) // of what was kept, nobody can tell without asking
	if got := r.server.Arrivals(); slices.ContainsFunc(got, changes) {
		t.Errorf("changes arrived: %+v", got)
	}
	text, err := os.ReadFile(metrics)
	must(t, err)
	for _, want := range []string{
		fmt.Sprintf("bulkrevoke_rows_not_due{sheet=%q} 2\n", off), fmt.Sprintf("bulkrevoke_rows_overdue{sheet=%q} 0\n", off),
		fmt.Sprintf("bulkrevoke_oldest_overdue_seconds{sheet=%q} 0\n", off),
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the metrics have no %q:\n%s", want, text)
		}
	}
}

// TestNothingDueIsSilent is the same without the commands that ask.
func TestNothingDueIsSilent(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	off := r.dated(lead("revoke", 1)+","+day(3), "crm,revoke_all,Quotes,"+zohoRecord(1)+",,,,"+day(2), "crm,keep,Quotes,"+zohoRecord(2)+",,"+zohoUser(1)+",,")
	r.runs(exitDone, "plan", "--timezone", "UTC", off)
	r.runs(exitDone, "run", "--timezone", "UTC", off)
	r.runs(exitDone, "run", "--timezone", "UTC", off)
	if got := r.server.Arrivals(); len(got) > 0 {
		t.Errorf("%d calls: %+v", len(got), got)
	}
}

// Where this machine's clock and the CRM's differ, rows with dates are not attempted, all
// others are done, and the run ends with 3. Both CRMs say what time it is.
func TestClocksThatDiffer(t *testing.T) {
	t.Parallel()
	for _, ahead := range []time.Duration{time.Hour, -time.Hour} {
		t.Run(ahead.String(), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sandbox.Config{ClockAhead: ahead})
			r.server.SeedZoho("Quotes", zohoRecord(1), crm.Grant{Kind: crm.KindUser, ID: zohoUser(1), Access: crm.Read})
			r.server.SeedZoho("Quotes", zohoRecord(2), crm.Grant{Kind: crm.KindUser, ID: zohoUser(1), Access: crm.Read})
			off := r.dated(
				lead("revoke", 1)+","+day(-2), lead("revoke", 2)+",",
				"crm,revoke,Quotes,"+zohoRecord(1)+",,"+zohoUser(1)+",,"+day(-2), "crm,revoke,Quotes,"+zohoRecord(2)+",,"+zohoUser(1)+",,",
				lead("revoke", 3)+","+day(9),
			)
			summary := r.path("off.json")
			for range 2 { // the second time, who owns the keys is remembered, and the CRM asked for the time alone
				got := r.runs(exitStopped, "run", "--timezone", "UTC", "--summary", summary, off)
				if !strings.Contains(got.stderr, "Set this machine's clock right") {
					t.Errorf("it does not say what to do:\n%s", got.stderr)
				}
				if got := r.words("result"); !slices.Equal(got, []string{"not_attempted", "done", "not_attempted", "done", "not_due"}) {
					t.Errorf("results %q", got)
				}
			}
			if codes := r.words("code"); codes[0] != crm.CodeClock || codes[2] != crm.CodeClock {
				t.Errorf("codes %q", codes)
			}
			var file struct {
				Counts   map[string]int64
				Accounts []struct {
					EndedCode string `json:"ended_code"`
				} `json:"accounts"`
			}
			text, err := os.ReadFile(summary)
			must(t, err)
			must(t, json.Unmarshal(text, &file))
			if file.Accounts[0].EndedCode != crm.CodeClock || file.Counts["not_due"] != 1 || file.Counts["not_attempted"] != 2 {
				t.Errorf("the summary says %s", text)
			}
			if n := r.changes(); n != 2 {
				t.Errorf("%d changes, want those of the rows without a date", n)
			}
		})
	}
	t.Run("no clock", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, sandbox.Config{NoDate: true})
		got := r.runs(exitDone, "run", "--timezone", "UTC", r.dated(lead("revoke", 1)+","+day(-2)))
		if !strings.Contains(got.stderr, "does not say what time it is") {
			t.Errorf("it warns of nothing:\n%s", got.stderr)
		}
	})
}

// A date that has been moved is another plan.
func TestMovedDateUnderApprove(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	off := r.dated(lead("revoke", 1)+","+day(-1), lead("revoke", 2)+","+day(5))
	var plan struct{ Digest string }
	must(t, json.Unmarshal([]byte(r.runs(exitDone, "plan", "--json", "--timezone", "UTC", off).stdout), &plan))
	r.dated(lead("revoke", 1)+","+day(-1), lead("revoke", 2)+","+day(6))
	r.runs(exitRefused, "run", "--timezone", "UTC", "--approve", plan.Digest, off)
	if n := r.changes(); n != 0 {
		t.Errorf("%d changes were sent", n)
	}
	r.dated(lead("revoke", 1)+","+day(-1), lead("revoke", 2)+","+day(5))
	r.runs(exitDone, "run", "--timezone", "UTC", "--approve", plan.Digest, off)
}

// The plan says what is due when, and how much is overdue.
func TestPlanSaysWhatIsDue(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	var rows []string
	for i := range 12 {
		rows = append(rows, lead("revoke", i)+","+day(i+1))
	}
	rows = append(rows, lead("revoke", 20)+","+day(-3), lead("revoke", 21)+","+day(-2), lead("revoke", 22)+",")
	got := r.runs(exitDone, "plan", "--timezone", "UTC", r.dated(rows...)).stdout
	for _, want := range []string{
		"15 rows, 3 to send", "12  not due yet", fmt.Sprintf("%s  1 row\n", day(2)), fmt.Sprintf("%s  1 row\n", day(11)), "later       2 rows",
		"2  overdue", "the oldest since " + day(-2) + " 00:00 UTC",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the plan has no %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, day(12)) {
		t.Errorf("the plan tells more than ten days:\n%s", got)
	}
}

// Ten are kept, five revoked, and about one somebody has still to decide; on records whose
// lists are written as a whole.
func TestDecisions(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	grants := make([][]crm.Grant, 2) // of two records: the CRM takes ten people on each
	var rows []string
	for i := 1; i <= 16; i++ {
		grants[i%2] = append(grants[i%2], crm.Grant{Kind: crm.KindUser, ID: zohoUser(i), Access: crm.Read})
		decision := "keep"
		if i > 15 {
			decision = ""
		} else if i > 10 {
			decision = "revoke"
		}
		rows = append(rows, fmt.Sprintf("crm,%s,Quotes,%s,%s,boss@x.example,needs it", decision, zohoRecord(i%2), zohoUser(i)))
	}
	for i := range grants {
		r.server.SeedZoho("Quotes", zohoRecord(i), grants[i]...)
	}
	off := r.write("off.csv", "account,decision,object,record_id,user,reviewer,reason\n"+strings.Join(rows, "\n")+"\n")
	got := r.runs(exitRefused, "run", "--require", "reviewer,reason", off)
	if !strings.Contains(got.stderr, "off.csv:17: action: is empty: somebody has still to decide about this row") || !strings.Contains(got.stderr, "1 row is invalid") {
		t.Errorf("it does not say what is undecided:\n%s", got.stderr)
	}
	r.runs(exitOpen, "run", "--skip-invalid", "--require", "reviewer,reason", off)
	if r.count("unchanged") != 10 || r.count("done") != 5 || r.count("invalid") != 1 || r.words("code")[15] != crm.CodeUndecided || r.words("code")[0] != crm.CodeKept {
		t.Errorf("results %q, codes %q", r.words("result"), r.words("code"))
	}
	var left []string
	for i := range grants {
		for _, g := range r.server.Grants("Quotes", zohoRecord(i)) {
			left = append(left, g.ID)
		}
	}
	if len(left) != 11 {
		t.Errorf("%d have the record, want those who were kept and the one nobody has decided about: %q", len(left), left)
	}
	rows = rows[:15]
	off = r.write("off.csv", "account,decision,object,record_id,user,reviewer,reason\n"+strings.Join(rows, "\n")+"\n")
	r.runs(exitDone, "run", off)
	r.runs(exitDone, "verify", off)
	// Somebody takes the record from one who was to keep it.
	r.server.SeedZoho("Quotes", zohoRecord(1), grants[1][1:5]...)
	out := r.runs(exitOpen, "verify", off)
	if !strings.Contains(out.stdout, "2,unchanged,no,taken_away,the user does not have it any more") || strings.Count(out.stdout, ",no,") != 1 {
		t.Errorf("verify says\n%s", out.stdout)
	}
}

// Where nothing else asked, nobody knows yet whose the addresses are of those who keep
// something. It is found out when somebody wants to know whether they have it still.
func TestVerifyOfKeptAddresses(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	var rows []string
	for u := 1; u <= 3; u++ {
		r.server.AddUser(crm.User{ID: zohoUser(u), Email: addressOf(zohoUser(u)), Active: true}, "Standard")
		rows = append(rows, "crm,keep,Quotes,"+zohoRecord(1)+",,"+addressOf(zohoUser(u))+",,")
	}
	rows = append(rows, "crm,keep,Quotes,"+zohoRecord(1)+",,nobody@x.example,,")
	r.server.SeedZoho("Quotes", zohoRecord(1),
		crm.Grant{Kind: crm.KindUser, ID: zohoUser(1), Access: crm.Read}, crm.Grant{Kind: crm.KindUser, ID: zohoUser(2), Access: crm.Read})
	off := r.dated(rows...)
	r.runs(exitDone, "run", off)
	if n := len(r.server.Arrivals()); n != 0 {
		t.Errorf("%d calls", n)
	}
	out := r.runs(exitOpen, "verify", off).stdout
	for _, want := range []string{
		"2,unchanged,yes,kept,", "3,unchanged,yes,kept,", "4,unchanged,no,taken_away,the user does not have it any more",
		`5,unchanged,unknown,kept,"the user list of the account has nobody, or more than one, with the address ""nobody@x.example"""`,
	} {
		if !strings.Contains(out, want) {
			t.Errorf("verify lacks %q:\n%s", want, out)
		}
	}
}

// A sandbox has what a sheet keeps: of a user, in a sales group, and what everybody has.
func TestKeepInTheSandbox(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	group, member := guidOf('e', 1), guidOf('u', 1)
	off := r.write("off.csv", "action,object,record_id,user\n"+strings.Join([]string{
		"keep,Quotes," + zohoRecord(1) + "," + zohoUser(1),
		"keep,Quotes," + zohoRecord(2) + ",",
		"revoke,Quotes," + zohoRecord(1) + "," + zohoUser(2),
		"keep,sales_group," + group + "," + member,
	}, "\n")+"\n")
	r.runs(exitDone, "run", "--sandbox", off)
	r.runs(exitDone, "verify", "--sandbox", off)
}

// What was kept on LeadSquared's leads can not be seen, and that is said.
func TestVerifyOfKeptLeads(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	off := r.sheet(lead("keep", 1), lead("revoke", 2))
	r.runs(exitDone, "run", off)
	out := r.runs(exitOpen, "verify", off).stdout
	if !strings.Contains(out, "2,unchanged,unknown,kept,") || !strings.Contains(out, "nobody who has this record") {
		t.Errorf("verify says\n%s", out)
	}
}

// Killed again and again, over nights on which more and more is due, the rows that are done
// in the end are those that are due, each once.
func TestDatesSurviveKills(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{Latency: func() time.Duration { return 2 * time.Millisecond }})
	const rows = 120
	var sheet []string
	for i := range rows {
		date := ""
		switch i % 4 {
		case 1:
			date = day(-2)
		case 2:
			date = day(3)
		}
		action := "revoke"
		if i%4 == 3 {
			action = "keep"
		}
		sheet = append(sheet, lead(action, i)+","+date)
	}
	off := r.dated(sheet...)
	for night := range 8 {
		p := r.start("run", "--timezone", "UTC", "--limit", "20/100ms", off)
		time.Sleep(time.Duration(60+45*night) * time.Millisecond)
		_ = p.cmd.Process.Kill()
		p.wait()
	}
	r.runs(exitDone, "run", "--timezone", "UTC", off)
	if r.count("done") != rows/2 || r.count("not_due") != rows/4 || r.count("unchanged") != rows/4 {
		t.Errorf("results: %d done, %d not due, %d unchanged", r.count("done"), r.count("not_due"), r.count("unchanged"))
	}
	for i, row := range r.results("off.results.csv") {
		if row["attempts"] > "1" && row["message"] == "" {
			t.Errorf("row %d was sent %s times and does not say so", i+1, row["attempts"])
		}
	}
}

// What was kept of a share with everybody is there as long as that is.
func TestVerifyOfAKeptPublicShare(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	r.server.SeedZoho("Quotes", zohoRecord(1), crm.Grant{Kind: crm.KindPublic, Access: crm.Read})
	off := r.sheet("crm,keep,Quotes,"+zohoRecord(1)+",,,", "crm,keep,Quotes,"+zohoRecord(2)+",,,")
	r.runs(exitDone, "run", off)
	out := r.runs(exitOpen, "verify", off).stdout
	if !strings.Contains(out, "2,unchanged,yes,kept,") || !strings.Contains(out, "3,unchanged,no,taken_away,the record is not shared with everybody any more") {
		t.Errorf("verify says\n%s", out)
	}
}
