package report

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
)

// What outlives a command: lastSuccess one that does not succeed, alarms one that is
// refused, because a bystander who lost access has not got it back by that.
const (
	lastSuccess = "bulkrevoke_last_success_timestamp_seconds"
	alarms      = "bulkrevoke_last_run_alarms"
)

// WriteMetrics writes how a command ended as a file for the textfile collector of
// the Prometheus node exporter. led may be nil, and s the zero value, if no run
// began: the file then says so by time and exit code alone, and has no rows.
//
// A success is exit code 0: nothing is left to do. Without one, the last
// success is the one that the file at path has for this sheet, and 0 if it has none,
// so that an alert on its age needs no exception for a job that never succeeded. The
// alarms of the last run stay likewise until a run has ended.
//
// Every sample has the label sheet, the whole path of the sheet: the collector
// refuses two files that have the same sample, and a machine may have several jobs.
//
// The file is replaced as a whole, under the rules of CheckMetrics, and gets mode
// 0644: it holds nothing personal, and the collector runs as another user.
func WriteMetrics(ctx context.Context, led *ledger.Ledger, s batch.Summary, facts Facts, path string) error {
	m := metrics{sheet: facts.Sheet}
	if m.sheet != "-" && m.sheet != "" {
		var err error
		if m.sheet, err = filepath.Abs(m.sheet); err != nil {
			return err
		}
	}
	ended := s.Ended
	if ended.IsZero() {
		ended = time.Now()
	}
	before, err := m.previous(path)
	if err != nil {
		return err
	}
	success := before[lastSuccess]
	if facts.ExitCode == 0 {
		success = unix(ended)
	}
	m.gauge(lastSuccess, "When a run last ended with exit code 0, nothing left to do; 0 if none did.", success)
	m.gauge("bulkrevoke_last_run_timestamp_seconds", "When the last command ended, whatever its result.", unix(ended))
	m.gauge("bulkrevoke_last_run_exit_code",
		"Its exit code: 0 all done, 1 rows are open, 2 refused, 3 stopped early, 4 another run or program was at it, 129, 130 and 143 interrupted.", float64(facts.ExitCode))
	m.gauge("bulkrevoke_build_info", "Always 1; the version is in the label.", 1, "version", facts.Version)
	lost, known := before[alarms]
	if began(s) {
		m.gauge("bulkrevoke_last_run_duration_seconds", "How long the last run took.", seconds(s.Ended.Sub(s.Started)))
		m.gauge("bulkrevoke_last_run_rows_sent", "Rows that the last run sent.", float64(s.Sent))
		lost, known = float64(s.Alarms), true
	}
	if known {
		m.gauge(alarms, "Rows by which a bystander, whom no row is about, lost a record and was not given it back, as of the last run.", lost)
	}
	if began(s) {
		if err := m.rows(ctx, led, s.Accounts, ended); err != nil {
			return err
		}
		m.accounts(s.Accounts)
	}
	return metricsFile().replace(ctx, path, func(w io.Writer) error {
		_, err := io.WriteString(w, metricsStart+", replaced after each run\n"+m.b.String())
		return err
	})
}

// metrics builds the text of a file.
type metrics struct {
	sheet string
	b     strings.Builder
}

// rows writes how the rows of the sheet stand, by account and result. Every account of the
// run is among them, with or without rows, and every result has its sample, so that none
// disappears when it falls to nothing.
func (m *metrics) rows(ctx context.Context, led *ledger.Ledger, accounts []batch.SummaryAccount, now time.Time) error {
	rows := make(map[string]*batch.Counts)
	late := overdue{now: now}
	for _, a := range accounts {
		rows[a.Account] = new(batch.Counts)
	}
	for res, err := range led.Results(ctx) {
		if err != nil {
			return err
		}
		if rows[res.Account] == nil {
			rows[res.Account] = new(batch.Counts)
		}
		countRow(rows[res.Account], res)
		late.see(res)
	}
	const name = "bulkrevoke_last_run_rows"
	m.announce(name, "Rows of the sheet by result after the last run.")
	for _, account := range slices.Sorted(maps.Keys(rows)) {
		for _, r := range results(rows[account]) {
			m.sample(name, float64(r.Rows()), "account", account, "result", r.Word)
		}
	}
	m.gauge("bulkrevoke_rows_not_due", "Rows whose date, or that of an earlier row on the same user and record, has not come.", float64(late.notDue))
	m.gauge("bulkrevoke_rows_overdue", "Rows whose date has come and that are not done.", float64(late.rows))
	m.gauge("bulkrevoke_oldest_overdue_seconds", "How long ago the date of the oldest of these came, when the run ended; 0 if there are none.", late.age())
	return nil
}

