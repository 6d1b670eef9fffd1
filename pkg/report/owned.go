package report

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// owned is a kind of file that every run writes anew. Such a file says at its
// beginning what it is, so that a slip of the keyboard never costs another file.
type owned struct {
	flag   string      // that names the file
	what   string      // it is called in messages
	mode   fs.FileMode // of the file
	starts []string    // one of which begins every file of this kind
}

const (
	summaryStart = "{\n  \"schema\": \"bulkrevoke/summary/"
	metricsStart = "# bulkrevoke metrics"
	reportStart  = "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"bulkrevoke-ledger\" content=\""
)

func summaryFile() owned {
	return owned{"--summary", "a summary of bulkrevoke", private, []string{summaryStart}}
}

// metricsFile may be read by everybody: it holds nothing personal, and the collector
// of the metrics is another user.
func metricsFile() owned {
	return owned{"--metrics-file", "a metrics file of bulkrevoke", 0o644, []string{metricsStart}}
}

// reportFile is a report of one ledger: one sheet's evidence does not replace
// another's. A report of a run that was refused before there was a ledger is of none,
// and gives way to any.
func reportFile(ledgerID string) owned {
	starts := []string{reportStart + html.EscapeString(ledgerID) + `"`, reportStart + `"`}
	return owned{"--report", "a report of this sheet's ledger", private, starts}
}

// private is the mode of files that hold personal data.
const private fs.FileMode = 0o600

// CheckReport says whether WriteHTML may write to path: its folder takes files, and
// path is free or a report of the ledger with that ID. Links, folders and other
// files are never written over. The error is a *TargetError.
func CheckReport(path, ledgerID string) error { return reportFile(ledgerID).check(path) }

// IsReport says whether a regular file is a report of whatever ledger.
func IsReport(path string) bool {
	return owned{"--report", "a report", private, []string{reportStart}}.mayReplace(path) == nil
}

// ReportLedger returns the id of the ledger that a report is of, "" if path is no
// report, or one of a refusal before there was a ledger.
func ReportLedger(path string) string {
	if !IsReport(path) {
		return ""
	}
	text, err := beginning(path, len(reportStart)+100)
	if err != nil {
		return ""
	}
	id, _, _ := strings.Cut(strings.TrimPrefix(text, reportStart), `"`)
	return html.UnescapeString(id)
}

// CheckSummaryFile is CheckReport for WriteSummaryJSON: path is free or such a file
// of any sheet.
func CheckSummaryFile(path string) error { return summaryFile().check(path) }

// CheckMetrics is CheckReport for WriteMetrics: path is free or such a file of any
// sheet.
func CheckMetrics(path string) error { return metricsFile().check(path) }

func (o owned) check(path string) error {
	if err := o.mayReplace(path); err != nil {
		return err
	}
	return tryWriting(path, o.flag, probeBytes)
}

// mayReplace is check without the folder.
func (o owned) mayReplace(path string) error {
	elsewhere := fmt.Sprintf("Move it away, or name another file with %s.", o.flag)
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return unusable(path, o.flag, err)
	case info.Mode()&fs.ModeSymlink != 0:
		return &TargetError{Path: path, Reason: "is a symbolic link, which is never written through or over", Hint: elsewhere}
	case !info.Mode().IsRegular():
		return &TargetError{Path: path, Reason: "is not a regular file", Hint: elsewhere}
	}
	longest := 0
	for _, start := range o.starts {
		longest = max(longest, len(start))
	}
	found, err := beginning(path, longest)
	if err != nil {
		return &TargetError{Path: path, Reason: err.Error(), Hint: elsewhere}
	}
	if !slices.ContainsFunc(o.starts, func(start string) bool { return strings.HasPrefix(found, start) }) {
		return &TargetError{Path: path, Reason: "exists and is not " + o.what, Hint: elsewhere}
	}
	return nil
}

// beginning returns the first n bytes of a file, or all if it has fewer.
func beginning(path string, n int) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close() // it was only read
	b, err := io.ReadAll(io.LimitReader(file, int64(n)))
	return string(b), err
}

// replace writes the file as a whole or not at all.
func (o owned) replace(ctx context.Context, path string, write func(io.Writer) error) error {
	whole, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	if err := o.mayReplace(whole); err != nil {
		return err
	}
	if err := replaceFile(ctx, whole, o.mode, write, func() error { return o.mayReplace(whole) }); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
