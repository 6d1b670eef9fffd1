package report

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// sampleLine is what the text format has beside comments.
var sampleLine = regexp.MustCompile(`^[a-z_]+\{[a-z_]+="(?:[^"\\]|\\["\\n])*"(?:,[a-z_]+="(?:[^"\\]|\\["\\n])*")*\} -?[0-9.]+$`)

// checkMetrics makes sure that a collector can read the text: every sample belongs
// to the metric announced before it, and none is there twice.
func checkMetrics(t *testing.T, text string) {
	t.Helper()
	if !strings.HasSuffix(text, "\n") {
		t.Error("the last line has no end")
	}
	seen, typed := make(map[string]bool), ""
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			typed = strings.Fields(rest)[0]
			if seen[typed] {
				t.Errorf("%s is announced twice", typed)
			}
			seen[typed] = true
			continue
		}
		if strings.HasPrefix(line, "#") {
			continue
		}
		series, _, _ := strings.Cut(line, "} ")
		if !sampleLine.MatchString(line) || !strings.HasPrefix(line, typed+"{") || seen[series] {
			t.Errorf("after # TYPE %s, or a second time: %s", typed, line)
		}
		seen[series] = true
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	rows, s, facts := examplePage()
	s.Accounts = append(s.Accounts, batch.SummaryAccount{
		Account: `o"l\d`, CRM: "zoho", Usage: crm.Usage{Calls: 1}, Ended: &crm.AccountError{Code: crm.EndKeys},
	})
	facts.Sheet = filepath.Join(t.TempDir(), "off.csv")
	path := filepath.Join(t.TempDir(), "bulkrevoke.prom")
	must(t, WriteMetrics(t.Context(), pageLedger(t, rows), s, facts, path))
	got := read(t, path)
	checkMetrics(t, got)
	golden(t, "metrics.prom", strings.ReplaceAll(got, strings.ReplaceAll(facts.Sheet, `\`, `\\`), "/srv/crm/off.csv"))
	info, err := os.Stat(path)
	must(t, err)
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o644 {
		t.Errorf("the file has mode %v, want 0644", info.Mode())
	}
}

func TestMetricsKeepTheLastSuccess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "bulkrevoke.prom")
	led := pageLedger(t, []pageRow{{account: "main", op: revoke(1), settle: ledger.Outcome{Status: crm.Done}}})
	night := func(n int) batch.Summary {
		begin := at.Add(time.Duration(n) * 24 * time.Hour)
		return batch.Summary{Run: int64(n), Started: begin, Ended: begin.Add(time.Minute)}
	}
	success := func(name string, want float64) {
		t.Helper()
		got := read(t, path)
		checkMetrics(t, got)
		line := fmt.Sprintf("\n%s{sheet=%q} %v\n", lastSuccess, filepath.Join(dir, name), fmt.Sprintf("%.3f", want))
		if want == 0 {
			line = strings.ReplaceAll(line, "0.000", "0")
		}
		if !strings.Contains(got, line) {
			t.Errorf("the file lacks %s:\n%s", line, got)
		}
	}
	write := func(s batch.Summary, name string, code int) {
		t.Helper()
		must(t, WriteMetrics(t.Context(), led, s, Facts{Sheet: filepath.Join(dir, name), ExitCode: code}, path))
	}
	write(night(0), "off.csv", 3)
	success("off.csv", 0)
	write(night(1), "off.csv", 0)
	first := unix(night(1).Ended)
	success("off.csv", first)
	write(night(2), "off.csv", 1)
	success("off.csv", first)
	write(batch.Summary{}, "off.csv", 2)
	success("off.csv", first)
	write(night(3), "off.csv", 0)
	success("off.csv", unix(night(3).Ended))
	write(night(4), "other.csv", 1) // another sheet's success is none of its own
	success("other.csv", 0)
	must(t, os.WriteFile(path, []byte(strings.Replace(read(t, path), "other.csv\"} 0\n", "other.csv\"} NaN\n", 1)), 0o600))
	write(night(5), "other.csv", 1)
	success("other.csv", 0)
}

// A night that is refused gives nobody back what they have lost: the alert on it stays
// until a run has ended.
func TestMetricsKeepTheAlarmsOfTheLastRun(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "m.prom")
	led := pageLedger(t, []pageRow{{account: "main", op: revoke(1), settle: ledger.Outcome{Status: crm.Done}}})
	for n, tc := range []struct {
		began  bool
		alarms int64
		want   string // "" for no line
	}{
		{false, 0, ""}, {true, 2, "2"}, {false, 0, "2"}, {false, 0, "2"}, {true, 0, "0"}, {false, 0, "0"},
	} {
		s, code := batch.Summary{}, 2
		if tc.began {
			s, code = batch.Summary{Run: int64(n), Started: at, Ended: at.Add(time.Minute), Alarms: tc.alarms}, 1
		}
		must(t, WriteMetrics(t.Context(), led, s, Facts{Sheet: "-", ExitCode: code}, path))
		got := read(t, path)
		checkMetrics(t, got)
		if line := "\n" + alarms + `{sheet="-"} ` + tc.want + "\n"; tc.want == "" && strings.Contains(got, alarms) || tc.want != "" && !strings.Contains(got, line) {
			t.Errorf("command %d: want the alarms %q:\n%s", n, tc.want, got)
		}
	}
}

func TestMetricsOfARefusal(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "m.prom")
	synctest.Test(t, func(t *testing.T) {
		must(t, WriteMetrics(t.Context(), nil, batch.Summary{}, Facts{Sheet: "-", ExitCode: 2}, path))
		got := read(t, path)
		checkMetrics(t, got)
		want := fmt.Sprintf("\nbulkrevoke_last_run_timestamp_seconds{sheet=\"-\"} %d\n", time.Now().Unix())
		if !strings.Contains(got, want) || !strings.Contains(got, `exit_code{sheet="-"} 2`) || strings.Contains(got, "_rows") {
			t.Errorf("want time and exit code and no rows:\n%s", got)
		}
	})
}