// overdue finds the rows whose date has come, and which are not done.
type overdue struct {
	now          time.Time
	notDue, rows int64
	oldest       time.Time
}

func (o *overdue) see(res ledger.Result) {
	switch {
	case res.Status == crm.NotDue:
		o.notDue++
	case isOpen(res) && !res.Due.IsZero() && !res.Due.After(o.now):
		if o.rows++; o.oldest.IsZero() || res.Due.Before(o.oldest) {
			o.oldest = res.Due
		}
	}
}

// age is how long ago the oldest date came, in seconds.
func (o *overdue) age() float64 {
	if o.rows == 0 {
		return 0
	}
	return seconds(o.now.Sub(o.oldest))
}

// accounts writes what each account was asked.
func (m *metrics) accounts(accounts []batch.SummaryAccount) {
	for _, metric := range []struct {
		name, help string
		get        func(crm.Usage) int64
	}{
		{"bulkrevoke_last_run_calls", "HTTP attempts of every kind that the last run made.", func(u crm.Usage) int64 { return u.Calls }},
		{"bulkrevoke_last_run_calls_refused", "HTTP attempts of the last run that the rate limit refused.", func(u crm.Usage) int64 { return u.Refused }},
		{"bulkrevoke_last_run_calls_repeated", "HTTP attempts of the last run that repeated one which failed.", func(u crm.Usage) int64 { return u.Repeats }},
	} {
		m.announce(metric.name, metric.help)
		for _, a := range accounts {
			m.sample(metric.name, float64(metric.get(a.Usage)), "account", a.Account, "crm", a.CRM)
		}
	}
	const name = "bulkrevoke_last_run_account_ended"
	m.announce(name, "1 for an account that could do no more before its rows were done; the code says why.")
	for _, a := range accounts {
		if e := cmp.Or(a.Ended, a.Clock); e != nil {
			m.sample(name, 1, "account", a.Account, "crm", a.CRM, "code", e.Code)
		}
	}
}

// gauge writes a metric that has one sample.
func (m *metrics) gauge(name, help string, value float64, labels ...string) {
	m.announce(name, help)
	m.sample(name, value, labels...)
}

// announce begins a metric. What a run leaves behind can only be set, not counted on.
func (m *metrics) announce(name, help string) {
	fmt.Fprintf(&m.b, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name)
}

// sample writes one value; labels are names and values in turn.
func (m *metrics) sample(name string, value float64, labels ...string) {
	fmt.Fprintf(&m.b, "%s %s\n", m.series(name, labels...), strconv.FormatFloat(value, 'f', -1, 64))
}

// series returns the name and labels of a sample.
func (m *metrics) series(name string, labels ...string) string {
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	var b strings.Builder
	fmt.Fprintf(&b, `%s{sheet="%s"`, name, escape.Replace(Printable(m.sheet)))
	for i := 0; i < len(labels); i += 2 {
		fmt.Fprintf(&b, `,%s="%s"`, labels[i], escape.Replace(Printable(labels[i+1])))
	}
	b.WriteByte('}')
	return b.String()
}

// previous returns what the file at path has for the sheet of the metrics that outlive a
// command, of those that make sense.
func (m *metrics) previous(path string) (map[string]float64, error) {
	if err := metricsFile().mayReplace(path); err != nil {
		return nil, err
	}
	text, err := beginning(path, 1<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil && text == "" { // what could be read is better than nothing
		return nil, err
	}
	before := map[string]float64{}
	for line := range strings.Lines(text) {
		for _, name := range []string{lastSuccess, alarms} {
			value, ok := strings.CutPrefix(strings.TrimSpace(line), m.series(name)+" ")
			if !ok {
				continue
			}
			if v, err := strconv.ParseFloat(value, 64); err == nil && !math.IsNaN(v) && !math.IsInf(v, 0) && v >= 0 {
				before[name] = v
			}
		}
	}
	return before, nil
}

// unix returns a moment in seconds since 1970, to the millisecond.
func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
