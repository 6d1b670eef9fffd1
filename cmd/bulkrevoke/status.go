package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/fleet"
	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

func (a *app) statusCommand() *cobra.Command {
	o := newOptions()
	cmd := &cobra.Command{
		Use:   "status [SHEET]",
		Short: "Say what waits, what runs, what needs somebody, and which hosts live",
		Long: `Say of each submitted sheet, or of one (by its name or its ledger's), how it stands: queued,
running, waiting until it is tried again, stopped or refused (somebody must look, then
` + "`bulkrevoke retry`" + `), done, cancelled; and which hosts live.

Exit codes: 0; 1 a sheet needs somebody; 2 refused.`,
		Example: `  bulkrevoke status
  bulkrevoke status offboarding.csv
  bulkrevoke status --json | jq '.sheets[] | select(.state == "stopped")'`,
		Args: atMostOneSheet,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.withQueue(cmd, o, args, func(ctx context.Context, j *job, ledgers []string) error { return j.status(ctx, ledgers) })
	}
	o.addFlags(cmd.Flags(), "database", "config", "ledger: the sheet of the ledger `NAME`", "log-format", "log-level", "quiet")
	cmd.Flags().BoolVar(&o.json, "json", false, "write it as JSON")
	cmd.Flags().BoolVar(&o.open, "open", false, "only the sheets that need somebody")
	return cmd
}

func (a *app) retryCommand() *cobra.Command {
	return a.queueCommand(&cobra.Command{
		Use:   "retry SHEET",
		Short: "Queue a sheet again that waits or needs somebody",
		Long: `Queue a submitted sheet again that waits, was stopped or was refused, without waiting any longer.

Exit codes: 0 it is queued; 2 there is no such sheet, or its state does not allow it.`,
		Example: `  bulkrevoke retry offboarding.csv`,
	}, "queued again", func(ctx context.Context, j *job, ledger string) error { return j.db.fleet.Retry(ctx, ledger) })
}

func (a *app) cancelCommand() *cobra.Command {
	return a.queueCommand(&cobra.Command{
		Use:   "cancel SHEET",
		Short: "End a submitted sheet; what is done stays done",
		Long: `Take a submitted sheet out of the queue. One that is at work is asked to stop: its open calls end,
and nothing more is sent. What was done stays done, and in the ledger; submitting it again goes on.

Exit codes: 0 it is cancelled, or asked to stop; 2 there is no such sheet, or it has ended already.`,
		Example: `  bulkrevoke cancel offboarding.csv`,
	}, "cancelled", func(ctx context.Context, j *job, ledger string) error { return j.db.fleet.Cancel(ctx, ledger) })
}

// queueCommand makes cmd a command that does something to one submitted sheet.
func (a *app) queueCommand(cmd *cobra.Command, done string, do func(ctx context.Context, j *job, ledger string) error) *cobra.Command {
	o := newOptions()
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 && o.ledger == "" || len(args) > 1 {
			return refusef(fmt.Sprintf("See `%s --help`.", cmd.CommandPath()), "%s takes one sheet, not %d", cmd.Name(), len(args))
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.withQueue(cmd, o, args, func(ctx context.Context, j *job, ledgers []string) error {
			if err := do(ctx, j, ledgers[0]); err != nil {
				return queueError(err)
			}
			if !o.quiet {
				j.say(cmd.Name(), []slog.Attr{slog.String("ledger", ledgers[0])}, "%s: %s", ledgers[0], done)
			}
			return nil
		})
	}
	o.addFlags(cmd.Flags(), "database", "config", "ledger: the sheet of the ledger `NAME`", "log-format", "log-level", "quiet")
	return cmd
}

// queueError says what can be done where the state of a sheet does not allow what was asked.
func queueError(err error) error {
	if errors.Is(err, fleet.ErrNoSheet) {
		return refusef("`bulkrevoke status` lists those that there are.", "%w", err)
	}
	if state, ok := errors.AsType[*fleet.StateError](err); ok {
		hint := "It goes on by itself; `bulkrevoke status` says how far it is."
		if state.State.Ended() {
			hint = "What is left of it is done when the sheet is submitted again."
		}
		return refusef(hint, "%w", err)
	}
	return err
}

