package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

func TestExitCodeOfAnError(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		err  error
		want int
		hint string // part of it
	}{
		{"usage", refusef("See help.", "no such flag"), 2, "See help."},
		{"declined", &usageError{err: errDeclined, hint: "Answer y"}, 2, "Answer y"},
		{"sheet", fmt.Errorf("load: %w", &sheet.Error{Name: "a.csv", Line: 3, Reason: "bad", Hint: "Mend it."}), 2, "Mend it."},
		{"invalid rows", &batch.InvalidError{Total: 2}, 2, "--skip-invalid"},
		{"protected user", &batch.ProtectedError{Line: 2}, 2, "protect list"},
		{"owner of the keys", &batch.ProtectedError{Line: 2, Owner: true}, 2, "keys of somebody else"},
		{"result file", &report.TargetError{Path: "r.csv", Reason: "is a folder", Hint: "Name a file."}, 2, "Name a file."},
		{"foreign ledger", fmt.Errorf("open: %w", ledger.ErrForeign), 2, "--ledger"},
		{"newer ledger", ledger.ErrNewer, 2, "newer"},
		{"damaged ledger", ledger.ErrDamaged, 2, "--fresh"},
		{"other place", &ledger.BindingError{}, 2, "--fresh"},
		{"ledger held by another program", fmt.Errorf("open: %w", ledger.ErrBusy), 4, "database browser"},
		{"ledger held in the run", &startedError{fmt.Errorf("settle: %w", ledger.ErrBusy)}, 3, "database browser"},
		{"disk full at the start", ledger.ErrStorage, 2, "room on the disk"},
		{"no such file", fs.ErrNotExist, 2, ""},
		{"disk full in the run", &startedError{fmt.Errorf("settle: %w", ledger.ErrStorage)}, 3, "room on the disk"},
		{"anything in the run", &startedError{errors.New("boom")}, 3, "same command again"},
		{"no result after the run", &startedError{fmt.Errorf("%w: boom", report.ErrNoOutput)}, 3, "bulkrevoke results"},
		{"account", &crm.AccountError{Code: crm.EndKeys, Err: errors.New("401"), Hint: "Check the keys."}, 3, "Check the keys."},
		{"lock", &heldError{what: "account \"main\""}, 4, "--wait"},
		{"Ctrl-C", fmt.Errorf("prepare: %w", &signalError{os.Interrupt}), 130, "same command again"},
		{"SIGTERM", &signalError{syscall.SIGTERM}, 143, "same command again"},
		{"SIGHUP", &signalError{syscall.SIGHUP}, 129, "same command again"},
		{"SIGQUIT", &signalError{syscall.SIGQUIT}, 131, "same command again"},
		{"data asked for that does not arrive", &startedError{fmt.Errorf("standard output: the %w: full", errNotShown)}, 3, "standard output"},
		{"SIGTERM in the run", &startedError{&signalError{syscall.SIGTERM}}, 143, "same command again"},
		{"--max-duration", fmt.Errorf("prepare: %w", &durationError{time.Hour}), 3, "same command again"},
		{"cancelled", context.Canceled, 3, "same command again"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			code, message, hint := exit(tc.err)
			if code != tc.want || message == "" || !strings.Contains(hint, tc.hint) {
				t.Errorf("exit is %d, %q, hint %q; want %d and a hint with %q", code, message, hint, tc.want, tc.hint)
			}
		})
	}
}

