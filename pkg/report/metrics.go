package report

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
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
		whole, err := filepath.Abs(m.sheet)
		if err != nil {
			return err
		}
		m.sheet = whole
	}
	rows := map[string]*batch.Counts{}
	if led != nil && began(s) {
		var err error
		if rows, err = rowsByAccount(ctx, led, s); err != nil {
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
	m.command(s, facts, unix(ended), success)
	if n, known := before[alarms]; known || began(s) {
		if began(s) {
			n = float64(s.Alarms)
		}
		m.gauge(alarms, "Rows by which a bystander, whom no row is about, lost a record and was not given it back, as of the last run.")
		m.sample(alarms, n)
	}
	if began(s) {
		m.rows(rows)
		m.accounts(s.Accounts)
	}
	return metricsFile().replace(ctx, path, func(w io.Writer) error {
		_, err := io.WriteString(w, metricsStart+", replaced after each run\n"+m.b.String())
		return err
	})
}

// rowsByAccount counts the ledger's rows by account and result. Every account of
// the run is among them, with or without rows.
func rowsByAccount(ctx context.Context, led *ledger.Ledger, s batch.Summary) (map[string]*batch.Counts, error) {
	rows := make(map[string]*batch.Counts)
	for _, a := range s.Accounts {
		rows[a.Account] = new(batch.Counts)
	}
	for res, err := range led.Results(ctx) {
		if err != nil {
			return nil, err
		}
		c := rows[res.Account]
		if c == nil {
			c = new(batch.Counts)
			rows[res.Account] = c
		}
		countRow(c, res)
	}
	return rows, nil
}

// metrics builds the text of a file.
type metrics struct {
	sheet string
	b     strings.Builder
}

// command writes what is known of every command that ended.
func (m *metrics) command(s batch.Summary, facts Facts, ended, success float64) {
	m.gauge(lastSuccess, "When a run last ended with exit code 0, nothing left to do; 0 if none did.")
	m.sample(lastSuccess, success)
	m.gauge("bulkrevoke_last_run_timestamp_seconds", "When the last command ended, whatever its result.")
	m.sample("bulkrevoke_last_run_timestamp_seconds", ended)
	m.gauge("bulkrevoke_last_run_exit_code", "Its exit code: 0 all done, 1 rows are open, 2 refused, 3 stopped early, 4 another run or program was at it, 129, 130 and 143 interrupted.")
	m.sample("bulkrevoke_last_run_exit_code", float64(facts.ExitCode))
	m.gauge("bulkrevoke_build_info", "Always 1; the version is in the label.")
	m.sample("bulkrevoke_build_info", 1, "version", facts.Version)
	if !began(s) {
		return
	}
	m.gauge("bulkrevoke_last_run_duration_seconds", "How long the last run took.")
	m.sample("bulkrevoke_last_run_duration_seconds", seconds(s.Ended.Sub(s.Started)))
	m.gauge("bulkrevoke_last_run_rows_sent", "Rows that the last run sent.")
	m.sample("bulkrevoke_last_run_rows_sent", float64(s.Sent))
}

// rows writes how the rows of the sheet stand. Every result has its sample, so that
// none disappears when it falls to nothing.
func (m *metrics) rows(byAccount map[string]*batch.Counts) {
	const name = "bulkrevoke_last_run_rows"
	m.gauge(name, "Rows of the sheet by result after the last run.")
	for _, account := range slices.Sorted(maps.Keys(byAccount)) {
		for _, r := range results(*byAccount[account]) {
			m.sample(name, float64(r.Rows), "account", account, "result", r.Word)
		}
	}
}

// accounts writes what each account was asked.
func (m *metrics) accounts(accounts []batch.SummaryAccount) {
	for _, metric := range []struct {
		name, help string
		get        func(batch.SummaryAccount) int64
	}{
		{"bulkrevoke_last_run_calls", "HTTP attempts of every kind that the last run made.", func(a batch.SummaryAccount) int64 { return a.Usage.Calls }},
		{"bulkrevoke_last_run_calls_refused", "HTTP attempts of the last run that the rate limit refused.", func(a batch.SummaryAccount) int64 { return a.Usage.Refused }},
		{"bulkrevoke_last_run_calls_repeated", "HTTP attempts of the last run that repeated one which failed.", func(a batch.SummaryAccount) int64 { return a.Usage.Repeats }},
	} {
		m.gauge(metric.name, metric.help)
		for _, a := range accounts {
			m.sample(metric.name, float64(metric.get(a)), "account", a.Account, "crm", a.CRM)
		}
	}
	const name = "bulkrevoke_last_run_account_ended"
	m.gauge(name, "1 for an account that could do no more before its rows were done; the code says why.")
	for _, a := range accounts {
		if a.Ended != nil {
			m.sample(name, 1, "account", a.Account, "crm", a.CRM, "code", a.Ended.Code)
		}
	}
}

// gauge begins a metric. What a run leaves behind can only be set, not counted on.
func (m *metrics) gauge(name, help string) {
	fmt.Fprintf(&m.b, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name)
}

// sample writes one value; labels are names and values in turn.
func (m *metrics) sample(name string, value float64, labels ...string) {
	m.b.WriteString(m.series(name, labels...))
	m.b.WriteByte(' ')
	m.b.WriteString(strconv.FormatFloat(value, 'f', -1, 64))
	m.b.WriteByte('\n')
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
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close() // it was only read
	before := map[string]float64{}
	// A line that is too long to read is none of ours; a disk that can not be read is
	// no reason to lose what this run has to say.
	for lines := bufio.NewScanner(io.LimitReader(file, 1<<20)); lines.Scan(); {
		for _, name := range []string{lastSuccess, alarms} {
			text, ok := strings.CutPrefix(lines.Text(), m.series(name)+" ")
			if !ok {
				continue
			}
			if v, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(v) && !math.IsInf(v, 0) && v >= 0 {
				before[name] = v
			}
		}
	}
	return before, nil
}

// unix returns a moment in seconds since 1970, to the millisecond.
func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// resultRows is how many rows have a result.
type resultRows struct {
	Word string
	Rows int64
}

// Count writes the number for people.
func (r resultRows) Count() string { return group(r.Rows) }

// results returns the counts by the words of the result column, in its order.
func results(c batch.Counts) []resultRows {
	return []resultRows{
		{ledger.Done.String(), c.Done}, {ledger.Unchanged.String(), c.Unchanged}, {ledger.Accepted.String(), c.Accepted},
		{ledger.Failed.String(), c.Failed}, {ledger.Uncertain.String(), c.InDoubt}, {wordInvalid, c.Invalid},
		{wordNotAttempted, c.NotAttempted},
	}
}