func atMostOneSheet(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return refusef(fmt.Sprintf("See `%s --help`.", cmd.CommandPath()), "%s takes one sheet at most, not %d", cmd.Name(), len(args))
	}
	return nil
}

// withQueue reads the options of a command about submitted sheets, opens the database, and
// calls do with the names of the ledgers that were asked for, none for all.
func (a *app) withQueue(cmd *cobra.Command, o *options, args []string, do func(ctx context.Context, j *job, ledgers []string) error) (err error) {
	if a.job, err = a.readOptions(cmd, o); err != nil {
		return err
	}
	j := a.job
	defer func() { err = errors.Join(err, j.close()) }()
	ctx := cmd.Context()
	if err := j.needDatabase(ctx, cmd.Name()); err != nil {
		return err
	}
	var ledgers []string
	if o.ledger != "" {
		ledgers = []string{o.ledger}
	} else if len(args) == 1 {
		name, err := j.ledgerCalled(ctx, args[0])
		if err != nil {
			return err
		}
		ledgers = []string{name}
	}
	return do(ctx, j, ledgers)
}

// ledgerCalled returns the ledger of a submitted sheet: by its own name, or by the sheet's.
func (j *job) ledgerCalled(ctx context.Context, word string) (string, error) {
	n, err := namesOf(word, "-", "", looksLikeResult(word), false, true)
	if err != nil {
		return "", err
	}
	sheets, err := j.db.fleet.Sheets(ctx, word, n.ledger)
	switch {
	case err != nil:
		return "", err
	case len(sheets) == 0:
		return "", refusef("`bulkrevoke status` lists those that there are.", "no sheet was submitted under the name %s", word)
	}
	if slices.ContainsFunc(sheets, func(s fleet.Sheet) bool { return s.Ledger == word }) {
		return word, nil
	}
	return n.ledger, nil
}

// statusSchema is the version of the JSON of `status`.
const statusSchema = "bulkrevoke/status/1"

// statusJSON is what `status --json` writes.
type statusJSON struct {
	Schema string        `json:"schema"`
	Sheets []statusSheet `json:"sheets"`
	Hosts  []statusHost  `json:"hosts"`
}

type statusSheet struct {
	Ledger    string           `json:"ledger"`
	Sheet     string           `json:"sheet"`
	State     string           `json:"state"`
	Counts    map[string]int64 `json:"counts"`
	Alarms    int64            `json:"alarms"`         // rows by which a bystander lost access, as in the summary
	Host      string           `json:"host,omitempty"` // of the run that is under way
	NextTry   *time.Time       `json:"next_try,omitempty"`
	Why       string           `json:"why,omitempty"`
	ExitCode  int              `json:"exit_code"`
	Tries     int              `json:"tries"`
	Submitted time.Time        `json:"submitted"`
	By        string           `json:"submitted_by"`
	Started   *time.Time       `json:"started,omitempty"`
	Ended     *time.Time       `json:"ended,omitempty"`
}

type statusHost struct {
	Host     string    `json:"host"`
	PID      int       `json:"pid"`
	LastSeen time.Time `json:"last_seen"`
	Sheets   []string  `json:"sheets"` // the ledgers of those that it works on
}

// needsSomebody says that nothing more happens to a sheet by itself, and that it is not done.
func needsSomebody(s fleet.Sheet) bool { return s.State == fleet.Stopped || s.State == fleet.Refused }