func TestExitCodeOfARun(t *testing.T) {
	t.Parallel()
	ended := []batch.SummaryAccount{{Account: "a"}, {Account: "b", Ended: &crm.AccountError{Code: crm.EndQuota}}}
	for _, tc := range []struct {
		name     string
		sum      batch.Summary
		accepted bool
		want     int
	}{
		{"all done", batch.Summary{Counts: batch.Counts{Rows: 2, Done: 1, Unchanged: 1}}, false, 0},
		{"failed", batch.Summary{Counts: batch.Counts{Rows: 2, Done: 1, Failed: 1}}, false, 1},
		{"invalid", batch.Summary{Counts: batch.Counts{Rows: 2, Done: 1, Invalid: 1}}, false, 1},
		{"in doubt", batch.Summary{Counts: batch.Counts{Rows: 2, Done: 1, InDoubt: 1}}, false, 1},
		{"unconfirmed", batch.Summary{Counts: batch.Counts{Rows: 2, Done: 1, Accepted: 1}}, false, 1},
		{"unconfirmed, which is enough", batch.Summary{Counts: batch.Counts{Rows: 2, Done: 1, Accepted: 1}}, true, 0},
		{"failed, where accepted is enough", batch.Summary{Counts: batch.Counts{Rows: 2, Failed: 1, Accepted: 1}}, true, 1},
		{"a row waits for one in doubt", batch.Summary{Counts: batch.Counts{Rows: 2, InDoubt: 1, NotAttempted: 1}}, false, 1},
		{"guard", batch.Summary{Counts: batch.Counts{Rows: 2, Failed: 1, NotAttempted: 1}, Stopped: &batch.GuardError{}}, false, 3},
		{"an account ended", batch.Summary{Counts: batch.Counts{Rows: 2, Done: 2}, Accounts: ended}, false, 3},
		{"an account ended and rows failed", batch.Summary{Counts: batch.Counts{Rows: 2, Failed: 2}, Accounts: ended}, false, 3},
		{"interrupted", batch.Summary{Counts: batch.Counts{Rows: 2, Failed: 1, NotAttempted: 1}, Stopped: &signalError{os.Interrupt}, Accounts: ended}, false, 130},
		{"terminated", batch.Summary{Counts: batch.Counts{Rows: 2, NotAttempted: 2}, Stopped: &signalError{syscall.SIGTERM}}, false, 143},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := verdict(tc.sum, tc.accepted); got != tc.want {
				t.Errorf("exit code is %d, want %d", got, tc.want)
			}
		})
	}
}

func TestErrorsAreSafeToPrint(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		sheet string
		err   error
		want  string
	}{
		{
			"server text", "a.csv", &crm.AccountError{Code: crm.EndKeys, Err: errors.New("no\x1b[2J\nentry"), Hint: "See\u202e."},
			"bulkrevoke: error: keys: no\uFFFD[2J entry\nbulkrevoke: hint: See\uFFFD.\n",
		},
		{
			"invalid rows", "a.csv", &batch.InvalidError{Total: 2, Groups: []batch.InvalidGroup{
				{First: []batch.InvalidRow{{Line: 2, Reason: "user: \"\x1b\" is no user"}}}, {First: []batch.InvalidRow{{Line: 9, Reason: "access: is empty"}}}}},
			"a.csv:2: user: \"\uFFFD\" is no user\na.csv:9: access: is empty\n" +
				"bulkrevoke: error: 2 rows are invalid, nothing was sent\nbulkrevoke: hint: Mend the rows in the sheet, or give --skip-invalid to do the others; the result then has every invalid row with its reason.\n",
		},
		{
			"standard input", "-", &batch.InvalidError{Total: 1, Groups: []batch.InvalidGroup{{First: []batch.InvalidRow{{Line: 2, Reason: "user: is empty"}}}}},
			"standard input:2: user: is empty\nbulkrevoke: error: 1 row is invalid, nothing was sent\nbulkrevoke: hint: Mend the rows in the sheet, or give --skip-invalid to do the others; the result then has every invalid row with its reason.\n",
		},
		{
			"holder", "a.csv", &heldError{what: "ledger a.ledger.db", holder: holder{PID: 7, Host: "h", Started: time.Date(2026, 11, 22, 2, 0, 0, 0, time.UTC), Sheet: "b.csv"}},
			"bulkrevoke: error: ledger a.ledger.db is held by another run (process 7 on h, since 2026-11-22T02:00:00Z, sheet b.csv)\n" +
				"bulkrevoke: hint: Wait until it is through, or give --wait 10m to wait for it.\n",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var b strings.Builder
			printError(report.NewScreen(&b), tc.sheet, tc.err)
			if diff := cmp.Diff(tc.want, b.String()); diff != "" {
				t.Errorf("printed (-want +got):\n%s", diff)
			}
		})
	}
}