// status tells how the submitted sheets stand, and which hosts live.
func (j *job) status(ctx context.Context, ledgers []string) error {
	sheets, err := j.db.fleet.Sheets(ctx, ledgers...)
	if err != nil {
		return err
	}
	hosts, err := j.db.fleet.Hosts(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(sheets, needsSomebody) {
		j.code = exitOpen
	}
	if j.opts.open {
		sheets = slices.DeleteFunc(sheets, func(s fleet.Sheet) bool { return !needsSomebody(s) })
	}
	if j.opts.json {
		return j.statusJSON(sheets, hosts)
	}
	return j.statusText(sheets, hosts)
}

func (j *job) statusJSON(sheets []fleet.Sheet, hosts []fleet.HostInfo) error {
	s := statusJSON{Schema: statusSchema, Sheets: []statusSheet{}, Hosts: []statusHost{}}
	for _, one := range sheets {
		r := statusSheet{
			Ledger: one.Ledger, Sheet: one.Sheet, State: string(one.State), Counts: one.Counts, NextTry: orNil(one.NextTry), Why: one.Why,
			ExitCode: one.ExitCode, Tries: one.Tries, Submitted: one.Submitted.UTC(), By: one.SubmittedBy, Started: orNil(one.Started), Ended: orNil(one.Ended),
		}
		if r.Counts == nil {
			r.Counts = map[string]int64{}
		}
		r.Alarms = r.Counts[fleet.KeptCount]
		delete(r.Counts, fleet.KeptCount)
		if one.State == fleet.Running {
			r.Host = one.Host
		}
		s.Sheets = append(s.Sheets, r)
	}
	for _, h := range hosts {
		s.Hosts = append(s.Hosts, statusHost{Host: h.Name, PID: h.PID, LastSeen: h.LastSeen.UTC(), Sheets: append([]string{}, h.Sheets...)})
	}
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(j.stdout, "%s\n", text)
	return err
}

func orNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// timeShown is how times are told; they are in UTC.
const timeShown = time.DateTime + " UTC"

func (j *job) statusText(sheets []fleet.Sheet, hosts []fleet.HostInfo) error {
	w := tabwriter.NewWriter(j.stdout, 0, 0, 2, ' ', 0)
	if len(sheets) > 0 {
		fmt.Fprintln(w, "LEDGER\tSTATE\tROWS\t")
	}
	for _, s := range sheets {
		note := ""
		switch {
		case s.State == fleet.Running:
			note = "on " + s.Host + " since " + s.Started.UTC().Format(timeShown)
		case s.State == fleet.Waiting:
			note = "until " + s.NextTry.UTC().Format(timeShown) + ": " + s.Why
		case s.State == fleet.Done:
			if note = fmt.Sprintf("exit code %d", s.ExitCode); s.ExitCode != exitDone {
				note += fmt.Sprintf(": see `bulkrevoke results --open --ledger %s %s`", shellQuote(s.Ledger), shellQuote(s.Sheet))
			}
		default:
			note = s.Why
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", report.Printable(s.Ledger), s.State, countsText(s.Counts), report.Printable(note))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	switch {
	case len(sheets) == 0 && j.opts.open:
		fmt.Fprintln(j.stdout, "no sheet needs somebody")
	case len(sheets) == 0:
		fmt.Fprintln(j.stdout, "no sheet was submitted")
	}
	if len(hosts) == 0 {
		_, err := fmt.Fprintln(j.stdout, "no host lives: start one with `bulkrevoke worker`")
		return err
	}
	for _, h := range hosts {
		if _, err := fmt.Fprintf(j.stdout, "host %s, process %d, seen %s ago, %s\n", report.Printable(h.Name), h.PID,
			h.Silent.Round(100*time.Millisecond), report.Count(int64(len(h.Sheets)), "sheet")); err != nil {
			return err
		}
	}
	return nil
}

// countsText tells the counts of a sheet in a few words.
func countsText(counts map[string]int64) string {
	if counts["rows"] == 0 {
		return "-"
	}
	text := fmt.Sprintf("%d", counts["rows"])
	var words []string
	for _, name := range []string{"done", "unchanged", "accepted", "failed", "in_doubt", "invalid", "not_attempted", "not_due"} {
		if n := counts[name]; n > 0 {
			words = append(words, fmt.Sprintf("%d %s", n, strings.ReplaceAll(name, "_", " ")))
		}
	}
	return text + ": " + strings.Join(words, ", ")
}
